"""The series on a real InfluxDB: the contract of the port, names that are data, outages, and what is whose."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import pytest

from schemas.clock import SystemClock
from storage import flux
from storage.influx_names import decode_tag
from storage.influx_series import InfluxSeries
from storage.influx_writer import DAY_US, PointWriter
from storage.ports import Point, Record, Series
from tests.contracts import SeriesContract, point
from tests.integration.influx_stack import Stack, applied, stack, writer
from tests.servers import InfluxFactory

__all__ = ["stack", "writer"]

HOUR_US = 3_600_000_000
HOSTILE = [
    "",
    "-",
    " ",
    "O'Hara",
    'say "hi"',
    "back\\slash\\",
    "two\nlines\r\n",
    "\x00\x7f\u2028",
    '") |> drop() //',
    "${v.timeRangeStart}",
    "%41 100%",
    "a,b=c d",
    "#comment",
    "日本 👩\u200d👧",
    "\ud800",
]


@pytest.fixture
def series(stack: Stack, writer: PointWriter, prefix: str) -> InfluxSeries:
    return stack.series(prefix, writer)


class TestInfluxSeries(SeriesContract):
    """The contract that all adapters keep."""

    @property
    def minute_from_us(self) -> int:  # type: ignore[override]
        return SystemClock().now() // HOUR_US * HOUR_US - HOUR_US

    def test_trimming_is_the_retention_of_the_bucket(self, series: Series) -> None:
        """What is not over its time stays, whatever the caller asks."""
        series.write("minute", [self.minute(1, 1.0)])
        series.trim("minute", self.minute(2, 0.0).bucket)
        assert series.read("minute", "revenue", "company", "", "2017-Q2", "value") == [self.minute(1, 1.0)]

    def test_minute_points_of_the_past(self, series: Series, writer: PointWriter, stack: Stack) -> None:
        """InfluxDB would refuse them and those beside them; they are left out, up to the end of the retention."""
        ago = SystemClock().now() - stack.config.live_series_days * DAY_US
        series.write("minute", [point(ago - HOUR_US, 1.0), point(ago + HOUR_US, 2.0)])
        found = series.read("minute", "revenue", "company", "", "2017-Q2", "value")
        assert found == [point(ago + HOUR_US, 2.0)]
        assert writer.write_errors == 0

    def test_times_from_one_end_to_the_other(self, series: Series) -> None:
        """Every time that a calendar has is kept to the microsecond."""
        times = [-9_000_000_000_000_001, -1, 0, 1_499_999_999_999_999, 9_000_000_000_000_001]
        series.write("day", [point(at, float(i)) for i, at in enumerate(times)])
        found = series.read("day", "revenue", "company", "", "2017-Q2", "value")
        assert found == [point(at, float(i)) for i, at in enumerate(times)]


class TestNames:
    """Names that are data."""

    def test_hostile_names_come_back(self, stack: Stack, writer: PointWriter, prefix: str) -> None:
        """Under each name, as scope and as period, lies what was written there, and nothing else."""
        series = stack.series(f'{prefix} "x"', writer)
        points = [
            Point("revenue", "rep", scope, period, 1, "value", float(100 * i + k))
            for i, scope in enumerate(HOSTILE)
            for k, period in enumerate(HOSTILE)
        ]
        series.write("day", points)
        assert writer.flush(30)
        assert writer.write_errors == 0
        for p in points[:: len(HOSTILE) + 1] + points[7::31]:
            assert series.read("day", *p[:4], "value") == [p]
        for period in HOSTILE:
            found = series.read_scopes("day", "revenue", "rep", period, "value", 0)
            assert found == {p.scope: [p] for p in points if p.period == period}

    def test_a_tag_is_the_name(self, stack: Stack, writer: PointWriter, prefix: str) -> None:
        """What a board finds as a tag decodes to the name, so that it can be shown."""
        stack.series(prefix, writer).write("day", [point(1, 1.0, name) for name in HOSTILE])
        assert writer.flush(30)
        query = f"{flux.source(stack.influx.bucket)}\n{flux.where(tenant=prefix)}"
        scopes = [decode_tag(row["scope"]) for row in stack.reader().rows(query)]
        assert sorted(scopes) == sorted(HOSTILE)

    @pytest.mark.parametrize("text", HOSTILE, ids=ascii)
    def test_a_literal_is_the_text(self, stack: Stack, text: str) -> None:
        """Flux itself reads the very text; what UTF-8 cannot carry is replaced."""
        query = f'import "array"\narray.from(rows: [{{text: {flux.literal(text)}, one: 1}}])'
        (row,) = stack.reader().rows(query)
        assert (row["text"] or "") == re.sub("[\ud800-\udfff]", "\ufffd", text).replace("\r", "")  # as CSV has it

    def test_times_as_literals(self, stack: Stack) -> None:
        """Flux reads the very microsecond."""
        times = [-1, 0, 1_499_999_999_999_999]
        rows = ", ".join(f"{{at: int(v: {flux.time_literal(us)})}}" for us in times)
        found = stack.reader().rows(f'import "array"\narray.from(rows: [{rows}])')
        assert [row["at"] for row in found] == [us * 1000 for us in times]


class TestRecords:
    """What boards show beside numbers."""

    def test_fields_of_every_type(self, stack: Stack, writer: PointWriter, prefix: str) -> None:
        """Texts come back as they were, but for carriage returns, which CSV has not; fields written later replace only themselves."""
        series = stack.series(prefix, writer)
        texts = [text for text in HOSTILE if text and text != "\ud800"]
        series.write_records(
            "day",
            [
                Record("deal", {"rank": f"{i:02}"}, {"name": text, "amount": 1.5, "age_days": i, "active": True}, 7)
                for i, text in enumerate(texts)
            ],
        )
        assert writer.flush(30)
        series.write_records("day", [Record("deal", {"rank": "00"}, {"amount": 2.5}, 7)])
        assert writer.flush(30)
        pivot = '|> pivot(rowKey: ["rank"], columnKey: ["_field"], valueColumn: "_value")\n  |> group()\n  |> sort(columns: ["rank"])'
        query = f"{flux.source(stack.influx.bucket)}\n{flux.where(measurement='deal', tenant=prefix)}\n  {pivot}"
        found = [(r["name"], r["amount"], r["age_days"], r["active"]) for r in stack.reader().rows(query)]
        assert found == [(text.replace("\r", ""), 1.5 if i else 2.5, i, True) for i, text in enumerate(texts)]
        assert writer.write_errors == 0

    def test_a_field_of_another_type_is_refused_alone(
        self, stack: Stack, writer: PointWriter, prefix: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """InfluxDB's refusal costs only the line that it is about, and is counted and shown."""
        series, measurement = stack.series(prefix, writer), f"m{prefix}"
        series.write_records("day", [Record(measurement, {"rank": "0"}, {"amount": 1.0}, 1)])
        assert writer.flush(10)
        bad = Record(measurement, {"rank": "7"}, {"amount": "much"}, 1)
        series.position = 5
        series.write_records(
            "day", [*(Record(measurement, {"rank": f"{i}"}, {"amount": 2.0}, 1) for i in range(7)), bad]
        )
        writer.advance(prefix, 5)
        assert writer.flush(10)
        query = f"{flux.source(stack.influx.bucket)}\n{flux.where(measurement=measurement)}"
        assert {row["rank"]: row["_value"] for row in stack.reader().rows(query)} == {f"{i}": 2.0 for i in range(7)}
        assert (writer.write_errors, writer.durable(prefix)) == (1, 5)
        assert "field type conflict" in caplog.text
        assert "much" in caplog.text


class TestClearing:
    """Deleting one tenant."""

    def test_others_are_left_alone(self, stack: Stack, writer: PointWriter, prefix: str) -> None:
        """Everything of the tenant goes, from both buckets and all measurements; nothing of tenants with names like it."""
        now = SystemClock().now()
        names = [prefix, f"{prefix} 2", f'{prefix}" or tenant="', f"{prefix},", f"x{prefix}", f"{prefix}\n"]
        every = [stack.series(name, writer) for name in names]
        for series in every:
            series.write("day", [point(1, 1.0), point(1, 2.0)._replace(field="actual")])
            series.write("minute", [point(now, 1.0)])
            series.write_records("day", [Record("deal", {"rank": "01"}, {"name": "A"}, 1)])
        assert writer.flush(10)

        def count(name: str) -> int:
            return sum(
                len(stack.reader().rows(f"{flux.source(bucket)}\n{flux.where(tenant=name)}"))
                for bucket in (stack.influx.bucket, stack.influx.live_bucket)
            )

        assert [count(name) for name in names] == [4] * len(names)
        for i, series in enumerate(every):
            series.clear()
            assert [count(name) for name in names] == [0] * (i + 1) + [4] * (len(names) - i - 1)


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.01)


class TestOutage:
    """A server that goes away while points are written."""

    @pytest.mark.parametrize("how", ["stop", "kill", "pause"])
    def test_everything_arrives(
        self, influx_factory: InfluxFactory, tmp_path_factory: pytest.TempPathFactory, how: str
    ) -> None:
        """Writing goes on meanwhile without waiting, memory keeps its bound, and afterwards every value is there."""
        server = influx_factory()
        stack = applied(server, tmp_path_factory.mktemp("home"), timeout_s=1.0, buffer_points_max=1000)
        writer = stack.writer()
        written, going_on = 0, threading.Event()
        going_on.set()
        largest: list[int] = [0]

        def work() -> None:
            nonlocal written
            while going_on.is_set():
                written += 1
                points = [point(0, float(written), f"s{i}") for i in range(50)]
                writer.add("day", "t", written, [*points, point(written, float(written))])
                writer.advance("t", written)
                largest[0] = max(largest[0], writer.waiting)
                time.sleep(0.005)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            until(lambda: writer.durable("t") > 10)
            getattr(server, how)()
            until(lambda: writer.failing)
            durable = writer.durable("t")
            until(lambda: written > durable + 100)
            assert writer.durable("t") == durable
            server.resume() if how == "pause" else server.start()
            until(lambda: not writer.failing and writer.durable("t") > durable + 100)
        finally:
            going_on.clear()
            worker.join()
        assert writer.flush(30)
        assert (writer.durable("t"), writer.overflowed("t"), writer.write_errors) == (written, False, 0)
        assert largest[0] <= 1000
        series = stack.series("t", writer)
        assert series.read("day", "revenue", "rep", "s49", "2017-Q2", "value") == [point(0, float(written), "s49")]
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == [
            point(at, float(at)) for at in range(1, written + 1)
        ]
        writer.close(10)

    def test_a_long_outage_is_replayed(
        self, influx_factory: InfluxFactory, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """More than memory may hold: the durable position is the place from which the log gives the rest."""
        server = influx_factory()
        stack = applied(server, tmp_path_factory.mktemp("home"), buffer_points_max=1000)
        writer = stack.writer()
        server.stop()
        for position in range(1, 31):
            writer.add("day", "t", position, [point(100 * position + i, 1.0) for i in range(100)])
            writer.advance("t", position)
            assert writer.waiting <= 1000
        server.start()
        until(lambda: writer.waiting == 0)
        assert (writer.overflowed("t"), writer.durable("t")) == (True, 10)
        writer.clear_overflow("t")
        for position in range(11, 31):
            writer.add("day", "t", position, [point(100 * position + i, 1.0) for i in range(100)])
            writer.advance("t", position)
            assert writer.flush(10)
        assert writer.durable("t") == 30
        assert len(stack.series("t", writer).read("day", "revenue", "company", "", "2017-Q2", "value")) == 3000
        writer.close(10)

    def test_a_reader_after_a_restart(
        self, influx_factory: InfluxFactory, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A connection that was kept open across the restart costs no query."""
        server = influx_factory()
        stack = applied(server, tmp_path_factory.mktemp("home"))
        reader = stack.reader()
        query = flux.source(stack.influx.bucket)
        assert reader.rows(query) == []
        server.stop()
        server.start()
        assert reader.rows(query) == []
