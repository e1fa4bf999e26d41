"""The doors for events: Salesforce, HubSpot, Debezium, CloudEvents and webhooks, by message and as lines of a file.

Accounting: the standard library says which events a message holds; each of them alone must give what it gave in the
message, which is changes, one refusal, or nothing where it is one to skip. A message that cannot be read is one refusal.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ingest import DOORS, RECORD_DOORS, Context
from ingest.door import Received, RecordReader, Refused
from ingest.salesforce import SalesforceReader
from schemas.change import Change
from tests.fuzz.checks import Account, Case, Target, account_of, check_items, unplaced
from tests.fuzz.event_samples import SAMPLES, Kind, contexts
from tests.fuzz.mutate import Mutator

ORIGIN = "crm.events[3]"
#: With these codes a message is refused as a whole although the standard library can read it.
WHOLE = frozenset({"bad_json", "too_deep", "too_large", "not_text"})
#: A line of a file that every door refuses, so that what stands after it is no file's first line.
FIRST = b"{}\n"
FILE_LINES_MAX = 4
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def events_in(body: bytes | None) -> list[bytes] | None:
    """The elements of a body that is a JSON array, by the standard library; none where it is not."""
    try:
        text = (body or b"").decode().removeprefix("\ufeff")
        array, _ = _DECODER.raw_decode(text, _BLANK.match(text).end())  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        return None
    if not isinstance(array, list) or not array:
        return None
    found: list[bytes] = []
    at = text.index("[") + 1
    for _ in array:
        at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
        _, end = _DECODER.raw_decode(text, at)
        found.append(text[at:end].encode())
        at = _BLANK.match(text, end).end() + 1  # type: ignore[union-attr]
    return found


@dataclass(frozen=True)
class Door:
    """A door under test: readers that live on from input to input, and what makes new ones."""

    kind: Kind
    contexts: Sequence[Context]
    readers: Sequence[RecordReader]

    def case(self, chance: random.Random) -> Case:
        """A message or a file."""
        mutator = Mutator(chance)
        at = chance.randrange(len(self.contexts))
        if mutator.often(0.3):
            lines = [self._body(mutator).replace(b"\n", b" ") for _ in range(chance.randint(1, FILE_LINES_MAX))]
            return Case(lines, lambda: self._file(at, lines))
        message = Received(
            None if mutator.often(0.01) else self._body(mutator),
            self._key(mutator) if mutator.often(0.3) else None,
            self._headers(mutator),
        )
        anew = mutator.often(0.05)
        return Case(message, lambda: self._message(at, message, anew=anew))

    def _body(self, mutator: Mutator) -> bytes:
        sample = SAMPLES[self.kind]
        given = mutator.pick(sample.bodies)
        if callable(given):
            given = given(mutator)
        if isinstance(given, dict) and mutator.often(0.2):
            given = [given, *(mutator.pick([one for one in sample.bodies if isinstance(one, dict)]) for _ in range(2))]
        return b" " * (1 << 20) + b"{}" if mutator.often(0.0005) else mutator.body(given)

    def _key(self, mutator: Mutator) -> bytes:
        return mutator.body(
            mutator.pick(({"id": 7}, {"schema": {"fields": []}, "payload": {"id": 7}}, "7", {"id": '{"$oid": "a"}'}))
        )

    def _headers(self, mutator: Mutator) -> dict[str, str]:
        given = mutator.pick(SAMPLES[self.kind].headers)
        if not given or mutator.often(0.3):
            return dict(given)
        made = mutator.json(given, most=2)
        if not isinstance(made, dict):
            return dict(given)
        # The sources of messages decode headers as UTF-8 or Latin-1: halves of characters cannot be in them.
        return {_whole(str(name)): _whole(str(value)) for name, value in made.items()}

    def _message(self, at: int, message: Received, *, anew: bool) -> Account:
        context, reader = self.contexts[at], self.readers[at]

        def take(body: bytes | None) -> list[Change | Refused]:
            return list(reader.take(Received(body, message.key, message.headers), ORIGIN, 41))

        items = take(message.body)
        check_items(items, context.config)
        other = RECORD_DOORS[self.kind].reader(context) if anew else reader
        assert list(other.take(message, ORIGIN, 41)) == items
        if isinstance(reader, SalesforceReader) and reader.overflow(message.body or b"") is not None:
            assert not any(isinstance(item, Change) for item in items)
        events = events_in(message.body)
        if events is None or not SAMPLES[self.kind].batches(message):
            return account_of(message, items, lambda: self._skips(message.body, message))
        if _is_whole(items, message.body or b""):
            return Account(refused=1)
        return self._each(items, [(event, take(_alone(event))) for event in events], message)

    def _each(
        self,
        items: Sequence[Change | Refused],
        alone: Sequence[tuple[bytes, list[Change | Refused]]],
        message: Received,
    ) -> Account:
        assert unplaced(items) == unplaced(item for _, found in alone for item in found)
        account = Account()
        for event, found in alone:
            account = account.plus(account_of(event, found, lambda event=event: self._skips(event, message)))  # type: ignore[misc]
        return account

    def _file(self, at: int, lines: Sequence[bytes]) -> Account:
        context = self.contexts[at]

        def read(raw: bytes) -> list[Change | Refused]:
            return list(DOORS[self.kind].read("events.jsonl", io.BytesIO(raw), context))

        raw = b"\n".join(lines)
        items = read(raw)  # whatever its first line makes it to be: lines of events, or a table
        check_items(items, context.config)
        assert all(0 <= item.position <= raw.count(b"\n") + 1 for item in items if isinstance(item, Refused))
        before = len(read(FIRST))
        found = read(FIRST + raw + b"\n")[before:]
        alone = [(line, read(FIRST + line + b"\n")[before:]) for line in lines]
        assert unplaced(found) == unplaced(item for _, one in alone for item in one)
        account = Account()
        for line, one in alone:
            events = events_in(line) if SAMPLES[self.kind].batches(Received(line)) else None
            if not line.strip():
                assert not one
                account = account.plus(Account(skipped=1))
            elif events is None or _is_whole(one, line):
                account = account.plus(account_of(line, one, lambda line=line: self._skips(line, Received(line))))  # type: ignore[misc]
            else:
                each = [(event, read(FIRST + _alone(event) + b"\n")[before:]) for event in events]
                account = account.plus(self._each(one, each, Received(line)))
        return account

    def _skips(self, body: bytes | None, message: Received) -> bool:
        """Whether an event is one that its door may skip, read anew here."""
        try:
            value = None if body is None else json.loads(body.decode().removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            value = None if not body else ...
        return value == [] or SAMPLES[self.kind].skips(value, message)


def _alone(event: bytes) -> bytes:
    """An event of a batch as a body; an array among events is put in an array, else it would be a batch."""
    return b"[" + event + b"]" if event[:1] == b"[" else event


def _is_whole(items: Sequence[Change | Refused], body: bytes) -> bool:
    """Whether a message was refused as a whole."""
    if len(items) != 1 or not isinstance(items[0], Refused):
        return False
    said = items[0].code in WHOLE or items[0].reason.startswith("the format ")  # of CloudEvents that is none of JSON
    return said and (body + b"\n").startswith(items[0].payload)


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _opened(kind: Kind) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Callable[[random.Random], Case]]:
        with contexts(kind) as found:
            yield Door(kind, found, [RECORD_DOORS[kind].reader(one) for one in found]).case

    return opened


TARGETS = (
    Target("salesforce", 180, _opened("salesforce")),
    Target("hubspot", 150, _opened("hubspot")),
    Target("debezium", 130, _opened("debezium")),
    Target("cloudevents", 100, _opened("cloudevents")),
    Target("webhook", 80, _opened("webhook")),
)
