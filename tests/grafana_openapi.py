"""Grafana's own description of its HTTP API, held against requests and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator

FILE = Path(__file__).parents[2] / "shared" / "data" / "grafana" / "openapi3.json"
BASE = "/api"


def need_description() -> None:
    """Skip a test where the description is absent."""
    if not FILE.exists():
        pytest.skip(f"{FILE} is absent; it is Grafana's published OpenAPI description")


class Operation(NamedTuple):
    """One thing that the API can do, and the values of the path's parameters."""

    description: Mapping[str, Any]
    values: dict[str, str]


@cache
def description() -> dict[str, Any]:
    """The whole document."""
    loaded: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


@cache
def _routes() -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
    """Paths with few parameters first: /folders/id/{folder_id} before /folders/{folder_uid}."""
    routes = []
    for path, operations in description()["paths"].items():
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
        routes.append((re.compile(f"{BASE}{pattern}"), path, operations))
    return sorted(routes, key=lambda r: (r[1].count("{"), r[1]))


def find(method: str, path: str) -> Operation | None:
    """The operation behind a method and a raw path."""
    for pattern, _, operations in _routes():
        if (found := pattern.fullmatch(path)) and method.lower() in operations:
            return Operation(operations[method.lower()], found.groupdict())
    return None


def request_faults(operation: Operation, query: Sequence[tuple[str, str]], body: Any) -> Iterator[str]:
    """What a request has that the description does not allow. A body that is absent is `...`."""
    known = {p["name"]: p for p in operation.description.get("parameters", ()) if p["in"] == "query"}
    for name, text in query:
        if name not in known:
            yield f"query parameter {name} is not known"
            continue
        schema = known[name].get("schema", {})
        yield from _faults(
            OAS30WriteValidator, schema, [text] if schema.get("type") == "array" else _typed(text, schema)
        )
    yield from (f"{name} is needed" for name, p in known.items() if p.get("required") and name not in dict(query))
    wanted = operation.description.get("requestBody")
    if wanted is None or body is ...:
        if wanted is not None and wanted.get("required"):
            yield "a body is needed"
        if wanted is None and body is not ...:
            yield "no body is allowed"
        return
    schema = wanted["content"]["application/json"]["schema"]
    yield from _faults(OAS30WriteValidator, schema, body)
    yield from _unknown(schema, body, "body")


def answer_faults(operation: Operation, status: int, body: Any) -> Iterator[str]:
    """What an answer has that the description does not allow."""
    described = operation.description["responses"].get(str(status))
    if described is None:
        yield f"status {status} is not described"
        return
    schema = _resolved(described).get("content", {}).get("application/json", {}).get("schema")
    if schema is not None:
        yield from _faults(OAS30ReadValidator, schema, body)
        yield from _unknown(schema, body, "answer")


def _faults(validator: Any, schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    root = {"allOf": [schema], "components": description()["components"]}
    for error in validator(root).iter_errors(value):
        yield f"{'/'.join(map(str, error.absolute_path)) or '.'}: {error.message}"


def _unknown(schema: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
    """Names that the description does not have. By the letter it allows them, but Grafana would ignore them."""
    schema = _resolved(schema)
    if isinstance(value, list):
        for item in value:
            yield from _unknown(schema.get("items", {}), item, where)
    if not isinstance(value, dict) or "properties" not in schema:
        return
    for name, inner in value.items():
        if name not in schema["properties"]:
            yield f"{where}: {name} is not known"
        else:
            yield from _unknown(schema["properties"][name], inner, f"{where}.{name}")


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = description()
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if schema.get("type") == "boolean" and text in ("true", "false"):
        return text == "true"
    return text
