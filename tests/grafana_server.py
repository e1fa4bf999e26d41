"""A Grafana for tests: it keeps what it is given, behaves as Grafana does, and refuses what its own description forbids."""

from __future__ import annotations

import base64
import copy
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from storage.grafana import Grafana
from tests.grafana_openapi import answer_faults, find, need_description, request_faults

ADMIN, EDITOR, VIEWER = "glsa_admin", "glsa_editor", "glsa_viewer"
USER, PASSWORD = "admin", "a-password"
ROLES = {ADMIN: 3, EDITOR: 2, VIEWER: 1}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
Json = dict[str, Any]


class Seen(NamedTuple):
    """A request that came in."""

    method: str
    path: str
    query: list[tuple[str, str]]
    body: Any


class Refusal(Exception):
    """What Grafana answers instead of doing it."""

    def __init__(self, status: int, message: str, said: str | None = None) -> None:
        super().__init__(message)
        self.status, self.body = status, {"message": message} | ({"status": said} if said else {})


class GrafanaServer:
    """`with GrafanaServer() as grafana:` listens on a free port of this machine. `violations` must stay empty."""

    def __init__(self) -> None:
        need_description()
        self.violations: list[str] = []
        self.seen: list[Seen] = []
        self.folders: dict[str, Json] = {}
        self.data_sources: dict[str, Json] = {}
        self.dashboards: dict[str, Json] = {}  # uid → {"dashboard", "meta"}
        self.annotations: dict[int, Json] = {}
        self.snapshots: dict[str, Json] = {}
        self.failing: tuple[int, str] | None = None  # every answer is this, as when Grafana's database is away
        self.answering: Callable[[], Response] | None = None  # every answer is this, as from something else
        self._ids = 0
        app = Starlette(routes=[Route("/{path:path}", self._handle, methods=METHODS)])
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> GrafanaServer:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self._server.started
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Hang up."""
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def changes(self) -> int:
        """How many requests there were that would change something."""
        return sum(1 for seen in self.seen if seen.method != "GET")

    async def _handle(self, request: Request) -> Response:
        if self.answering is not None:
            return self.answering()
        raw = await request.body()
        path, query = request.scope["raw_path"].decode(), parse_qsl(request.url.query, keep_blank_values=True)
        body = json.loads(raw) if raw else ...
        self.seen.append(Seen(request.method, path, query, body))
        operation = find(request.method, path)
        if operation is None:
            return self._violation(f"{request.method} {path}: no such operation")
        faults = list(request_faults(operation, query, body))
        if faults:
            return self._violation(f"{request.method} {path}: {'; '.join(faults)}")
        if self.failing is not None:
            return JSONResponse({"message": self.failing[1]}, self.failing[0])
        try:
            self._let_in(request, path)
            status, answer = 200, self._do(request.method, path.removeprefix("/api"), operation.values, query, body)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body
        self.violations += [
            f"own answer to {request.method} {path}: {f}" for f in answer_faults(operation, status, answer)
        ]
        return JSONResponse(answer, status)

    def _violation(self, text: str) -> Response:
        self.violations.append(text)
        return JSONResponse({"message": text}, 400)

    def _let_in(self, request: Request, path: str) -> None:
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind == "Basic":
            known = base64.b64decode(secret).decode() == f"{USER}:{PASSWORD}"
            role = 3 if known else 0
        else:
            role = ROLES.get(secret, 0) if kind == "Bearer" else 0
        if not role:
            raise Refusal(401, "Invalid API key")
        needed = 3 if path.startswith("/api/datasources") else 1 if request.method == "GET" else 2
        if role < needed:
            raise Refusal(403, "You'll need additional permissions to perform this action.")

    def _do(self, method: str, path: str, values: dict[str, str], query: list[tuple[str, str]], body: Any) -> Any:
        kind = path.split("/")[1]
        if kind == "org":
            return {"id": 1, "name": "Main Org.", "address": {}}
        if kind == "folders":
            return self._make_folder(body) if method == "POST" else self._got(self.folders, values["folder_uid"])
        if kind == "datasources":
            return self._do_data_source(method, path, values.get("uid", ""), body)
        if kind == "dashboards":
            return self._save(body) if method == "POST" else copy.deepcopy(self._got(self.dashboards, values["uid"]))
        if kind == "annotations":
            return self._do_annotation(method, values, query, body)
        return self._do_snapshot(method, kind, values, body)

    def _got(self, where: dict[str, Json], key: str) -> Json:
        if key not in where:
            raise Refusal(404, "not found")
        return where[key]

    def _next(self) -> int:
        self._ids += 1
        return self._ids

    def _make_folder(self, body: Json) -> Json:
        uid = body.get("uid") or f"made{self._next()}"
        if uid in self.folders or any(f["title"] == body["title"] for f in self.folders.values()):
            raise Refusal(409, "a folder or dashboard in the general folder with the same name already exists")
        self.folders[uid] = {"id": self._next(), "uid": uid, "title": body["title"], "version": 1}
        return self.folders[uid]

    def _do_data_source(self, method: str, path: str, uid: str, body: Any) -> Json:
        if path.endswith("/health"):
            self._got(self.data_sources, uid)
            return {"message": "OK: 2 buckets found"}
        if method == "GET":
            return _without_secrets(self._got(self.data_sources, uid))
        taken = any(d["name"] == body["name"] and d["uid"] != body["uid"] for d in self.data_sources.values())
        if method == "POST" and (taken or body["uid"] in self.data_sources):
            raise Refusal(409, "data source with the same name already exists")
        stored = self.data_sources.get(uid, {"id": self._next(), "version": 0, "secureJsonData": {}})
        if method == "PUT" and body.get("version", stored["version"]) != stored["version"]:
            raise Refusal(500, "Datasource has already been updated by someone else")
        secrets = stored["secureJsonData"] | body.get("secureJsonData", {})
        made = {k: v for k, v in stored.items() if k == "id"} | body
        made |= {"version": stored["version"] + 1, "secureJsonData": secrets}
        self.data_sources[body["uid"]] = made
        return {"id": made["id"], "name": made["name"], "message": "ok", "datasource": _without_secrets(made)}

    def _save(self, body: Json) -> Json:
        dashboard = copy.deepcopy(body["dashboard"])
        uid = dashboard.get("uid") or f"made{self._next()}"
        folder = body.get("folderUid", "")
        if folder and folder not in self.folders:
            raise Refusal(400, "folder not found")
        stored = self.dashboards.get(uid)
        if stored and stored["meta"].get("provisioned"):
            raise Refusal(400, "Cannot save provisioned dashboard")
        if stored and not body.get("overwrite") and dashboard.get("version") != stored["dashboard"]["version"]:
            raise Refusal(412, "The dashboard has been changed by someone else", "version-mismatch")
        for other, kept in self.dashboards.items():
            same = (kept["dashboard"]["title"], kept["meta"]["folderUid"]) == (dashboard["title"], folder)
            if same and other != uid:
                raise Refusal(412, "A dashboard with the same name in the folder already exists", "name-exists")
        version = stored["dashboard"]["version"] + 1 if stored else 1
        dashboard |= {"id": stored["dashboard"]["id"] if stored else self._next(), "uid": uid, "version": version}
        url = f"/d/{uid}/board"
        meta = {"folderUid": folder, "url": url, "version": version, "slug": "board", "canSave": True}
        self.dashboards[uid] = {"dashboard": dashboard, "meta": meta}
        saved = {"id": str(dashboard["id"]), "status": "success", "title": "board", "uid": uid}
        return saved | {"url": url, "version": version}

    def people_save(self, uid: str, change: Callable[[Json], None]) -> None:
        """Somebody changes a dashboard in the browser and saves it: Grafana writes panels in its version's spelling."""
        stored = self.dashboards[uid]["dashboard"]
        change(stored)
        for panel in stored["panels"]:
            if panel["type"] != "row":
                panel["pluginVersion"] = "11.1.0"
                panel["options"]["added"] = True
                panel["fieldConfig"]["defaults"].setdefault("decimals", None)
                panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0].pop("value", None)
            for override in panel.get("fieldConfig", {}).get("overrides", []):
                for prop in override["properties"]:
                    if prop["id"] == "custom.displayMode":
                        prop |= {"id": "custom.cellOptions", "value": {"type": prop["value"]}}
        stored |= {"version": stored["version"] + 1, "schemaVersion": 39}

    def _do_annotation(self, method: str, values: dict[str, str], query: list[tuple[str, str]], body: Any) -> Any:
        if method == "GET":
            tags = {text for name, text in query if name == "tags"}
            limit = int(dict(query).get("limit", 100))
            found = [a for a in self.annotations.values() if tags <= set(a["tags"])]
            return sorted(found, key=lambda a: -int(a["time"]))[:limit]
        if method == "POST":
            made = {"id": self._next(), "tags": [], "timeEnd": body["time"], **body}
            if made.get("dashboardUID") not in self.dashboards:
                made.pop("dashboardUID", None)  # Grafana takes it as one of the organisation
            self.annotations[made["id"]] = made
            return {"id": made["id"], "message": "Annotation added"}
        key = int(values["annotation_id"])
        if key not in self.annotations:
            raise Refusal(404, "Annotation not found")
        self.annotations[key] |= body
        return {"message": "Annotation patched"}

    def _do_snapshot(self, method: str, kind: str, values: dict[str, str], body: Any) -> Json:
        if kind == "snapshots-delete":
            key = next((k for k, s in self.snapshots.items() if s["deleteKey"] == values["deleteKey"]), "")
            self._got(self.snapshots, key)
            del self.snapshots[key]
            return {"message": "Snapshot deleted."}
        if method == "GET":
            return {"dashboard": self._got(self.snapshots, values["key"])["dashboard"], "meta": {"isSnapshot": True}}
        key, delete = f"k{self._next()}", f"d{self._next()}"
        self.snapshots[key] = body | {"deleteKey": delete}
        urls = {"url": f"{self.url}/dashboard/snapshot/{key}", "deleteUrl": f"{self.url}/api/snapshots-delete/{delete}"}
        return {"key": key, "deleteKey": delete, "id": self._next(), **urls}


def _without_secrets(source: Json) -> Json:
    shown = {k: v for k, v in source.items() if k != "secureJsonData"}
    return shown | {
        "secureJsonFields": dict.fromkeys(source["secureJsonData"], True),
        "readOnly": source.get("readOnly", False),
    }


@pytest.fixture
def grafana_server() -> Iterator[GrafanaServer]:
    """A Grafana that nothing forbidden may reach."""
    with GrafanaServer() as made:
        yield made
    assert made.violations == []


@pytest.fixture
def grafana(grafana_server: GrafanaServer) -> Grafana:
    """That Grafana, asked with an administrator's token."""
    return Grafana(grafana_server.url, ADMIN, timeout_s=5)
