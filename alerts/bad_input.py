"""How much of what a source sends is refused, against its usual share: decided from samples of its counts alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from schemas.alert import InputSample, InputShare, Rule, SourceInputs

US = 1_000_000


class Verdict(NamedTuple):
    """`jumped`: the share is far above the usual one; `back`: it is near it; neither: in between, nothing changes."""

    jumped: bool
    back: bool
    share: InputShare


def judge(source: SourceInputs, rule: Rule) -> Verdict | None:
    """What the newest inputs of a source are, as far as its samples say; none while there are too few. Pure.

    The newest inputs are those of the last `rule.window_s` seconds of the samples, or the last `rule.inputs_min` where
    these reach further back. So nothing is decided by a source that sends nothing: silence neither fires nor resolves.
    Usual is the share of all inputs before those, without what came while the share had jumped above it: a source that
    stays bad does not become usual. One that was bad from its start on has jumped too, until that is what is usual.
    """
    walk = _Walk(source.samples, rule)
    for newest in range(1, len(source.samples)):
        walk.to(newest)
    return walk.verdict(source.source)


class _Walk:
    """The samples from the oldest on. `base` is the sample before the newest inputs begin; it only moves forward."""

    def __init__(self, samples: Sequence[InputSample], rule: Rule) -> None:
        self._at = [sample.at for sample in samples]
        self._rule = rule
        steps = list(itertools.pairwise(samples))
        self._codes = [Counter[str](), *(_grown(a.refused, b.refused) for a, b in steps)]
        bad = [codes.total() for codes in self._codes]
        good = [0, *(max(b.taken - a.taken, 0) for a, b in steps)]
        self._each = [(b, b + g) for b, g in zip(bad, good, strict=True)]  # refused and all, of each interval
        self._refused = self._inputs = 0  # between the base and the newest sample
        self._usual_refused = self._usual_inputs = 0
        self._base = self._newest = self._jumped_to = 0  # the last interval that belongs to a jump
        self._jumped = False
        self._decided = False

    def to(self, newest: int) -> None:
        """One sample further."""
        self._newest = newest
        self._refused += self._each[newest][0]
        self._inputs += self._each[newest][1]
        while self._may_advance():
            self._advance()
        self._decided = self._inputs >= self._rule.inputs_min
        if not self._decided or not (self._jumped or self._refused >= self._rule.refused_min):
            return  # nearly always
        share, (threshold, calm) = self._share(), self._thresholds()
        if share >= threshold and self._refused >= self._rule.refused_min:
            self._jumped = True
        elif share <= calm:
            self._jumped = False
        if self._jumped and self._usual() is not None:
            self._jumped_to = newest

    def verdict(self, source: str) -> Verdict | None:
        """What is so at the newest sample."""
        if not self._decided:
            return None
        share, (threshold, calm) = self._share(), self._thresholds()
        codes = sum(self._codes[self._base + 1 : self._newest + 1], Counter[str]())
        found = InputShare(
            source=source,
            inputs=self._inputs,
            refused=self._refused,
            share=share,
            usual=self._usual(),
            threshold=threshold,
            code=min(codes, key=lambda code: (-codes[code], code), default=""),
        )
        return Verdict(share >= threshold and self._refused >= self._rule.refused_min, share <= calm, found)

    def _may_advance(self) -> bool:
        after = self._base + 1
        return (
            after < self._newest
            and self._at[after] <= self._at[self._newest] - self._rule.window_s * US
            and self._inputs - self._each[after][1] >= self._rule.inputs_min
        )

    def _advance(self) -> None:
        self._base += 1
        refused, inputs = self._each[self._base]
        self._refused -= refused
        self._inputs -= inputs
        if self._base > self._jumped_to:
            self._usual_refused += refused
            self._usual_inputs += inputs

    def _share(self) -> Decimal:
        return Decimal(self._refused) / self._inputs if self._inputs else Decimal(0)

    def _usual(self) -> Decimal | None:
        if self._usual_inputs < self._rule.inputs_min:
            return None
        return Decimal(self._usual_refused) / self._usual_inputs

    def _thresholds(self) -> tuple[Decimal, Decimal]:
        """The share from which on it has jumped, and up to which it is back: halfway to the usual one."""
        usual = self._usual() or Decimal(0)
        # Where most is bad as a rule, a multiple of it would lie beyond everything.
        threshold = min(max(self._rule.share_min, self._rule.factor * usual), (1 + usual) / 2)
        return threshold, (usual + threshold) / 2


def _grown(before: dict[str, int], after: dict[str, int]) -> Counter[str]:
    """What came between two samples. A count that fell was begun anew, and says nothing."""
    return Counter({code: count - before.get(code, 0) for code, count in after.items() if count > before.get(code, 0)})
