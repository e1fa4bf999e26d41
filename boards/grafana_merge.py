"""Our dashboards and what people made of them: what is ours, whether they changed it, and both put together.

Grafana rewrites panels when people save a dashboard (it adds defaults and its version's own spellings), so what they
changed is told by a fingerprint of what matters: drawing, words, queries, units, thresholds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from boards.grafana_dashboards import LAST_ID
from boards.grafana_fields import Json

STAMP = "planwatch_made"
_LENGTH = 12
Standing = Literal["same", "outdated", "changed"]


def stamped(dashboard: Json) -> Json:
    """The dashboard with a hidden constant that says what it was made as: all of it, and its panels' fingerprint."""
    value = f"{_hash(dashboard)}.{fingerprint(dashboard['panels'])}"
    option = {"text": value, "value": value, "selected": True}
    constant = {
        "name": STAMP,
        "type": "constant",
        "label": "",
        "description": "What planwatch grafana apply made; by it the next run knows whether anybody changed the panels.",
        "hide": 2,
        "skipUrlSync": True,
        "query": value,
        "current": option,
        "options": [option],
    }
    variables = [*dashboard["templating"]["list"], constant]
    return dashboard | {"templating": {"list": variables}}


def standing(ours: Json, stored: Json) -> Standing:
    """How a stored dashboard stands to ours (stamped): the same, made by an earlier run, or changed by people."""
    made, now = _stamp(stored), _stamp(ours)
    found = fingerprint(stored.get("panels") or [])
    if made == now and found == made[1]:
        return "same"
    return "outdated" if found in (made[1], now[1]) else "changed"


def merged(ours: Json, stored: Json) -> Json:
    """Our dashboard with what people added to the stored one, as its next version."""
    return ours | {
        "id": stored.get("id"),
        "version": stored.get("version"),
        "tags": [*ours["tags"], *(tag for tag in stored.get("tags") or [] if tag not in ours["tags"])],
        "panels": [*ours["panels"], *_added(stored.get("panels") or [])],
        "templating": {"list": _variables(_list(ours, "templating"), _list(stored, "templating"))},
        "annotations": {"list": _both(_list(ours, "annotations"), _list(stored, "annotations"), "name")},
        "links": _both(ours["links"], stored.get("links") or [], "title"),
    }


def fingerprint(panels: Sequence[Json]) -> str:
    """What matters of the panels that are ours, however Grafana spells it."""
    return _hash([_essence(panel) for panel in sorted(_ours(panels), key=lambda p: int(p["id"]))])


def _is_ours(panel: Json) -> bool:
    return isinstance(panel.get("id"), int) and 0 < panel["id"] <= LAST_ID


def _ours(panels: Sequence[Json]) -> Iterator[Json]:
    """Our panels; those of a row that people folded up stand inside it."""
    for panel in panels:
        if _is_ours(panel):
            yield panel
        yield from _ours(panel.get("panels") or [])


def _added(panels: Sequence[Json]) -> Iterator[Json]:
    for panel in panels:
        if _is_ours(panel):
            yield from _added(panel.get("panels") or [])
        else:
            yield panel


def _essence(panel: Json) -> Json:
    config = panel.get("fieldConfig") or {}
    defaults = config.get("defaults") or {}
    return {
        "id": panel["id"],
        "type": panel.get("type"),
        "title": panel.get("title") or "",
        "description": panel.get("description") or "",
        "queries": [(target.get("refId"), target.get("query")) for target in panel.get("targets") or []],
        "defaults": {name: _plain(defaults.get(name)) for name in ("unit", "min", "max", "noValue", "thresholds")},
        "mappings": defaults.get("mappings") or [],
        "overrides": [
            (
                (override.get("matcher") or {}).get("options"),
                [(p.get("id"), _plain(p.get("value"))) for p in override.get("properties") or [] if not _spelling(p)],
            )
            for override in config.get("overrides") or []
        ],
    }


def _spelling(prop: Json) -> bool:
    """What later versions of Grafana write in another way."""
    return prop.get("id") in ("custom.displayMode", "custom.cellOptions")


def _plain(value: Any) -> Any:
    """Thresholds without the value of their base, which versions write as null, as 0 or not at all."""
    if isinstance(value, Mapping) and isinstance(value.get("steps"), list):
        return [(n and step.get("value"), step.get("color")) for n, step in enumerate(value["steps"])]
    return value


def _stamp(dashboard: Json) -> tuple[str, str]:
    """The two hashes of the hidden constant; empty where there is none."""
    for found in _list(dashboard, "templating"):
        if found.get("name") == STAMP:
            whole, _, panels = str(found.get("query") or "").partition(".")
            return whole, panels
    return "", ""


def _list(dashboard: Json, name: str) -> list[Json]:
    return (dashboard.get(name) or {}).get("list") or []


def _both(ours: Sequence[Json], theirs: Sequence[Json], key: str) -> list[Json]:
    names = {one.get(key) for one in ours}
    return [*ours, *(one for one in theirs if one.get(key) not in names)]


def _variables(ours: Sequence[Json], theirs: Sequence[Json]) -> list[Json]:
    """Ours with the choices that people saved as the dashboard's own, then theirs."""
    chosen = {one.get("name"): one.get("current") for one in theirs if one.get("current")}
    kept = [one | {"current": chosen[one["name"]]} if _keeps(one, chosen) else one for one in ours]
    return _both(kept, theirs, "name")


def _keeps(variable: Json, chosen: Mapping[Any, Any]) -> bool:
    current = chosen.get(variable["name"])
    if not isinstance(current, Mapping) or variable["type"] == "constant":
        return False
    values = [option["value"] for option in variable["options"]]
    return not values or current.get("value") in values


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]
