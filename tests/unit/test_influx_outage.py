"""The writer of points, against a server that is down, slow, full, or refuses: nothing is lost, and memory is bounded."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient

from schemas.base import PlanwatchError
from tests.unit.influx_samples import NOW_US, Make, make, stub, until, value, values
from tests.unit.influx_stub import ACCEPTED, Answer, InfluxStub, Write

__all__ = ["make", "stub"]


class TestFailures:
    """A server that does not take points."""

    @pytest.mark.parametrize("status", [429, 500, 503, 404, 403])
    def test_tried_again(self, make: Make, stub: InfluxStub, status: int) -> None:
        """What may pass is tried again until it does; nothing is lost, and nothing is durable before."""
        answers = [Answer(status, "later")] * 2
        durable: list[int] = []

        def judge(_: Write) -> Answer:
            durable.append(writer.durable("t"))
            return answers.pop() if answers else ACCEPTED

        stub.judge = judge
        writer = make()
        writer.add("day", "t", 1, [value("a", 1.0)])
        writer.advance("t", 1)
        assert writer.flush(10)
        assert (durable, writer.durable("t"), stub.values("day")) == ([0, 0, 0], 1, {"a": "1.0"})
        assert (writer.retries, writer.write_errors, writer.failing) == (2, 0, False)
        assert f"answers {status}: later" in writer.last_error

    def test_backing_off(self, make: Make, stub: InfluxStub) -> None:
        """Each wait is longer than the one before, from a tenth of a second on."""
        stub.answer(*[Answer(503)] * 4)
        writer = make()
        writer.add("day", "t", 1, [value("a", 1.0)])
        assert writer.flush(10)
        times = [write.at_s for write in stub.writes]
        waits = [later - sooner for sooner, later in pairwise(times)]
        assert all(wait >= least for wait, least in zip(waits, [0.05, 0.1, 0.2, 0.4], strict=True))

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_the_server_says_when(self, make: Make, stub: InfluxStub, form: str) -> None:
        """A Retry-After longer than our own wait is kept, be it seconds or a date."""
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # in whole seconds: 1 to 2 s
        stub.answer(Answer(429, headers={"Retry-After": "0.8" if form == "seconds" else later}))
        writer = make()
        writer.add("day", "t", 1, [value("a", 1.0)])
        assert writer.flush(10)
        first, second = (write.at_s for write in stub.writes)
        assert 0.7 < second - first < 5

    def test_a_retry_after_that_says_nothing(self, make: Make, stub: InfluxStub) -> None:
        """Then our own wait counts."""
        stub.answer(*[Answer(503, headers={"Retry-After": text}) for text in ("soon", "-5", "Mon, 99")])
        writer = make()
        writer.add("day", "t", 1, [value("a", 1.0)])
        assert writer.flush(10)
        assert len(stub.writes) == 4

    def test_a_new_token_is_taken_up(self, make: Make, stub: InfluxStub, caplog: pytest.LogCaptureFixture) -> None:
        """Refused, the writer says once what to do, and asks for the token anew until there is a good one."""
        tokens = ["stale", "stale", None, "fresh"]

        def connect() -> InfluxDBClient:
            token = tokens.pop(0) if len(tokens) > 1 else tokens[0]
            if token is None:
                raise PlanwatchError("the file is just being written")
            return InfluxDBClient(stub.url, token, org="o")

        stub.judge = lambda write: ACCEPTED if write.token == "Token fresh" else Answer(401, "unauthorized access")
        writer = make(connect=connect)
        writer.add("day", "t", 1, [value("a", 1.0)])
        assert writer.flush(10)
        assert [write.token.split()[1] for write in stub.writes] == ["stale", "stale", "stale", "fresh"]
        loud = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert len(loud) == 1
        assert "401: unauthorized access" in loud[0]
        assert "`planwatch influx apply`" in loud[0]
        assert not any(token in text for text in [*loud, writer.last_error] for token in ("stale", "fresh"))

    def test_a_server_that_hangs(self, make: Make, stub: InfluxStub) -> None:
        """Time is up for the request, not for the points."""
        writer = make(timeout_s=0.2)
        stub.open.clear()
        writer.add("day", "t", 1, [value("a", 1.0)])
        until(lambda: writer.retries > 0)
        assert "does not answer" in writer.last_error
        stub.open.set()
        assert writer.flush(10)
        assert stub.values("day") == {"a": "1.0"}

    def test_a_server_that_is_down(self, make: Make, stub: InfluxStub) -> None:
        """Adding goes on without waiting; the newest of each identity arrives when the server is back."""
        writer = make()
        writer.add("day", "t", 1, values(10))
        assert writer.flush(10)
        stub.stop()
        for position in range(2, 200):
            writer.add("day", "t", position, [value(f"s{i}", float(position)) for i in range(10)])
            writer.advance("t", position)
            assert writer.waiting <= 20
        until(lambda: writer.failing)
        assert writer.durable("t") == 0
        stub.start()
        assert writer.flush(20)
        assert stub.values("day") == {f"s{i}": "199.0" for i in range(10)}
        assert (writer.durable("t"), writer.points_dropped) == (199, 0)


class TestRefusals:
    """Lines that the server will never take."""

    @pytest.mark.parametrize("status", [400, 422])
    def test_only_the_bad_lines_are_left_out(
        self, make: Make, stub: InfluxStub, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        """All others go in, the refused ones are counted, one is shown with the server's words, and positions move on."""
        stub.judge = lambda write: (
            Answer(status, "field type conflict")
            if any("scope=s1," in x or "scope=s77," in x for x in write.lines)
            else ACCEPTED
        )
        writer = make()
        writer.add("day", "t", 1, values(100))
        writer.advance("t", 1)
        assert writer.flush(10)
        assert set(stub.values("day")) == {f"s{i}" for i in range(100)} - {"s1", "s77"}
        assert (writer.write_errors, writer.durable("t"), writer.points_written) == (2, 1, 98)
        (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
        assert "refused 2 of 100 lines for day: field type conflict" in record.getMessage()
        assert "kpi,dimension=rep,kpi=revenue" in record.getMessage()
        assert len(stub.writes) < 40

    def test_a_batch_that_is_too_large_is_split(self, make: Make, stub: InfluxStub) -> None:
        """Until its parts are small enough; a line that is too large alone is refused."""

        def judge(write: Write) -> Answer:
            too_large = len(write.lines) > 7 or any("huge" in line for line in write.lines)
            return Answer(413, "too large") if too_large else ACCEPTED

        stub.judge = judge
        writer = make()
        writer.add("day", "t", 1, [*values(50), value("huge", 1.0)])
        assert writer.flush(10)
        assert set(stub.values("day")) == {f"s{i}" for i in range(50)}
        assert writer.write_errors == 1

    def test_trouble_while_looking_for_the_bad_line(self, make: Make, stub: InfluxStub) -> None:
        """A server that fails in between changes nothing about who is refused."""
        troubles = iter(range(1000))

        def judge(write: Write) -> Answer:
            if next(troubles) % 3 == 1:
                return Answer(503)
            return Answer(400, "bad") if any("scope=s3," in line for line in write.lines) else ACCEPTED

        stub.judge = judge
        writer = make()
        writer.add("day", "t", 1, values(8))
        assert writer.flush(20)
        assert set(stub.values("day")) == {f"s{i}" for i in range(8)} - {"s3"}
        assert writer.write_errors == 1


class TestBound:
    """A long outage."""

    def test_full_then_replayed(self, make: Make, stub: InfluxStub) -> None:
        """What finds no room is dropped and said to be; the durable position stays until the log has been replayed."""
        stub.stop()
        writer = make(buffer_points_max=1000)
        for position in range(1, 31):
            writer.add("day", "t", position, values(100, position * 100))
            writer.advance("t", position)
            assert writer.waiting <= 1000
        assert writer.overflowed("t")
        assert (writer.points_dropped, writer.durable("t")) == (2000, 0)
        stub.start()
        until(lambda: writer.waiting == 0, 30)
        assert (writer.durable("t"), writer.overflowed("t"), writer.flush(10)) == (10, True, False)
        writer.clear_overflow("t")
        for position in range(writer.durable("t") + 1, 31):
            writer.add("day", "t", position, values(100, position * 100))
            writer.advance("t", position)
            assert writer.flush(10)
        assert (writer.durable("t"), writer.overflowed("t")) == (30, False)
        assert set(stub.values("day")) == {f"s{i}" for i in range(100, 3100)}

    def test_one_tenant_does_not_cost_another_its_position(self, make: Make, stub: InfluxStub) -> None:
        """Only who has lost something has to replay."""
        stub.stop()
        writer = make(buffer_points_max=1000)
        writer.add("day", "small", 4, values(1))
        writer.advance("small", 4)
        writer.add("day", "large", 1, values(999))
        writer.add("day", "large", 2, values(2, 5000))
        writer.advance("large", 2)
        stub.start()
        until(lambda: writer.waiting == 0, 30)
        assert (writer.overflowed("small"), writer.durable("small")) == (False, 4)
        assert (writer.overflowed("large"), writer.durable("large")) == (True, 0)

    def test_adding_never_waits(self, make: Make, stub: InfluxStub) -> None:
        """A server that hangs does not hold back the caller, full buffer or not."""
        stub.open.clear()
        writer = make(buffer_points_max=1000)
        began_s = time.monotonic()
        for position in range(100):
            writer.add("day", "t", position, values(100, position * 100))
        assert time.monotonic() - began_s < 2
        assert writer.waiting <= 1000


class TestOwnership:
    """Tenants move between workers."""

    def test_who_may_not_write_sends_nothing(self, make: Make, stub: InfluxStub) -> None:
        """It is asked before each request: what lies in memory stays there until the answer is yes."""
        allowed = [True, False, False, True, True]
        asked: list[bool] = []

        def may_write() -> bool:
            asked.append(allowed.pop(0) if allowed else True)
            return asked[-1]

        writer = make(may_write=may_write, batch_points=5)
        writer.add("day", "t", 1, values(15))
        assert writer.flush(10)
        assert asked == [True, False, False, True, True]
        assert len(stub.writes) == 3

    def test_a_retry_asks_again(self, make: Make, stub: InfluxStub) -> None:
        """A process that lost its partitions while it waited does not try again."""
        may_write = threading.Event()
        may_write.set()
        writer = make(may_write=may_write.is_set)

        def judge(_: Write) -> Answer:
            may_write.clear()
            return Answer(503)

        stub.judge = judge
        writer.add("day", "t", 1, values(1))
        until(lambda: writer.retries == 1)
        assert not writer.flush(0.4)
        assert len(stub.writes) == 1
        writer.discard("t")
        stub.judge = lambda _: ACCEPTED
        may_write.set()
        assert writer.flush(10)
        assert (len(stub.writes), writer.waiting, writer.durable("t")) == (1, 0, 0)

    def test_a_discarded_tenant_is_not_sent(self, make: Make, stub: InfluxStub) -> None:
        """Neither what waits nor what is being tried again; the others' points are."""
        down = threading.Event()
        stub.judge = lambda _: ACCEPTED if down.is_set() else Answer(503)
        writer = make()
        writer.add("day", "t", 1, [value("moved", 1.0)])
        writer.add("day", "u", 1, [value("stays", 1.0)])
        until(lambda: writer.retries > 0)
        writer.add("day", "t", 2, [value("moved too", 1.0)])
        writer.add("minute", "t", 2, [value("moved too", 1.0, NOW_US)])
        writer.advance("t", 2)
        writer.discard("t")
        down.set()
        assert writer.flush(10)
        assert (stub.values("day"), stub.values("live")) == ({"stays": "1.0"}, {})
        assert (writer.durable("t"), writer.waiting) == (0, 0)

    def test_discarding_all_that_waits_ends_a_flush(self, make: Make) -> None:
        """Nothing is left to wait for."""
        writer = make(may_write=lambda: False, flush_ms=60_000)
        writer.add("day", "t", 1, values(3))
        writer.discard("t")
        assert writer.flush(10)
