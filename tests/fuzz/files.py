"""The files that people write: mappings, configuration, plans, measures and rules. They are read, or say what is wrong.

Accounting: a file is read or refused as a whole, by PlanwatchError and nothing else. A mapping that is read is put to
use: its doors must work with it, or say what is wrong with it.
"""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alerts.rules import load_rules
from ingest import DOORS, Context, load_mapping
from planwatch.home import Home, read_model
from schemas.base import PlanwatchError
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.measures import MeasureFile
from schemas.plan import Plan
from tests.fuzz.checks import CONFIGS, NOW, TENANT, Account, Case, Target, check_items
from tests.fuzz.mutate import TEXTS, Mutator
from tests.fuzz.tables import EXAMPLES, TABLES

MEASURES = """measures:
  big_deals: { entity: opportunity, where: { stage: [Won], active: true }, value: amount, times: probability, date: close_date }
  age: { value: days, days: [created_date, close_date] }
kpis:
  big: { title: Big deals, unit: money, expression: "big_deals / (age + 1)", direction: up, zero: no deals }
"""
EVENTS = """events:
  - match: { table: audit }
    ignore: true
  - match: { schema: public, table: [deals, leads] }
    entity: opportunity
    id: [id, part]
    op: { column: do, values: { gone: delete, noop: skip } }
    time: { column: at, unit: ms }
    version: v
    fields:
      stage: { column: stage, aliases: { 1: Won }, allowed: [Won, New] }
      amount: { column: terms.amount, kind: decimal, factor: 0.01 }
      name: { template: "{name} {@subject}" }
      close_date: { constant: 2024-05-31 }
"""
#: Without these a file is never read.
NEEDED = ("name:", "horizon:", "rules:", "measures:", "kpis:")
#: What YAML makes something else of than a person means, or that only YAML has.
YAML_PIECES = (
    "&a ", "*a", "!!binary aGk=", "!!python/object:os.system ", "!!set {a, b}", "!!omap [a: 1]", "!x y", "<<: *a", "? [a, b]\n: c",
    "2024-02-30", "2024-13-45T99:99:99Z", "0001-01-01", "9999-12-31T23:59:59-23:59", "190:20:30", "0o17", "0b1", "0xFF", "1_000",
    ".inf", "-.inf", ".nan", "1e999999", "9" * 5_000, "~", "null", "on", "No", "{", "}", "[", "]", "'", '"', "|", ">-", "%YAML 1.1\n---",
    "---\n", "...\n", "\t", "- ", ": ", "# ", "\x00", "\x07", "\ufeff", "\ud7ff", "\ufffe", "\u2028", "@", "`", "{a: {b: {c: [[[]]]}}}",
    "[" * 300, "{a: " * 300, "[" * 3_000, "? " * 500, "- " * 500, "&a [*a]", "&a [" + "*a," * 40, '"\\ud800"', '"\\x00"', '"\\U0010FFFF"',
)  # fmt: skip


def _text(mutator: Mutator, valid: str) -> bytes:
    """A YAML file with lines, values and bytes that are not as they were."""
    kept, others = _sections(valid)
    lines = [line for section in kept + mutator.chance.sample(others, k=min(2, len(others))) for line in section]
    for _ in range(mutator.chance.randrange(4)):
        at = mutator.chance.randrange(len(lines)) if lines else 0
        match mutator.chance.randrange(7):
            case 0 if lines:
                del lines[at]
            case 1 if lines:
                lines.insert(at, mutator.pick(lines))
            case 2 if lines:
                lines[at] = lines[at][mutator.chance.randrange(4) :] if mutator.often(0.5) else f"  {lines[at]}"
            case 3 if lines and ":" in lines[at]:
                lines[at] = f"{lines[at].partition(':')[0]}: {mutator.pick(YAML_PIECES)}"
            case 4 if lines and ":" in lines[at]:
                name, _, value = lines[at].partition(":")
                lines[at] = f"{mutator.pick((mutator.text(name), *YAML_PIECES))}:{value}"
            case 5 if lines and ":" in lines[at]:
                lines[at] = f"{lines[at].partition(':')[0]}: {mutator.pick(TEXTS)}"
            case _:
                lines.insert(at, mutator.pick(YAML_PIECES))
    raw = "\n".join(lines).encode("utf-8", "surrogatepass")
    return mutator.raw(raw) if mutator.often(0.4) else raw


def _sections(text: str) -> tuple[list[list[str]], list[list[str]]]:
    """The settings of a file, each with what belongs to it: those that it must have, and the others.

    A few at a time: whole files would take long to read.
    """
    found: list[list[str]] = []
    for line in text.splitlines():
        if line[:1].isalpha():
            found.append([])
        if found and line.strip() and not line.lstrip().startswith("#"):
            found[-1].append(line.partition(" #")[0])
    needed = [section for section in found if section[0].startswith(NEEDED)]
    return needed, [section for section in found if section not in needed]


def _mapping(path: Path) -> None:
    """Read a mapping, and read tables and events with it."""
    found = load_mapping(path)
    assert Mapping.model_validate(found.model_dump()) == found
    table = TABLES["csv"][0]
    content = "\n".join(",".join(cells) for cells in (table.header, *table.rows)).encode(found.encoding, "replace")
    for kind, raw in (("csv", content), ("field-history", content), ("webhook", b'{"id": 7, "part": "a", "at": 1}\n')):
        context = Context(TENANT, "crm", CONFIGS[0], found, ManualClock(NOW))
        try:
            check_items(list(DOORS[kind].read(table.name, io.BytesIO(raw), context)), CONFIGS[0])
        except PlanwatchError:
            continue


def _config(path: Path) -> None:
    Home(path.parent)
    read_model(path, Config)


def _files(valid: list[str], read: Callable[[Path], object], name: str) -> Callable[[], Any]:
    """A target over a folder of its own."""

    @contextmanager
    def opened() -> Iterator[Callable[[random.Random], Case]]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name

            def case(chance: random.Random) -> Case:
                mutator = Mutator(chance)
                raw = _text(mutator, mutator.pick(valid))
                return Case(raw, lambda: run(raw))

            def run(raw: bytes) -> Account:
                path.write_bytes(raw)
                said = []
                for _ in range(2):
                    try:
                        read(path)
                        said.append("")
                    except PlanwatchError as error:
                        said.append(str(error))
                        assert said[-1]
                assert said[0] == said[1]
                return Account(refused=1) if said[0] else Account(changes=1)

            yield case

    return opened


def _examples(name: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob(f"*/{name}"))]


TARGETS = (
    Target("mapping-file", 8, _files([*_examples("mapping.yaml"), EVENTS], _mapping, "mapping.yaml")),
    Target("configuration", 6, _files(_examples("planwatch.yaml"), _config, "planwatch.yaml")),
    Target("plan", 4, _files(_examples("plan.yaml"), lambda path: read_model(path, Plan), "plan.yaml")),
    Target("measures", 4, _files([MEASURES], lambda path: read_model(path, MeasureFile), "measures.yaml")),
    Target(
        "rules",
        4,
        _files(_examples("alerts.yaml"), lambda path: load_rules(path.read_text("utf-8", "replace")), "alerts.yaml"),
    ),
)
