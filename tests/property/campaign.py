"""`make campaign`: ten thousand seeded histories through every check; prints a table. Arguments: count, first seed."""

from __future__ import annotations

import sys
import time

from tests.property.test_fold import CHECKS


def main() -> None:
    """Run the checks over consecutive seeds; a failure names its seed and ends the run."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{'check':<36}{'histories':>10}{'failures':>10}{'seconds':>10}")
    for check in CHECKS:
        started = time.perf_counter()
        for seed in range(first, first + count):
            try:
                check(seed)
            except AssertionError:
                print(f"{check.__name__}: seed {seed} fails", file=sys.stderr)
                raise
        print(f"{check.__name__:<36}{count:>10}{0:>10}{time.perf_counter() - started:>10.0f}")


if __name__ == "__main__":
    main()
