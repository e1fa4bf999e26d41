"""Files from which Grafana provisions itself: data source, dashboards, and where the latter lie.

`python -m boards.grafana_provisioning` writes them under deploy/grafana, and a test holds them equal to this code. Where
Grafana is provisioned from files, `planwatch grafana apply` leaves everything as the files have it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from boards.grafana_apply import DATA_SOURCE_NAME, DataSource, data_source_json
from boards.grafana_dashboards import FOLDER_UID, DashboardSettings, dashboards

#: Where the dashboards and the token of the role grafana lie inside Grafana's container.
DASHBOARDS_AT = "/var/lib/grafana/planwatch"
TOKEN_AT = "/run/secrets/influx-grafana.token"  # noqa: S105 (a file's name)
_HEAD = "# Made by `make docs` from boards/grafana_provisioning.py; a test holds it to that.\n"


def files(settings: DashboardSettings | None = None) -> dict[str, str]:
    """Path below the folder → text."""
    settings = settings or DashboardSettings()
    made = {
        "provisioning/datasources/planwatch.yaml": _data_source(settings),
        "provisioning/dashboards/planwatch.yaml": _provider(),
    }
    for uid, dashboard in dashboards(settings).items():
        made[f"dashboards/{uid}.json"] = json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
    return made


def write(folder: Path, settings: DashboardSettings | None = None) -> list[Path]:
    """Write the files; returns which ones changed."""
    changed = []
    for name, text in files(settings).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def _data_source(settings: DashboardSettings) -> str:
    """Address and organisation come from the environment of Grafana's process, the token from a file beside it."""
    made = data_source_json(
        DataSource(url="${PLANWATCH_INFLUX_URL}", org="${PLANWATCH_INFLUX_ORG}", bucket=settings.bucket, token="")
    )
    data = made["jsonData"]
    return (
        _HEAD
        + f"""# Grafana takes ${{...}} from its environment and the token from the file that $__file names.
apiVersion: 1
datasources:
  - name: {DATA_SOURCE_NAME}
    uid: {made["uid"]}
    type: {made["type"]}
    access: {made["access"]}
    url: {made["url"]}
    editable: false
    jsonData:
      version: {data["version"]}
      organization: {data["organization"]}
      defaultBucket: {data["defaultBucket"]}
      httpMode: {data["httpMode"]}
    secureJsonData:
      token: $__file{{{TOKEN_AT}}}
"""
    )


def _provider() -> str:
    return (
        _HEAD
        + f"""apiVersion: 1
providers:
  - name: planwatch
    type: file
    folder: Planwatch
    folderUid: {FOLDER_UID}
    disableDeletion: true
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options:
      path: {DASHBOARDS_AT}
"""
    )


if __name__ == "__main__":
    for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "deploy/grafana")):
        print(path)
