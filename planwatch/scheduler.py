"""The scheduler role: what happens by the clock, once even where two schedulers run.

APScheduler wakes the jobs. A job that must happen once for each of its times (the weekly snapshot) is claimed in a
journal first, under its name and its local time: another scheduler finds the claim, a restart finds what was missed,
and a claim whose owner died is taken over. Delivery is at least once, as everywhere.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

import orjson
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from planwatch.logs import described, fields
from schemas.base import PlanwatchError
from schemas.clock import Clock
from storage.ports import Journal

log = logging.getLogger(__name__)

KIND, SINCE = "job", "job_since"
US = 1_000_000
#: A claim older than this belongs to a scheduler that died; an action must be over sooner.
CLAIM_US = 15 * 60 * US
RETRY_US = 5 * 60 * US
ATTEMPTS_MAX = 5
#: How often a job that happens once looks for a time that was missed, has failed, or was left behind.
SETTLE_MINUTES = 5
KEPT_US = 60 * 86_400 * US
THREADS = 4
Outcome = Literal["done", "failed"]


@dataclass(frozen=True)
class Job:
    """Something that happens by the clock.

    `act` does it and may say what it did; it has deadlines of its own. `cron`: fields of a cron expression (minute,
    hour, day_of_week, ...), read in `zone`. `at_start`: also when the scheduler starts. `once`: for each of its times
    once, over all schedulers, and made up for within `late` when it was missed.
    """

    name: str
    act: Callable[[], str | None]
    cron: Mapping[str, str | int] = field(default_factory=dict)
    zone: str = "UTC"
    at_start: bool = False
    once: bool = False
    late: timedelta = timedelta(days=6)

    def trigger(self) -> CronTrigger:
        """The times of the job, for APScheduler."""
        return CronTrigger(**{"second": 0, **self.cron}, timezone=ZoneInfo(self.zone))

    def last_due(self, now_us: int) -> datetime | None:
        """The newest of its times that is not after now, as local time; none within the time that it may be late."""
        now = datetime.fromtimestamp(now_us // US, UTC)
        trigger, found = self.trigger(), None
        at = trigger.get_next_fire_time(None, now - self.late)
        while at is not None and at.astimezone(UTC) <= now:
            found = at
            at = trigger.get_next_fire_time(at, now)
        return found


class JobMetrics(Protocol):
    """Where outcomes are counted."""

    def job(self, name: str, outcome: str) -> None:
        """A job ended."""
        ...


class Scheduler:
    """Runs jobs until it is told to stop. No error of a job ends it."""

    def __init__(
        self, jobs: Sequence[Job], journal: Journal, clock: Clock, tz: str = "UTC", metrics: JobMetrics | None = None
    ) -> None:
        self.jobs = tuple(jobs)
        self._journal, self._clock, self._metrics = journal, clock, metrics
        self._by = f"{platform.node()}:{os.getpid()}"
        self._scheduler = BackgroundScheduler(
            timezone=ZoneInfo(tz),
            executors={"default": ThreadPoolExecutor(THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for job in self.jobs:
            self._add(job)

    def _add(self, job: Job) -> None:
        # The first run at the start is not a trigger of its own: APScheduler would trip over it when it is stopped.
        at_once = {"next_run_time": datetime.now(UTC)}
        if not job.once:
            self._scheduler.add_job(
                self.perform, job.trigger(), [job], id=job.name, **(at_once if job.at_start else {})
            )
            return
        self._journal.record(SINCE, job.name, str(self._clock.now()).encode())
        self._scheduler.add_job(self.settle, job.trigger(), [job], id=job.name)
        often = CronTrigger(minute=f"*/{SETTLE_MINUTES}", second=30, timezone=ZoneInfo("UTC"))
        self._scheduler.add_job(self.settle, often, [job], id=f"{job.name}: settle", **at_once)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; what is under way is finished."""
        self._prune()
        self._scheduler.start()
        log.info("scheduler started", extra=fields(jobs=[job.name for job in self.jobs]))
        try:
            stop.wait()
        finally:
            self._scheduler.shutdown(wait=True)

    def perform(self, job: Job) -> Outcome:
        """Do a job now. Its errors are logged and counted, nothing else."""
        try:
            did = job.act()
        except PlanwatchError as error:
            log.error("job failed", extra=fields(job=job.name, reason=str(error)))
            return self._ended(job, "failed")
        except Exception as error:
            log.exception("job failed", extra=fields(job=job.name, reason=described(error)))
            return self._ended(job, "failed")
        log.log(logging.INFO if did else logging.DEBUG, "job done", extra=fields(job=job.name, did=did))
        return self._ended(job, "done")

    def settle(self, job: Job) -> Outcome | None:
        """Do a job for the newest of its times, unless that is done, under way, or before the first start of all."""
        try:
            key = self._claimed(job)
            if key is None:
                return None
            outcome = self.perform(job)
            self._journal.put(KIND, key, self._entry(outcome))
            return outcome
        except Exception as error:  # the journal is away: the next look at it will do
            log.exception("job cannot be claimed", extra=fields(job=job.name, reason=described(error)))
            return None

    def _claimed(self, job: Job) -> str | None:
        now = self._clock.now()
        due = job.last_due(now)
        since = self._journal.get(SINCE, job.name)
        if due is None or since is None or due.timestamp() * US < int(since):
            return None
        # The local time without its offset: an hour that comes twice is one time.
        time = f"{job.name}@{due.replace(tzinfo=None).isoformat(timespec='minutes')} {job.zone}"
        for attempt in range(1, ATTEMPTS_MAX + 1):
            key = f"{time}#{attempt}"
            if self._journal.record(KIND, key, self._entry("started")):
                return key
            earlier = orjson.loads(self._journal.get(KIND, key) or b"{}")
            age_us = now - int(earlier.get("at", 0))
            state = earlier.get("state")
            if state == "done" or age_us < {"started": CLAIM_US, "failed": RETRY_US}.get(str(state), 0):
                return None
        return None

    def _entry(self, state: str) -> bytes:
        return orjson.dumps({"state": state, "by": self._by, "at": self._clock.now()})

    def _ended(self, job: Job, outcome: Outcome) -> Outcome:
        if self._metrics is not None:
            self._metrics.job(job.name, outcome)
        return outcome

    def _prune(self) -> None:
        """Forget claims that nobody asks for any more."""
        oldest = self._clock.now() - KEPT_US
        entries = list(self._journal.items(KIND))
        self._journal.delete(KIND, [key for key, payload in entries if int(orjson.loads(payload)["at"]) < oldest])


def build(
    jobs: Sequence[Job], journal: Journal, clock: Clock, tz: str = "UTC", metrics: JobMetrics | None = None
) -> Scheduler:
    """A scheduler for these jobs, not yet running. Raises PlanwatchError when two jobs have one name."""
    names = [job.name for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PlanwatchError(f"Two scheduled jobs are called «{twice[0]}». Give each a name of its own.")
    return Scheduler(jobs, journal, clock, tz, metrics)


def check_job(check: Callable[[], Sequence[str]]) -> Job:
    """Every hour: what differs between the servers and the configuration goes to the log, each with what to do."""

    def act() -> str:
        found = list(check())
        for difference in found:
            log.warning("differs from the configuration", extra=fields(reason=difference))
        return f"{len(found)} differences"

    return Job("check-servers", act, {"minute": 0}, at_start=True)


def gauges_job(refresh: Callable[[], None]) -> Job:
    """Every minute: gauges that somebody has to ask servers for, such as the lag of consumer groups."""

    def act() -> None:
        refresh()

    return Job("refresh-gauges", act, {"minute": "*"}, at_start=True)


def snapshot_job(tenant: str, zone: str, take: Callable[[], str]) -> Job:
    """Monday at seven, the tenant's time: a Grafana snapshot of its Leadership board; `take` gives its address."""
    return Job(f"weekly-snapshot {tenant}", take, {"day_of_week": "mon", "hour": 7, "minute": 0}, zone, once=True)
