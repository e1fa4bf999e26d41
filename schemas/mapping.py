"""mapping.yaml: how the columns of your files and the fields of your CRM become Planwatch's fields."""

from __future__ import annotations

import codecs
import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.base import Strict
from schemas.change import Entity, Op
from schemas.records import Kind

Empty = Literal["absent", "null"]
#: What a number in a date or time counts, since 1970 in UTC.
Unit = Literal["days", "s", "ms", "us", "ns"]


def _day_text(value: Any) -> Any:
    """YAML reads 2017-12-31 as a date; the model holds it as text."""
    return value.isoformat() if isinstance(value, dt.date) else value


def _column(value: Any) -> Any:
    """`stage: deal_stage` is short for `stage: {column: deal_stage}`."""
    return {"column": value} if isinstance(value, str) else value


def _text(value: Any) -> Any:
    """YAML reads 5 and true as a number and a flag; what they are compared with is text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _texts(value: Any) -> Any:
    """One value is short for a list of one."""
    return tuple(_text(item) for item in value) if isinstance(value, list | tuple) else (_text(value),)


def _text_keys(value: Any) -> Any:
    return {_text(key): item for key, item in value.items()} if isinstance(value, dict) else value


def _constant(value: Any) -> Any:
    """`stage: Won` under `set` is short for `stage: {constant: Won}`."""
    if isinstance(value, dt.date):
        value = value.isoformat()
    return {"constant": value} if isinstance(value, str | bool | int | float) else value


#: Encodings in which an ASCII character is more than a byte; a file in one of them is read all the same.
WIDE_ENCODINGS = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
_ASCII = "".join(map(chr, range(0x20, 0x7F))) + "\t\r\n"


def _encoding(name: str) -> str:
    """The name under which Python knows a text encoding; of others than the wide ones each ASCII byte must be itself."""
    try:
        known = codecs.lookup(name)
        if known.name in WIDE_ENCODINGS:
            return known.name
        if known.name == "utf-8-sig":
            return "utf-8"
        if _ASCII.encode(known.name) == _ASCII.encode() and _ASCII.encode().decode(known.name) == _ASCII:
            return known.name
    except (LookupError, ValueError):
        pass
    raise ValueError(f"{name!r} is not an encoding of text files; write for example utf-8, utf-16, cp1252 or latin-1")


def _delimiter(value: str) -> str:
    if value in '"\r\n\0':
        raise ValueError("the delimiter cannot be a quotation mark, a line end or a zero byte")
    return value


Encoding = Annotated[str, AfterValidator(_encoding)]
Delimiter = Annotated[str, Field(min_length=1, max_length=1), AfterValidator(_delimiter)]
Moment = Annotated[str, BeforeValidator(_day_text)]
Constant = bool | int | Decimal | str


class Value(Strict):
    """Where a field's value comes from: exactly one of column, constant, template, moment; and how it is read.

    `template` joins columns ("{account}: {product}") and is empty when one of them is. `moment` is
    the time of the change itself. `aliases` are applied first, then `allowed` is checked.
    """

    column: str | None = None
    constant: Constant | None = None
    template: str | None = None
    moment: bool = False
    kind: Kind | None = None  # none: as Planwatch or the configuration's `fields` knows it; otherwise text
    unit: Unit | None = None  # what a number in a date or time counts: days, milliseconds, ...
    factor: Decimal | None = None  # a number is multiplied by it: 0.01 for cents
    aliases: dict[str, str] = Field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    required: bool = False  # an empty cell is refused
    optional: bool = False  # the column may be missing from the file
    empty: Empty | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Value:
        given = [self.column is not None, self.constant is not None, self.template is not None, self.moment]
        if sum(given) != 1:
            raise ValueError("give exactly one of column, constant, template, moment")
        return self


FromColumn = Annotated[Value, BeforeValidator(_column, json_schema_input_type=str | Value)]
FromConstant = Annotated[Value, BeforeValidator(_constant, json_schema_input_type=Constant | Value)]


class Milestone(Strict):
    """A date of a row that makes a dated change: engaged in March, won in May."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    date: str  # the column with the date
    when: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # column → values with which it holds
    set: dict[str, FromConstant] = Field(default_factory=dict)
    op: Op = "update"
    date_required: bool = False  # refuse a row with which it holds but that has no date


class Undated(Strict):
    """What a row becomes with which no milestone holds: one change at `snapshot_at`."""

    set: dict[str, FromConstant] = Field(default_factory=dict)


class FileMapping(Strict):
    """The rows of the files whose name matches: which records they are, and how they changed.

    `fields` go into the first change of a row; each milestone's `set` into its own. Several entries
    may match one file: every row then gives changes for each.
    """

    match: str  # a pattern of the file's name: "deals*.csv"
    entity: Entity
    id: str | tuple[str, ...]  # a column, or several joined with ":"
    fields: dict[str, FromColumn] = Field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = Field(default_factory=dict)
    expect: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # column → the only values it may have
    milestones: tuple[Milestone, ...] = ()
    undated: Undated = Undated()
    snapshot_at: Moment | None = None
    version: str | None = None  # a column with a number or a time; none: the time of the change
    empty: Empty = "absent"


Patterns = Annotated[tuple[str, ...], BeforeValidator(_texts, json_schema_input_type=Constant | list[Constant])]


class EventOp(Strict):
    """What an event does to its record, by a value in it. A value that is not listed: what the event itself says,
    else an update."""

    column: str
    values: Annotated[dict[str, Op | Literal["skip"]], BeforeValidator(_text_keys)] = Field(default_factory=dict)


class EventTime(Strict):
    """Where the time of an event stands, and what it counts where it is a number."""

    column: str
    unit: Unit | None = None


class EventMapping(Strict):
    """The events that match: which records they change, and how. The first entry that matches an event is used.

    A name is a path into the event's data (`deal.id`, `items.0.id`); with `@` before it one of its envelope
    (`@subject`, `@table`; of a webhook the header of that name). `match` looks in the envelope first.
    """

    match: dict[str, Patterns] = Field(default_factory=dict)  # path → a pattern of its value, or several: one must fit
    ignore: bool = False  # skip these events
    entity: Entity | None = None
    id: str | tuple[str, ...] | None = None  # a path, or several joined with ":"
    op: Op | EventOp | None = None  # none: what the event itself says, else an update
    time: Annotated[EventTime, BeforeValidator(_column, json_schema_input_type=str | EventTime)] | None = None
    version: str | None = None  # a path to a number or a time; none: the event's own position, else its time
    event_id: str | None = None  # a path; none: the event's own id, else its content
    fields: dict[str, FromColumn] = Field(default_factory=dict)  # ours → where it comes from
    aliases: dict[str, dict[str, str]] = Field(default_factory=dict)
    empty: Empty = "null"  # a value that is there and empty clears the field, or (absent) leaves it alone

    @model_validator(mode="after")
    def _complete(self) -> EventMapping:
        if not self.ignore and (self.entity is None or not self.id):
            raise ValueError("give `entity` and `id`, or `ignore: true` to skip these events")
        return self


class HistoryColumns(Strict):
    """The columns of a field history; those left out are recognised by their usual names."""

    record: str | None = None
    time: str | None = None
    field: str | None = None
    new: str | None = None


class HistoryMapping(Strict):
    """How a field history is read: one row per changed field."""

    entity: Entity | None = None  # none: by the record column (OpportunityId, LeadId, ...), else opportunity
    columns: HistoryColumns = HistoryColumns()
    fields: dict[str, str] = Field(default_factory=dict)  # the source's field name → ours


class EntityMapping(Strict):
    """An object of Salesforce or HubSpot: its fields beyond (or instead of) the standard ones."""

    entity: Entity | None = None  # needed for objects that Planwatch does not know
    fields: dict[str, str] = Field(default_factory=dict)  # the source's field name → ours
    ignore: bool = False  # skip its events


class Mapping(Strict):
    """A mapping file. `files` serves csv, `history` field-history, `entities` salesforce and hubspot, and `events`
    debezium, cloudevents and webhook."""

    dates: tuple[str, ...] = ()  # strptime formats beside ISO 8601: "%d/%m/%Y"
    decimal_mark: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    delimiter: Delimiter = ","
    encoding: Encoding = "utf-8"  # any that Python knows; a byte order mark in the file comes before it
    snapshot_at: Moment | None = None
    aliases: dict[str, dict[str, str]] = Field(default_factory=dict)  # field → value in the source → value
    ignore: tuple[str, ...] = ()  # patterns of file names to skip
    files: tuple[FileMapping, ...] = ()
    history: HistoryMapping = HistoryMapping()
    entities: dict[str, EntityMapping] = Field(default_factory=dict)
    events: tuple[EventMapping, ...] = ()

    @model_validator(mode="after")
    def _marks_differ(self) -> Mapping:
        if self.thousands == self.decimal_mark:
            raise ValueError("thousands and decimal_mark are the same character; change one of them")
        return self
