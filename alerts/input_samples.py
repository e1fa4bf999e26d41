"""Samples of how much each source sent and how much of it was refused, kept in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from schemas.alert import InputSample, SourceInputs
from storage.ports import Journal

KIND = "input_samples"
SINCE = ""  # the key of the moment from which on there are samples; no source is called so
US = 1_000_000
#: A source is looked at once a minute at most, and only if anything came from it.
EVERY_S = 60
#: Every sample is kept for so long, of older ones the last of each hour, and of those so many.
FINE_S, HOUR_S, HOURS_MAX = 7_200, 3_600, 168
SOURCES_MAX = 1_000

#: Source → how much was taken in, and by code how much was ever refused. Both only grow.
Readings = Mapping[str, tuple[int, Mapping[str, int]]]


class InputSamples:
    """The samples of one tenant's sources: what `alerts.bad_input` decides from. Read from the journal once, here."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._since: int | None = None
        self._samples: dict[str, SourceInputs] = {}
        for source, payload in journal.items(KIND):
            if source == SINCE:
                self._since = int(payload)
            else:
                samples = tuple(InputSample(*each) for each in orjson.loads(payload))
                self._samples[source] = SourceInputs(source=source, samples=samples)

    def take(self, now: int, readings: Readings) -> tuple[SourceInputs, ...]:
        """Keep what changed; gives the samples of every source. `now` is the machine's time, microseconds UTC.

        What sources had sent before there were samples is where they begin; one that comes later begins with nothing.
        """
        records = []
        for source, (taken, refused) in sorted(readings.items())[:SOURCES_MAX]:
            old = self._samples.get(source)
            samples = _added(self._begun(now) if old is None else old.samples, InputSample(now, taken, dict(refused)))
            if samples is not None:
                self._samples[source] = SourceInputs(source=source, samples=tuple(samples))
                records.append((KIND, source, orjson.dumps([tuple(each) for each in samples])))
        if self._since is None:
            self._since = now
            records.append((KIND, SINCE, b"%d" % now))
        if records:
            self._journal.put_many(records)
        return tuple(self._samples.values())

    def _begun(self, now: int) -> Sequence[InputSample]:
        return () if self._since is None else (InputSample(min(self._since, now - EVERY_S * US), 0, {}),)


def _added(old: Sequence[InputSample], new: InputSample) -> list[InputSample] | None:
    """The samples with a new one; none where it is not due, or says nothing new.

    Counts only grow, so one may be left out at any place. Those from the future were taken before the clock was set
    back.
    """
    known = [sample for sample in old if sample.at < new.at]
    if known and (new.at - known[-1].at < EVERY_S * US or new[1:] == known[-1][1:]):
        return None
    return _thinned([*known, new])


def _thinned(samples: Sequence[InputSample]) -> list[InputSample]:
    """What is kept of samples: the newest ones all, of older ones the last of each hour."""
    fine_from = samples[-1].at - FINE_S * US
    old = {sample.at // (HOUR_S * US): sample for sample in samples if sample.at < fine_from}
    return [*list(old.values())[-HOURS_MAX:], *(sample for sample in samples if sample.at >= fine_from)]
