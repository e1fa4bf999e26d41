"""The scheduler: each time once, over restarts, failures, several schedulers and changes of the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from planwatch.metrics import Metrics
from planwatch.scheduler import (
    ATTEMPTS_MAX,
    CLAIM_US,
    KEPT_US,
    RETRY_US,
    Job,
    Scheduler,
    build,
    check_job,
    gauges_job,
    snapshot_job,
)
from schemas.base import PlanwatchError
from schemas.clock import ManualClock, SystemClock
from storage.memory import MemoryJournal
from storage.sqlite_journal import SqliteJournal

BERLIN = "Europe/Berlin"


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


class Acts:
    """An action that counts, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.count, self.failures = 0, failures

    def __call__(self) -> str:
        self.count += 1
        if self.count <= self.failures:
            raise OSError("grafana is away")
        return f"http://grafana/snapshot/{self.count}"


@pytest.fixture
def clock() -> ManualClock:
    """Wednesday noon, before the first Monday."""
    return ManualClock(us("2026-03-18T12:00:00+01:00"))


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


def scheduler(act: Callable[[], str], journal: MemoryJournal, clock: ManualClock) -> tuple[Scheduler, Job]:
    job = snapshot_job("demo", BERLIN, act)
    return build([job], journal, clock, BERLIN), job


def test_a_weekly_job_is_done_once_for_each_monday(journal: MemoryJournal, clock: ManualClock) -> None:
    """Looked at every ten minutes for three weeks, over the start of summer time, it runs on three Mondays at seven."""
    act = Acts()
    weekly, job = scheduler(act, journal, clock)
    ran = []
    for _ in range(3 * 7 * 24 * 6):
        before = act.count
        weekly.settle(job)
        if act.count > before:
            ran.append(datetime.fromtimestamp(clock.now_us / 1e6, UTC).isoformat())
        clock.now_us += 600 * 1_000_000
    assert ran == ["2026-03-23T06:00:00+00:00", "2026-03-30T05:00:00+00:00", "2026-04-06T05:00:00+00:00"]


def test_monday_at_seven_when_summer_time_ends() -> None:
    """The week in which the clock goes back has one hour more between two runs."""
    job = snapshot_job("demo", BERLIN, Acts())
    before, after = (job.last_due(us(f"2026-10-{day}T12:00:00+00:00")) for day in (20, 26))
    assert before is not None
    assert after is not None
    assert (before.hour, after.hour) == (7, 7)
    assert after.astimezone(UTC) - before.astimezone(UTC) == timedelta(hours=7 * 24 + 1)


def test_an_hour_that_comes_twice_is_one_time(journal: MemoryJournal) -> None:
    """A daily job at half past two runs once on the day on which half past two comes twice."""
    act = Acts()
    clock = ManualClock(us("2026-10-24T23:00:00+00:00"))
    job = Job("nightly", act, {"hour": 2, "minute": 30}, BERLIN, once=True, late=timedelta(hours=20))
    nightly = build([job], journal, clock)
    for _ in range(40):
        clock.now_us += 600 * 1_000_000
        nightly.settle(job)
    assert act.count == 1


def test_an_hour_that_is_skipped_does_not_skip_the_job(journal: MemoryJournal) -> None:
    """A daily job at half past two runs on the day that has no half past two."""
    act = Acts()
    clock = ManualClock(us("2026-03-28T23:00:00+00:00"))
    job = Job("nightly", act, {"hour": 2, "minute": 30}, BERLIN, once=True, late=timedelta(hours=20))
    nightly = build([job], journal, clock)
    for _ in range(24):
        clock.now_us += 600 * 1_000_000
        nightly.settle(job)
    assert act.count == 1


def test_a_missed_run_is_done_after_a_restart(journal: MemoryJournal, clock: ManualClock) -> None:
    """No scheduler ran on Monday; the one that starts on Tuesday does Monday's job, and only once."""
    scheduler(Acts(), journal, clock)
    clock.now_us = us("2026-03-24T15:00:00+01:00")
    act = Acts()
    for _ in range(3):
        weekly, job = scheduler(act, journal, clock)
        weekly.settle(job)
    assert act.count == 1


def test_what_was_due_before_the_first_start_is_not_missed(journal: MemoryJournal, clock: ManualClock) -> None:
    """A new installation does not take last Monday's snapshot."""
    act = Acts()
    weekly, job = scheduler(act, journal, clock)
    assert weekly.settle(job) is None
    assert act.count == 0


def test_two_schedulers_do_it_once(tmp_path: Path, clock: ManualClock) -> None:
    """Two schedulers on one journal, at the same moment from many threads: one action."""
    act = Acts()
    pairs = [scheduler(act, SqliteJournal(tmp_path / "journal.sqlite"), clock) for _ in range(2)]  # type: ignore[arg-type]
    clock.now_us = us("2026-03-23T07:00:00+01:00")
    gate = threading.Barrier(8)

    def settle(weekly: Scheduler, job: Job) -> None:
        gate.wait(10)
        weekly.settle(job)

    threads = [threading.Thread(target=settle, args=pairs[i % 2]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert act.count == 1


def test_a_failure_is_tried_again_later_and_not_for_ever(journal: MemoryJournal, clock: ManualClock) -> None:
    """A failed run is repeated after a while, a bounded number of times; the next week begins afresh."""
    act = Acts(failures=ATTEMPTS_MAX)
    weekly, job = scheduler(act, journal, clock)
    clock.now_us = us("2026-03-23T07:00:00+01:00")
    assert weekly.settle(job) == "failed"
    assert weekly.settle(job) is None  # not at once
    for _ in range(2 * ATTEMPTS_MAX):
        clock.now_us += RETRY_US
        weekly.settle(job)
    assert act.count == ATTEMPTS_MAX
    clock.now_us = us("2026-03-30T07:00:00+02:00")
    assert weekly.settle(job) == "done"


def test_a_run_that_failed_once_is_done_the_second_time(journal: MemoryJournal, clock: ManualClock) -> None:
    """After a success nothing is repeated."""
    act = Acts(failures=1)
    weekly, job = scheduler(act, journal, clock)
    clock.now_us = us("2026-03-23T07:00:00+01:00")
    outcomes = []
    for _ in range(4):
        outcomes.append(weekly.settle(job))
        clock.now_us += RETRY_US
    assert outcomes == ["failed", "done", None, None]


def test_a_claim_of_the_dead_is_taken_over(journal: MemoryJournal, clock: ManualClock) -> None:
    """A scheduler that died in the middle of a job leaves a claim: respected for a while, then taken over."""
    clock_of_the_dead = ManualClock(clock.now_us)

    def dies() -> str:
        raise SystemExit  # what no handler of errors holds back

    weekly, job = scheduler(dies, journal, clock_of_the_dead)
    clock_of_the_dead.now_us = us("2026-03-23T07:00:00+01:00")
    with pytest.raises(SystemExit):
        weekly.settle(job)
    act = Acts()
    heir, job = scheduler(act, journal, clock)
    clock.now_us = clock_of_the_dead.now_us + CLAIM_US - 1
    assert heir.settle(job) is None
    clock.now_us += 1
    assert heir.settle(job) == "done"
    assert act.count == 1


def test_a_journal_that_is_away_stops_nothing(clock: ManualClock) -> None:
    """The job is not done without its claim, no error leaves, and the next look does it."""

    class Away(MemoryJournal):
        away = True

        def get(self, kind: str, key: str) -> bytes | None:
            if self.away:
                raise OSError("disk full")
            return super().get(kind, key)

    journal, act = Away(), Acts()
    weekly, job = scheduler(act, journal, clock)
    clock.now_us = us("2026-03-23T07:00:00+01:00")
    assert weekly.settle(job) is None
    journal.away = False
    assert weekly.settle(job) == "done"


def test_errors_are_counted_and_logged_with_their_reason(
    journal: MemoryJournal, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a job raises, the caller sees an outcome, and operators the reason."""
    metrics = Metrics("scheduler")

    def mendable() -> str:
        raise PlanwatchError("Kafka does not answer at 127.0.0.1:9092. Start it.")

    jobs = [Job("broken", Acts(failures=9)), Job("mendable", mendable), Job("good", Acts())]
    made = build(jobs, journal, clock, metrics=metrics)
    assert [made.perform(job) for job in jobs] == ["failed", "failed", "done"]
    reasons = [r.__dict__["fields"]["reason"] for r in caplog.records if r.levelname == "ERROR"]
    assert reasons == ["OSError: grafana is away", "Kafka does not answer at 127.0.0.1:9092. Start it."]
    text = metrics.render()[0].decode()
    assert 'planwatch_jobs_total{job="broken",outcome="failed"} 1.0' in text
    assert 'planwatch_jobs_total{job="good",outcome="done"} 1.0' in text


def test_old_claims_are_forgotten(journal: MemoryJournal, clock: ManualClock) -> None:
    """The journal does not grow for ever: at a start, claims older than two months go."""
    weekly, job = scheduler(Acts(), journal, clock)
    clock.now_us = us("2026-03-23T07:00:00+01:00")
    weekly.settle(job)
    stop = threading.Event()
    stop.set()
    weekly.run(stop)
    assert len(list(journal.items("job"))) == 1
    clock.now_us += KEPT_US + 1_000_000
    build([], journal, clock).run(stop)
    assert list(journal.items("job")) == []


def test_jobs_run_at_the_start_and_a_failing_one_disturbs_no_other(journal: MemoryJournal) -> None:
    """The real thing: the check and the gauges run as soon as the scheduler starts, though another job fails."""
    checked, refreshed, stop = threading.Event(), threading.Event(), threading.Event()

    def check() -> list[str]:
        checked.set()
        return ["topic planwatch.changes has 4 partitions, 8 are configured"]

    jobs = [
        Job("broken", Acts(failures=99), {"minute": "*"}, at_start=True),
        check_job(check),
        gauges_job(refreshed.set),
    ]
    thread = threading.Thread(target=build(jobs, journal, SystemClock()).run, args=(stop,))
    thread.start()
    try:
        assert checked.wait(20)
        assert refreshed.wait(20)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


def test_the_check_says_what_differs(
    journal: MemoryJournal, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each difference is a warning of its own."""
    job = check_job(lambda: ["bucket planwatch is missing: planwatch influx apply", "topic x differs"])
    assert build([job], journal, clock).perform(job) == "done"
    said = [r.__dict__["fields"]["reason"] for r in caplog.records if r.levelname == "WARNING"]
    assert said == ["bucket planwatch is missing: planwatch influx apply", "topic x differs"]


def test_two_jobs_of_one_name_are_refused(journal: MemoryJournal, clock: ManualClock) -> None:
    """Claims are kept by name, so a name stands for one job."""
    with pytest.raises(PlanwatchError, match="weekly-snapshot demo"):
        build([snapshot_job("demo", BERLIN, Acts()), snapshot_job("demo", "UTC", Acts())], journal, clock)
