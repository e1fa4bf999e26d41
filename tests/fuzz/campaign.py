"""`make fuzz`: a million broken inputs through every parser and the server; prints a table of what came of them.

    python -m tests.fuzz.campaign                  a million inputs, from seed 1 on
    python -m tests.fuzz.campaign --inputs N --first SEED [--processes P] [TARGET ...]
    python -m tests.fuzz.campaign TARGET SEED      one input again, with what is wrong with it

A finding is a target and a seed. An input that took longer than a second is run twice more: on a busy machine the shortest
of the three counts. One that never comes to its end ends its process, which says where it stood.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import queue
import random
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from ruamel.yaml.error import ReusedAnchorWarning

from tests.fuzz import board, events, files, records, server, signing, tables
from tests.fuzz.checks import Account, Case, Target

TARGETS: tuple[Target, ...] = (
    *tables.TARGETS,
    *events.TARGETS,
    *signing.TARGETS,
    *records.TARGETS,
    *files.TARGETS,
    *board.TARGETS,
    *server.TARGETS,
)
BY_NAME = {target.name: target for target in TARGETS}
SPAWN = multiprocessing.get_context("spawn")
INPUTS = 1_000_000
BLOCK = 2_000  # inputs that a process takes at once
SLOW_S = 1.0
HANG_S = 30
MEMORY_BYTES = 4 << 30
FINDINGS_MAX = 20  # of a target that are shown


class Finding(NamedTuple):
    """An input with which something is wrong."""

    target: str
    seed: int
    problem: str


class Block(NamedTuple):
    """What came of some inputs of a target."""

    target: str
    inputs: int
    account: Account
    slowest_ms: float
    slowest_seed: int
    memory_mb: int
    findings: list[Finding]


def main() -> int:
    """Run what the arguments say. 0: nothing was found."""
    if len(sys.argv) == 3 and sys.argv[1] in BY_NAME and sys.argv[2].isdigit():
        return replay(BY_NAME[sys.argv[1]], int(sys.argv[2]))
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.campaign")
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(BY_NAME)}; none: all")
    given = parser.parse_args()
    if unknown := [name for name in given.targets if name not in BY_NAME]:
        parser.error(f"there is no target {unknown[0]}")
    return campaign([BY_NAME[name] for name in given.targets] or TARGETS, given.inputs, given.first, given.processes)


def replay(target: Target, seed: int) -> int:
    """One input: what it is, how long it took and what came of it."""
    with target.opened() as make:
        case = make(random.Random(seed))
        print(f"{target.name} {seed}: {case.given!r:.20000}")
        begun = time.monotonic()
        try:
            print(case.run())
        except Exception:
            traceback.print_exc()
            return 1
        finally:
            print(f"{(time.monotonic() - begun) * 1000:.1f} ms", file=sys.stderr)
    return 0


def campaign(targets: Sequence[Target], inputs: int, first: int, processes: int) -> int:
    """All targets by their shares, in some processes at once; prints the table."""
    whole = sum(target.share for target in targets)
    jobs: list[tuple[Target, range]] = []
    for target in targets:
        count = -(-inputs * target.share // whole)
        jobs += [(target, range(at, min(at + BLOCK, first + count))) for at in range(first, first + count, BLOCK)]
    found: dict[str, list[Block]] = {target.name: [] for target in targets}
    begun = time.monotonic()
    for block in _results(jobs, processes):
        found[block.target].append(block)
    print(
        f"{'target':<16}{'inputs':>9}{'changes':>10}{'refused':>10}{'skipped':>9}{'slowest ms':>12}{'at seed':>9}{'MB':>6}{'findings':>10}"
    )
    total = [_line(name, blocks) for name, blocks in found.items()]
    seconds = time.monotonic() - begun
    print(
        f"{'all':<16}{sum(line[0] for line in total):>9}{'':>56}{sum(line[1] for line in total):>10}  in {seconds:.0f} s"
    )
    return 1 if any(line[1] for line in total) else 0


def _line(name: str, blocks: Sequence[Block]) -> tuple[int, int]:
    account = Account()
    for block in blocks:
        account = account.plus(block.account)
    inputs = sum(block.inputs for block in blocks)
    slowest = max(blocks, key=lambda block: block.slowest_ms)
    findings = [finding for block in blocks for finding in block.findings]
    memory = max(block.memory_mb for block in blocks)
    print(
        f"{name:<16}{inputs:>9}{account.changes:>10}{account.refused:>10}{account.skipped:>9}{slowest.slowest_ms:>12.1f}"
        f"{slowest.slowest_seed:>9}{memory:>6}{len(findings):>10}"
    )
    for finding in findings[:FINDINGS_MAX]:
        print(f"    {finding.target} {finding.seed}: {finding.problem}")
    return inputs, len(findings)


class Worker:
    """A process that takes blocks, and where it stands: a number among TARGETS and a seed."""

    def __init__(self, todo: Any, done: Any) -> None:
        self._place = SPAWN.Array("q", 2)
        self._process = SPAWN.Process(target=_work, args=(todo, done, self._place), daemon=True)
        self._process.start()

    def broken(self) -> Finding | None:
        """The input at which the process has ended against its will."""
        if self._process.exitcode in (None, 0):
            return None
        number, seed = self._place[0], self._place[1]
        if not seed:
            raise RuntimeError(f"a process ended before its first input (exit code {self._process.exitcode})")
        problem = f"it never came to its end or ended its process (exit code {self._process.exitcode})"
        return Finding(TARGETS[number].name, seed, problem)


def _results(jobs: Sequence[tuple[Target, range]], processes: int) -> Iterator[Block]:
    """What comes of each block, each process taking the next one that is left; a process that ends is replaced."""
    todo, done = SPAWN.Queue(), SPAWN.Queue()
    for target, seeds in jobs:
        todo.put((target.name, seeds))
    for _ in range(processes):
        todo.put(None)
    workers = [Worker(todo, done) for _ in range(processes)]
    left = len(jobs)
    while left:
        print(f"\r{left} of {len(jobs)} blocks to go ", end="", file=sys.stderr, flush=True)
        try:
            yield done.get(timeout=5)
            left -= 1
        except queue.Empty:
            for at, worker in enumerate(workers):
                if (finding := worker.broken()) is not None:
                    workers[at] = Worker(todo, done)
                    yield Block(finding.target, 0, Account(), 0.0, 0, 0, [finding])
                    left -= 1
    print(file=sys.stderr)


def _work(todo: Any, done: Any, place: Any) -> None:
    """Take blocks until there are none."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore", ReusedAnchorWarning)
    with ExitStack() as stack:
        opened: dict[str, Callable[[random.Random], Case]] = {}
        while (job := todo.get()) is not None:
            name, seeds = job
            place[0] = TARGETS.index(BY_NAME[name])
            if name not in opened:
                opened[name] = stack.enter_context(BY_NAME[name].opened())
            done.put(run_block(name, opened[name], seeds, place))


def run_block(name: str, make: Callable[[random.Random], Case], seeds: range, place: Any) -> Block:
    """Run the inputs of some seeds; `place[1]` is the one that runs."""
    account, findings = Account(), []
    slowest_s, slowest_seed = 0.0, 0
    for seed in seeds:
        place[1] = seed
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        took_s, result = _timed(make, seed)
        if took_s > SLOW_S:
            took_s = min(took_s, *(_timed(make, seed)[0] for _ in range(2)))
        if took_s > slowest_s:
            slowest_s, slowest_seed = took_s, seed
        if took_s > SLOW_S:
            findings.append(Finding(name, seed, f"it takes {took_s:.1f} s"))
        if isinstance(result, Account):
            account = account.plus(result)
        else:
            findings.append(Finding(name, seed, result))
    faulthandler.cancel_dump_traceback_later()
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Block(name, len(seeds), account, slowest_s * 1000, slowest_seed, memory_mb, findings)


def _timed(make: Callable[[random.Random], Case], seed: int) -> tuple[float, Account | str]:
    """How long an input took, its checks with it, and its account or what is wrong."""
    case = make(random.Random(seed))
    begun = time.monotonic()
    try:
        result: Account | str = case.run()
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        result = f"{type(error).__name__} in {where.name} ({where.filename.rpartition('/')[2]}:{where.lineno}): {error!s:.200}"
    return time.monotonic() - begun, result


if __name__ == "__main__":
    raise SystemExit(main())
