"""`planwatch sources check`: what keeps a source from coming in, what it brought that is not known, and the line for it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from ingest import DOORS, Context
from ingest.drift import DriftKind, Finding
from planwatch.cli import app
from planwatch.drifting import drift_at, keep_drift
from planwatch.home import Home
from planwatch.ingesting import find_mapping
from planwatch.source_check import SourceFinding, check_sources
from schemas.base import PlanwatchError
from schemas.clock import ManualClock

NOW = 1_750_000_000_000_000
CONFIG = """
tenant: acme
stages: [{name: Negotiation}, {name: Won, kind: won}]
sources:
  crm: {kind: csv, mapping: mapping.yaml}
"""
MAPPING = """
snapshot_at: 2024-01-01
files:
  - match: "deals*.csv"
    entity: opportunity
    id: id
    expect: {region: [North, South]}
    fields:
      stage: {column: stage, allowed: [Won, Negotiation, Waiting]}
      close_date: {column: close_date, optional: true}
      name: title
"""


def write(path: Path, config: str = CONFIG, mapping: str | None = MAPPING) -> Home:
    (path / "planwatch.yaml").write_text(config, encoding="utf-8")
    if mapping is not None:
        (path / "mapping.yaml").write_text(mapping, encoding="utf-8")
    return Home(path)


def take(home: Home, rows: str, source: str = "crm", name: str = "deals.csv") -> None:
    """Let a file through the door and keep what it did not know."""
    clock = ManualClock(NOW)
    context = Context("acme", source, home.config, find_mapping(home, source, None), clock, home.path)
    list(DOORS["csv"].read(name, io.BytesIO(rows.encode()), context))
    keep_drift(context, drift_at(home))


def note(home: Home, kind: DriftKind, entity: str, name: str, example: str = "", near: str = "") -> None:
    drift_at(home).add("crm", [Finding(kind, entity, name, example, near)], NOW)


def check(home: Home, only: str | None = None) -> list[SourceFinding]:
    return check_sources(home, drift_at(home), only)


# ---- what the doors noticed, and the line that answers it


def test_all_is_well(tmp_path: Path) -> None:
    """Nothing is found where everything is known."""
    home = write(tmp_path)
    take(home, "id,region,stage,title,close_date\n1,North,Won,a,2024-01-02\n")
    assert check(home) == []


def test_a_new_stage(tmp_path: Path) -> None:
    """A `stages` entry is suggested, with when it was first seen and in which record; once it is there, nothing is."""
    home = write(tmp_path)
    take(home, "id,region,stage,title\n7,North,Waiting,a\n8,North,Waiting,b\n")
    (found,) = check(home)
    assert (found.source, found.kind, found.first_seen, found.example) == (
        "crm",
        "unknown_stage",
        "2025-06-15T15:06:40Z",
        '"7"',
    )
    assert found.where == "planwatch.yaml"
    assert found.line == 'stages: - {name: "Waiting", kind: open, probability: 50}'
    assert 'stage "Waiting" is not among `stages`' in found.text
    assert check(write(tmp_path, CONFIG.replace("[{name: N", "[{name: Waiting}, {name: N"))) == []


def test_a_stage_that_is_almost_known(tmp_path: Path) -> None:
    """The nearest known one is suggested as what it may mean."""
    home = write(tmp_path)
    note(home, "unknown_stage", "opportunity", "stage=Negotiations")
    (found,) = check(home)
    assert found.line is not None
    assert found.line.endswith('in mapping.yaml `aliases: {stage: {"Negotiations": "Negotiation"}}`')


def test_an_unknown_value(tmp_path: Path) -> None:
    """An alias of the nearest known value is suggested; once the mapping has it at any of its places, nothing is."""
    home = write(tmp_path)
    take(home, "id,region,stage,title\n7,North,Negotation,a\n")
    (found,) = check(home)
    assert (found.kind, found.where) == ("unknown_value", "mapping.yaml")
    assert found.line == 'aliases: {stage: {"Negotation": "Negotiation"}}'
    for answer in (
        MAPPING + found.line,
        MAPPING.replace("    fields:", f"    {found.line}\n    fields:"),
        MAPPING.replace("allowed: [", "aliases: {Negotation: Negotiation}, allowed: ["),
        MAPPING.replace("allowed: [", "allowed: [Negotation, "),
    ):
        assert check(write(tmp_path, mapping=answer)) == []
    other = MAPPING + 'aliases: {stage: {"Negotation": "Nonsense"}}'
    assert len(check(write(tmp_path, mapping=other))) == 1


def test_an_unexpected_value(tmp_path: Path) -> None:
    """A column's list of expected values is to be made longer."""
    home = write(tmp_path)
    take(home, "id,region,stage,title\n7,West,Won,a\n")
    (found,) = check(home)
    assert found.line == 'expect: {"region": ["West"]} beside those that are there'
    assert check(write(tmp_path, mapping=MAPPING.replace("[North,", "[West, North,"))) == []


@pytest.mark.parametrize(
    ("header", "column", "line"),
    [
        ("id,region,stage,Title", "title", 'files, deals*.csv: fields: {name: "Title"}'),
        ("ID,region,stage,title", "id", 'files, deals*.csv: id: "ID"'),
        ("id,Region,stage,title", "region", 'files, deals*.csv: "Region" instead of "region"'),
        (
            "id,region,stage,title,CloseDate",
            "close_date",
            'files, deals*.csv: fields: {close_date: {column: "CloseDate"}}, the rest as it is',
        ),
    ],
)
def test_a_renamed_column(tmp_path: Path, header: str, column: str, line: str) -> None:
    """The `fields` line with the new name is suggested; once the mapping names it, nothing is."""
    home = write(tmp_path)
    take(home, header + "\n" + ",".join(["1", "North", "Won", "a", ""][: header.count(",") + 1]) + "\n")
    (found,) = check(home)
    new = next(name for name in header.split(",") if name.lower().replace("_", "") == column.replace("_", ""))
    assert (found.kind, found.line) == ("missing_field", line)
    assert f'likely renamed to "{new}"' in found.text
    mended = MAPPING.replace(f": {column}\n", f": {new}\n").replace(f"{{{column}:", f"{{{new}:")
    assert check(write(tmp_path, mapping=mended.replace(f"column: {column},", f"column: {new},"))) == []


def test_fields_of_a_crms_objects(tmp_path: Path) -> None:
    """A vanished field is named with its new one, an unmapped one only where it looks like one of ours."""
    config = CONFIG.replace("kind: csv", "kind: salesforce")
    home = write(tmp_path, config, "entities: {}\n")
    note(home, "missing_field", "opportunity", "Opportunity.StageName", '"stage"', "Stage_Name__c")
    note(home, "unknown_field", "opportunity", "deal.amount_total", '"5"', "amount")
    note(home, "unknown_field", "opportunity", "deal.favourite_colour", '"blue"')
    missing, unknown = check(home)
    assert missing.line == 'entities: {Opportunity: {fields: {"Stage_Name__c": stage}}}'
    assert unknown.line == 'entities: {deal: {fields: {"amount_total": amount}}}'
    answers = 'entities: {Opportunity: {fields: {"Stage_Name__c": stage}}, deal: {entity: opportunity, fields: {"amount_total": amount}}}'
    assert check(write(tmp_path, config, answers)) == []


def test_paths_of_events(tmp_path: Path) -> None:
    """A path of an entry of `events` that does not come any more, until the entry names another."""
    config = CONFIG.replace("kind: csv", "kind: webhook, hook: {}")
    events = "events: [{entity: opportunity, id: deal.id, fields: {amount: deal.amount}}]\n"
    home = write(tmp_path, config, events)
    note(home, "missing_field", "opportunity", "events[0].deal.amount", '"amount"', "deal.total")
    found = next(f for f in check(home) if f.kind == "missing_field")
    assert found.line == 'events[0].fields: {amount: "deal.total"}'
    mended = write(tmp_path, config, events.replace("deal.amount", "deal.total"))
    assert [f.kind for f in check(mended)] == ["secret"]


def test_suggested_lines_are_yaml_whatever_the_input_says(tmp_path: Path) -> None:
    """A value with quotation marks, line ends and YAML's own marks in it stays a value in the line."""
    home = write(tmp_path)
    evil = 'x"}\n}: {stages: [*a, &b] # é\u202e'
    note(home, "unknown_value", "opportunity", f"stage={evil}", "", "Won")
    (found,) = check(home)
    assert found.line is not None
    assert YAML(typ="safe").load(found.line) == {"aliases": {"stage": {evil: "Won"}}}


# ---- what is configured wrong


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("{kind: csv}", "mapping", "need a mapping"),
        ("{kind: csv, mapping: gone.yaml}", "mapping", "gone.yaml: cannot read the mapping"),
        ("{kind: hubspot, hook: {}}", "secret", "PLANWATCH_NEW_SECRET is not set"),
        ("{kind: hubspot, hook: {secret_file: gone}}", "secret", "gone cannot be read"),
        ("{kind: salesforce, paths: [gone.json]}", "path", "gone.json: is not there"),
        ("{kind: salesforce, watch: inbox}", "watch", "inbox: there is no such folder"),
        ("{kind: csv, mapping: mapping.yaml, hook: {}}", "way", "takes no single messages"),
        ("{kind: simulator, watch: .}", "way", "reads no files"),
        ("{kind: salesforce, topic: t}", "way", "no effect without a `kafka` section"),
    ],
)
def test_what_is_configured_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, kind: str, words: str
) -> None:
    """Mapping, secret, paths, watched folder and the ways in are looked at, and what to do is said."""
    monkeypatch.delenv("PLANWATCH_NEW_SECRET", raising=False)
    home = write(tmp_path, CONFIG + f"  new: {source}\n")
    found = [f for f in check(home, "new") if f.kind == kind]
    assert [f.source for f in found] == ["new"]
    assert words in found[0].text


def test_a_source_that_does_not_exist(tmp_path: Path) -> None:
    """It is said with those that do; a source that is not configured but brought something can be asked for."""
    home = write(tmp_path)
    with pytest.raises(PlanwatchError, match=r"no source «erp»\. There are: crm"):
        check(home, "erp")
    drift_at(home).add("erp", [Finding("unknown_stage", "opportunity", "stage=X", "")], NOW)
    assert [f.source for f in check(home)] == ["erp"]
    assert check(home, "crm") == []
    assert len(check(home, "erp")) == 1


# ---- the command


def run(home: Home, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["--home", str(home.path), "sources", "check", *words])
    return result.exit_code, result.stdout


def test_the_command(tmp_path: Path) -> None:
    """Exit code 1 while there is something to do, with text and as JSON; what is forgotten is gone."""
    home = write(tmp_path)
    assert run(home) == (0, "All sources can come in, and everything in them is known.\n")
    note(home, "unknown_stage", "opportunity", "stage=\x1b[31mNew", '"7"')
    code, told = run(home)
    assert code == 1
    assert "\x1b" not in told
    assert told.startswith('crm: the stage "\\u001b[31mNew" is not among `stages`')
    assert "\n    planwatch.yaml: stages: - {name:" in told
    code, told = run(home, "crm", "--json")
    (finding,) = json.loads(told)["findings"]
    assert (code, finding["kind"], finding["source"], finding["example"]) == (1, "unknown_stage", "crm", '"7"')
    assert run(home, "--forget")[0] == 0
    assert run(home)[0] == 0
