"""Mapping files: what is right is read, what is wrong is named with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ingest import load_mapping
from ingest.mapping import needed_columns
from schemas.alert import Rule
from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.plan import Plan

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENTRY = "files:\n  - match: '*.csv'\n    entity: opportunity\n    id: id\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["crm_sales_opportunities", "starter"])
def test_examples_are_valid(name: str) -> None:
    """Every file of an example passes its model, and its contingencies name rules that exist."""
    folder, yaml = EXAMPLES / name, YAML(typ="safe")
    assert load_mapping(folder / "mapping.yaml").files
    config = Config.model_validate(yaml.load(folder / "planwatch.yaml"))
    plan = Plan.model_validate(yaml.load(folder / "plan.yaml"))
    rules = [Rule.model_validate(rule) for rule in yaml.load(folder / "alerts.yaml")["rules"]]
    assert config.sources["crm"].mapping == "mapping.yaml"
    assert {c.trigger for c in plan.contingencies} <= {rule.name for rule in rules}


@pytest.mark.parametrize("name", ["planwatch", "plan", "mapping", "alerts"])
def test_examples_name_their_schema(name: str) -> None:
    """An editor finds the schema in the first line of every example file."""
    for path in EXAMPLES.glob(f"*/{name}.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=schemas/"), path


def test_short_forms() -> None:
    """Under fields a bare word is a column, under set a constant, and an unquoted date is text."""
    mapping = load_mapping(EXAMPLES / "crm_sales_opportunities" / "mapping.yaml")
    deals = mapping.files[0]
    assert mapping.snapshot_at == "2017-12-31"
    assert deals.fields["account"].column == "account"
    assert deals.milestones[0].set["stage"].constant == "Engaging"
    assert needed_columns(deals) == [
        "opportunity_id",
        "deal_stage",
        "sales_agent",
        "product",
        "account",
        "engage_date",
        "close_date",
        "close_value",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("files: [\n", ["line 2", "YAML"]),
        ("snapshot: 2017-12-31\n", ["line 1", "snapshot", "no such setting"]),
        (ENTRY + "    fields:\n      stage: { colum: x }\n", ["line 6", "files[0].fields.stage", "colum"]),
        (ENTRY + "    fields:\n      stage: { column: x, constant: y }\n", ["line 6", "exactly one"]),
        (ENTRY.replace("opportunity", "deal"), ["line 3", "files[0].entity", "opportunity"]),
        ("files:\n  - match: a\n    entity: rep\n", ["files[0].id", "missing"]),
        (ENTRY + "    fields:\n      name: { template: plain }\n", ["files[0]", "plain", "no column"]),
        ("thousands: '.'\n", ["decimal_mark"]),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    """A mistake in a mapping is reported with the file, the line, the key and what is wrong."""
    path = write(tmp_path, text)
    with pytest.raises(PlanwatchError) as caught:
        load_mapping(path)
    assert all(word in str(caught.value) for word in [str(path), *words]), str(caught.value)


def test_missing_mapping_file(tmp_path: Path) -> None:
    """A mapping that is not there is an error that names it."""
    with pytest.raises(PlanwatchError, match=r"none\.yaml"):
        load_mapping(tmp_path / "none.yaml")


def test_empty_mapping_file(tmp_path: Path) -> None:
    """An empty file is a mapping without entries."""
    assert load_mapping(write(tmp_path, "")).files == ()
