"""`planwatch init --example hubspot`: a home that takes HubSpot's events at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from ingest import RECORD_DOORS, Context, load_mapping
from ingest.door import Received
from ingest.hook_secrets import HookSecrets
from ingest.signatures import allowed_signatures
from planwatch.cli import app
from planwatch.doctor import examine
from planwatch.home import Home
from planwatch.store import Store
from processors.query import query
from schemas.alert import Rule
from schemas.change import Change
from schemas.clock import ManualClock

NOW = 1_780_000_000_000_000  # 2026-05-28


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLANWATCH_HOME", raising=False)
    result = CliRunner().invoke(app, ["init", "--example", "hubspot"])
    assert result.exit_code == 0, result.output
    return tmp_path


def event(kind: str, object_id: int, **more: object) -> dict[str, object]:
    return {
        "eventId": 100 + object_id,
        "subscriptionId": 7,
        "portalId": 62515,
        "appId": 54321,
        "occurredAt": NOW // 1000 - 60_000,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": object_id,
        **more,
    }


def prop(object_id: int, name: str, value: str) -> dict[str, object]:
    return event("deal.propertyChange", object_id, propertyName=name, propertyValue=value)


def test_it_is_in_order_and_takes_the_secret_from_the_environment(home: Path) -> None:
    """The doctor finds nothing wrong; the third signature alone counts; time is the system's."""
    loaded = Home(home)
    source = loaded.config.sources["hubspot"]
    assert loaded.config.time == "system"
    assert source.hook is not None
    assert allowed_signatures(source) == ("hubspot-v3",)
    environ = {"PLANWATCH_HUBSPOT_SECRET": "4f3ab2c0-0000-4000-8000-0123456789ab"}
    assert HookSecrets("hubspot", source.hook, home, environ=environ).current() == (
        b"4f3ab2c0-0000-4000-8000-0123456789ab",
    )
    rules = [Rule.model_validate(rule) for rule in YAML(typ="safe").load(home / "alerts.yaml")["rules"]]
    assert {c.trigger for c in loaded.plan().contingencies} <= {rule.name for rule in rules}
    said = {check.name: check.ok for check in examine(home)}
    assert {name for name, ok in said.items() if not ok} <= {"hook hubspot"}  # it may lack its secret
    assert said["rules"]


def test_deals_of_the_default_pipeline_count(home: Path) -> None:
    """From the body of a request to revenue and weighted pipeline; what has no place in the plan is skipped."""
    clock = ManualClock(NOW)
    store = Store(Home(home), clock)
    config = store.home.config
    context = Context(config.tenant, "hubspot", config, load_mapping(home / "mapping.yaml"), clock)
    body = [
        event("deal.creation", 1),
        prop(1, "dealstage", "closedwon"),
        prop(1, "amount", "12500.50"),
        prop(1, "closedate", "1779840000000"),  # 2026-05-27
        event("deal.creation", 2),
        prop(2, "dealstage", "contractsent"),
        prop(2, "amount", "1000"),
        prop(2, "closedate", "1782000000000"),  # 2026-06-21
        event("ticket.creation", 3),
        event("line_item.creation", 4),
        event("conversation.newMessage", 5),
    ]
    taken = RECORD_DOORS["hubspot"].reader(context).take(Received(json.dumps(body).encode()), "hooks/hubspot", 0)
    changes = [item for item in taken if isinstance(item, Change)]
    assert len(changes) == len(taken) == 8
    store.append(changes)
    state = store.state()
    catalogue = store.home.catalogue()
    quarter = state.calendar.parse_period("2026-Q2")
    values = {
        kpi: str(query(state, catalogue, kpi, periods=[quarter])[0].value) for kpi in ("revenue", "weighted_pipeline")
    }
    assert values == {"revenue": "12500.50", "weighted_pipeline": "900.00"}
    assert context.drift.take() == []


def test_owners_get_their_names_from_a_file(home: Path) -> None:
    """As the mapping says: a rep with his team and territory, under the source that they own deals in."""
    (home / "owners.csv").write_text(
        "Owner ID,Name,Email,Team,Region\n41629779,Ada Moreau,ada@example.com,Enterprise,North\n"
    )
    result = CliRunner().invoke(app, ["ingest", "csv", "owners.csv", "--source", "hubspot", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) | {"seconds": 0} == {
        "received": 3,
        "applied": 3,
        "duplicate": 0,
        "stale": 0,
        "quarantined": 0,
        "seconds": 0,
    }
