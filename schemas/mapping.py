"""mapping.yaml: how the columns of your files and the fields of your CRM become Planwatch's fields."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from schemas.base import Strict
from schemas.change import Entity, Op
from schemas.records import Kind

Empty = Literal["absent", "null"]


def _day_text(value: Any) -> Any:
    """YAML reads 2017-12-31 as a date; the model holds it as text."""
    return value.isoformat() if isinstance(value, dt.date) else value


def _column(value: Any) -> Any:
    """`stage: deal_stage` is short for `stage: {column: deal_stage}`."""
    return {"column": value} if isinstance(value, str) else value


def _constant(value: Any) -> Any:
    """`stage: Won` under `set` is short for `stage: {constant: Won}`."""
    if isinstance(value, dt.date):
        value = value.isoformat()
    return {"constant": value} if isinstance(value, str | bool | int | float) else value


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
    """A Salesforce object: its fields beyond (or instead of) the standard ones."""

    entity: Entity | None = None  # needed for objects that Planwatch does not know
    fields: dict[str, str] = Field(default_factory=dict)  # the source's field name → ours
    ignore: bool = False  # skip its events


class Mapping(Strict):
    """A mapping file. `files` serves csv, `history` field-history, `entities` salesforce."""

    dates: tuple[str, ...] = ()  # strptime formats beside ISO 8601: "%d/%m/%Y"
    decimal_mark: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Literal["utf-8", "cp1252", "latin-1"] = "utf-8"
    snapshot_at: Moment | None = None
    aliases: dict[str, dict[str, str]] = Field(default_factory=dict)  # field → value in the source → value
    ignore: tuple[str, ...] = ()  # patterns of file names to skip
    files: tuple[FileMapping, ...] = ()
    history: HistoryMapping = HistoryMapping()
    entities: dict[str, EntityMapping] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _marks_differ(self) -> Mapping:
        if self.thousands == self.decimal_mark:
            raise ValueError("thousands and decimal_mark are the same character; change one of them")
        return self
