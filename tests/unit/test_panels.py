"""The panel declarations and the dashboards made of them."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boards import grafana_fields
from boards.grafana_dashboards import (
    DATA_SOURCE_UID,
    LAST_ID,
    TAG,
    DashboardSettings,
    board_ask,
    dashboards,
    panel_ids,
    place,
    settings_of,
)
from boards.panels import BOARDS, WORDS, Board
from planwatch.points import STATUS_CODES
from processors.movement import BARS, SIGNS
from schemas.alert import Alert
from schemas.config import Bounds, CalendarConfig, Config
from schemas.plan import Plan
from storage.flux.panel_records import BARS as FLUX_BARS
from storage.flux.panels import QUERIES, VARIABLES

MADE = dashboards(DashboardSettings())
CURRENT = {"stat", "bargauge", "timeseries", "barchart", "table", "state-timeline", "text", "row"}
BUILT_IN = {"__url_time_range", "__data", "__field"}
TEMPLATES = Path(__file__).parents[2] / "boards" / "templates"
CSS = Path(__file__).parents[2] / "boards" / "static" / "board.css"


def panels(uid: str) -> list[dict[str, Any]]:
    """The panels of a dashboard without the headings of rows."""
    return [panel for panel in MADE[uid]["panels"] if panel["type"] != "row"]


def strings(value: Any) -> Iterator[str]:
    """Every text in a piece of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def alert(**changes: Any) -> Alert:
    """An alert about a rep's target."""
    fields: dict[str, Any] = {
        "id": "at_risk|rep|R-1|2017-Q2|1", "rule": "at_risk", "kind": "target_at_risk", "severity": "critical",
        "state": "firing", "subject": "Revenue", "sentence": "Anna is likely to miss it.", "dimension": "rep",
        "scope": "R-1", "scope_name": "Anna", "period": "2017-Q2", "kpi": "revenue", "value": None, "threshold": None,
        "pending_at": None, "fired_at": 1_495_272_600_000_000, "resolved_at": None,
        "updated_at": 1_495_272_600_000_000, "recipient": "rep:R-1",
    }  # fmt: skip
    return Alert(**{**fields, **changes})


@pytest.mark.parametrize("uid", sorted(MADE))
def test_grafana_imports_it(uid: str) -> None:
    """The schema is one that Grafana 9 and later read; every panel is of a current type with an id and a place of its own."""
    made = MADE[uid]
    assert made["schemaVersion"] >= 37
    assert {panel["type"] for panel in made["panels"]} <= CURRENT
    ids = [panel["id"] for panel in made["panels"]]
    assert len(set(ids)) == len(ids)
    assert max(ids) == LAST_ID
    assert made["uid"] == uid
    assert made["id"] is None
    assert made["refresh"] == "5s"
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("uid", sorted(MADE))
def test_panels_do_not_overlap(uid: str) -> None:
    """Every panel lies inside the 24 columns and on no other."""
    taken: set[tuple[int, int]] = set()
    for panel in MADE[uid]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("uid", sorted(MADE))
def test_every_panel_says_what_it_answers(uid: str) -> None:
    """Title, description, a text for nothing, a unit and at least one query of ours at our data source."""
    known = {
        query(board_ask(BOARDS[uid.removeprefix("planwatch-")], DashboardSettings())) for query in QUERIES.values()
    }
    for panel in panels(uid):
        assert panel["title"]
        assert panel["description"].count("?") >= 1
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {DATA_SOURCE_UID}
        assert {target["query"] for target in panel["targets"]} <= known


@pytest.mark.parametrize("uid", sorted(MADE))
def test_variables_are_declared(uid: str) -> None:
    """Whatever a query, a title, a link or an annotation names is a variable of the dashboard; and each is used."""
    made = MADE[uid]
    declared = {variable["name"] for variable in made["templating"]["list"]}
    texts = list(strings(made["panels"])) + list(strings(made["annotations"])) + list(strings(made["templating"]))
    used = {found for text in texts for found in re.findall(r"\$\{(\w+)", text)}
    assert used - BUILT_IN <= declared
    assert declared - {"rep", "scope"} <= used


@pytest.mark.parametrize("uid", sorted(MADE))
def test_grafana_replaces_only_what_it_should(uid: str) -> None:
    """In a query nothing but our variables and the three macros looks like a variable or a macro to Grafana."""
    asked = [target["query"] for panel in panels(uid) for target in panel["targets"]]
    asked += [variable["query"] for variable in MADE[uid]["templating"]["list"] if variable["type"] == "query"]
    macros = "timeRangeStart|timeRangeStop|windowPeriod|bucket|defaultBucket|organization"
    for query in asked:
        assert not re.search(r"\$(?!\{)|\[\[\w", query)
        for found in re.findall(rf"[a-zA-Z]+\.(?:{macros})\b", query):
            assert found in ("v.timeRangeStart", "v.timeRangeStop", "v.windowPeriod")


@pytest.mark.parametrize("uid", sorted(MADE))
def test_links_lead_somewhere(uid: str) -> None:
    """Links of boards and of cells name dashboards that exist; a column that a link needs is asked for."""
    for text in strings(MADE[uid]):
        for target in re.findall(r"/d/([^?/\"]+)", text):
            assert target in MADE or target == "${__data.fields.board}"
    for panel in panels(uid):
        names = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        for field in re.findall(r"__data\.fields\.(\w+)", json.dumps(panel)):
            assert field in names
    flux = QUERIES["members"](board_ask(BOARDS["territory"], DashboardSettings()))
    assert set(re.findall(r'"(planwatch-\w+)"', flux)) <= set(MADE)


def test_a_row_opens_the_board_of_its_scope() -> None:
    """The link carries tenant, period and time range, and the scope encoded once more so that it arrives as it is."""
    where = next(panel for panel in panels("planwatch-leadership") if panel["title"] == "Where")
    (url,) = re.findall(r'"url": "([^"]+)"', json.dumps(where))
    assert url.startswith("/d/${__data.fields.board}?${tenant:queryparam}&${period:queryparam}")
    assert "var-scope=${__data.fields.scope:percentencode}" in url
    assert "${__url_time_range}" in url


def test_variables_split_name_and_id() -> None:
    """Menus show names and ask with encoded ids, by Grafana's named groups; a bar in a name cannot shift the split."""
    for uid, made in MADE.items():
        for variable in made["templating"]["list"]:
            if variable["type"] != "query":
                continue
            assert variable["query"], uid
            if variable["name"] == "period":
                assert variable["regex"] == ""
                continue
            pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
            found = pattern.fullmatch("Anna | Snelling|R%7C1")
            assert found
            assert found.groupdict() == {"text": "Anna | Snelling", "value": "R%7C1"}
    assert set(VARIABLES) == {"tenant", "period", "scope", "rep"}


def test_a_rep_sees_nobody_else() -> None:
    """The rep's board asks for one rep alone, leads to no other board, and marks only that rep's alerts."""
    made = MADE["planwatch-rep"]
    for panel in panels("planwatch-rep"):
        for target in panel["targets"]:
            if '_measurement == "deal"' in target["query"]:
                assert 'r.rep == "${rep}"' in target["query"]
            elif '_measurement == "target"' in target["query"] or '_measurement == "alert"' in target["query"]:
                assert 'r.scope == "${rep}"' in target["query"]
    assert made["links"] == []
    builtin, ours = made["annotations"]["list"]
    assert not builtin["enable"]
    assert ours["target"]["tags"] == [TAG, "tenant:${tenant}", "scope:rep:${rep}"]


def test_the_same_thing_is_drawn_the_same_way() -> None:
    """Target a line, expected dashed, landing a band between its low and its high, on every burn-up; one axis."""
    for uid in ("planwatch-leadership", "planwatch-territory", "planwatch-rep"):
        burnup = next(panel for panel in panels(uid) if panel["title"] == "Burn-up")
        drawn = {
            override["matcher"]["options"]: {prop["id"]: prop["value"] for prop in override["properties"]}
            for override in burnup["fieldConfig"]["overrides"]
        }
        assert drawn["target"]["custom.lineStyle"]["fill"] == "solid"
        assert drawn["expected"]["custom.lineStyle"]["fill"] == "dash"
        assert drawn["landing_high"]["custom.fillBelowTo"] == drawn["landing_low"]["displayName"]
        assert "axisPlacement" not in json.dumps(burnup["fieldConfig"]["overrides"])
        units = {prop["unit"] for name, prop in drawn.items() if name != "day"}
        assert units == {"currencyUSD"}


def test_colour_means_status() -> None:
    """Outside of mappings and thresholds only ink and greys are used; status words carry a sign beside the colour."""
    states = {look.colour for look in grafana_fields.LOOKS.values()}
    for uid in MADE:
        for panel in panels(uid):
            fixed = re.findall(r'"fixedColor": "([^"]+)"', json.dumps(panel))
            assert not set(fixed) & (states - {grafana_fields.NONE})
    for look in grafana_fields.LOOKS.values():
        assert not look.sign.isalnum()
    assert len({look.sign for look in grafana_fields.LOOKS.values()}) == len(grafana_fields.LOOKS)


def test_colours_are_the_boards_own() -> None:
    """Each status colour lies between its two values in board.css and is legible in large type on light and dark."""
    values = re.findall(r"--(good|fine|risk|bad|none): (#[0-9a-f]{6})", CSS.read_text(encoding="utf-8"))
    names = {"good": grafana_fields.GOOD, "fine": grafana_fields.FINE, "risk": grafana_fields.RISK,
             "bad": grafana_fields.BAD, "none": grafana_fields.NONE}  # fmt: skip
    for name, colour in names.items():
        light, dark = [value for found, value in values if found == name][:2]  # then those for print
        for channel in (1, 3, 5):
            ends = sorted(int(text[channel : channel + 2], 16) for text in (light, dark))
            assert ends[0] <= int(colour[channel : channel + 2], 16) <= ends[1]
        for ground in ("#ffffff", "#181b1f"):
            assert _contrast(colour, ground) >= 3


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_codes_and_bars_are_the_cores() -> None:
    """Status codes and movement bars are those that the worker writes."""
    assert {state: float(look.code) for state, look in grafana_fields.LOOKS.items()} == dict(STATUS_CODES)
    assert [bar for bar, _, _ in FLUX_BARS] == list(BARS)
    assert {bar: sign for bar, _, sign in FLUX_BARS if sign} == SIGNS


def test_every_word_is_used() -> None:
    """No title is declared for what is nowhere, and a board has each panel once."""
    used = {panel.key for board in BOARDS.values() for panel in board.panels}
    pages = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html"))
    used |= set(re.findall(r"words\.(\w+)\.title", pages))
    assert used == set(WORDS)
    for board in BOARDS.values():
        keys = [panel.key for panel in board.panels]
        assert len(set(keys)) == len(keys)
        assert board.panel(keys[0]).key == keys[0]
    with pytest.raises(KeyError, match="no panel nothing"):
        BOARDS["rep"].panel("nothing")


@pytest.mark.parametrize(
    ("changes", "board", "key"),
    [
        ({"dimension": "company", "scope": ""}, "leadership", "burnup"),
        ({"dimension": "territory"}, "territory", "burnup"),
        ({"dimension": "team"}, "territory", "burnup"),
        ({"dimension": "rep"}, "rep", "burnup"),
        ({"dimension": "segment"}, "leadership", "burnup"),
        ({"dimension": "source", "kind": "source_silent"}, "health", "events"),
    ],
)
def test_an_alert_has_its_panel(changes: dict[str, str], board: str, key: str) -> None:
    """An alert is marked on a time axis of the board of its scope, and that panel is in the dashboard."""
    uid, panel_id = place(alert(**changes))
    assert uid == BOARDS[board].uid
    assert panel_id == panel_ids(BOARDS[board])[key]
    (found,) = [panel for panel in panels(uid) if panel["id"] == panel_id]
    assert found["type"] == "timeseries"
    assert found["title"] == WORDS[key].title


def test_thresholds_are_the_plans_bounds() -> None:
    """The probability to hit changes colour where the configuration says so."""
    made = dashboards(DashboardSettings(bounds=Bounds(ahead="0.9", on_track="0.6")))
    text = json.dumps(made["planwatch-leadership"])
    assert '"value": 0.6' in text
    assert '"value": 0.9' in text
    assert '"value": 0.8' not in text


@pytest.mark.parametrize(
    ("currency", "unit"), [("EUR", "currencyEUR"), ("SGD", "currency:SGD "), (None, "short"), ("USD", "currencyUSD")]
)
def test_amounts_have_the_tenants_currency(currency: str | None, unit: str) -> None:
    """Known currencies have their sign, others their code, several tenants' none."""
    made = dashboards(DashboardSettings(currency=currency))["planwatch-rep"]
    bar = next(panel for panel in made["panels"] if panel["type"] == "bargauge")
    assert bar["fieldConfig"]["defaults"]["unit"] == unit
    sentence = next(panel for panel in made["panels"] if panel["title"] == "${rep:text}")
    assert (f'" {currency}"' in sentence["targets"][0]["query"]) is (currency is not None)


def plan(first: str, last: str) -> Plan:
    """A plan of which only the horizon counts."""
    return Plan(name="Plan", horizon=(first, last))


def test_the_time_range_shows_something() -> None:
    """The running fiscal quarter inside the horizon; else, and on the log's own time, the horizon itself."""
    today = dt.date(2026, 5, 4)
    running = plan("2026-01-01", "2026-12-31")
    fiscal = Config(calendar=CalendarConfig(time_zone="Europe/Berlin", fiscal_year_start="04-01"))
    live = settings_of(fiscal, running, today)
    assert (live.start, live.stop, live.fiscal_month, live.time_zone) == ("now/fQ", "now/fQ", 3, "Europe/Berlin")
    past = settings_of(Config(), plan("2017-01-01", "2017-12-31"), today)
    assert (past.start, past.stop) == ("2017-01-01T00:00:00.000Z", "2017-12-31T23:59:59.999Z")
    weeks = Config(calendar=CalendarConfig(pattern="4-4-5"))
    for config in (Config(time="log"), weeks):
        assert settings_of(config, running, today).start == "2026-01-01T00:00:00.000Z"
    made = dashboards(live)
    assert made["planwatch-leadership"]["time"] == {"from": "now/fQ", "to": "now/fQ"}
    assert made["planwatch-leadership"]["fiscalYearStartMonth"] == 3
    assert made["planwatch-health"]["time"] == {"from": "now-1h", "to": "now"}


def test_boards_are_about_someone() -> None:
    """A board's subject is the company or a variable that it has."""
    for board in BOARDS.values():
        for part in (board.dimension, board.scope):
            if part.startswith("$"):
                assert part[1:] in board.variables
    assert isinstance(BOARDS["rep"], Board)
