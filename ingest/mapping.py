"""Mapping files: loading them, and finding the entries for a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from pydantic import ValidationError

from ingest.drift import nearest
from ingest.values import Bad, show
from schemas.base import PlanwatchError
from schemas.change import Entity
from schemas.mapping import FileMapping, Mapping, Value
from schemas.yaml_text import load_yaml


class Vanished(NamedTuple):
    """A column that the mapping names and a file does not have, and the column that it was most likely renamed to."""

    entity: Entity
    column: str
    near: str


class MissingColumns(Bad):
    """A file lacks columns that its rows cannot do without."""

    def __init__(self, reason: str, vanished: Sequence[Vanished]) -> None:
        super().__init__("missing_column", reason)
        self.vanished = vanished


def load_mapping(path: Path) -> Mapping:
    """Read and check a mapping file; `PlanwatchError` names file, line and key of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanwatchError(f"{path}: cannot read the mapping ({error.strerror}); check `mapping`") from error
    except UnicodeDecodeError as error:
        raise PlanwatchError(f"{path}: the mapping is not UTF-8 text; save it as UTF-8") from error
    document = load_yaml(text, str(path), "rt")
    try:
        mapping = Mapping.model_validate({} if document is None else document)
    except ValidationError as error:
        problems = "\n".join(_problem(path, document, item) for item in error.errors())
        raise PlanwatchError(problems) from error
    for index, spec in enumerate(mapping.files):
        _check_templates(path, f"files[{index}]", _values(spec))
    for index, event in enumerate(mapping.events):
        _check_templates(path, f"events[{index}]", event.fields.values())
    return mapping


def _problem(path: Path, document: Any, item: Any) -> str:
    """One line of an error message: file, line, key, what is wrong."""
    loc: Sequence[int | str] = item["loc"]
    key, line, node = "", None, document
    for part in loc:
        if isinstance(node, dict) and part in node:
            line = node.lc.key(part)[0] + 1 if hasattr(node, "lc") else line
            node = node[part]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1 if hasattr(node, "lc") else line
            node = node[part]
        elif item["type"] != "missing":
            continue  # a step inside a union, which is no key of the file
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    where = f"{path}, line {line}" if line else f"{path}"
    if item["type"] == "extra_forbidden":
        return f"{where}: {key}: there is no such setting; remove it or check its spelling"
    if item["type"] == "missing":
        return f"{where}: {key} is missing; add it"
    return f"{where}: {key or 'the mapping'}: {item['msg']}"


def template_columns(template: str) -> list[str]:
    """The columns that a template names."""
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]


def _check_templates(path: Path, where: str, values: Iterable[Value]) -> None:
    for value in values:
        if value.template is None:
            continue
        try:
            columns = template_columns(value.template)
        except ValueError as error:
            raise PlanwatchError(f"{path}: {where}: template {show(value.template)}: {error}") from error
        if not columns or "" in columns:
            raise PlanwatchError(
                f"{path}: {where}: template {show(value.template)} names no column; write {{column}} in it"
            )


def _values(spec: FileMapping) -> Iterable[Value]:
    yield from spec.fields.values()
    for milestone in spec.milestones:
        yield from milestone.set.values()
    yield from spec.undated.set.values()


def id_columns(spec: FileMapping) -> tuple[str, ...]:
    """The columns that make the record's id."""
    return (spec.id,) if isinstance(spec.id, str) else spec.id


def needed_columns(spec: FileMapping) -> list[str]:
    """Every column that a file must have for this entry, in the order in which the mapping names them."""
    return _columns(spec, optional=False)


def named_columns(spec: FileMapping) -> list[str]:
    """Every column that an entry names, those that may be missing too."""
    return _columns(spec, optional=True)


def _columns(spec: FileMapping, *, optional: bool) -> list[str]:
    named = [*id_columns(spec), *spec.expect]
    for value in _values(spec):
        if value.optional and not optional:
            continue
        if value.column is not None:
            named.append(value.column)
        if value.template is not None:
            named.extend(template_columns(value.template))
    for milestone in spec.milestones:
        named.extend([milestone.date, *milestone.when])
    if spec.version is not None:
        named.append(spec.version)
    return list(dict.fromkeys(named))


def vanished(specs: Iterable[FileMapping], header: Sequence[str]) -> list[Vanished]:
    """The columns that entries name and a file does not have, those that may be missing too."""
    specs = list(specs)
    named = {column for spec in specs for column in named_columns(spec)}
    free = [column for column in header if column not in named]
    found = {
        column: Vanished(spec.entity, column, nearest(column, free))
        for spec in specs
        for column in named_columns(spec)
        if column not in header
    }
    return list(found.values())


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())


def is_ignored(mapping: Mapping, name: str) -> bool:
    """Whether the mapping says to skip a file of this name."""
    return any(_matches(pattern, name) for pattern in mapping.ignore)


def entries_for(mapping: Mapping, name: str, header: Sequence[str]) -> list[FileMapping]:
    """The entries for a file: by its name, else (standard input, a renamed file) by its columns.

    Raises `Bad` when no entry fits, or one that fits by name lacks a column.
    """
    by_name = [spec for spec in mapping.files if _matches(spec.match, name)]
    if by_name:
        _check_columns(by_name, header)
        return by_name
    groups: dict[str, list[FileMapping]] = {}
    for spec in mapping.files:
        groups.setdefault(spec.match, []).append(spec)
    fitting = [group for group in groups.values() if not _missing(group, header)]
    if len(fitting) == 1:
        _check_columns(fitting[0], header)
        return fitting[0]
    if fitting:
        names = " and ".join(show(group[0].match) for group in fitting)
        raise Bad("unmapped_file", f"no entry of `files` matches its name, and by its columns {names} do; rename it")
    for group in groups.values():
        # Most of the columns are there: it is meant to be this file, so say what it lacks.
        needed = {column for spec in group for column in needed_columns(spec)}
        if len(needed & set(header)) * 2 > len(needed):
            _check_columns(group, header)
    raise Bad(
        "unmapped_file",
        f"no entry of `files` in the mapping matches the file {show(name)} by name or by columns "
        f"({', '.join(list(header)[:12])}); add one, or add its name to `ignore`",
    )


def _missing(specs: Iterable[FileMapping], header: Sequence[str]) -> list[str]:
    needed = dict.fromkeys(column for spec in specs for column in needed_columns(spec))
    return [column for column in needed if column not in header]


def _check_columns(specs: Sequence[FileMapping], header: Sequence[str]) -> None:
    missing = _missing(specs, header)
    if missing:
        gone = [item for item in vanished(specs, header) if item.column in missing]
        names = ", ".join(show(column) for column in missing)
        renamed = " and ".join(f"{show(item.column)} to {show(item.near)}" for item in gone if item.near)
        likely = f" Likely renamed: {renamed}; write the new name in the mapping." if renamed else ""
        raise MissingColumns(
            f"the file has no column {names}; it has {', '.join(list(header)[:30])}.{likely} Export it with that column, "
            "correct its name or the file's `delimiter` in the mapping, or mark the field `optional: true`",
            gone,
        )
    check_twice([column for spec in specs for column in named_columns(spec)], header)


def check_twice(columns: Iterable[str], header: Sequence[str]) -> None:
    """Raise `Bad` where a column that is read stands more than once in the header."""
    twice = [column for column in columns if header.count(column) > 1]
    if twice:
        raise Bad("duplicate_column", f"the column {show(twice[0])} stands twice in the header; rename one of them")
