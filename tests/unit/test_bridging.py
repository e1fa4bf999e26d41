"""Which topic is whose: the bridge's routes over all tenants."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.door import RECORD_DOORS
from planwatch.bridging import routes_of
from planwatch.home import Home
from schemas.base import PlanwatchError


def tenants(path: Path, **sources: str) -> Home:
    """A home with a tenant for each keyword, which has the sources that are given as YAML."""
    (path / "planwatch.yaml").write_text("tenants: [tenants/*]\n", encoding="utf-8")
    for name, text in sources.items():
        folder = path / "tenants" / name
        folder.mkdir(parents=True)
        (folder / "planwatch.yaml").write_text(f"tenant: {name}\nsources: {text}\n", encoding="utf-8")
    return Home(path)


def test_every_topic_has_its_tenant_and_door(tmp_path: Path) -> None:
    """Sources with a topic are routes with their own mapping; those that take in files are none."""
    home = tenants(
        tmp_path,
        anna="{crm: {kind: salesforce, topic: a.cdc, mapping: m.yaml}, old: {kind: csv, paths: [x.csv]}}",
        bo="{sales: {kind: salesforce, topic: b.cdc}}",
    )
    (tmp_path / "tenants" / "anna" / "m.yaml").write_text("entities: {Deal__c: {entity: opportunity}}\n")
    routes = routes_of(home)
    assert set(routes) == {"a.cdc", "b.cdc"}
    found = {topic: (r.context.tenant, r.context.source, r.context.config.tenant) for topic, r in routes.items()}
    assert found == {"a.cdc": ("anna", "crm", "anna"), "b.cdc": ("bo", "sales", "bo")}
    assert routes["a.cdc"].context.mapping is not None
    assert "Deal__c" in routes["a.cdc"].context.mapping.entities
    assert routes["b.cdc"].context.mapping is None
    assert {r.door for r in routes.values()} == {RECORD_DOORS["salesforce"]}


def test_a_kind_that_comes_through_no_topic(tmp_path: Path) -> None:
    """The setting is named: a CSV file is taken in, not bridged."""
    home = tenants(tmp_path, anna="{files: {kind: csv, topic: a.csv}}")
    with pytest.raises(PlanwatchError, match=r"tenants/anna/planwatch\.yaml: sources\.files: a source of kind csv"):
        routes_of(home)


def test_a_topic_of_two_sources(tmp_path: Path) -> None:
    """Nobody could say whose its records are: the second one is named."""
    one = "{crm: {kind: salesforce, topic: shared}}"
    home = tenants(tmp_path, anna=one, bo=one)
    with pytest.raises(PlanwatchError, match=r"tenants/bo/planwatch\.yaml: sources\.crm: the topic shared is another"):
        routes_of(home)


def test_a_mapping_that_is_not_there(tmp_path: Path) -> None:
    """It is named before the bridge takes in anything."""
    home = tenants(tmp_path, anna="{crm: {kind: salesforce, topic: a.cdc, mapping: none.yaml}}")
    with pytest.raises(PlanwatchError, match=r"none\.yaml"):
        routes_of(home)
