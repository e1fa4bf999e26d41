"""The provisioning files say what the code says, and Grafana reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from boards.grafana_dashboards import DATA_SOURCE_UID, FOLDER_UID, DashboardSettings
from boards.grafana_provisioning import DASHBOARDS_AT, files, write

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"


@pytest.mark.parametrize("name", sorted(files()))
def test_file_is_up_to_date(name: str) -> None:
    """A changed declaration without `make docs` is noticed."""
    assert (FOLDER / name).read_text(encoding="utf-8") == files()[name], "run `make docs`"


def test_no_file_is_left_over() -> None:
    """What the code no longer makes does not stay behind."""
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert found == set(files())


def test_writing_tells_what_changed(tmp_path: Path) -> None:
    """The first run writes everything, the second nothing, a changed setting what it concerns."""
    assert len(write(tmp_path)) == len(files())
    assert write(tmp_path) == []
    changed = write(tmp_path, DashboardSettings(currency="EUR"))
    assert {path.name for path in changed} >= {"planwatch-leadership.json", "planwatch-rep.json"}
    assert "planwatch.yaml" not in {path.name for path in changed}


def test_the_data_source_holds_no_secret() -> None:
    """The token is read from a file; dashboards find the data source by its uid."""
    made = YAML(typ="safe").load(files()["provisioning/datasources/planwatch.yaml"])
    (source,) = made["datasources"]
    assert source["uid"] == DATA_SOURCE_UID
    assert source["jsonData"]["version"] == "Flux"
    assert source["secureJsonData"]["token"].startswith("$__file{/")
    (provider,) = YAML(typ="safe").load(files()["provisioning/dashboards/planwatch.yaml"])["providers"]
    assert provider["folderUid"] == FOLDER_UID
    assert provider["options"]["path"] == DASHBOARDS_AT
    board = json.loads(files()["dashboards/planwatch-rep.json"])
    assert {target["datasource"]["uid"] for panel in board["panels"] for target in panel.get("targets", [])} == {
        DATA_SOURCE_UID
    }
