"""The csv door: rows to dated changes, and what it says about rows that cannot be taken."""

from __future__ import annotations

import io
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import DOORS, Context, Refused, load_mapping
from ingest.quarantine import Quarantine
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from storage.memory import MemoryJournal

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "crm_sales_opportunities"
DATA = ROOT / ".." / "shared" / "data" / "crm_sales_opportunities"
NOW = 1_750_000_000_000_000
HEADER = "opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value\n"
WON = "A1,Anna,GTXPro,Acme,Won,2017-03-01,2017-05-02,4514\n"
DAY = 86_400_000_000


def context(mapping: Mapping | None = None, **config: object) -> Context:
    mapping = mapping or load_mapping(EXAMPLE / "mapping.yaml")
    return Context("acme", "crm", Config.model_validate(config), mapping, ManualClock(NOW))


def read(content: str | bytes, ctx: Context | None = None, name: str = "sales_pipeline.csv") -> list[Change | Refused]:
    raw = content.encode() if isinstance(content, str) else content
    return list(DOORS["csv"].read(name, io.BytesIO(raw), ctx or context()))


def changes(items: list[Change | Refused]) -> list[Change]:
    return [item for item in items if isinstance(item, Change)]


def refusals(items: list[Change | Refused]) -> list[Refused]:
    return [item for item in items if isinstance(item, Refused)]


def simple(**settings: object) -> Mapping:
    entry = {"match": "*.csv", "entity": "opportunity", "id": "id", "snapshot_at": "2017-01-01"}
    return Mapping.model_validate({"files": [{**entry, **settings}]})


def test_won_row_is_two_dated_changes() -> None:
    """A row engaged in March and won in May is a create and an update, each on its own day."""
    engaged, won = changes(read(HEADER + WON))
    assert (engaged.op, engaged.occurred_at, engaged.version) == ("create", 17226 * DAY, 17226 * DAY)
    assert engaged.fields == {
        "owner": "Anna",
        "product": "GTX Pro",
        "account": "Acme",
        "stage": "Engaging",
        "created_date": "2017-03-01",
    }
    assert (won.op, won.occurred_at, won.version) == ("update", 17288 * DAY, 17288 * DAY + 1)
    assert won.fields == {"stage": "Won", "close_date": "2017-05-02", "amount": 4514}


def test_lost_row_keeps_no_amount() -> None:
    """A lost deal's zero close_value is not an amount."""
    _, lost = changes(read(HEADER + "A1,Anna,GTX Pro,,Lost,2017-03-01,2017-05-02,0\n"))
    assert lost.fields == {"stage": "Lost", "close_date": "2017-05-02"}


def test_row_without_any_date_takes_snapshot_at() -> None:
    """A prospecting deal becomes one snapshot, created at snapshot_at; its empty account is absent."""
    (change,) = changes(read(HEADER + "A1,Anna,GTX Pro,,Prospecting,,,\n"))
    assert (change.op, change.occurred_at) == ("snapshot", 17531 * DAY)
    assert change.fields == {
        "owner": "Anna",
        "product": "GTX Pro",
        "stage": "Prospecting",
        "created_date": "2017-12-31",
    }
    assert change.nulled == ()


def test_same_day_milestones_keep_their_order() -> None:
    """A deal engaged and won on one day is won: the later milestone has the higher version."""
    engaged, won = changes(read(HEADER + "A1,Anna,GTX Pro,,Won,2017-03-01,2017-03-01,5\n"))
    assert won.version == engaged.version + 1


def test_event_ids_depend_on_content_alone() -> None:
    """The same row in another order, file or line has the same event ids; another value has another."""
    other = WON.replace("A1", "B2")
    first = {c.event_id for c in changes(read(HEADER + WON + other))}
    assert first == {c.event_id for c in changes(read(HEADER + other + WON, name="sales_pipeline_2.csv"))}
    assert len(first) == 4
    assert first.isdisjoint(c.event_id for c in changes(read(HEADER + WON.replace("4514", "4515")))[1:])


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("X,Anna,GTX Pro,,Won,2017-03-01,2017-13-02,5\n", "bad_date", ["close_date", "2017-13-02"]),
        ("X,Anna,GTX Pro,,Won,1.3.2017,2017-05-02,5\n", "bad_date", ["engage_date", "1.3.2017", "YYYY-MM-DD"]),
        ("X,Anna,GTX Pr0,,Won,2017-03-01,2017-05-02,5\n", "unknown_value", ["GTX Pr0", 'did you mean "GTX Pro"']),
        ("X,Anna,GTX Pro,,Wonn,2017-03-01,2017-05-02,5\n", "unknown_value", ["deal_stage", 'did you mean "Won"']),
        ("X,Anna,GTX Pro,,Won,2017-03-01,2017-05-02,five\n", "bad_number", ["close_value", "five"]),
        ("X,Anna,GTX Pro,,Won,2017-03-01,2017-05-02,NaN\n", "bad_number", ["NaN"]),
        ("X,Anna,GTX Pro,,Won,2017-03-01,2017-05-02,1e13\n", "bad_number", ["1e13"]),
        ("X,Anna,GTX Pro,,Won,2017-03-01,2017-05-02,\n", "missing_value", ["close_value"]),
        ("X,Anna,GTX Pro,,Won,2017-03-01,,5\n", "missing_date", ["close_date", "won"]),
        ("X,Anna,GTX Pro,,Won,2017-06-01,2017-05-02,5\n", "bad_order", ["close_date", "engage_date"]),
        (",Anna,GTX Pro,,Won,2017-03-01,2017-05-02,5\n", "missing_id", ["opportunity_id"]),
        ("X,Anna,GTX Pro,,Won,2017-03-01,2099-05-02,5\n", "future", ["2099-05-02"]),
        ("X,Anna,GTX Pro,,Won,1917-03-01,2017-05-02,5\n", "bad_date", ["1970"]),
        ("X,Anna,GTX Pro,,Won\n", "truncated_row", ["5 cells", "8"]),
        ("X,Anna,GTX Pro,,Won,2017-03-01,2017-05-02,5,000\n", "extra_cells", ["9 cells"]),
        ('X,"Anna,GTX Pro,,Won,2017-03-01,2017-05-02,5\n', "open_quote", ["never closed"]),
        ("X" * 401 + ",Anna,GTX Pro,,Won,2017-03-01,2017-05-02,5\n", "bad_id", ["400"]),
    ],
)
def test_bad_row_is_refused_and_the_rest_loaded(row: str, code: str, words: list[str]) -> None:
    """A bad row is refused whole, with its line, its bytes and the reason; the rows around it are loaded."""
    items = read(HEADER + WON + row + WON.replace("A1", "B2"))
    (refused,) = refusals(items)
    assert (refused.code, refused.position, refused.payload) == (code, 3, row.encode())
    assert all(word in refused.reason for word in words), refused.reason
    assert [c.record_id for c in changes(items)] == ["A1", "A1", "B2", "B2"]


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"", "empty_file", "empty"),
        (b"\xef\xbb\xbf\n\n", "empty_file", "empty"),
        (b"PK\x03\x04\x00\x00\x08\x00", "not_text", "zero bytes"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not_text", "utf-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "not_text", "UTF-16"),
        (HEADER.replace("close_date", "closed").encode() + WON.encode(), "missing_column", '"close_date"'),
        (HEADER.replace("account", "product").encode() + WON.encode(), "missing_column", '"account"'),
    ],
)
def test_unusable_file_is_refused_once(content: bytes, code: str, word: str) -> None:
    """An empty or binary file, or one without a needed column, is one clear refusal and nothing else."""
    (refused,) = read(content)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.position) == (code, 0)
    assert word in refused.reason


def test_truncated_file_is_loaded_up_to_the_cut() -> None:
    """A file that ends in the middle of a row gives every whole row and one refusal."""
    items = read((HEADER + WON + WON.replace("A1", "B2"))[:-20])
    (refused,) = refusals(items)
    assert refused.code == "truncated_row"
    assert "cut off" in refused.reason
    assert len(changes(items)) == 2


def test_undecodable_line_costs_only_itself() -> None:
    """A line in another encoding is refused with a hint, the next one is read."""
    items = read(HEADER.encode() + b"X,J\xe9r\xf4me,GTX Pro,,Prospecting,,,\n" + WON.encode())
    assert [(r.code, r.position) for r in refusals(items)] == [("not_text", 2)]
    assert len(changes(items)) == 2
    latin = load_mapping(EXAMPLE / "mapping.yaml").model_copy(update={"encoding": "latin-1"})
    (change,) = read(HEADER.encode() + b"X,J\xe9r\xf4me,GTX Pro,,Prospecting,,,\n", context(latin))
    assert isinstance(change, Change)
    assert change.fields["owner"] == "Jérôme"


def test_too_long_line_is_refused_in_bounded_memory() -> None:
    """A line over 1 MiB is refused with at most 64 KiB of it, and the next line is read."""
    items = read(HEADER + "X," + "y" * 3_000_000 + "\n" + WON)
    (refused,) = refusals(items)
    assert (refused.code, refused.position, len(refused.payload)) == ("too_large", 2, 65_536)
    assert len(changes(items)) == 2


def test_bom_crlf_quotes_and_blank_lines() -> None:
    """A byte order mark, Windows line ends, quoted delimiters and line breaks, and empty rows are ordinary."""
    mapping = simple(fields={"name": "name"})
    items = read(b'\xef\xbb\xbfid,name\r\n\r\n1,"a, ""b""\r\n\r\nc"\r\n,\r\n2,d\r\n', context(mapping), "x.csv")
    assert [c.fields["name"] for c in changes(items)] == ['a, "b"\r\n\r\nc', "d"]
    assert refusals(items) == []


def test_several_entries_read_one_file() -> None:
    """Every row of sales_teams.csv gives a rep, a team and a territory; repeated ones share an event id."""
    content = "sales_agent,manager,regional_office\nAnna,Max,Central\nBen,Max,Central\n"
    items = changes(read(content, name="sales_teams.csv"))
    assert Counter(c.entity for c in items) == {"rep": 2, "team": 2, "territory": 2}
    assert len({c.event_id for c in items}) == 4
    assert items[0].fields == {"name": "Anna", "team": "Max"}
    assert items[1].fields["territory"] == "Central"


def test_ignored_renamed_and_unmapped_files() -> None:
    """An ignored file is silent; a renamed one (or standard input) is known by its columns; another is refused."""
    assert read("Table,Field\na,b\n", name="data_dictionary.csv") == []
    assert len(changes(read(HEADER + WON, name="part-1.txt"))) == 2
    assert len(changes(read(HEADER + WON, name="-"))) == 2
    (missing,) = refusals(read(HEADER.replace("close_value", "value") + WON, name="part-1.txt"))
    assert missing.code == "missing_column"
    (unmapped,) = refusals(read("a,b\n1,2\n", name="other.csv"))
    assert unmapped.code == "unmapped_file"
    assert '"other.csv"' in unmapped.reason


def test_dates_are_midnight_in_the_tenants_zone() -> None:
    """A plain date is midnight in the tenant's zone, a time is put on its day there, a written offset holds."""
    mapping = simple(
        fields={"close_date": "close"}, milestones=[{"name": "made", "date": "made", "set": {"stage": "New"}}]
    )
    ctx = context(mapping, calendar={"time_zone": "America/New_York"})
    rows = "id,made,close\n1,2017-07-01,2017-07-02T02:00:00Z\n2,2017-07-01T00:00:00-04:00,2017-07-01 23:00\n"
    first, second = changes(read(rows, ctx, "x.csv"))
    assert first.occurred_at == second.occurred_at == 1_498_881_600_000_000
    assert first.fields["close_date"] == second.fields["close_date"] == "2017-07-01"


def test_formats_of_dates_and_numbers_are_configurable() -> None:
    """A mapping may name date formats, the decimal mark and the thousands separator."""
    mapping = Mapping.model_validate(
        {**simple(fields={"amount": "amount", "close_date": "close"}).model_dump(exclude_none=True)}
        | {"dates": ["%d.%m.%Y"], "decimal_mark": ",", "thousands": "."}
    )
    (change,) = changes(read('id,amount,close\n1,"1.234.567,505",24.12.2017\n', context(mapping), "x.csv"))
    assert change.fields == {"amount": "1234567.505", "close_date": "2017-12-24"}


def test_empty_cells_and_optional_columns() -> None:
    """An empty cell is absent, or nulled where the mapping says so; an optional column may be missing."""
    mapping = simple(fields={"amount": {"column": "a", "empty": "null"}, "name": {"column": "n", "optional": True}})
    (change,) = changes(read("id,a\n1,\n", context(mapping), "x.csv"))
    assert (change.fields, change.nulled) == ({}, ("amount",))


def test_templates_constants_and_joined_ids() -> None:
    """An id may join columns, a field a template or a constant; a template with an empty part is absent."""
    mapping = simple(
        id=["a", "b"], fields={"name": {"template": "{a} – {b c}"}, "currency": {"constant": "EUR"}}, expect={}
    )
    first, second = changes(read("a,b,b c\n1,2,x\n3,4,\n", context(mapping), "x.csv"))
    assert (first.record_id, first.fields) == ("1:2", {"name": "1 – x", "currency": "EUR"})
    assert second.fields == {"currency": "EUR"}


def test_version_column() -> None:
    """A version column orders exports by the source's own count instead of by date."""
    (change,) = changes(read("id,v\n1,42\n", context(simple(version="v")), "x.csv"))
    assert change.version == 42


def test_log_time_takes_future_changes() -> None:
    """Where time comes from the log there is no future to refuse."""
    items = read(HEADER + "X,Anna,GTX Pro,,Won,2017-03-01,2099-05-02,5\n", context(time="log"))
    assert refusals(items) == []


@settings(deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_never_raises(noise: bytes, with_header: bool) -> None:
    """Any bytes at all, alone or after a good header, give changes or refusals and never an exception."""
    for item in read((HEADER.encode() if with_header else b"") + noise):
        assert isinstance(item, Change | Refused)


def test_quarantine_keeps_each_refusal_once() -> None:
    """The same line of the same file is kept once, from whatever folder; bytes come back as they were."""
    quarantine = Quarantine(MemoryJournal())
    bad = HEADER.encode() + b"X,J\xe9,GTX Pro,,Won,,,\nY,Anna\n"
    first = refusals(read(bad, name="a/sales_pipeline.csv"))
    assert quarantine.add(first) == 2
    assert quarantine.add(refusals(read(bad, name="b/sales_pipeline.csv"))) == 0
    assert quarantine.count() == 2
    assert list(quarantine.items()) == first


@pytest.mark.skipif(not DATA.is_dir(), reason="the CRM Sales Opportunities data set is not beside the repository")
def test_whole_data_set() -> None:
    """All files of the data set: 8,800 deals in 15,511 changes, nothing refused, within a second or so."""
    ctx = context()
    started = time.process_time()
    items = [item for path in sorted(DATA.glob("*.csv")) for item in read(path.read_bytes(), ctx, path.name)]
    assert time.process_time() - started < 3
    assert refusals(items) == []
    counts = Counter(c.entity for c in changes(items))
    assert counts["opportunity"] == 8_800 + 6_711
    assert (counts["account"], counts["product"], counts["rep"]) == (85, 7, 35)
    deals = [c for c in changes(items) if c.entity == "opportunity"]
    assert len({c.record_id for c in deals}) == 8_800
    assert len({c.event_id for c in deals}) == len(deals)
    assert sum(int(c.fields.get("amount", 0)) for c in deals) == 10_005_534
    assert Counter(c.fields["stage"] for c in deals) == {
        "Engaging": 4_238 + 2_473 + 1_589,
        "Won": 4_238,
        "Lost": 2_473,
        "Prospecting": 500,
    }
    assert sum("account" not in c.fields for c in deals if c.op != "update") == 1_425
