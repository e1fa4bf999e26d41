"""Which roles `planwatch stack` runs: always the same ones, and those that a source of any tenant needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from planwatch.home import Home
from planwatch.stacking import roles_of

ALWAYS = ["bridge", "board", "scheduler", "worker 1", "worker 2"]


def home_of(folder: Path, *tenants: object) -> Home:
    """A home whose tenants have one source each."""
    folder.mkdir()
    YAML().dump({"tenants": ["tenants/*"]}, folder / "planwatch.yaml")
    for number, source in enumerate(tenants):
        path = folder / "tenants" / f"t{number}"
        path.mkdir(parents=True)
        YAML().dump({"tenant": f"t{number}", "sources": {"crm": source}}, path / "planwatch.yaml")
    return Home(folder)


@pytest.mark.parametrize(
    ("source", "role", "words"),
    [
        ({"kind": "salesforce", "topic": "crm.events"}, None, ()),
        ({"kind": "hubspot", "hook": {}}, "serve", ("serve",)),
        ({"kind": "csv", "mapping": "mapping.yaml", "watch": "inbox"}, "watch", ("watch",)),
        (
            {"kind": "salesforce", "salesforce": {"channels": ["/data/OpportunityChangeEvent"]}},
            "subscribe",
            ("sources", "subscribe"),
        ),
    ],
)
def test_a_role_for_what_a_source_has(
    tmp_path: Path, source: dict[str, object], role: str | None, words: tuple[str, ...]
) -> None:
    """A hook, a watched folder, a channel: one role more, also where only the last tenant has it, and once for several."""
    plain = {"kind": "salesforce", "topic": "other.events"}
    for number, tenants in enumerate(([plain, source], [source, source, plain])):
        found = roles_of(home_of(tmp_path / str(number), *tenants), 2, None)
        assert [one.name for one in found] == ALWAYS + ([role] if role else [])
        assert role is None or found[-1].words == words


def test_the_simulated_company(tmp_path: Path) -> None:
    """At the speed that was asked for."""
    (*_, last) = roles_of(home_of(tmp_path / "home", {"kind": "csv"}), 1, 600.0)
    assert (last.name, last.words) == ("simulator", ("simulate", "--speed", "600.0"))
