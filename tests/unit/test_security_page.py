"""SECURITY.md claims no test that does not exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| (?P<threat>[^|]+) \| (?P<defence>[^|]+) \| `(?P<file>[\w/]+\.py)::(?P<name>\w+)` \|$", re.MULTILINE
)
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [(match["file"], match["name"]) for match in ROW.finditer(PAGE)]


def test_every_threat_names_a_test() -> None:
    """No row of the table is without one."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| threat", "| ---"))]
    assert len(rows) == len(ROWS) >= 20


@pytest.mark.parametrize(("file", "name"), ROWS)
def test_the_test_exists(file: str, name: str) -> None:
    """The named function is in the named file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
