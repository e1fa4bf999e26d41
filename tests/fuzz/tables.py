"""The doors for tables: csv under several mappings, field history, and Bulk API files of Salesforce.

Accounting: each row (as `ingest.csv_rows` finds it; a test of its own holds that no line is lost there) is read again
alone under its header, as the quarantine does, and must give what it gave in the file: changes, one refusal, or nothing
where nothing stands in it.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest import DOORS, Context, load_mapping
from ingest.csv_door import around_of, file_of
from ingest.csv_lines import table_text
from ingest.csv_rows import Row, read_rows
from ingest.door import Refused
from ingest.salesforce_rows import is_table
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from tests.fuzz.checks import CONFIGS, NOW, TENANT, Account, Case, Target, account_of, check_items, unplaced
from tests.fuzz.mutate import Mutator

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS_MAX = 8


@dataclass(frozen=True)
class Table:
    """A file as a door takes it: its name, its mapping, its header and good rows of it."""

    name: str
    mapping: Mapping | None
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def delimiter(self) -> str:
        """What divides its cells."""
        return (self.mapping or Mapping()).delimiter

    @property
    def encoding(self) -> str:
        """How it is written."""
        return (self.mapping or Mapping()).encoding


def _example(name: str) -> Mapping:
    return load_mapping(EXAMPLES / name / "mapping.yaml")


def _mapping(**settings: Any) -> Mapping:
    """A mapping that uses what the examples do not: templates, versions, joined ids, empties that clear, units."""
    fields = {
        "name": {"template": "{Account}: {Name}", "optional": True},
        "amount": {"column": "Amount", "factor": "0.01", "empty": "null"},
        "created_date": {"column": "Made", "unit": "days", "optional": True},
        "stage": {"column": "Stage", "allowed": ["New", "Won"], "required": True},
        "seen": {"column": "Seen", "kind": "time", "optional": True},
        "active": {"column": "On", "kind": "flag", "optional": True},
    }
    milestone = {
        "name": "made",
        "date": "Date",
        "when": {"Stage": ["New", "Won"]},
        "op": "create",
        "set": {"close_date": {"moment": True}},
    }
    entry = {
        "match": "deals*", "entity": "opportunity", "id": ["Account", "Name"], "version": "Version",
        "fields": fields, "milestones": [milestone], "snapshot_at": "2017-01-01",
    }  # fmt: skip
    return Mapping.model_validate(
        {"files": [entry], "dates": ["%d/%m/%Y", "%d.%m.%y %H:%M"], "ignore": ["skip*"], **settings}
    )


DEALS = ("Account", "Name", "Amount", "Made", "Stage", "Seen", "On", "Date", "Version")
DEAL_ROWS = (
    ("Acme", "New servers", "105450", "19874", "New", "2024-05-01T10:00:00Z", "yes", "31/05/2024", "12"),
    ("Acme", 'The "big" one, again', "", "", "Won", "", "", "01.06.24 09:30", "2024-06-01"),
    ("Nörd", "Zwei\nZeilen", "1.050,5", "19875", "Won", "1717169400123", "0", "2024-06-02", "1717169400"),
)
STARTER = ("Deal", "Name", "Owner", "Customer", "Stage", "Amount", "Created", "Changed", "Expected close", "Closed")
STARTER_ROWS = (
    (
        "D-1",
        "New servers",
        "Ada Moreau",
        "Northwind",
        "Proposal",
        "12,500.00",
        "2026-02-03",
        "2026-02-20",
        "2026-05-29",
        "",
    ),
    (
        "D-2",
        "Support",
        "Ben Okafor",
        "Harbour Ltd",
        "Closed Won",
        "4800",
        "2026-01-12",
        "2026-03-20",
        "2026-03-31",
        "2026-03-20",
    ),
)
PIPELINE = (
    "opportunity_id",
    "sales_agent",
    "product",
    "account",
    "deal_stage",
    "engage_date",
    "close_date",
    "close_value",
)
PIPELINE_ROWS = (
    ("1C1I7A6R", "Moses Frase", "GTX Plus Basic", "Cancity", "Won", "2016-10-20", "2017-03-01", "1054"),
    ("Z063OYW0", "Darcel Schlecht", "GTXPro", "Isdom", "Prospecting", "", "", ""),
)
HISTORY = ("OpportunityId", "CreatedDate", "Field", "OldValue", "NewValue")
HISTORY_ROWS = (
    ("006A", "2024-03-05T10:15:30.000Z", "created", "", ""),
    ("006A", "2024-03-06T10:15:30Z", "StageName", "New", "Won"),
    ("006A", "2024-03-06T10:15:30Z", "Owner", "", "005000000000001AAA"),
    ("006B", "1709633730123", "Amount", "", "1054.50"),
)
BULK = ("Id", "Name", "StageName", "Amount", "CloseDate", "OwnerId", "SystemModstamp", "IsDeleted")
BULK_ROWS = (
    ("006A", "Acme", "Won", "1054.5", "2024-05-31", "005A", "2024-03-05T10:15:30.000Z", "false"),
    ("006B", "", "New", "", "", "", "2024-03-05T10:15:30.000Z", "true"),
)
TABLES: dict[str, Sequence[Table]] = {
    "csv": (
        Table("opportunities.csv", _example("starter"), STARTER, STARTER_ROWS),
        Table("sales_pipeline.csv", _example("crm_sales_opportunities"), PIPELINE, PIPELINE_ROWS),
        Table("deals.csv", _mapping(), DEALS, DEAL_ROWS),
        Table("-", _mapping(delimiter=";", encoding="cp1252", decimal_mark=",", thousands="."), DEALS, DEAL_ROWS),
        Table("deals.csv", _mapping(delimiter="\t", encoding="utf-16"), DEALS, DEAL_ROWS),
        Table("deals.csv", _mapping(encoding="shift_jis"), DEALS, DEAL_ROWS[:2]),
        Table("skip.csv", _mapping(), DEALS, DEAL_ROWS),
    ),
    "field-history": (
        Table("history.csv", None, HISTORY, HISTORY_ROWS),
        Table("history.csv", Mapping(delimiter=";", encoding="utf-32"), HISTORY, HISTORY_ROWS),
        Table("x.csv", Mapping.model_validate({"history": {"entity": "lead", "columns": {"record": "Id", "new": "Now"}}}),
              ("Id", "time", "field", "Now"), (("00Q1", "2024-03-06", "Status", "Open"), ("00Q1", "2024-03-07", "seen", "1"))),
    ),
    "bulk": (
        Table("Opportunity.csv", None, BULK, BULK_ROWS),
        Table("Opportunity_2.csv", Mapping(delimiter=";", encoding="cp1252"), BULK, BULK_ROWS),
        Table("Lead.csv", None, ("Id", "FirstName", "LastName", "LastModifiedDate"), (("00Q1", "A", "B", "2024-03-05T10:15:30Z"),)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class TableDoor:
    """A door for tables under test."""

    kind: str
    tables: Sequence[Table]

    def case(self, chance: random.Random) -> Case:
        """A file."""
        mutator = Mutator(chance)
        table, config = mutator.pick(self.tables), mutator.pick(CONFIGS)
        raw = _history_lines(mutator) if self.kind == "field-history" and mutator.often(0.3) else _file(mutator, table)
        return Case((table.name, raw), lambda: self._read(table, config, raw))

    def _read(self, table: Table, config: Config, raw: bytes) -> Account:
        context = Context(TENANT, "crm", config, table.mapping, ManualClock(NOW))
        kind = "salesforce" if self.kind == "bulk" else self.kind

        def read(content: bytes) -> list[Change | Refused]:
            return list(DOORS[kind].read(table.name, io.BytesIO(content), context))

        items = read(raw)
        check_items(items, config)
        assert read(raw) == items
        if not items:
            return Account(skipped=1)
        if isinstance(items[0], Refused) and items[0].position == 0:
            assert len(items) == 1
            return Account(refused=1)
        if kind == "salesforce" and not is_table(raw, table.mapping or Mapping()):
            return Account(refused=len([item for item in items if isinstance(item, Refused)]))
        if kind == "field-history" and _begins_with_brace(raw, table.encoding):
            return _by_line(items, raw, table.encoding)
        return _by_row(table, items, raw, read)


def _by_row(
    table: Table, items: Sequence[Change | Refused], raw: bytes, read: Callable[[bytes], list[Change | Refused]]
) -> Account:
    """Each row alone under its header gives what it gave in the file."""
    text = table_text(io.BytesIO(raw), table.encoding)
    header, *rows = read_rows(text, table.delimiter)
    around = around_of(header, text)
    account, found = Account(), []
    for row in rows:
        alone = read(file_of(Refused("crm", table.name, row.position, row.raw, "x", "x", around)))
        account = account.plus(account_of(row, alone, lambda row=row: _is_blank(row)))  # type: ignore[misc]
        found += alone
    # What a quotation mark without its other one meant, only the rest of the file says.
    assert _kinds(found) == _kinds(items)
    if b'"' not in raw:
        assert unplaced(found) == unplaced(items)
    return account


def _by_line(items: Sequence[Change | Refused], raw: bytes, encoding: str) -> Account:
    """One change or refusal for each line of JSON in which anything stands."""
    lines = [line for line in table_text(io.BytesIO(raw), encoding).lines if line.raw.strip()]
    assert len(items) == len(lines)
    refused = sum(isinstance(item, Refused) for item in items)
    return Account(changes=len(items) - refused, refused=refused)


def _kinds(items: Sequence[Change | Refused]) -> list[object]:
    return [item if isinstance(item, Change) else (item.payload.rstrip(b"\r\n"), item.around) for item in items]


def _is_blank(row: Row) -> bool:
    return row.bad is None and not any(cell.strip() for cell in row.cells)


def _begins_with_brace(raw: bytes, encoding: str) -> bool:
    lines = table_text(io.BytesIO(raw), encoding).lines
    return next((line.raw.lstrip()[:1] == b"{" for line in lines if line.raw.strip()), False)


def _file(mutator: Mutator, table: Table) -> bytes:
    """A file with a few rows of which cells, quotation marks, line ends, columns or bytes may be damaged."""
    header = list(table.header)
    rows = [list(mutator.pick(table.rows)) for _ in range(mutator.chance.randint(0, ROWS_MAX))]
    if mutator.often(0.15):
        header = (
            [mutator.text(name) if mutator.often(0.2) else name for name in header]
            if mutator.often(0.7)
            else header[::-1]
        )
    for row in rows:
        while mutator.often(0.35):
            at = mutator.chance.randrange(len(row))
            match mutator.chance.randrange(5):
                case 0 | 1 | 2:
                    row[at] = mutator.text(row[at])
                case 3 if len(row) > 1:
                    del row[at]
                case _:
                    row.insert(at, mutator.text())
    end = mutator.pick(("\n", "\n", "\r\n", "\r"))
    text = end.join(
        table.delimiter.join(_cell(mutator, cell, table.delimiter) for cell in row) for row in [header, *rows]
    )
    text += mutator.pick((end, end, "", end * 3))
    encoding = (
        mutator.pick(("utf-8", "utf-16", "utf-8-sig", "utf-32-be", "latin-1")) if mutator.often(0.1) else table.encoding
    )
    raw = text.encode(encoding, mutator.pick(("replace", "ignore")))
    return mutator.raw(raw) if mutator.often(0.35) else raw


def _cell(mutator: Mutator, text: str, delimiter: str) -> str:
    needs = any(mark in text for mark in (delimiter, '"', "\n", "\r"))
    if needs != mutator.often(0.03):
        return '"' + text.replace('"', '""') + '"'
    return text


def _history_lines(mutator: Mutator) -> bytes:
    lines = [mutator.body(dict(zip(HISTORY, mutator.pick(HISTORY_ROWS), strict=True))) for _ in range(3)]
    return b"\n".join([json.dumps(dict(zip(HISTORY, HISTORY_ROWS[0], strict=True))).encode(), *lines])


def _opened(kind: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Callable[[random.Random], Case]]:
        yield TableDoor(kind, TABLES[kind]).case

    return opened


TARGETS = (
    Target("csv", 60, _opened("csv")),
    Target("field-history", 50, _opened("field-history")),
    Target("bulk", 40, _opened("bulk")),
)
