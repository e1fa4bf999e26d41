"""What holds of every file, whatever is in it: no exception, nothing lost, and what programs write reads back."""

from __future__ import annotations

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import DOORS, Context, Refused
from ingest.csv_lines import table_text
from ingest.csv_rows import read_rows
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping

NOW = 1_750_000_000_000_000
ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-16-be", "utf-32", "cp1252", "latin-1", "shift_jis", "gb18030"])
DELIMITERS = st.sampled_from([",", ";", "\t", "|", " ", "^"])
#: Noise that is more like a table than bytes at random are.
NOISE = st.lists(
    st.sampled_from([b"id", b"name", b",", b";", b'"', b'""', b"\n", b"\r", b"\r\n", b"\0", b"\xe9", b"\xff\xfe", b" "])
    | st.binary(max_size=8),
    max_size=60,
).map(b"".join)


def mapping(**settings: object) -> Mapping:
    entry = {
        "match": "*.csv",
        "entity": "opportunity",
        "id": "id",
        "snapshot_at": "2017-01-01",
        "fields": {"name": {"column": "name", "optional": True}},
    }
    return Mapping.model_validate({"files": [entry], **settings})


def read(kind: str, raw: bytes, given: Mapping | None) -> list[Change | Refused]:
    ctx = Context("acme", "crm", Config(), given, ManualClock(NOW))
    return list(DOORS[kind].read("x.csv", io.BytesIO(raw), ctx))


@settings(deadline=None)
@given(
    NOISE,
    st.sampled_from([b"", b"id,name\n", b"\xef\xbb\xbfid,name\r\n", b"\xff\xfei\0d\0\n\0"]),
    ENCODINGS,
    DELIMITERS,
)
def test_any_bytes_give_changes_or_refusals(noise: bytes, start: bytes, encoding: str, delimiter: str) -> None:
    """At the csv door, with any header, encoding and delimiter; the same twice; each refusal holds bytes of the file."""
    given_mapping = mapping(encoding=encoding, delimiter=delimiter)
    items = read("csv", start + noise, given_mapping)
    assert items == read("csv", start + noise, given_mapping)
    assert all(isinstance(item, Change | Refused) for item in items)


@settings(deadline=None)
@given(
    NOISE,
    st.sampled_from([b"", b"OpportunityId,CreatedDate,Field,NewValue\n", b'{"OpportunityId": 1}\n', b"\xfe\xff\0{"]),
    ENCODINGS,
)
def test_any_bytes_at_the_field_historys_door(noise: bytes, start: bytes, encoding: str) -> None:
    """The same there."""
    given_mapping = mapping(encoding=encoding)
    items = read("field-history", start + noise, given_mapping)
    assert items == read("field-history", start + noise, given_mapping)


@settings(deadline=None)
@given(NOISE)
def test_every_line_is_in_exactly_one_row(noise: bytes) -> None:
    """The rows' bytes, one after the other, are the file without its blank lines: nothing lost, nothing twice."""
    rows = list(read_rows(table_text(io.BytesIO(b"x" + noise), "latin-1"), ","))
    whole = (b"x" + noise).splitlines(keepends=True)
    held = b"".join(row.raw for row in rows).splitlines(keepends=True)
    assert [line for line in held if line.strip()] == [line for line in whole if line.strip()]
    numbers = [row.position for row in rows]
    assert numbers == sorted(set(numbers))
    assert all(whole[row.position - 1] == row.raw.splitlines(keepends=True)[0] for row in rows)


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"", b"a", b"bc"]), max_size=40), st.data())
def test_one_change_or_refusal_a_row(ids: list[bytes], data: st.DataObject) -> None:
    """As many come out as rows went in: a change for each with an id, a refusal for each without."""
    names = [data.draw(st.sampled_from([b"x", b'"x\n\ny"', b"\xff"])) for _ in ids]
    raw = b"id,name\n" + b"".join(i + b"," + n + b"\n" for i, n in zip(ids, names, strict=True))
    items = read("csv", raw, mapping())
    expected = [None if not i or n == b"\xff" else i.decode() for i, n in zip(ids, names, strict=True)]
    assert [item.record_id if isinstance(item, Change) else None for item in items] == expected


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(deadline=None)
@given(
    st.lists(st.lists(TEXT, min_size=2, max_size=4), min_size=1, max_size=12),
    DELIMITERS,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
)
def test_what_pythons_csv_module_writes_reads_back(
    table: list[list[str]], delimiter: str, encoding: str, line_end: str, quoting: int
) -> None:
    """In every dialect that a mapping can name, cell by cell; rows in which nothing stands are no rows."""
    if quoting == csv.QUOTE_MINIMAL and line_end != "\r\n":  # the module leaves the other line end without quotes
        table = [[cell.replace("\r", " ").replace("\n", " ") for cell in row] for row in table]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(table)  # type: ignore[arg-type]
    text = table_text(io.BytesIO(out.getvalue().encode(encoding)), encoding)
    rows = list(read_rows(text, delimiter))
    assert [row.bad for row in rows] == [None] * len(rows)
    written = [row for row in table if delimiter.join(row).strip() or quoting != csv.QUOTE_MINIMAL]
    read_back = [row.cells for row in rows]
    blank = [row for row in written if row not in read_back]
    assert not any("".join(row).strip() for row in blank)
    assert [row for row in written if row in read_back] == read_back
