"""The engine: what is told, kept and delivered."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alerts.outbox import Outbox
from alerts.outcomes import Delivered, Rejected, RetryAfter
from alerts.rules import DEFAULT_RULES
from schemas.alert import Notification, Rule, SourceHealth
from schemas.base import PlanwatchError
from schemas.config import ReceiverConfig
from storage.memory import MemoryJournal
from storage.sqlite_journal import SqliteJournal
from tests.unit.alert_samples import DAY, MAY, US, Recorder, engine, risk_rule, signals, slip, status

BAD, GOOD = "0.1", "0.9"
SLIP = Rule(name="slip", kind="deal_slipped")


def said(receiver: Recorder) -> list[tuple[str, str, int]]:
    """What a receiver got: recipient, reason, number of alerts."""
    return [(n.recipient, n.reason, len(n.alerts)) for n in receiver.got]


class CountingJournal(MemoryJournal):
    """Counts what is written."""

    writes = 0

    def put_many(self, records: Any) -> None:
        """Count, then write."""
        self.writes += 1
        super().put_many(records)


def test_fires_resolves_and_tells_once_each() -> None:
    """A target at risk is told once, and once that it is over."""
    mail = Recorder()
    e = engine(MemoryJournal(), {"mail": mail})
    fired = e.evaluate(signals(MAY, status(BAD)))
    e.evaluate(signals(MAY + US, status(BAD)))
    over = e.evaluate(signals(MAY + 2 * US, status(GOOD)))
    e.flush(MAY)
    assert [(a.state, a.id) for a in fired + over] == [("firing", fired[0].id), ("resolved", fired[0].id)]
    assert said(mail) == [("rep:r1", "first_firing", 1), ("rep:r1", "resolved", 1)]
    assert (e.active(), [a.state for a in e.history()], e.waiting) == ([], ["resolved"], 0)


def test_one_message_per_recipient() -> None:
    """Two alerts of one rep are one message, the other rep gets his own, with name, address and board."""
    mail = Recorder()
    e = engine(MemoryJournal(), {"mail": mail}, risk_rule(), SLIP)
    e.evaluate(signals(MAY, status(BAD), status(BAD, rep="r2"), slipped=[slip()]))
    e.flush(MAY)
    assert sorted(said(mail)) == [("rep:r1", "first_firing", 2), ("rep:r2", "first_firing", 1)]
    first = mail.got[0]
    assert (first.recipient_name, first.address, first.board_url) == (
        "Rep r1",
        "r1@example.com",
        "http://127.0.0.1:8350/",
    )
    assert [a.severity for a in first.alerts] == ["critical", "warning"]


def test_routes_by_rule_and_by_receiver() -> None:
    """A rule's `notify` and a receiver's `recipients` both narrow who gets what."""
    configs = [
        ReceiverConfig(name="all", kind="board"),
        ReceiverConfig(name="r2", kind="board", recipients=("rep:Rep r2",)),
        ReceiverConfig(name="none", kind="board"),
    ]
    got = {c.name: Recorder() for c in configs}
    e = engine(MemoryJournal(), got, risk_rule(notify=("all", "r2")), configs=configs)
    e.evaluate(signals(MAY, status(BAD), status(BAD, rep="r2")))
    e.flush(MAY)
    assert {name: sorted(n.recipient for n in r.got) for name, r in got.items()} == {
        "all": ["rep:r1", "rep:r2"],
        "r2": ["rep:r2"],
        "none": [],
    }
    with pytest.raises(PlanwatchError, match="no receiver «fax»"):
        engine(MemoryJournal(), got, risk_rule(notify=("fax",)), configs=configs)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_restart_changes_no_notification(restart: bool, kind: str, tmp_path: Path) -> None:
    """A new engine on the same journal after each step tells exactly what one engine tells."""
    mail, rules = Recorder(), (risk_rule(for_s=86_400, keep_firing_s=86_400, repeat_s=5 * 86_400), SLIP)
    memory = MemoryJournal()
    journal = (lambda: memory) if kind == "memory" else (lambda: SqliteJournal(tmp_path / "journal"))
    e = engine(journal(), {"mail": mail}, *rules)
    days = [BAD] * 8 + ["0.5", GOOD, None, None, GOOD, GOOD, GOOD, BAD, BAD]
    for day, probability in enumerate(days):
        slipped = [slip(f"e{day // 5}", rep="r2")]  # each comes again and again
        e.evaluate(signals(MAY + day * DAY, status(probability), slipped=slipped))
        e.flush(MAY + day * DAY)
        if restart:
            e = engine(journal(), {"mail": mail}, *rules)
    assert len({n.key for n in mail.got}) == len(mail.got)
    assert said(mail) == [
        ("rep:r2", "first_firing", 1),
        ("rep:r1", "first_firing", 1),
        ("rep:r2", "first_firing", 1),
        ("rep:r1", "repeat_interval", 1),
        ("rep:r2", "first_firing", 1),
        ("rep:r1", "repeat_interval", 1),
        ("rep:r1", "resolved", 1),
        ("rep:r2", "first_firing", 1),
        ("rep:r1", "first_firing", 1),
    ]


def test_history_is_nobodys_news() -> None:
    """What fires while history is loaded is not sent then or later; its end and what is new are."""
    mail = Recorder()
    e = engine(MemoryJournal(), {"mail": mail})
    loaded = e.evaluate(signals(MAY, status(BAD)), deliver=False)
    e.evaluate(signals(MAY + US, status(BAD)))
    e.flush(MAY)
    assert ([a.state for a in loaded], mail.tried) == (["firing"], [])
    e.evaluate(signals(MAY + 2 * US, status(BAD), status(BAD, rep="r2")))
    e.evaluate(signals(MAY + 3 * US, status(GOOD), status(BAD, rep="r2")))
    e.flush(MAY)
    assert said(mail) == [("rep:r2", "first_firing", 1), ("rep:r1", "resolved", 1)]


def test_no_data_is_shown_as_such() -> None:
    """A firing alert of which nothing is known stays active and says so; nobody is told that it is over."""
    mail = Recorder()
    e = engine(MemoryJournal(), {"mail": mail})
    e.evaluate(signals(MAY, status(BAD)))
    assert e.evaluate(signals(MAY + US, status(None))) == []
    e.flush(MAY)
    assert [a.state for a in e.active()] == ["no_data"]
    assert said(mail) == [("rep:r1", "first_firing", 1)]


def test_a_silent_source_raises_one_alert_and_resolves_none() -> None:
    """Invariant 9: staleness is told to the operators, and what was at risk stays so."""
    mail = Recorder()
    quiet = Rule(name="quiet", kind="source_silent", silent_for_s=3600)
    e = engine(MemoryJournal(), {"mail": mail}, risk_rule(), quiet)
    health = [SourceHealth(source="crm", last_seen_at=MAY)]
    e.evaluate(signals(MAY, status(BAD), sources=health))
    for hour in range(2, 49):
        e.evaluate(signals(MAY + hour * DAY // 24, status(GOOD), sources=health))
    e.flush(MAY)
    assert sorted(said(mail)) == [("operators", "first_firing", 1), ("rep:r1", "first_firing", 1)]
    assert {a.rule for a in e.active()} == {"at_risk", "quiet"}


@pytest.mark.parametrize(
    ("now", "statuses", "words"),
    [
        (MAY + 60 * DAY, [], "Period 2017-Q2 ended"),
        (MAY + DAY, [status(rep="r2")], "no longer a target"),
        (MAY + DAY, [], None),
    ],
)
def test_a_target_that_is_no_more(now: int, statuses: list[Any], words: str | None) -> None:
    """The end of a period and a changed plan close an alert; an empty look at the world does not."""
    e = engine(MemoryJournal(), {})
    e.evaluate(signals(MAY, status(BAD)))
    closed = e.evaluate(signals(now, *statuses))
    assert [words in a.sentence for a in closed if words] == ([True] if words else [])
    assert len(e.active()) == (0 if words else 1)


def test_a_rule_that_is_removed_closes_its_alerts() -> None:
    """No alert stays for ever because nobody looks at it any more."""
    journal, mail = MemoryJournal(), Recorder()
    engine(journal, {"mail": mail}).evaluate(signals(MAY, status(BAD)))
    e = engine(journal, {"mail": mail}, SLIP)
    assert [a.state for a in e.evaluate(signals(MAY + US, status(BAD)))] == ["resolved"]
    assert e.active() == []


def test_an_outage_holds_back_nothing_else() -> None:
    """A receiver that fails, or breaks, delays its own messages only, by a growing and bounded time."""
    down, fine = Recorder(*[RetryAfter(0, "away"), OSError("broken")] * 10), Recorder()
    e = engine(MemoryJournal(), {"down": down, "fine": fine})
    e.evaluate(signals(MAY, status(BAD), status(BAD, rep="r2")))
    tries = []
    for second in range(3600):
        before = len(down.tried)
        e.flush(MAY + second * US)
        if len(down.tried) > before:
            tries.append(second)
    assert len(fine.got) == 2
    assert tries[:6] == [0, 1, 3, 7, 15, 31]
    assert max(b - a for a, b in pairwise(tries)) == 300
    later = MAY + 40 * 3600 * US
    for step in range(40):
        e.flush(later + step * 400 * US)
    assert (sorted(n.recipient for n in down.got), e.waiting) == (["rep:r1", "rep:r2"], 0)


def test_what_was_due_is_delivered_after_a_restart_with_the_same_key() -> None:
    """The outbox, its attempts and its keys survive; what was delivered is not delivered again."""
    journal, down = MemoryJournal(), Recorder(RetryAfter(50, "away"))
    e = engine(journal, {"mail": down})
    e.evaluate(signals(MAY, status(BAD)))
    e.flush(MAY)
    back = Recorder()
    e = engine(journal, {"mail": back})
    e.flush(MAY + 49 * US)
    assert (back.tried, e.waiting) == ([], 1)
    e.flush(MAY + 50 * US)
    engine(journal, {"mail": back}).flush(MAY + 99 * US)
    assert [n.key for n in back.got] == [down.tried[0].key]


def test_a_rejected_message_is_given_up() -> None:
    """What a receiver will never take does not stay."""
    e = engine(MemoryJournal(), {"mail": Recorder(Rejected("no"))})
    e.evaluate(signals(MAY, status(BAD)))
    e.flush(MAY)
    assert e.waiting == 0


def test_a_receiver_that_hangs_blocks_nobody() -> None:
    """`flush` comes back while a receiver hangs; the others got theirs; the answer is noted when it comes."""
    release, got = threading.Event(), []

    class Hanging:
        def deliver(self, notification: Notification) -> Delivered:
            release.wait(30)
            got.append(notification)
            return Delivered()

    fine = Recorder()
    e = engine(MemoryJournal(), {"hangs": Hanging(), "fine": fine})
    e.evaluate(signals(MAY, status(BAD)))
    start = time.monotonic()
    e.flush(MAY, wait_s=0.05)
    assert time.monotonic() - start < 5
    e.flush(MAY, wait_s=5)  # must not start a second delivery of the same
    assert (len(fine.got), e.waiting) == (1, 1)
    release.set()
    deadline = time.monotonic() + 20
    while e.waiting and time.monotonic() < deadline:
        e.flush(MAY)
    assert (len(got), e.waiting) == (1, 0)


def test_the_outbox_is_bounded_and_good_news_goes_first(caplog: pytest.LogCaptureFixture) -> None:
    """When the outbox is full the oldest good news is dropped, then the oldest at all, with a warning."""
    mail = Recorder()
    e = engine(MemoryJournal(), {"mail": mail})
    e.evaluate(signals(MAY, status(BAD)))
    e.evaluate(signals(MAY + US, status(GOOD)))
    e.flush(MAY)
    bad, good = mail.got
    box = Outbox(MemoryJournal(), size_max=2)
    for n, sample in enumerate([bad, good, bad, bad]):
        box.add("mail", sample.model_copy(update={"key": f"k{n}"}))
    box.flush(MAY, {"mail": mail}, 5)
    assert [n.key for n in mail.got[2:]] == ["k2", "k3"]
    assert caplog.text.count("outbox is full") == 2


def test_writes_only_what_changed() -> None:
    """Evaluations that change nothing worth telling write nothing."""
    journal = CountingJournal()
    e = engine(journal, {"mail": Recorder()})
    e.evaluate(signals(MAY, status("0.11")))
    before = journal.writes
    for second in range(1, 100):
        e.evaluate(signals(MAY + second * US, status("0.1101", actual=Decimal(210_000 + second))))
    assert (before, journal.writes) == (1, 1)
    assert (e.active()[0].updated_at, e.active()[0].value) == (MAY + 99 * US, Decimal("0.1101"))


def test_one_evaluation_takes_milliseconds() -> None:
    """300 targets by five rules are judged in a few milliseconds when nothing happens, alerts firing or not."""
    e = engine(MemoryJournal(), {"mail": Recorder()}, *DEFAULT_RULES)
    many = [status(BAD if n % 3 == 0 else GOOD, rep=f"r{n}") for n in range(300)]
    health = [SourceHealth(source="crm", last_seen_at=MAY)]
    e.evaluate(signals(MAY, *many, sources=health))
    e.evaluate(signals(MAY + 3 * DAY, *many, sources=health))
    assert len(e.active()) > 300
    times = []
    for n in range(10):
        moment = signals(MAY + 3 * DAY + n * US, *many, sources=health)
        start = time.process_time()
        e.evaluate(moment)
        times.append(time.process_time() - start)
    assert min(times) < 0.015  # 5 ms on an idle machine
