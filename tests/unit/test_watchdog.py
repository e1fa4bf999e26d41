"""The watchdog with a clock driven by hand: when it acts, and when it does not."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Hashable

import pytest

from planwatch import watchdog
from planwatch.watchdog import EXIT_GIVEN_UP, RESTARTS_MAX, VARIABLE, Watchdog, dump_stacks, restart_in_place, restarts


class Worker:
    """Something to watch, and the clock."""

    def __init__(self, stall_s: float = 60) -> None:
        self.now, self.marker, self.work = 1000.0, 0, True
        self.acts: list[str] = []
        self.dog = Watchdog(stall_s, self.progress, self.acts.append, clock=lambda: self.now)

    def progress(self) -> tuple[Hashable, bool]:
        return self.marker, self.work

    def pass_s(self, seconds: float, step_s: float | None = None, moving: bool = False) -> None:
        """Let time pass, with looks at the usual distance."""
        until = self.now + seconds
        while self.now < until:
            self.now += step_s or self.dog.every_s
            self.marker += moving
            self.dog.look()


def test_no_progress_with_work_is_a_stall() -> None:
    """It acts once, with a reason, soon after the time that was set, and not again for the same stall."""
    worker = Worker(stall_s=60)
    worker.pass_s(300, moving=True)
    worker.pass_s(54)
    assert worker.acts == []
    assert worker.dog.problems() == ()
    worker.pass_s(12)
    assert worker.acts == ["no progress for 60 s while there is work"]
    worker.pass_s(600)
    assert len(worker.acts) == 1
    assert [p.name for p in worker.dog.problems()] == ["watchdog"]


def test_progress_in_time_is_none() -> None:
    """Slow is not stalled."""
    worker = Worker(stall_s=60)
    for _ in range(20):
        worker.pass_s(50)
        worker.marker += 1
    assert worker.acts == []


def test_idle_is_not_stalled() -> None:
    """Without work nothing has to move, and waiting does not count once work comes."""
    worker = Worker(stall_s=60)
    worker.work = False
    worker.pass_s(3600)
    worker.work = True
    worker.pass_s(54)
    assert worker.acts == []
    worker.pass_s(12)
    assert len(worker.acts) == 1


def test_a_second_stall_is_a_stall_of_its_own() -> None:
    """After progress it watches again, and is well again."""
    worker = Worker(stall_s=60)
    worker.pass_s(72)
    worker.marker += 1
    worker.pass_s(6)
    assert worker.dog.problems() == ()
    worker.pass_s(72)
    assert len(worker.acts) == 2


def test_a_paused_process_did_not_stall() -> None:
    """After an hour in which nothing of the process ran, the work gets its full time to move."""
    worker = Worker(stall_s=60)
    worker.pass_s(18)
    worker.now += 3600
    worker.dog.look()
    assert worker.acts == []
    worker.pass_s(24)
    assert worker.acts == []
    worker.pass_s(12)
    assert len(worker.acts) == 1


def test_progress_that_cannot_be_read_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """A watchdog that is blind acts too, and says what it trips over."""
    worker = Worker(stall_s=60)
    worker.dog = Watchdog(60, lambda: 1 / 0, worker.acts.append, clock=lambda: worker.now)  # type: ignore[arg-type,return-value]
    worker.pass_s(72)
    assert len(worker.acts) == 1
    assert "division by zero" in caplog.text


def test_a_look_that_hangs_is_seen() -> None:
    """When reading progress itself waits for what stalled, /healthz says so."""
    reading, release = threading.Event(), threading.Event()
    now = [1000.0]

    def progress() -> tuple[Hashable, bool]:
        reading.set()
        release.wait(30)
        return 0, False

    dog = Watchdog(0.5, progress, lambda reason: None, clock=lambda: now[0]).start()
    try:
        assert reading.wait(10)
        assert dog.problems() == ()
        now[0] += 60
        assert "cannot be read" in dog.problems()[0].why
    finally:
        release.set()
        dog.stop()


def test_the_thread_acts() -> None:
    """Started for real, it acts on a stall, and stops when told, even from its own action."""
    acted = threading.Event()
    dogs: list[Watchdog] = []

    def act(reason: str) -> None:
        dogs[0].stop()
        acted.set()

    dogs.append(Watchdog(0.1, lambda: (0, True), act))
    dogs[0].start()
    assert acted.wait(20)
    dogs[0].stop()


def test_stacks_of_threads_and_tasks_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Where each thread stands, by name, and where each task waits."""
    release = threading.Event()
    asking = threading.Event()

    def waits_in_a_thread() -> None:
        asking.set()
        release.wait(30)

    async def waits_in_a_task() -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(waits_in_a_task(), name="folding demo")
        await asyncio.sleep(0)
        dump_stacks(asyncio.get_running_loop())
        task.cancel()

    thread = threading.Thread(target=waits_in_a_thread, name="stuck-thread")
    thread.start()
    assert asking.wait(10)
    try:
        asyncio.run(main())
    finally:
        release.set()
        thread.join(10)
    stacks = {r.getMessage(): r.__dict__["fields"]["stack"] for r in caplog.records}
    assert "waits_in_a_thread" in stacks["stack of thread stuck-thread"]
    assert "waits_in_a_task" in stacks["stack of task folding demo"]


class TestRestart:
    """The count of restarts, without the restart: what would be executed is caught."""

    @pytest.fixture
    def executed(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
        """The environments of the processes that would have been started."""
        found: list[dict[str, str]] = []

        def execve(path: str, args: list[str], environment: dict[str, str]) -> None:
            assert (path, args) == (sys.executable, [sys.executable, *sys.orig_argv[1:]])
            found.append(environment)
            raise SystemExit(0)

        def end(code: int) -> None:
            raise SystemExit(code)

        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.setattr(os, "execve", execve)
        monkeypatch.setattr(os, "_exit", end)
        return found

    def restart(self, monkeypatch: pytest.MonkeyPatch, executed: list[dict[str, str]], at: float) -> object:
        monkeypatch.setattr(time, "time", lambda: at)
        with pytest.raises(SystemExit) as ended:
            restart_in_place("stalled")
        if ended.value.code == 0:
            monkeypatch.setenv(VARIABLE, executed[-1][VARIABLE])
        return ended.value.code

    def test_a_crash_loop_gives_up(self, monkeypatch: pytest.MonkeyPatch, executed: list[dict[str, str]]) -> None:
        """Five restarts within ten minutes are made, the sixth is not: the exit code tells the supervisor."""
        codes = [self.restart(monkeypatch, executed, 1000.0 + i * 60) for i in range(RESTARTS_MAX + 1)]
        assert codes == [0] * RESTARTS_MAX + [EXIT_GIVEN_UP]
        assert restarts() == RESTARTS_MAX

    def test_rare_restarts_go_on(self, monkeypatch: pytest.MonkeyPatch, executed: list[dict[str, str]]) -> None:
        """One every five minutes, for hours, is no loop; all are counted, and the variable does not grow."""
        codes = [self.restart(monkeypatch, executed, 1000.0 + i * 300) for i in range(40)]
        assert set(codes) == {0}
        assert restarts() == 40
        assert len(executed[-1][VARIABLE]) < 200

    def test_a_variable_of_nonsense_is_no_restart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever stands in the environment, the program starts."""
        for text in ("", "x", "1 y", "-"):
            monkeypatch.setenv(VARIABLE, text)
            assert restarts() == 0

    def test_what_cannot_be_executed_ends(
        self, monkeypatch: pytest.MonkeyPatch, executed: list[dict[str, str]]
    ) -> None:
        """When the interpreter is gone the process ends rather than going on stalled."""

        def fails(*args: object) -> None:
            raise FileNotFoundError("python")

        monkeypatch.setattr(os, "execve", fails)
        assert self.restart(monkeypatch, executed, 1000.0) == EXIT_GIVEN_UP


def test_the_usual_distance_of_looks() -> None:
    """Often enough for the stall time, never a busy loop."""
    assert Watchdog(60, lambda: (0, False), print).every_s == watchdog.LOOK_MAX_S
    assert Watchdog(1, lambda: (0, False), print).every_s == 0.1
    assert Watchdog(0.1, lambda: (0, False), print).every_s == watchdog.LOOK_MIN_S
