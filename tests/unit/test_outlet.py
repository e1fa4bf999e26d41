"""Where judgements go beside the series: events that are told once, records that are made when they are due."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ingest.refusal_states import RefusalCounts
from planwatch.metrics import Metrics
from planwatch.outlet import REFRESH_S, RETOLD, StackOutlet, moment_of
from planwatch.pipeline import Pipeline
from schemas.alert import Alert
from schemas.events import AlertEvent, StatusEvent
from tests.unit.alert_samples import MAY, status
from tests.unit.board_samples import CONFIG, PLAN, Kept, Tenant, moment
from tests.unit.test_board_records import alert

WALL = 1_900_000_000_000_000


class Refused:
    """What is known of refused input."""

    def __init__(self) -> None:
        self.refreshed = 0

    def refresh(self) -> int:
        """Nothing is new; it is counted that somebody asked."""
        self.refreshed += 1
        return 0

    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """One refusal is open, and one was replayed."""
        return {("crm", "gap"): RefusalCounts(open=1, replayed=1)}


@pytest.fixture
def kept() -> Kept:
    """The records that were written."""
    return Kept()


@pytest.fixture
def metrics() -> Metrics:
    """What was counted."""
    return Metrics("worker")


@pytest.fixture
def outlet(kept: Kept, metrics: Metrics) -> StackOutlet:
    """An outlet that has told nothing yet."""
    return StackOutlet("acme", kept, metrics)


def tenant_with(outlet: StackOutlet) -> Tenant:
    """A tenant whose judgements go there: two people and two deals of which one needs help."""
    tenant = Tenant(CONFIG, PLAN, outlet).people()
    tenant.deal("2026-02-01T09:00", "late", 1_000, "2026-02-05")
    return tenant.deal("2026-02-10T09:00", "new", 500, "2026-03-01", owner="bob")


class TestEvents:
    """Status and alert events."""

    def test_a_status_is_told_when_its_figures_change(self, outlet: StackOutlet) -> None:
        """Once under the target's key, with time and position; never again while only time passes."""
        first = status("0.9")
        outlet.judged([first, status(rep="r2")], MAY, 7)
        one, two = outlet.take_events()
        assert (one.topic, one.key, two.key) == (
            "status",
            b"acme|revenue|rep|r1|2017-Q2",
            b"acme|revenue|rep|r2|2017-Q2",
        )
        told = StatusEvent.model_validate_json(one.value)
        assert told == StatusEvent(tenant="acme", position=7, produced_at=MAY // 1000, status=first)
        outlet.judged([status("0.9", as_of=MAY + 60_000_000, elapsed="0.47")], MAY + 60_000_000, 8)
        assert outlet.take_events() == []
        outlet.judged([status("0.4"), status(rep="r2")], MAY, 9)
        (again,) = outlet.take_events()
        assert StatusEvent.model_validate_json(again.value).status.probability == status("0.4").probability

    def test_an_alert_is_told_recorded_and_counted(self, outlet: StackOutlet, kept: Kept, metrics: Metrics) -> None:
        """An event under the alert's key, a record for the boards, and a number for who watches."""
        fired = alert("a", updated_at=MAY + 1_234_567)
        outlet.alerted([fired], 7)
        (event,) = outlet.take_events()
        assert (event.topic, event.key) == ("alerts", b"acme|a")
        told = AlertEvent.model_validate_json(event.value)
        assert told == AlertEvent(tenant="acme", position=7, produced_at=MAY // 1000 + 1_234, alert=fired)
        assert [fields["id"] for fields in kept.of("alert").values()] == ["a"]
        assert 'planwatch_alerts_total{rule="at_risk",transition="firing"} 1.0' in metrics.render()[0].decode()

    def test_what_was_not_published_comes_again_in_its_order(self, outlet: StackOutlet) -> None:
        """Events that come back stand before those that were made meanwhile."""
        outlet.alerted([alert("a"), alert("b")], 7)
        events = outlet.take_events()
        outlet.alerted([alert("c")], 8)
        outlet.return_events(events[1:])
        assert [e.key for e in outlet.take_events()] == [b"acme|b", b"acme|c"]
        assert outlet.take_events() == []

    def test_after_a_restart(self, outlet: StackOutlet, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
        """The newest alerts are told once more, and not counted again; a bounded number of them."""
        tenant = Tenant()
        history: Sequence[Alert] = [alert(f"a{n:04d}", fired_at=MAY - n) for n in range(RETOLD + 10)]
        monkeypatch.setattr(tenant.pipeline.engine, "history", lambda: history)
        outlet.retell(tenant.pipeline)
        events = outlet.take_events()
        assert [e.key for e in events] == [f"acme|a{n:04d}".encode() for n in range(RETOLD)]
        assert "transition=" not in metrics.render()[0].decode()


class TestRefresh:
    """Records that cost little: with every tick."""

    def test_sources_refusals_and_landings(self, outlet: StackOutlet, kept: Kept) -> None:
        """Accounts at the machine's time; landings at the end of the running period."""
        tenant, refused = tenant_with(outlet), Refused()
        outlet.refresh(tenant.pipeline, refused, WALL)
        assert refused.refreshed == 1
        assert kept.of("source", "minute")[(("source", "crm"),)]["applied"] == 8
        assert kept.of("refusal", "minute") == {
            (("code", "gap"), ("source", "crm")): {"count": 1, "open": 1, "replayed": 1, "dropped": 0}
        }
        assert {at for grain, _, _, at in kept.found if grain == "minute"} == {WALL}
        ends = {at for _, m, _, at in kept.found if m == "curve" and "landing_p50" in kept.found["day", m, _, at]}
        assert ends == {moment("2026-03-31")}

    def test_names_and_curves_only_when_they_changed(self, outlet: StackOutlet, kept: Kept) -> None:
        """Hundreds of records that stay as they are are not written with every tick."""
        tenant = tenant_with(outlet)

        def written() -> set[str]:
            kept.writes.clear()
            outlet.refresh(tenant.pipeline, Refused(), WALL)
            names, curves = kept.writes.count(("day", "scope")), kept.writes.count(("day", "curve"))
            # Landings are curves too, and are written each time.
            return set(["scope"] * names + ["curve"] * (curves - 1))

        assert written() == {"scope", "curve"}
        assert written() == set()
        tenant.deal("2026-02-10T10:00", "more", 10, "2026-03-01")
        assert written() == set()
        tenant.tell("2026-02-10T11:00", "rep", "bob", name="Robert")
        assert written() == {"scope"}
        assert kept.of("scope")[(("dimension", "rep"), ("scope", "bob"))]["name"] == "Robert"
        tenant.deal("2026-04-01T11:00", "next", 10, "2026-05-01")  # another quarter runs
        assert written() == {"curve"}


class TestChores:
    """Records that cost more: one piece at a time, and no more often than they need to be."""

    def pieces(self, outlet: StackOutlet, pipeline: Pipeline, kept: Kept, now_s: float) -> list[tuple[str, ...]]:
        """What is made at a time until nothing is due, piece by piece: measurement, window and dimension."""
        made: list[tuple[str, ...]] = []
        while True:
            kept.found.clear()
            if not outlet.chore(pipeline, now_s):
                assert kept.found == {}
                return made
            (piece,) = {(m, *(dict(t).get(k, "") for k in ("period", "dimension"))) for _, m, t, _ in kept.found}
            made.append(piece)

    def test_each_piece_in_its_turn(self, outlet: StackOutlet, kept: Kept) -> None:
        """Deals first, then each window by each dimension; then nothing, however much time passes without a judgement."""
        tenant = tenant_with(outlet)
        expected = [("deal", "", "")] + [
            ("movement", window, by)
            for window in ("day", "week", "quarter")
            for by in ("company", "territory", "team", "rep")
        ]
        found = self.pieces(outlet, tenant.pipeline, kept, 1_000.0)
        assert sorted(found) == sorted(expected)
        assert found[0] == ("deal", "", "")
        assert self.pieces(outlet, tenant.pipeline, kept, 9_000.0) == []

    def test_no_more_often_than_needed(self, outlet: StackOutlet, kept: Kept) -> None:
        """A short window is made anew soon, a long one rarely, and each only when something was judged since."""
        tenant = tenant_with(outlet)
        self.pieces(outlet, tenant.pipeline, kept, 1_000.0)

        def after(seconds: float, number: int) -> set[str]:
            tenant.deal("2026-02-10T12:00", f"more{number}", number, "2026-03-01")
            return {
                m if m == "deal" else w for m, w, _ in self.pieces(outlet, tenant.pipeline, kept, 1_000.0 + seconds)
            }

        assert after(REFRESH_S["day"] - 1, 1) == set()
        assert after(REFRESH_S["day"], 2) == {"day"}
        assert after(REFRESH_S["week"], 3) == {"day", "week", "deal"}
        assert after(REFRESH_S["quarter"], 4) == {"day", "week", "quarter", "deal"}

    def test_nothing_before_the_first_judgement(self, outlet: StackOutlet) -> None:
        """A tenant without a log has nothing to show."""
        assert not outlet.chore(Tenant(outlet=outlet).pipeline, 1_000.0)


def test_the_present_is_not_behind_what_was_judged(outlet: StackOutlet) -> None:
    """A judgement between messages may be ahead of the newest change; boards never go back behind it."""
    tenant = tenant_with(outlet)
    newest = tenant.state.now
    assert moment_of(tenant.pipeline) == newest
    tenant.pipeline.cursor = tenant.pipeline.cursor._replace(at=newest + 5)
    assert moment_of(tenant.pipeline) == newest + 5
