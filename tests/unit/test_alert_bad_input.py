"""The rule about bad input: a jump of a source's share fires once, and silence, restarts and replays change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.bad_input import Verdict, judge
from alerts.input_samples import FINE_S, HOURS_MAX, InputSamples
from alerts.rules import DEFAULT_RULES, load_rules, observe
from schemas.alert import Alert, InputSample, Rule, Signals, SourceInputs
from schemas.base import PlanwatchError
from storage.memory import MemoryJournal
from tests.unit.alert_samples import MAY, US, Recorder, engine

MINUTE = 60 * US
HOUR = 60 * MINUTE
RULE = Rule(name="bad_input", kind="bad_input")


def samples(*steps: tuple[int, int, int], code: str = "bad_date") -> SourceInputs:
    """Steps of (minutes later, inputs taken, inputs refused); the first sample has counted nothing yet."""
    at, taken, refused = 0, 0, 0
    found = [InputSample(0, 0, {})]
    for minutes, good, bad in steps:
        at, taken, refused = at + minutes * MINUTE, taken + good, refused + bad
        found.append(InputSample(at, taken, {code: refused} if refused else {}))
    return SourceInputs(source="crm", samples=tuple(found))


def judged(*steps: tuple[int, int, int], **settings: Any) -> Verdict | None:
    """The verdict after these steps."""
    return judge(samples(*steps), RULE.model_copy(update=settings))


CALM = [(60, 199, 1)] * 10  # ten hours, each with 1 of 200 refused


class TestJudge:
    """What is a jump."""

    def test_a_jump_over_the_usual_share(self) -> None:
        """30 of 100 where 1 of 200 is usual: all figures are those of the newest hour, usual of the hours before."""
        found = judged(*CALM, (60, 70, 30))
        assert found is not None
        assert (found.jumped, found.back) == (True, False)
        share = found.share
        assert (share.inputs, share.refused, share.share) == (100, 30, Decimal("0.3"))
        assert (share.usual, share.threshold) == (Decimal("0.005"), Decimal("0.05"))
        assert share.code == "bad_date"

    @pytest.mark.parametrize(
        ("newest", "jumped", "back"),
        [
            ((60, 96, 4), False, False),  # 4 %: less than 5 %, more than halfway from the usual 0.5 % to it
            ((60, 95, 5), True, False),
            ((60, 98, 2), False, True),
            ((60, 4, 4), True, False),  # the 20 newest inputs reach into the hour before: 5 of 208
            ((60, 15, 4), False, False),
        ],
    )
    def test_the_bounds(self, newest: tuple[int, int, int], jumped: bool, back: bool) -> None:
        """A share from 5 % on has jumped, one near the usual is back, and one between is neither."""
        found = judged(*CALM, newest)
        assert found is not None
        if newest == (60, 4, 4):
            assert (found.share.inputs, found.share.refused, found.jumped) == (208, 5, False)
        elif newest == (60, 15, 4):
            assert (found.share.inputs, found.share.refused) == (219, 5)
        else:
            assert (found.jumped, found.back) == (jumped, back)

    def test_a_source_that_is_bad_as_a_rule(self) -> None:
        """Where 1 of 10 is usual, 2 of 10 are no jump and 4 of 10 are; where 6 of 10 are, 9 of 10 are."""
        tenth, most = [(60, 90, 10)] * 10, [(60, 40, 60)] * 10
        for steps, jumped in (
            ([*tenth, (60, 80, 20)], False),
            ([*tenth, (60, 60, 40)], True),
            ([*most, (60, 25, 75)], False),
            ([*most, (60, 10, 90)], True),
        ):
            found = judged(*steps)
            assert found is not None
            assert found.jumped is jumped

    def test_a_new_source_that_is_bad_from_the_start(self) -> None:
        """While nothing is usual yet its own share counts, once there are inputs enough; then it becomes usual."""
        assert judged((1, 0, 19)) is None
        found = judged((1, 0, 20))
        assert found is not None
        assert (found.jumped, found.share.usual) == (True, None)
        found = judged((10, 100, 0), (10, 70, 30))
        assert found is not None
        assert (found.jumped, found.share.share, found.share.usual) == (True, Decimal("0.15"), None)
        found = judged(*[(60, 90, 10)] * 3)
        assert found is not None
        assert (found.jumped, found.back, found.share.usual) == (False, True, Decimal("0.1"))

    def test_silence_changes_nothing(self) -> None:
        """Weeks without inputs, or with few: the newest inputs stay those that came last."""
        before = judged(*CALM, (60, 70, 30))
        assert before is not None
        after = judged(*CALM, (60, 70, 30), (14 * 24 * 60, 1, 0))
        assert after is not None
        assert after.jumped
        assert (after.share.inputs, after.share.refused) == (101, 30)

    def test_a_source_that_stays_bad_does_not_become_usual(self) -> None:
        """A week of 30 % is a jump at its end as at its beginning, and what was usual before still is."""
        found = judged(*CALM, *[(60, 70, 30)] * 168)
        assert found is not None
        assert (found.jumped, found.share.usual) == (True, Decimal("0.005"))

    def test_it_is_over_when_the_share_is_back(self) -> None:
        """An hour of good input after a jump."""
        found = judged(*CALM, *[(60, 70, 30)] * 5, (60, 100, 0))
        assert found is not None
        assert (found.jumped, found.back, found.share.refused) == (False, True, 0)

    def test_a_count_that_fell_says_nothing(self) -> None:
        """Retention removed refusals and a restarted reader counts fewer: that is no input, good or bad."""
        old = samples(*CALM, (60, 100, 0)).samples
        fallen = InputSample(old[-1].at + HOUR, old[-1].taken + 100, {"bad_date": 2})
        found = judge(SourceInputs(source="crm", samples=(*old, fallen)), RULE)
        assert found is not None
        assert (found.share.inputs, found.share.refused, found.back) == (100, 0, True)

    def test_the_commonest_code(self) -> None:
        """Of the newest inputs, not of all: codes of long ago do not matter."""
        old = samples(*[(60, 10, 90)] * 3, code="gap").samples
        last = InputSample(old[-1].at + HOUR, 100, {"gap": 271, "bad_date": 8, "bad_id": 8})
        found = judge(SourceInputs(source="crm", samples=(*old, last)), RULE)
        assert found is not None
        assert found.share.code == "bad_date"


STEPS = st.lists(st.tuples(st.integers(1, 90), st.integers(0, 60), st.integers(0, 20)), max_size=40)


@given(steps=STEPS, before=st.integers(0, 10**15))
def test_the_verdict_is_a_function_of_the_samples(steps: list[tuple[int, int, int]], before: int) -> None:
    """Whenever it all happened, and whatever was counted before the samples begin, the same steps give the same verdict."""
    one = samples(*steps)
    moved = tuple(InputSample(s.at + before, s.taken + before, s.refused) for s in one.samples)
    verdict = judge(one, RULE)
    assert judge(SourceInputs(source="crm", samples=moved), RULE) == verdict
    assert judge(one, RULE) == verdict
    if verdict is not None:
        assert 0 <= verdict.share.share <= 1
        assert not (verdict.jumped and verdict.back)


@given(steps=STEPS, restarts=st.sets(st.integers(0, 40)))
def test_restarts_change_nothing(steps: list[tuple[int, int, int]], restarts: set[int]) -> None:
    """Samples and verdicts are the same with and without restarts, at any moment."""
    steady, journal = InputSamples(MemoryJournal()), MemoryJournal()
    restarted = InputSamples(journal)
    at, taken, refused = MAY, 0, 0
    for index, (minutes, good, bad) in enumerate(steps):
        if index in restarts:
            restarted = InputSamples(journal)
        at, taken, refused = at + minutes * 20 * US, taken + good, refused + bad
        reading = {"crm": (taken, {"bad_date": refused})}
        found = steady.take(at, reading)
        assert restarted.take(at, reading) == found
        assert [judge(each, RULE) for each in InputSamples(journal).take(at, {})] == [
            judge(each, RULE) for each in found
        ]


class TestSamples:
    """What is kept."""

    def test_the_first_look_is_where_sources_begin(self) -> None:
        """What came before there were samples is no jump; a source that comes later begins with nothing."""
        journal = MemoryJournal()
        (one,) = InputSamples(journal).take(MAY, {"old": (0, {"gap": 500})})
        assert judge(one, RULE) is None
        found = {s.source: s for s in InputSamples(journal).take(MAY + MINUTE, {"new": (0, {"gap": 50})})}
        assert [(s.taken, s.refused) for s in found["new"].samples] == [(0, {}), (0, {"gap": 50})]
        verdict = judge(found["new"], RULE)
        assert verdict is not None
        assert verdict.jumped

    def test_a_sample_a_minute_where_something_came(self) -> None:
        """Sooner, or without anything new, nothing is written."""
        made = InputSamples(MemoryJournal())
        made.take(MAY, {"crm": (1, {})})
        for at, taken, count in ((30, 2, 1), (60, 2, 2), (600, 2, 2), (601, 3, 3)):
            (found,) = made.take(MAY + at * US, {"crm": (taken, {})})
            assert len(found.samples) == count

    def test_a_clock_that_was_set_back(self) -> None:
        """Samples from the future are left out; the counts lose nothing, as they only grow."""
        made = InputSamples(MemoryJournal())
        made.take(MAY, {"crm": (1, {})})
        made.take(MAY + 9 * HOUR, {"crm": (2, {})})
        (found,) = made.take(MAY + HOUR, {"crm": (3, {})})
        assert [(s.at, s.taken) for s in found.samples] == [(MAY, 1), (MAY + HOUR, 3)]

    def test_they_are_bounded(self) -> None:
        """Nine days of a sample every three minutes: those of two hours and a week of hours are kept."""
        made = InputSamples(MemoryJournal())
        found: Sequence[SourceInputs] = ()
        for minute in range(0, 9 * 24 * 60, 3):
            found = made.take(MAY + minute * MINUTE, {"crm": (minute + 1, {})})
        kept = found[0].samples
        assert len(kept) == HOURS_MAX + FINE_S // 180 + 1
        assert kept[-1].at - kept[0].at >= 7 * 24 * HOUR


class TestAlert:
    """What operators are told."""

    def run(self, *steps: tuple[int, int, int]) -> tuple[list[Alert], Recorder]:
        """An engine restarted before every step, with a tick each minute; transitions and messages."""
        journal, receiver, told = MemoryJournal(), Recorder(), []
        at, taken, refused = MAY, 0, 0
        for minutes, good, bad in [(0, 0, 0), *steps]:
            made = engine(journal, {"mail": receiver}, RULE)
            assert made.inputs is not None
            taken, refused = taken + good, refused + bad
            for _ in range(max(minutes, 1)):
                at += MINUTE
                inputs = made.inputs.take(at, {"crm": (taken, {"bad_date": refused} if refused else {})})
                told += made.evaluate(Signals(now=at, inputs=inputs))
                made.flush(at)
        return told, receiver

    def test_it_fires_once_and_resolves(self) -> None:
        """A jump that goes on for hours is one alert to the operators, which is over when the share is back."""
        told, receiver = self.run(*CALM, *[(60, 70, 30)] * 4, *[(60, 100, 0)] * 3)
        assert [(a.state, a.recipient, a.dimension, a.scope) for a in told] == [
            ("firing", "operators", "source", "crm"),
            ("resolved", "operators", "source", "crm"),
        ]
        assert told[0].sentence == (
            "Source crm: 30 of the last 100 inputs were refused (30 %, usually 0.5 %), mostly as bad_date. See planwatch "
            "quarantine list --source crm; mend the source or its mapping, then planwatch quarantine replay --source crm."
        )
        assert told[1].sentence == "Source crm sends good input again: 0 of the last 100 inputs refused (0.0 %)."
        assert [n.reason for n in receiver.got] == ["first_firing", "resolved"]

    def test_a_second_jump_is_another_alert(self) -> None:
        """After it was over, the next jump is told anew."""
        told, _ = self.run(*CALM, (60, 70, 30), (60, 100, 0), (60, 100, 0), (60, 70, 30))
        assert [a.state for a in told] == ["firing", "resolved", "firing"]
        assert told[0].id != told[2].id

    def test_history_is_not_looked_at(self) -> None:
        """While nobody takes samples the rule sees nothing, and what fires goes on firing."""
        assert observe([RULE], Signals(now=MAY)) == []


def test_the_rule_in_a_file() -> None:
    """It is among the rules that are there without a file, and its settings are checked."""
    assert [rule.name for rule in DEFAULT_RULES if rule.kind == "bad_input"] == ["bad_input"]
    (rule,) = load_rules("rules:\n  - {name: bad, kind: bad_input, window_s: 600, share_min: 0.1, factor: 2.5}\n")
    assert (rule.window_s, rule.share_min, rule.factor) == (600, Decimal("0.1"), Decimal("2.5"))
    with pytest.raises(PlanwatchError, match="line 2: rule «bad»: factor"):
        load_rules("rules:\n  - {name: bad, kind: bad_input, factor: 1}\n")
