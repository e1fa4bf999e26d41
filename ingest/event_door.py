"""What the doors for JSON events share: reading messages and lines, and refusing each bad event alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from ingest.door import Context, Received, Refused, refuse
from ingest.event_mapping import EventMapper
from ingest.json_events import Piece, pieces_of
from ingest.lines import Line, empty_file, read_lines, text_of
from ingest.values import Bad
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.mapping import Mapping

#: The key of a record travels with a refusal under this name, since a record may have its id in the key alone.
KEY_HEADER = "record-key"
#: A longer key is not looked into, and not kept.
KEY_BYTES_MAX = 16 * 1024


class EventReader(ABC):
    """Takes messages of one source. What is particular to a kind of event is in its `changes`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def take(self, message: Received, origin: str, position: int) -> Sequence[Change | Refused]:
        """The changes of a message, as `ingest.door.RecordReader` says."""
        return self._taken(message, origin, position, what="record")

    def take_line(self, line: Line, origin: str) -> Sequence[Change | Refused]:
        """The changes of a line of a file; an array on a line is several events of that line."""
        if line.too_long:
            try:
                text_of(line)
            except Bad as bad:
                return [refuse(self.context, origin, line.position, line.raw, bad)]
        return self._taken(Received(line.raw), origin, line.position, what="line")

    def _taken(self, message: Received, origin: str, position: int, what: str) -> Sequence[Change | Refused]:
        around = self.around(message)
        try:
            pieces = self.pieces(message, what)
        except Bad as bad:
            return [refuse(self.context, origin, position, message.body or b"", bad, around)]
        taken: list[Change | Refused] = []
        for piece in pieces:
            try:
                taken += self.changes(piece, message)
            except Bad as bad:
                at = piece.number if what == "record" and piece.number is not None else position
                taken.append(refuse(self.context, origin, at, piece.raw, bad, around))
        return taken

    def pieces(self, message: Received, what: str) -> list[Piece]:
        """The events of a message; `Bad` refuses it as a whole."""
        return pieces_of(message, what)

    def around(self, message: Received) -> dict[str, str]:
        """What is needed beside an event's bytes to read it again: nothing, where they say everything."""
        return {}

    @abstractmethod
    def changes(self, piece: Piece, message: Received) -> Sequence[Change]:
        """The changes of one event; none for an event to skip; `Bad` for one that cannot be taken."""


class MappedReader(EventReader):
    """Takes events of any shape, mapped by file. What is particular to a kind of event is in its `change`."""

    kind: str

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.mapper = EventMapper(_mapping(context, self.kind), context)

    def around(self, message: Received) -> dict[str, str]:
        """The headers, and the key where it is text."""
        key = key_of(message)
        return dict(message.headers) if key is None else {**message.headers, KEY_HEADER: key}

    def changes(self, piece: Piece, message: Received) -> Sequence[Change]:
        """The change of one event, where it makes one."""
        change = self.change(piece, message)
        return () if change is None else (change,)

    @abstractmethod
    def change(self, piece: Piece, message: Received) -> Change | None:
        """The change of one event; none for an event to skip; `Bad` for one that cannot be taken."""


class EventDoor:
    """Reads events as JSON lines, and messages of a topic or of requests."""

    def __init__(self, make: Callable[[Context], EventReader]) -> None:
        self._make = make

    def read(self, origin: str, stream: BinaryIO, context: Context) -> Iterator[Change | Refused]:
        """The changes of a stream of JSON lines, and a `Refused` for each event that is none."""
        reader = self._make(context)
        line = None
        for line in read_lines(stream):
            yield from reader.take_line(line, origin)
        if line is None:
            yield refuse(context, origin, 0, b"", empty_file())

    def reader(self, context: Context) -> EventReader:
        """What takes single messages."""
        return self._make(context)


def key_of(message: Received) -> str | None:
    """The key of a record as text, also of one that is read again out of the quarantine; none where it is no text."""
    if message.key is None:
        return message.headers.get(KEY_HEADER)
    try:
        return message.key.decode() if len(message.key) <= KEY_BYTES_MAX else None
    except UnicodeDecodeError:
        return None


def _mapping(context: Context, kind: str) -> Mapping:
    if context.mapping is None or not context.mapping.events:
        raise PlanwatchError(
            f"source {context.source}: the {kind} door needs a mapping file with entries under `events`; "
            f"name it under sources.{context.source}.mapping in planwatch.yaml"
        )
    return context.mapping


def media_type(content_type: Any) -> str:
    """The media type of a content type, without its parameters, in lower case."""
    return str(content_type or "").partition(";")[0].strip().lower()
