"""The `webhook` door: JSON events of any shape, one to a request or several in an array, mapped by file."""

from __future__ import annotations

import hashlib

from ingest.door import Received
from ingest.event_door import MappedReader
from ingest.event_mapping import bounded_id
from ingest.event_paths import Event
from ingest.json_events import Piece, object_of
from schemas.change import Change

#: The id that a sender by the Standard Webhooks scheme gives a message, the same at each attempt.
MESSAGE_ID = "webhook-id"


class WebhookReader(MappedReader):
    """Events to changes. The envelope (`@name`) is the headers."""

    kind = "webhook"

    def change(self, piece: Piece, message: Received) -> Change | None:
        """The change of one event; none where the mapping skips it."""
        event = Event(
            data=object_of(piece.value),
            about=message.headers,
            event_id=_event_id(message.headers.get(MESSAGE_ID), piece.raw),
            match_envelope=False,
        )
        program = self.mapper.program(event)
        return None if program is None else program.run(event)


def _event_id(message_id: str | None, raw: bytes) -> str | None:
    """The message's id with the event's own bytes, so that it is the same alone as it was in its batch."""
    if not message_id:
        return None
    return bounded_id(f"{message_id}:{hashlib.blake2b(raw.strip(), digest_size=8).hexdigest()}")
