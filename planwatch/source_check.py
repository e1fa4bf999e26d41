"""`planwatch sources check`: whether each source can come in, and what it brought that the configuration does not know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ingest import DOORS, RECORD_DOORS
from ingest.hook_secrets import HookSecrets
from planwatch.drift_advice import CONFIG, advice
from planwatch.drifting import DriftStore
from planwatch.home import Home
from planwatch.ingesting import find_mapping
from planwatch.printing import when
from schemas.base import PlanwatchError
from schemas.mapping import Mapping
from schemas.sources import SourceConfig


class SourceFinding(NamedTuple):
    """Something about a source that a person should see to. What doors noticed has `first_seen` and an `example`."""

    source: str
    kind: str  # mapping, secret, path, watch, way, unknown_stage, unknown_value, unknown_field, missing_field
    text: str
    first_seen: str | None = None
    example: str | None = None
    where: str | None = None  # the file that the line belongs in
    line: str | None = None


def check_sources(home: Home, drift: DriftStore, only: str | None = None) -> list[SourceFinding]:
    """What is to be done about each source, or about one: first what is configured wrong, then what is not known.

    Raises PlanwatchError for a source that is not configured and has nothing to show, and where findings cannot be read.
    """
    noted = [event for event in drift.noted() if only in (None, event.source)]
    configured = home.config.sources
    if only is not None and only not in configured and not noted:
        raise PlanwatchError(f"There is no source «{only}». There are: {', '.join(configured) or 'none'}.")
    names = dict.fromkeys([*configured, *(event.source for event in noted)])
    found: list[SourceFinding] = []
    for name in names if only is None else [only]:
        source = configured.get(name)
        mapping = Mapping()
        if source is not None:
            found += _configured(home, name, source)
        with suppress(PlanwatchError):  # said above
            mapping = find_mapping(home, name, None) or mapping
        file = source.mapping if source is not None and source.mapping else "the mapping"
        for event in noted:
            if event.source == name and (told := advice(event, home.config, mapping, file)):
                found.append(
                    SourceFinding(name, event.kind, told.text, when(event.first_seen), event.example, *told[1:])
                )
    return found


def _configured(home: Home, name: str, source: SourceConfig) -> Iterator[SourceFinding]:
    if problem := _mapping(home, name, source):
        yield SourceFinding(name, "mapping", problem)
    if problem := _secret(home, name, source):
        yield SourceFinding(name, "secret", problem)
    for path in source.paths:
        if not os.access(home.path / path, os.R_OK):
            why = f"{home.path / path}: is not there or cannot be read; correct `paths`"
            yield SourceFinding(name, "path", why)
    if source.watch is not None and (problem := _folder(home.path / source.watch)):
        yield SourceFinding(name, "watch", problem)
    if problem := _way(home, source):
        yield SourceFinding(name, "way", problem, where=CONFIG)


def _mapping(home: Home, name: str, source: SourceConfig) -> str | None:
    try:
        mapping = find_mapping(home, name, None)
    except PlanwatchError as error:
        return str(error)
    if source.kind == "csv" and mapping is None:
        return f"csv files need a mapping; name it under sources.{name}.mapping"
    return None


def _secret(home: Home, name: str, source: SourceConfig) -> str | None:
    if source.hook is None:
        return None
    return HookSecrets(name, source.hook, home.path).problem()


def _folder(path: Path) -> str | None:
    if not path.is_dir():
        return f"{path}: there is no such folder; make it, or correct `watch`"
    return None if os.access(path, os.R_OK | os.X_OK) else f"{path}: cannot be read; give Planwatch the right to"


def _way(home: Home, source: SourceConfig) -> str | None:
    """Whether the ways on which the source is to come exist."""
    messages = source.kind in RECORD_DOORS
    if (source.topic is not None or source.hook is not None) and not messages:
        return f"a source of kind {source.kind} takes no single messages; remove its `topic` and `hook`"
    if source.watch is not None and source.kind not in DOORS:
        return f"a source of kind {source.kind} reads no files; remove its `watch`"
    if source.topic is not None and home.config.kafka is None:
        return "`topic` has no effect without a `kafka` section"
    if home.config.kafka is not None and messages and not (source.topic or source.hook or source.watch or source.paths):
        return "nothing comes from it: set `topic`, `hook` or `watch`"
    return None
