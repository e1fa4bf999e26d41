"""The web board over Kafka: it follows the log by itself, says when it is behind, and writes nothing."""

from __future__ import annotations

import html
import json
import re
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from planwatch.following import AlertFeed
from planwatch.native_servers import InfluxServer, KafkaServer
from planwatch.store import Store
from schemas.board import BoardView, Row
from schemas.change import Change
from schemas.events import AlertEvent
from schemas.status import TargetStatus
from storage.influx_connect import connect
from storage.influx_reader import InfluxReader
from storage.kafka_client import Outgoing, admin, close_producer, producer, send_all
from storage.kafka_lag import group_lag
from tests.brief_company import brief_company
from tests.integration.test_program import planwatch
from tests.integration.test_stack_faults import NERVOUS
from tests.servers import KafkaFactory
from tests.stack import Role, Stack, free_port, get, wait_for

LOAD = 1_700
SHOWN_ALERTS = 12


class Board:
    """The board role of a stack, and what people see of it."""

    def __init__(self, stack: Stack) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.role: Role = stack.start("board", "--port", str(port))

    def view(self, query: str = "") -> BoardView:
        """A page's view."""
        status, body = get(f"{self.url}/api/view?{query}")
        assert status == 200, body
        return BoardView.model_validate_json(body)

    def revenue(self) -> Decimal:
        """The company's revenue in the running quarter."""
        headline = self.view().headline
        assert headline is not None
        assert headline.actual is not None
        return headline.actual

    def text(self, path: str = "/") -> str:
        """What a page says, without its markup."""
        status, body = get(self.url + path)
        assert status == 200, body
        return html.unescape(re.sub(r"<[^>]*>", "", body.decode()))

    @contextmanager
    def events(self, query: str = "") -> Iterator[Iterator[dict[str, Any]]]:
        """The sections that an open page is sent, as they change."""
        with urllib.request.urlopen(f"{self.url}/events?{query}", timeout=60) as stream:
            lines = (line.decode().strip() for line in stream)
            yield (
                json.loads(line[6:])["sections"] for line in lines if line.startswith("data: {") and "sections" in line
            )

    def not_ready(self) -> dict[str, str]:
        """Why it is not ready: name → why. Empty where it is, or does not answer."""
        status, body = get(f"{self.role.url}/readyz", 5)
        return {p["name"]: p["why"] for p in json.loads(body)["problems"]} if status == 503 else {}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaServer, influx: InfluxServer) -> Iterator[Stack]:
    """A stack at work that has taken in two weeks; the tests of this module share it."""
    made = Stack(tmp_path_factory.mktemp("board"), kafka, influx, f"t{secrets.token_hex(5)}", rules=NERVOUS)
    try:
        made.send("demo", islice(brief_company("demo"), LOAD))
        made.start("bridge").wait_ready()
        worker = made.start("worker").wait_ready()
        wait_for(lambda: worker.metric("planwatch_events_total") >= LOAD, "the load is folded")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def board(stack: Stack) -> Board:
    """Its board, at the end of the log."""
    made = Board(stack)
    made.role.wait_ready()
    wait_for(lambda: sum(s.received for s in made.view().trust.sources) >= LOAD, "the board has the load")
    return made


def quiet(folder: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> Stack:
    """A stack without bridge and worker whose log holds a week."""
    made = Stack(folder, kafka, influx, prefix)
    Store(made.home).append(list(islice(brief_company("demo"), 1_500)))
    return made


def statuses(stack: Stack, *words: str) -> dict[str, TargetStatus]:
    """What `planwatch status` says, by target."""
    done = planwatch(stack.path, "status", "--json", *words)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout, parse_float=Decimal)["rows"]
    found = [TargetStatus.model_validate(row) for row in rows]
    return {status.key: status for status in found}


def all_rows(rows: tuple[Row, ...]) -> Iterator[Row]:
    """Rows with those inside them."""
    for row in rows:
        yield row
        yield from all_rows(row.children)


def won(stack: Stack, amount: int, number: int) -> Change:
    """A deal that is won one second after everything that the log knows."""
    now = Store(stack.home).state().now
    return Change(
        tenant="demo", source="crm", entity="opportunity", record_id=f"won-{number}", op="create", version=now,
        occurred_at=now + 1_000_000, event_id=f"won-{number}",
        fields={
            "name": "Harbor Core", "stage": "Won", "amount": str(amount), "owner": "ayu-lestari",
            "created_date": "2026-01-05", "close_date": "2026-01-06",
        },
    )  # fmt: skip


def test_figures_are_those_of_the_command_line(stack: Stack, board: Board) -> None:
    """Every figure of the page is that of `planwatch status` on the same log, now and as of an earlier day."""
    expected = statuses(stack)
    view = board.view()
    shown = [view.headline, *view.others, *(row.status for row in all_rows(view.rows))]
    assert len(shown) > 50
    for status in shown:
        assert status is not None
        assert status == expected[status.key]
    text = board.text()
    assert view.sentence in text
    (rep,) = {row.status.scope for row in all_rows(view.rows) if row.status.scope == "ayu-lestari"}
    assert board.view(f"dimension=rep&scope={rep}").headline == expected[f"revenue|rep|{rep}|{view.period}"]
    done = planwatch(stack.path, "query", "revenue", "--period", view.period, "--json")
    assert view.headline is not None
    assert Decimal(str(json.loads(done.stdout, parse_float=str)["rows"][0]["value"])) == view.headline.actual
    past = statuses(stack, "--as-of", "2026-01-07")
    assert board.view("as_of=2026-01-07").headline == past[view.headline.key]
    assert past[view.headline.key] != view.headline


def test_past_landings_come_from_the_series(stack: Stack, board: Board) -> None:
    """Each row's curve is what a clean run over the log would have written day by day."""
    _, series = stack.clean_run("demo")

    def landings(s: TargetStatus) -> tuple[Decimal, ...]:
        points = series.read("day", s.kpi, s.dimension, s.scope, s.period, "landing_p50")
        return tuple(Decimal(repr(p.value)).quantize(Decimal("0.01")) for p in points if p.bucket <= s.as_of)

    def same() -> bool:
        rows = list(all_rows(board.view().rows))
        return all(row.landing_history == landings(row.status) for row in rows) and any(
            len(row.landing_history) >= 3 for row in rows
        )

    wait_for(same, "the curves are those of a clean run", 30)


def test_a_change_moves_an_open_page(stack: Stack, board: Board) -> None:
    """A deal won in the CRM comes through Kafka into the event stream of an open page, and moves the figure by itself."""
    before = board.revenue()
    with board.events() as sections:
        assert "headline" in next(sections)
        stack.send("demo", [won(stack, 1_234_567, 1)])
        after = before + 1_234_567
        moved = next(
            s["headline"] for s in sections if f"{int(after):,}" in s.get("headline", "").replace("\u202f", ",")
        )
    assert moved
    assert board.revenue() == after


def test_alerts_come_from_their_topic(stack: Stack, board: Board) -> None:
    """The page has the alerts that `planwatch alerts` has, and what anybody else puts into the topic."""
    listed = json.loads(planwatch(stack.path, "alerts", "--json").stdout)["alerts"]
    ids = {alert["id"] for alert in listed}
    assert ids
    wait_for(lambda: len(board.view().alerts) == min(len(ids), SHOWN_ALERTS), "the page has the alerts")
    assert {alert.id for alert in board.view().alerts} <= ids
    feed = AlertFeed(stack.tenants["demo"])
    feed.refresh()
    newest = feed.active()[0]
    now = board.view().as_of
    strange = newest.model_copy(update={"id": "strange", "sentence": "A stranger says so.", "fired_at": now})
    event = AlertEvent(tenant="demo", position=1, produced_at=0, alert=strange)
    topic, out = stack.config.topic("alerts"), producer(stack.config)
    try:
        send_all(out, [Outgoing(topic, event.key.encode(), event.model_dump_json().encode())])
        wait_for(lambda: "strange" in {a.id for a in board.view().alerts}, "the page has it")
        assert "A stranger says so." in board.text()
        send_all(out, [Outgoing(topic, event.key.encode(), None)])
        wait_for(lambda: "strange" not in {a.id for a in board.view().alerts}, "it is gone")
    finally:
        close_producer(out)


def test_a_board_that_catches_up_is_not_ready(
    tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str
) -> None:
    """/readyz says how far it is behind until the end of the log is reached, and pages say that figures are behind."""
    stack = quiet(tmp_path, kafka, influx, prefix)
    try:
        store = Store(stack.home)
        again = [entry.payload for entry in store.log.read(0)]
        store.log.append(again * 100)
        board = Board(stack)
        seen = wait_for(lambda: board.not_ready().get("log"), "it says that it is not ready")
        assert re.fullmatch(r"catching up: (some|[\d,]+) messages behind", seen)
        first = board.view().trust
        board.role.wait_ready()
        assert "are still to be read" in first.behind
        view = board.view()
        assert view.trust.behind == ""
        assert sum(s.received for s in view.trust.sources) == 101 * 1_500
    finally:
        stack.close()


def test_a_board_writes_nothing(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """Pages and streams leave no record in any topic, no consumer group, no point, and no file in the home."""
    stack = quiet(tmp_path, kafka, influx, prefix)
    topics = [stack.config.topic(name) for name in ("changes", "status", "alerts", "quarantine")]

    def ends() -> list[tuple[str, int, int]]:
        return [(lag.topic, lag.partition, lag.end) for lag in group_lag(stack.config, "nobody", topics)]

    def files() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in stack.path.rglob("*") if p.is_file()}

    try:
        before = ends(), files()
        board = Board(stack)
        board.role.wait_ready()
        assert board.view().headline is not None
        assert board.view("dimension=rep&scope=ayu-lestari").headline is not None
        assert board.text("/?as_of=2026-01-06")
        with board.events() as sections:
            assert next(sections)
        assert board.role.stop() == 0
        assert (ends(), files()) == before
        with closing(admin(stack.config)) as client:
            groups = [group["group_id"] for group in client.list_groups()]
        assert [name for name in groups if name.startswith(prefix)] == []
        assert points(stack) == 0
    finally:
        stack.close()


def points(stack: Stack) -> int:
    """How many values the stack's buckets hold."""
    config = stack.home.config.influx
    assert config is not None
    reader = InfluxReader(config, lambda: connect(stack.home.config, "board", stack.path))
    query = 'from(bucket: "{}") |> range(start: 1970-01-01T00:00:00Z, stop: 2200-01-01T00:00:00Z) |> count() |> group() |> sum()'
    rows = [row for bucket in (config.bucket, config.live_bucket) for row in reader.rows(query.format(bucket))]
    return sum(row["_value"] for row in rows)


def test_kafka_away(tmp_path: Path, kafka_factory: KafkaFactory, influx: InfluxServer, prefix: str) -> None:
    """The pages stay and say that they are behind, /readyz names Kafka; when it is back, everything goes on by itself."""
    own = kafka_factory()
    stack = quiet(tmp_path, own, influx, prefix)
    try:
        board = Board(stack)
        board.role.wait_ready()
        headline, actual = board.view().headline, board.revenue()
        with board.events() as sections:
            assert "These figures are behind" not in next(sections)["banner"]
            own.stop()
            banner = next(s["banner"] for s in sections if "banner" in s)
            assert "These figures are behind" in banner
            assert "Kafka" in board.not_ready()["kafka"]
            assert board.view().headline == headline
            assert "The log cannot be read just now." in board.text()
            assert board.role.process.poll() is None
            own.start()
            Store(stack.home).append([won(stack, 765_432, 1)])
            assert any("These figures are behind" not in s["banner"] for s in sections if "banner" in s)
        board.role.wait_ready()
        wait_for(lambda: board.revenue() == actual + 765_432, "the page has what came meanwhile")
    finally:
        stack.close()


def test_influxdb_away(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """Without the series pages have all figures of the present; only the curves of past landings are missing."""
    stack = quiet(tmp_path, kafka, influx, prefix)
    try:
        yaml = YAML()
        document = yaml.load(stack.path / "planwatch.yaml")
        document["influx"]["url"] = f"http://127.0.0.1:{free_port()}"
        yaml.dump(document, stack.path / "planwatch.yaml")
        board = Board(stack)
        board.role.wait_ready()
        view = board.view()
        assert view.headline == statuses(stack)[f"revenue|company||{view.period}"]
        assert {row.landing_history for row in all_rows(view.rows)} == {()}
    finally:
        stack.close()
