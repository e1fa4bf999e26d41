"""The `cloudevents` door: events of CloudEvents 1.0, mapped by file.

They come in the structured mode (the whole event is a JSON object, or a batch an array of them) or in the binary mode
(attributes in headers `ce-…` over HTTP and `ce_…` over Kafka, the data as the body). Files hold structured events.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from ingest.door import Received
from ingest.event_door import MappedReader, media_type
from ingest.event_mapping import bounded_id
from ingest.event_paths import Event
from ingest.json_events import Piece, json_of, object_of, pieces_of
from ingest.lines import record_line, text_of
from ingest.values import Bad, show
from schemas.change import Change

STRUCTURED = "application/cloudevents"
JSON_FORMATS = frozenset({STRUCTURED, f"{STRUCTURED}+json", f"{STRUCTURED}-batch", f"{STRUCTURED}-batch+json"})
HTTP_PREFIX, KAFKA_PREFIX = "ce-", "ce_"
REQUIRED = ("id", "source", "specversion", "type")
VERSION = "1.0"
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_BLANK = re.compile(r"\s")


class CloudEventsReader(MappedReader):
    """CloudEvents to changes. An event is the same one when its `source` and `id` are."""

    kind = "cloudevents"

    def pieces(self, message: Received, what: str) -> list[Piece]:
        """The events of a message: of a structured one the objects in it, of a binary one itself."""
        kind = media_type(message.headers.get("content-type"))
        if kind.startswith(STRUCTURED):
            if kind not in JSON_FORMATS:
                raise Bad("bad_event", f"the format {show(kind)} is not read; send {STRUCTURED}+json")
            return pieces_of(message, what)
        return [Piece(None, message.body or b"")] if _is_binary(message) else pieces_of(message, what)

    def change(self, piece: Piece, message: Received) -> Change | None:
        """The change of one event; none where the mapping skips it."""
        structured = piece.value is not None or not _is_binary(message)
        about, data = _structured(object_of(piece.value)) if structured else _binary(message)
        _check(about)
        time = about.get("time")
        event = Event(
            data=data,
            about=about,
            occurred_at=None if time is None else self.mapper.values.moment(time, "the attribute time"),
            # A source is a URI reference, which has no blanks: the first one parts the two.
            event_id=bounded_id(f"{about['source']} {about['id']}"),
        )
        program = self.mapper.program(event)
        return None if program is None else program.run(event)


def _is_binary(message: Received) -> bool:
    if media_type(message.headers.get("content-type")).startswith(STRUCTURED):
        return False
    return any(f"{prefix}specversion" in message.headers for prefix in (HTTP_PREFIX, KAFKA_PREFIX))


def _check(about: dict[str, Any]) -> None:
    """Raise `Bad` where an attribute that must be there is not, or is not what it must be."""
    for name in REQUIRED:
        value = about.get(name)
        if not isinstance(value, str) or not value:
            raise Bad(
                "bad_event",
                f"the attribute {name} {show(value)} is not a text; each CloudEvent has {', '.join(REQUIRED)}",
            )
    if about["specversion"] != VERSION:
        raise Bad("bad_event", f"specversion {show(about['specversion'])} is not read; send CloudEvents {VERSION}")
    if _BLANK.search(about["source"]):
        raise Bad("bad_event", f"the attribute source {show(about['source'])} is not a URI reference: it holds blanks")


def _structured(body: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The attributes and the data of an event in the JSON format. An attribute that is null is not set."""
    about = {name: value for name, value in body.items() if name not in ("data", "data_base64") and value is not None}
    kind = about.get("datacontenttype")
    if body.get("data_base64") is not None:
        if body.get("data") is not None:
            raise Bad("bad_event", "the event has both data and data_base64; send one of them")
        encoded = body["data_base64"]
        try:
            raw = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
        except (binascii.Error, ValueError):
            raw = None
        if raw is None:
            raise Bad("bad_event", f"data_base64 {show(encoded)} is not base64")
        return about, _parsed(raw, kind)
    if body.get("data") is not None:
        _check_json(kind)
    return about, body.get("data")


def _binary(message: Received) -> tuple[dict[str, Any], Any]:
    """The attributes in the headers and the data in the body."""
    over_http = f"{HTTP_PREFIX}specversion" in message.headers
    prefix = HTTP_PREFIX if over_http else KAFKA_PREFIX
    about: dict[str, Any] = {
        name.removeprefix(prefix): _decoded(name, text) if over_http else text
        for name, text in message.headers.items()
        if name.startswith(prefix)
    }
    kind = message.headers.get("content-type")
    if kind is not None:
        about["datacontenttype"] = kind
    return about, _parsed(message.body, kind) if message.body else None


def _decoded(name: str, value: str) -> str:
    """The value of an HTTP header: out of its quotation marks if it has any, then percent-decoded, once."""
    quoted = _QUOTED.fullmatch(value.strip())
    text = _ESCAPED.sub(r"\1", quoted[1]) if quoted else value.strip()
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise Bad("bad_event", f"the header {name} {show(value)} is not UTF-8 after percent-decoding") from error


def _parsed(raw: bytes, kind: Any) -> Any:
    _check_json(kind)
    return json_of(text_of(record_line(raw, 0), what="data"), "the data")


def _check_json(kind: Any) -> None:
    """Raise `Bad` where data is declared as something else than JSON. What is not declared is JSON."""
    media = media_type(kind)
    if media and not media.endswith(("/json", "+json")):
        raise Bad("bad_event", f"the data is {show(media)} (datacontenttype) and not JSON, so paths lead nowhere in it")
