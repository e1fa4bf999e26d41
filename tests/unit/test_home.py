"""Homes of several tenants: whose settings hold, and what is wrong with a folder is said with its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from planwatch.home import Home
from schemas.base import PlanwatchError


def home(path: Path, text: str) -> Path:
    """A home with a configuration."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "planwatch.yaml").write_text(text, encoding="utf-8")
    return path


STACK = "tenant: main\nkafka: {prefix: ours}\ninflux: {org: ours}\nworker: {tick_s: 2}\ntenants: [tenants/*]\n"


def test_a_home_alone_is_its_own_tenant(tmp_path: Path) -> None:
    """Without `tenants` there is one, by its name."""
    one = Home(home(tmp_path, "tenant: acme\n"))
    assert one.tenants() == {"acme": one}
    assert one.stack_path == tmp_path


def test_folders_by_globs(tmp_path: Path) -> None:
    """Each folder is a tenant by the name in its configuration; files beside them, and folders named twice, do not matter."""
    home(tmp_path, STACK.replace("[tenants/*]", '["tenants/*", "tenants/b", "others/c"]'))
    for folder, name in (("tenants/a", "anna"), ("tenants/b", "bo"), ("others/c", "cy"), ("others/d", "dan")):
        home(tmp_path / folder, f"tenant: {name}\n")
    (tmp_path / "tenants" / "notes.txt").write_text("no folder")
    found = Home(tmp_path).tenants()
    assert {name: tenant.path for name, tenant in found.items()} == {
        "anna": tmp_path / "tenants/a",
        "bo": tmp_path / "tenants/b",
        "cy": tmp_path / "others/c",
    }


def test_the_stack_is_that_of_the_home_that_runs_it(tmp_path: Path) -> None:
    """Servers, workers and secrets come from there; what is the tenant's own stays its own."""
    home(tmp_path, STACK + "company: Main\ncurrency: EUR\n")
    home(tmp_path / "tenants" / "a", "tenant: anna\ncurrency: JPY\nkafka: {prefix: theirs}\nworker: {tick_s: 9}\n")
    (found,) = Home(tmp_path).tenants().values()
    assert found.config.kafka is not None
    assert found.config.influx is not None
    assert (found.config.kafka.prefix, found.config.influx.org, found.config.worker.tick_s) == ("ours", "ours", 2)
    assert (found.config.currency, found.config.company) == ("JPY", "Company")
    assert (found.path, found.stack_path) == (tmp_path / "tenants" / "a", tmp_path)


def test_a_tenant_opened_by_itself(tmp_path: Path) -> None:
    """`stack` names the home that runs it, so that a command in the tenant's folder finds the same servers."""
    home(tmp_path / "main", STACK)
    own = Home(home(tmp_path / "main" / "tenants" / "a", "tenant: anna\nstack: ../..\n"))
    assert own.config.kafka is not None
    assert own.config.kafka.prefix == "ours"
    assert own.stack_path.resolve() == tmp_path / "main"
    assert own.tenants() == {"anna": own}


def test_a_stack_that_is_not_there(tmp_path: Path) -> None:
    """It is named, with what to do."""
    home(tmp_path, "tenant: anna\nstack: nowhere\n")
    with pytest.raises(PlanwatchError, match=r"nowhere: no planwatch\.yaml here"):
        Home(tmp_path)


def test_a_pattern_without_folders(tmp_path: Path) -> None:
    """A typing error in `tenants` must not look like a stack without tenants."""
    home(tmp_path, STACK)
    with pytest.raises(PlanwatchError, match=r"planwatch\.yaml: tenants: there is no folder «tenants/\*»"):
        Home(tmp_path).tenants()


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    """It is named."""
    home(tmp_path, STACK)
    (tmp_path / "tenants" / "a").mkdir(parents=True)
    with pytest.raises(PlanwatchError, match=r"tenants/a: no planwatch\.yaml here"):
        Home(tmp_path).tenants()


def test_a_name_that_two_tenants_have(tmp_path: Path) -> None:
    """Both folders are named: their changes would be folded into one company."""
    home(tmp_path, STACK)
    home(tmp_path / "tenants" / "a", "tenant: anna\n")
    home(tmp_path / "tenants" / "b", "tenant: anna\n")
    with pytest.raises(PlanwatchError, match=r"tenants/b: the tenant «anna» is that of .*tenants/a too"):
        Home(tmp_path).tenants()


def test_the_environment_is_over_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the servers in the environment holds for every tenant."""
    home(tmp_path, STACK)
    home(tmp_path / "tenants" / "a", "tenant: anna\n")
    monkeypatch.setenv("PLANWATCH_KAFKA__BOOTSTRAP", "kafka:9092")
    (found,) = Home(tmp_path).tenants().values()
    assert found.config.kafka is not None
    assert (found.config.kafka.bootstrap, found.config.kafka.prefix) == ("kafka:9092", "ours")
