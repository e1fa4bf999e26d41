"""The watchdog of a worker: what stalls is found out, its stacks are logged, and the process starts itself anew.

A restart replaces the process in place, so that nothing has to watch it. One that stalls again and again gives up with
an exit code of its own, so that whatever does watch it sees a crash loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from types import FrameType
from typing import NoReturn

from planwatch.logs import fields
from planwatch.ops import Problem

log = logging.getLogger(__name__)

#: Total and times (seconds since 1970) of the restarts, carried from one process image to the next.
VARIABLE = "PLANWATCH_RESTARTS"
RESTARTS_MAX = 5
RESTARTS_WITHIN_S = 600.0
#: EX_SOFTWARE: given up after too many restarts.
EXIT_GIVEN_UP = 70
LOOKS_PER_STALL = 10
LOOK_MIN_S, LOOK_MAX_S = 0.05, 5.0
THREADS_MAX, FRAMES_MAX = 64, 40

Progress = Callable[[], tuple[Hashable, bool]]


class Watchdog:
    """Calls `act` with a reason, once, when there has been work and no progress for `stall_s`.

    `progress` gives a marker that changes with every step forward, and whether there is work to do. It is called from
    the watchdog's thread every few seconds and must not wait for a lock that the work holds. A stall is measured in
    looks at it, not by the clock alone: a process that was paused did not stall. `loop`: an event loop whose
    tasks are logged along with the threads.
    """

    def __init__(
        self,
        stall_s: float,
        progress: Progress,
        act: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.stall_s = stall_s
        self.every_s = min(max(stall_s / LOOKS_PER_STALL, LOOK_MIN_S), LOOK_MAX_S)
        self._progress, self._act, self._clock, self._loop = progress, act, clock, loop
        self._marker: Hashable = None
        self._stalled_s = 0.0
        self._looked_at = clock()
        self._acted = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="planwatch-watchdog", daemon=True)

    def start(self) -> Watchdog:
        """Watch, in a thread."""
        self._looked_at = self._clock()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Watch no more: the first thing to do when the process is to end."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(self.every_s + 1)

    def look(self) -> None:
        """One look: the thread takes one every `every_s` seconds; tests take it by hand."""
        now = self._clock()
        # More than twice the usual time between two looks: the whole process stood still, the work did not stall.
        passed_s = min(now - self._looked_at, 2 * self.every_s)
        self._looked_at = now
        try:
            marker, work = self._progress()
        except Exception:
            log.warning("the watchdog cannot see progress", exc_info=True)
            marker, work = self._marker, True
        if not work or marker != self._marker:
            self._marker, self._stalled_s, self._acted = marker, 0.0, False
            return
        self._stalled_s += passed_s
        if self._stalled_s >= self.stall_s and not self._acted:
            self._acted = True
            self._bark()

    def problems(self) -> Sequence[Problem]:
        """For /healthz: stalled, or not looking any more."""
        unseen_s = self._clock() - self._looked_at
        if self._stalled_s >= self.stall_s:
            return [Problem("watchdog", f"no progress for {self._stalled_s:.0f} s while there is work")]
        if self._thread.is_alive() and unseen_s > self.stall_s + 3 * self.every_s:
            return [Problem("watchdog", f"progress cannot be read for {unseen_s:.0f} s")]
        return ()

    def _bark(self) -> None:
        reason = f"no progress for {self._stalled_s:.0f} s while there is work"
        log.error("stalled", extra=fields(reason=reason, marker=self._marker))
        try:
            dump_stacks(self._loop)
        except Exception:  # what is looked at goes on changing; the action comes in any case
            log.exception("the stacks cannot be read")
        self._act(reason)

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            try:
                self.look()
            except Exception:
                log.exception("the watchdog's action failed")


def dump_stacks(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Log the stack of every thread, and of every task of an event loop, a line each."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in list(sys._current_frames().items())[:THREADS_MAX]:
        name = names.get(ident, str(ident))
        log.error(f"stack of thread {name}", extra=fields(stack=_stack(_frames(frame))))
    if loop is not None:
        for task in list(asyncio.all_tasks(loop))[:THREADS_MAX]:
            frames = task.get_stack(limit=FRAMES_MAX)
            log.error(f"stack of task {task.get_name()}", extra=fields(stack=_stack((f, f.f_lineno) for f in frames)))


def _frames(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    return traceback.walk_stack(frame)


def _stack(frames: Iterator[tuple[FrameType, int]]) -> str:
    summary = traceback.StackSummary.extract(frames, limit=FRAMES_MAX, lookup_lines=False)
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in summary)


def restarts() -> int:
    """How often this process has restarted itself so far."""
    return _history()[0]


def restart_in_place(reason: str) -> NoReturn:
    """Execute this program anew, with its arguments and process number; its files and sockets close.

    After `RESTARTS_MAX` restarts within `RESTARTS_WITHIN_S` seconds the process ends with `EXIT_GIVEN_UP` instead.
    May be called from any thread: nothing of the program runs after it, so what matters must be durable already.
    """
    total, times = _history()
    now = time.time()
    recent = [at for at in times if 0 <= now - at < RESTARTS_WITHIN_S]
    if len(recent) >= RESTARTS_MAX:
        log.critical(
            "too many restarts: giving up", extra=fields(reason=reason, restarts=total, within_s=now - recent[0])
        )
        _end()
    log.warning("restarting in place", extra=fields(reason=reason, restart=total + 1))
    recent = [*recent, now][-RESTARTS_MAX:]
    environment = {**os.environ, VARIABLE: " ".join([str(total + 1), *(f"{at:.3f}" for at in recent)])}
    _flush()
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 (our own command line)
    except OSError:
        log.critical("cannot restart", exc_info=True)
        _end()


def _history() -> tuple[int, list[float]]:
    try:
        total, *times = os.environ.get(VARIABLE, "0").split()
        return int(total), [float(at) for at in times][-RESTARTS_MAX:]
    except ValueError:
        return 0, []


def _end() -> NoReturn:
    _flush()
    os._exit(EXIT_GIVEN_UP)  # exit handlers may wait for what has stalled


def _flush() -> None:
    for handler in logging.getLogger().handlers:
        handler.flush()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
