"""`make campaign`: ten thousand seeded histories through every check; prints a table.

Arguments: count, first seed, and a part of the name of the checks to run (all of them by default).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tests.property import (
    test_changelog_journal,
    test_expression,
    test_fold,
    test_partition_runner,
    test_pipeline_points,
    test_snapshot,
    test_totals,
)

#: Modules with their checks, and how many of their histories one is run of: the slow ones get a share.
MODULES = (
    (test_fold, 1),
    (test_expression, 1),
    (test_changelog_journal, 1),
    (test_partition_runner, 1),
    (test_totals, 10),
    (test_snapshot, 10),
    (test_pipeline_points, 20),
)


def main() -> None:
    """Run the checks over consecutive seeds; a failure names its seed and ends the run."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{'check':<44}{'histories':>10}{'failures':>10}{'seconds':>10}")
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    for module, share in MODULES:
        for check in module.CHECKS:
            if wanted in f"{module.__name__}.{check.__name__}":
                run(check, range(first, first + max(count // share, 1)))


def run(check: Callable[[int], None], seeds: range) -> None:
    """Run a check over seeds and print its line."""
    started = time.perf_counter()
    for seed in seeds:
        try:
            check(seed)
        except Exception:
            print(f"{check.__name__}: seed {seed} fails", file=sys.stderr)
            raise
    print(f"{check.__name__:<44}{len(seeds):>10}{0:>10}{time.perf_counter() - started:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
