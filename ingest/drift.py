"""What a door meets that its mapping and the configuration do not know, each once, while the rest is taken in."""

from __future__ import annotations

import difflib
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

from ingest.values import show

#: Names that are remembered, at most: input must not fill the memory.
KNOWN_MAX = 2_000
#: Values of one field that are findings of their own; with more of them it is no list of values.
VALUES_MAX = 50
NAME_CHARS_MAX = 200
#: How alike two names must be for one to be taken for the other's new form.
ALIKE = 0.6
#: A mapped field that so many full records in a row have not had is missing.
ABSENT_RECORDS = 200
OBJECTS_MAX = 200

DriftKind = Literal["unknown_stage", "unknown_value", "unknown_field", "missing_field"]


class Finding(NamedTuple):
    """One thing that was not known: of which entity, under which name, with an example as it came."""

    kind: DriftKind
    entity: str
    name: str  # the field in the source; for a value, our field and the value: "stage=Negotiation"
    example: str
    near: str = ""  # the known value or the new field that it most resembles


class Drift:
    """Collects findings, each once for as long as it lives. May be used by several threads."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()
        self._values: Counter[tuple[str, str, str]] = Counter()
        self._new: list[Finding] = []
        self._lock = threading.Lock()

    def note(self, kind: DriftKind, entity: str, name: str, example: object, near: str = "") -> None:
        """There was something unknown. `near`: what it may have been meant for. Cheap when it was noted before."""
        name = name[:NAME_CHARS_MAX]
        key = (kind, entity, name)
        if key in self._known:
            return
        with self._lock:
            if key in self._known or len(self._known) >= KNOWN_MAX:
                return
            field, is_value, _ = name.partition("=")
            if is_value:
                if self._values[kind, entity, field] >= VALUES_MAX:
                    return
                self._values[kind, entity, field] += 1
            self._known.add(key)
            self._new.append(Finding(kind, entity, _text(name), show(example), _text(near[:NAME_CHARS_MAX])))

    def take(self) -> list[Finding]:
        """What was noted since the last call."""
        with self._lock:
            found, self._new = self._new, []
            return found

    def give_back(self, findings: Iterable[Finding]) -> None:
        """These could not be kept; the next `take` brings them again."""
        with self._lock:
            self._new[:0] = findings


def _text(name: str) -> str:
    """A name that can be stored: JSON may hold halves of characters."""
    return name.encode("utf-8", "replace").decode()


def nearest(name: str, candidates: Iterable[str]) -> str:
    """The candidate that a name was most likely renamed to (or written wrong from); empty where none is alike."""
    plain: dict[str, str] = {}
    for candidate in candidates:
        plain.setdefault(_plain(candidate), candidate)
    near = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=ALIKE)
    return plain[near[0]] if near else ""


def _plain(name: str) -> str:
    """A name without case, punctuation and Salesforce's mark of a custom field."""
    return "".join(c for c in name.casefold().removesuffix("__c") if c.isalnum()) or name


class FieldWatch:
    """Notices fields of a source's objects that are mapped and do not come any more.

    A CRM has hundreds of fields that nobody maps, so an unknown one is no finding by itself; it is named as the likely
    new name of one that vanished. Fed with the names in each record of an object.
    """

    def __init__(self, drift: Drift) -> None:
        self._drift = drift
        self._absent: dict[str, dict[str, int]] = {}  # object → mapped field → full records in a row without it

    def saw(
        self,
        name: str,
        entity: str,
        names: Collection[str],
        mapped: Mapping[str, str],
        named: Collection[str] = (),
        *,
        full: bool,
    ) -> None:
        """A record of the object `name` had these fields.

        `mapped`: the object's field → ours. `named`: those of them that the mapping file names itself; the others, which
        are only usual, must have been seen once to be missed. `full`: the record has every field that it has a value for
        (it was created, or read as a whole).
        """
        absent = self._absent.get(name)
        if absent is None:
            if len(self._absent) >= OBJECTS_MAX:
                return
            absent = self._absent[name] = dict.fromkeys(named, 0)
        for field, ours in mapped.items():
            if field in names:
                absent[field] = 0
            elif full and field in absent:
                absent[field] += 1
                if absent[field] == ABSENT_RECORDS:
                    near = nearest(field, [other for other in names if other not in mapped])
                    if near or field in named:
                        self._drift.note("missing_field", entity, f"{name}.{field}", ours, near)
