"""Files as programs and people really write them: encodings, line ends, quotes, delimiters, headers, sizes."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

import pytest

from ingest import DOORS, Context, Refused
from ingest.csv_door import file_of
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping

NOW = 1_750_000_000_000_000
ENTRY = {"match": "deals*.csv", "entity": "opportunity", "id": "id", "snapshot_at": "2017-01-01"}
NAMED = {"fields": {"name": "name"}}


def context(entry: dict[str, object] | None = None, **settings: object) -> Context:
    mapping = Mapping.model_validate({"files": [{**ENTRY, **(entry or NAMED)}], **settings})
    return Context("acme", "crm", Config(), mapping, ManualClock(NOW))


def read(raw: bytes, ctx: Context | None = None, name: str = "deals.csv") -> list[Change | Refused]:
    return list(DOORS["csv"].read(name, io.BytesIO(raw), ctx or context()))


def names(items: list[Change | Refused]) -> list[object]:
    """The name of each change, and the code of each refusal."""
    return [item.code if isinstance(item, Refused) else item.fields["name"] for item in items]


def refused(items: list[Change | Refused]) -> list[Refused]:
    return [item for item in items if isinstance(item, Refused)]


# ---- encodings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_says_the_encoding(encoding: str) -> None:
    """A byte order mark is believed whatever the mapping says, and is no part of the first column's name."""
    raw = "id,name\n1,Jérôme – 株式会社\n".encode(encoding)
    assert names(read(raw, context(encoding="cp1252"))) == ["Jérôme – 株式会社"]


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "utf-32-be"])
def test_either_order_of_bytes(encoding: str) -> None:
    """Both orders of UTF-16 by their marks, and without a mark where the mapping names the order."""
    text = "id,name\r\n1,Ünal\r\n2,Łoś\r\n"
    assert names(read(("\ufeff" + text).encode(encoding))) == ["Ünal", "Łoś"]
    assert names(read(text.encode(encoding), context(encoding=encoding))) == ["Ünal", "Łoś"]


@pytest.mark.parametrize(
    ("encoding", "raw", "name"),
    [
        ("cp1252", b"\x80 5 \x96 J\xe9r\xf4me", "€ 5 – Jérôme"),
        ("latin-1", b"\xff\xfe J\xe9r\xf4me", "ÿþ Jérôme"),
        ("windows-1251", b"\xcf\xf0\xee\xe4\xe0\xe6\xe0", "Продажа"),
        ("shift_jis", b"\x83\x5c\x83\x74\x83\x67", "ソフト"),
        ("gb18030", b"\xcf\xfa\xca\xdb", "销售"),
        ("mac-roman", b"J\x8er\x99me", "Jérôme"),
    ],
)
def test_the_mapping_names_the_encoding(encoding: str, raw: bytes, name: str) -> None:
    """Any encoding whose ASCII is ASCII; bytes within a character are neither a delimiter nor a quotation mark."""
    assert names(read(b"id,name\n1," + raw + b'\n2,"' + raw + b'"\n', context(encoding=encoding))) == [name, name]


@pytest.mark.parametrize("encoding", ["utf-7", "cp037", "base64", "rot13", "idna", "klingon", "unicode_escape"])
def test_an_encoding_that_is_none(encoding: str) -> None:
    """What is no encoding of text files is refused in the mapping, with what to write."""
    with pytest.raises(ValueError, match="not an encoding of text files; write for example utf-8"):
        context(encoding=encoding)


def test_half_a_character_costs_its_row() -> None:
    """UTF-16 that was cut off within a character, or holds half a pair: that row is refused, the others are read."""
    raw = "\ufeffid,name\n1,a\n2,b\n".encode("utf-16-le")
    assert names(read(raw + b"3\0,\0c")) == ["a", "b", "not_text"]
    broken = raw + b"3\0,\0\x3d\xd8\n\0" + "4,d\n".encode("utf-16-le")
    assert names(read(broken)) == ["a", "b", "not_text", "d"]


# ---- lines and quotes


def test_line_ends_of_any_kind() -> None:
    """LF, CRLF and CR in one file, the positions counted as an editor counts lines; empty lines are no rows."""
    items = read(b"id,name\r1,a\n2,b\r\n\r\n,\r3,c\r,bad\r\n\n\n  \n")
    assert names(items) == ["a", "b", "c", "missing_id"]
    assert refused(items)[0].position == 7


def test_a_file_with_carriage_returns_only() -> None:
    """The old Macintosh form, larger than a block: every row is found, also where blocks meet between CR and LF."""
    rows = b"".join(b"%d,n%d\r" % (n, n) for n in range(1, 30_001))
    items = read(b"id,name\r" + rows)
    assert [item.record_id for item in items if isinstance(item, Change)] == [str(n) for n in range(1, 30_001)]
    crlf = b"id,name\r\n" + b"".join(b"%d,%s\r\n" % (n, b"x" * (n % 7)) for n in range(1, 40_001))
    assert [i.record_id for i in read(crlf) if isinstance(i, Change)] == [str(n) for n in range(1, 40_001)]


def test_quotes_as_they_come() -> None:
    """Doubled quotes, delimiters and lines within quotes; a stray quote costs its row or is text, never another row."""
    raw = b'id,name\n1,"a, ""b""\n\nc"\n2,5" screen\n3,"open\n4,d\n5,"e"x\n6,"f"\n'
    items = read(raw)
    assert names(items) == ['a, "b"\n\nc', '5" screen', "bad_quotes", "d", "bad_quotes", "f"]
    assert [item.payload for item in refused(items)] == [b'3,"open\n', b'5,"e"x\n']


def test_a_quote_that_is_never_closed() -> None:
    """It costs its own line, with a reason; the lines that it would have swallowed are read."""
    raw = b'id,name\n1,"open\n' + b"".join(b"%d,n\n" % n for n in range(2, 300))
    items = read(raw)
    assert names(items) == ["open_quote", *["n"] * 298]
    assert names(read(b'id,name\n1,a\n2,"cut of')) == ["a", "truncated_row"]


def test_a_row_of_several_lines_is_refused_whole() -> None:
    """A row with a bad byte in its second line: all its lines are its payload, and the next row is read."""
    items = read(b'id,name\n1,"a\nJ\xe9\nb"\n2,c\n')
    assert names(items) == ["not_text", "c"]
    assert (refused(items)[0].payload, refused(items)[0].position) == (b'1,"a\nJ\xe9\nb"\n', 2)


def test_zero_bytes_cost_their_row() -> None:
    """A row with zero bytes is refused, quoted or not; the rows around it are read."""
    assert names(read(b'id,name\n1,a\0b\n2,"c\0"\n3,d\n')) == ["not_text", "not_text", "d"]


def test_quotes_that_open_again_and_again_take_linear_time() -> None:
    """Lines that each open a cell and close the one before: no line is parsed more often than the bound on a row's lines."""
    started = io.BytesIO(b"id,name\n" + b'a","b\n' * 5_000)
    items = list(DOORS["csv"].read("deals.csv", started, context()))
    assert len(items) == 5_000
    assert {item.code for item in refused(items)} <= {"open_quote", "truncated_row"}


# ---- columns


@pytest.mark.parametrize(("delimiter", "said"), [(";", '";"'), ("\t", "a tab"), ("|", '"|"')])
def test_a_wrong_delimiter_is_recognised(delimiter: str, said: str) -> None:
    """The refusal of the file says by what its columns are divided and what to write in the mapping."""
    raw = "id,name\n1,a\n".replace(",", delimiter).encode()
    (item,) = refused(read(raw))
    assert (item.code, item.position) == ("wrong_delimiter", 0)
    assert f"divided by {said} and not by" in item.reason
    written = '"\\t"' if delimiter == "\t" else f'"{delimiter}"'
    assert f"set `delimiter: {written}` in the mapping" in item.reason
    assert names(read(raw, context(delimiter=delimiter))) == ["a"]


def test_a_wrong_delimiter_of_a_field_history() -> None:
    """The same at the field history's door."""
    raw = b"OpportunityId;CreatedDate;Field;NewValue\n006A;2024-03-05;Amount;5\n"
    ctx = Context("acme", "sf", Config(), None, ManualClock(NOW))
    (item,) = DOORS["field-history"].read("h.csv", io.BytesIO(raw), ctx)
    assert isinstance(item, Refused)
    assert item.code == "wrong_delimiter"


@pytest.mark.parametrize("delimiter", ['"', "\n", "\r", "\0", ",,"])
def test_a_delimiter_that_is_none(delimiter: str) -> None:
    """The mapping refuses what would divide nothing, or everything."""
    with pytest.raises(ValueError, match="delimiter"):
        context(delimiter=delimiter)


def test_too_many_and_too_few_cells() -> None:
    """Each is refused with the two numbers; empty cells beyond the header, as spreadsheets write them, do no harm."""
    items = read(b"id,name\n1\n2,b,c\n3,d,,\n4,e\n")
    assert names(items) == ["truncated_row", "extra_cells", "d", "e"]
    assert "has 1 cells, the header 2" in refused(items)[0].reason


def test_a_name_that_stands_twice() -> None:
    """A column that is read, an optional one too, may stand once only; others may stand as often as they like."""
    optional = context({"fields": {"name": {"column": "name", "optional": True}}})
    for ctx in (context(), optional):
        (item,) = refused(read(b"id,name,name\n1,a,b\n", ctx))
        assert item.code == "duplicate_column"
    assert names(read(b"id,name,x,x\n1,a,b,c\n")) == ["a"]
    raw = b"OpportunityId,CreatedDate,Field,NewValue,NewValue\n006A,2024-03-05,Amount,5,6\n"
    history = Context("acme", "sf", Config(), None, ManualClock(NOW))
    (item,) = refused(list(DOORS["field-history"].read("h.csv", io.BytesIO(raw), history)))
    assert item.code == "duplicate_column"


def test_thousands_of_columns() -> None:
    """A table of 5,000 columns is read; a row that is refused does not carry so long a header with it."""
    header = b"id,name," + b",".join(b"column_%d" % n for n in range(5_000))
    raw = header + b"\n1,a" + b"," * 5_000 + b"\n,b" + b"," * 5_000 + b"\n"
    items = read(raw)
    assert names(items) == ["a", "missing_id"]
    assert refused(items)[0].around == {}


def test_a_cell_of_ten_megabytes() -> None:
    """It is refused with its beginning, quoted or not, and said to be cut; the next row is read."""
    for cell in (b"y" * 10_000_000, b'"' + b"y" * 10_000_000 + b'"'):
        items = read(b"id,name\n1," + cell + b"\n2,b\n")
        assert names(items) == ["too_large", "b"]
        (item,) = refused(items)
        assert (len(item.payload), item.cut, item.position) == (65_536, True, 2)


# ---- what a refused row needs to be read again


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "shift_jis"])
def test_a_refused_row_can_be_read_again(encoding: str) -> None:
    """A file of the header line and the row's own bytes: the same refusal today, a change once the mapping is mended."""
    text = {"shift_jis": "名,ソ"}.get(encoding, "Größe,é")
    column, name = text.split(",")
    raw = f'id,{column},stage\n1,x,Won\n2,"{name}\n{name}",Lst\n'.encode(encoding)
    settings = {"encoding": encoding if encoding in ("cp1252", "shift_jis") else "utf-8"}
    entry = {"fields": {"name": column, "stage": {"column": "stage", "allowed": ["Won", "Lost"]}}}
    (item,) = refused(read(raw, context(entry, **settings)))
    (again,) = refused(read(file_of(item), context(entry, **settings)))
    assert (again.code, again.payload, again.around) == (item.code, item.payload, item.around)
    (change,) = read(file_of(item), context({**entry, "aliases": {"stage": {"Lst": "Lost"}}}, **settings))
    assert isinstance(change, Change)
    assert change.fields == {"name": f"{name}\n{name}", "stage": "Lost"}


def test_a_row_of_a_field_history_can_be_read_again() -> None:
    """Its header line goes with it."""
    raw = b"\xef\xbb\xbfOpportunityId,CreatedDate,Field,NewValue\r\n006A,never,Amount,5\r\n"
    ctx = Context("acme", "sf", Config(), None, ManualClock(NOW))
    (item,) = refused(list(DOORS["field-history"].read("h.csv", io.BytesIO(raw), ctx)))
    mended = file_of(item).replace(b"never", b"2024-03-05")
    (change,) = DOORS["field-history"].read("h.csv", io.BytesIO(mended), ctx)
    assert isinstance(change, Change)
    assert change.fields == {"amount": 5}


def test_a_row_without_its_header() -> None:
    """A refusal that does not hold its header line cannot be made a file."""
    with pytest.raises(ValueError, match="header line"):
        file_of(Refused("crm", "deals.csv", 2, b"1,a\n", "bad_date", "no date"))


# ---- sizes


class Endless(io.RawIOBase):
    """A file of many rows that is made as it is read: good ones, refused ones, and cells over several lines."""

    def __init__(self, rows: int) -> None:
        self._rows = self._made(rows)
        self._rest = b""

    @staticmethod
    def _made(rows: int) -> Iterator[bytes]:
        yield b"id,name\n"
        for n in range(rows):
            yield (b'%d,"deal\n%s"\n' % (n, b"x" * 500)) if n % 3 else (b",no id %s\n" % (b"x" * 500))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while len(self._rest) < len(buffer) and (row := next(self._rows, b"")):
            self._rest += row
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def peak_of(rows: int) -> int:
    tracemalloc.start()
    try:
        stream = io.BufferedReader(Endless(rows), 4096)
        count = sum(1 for _ in DOORS["csv"].read("deals.csv", stream, context()))
        assert count == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file() -> None:
    """A file five times as long, of 5 MB, needs as much memory at its peak, and that is a few blocks of it."""
    few, many = peak_of(2_000), peak_of(10_000)
    assert many < few + 500_000
    assert many < 4_000_000
