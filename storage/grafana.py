"""Grafana's HTTP API through the package grafana-api.

Where the package's own method would send what Grafana's description of its API forbids (nulls for what is not set, names
that are no parameters), the call goes through the package's request layer with the right body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from schemas.base import PlanwatchError
from schemas.stack import GrafanaConfig

Json = dict[str, Any]
Auth = str | tuple[str, str]  # a service account's token, or user and password

NOT_FOUND, CONFLICT, CHANGED, TOO_MANY = 404, 409, 412, 429
REFUSED = (401, 403)
SAID_MAX = 200  # characters of Grafana's own words that an error repeats
FOUND_MAX = 100


class GrafanaError(PlanwatchError):
    """Grafana cannot be reached or refuses. `status` is HTTP's; none when there was no proper answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed later, or once the token is mended."""
        return self.status is None or self.status >= 500 or self.status in (*REFUSED, TOO_MANY)


def open_grafana(config: GrafanaConfig, home: Path) -> Grafana:
    """Grafana as it is configured; secrets are read from files relative to `home`. Connects to nothing yet.

    Raises PlanwatchError for a file that cannot be read and for settings that do not go together.
    """
    if config.user is not None:
        if config.password_file is None:
            raise PlanwatchError(
                "grafana.password_file: needed beside grafana.user; name a file that holds the password."
            )
        return Grafana(
            config.url, (config.user, _secret(home / config.password_file, "password_file")), config.timeout_s
        )
    if config.token_file is None:
        raise PlanwatchError("grafana: set token_file (a service account’s token), or user and password_file.")
    return Grafana(config.url, _secret(home / config.token_file, "token_file"), config.timeout_s)


def _secret(path: Path, setting: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanwatchError(
            f"grafana.{setting}: {path} cannot be read ({type(error).__name__}). Write the secret into this file, "
            "readable by you alone."
        ) from None
    if not text.isascii() or not text.isprintable() or not text:
        raise PlanwatchError(f"grafana.{setting}: {path} holds no secret: it must be one line of ASCII text.")
    return text


class Grafana:
    """One Grafana. Every method raises GrafanaError; secrets never stand in its message."""

    def __init__(self, url: str, auth: Auth, timeout_s: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._auth, self._timeout_s = auth, timeout_s
        self._made: Any = None
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise PlanwatchError(
                "grafana.url: not an address of Grafana. Write it as https://grafana.example.com or "
                "http://127.0.0.1:3000, without user and password."
            )
        self._parts = parts

    @property
    def _face(self) -> Any:
        """Made at the first call: the package takes a while to load, and most commands do not need it."""
        if self._made is None:
            from grafana_api.grafana_face import GrafanaFace

            host = self._parts.hostname or ""
            prefix = self._parts.path.strip("/")
            self._made = GrafanaFace(
                self._auth,
                host=f"[{host}]" if ":" in host else host,
                port=self._parts.port,
                url_path_prefix=f"{prefix}/" if prefix else "",
                protocol=self._parts.scheme,
                timeout=self._timeout_s,
            )
            # A redirect would turn a POST into a GET and take the token elsewhere.
            self._made.api.s.max_redirects = 0
        return self._made

    def organisation(self) -> str:
        """The name of the organisation that the token belongs to; shows that Grafana answers and knows it."""
        return str(self._call("read the organisation", "Viewer", lambda g: g.api.GET("/org")["name"]))

    def folder(self, uid: str) -> Json | None:
        """A folder, or none."""
        return self._find("read folders", "Viewer", lambda g: g.folder.get_folder(uid))

    def create_folder(self, uid: str, title: str) -> None:
        """Make a folder."""
        self._call("make a folder", "Editor", lambda g: g.folder.create_folder(title, uid))

    def data_source(self, uid: str) -> Json | None:
        """A data source without its secrets, or none."""
        return self._find("read data sources", "Admin", lambda g: g.api.GET(f"/datasources/uid/{quote(uid)}"))

    def create_data_source(self, source: Mapping[str, Any]) -> None:
        """Make a data source."""
        self._call("make a data source", "Admin", lambda g: g.datasource.create_datasource(dict(source)))

    def update_data_source(self, uid: str, source: Mapping[str, Any]) -> None:
        """Replace a data source."""
        self._call(
            "change a data source",
            "Admin",
            lambda g: g.api.PUT(f"/datasources/uid/{quote(uid)}", json=dict(source)),
        )

    def check_data_source(self, uid: str) -> str:
        """What Grafana says when it tries a data source itself. Raises GrafanaError when it does not work."""
        path = f"/datasources/uid/{quote(uid)}/health"
        return str(self._call("try a data source", "Admin", lambda g: g.api.GET(path)).get("message", ""))

    def dashboard(self, uid: str) -> Json | None:
        """A dashboard with its `meta`, or none."""
        return self._find("read dashboards", "Viewer", lambda g: g.dashboard.get_dashboard(uid))

    def save_dashboard(self, dashboard: Mapping[str, Any], folder_uid: str, message: str) -> Json:
        """Make a dashboard, or a new version of the one whose `version` it carries; 412 when that is not the newest."""
        body = {"dashboard": dict(dashboard), "folderUid": folder_uid, "message": message, "overwrite": False}
        saved: Json = self._call("save a dashboard", "Editor", lambda g: g.dashboard.update_dashboard(body))
        return saved

    def annotations(self, tags: Sequence[str], limit: int = FOUND_MAX) -> list[Json]:
        """Annotations that have all these tags, of whatever time."""
        # The package writes tags unescaped into the address, and `dashboardID`, which Grafana does not know.
        asked = urlencode([*(("tags", tag) for tag in tags), ("type", "annotation"), ("limit", limit)])
        found: list[Json] = self._call("read annotations", "Viewer", lambda g: g.api.GET(f"/annotations?{asked}"))
        return found

    def annotate(
        self, *, dashboard_uid: str, panel_id: int, start_ms: int, stop_ms: int, tags: Sequence[str], text: str
    ) -> int:
        """Mark a stretch of time on a panel; returns the annotation's id."""
        body = {
            "dashboardUID": dashboard_uid,
            "panelId": panel_id,
            "time": start_ms,
            "timeEnd": stop_ms,
            "tags": list(tags),
            "text": text,
        }
        return int(self._call("annotate a panel", "Editor", lambda g: g.api.POST("/annotations", json=body)["id"]))

    def change_annotation(self, annotation_id: int, *, stop_ms: int, text: str, tags: Sequence[str]) -> None:
        """Give an annotation another end, text and tags; its beginning and its place stay."""
        body = {"timeEnd": stop_ms, "text": text, "tags": list(tags)}
        path = f"/annotations/{annotation_id}"
        self._call("change an annotation", "Editor", lambda g: g.api.PATCH(path, json=body))

    def create_snapshot(self, dashboard: Mapping[str, Any], name: str, expires_s: int = 0) -> Json:
        """Store a dashboard with its data; 0 seconds: for good. Gives `url`, `deleteUrl` and their keys."""
        made: Json = self._call(
            "take a snapshot",
            "Editor",
            lambda g: g.snapshots.create_new_snapshot(dashboard=dict(dashboard), name=name, expires=expires_s or None),
        )
        return made

    def delete_snapshot(self, delete_key: str) -> None:
        """Delete a snapshot by its delete key."""
        self._call(
            "delete a snapshot", "Editor", lambda g: g.snapshots.delete_snapshot_by_delete_key(quote(delete_key))
        )

    def _find(self, what: str, role: str, call: Callable[[Any], Any]) -> Json | None:
        try:
            found: Json = self._call(what, role, call)
        except GrafanaError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return found

    def _call(self, what: str, role: str, call: Callable[[Any], Any]) -> Any:
        import requests
        from grafana_api.grafana_api import GrafanaException

        try:
            return call(self._face)
        except GrafanaException as error:
            raise self._refusal(what, role, int(error.status_code), str(error.message)) from None
        except requests.TooManyRedirects:
            text = "answers with a redirect. Set grafana.url to the address that it leads to, with its path."
            raise GrafanaError(f"{self.url} {text}") from None
        except (requests.JSONDecodeError, TypeError, KeyError):
            text = "does not answer as Grafana does. Is grafana.url right, with the path under which Grafana is served?"
            raise GrafanaError(f"{self.url} {text}") from None
        except requests.RequestException as error:
            text = f"cannot be reached ({type(error).__name__}). Is Grafana running, and is grafana.url right?"
            raise GrafanaError(f"{self.url} {text}") from None

    def _refusal(self, what: str, role: str, status: int, said: str) -> GrafanaError:
        for secret in (self._auth,) if isinstance(self._auth, str) else self._auth[1:]:
            said = said.replace(secret, "…")
        said = " ".join(said.split())[:SAID_MAX]
        if status in REFUSED:
            reason = "does not know the token or password" if status == REFUSED[0] else f"does not let it {what}"
            text = (
                f"{self.url} {reason} (HTTP {status}). Give grafana.token_file the token of a service account with the "
                f"role {role} (Grafana: Administration, Service accounts)."
            )
        elif status == CHANGED:
            text = f"{self.url}: somebody else changed it meanwhile (HTTP 412: {said}). Run the command again."
        else:
            text = f"{self.url}: cannot {what}: {said}"
        return GrafanaError(text, status)
