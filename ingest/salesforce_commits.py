"""What is known of a source's commits: which was the last one until a moment.

Change events are ordered by commit number, while a record that is read as a whole says only when it last changed. What
joins the two is the log: every event of it has both.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class CommitTimes:
    """Commits by the time at which they occurred: 16 bytes for each moment at which there was one."""

    def __init__(self, commits: Iterable[tuple[int, int]] = ()) -> None:
        """`commits` are (occurred_at in microseconds UTC, commit number), in any order."""
        pairs = np.fromiter(commits, dtype=np.dtype((np.int64, 2)))
        pairs = pairs.reshape(-1, 2)
        order = np.argsort(pairs[:, 0], kind="stable")
        self._times = pairs[order, 0]
        self._greatest = np.maximum.accumulate(pairs[order, 1])

    @property
    def latest(self) -> int:
        """The greatest commit number of all; 0 where none is known."""
        return int(self._greatest[-1]) if len(self._greatest) else 0

    @property
    def newest(self) -> int:
        """The time of the last one, microseconds UTC; 0 where none is known."""
        return int(self._times[-1]) if len(self._times) else 0

    def until(self, moment: int) -> int:
        """The greatest commit number of those that occurred until a moment, with it; 0 where none is known."""
        at = int(np.searchsorted(self._times, moment, side="right"))
        return int(self._greatest[at - 1]) if at else 0
