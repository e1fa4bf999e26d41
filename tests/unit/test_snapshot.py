"""The state as bytes: what must survive, and what must be refused."""

from __future__ import annotations

from typing import Any

import pytest

from processors.fold import apply
from processors.query import catalogue, query
from processors.snapshot import FORMAT, MAGIC, PREFIX, ForeignSnapshot, dump, load
from processors.state import NULL, State
from schemas.change import INT64_MAX, SEQUENCE_MAX, Change
from schemas.config import CalendarConfig, Config, Stage
from schemas.message import decode_changes, encode_changes

JANUARY = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY_US = 86_400_000_000
CONFIG = Config(
    tenant="acme",
    stages=(Stage(name="Open", probability=50), Stage(name="Won", kind="won")),
    fields={"opportunity": {"margin": "decimal"}},
)
FOUND = catalogue()


def change(record_id: str, version: int, entity: str = "opportunity", **more: Any) -> Change:
    """An update of a record; the version is also the day on which it occurred."""
    fields: dict[str, Any] = {
        "tenant": "acme",
        "source": "crm",
        "entity": entity,
        "record_id": record_id,
        "op": "update",
        "version": version,
        "occurred_at": JANUARY + version * DAY_US,
        "event_id": f"{record_id}-{version}",
    }
    return Change(**{**fields, **more})


def fold(state: State, *changes: Change) -> State:
    """The state with these changes in it."""
    apply(state, decode_changes(encode_changes(changes)))
    return state


def saved(state: State) -> State:
    """The state as another process reads it."""
    return load(CONFIG, dump(state)).state


def value(state: State, record_id: str, field: str, entity: str = "opportunity") -> int:
    """A field of a record."""
    table = state.tables[entity]
    return table.value(field, table.slots[state.names.codes[record_id]])


def amounts(state: State, kpi: str = "pipeline") -> dict[str | None, str]:
    """A KPI by rep."""
    return {row.scope["rep"]: str(row.value) for row in query(state, FOUND, kpi, by=["rep"])}


class TestWhatSurvives:
    """Every part of a state, looked at by itself."""

    def test_an_empty_state(self) -> None:
        """A tenant that nobody has told anything of yet."""
        state = saved(State(CONFIG))
        assert (state.position, state.now, state.counts, state.last_seen, state.names.texts) == (0, 0, {}, {}, [])
        assert dump(state) == dump(State(CONFIG))

    def test_position_time_counts_and_what_was_judged(self) -> None:
        """Where the log goes on, and the account of every source."""
        state = fold(State(CONFIG), change("d1", 1), change("d1", 1), change("d1", 0), change("d2", 3, source="é\n"))
        state.position = 2**40
        found = load(CONFIG, dump(state, judged=77))
        again = found.state
        assert (found.judged, again.position, again.now) == (77, 2**40, JANUARY + 3 * DAY_US)
        assert again.counts == state.counts
        assert again.counts["crm"] == {"applied": 1, "duplicate": 1, "stale": 1}
        assert again.last_seen == {"crm": JANUARY + DAY_US, "é\n": JANUARY + 3 * DAY_US}

    def test_a_cleared_field_stays_cleared(self) -> None:
        """A field that was nulled is not one that was never written: an older value does not bring it back."""
        state = saved(fold(State(CONFIG), change("d1", 1, fields={"amount": 5}), change("d1", 3, nulled=("amount",))))
        fold(state, change("d1", 2, fields={"amount": 7}))
        assert value(state, "d1", "amount") == NULL
        fold(state, change("d1", 4, fields={"amount": 9}))
        assert value(state, "d1", "amount") == 90_000

    def test_a_deleted_record_stays_deleted(self) -> None:
        """The tombstone has a version after the snapshot too."""
        state = saved(fold(State(CONFIG), change("d1", 1, fields={"amount": 5}), change("d1", 5, op="delete")))
        fold(state, change("d1", 4, fields={"amount": 6}))
        assert value(state, "d1", "exists") == 0
        fold(state, change("d1", 6, op="undelete"))
        assert value(state, "d1", "exists") == 1

    def test_sources_that_contend_for_a_field(self) -> None:
        """Each source's own last word is kept: the one that lost may win by its next."""
        erp = {"source": "erp", "occurred_at": JANUARY + 9 * DAY_US}
        state = saved(
            fold(
                State(CONFIG),
                change("d1", 7, fields={"amount": 1}),
                change("d1", 2, fields={"amount": 2}, **erp),
            )
        )
        assert value(state, "d1", "amount") == 20_000
        fold(state, change("d1", 6, fields={"amount": 3}, occurred_at=JANUARY + 20 * DAY_US))
        assert value(state, "d1", "amount") == 20_000, "older than what its own source said"
        fold(state, change("d1", 8, fields={"amount": 4}, occurred_at=JANUARY + 10 * DAY_US))
        assert value(state, "d1", "amount") == 40_000

    def test_dated_assignments(self) -> None:
        """A rep's teams by date, with two sources that contend for one date."""
        moves = [
            change("r1", 1, "rep", fields={"team": "T1", "effective_from": "2025-01-01"}),
            change("r1", 2, "rep", fields={"team": "T2", "effective_from": "2026-02-01"}),
            change("r1", 1, "rep", source="erp", fields={"team": "T3", "effective_from": "2026-02-01"}),
            change("r1", 3, "rep", fields={"team": "T4"}),
        ]
        deal = change("d1", 1, fields={"stage": "Won", "amount": 10, "owner": "r1", "close_date": "2026-02-03"})
        whole, state = fold(State(CONFIG), *moves, deal), saved(fold(State(CONFIG), *moves, deal))
        for late in (
            change("r1", 4, "rep", source="erp", fields={"team": "T5", "effective_from": "2026-02-01"}),
            change("r1", 1, "rep", fields={"team": "T6", "effective_from": "2026-02-01"}),
        ):
            for one in (whole, state):
                fold(one, late)
            by_team = [query(one, FOUND, "revenue", by=["team"]) for one in (whole, state)]
            assert by_team[0] == by_team[1]
        assert [row.scope["team"] for row in by_team[0]] == ["T5"]

    def test_the_way_of_a_deal(self) -> None:
        """Every event of a deal, in its order, with fields of ours and of the user's own."""
        steps = [
            change("d1", 1, fields={"stage": "Open", "amount": "10.5", "margin": "0.25"}),
            change("d1", 2, fields={"stage": "Unheard of"}, nulled=("margin",)),
            change("d1", 3),
        ]
        state = saved(fold(State(CONFIG), *steps))
        assert state.tables["opportunity"].events == fold(State(CONFIG), *steps).tables["opportunity"].events
        assert fold(state, *steps).counts["crm"] == {"applied": 3, "duplicate": 3, "stale": 0}

    def test_the_largest_numbers(self) -> None:
        """Versions, sequences and times as large as a change may have them."""
        edge = change("d1", INT64_MAX, sequence=SEQUENCE_MAX, occurred_at=INT64_MAX, fields={"name": "x"})
        state = saved(fold(State(CONFIG), edge))
        assert state.now == INT64_MAX
        assert fold(state, edge).counts["crm"]["duplicate"] == 1

    @pytest.mark.parametrize("count", [63, 64, 65, 200])
    def test_many_records_can_be_changed_after(self, count: int) -> None:
        """Columns as long as they were, and they grow on."""
        first = [change(f"d{i}", 1, fields={"stage": "Open", "amount": i, "owner": f"r{i % 3}"}) for i in range(count)]
        more = [change(f"d{i}", 2, fields={"amount": 2 * i, "owner": "r9"}) for i in (0, count - 1, count, 3 * count)]
        last = change(f"d{3 * count}", 3, fields={"stage": "Open"})
        state = fold(saved(fold(State(CONFIG), *first)), *more, last)
        whole = fold(State(CONFIG), *first, *more, last)
        assert dump(state) == dump(whole)
        assert amounts(state) == amounts(whole)

    @pytest.mark.parametrize("name", ["event", "dated", "ids", "name.rival", "dated.rival", "0", "a.b", ""])
    def test_a_mapped_field_may_have_any_name(self, name: str) -> None:
        """A user's field that is called as a part of the format is a field."""
        state = fold(
            State(CONFIG),
            change("d1", 1, fields={name: "east", "name": "One", "stage": "Open", "amount": 1}),
            change("d1", 1, source="erp", fields={name: "west", "name": "Two"}),
            change("d2", 1, fields={"name": "Three", "stage": "Open", "amount": 2}),
        )
        again = saved(state)
        assert dump(again) == dump(state)
        assert again.tables["opportunity"].events == state.tables["opportunity"].events
        assert query(again, FOUND, "pipeline", by=[name]) == query(state, FOUND, "pipeline", by=[name])
        assert {row.scope[name] for row in query(again, FOUND, "pipeline", by=[name])} == {"west", None}

    def test_hostile_names(self) -> None:
        """Record ids and texts are data."""
        names = ["", "\n", '"', "\\", "é", "\u2028", "a\x00b", "日本", "{}", "🦉"]
        state = fold(
            State(CONFIG), *(change(f"d{n}", 1, fields={"stage": "Open", "amount": 1, "owner": n}) for n in names)
        )
        assert amounts(saved(state)) == dict.fromkeys(names, "1.00")

    def test_the_two_states_are_apart(self) -> None:
        """What happens to the state that was read changes nothing in the one that was saved."""
        state = fold(State(CONFIG), change("d1", 1, fields={"stage": "Open", "amount": 1, "owner": "r1"}))
        before = dump(state)
        fold(saved(state), change("d1", 2, fields={"amount": 5}), change("d2", 2))
        assert dump(state) == before

    def test_other_rates_and_stages_may_be_configured(self) -> None:
        """What is computed when it is read is no part of a snapshot."""
        payload = dump(fold(State(CONFIG), change("d1", 1, fields={"stage": "Done", "amount": 4, "owner": "r1"})))
        later = CONFIG.model_copy(update={"stages": (Stage(name="Done", kind="open"),), "currency": "EUR"})
        assert amounts(load(later, payload).state) == {"r1": "4.00"}


def some_snapshot() -> bytes:
    """A snapshot that has something of everything."""
    state = fold(
        State(CONFIG),
        change("r1", 1, "rep", fields={"team": "T1"}),
        change("d1", 1, fields={"stage": "Open", "amount": 3, "owner": "r1"}),
        change("d1", 1, source="erp", fields={"amount": 4}),
    )
    return dump(state)


class TestWhatIsRefused:
    """Bytes that are something else lead back to the log, and nowhere else."""

    @pytest.mark.parametrize(
        "other",
        [
            {"tenant": "other"},
            {"fields": {"opportunity": {"margin": "text"}}},
            {"fields": {}},
            {"calendar": CalendarConfig(time_zone="Asia/Jakarta")},
            {"calendar": CalendarConfig(fiscal_year_start="04-01")},
        ],
    )
    def test_another_configuration(self, other: dict[str, Any]) -> None:
        """A tenant, kinds of fields or days of its own: the columns would be read wrongly."""
        with pytest.raises(ForeignSnapshot, match="another tenant, calendar or other kinds of fields"):
            load(CONFIG.model_copy(update=other), some_snapshot())

    def test_a_newer_format(self) -> None:
        """A snapshot of a newer Planwatch is named as such."""
        body = some_snapshot()[PREFIX.size :]
        head = PREFIX.unpack_from(some_snapshot())[2]
        with pytest.raises(ForeignSnapshot, match=f"has the format {FORMAT + 1} .* reads {FORMAT}"):
            load(CONFIG, PREFIX.pack(MAGIC, FORMAT + 1, head) + body)

    @pytest.mark.parametrize("payload", [b"SQLite format 3\x00" + b"\x00" * 99, b"{}" * 50, bytes(64)])
    def test_something_else(self, payload: bytes) -> None:
        """A file of something else."""
        with pytest.raises(ForeignSnapshot, match="format"):
            load(CONFIG, payload)

    def test_every_truncation(self) -> None:
        """Cut off anywhere, it is refused, and with no other error."""
        whole = some_snapshot()
        for length in range(len(whole)):
            with pytest.raises(ForeignSnapshot, match=r"too short|damaged"):
                load(CONFIG, whole[:length])
        assert load(CONFIG, whole).state.counts["erp"]["applied"] == 1

    @pytest.mark.parametrize("header", [b"{}", b"[]", b"null", b"7", b'{"made_with": 1}', b"\xff", b""])
    def test_a_header_without_what_is_needed(self, header: bytes) -> None:
        """A header that is no header of ours."""
        with pytest.raises(ForeignSnapshot):
            load(CONFIG, PREFIX.pack(MAGIC, FORMAT, len(header)) + header)
