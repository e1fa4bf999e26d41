"""What people do about the quarantine: look, replay, drop."""

from __future__ import annotations

import getpass
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from ingest.refusal_states import Kept, RefusalCounts
from planwatch.rereading import Reread, Rereader
from planwatch.store import Store
from schemas.base import PlanwatchError
from schemas.events import Disposition

#: So much of an identity is shown; what a person types must be at least ID_CHARS_MIN long.
ID_CHARS, ID_CHARS_MIN = 12, 4
REASON_CHARS_MAX = 1_000
#: Refusals that are read, appended and settled at a time: bounds memory, and what a crash makes come twice.
CHUNK_ITEMS = 500
RECORDS_NAMED = 5
_ID = re.compile(r"[0-9a-f]+")


class Replayed(NamedTuple):
    """What became of one refusal, or with a dry run what would."""

    id: str
    source: str
    origin: str
    position: int
    result: Literal["replayed", "still_refused", "impossible", "already"]
    changes: int
    records: Sequence[str]  # "opportunity 0061", the first RECORDS_NAMED
    refused: int  # parts of it that are refusals of their own now
    code: str
    reason: str


class Dropped(NamedTuple):
    """What became of one refusal that was to be dropped."""

    id: str
    source: str
    origin: str
    position: int
    result: Literal["dropped", "already", "replayed"]
    reason: str


def short(identity: str) -> str:
    """An identity as people read and type it."""
    return identity[:ID_CHARS]


def matching(
    store: Store, source: str | None = None, code: str | None = None, state: str | None = "open"
) -> Iterator[Kept]:
    """Refusals of a source, a code and a state (none: any), in the order in which they came."""
    for kept in store.quarantine.kept():
        if (
            (source is None or kept.refused.source == source)
            and (code is None or kept.refused.code == code)
            and (state is None or kept.state == state)
        ):
            yield kept


def newest(found: Iterable[Kept], limit: int) -> list[Kept]:
    """The last ones, the newest first."""
    return list(reversed(deque(found, maxlen=limit)))


def counts_of(store: Store, source: str | None, code: str | None) -> Mapping[tuple[str, str], RefusalCounts]:
    """(source, code) → how many stand in which state."""
    return {
        about: counts
        for about, counts in sorted(store.quarantine.counts().items())
        if source in (None, about[0]) and code in (None, about[1])
    }


def named(store: Store, ids: Sequence[str]) -> list[Kept]:
    """The refusals that people name by the beginnings of their ids, each once.

    Raises PlanwatchError for one that is unknown, or that several begin with.
    """
    wanted = dict.fromkeys(text.strip().lower() for text in ids)
    for text in wanted:
        if not _ID.fullmatch(text) or len(text) < ID_CHARS_MIN:
            raise PlanwatchError(
                f"«{text}» is not the id of a refusal: at least {ID_CHARS_MIN} of 0-9 and a-f, as "
                "`planwatch quarantine list` shows them."
            )
    found: dict[str, list[Kept]] = {text: [] for text in wanted}
    for kept in store.quarantine.kept():
        for text, several in found.items():
            if kept.id.startswith(text) and len(several) < 2:
                several.append(kept)
    for text, several in found.items():
        if not several:
            raise PlanwatchError(
                f"There is no refusal «{text}» in quarantine. `planwatch quarantine list --state all` shows what there is."
            )
        if len(several) > 1:
            both = " and ".join(kept.id for kept in several)
            raise PlanwatchError(f"«{text}» is not enough: {both} begin with it. Give more of the id.")
    return list({kept.id: kept for several in found.values() for kept in several}.values())


def replay(store: Store, chosen: Iterable[Kept], *, dry_run: bool = False) -> list[Replayed]:
    """Read refusals again, append what they give to the log, and mark them as replayed.

    In this order: after a crash between the two a refusal is open still, and replaying it again appends the same events,
    which the fold counts as duplicates. Two replays at a time do no more than that. A dry run writes nothing.
    """
    rereader = Rereader(store)
    done: list[Replayed] = []
    todo = iter(chosen)
    while part := list(islice(todo, CHUNK_ITEMS)):
        again = [(kept, rereader.read(kept.refused)) for kept in part if kept.state != "replayed"]
        if not dry_run:
            _take_in(store, again)
        read = {kept.id: found for kept, found in again}
        done += [_replayed(kept, read.get(kept.id)) for kept in part]
    return done


def _take_in(store: Store, again: Sequence[tuple[Kept, Reread]]) -> None:
    good = [(kept, found) for kept, found in again if found.result == "readable"]
    changes = [change for _, found in good for change in found.changes]
    store.append(sorted(changes, key=lambda change: change.occurred_at))
    store.quarantine.add([part for _, found in good for part in found.parts])
    at, by = store.clock.now(), _who()
    tenant = store.home.config.tenant
    store.quarantine.settle(
        [
            Disposition(tenant=tenant, refusal=kept.id, state="replayed", at=at, by=by, changes=len(found.changes))
            for kept, found in good
        ]
    )


def _replayed(kept: Kept, found: Reread | None) -> Replayed:
    item = kept.refused
    about = (short(kept.id), item.source, item.origin, item.position)
    if found is None:
        return Replayed(*about, "already", 0, (), 0, item.code, "it was replayed before")
    if found.result != "readable":
        return Replayed(*about, found.result, 0, (), 0, found.code or item.code, found.reason)
    records = dict.fromkeys(f"{change.entity} {change.record_id}" for change in found.changes)
    first = tuple(islice(records, RECORDS_NAMED))
    return Replayed(*about, "replayed", len(found.changes), first, len(found.parts), item.code, "")


def drop(store: Store, ids: Sequence[str], reason: str) -> list[Dropped]:
    """Refuse for good, with the reason. What is in the log already, and what was dropped before, stays as it is.

    Raises PlanwatchError for an id that is unknown and a reason that says nothing or too much.
    """
    reason = reason.strip()
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise PlanwatchError(f"--reason: say in 1 to {REASON_CHARS_MAX:,} characters why it is dropped.")
    chosen = named(store, ids)
    at, by = store.clock.now(), _who()
    tenant = store.home.config.tenant
    store.quarantine.settle(
        [
            Disposition(tenant=tenant, refusal=kept.id, state="dropped", at=at, by=by, reason=reason)
            for kept in chosen
            if kept.state == "open"
        ]
    )
    return [_dropped(kept, reason) for kept in chosen]


def _dropped(kept: Kept, reason: str) -> Dropped:
    item = kept.refused
    about = (short(kept.id), item.source, item.origin, item.position)
    if kept.state == "open":
        return Dropped(*about, "dropped", reason)
    if kept.state == "replayed":
        return Dropped(*about, "replayed", "it was replayed and is in the log")
    before = kept.disposition.reason if kept.disposition else ""
    return Dropped(*about, "already", before)


def _who() -> str:
    """Who runs this program, as the system knows them."""
    try:
        return getpass.getuser()[:200]
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"
