"""Deals at risk and health on the web board over Kafka: what the follower knows, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from ingest.door import Refused
from planwatch.native_servers import InfluxServer
from planwatch.store import Store
from schemas.board import DealsView, HealthView
from tests.brief_company import brief_company
from tests.integration.test_stack_board import Board
from tests.servers import KafkaFactory
from tests.stack import Stack, get, wait_for


def health(board: Board) -> HealthView:
    """The operators' view."""
    status, body = get(f"{board.url}/api/health")
    assert status == 200, body
    return HealthView.model_validate_json(body)


def deals(board: Board, query: str = "") -> DealsView:
    """The view of deals at risk."""
    status, body = get(f"{board.url}/api/deals?{query}")
    assert status == 200, body
    return DealsView.model_validate_json(body)


@pytest.fixture
def stack(tmp_path: Path, kafka_factory: KafkaFactory, influx: InfluxServer, prefix: str) -> Iterator[Stack]:
    """A stack with a broker of its own, whose log holds a week; neither bridge nor worker runs."""
    broker = kafka_factory()
    made = Stack(tmp_path / "stack", broker, influx, prefix)
    try:
        Store(made.home).append(list(islice(brief_company("demo"), 1_500)))
        yield made
    finally:
        made.close()


def test_pages_over_kafka(stack: Stack) -> None:
    """Deals come from the log alone; health knows lag, refusals and series, and says why when brokers are away."""
    board = Board(stack)
    board.role.wait_ready()
    whole = wait_for(lambda: found if (found := deals(board)).open_deals else None, "the log is folded")
    parts = [deals(board, f"dimension=territory&scope={r.scope}") for r in whole.inside if r.scope]
    assert sum(part.open_deals for part in parts) <= whole.open_deals
    assert all(part.at_risk == r.deals for part, r in zip(parts, [r for r in whole.inside if r.scope], strict=True))

    view = health(board)
    assert (view.behind, view.failing, view.waiting) == (0, "", None)
    assert view.series.kind == "InfluxDB"
    assert wait_for(lambda: health(board).series.readable, "the series are readable")
    for source in view.trust.sources:
        assert source.received == source.applied + source.duplicate + source.stale + source.quarantined

    Store(stack.home).quarantine.add(
        [Refused("crm", "crm.deals[0]", n, b"\xff\x00", "bad_json", "no JSON") for n in range(3)]
    )
    view = wait_for(lambda: found if (found := health(board)).refused else None, "the refusals are seen")
    assert [item.position for item in view.refused] == [2, 1, 0]
    assert [(r.source, r.code, r.count) for r in view.refusals] == [("crm", "bad_json", 3)]
    assert view.refused[0].shown == r"\xff\x00"
    assert "crm.deals[0], offset 2" in board.text("/health")

    stack.kafka.pause()
    try:
        away = wait_for(lambda: found if (found := health(board)).failing else None, "it is seen that Kafka is away")
        assert (away.verdict, away.state) == ("The log cannot be read", "missed")
        assert away.refused == view.refused
        assert away.failing in " ".join(board.text("/health").split())
        assert deals(board).at_risk == whole.at_risk
    finally:
        stack.kafka.resume()
    wait_for(lambda: health(board).verdict != "The log cannot be read", "it is read again")
