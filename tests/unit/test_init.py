"""`planwatch init`: what it writes is a home, and what it says to do next can be done."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from planwatch.cli import app, examples
from planwatch.home import Home

NAMES = sorted(path.name for path in examples().iterdir() if path.is_dir())


@pytest.mark.parametrize("name", NAMES)
def test_every_example(tmp_path: Path, name: str) -> None:
    """The configuration, plan and rules are valid, and each command that the last line names is one."""
    result = CliRunner().invoke(app, ["--home", str(tmp_path), "init", "--example", name])
    assert result.exit_code == 0, result.output
    home = Home(tmp_path)
    assert home.plan().name
    assert home.rules_text()
    last = result.output.splitlines()[-1]
    named = re.findall(r"planwatch ([a-z]+(?: [a-z]+)?)", last)
    assert last.startswith("Next: ")
    assert named
    for words in named:
        command: Any = get_command(app)
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, words
            command = command.commands[word]


def test_what_hubspot_needs_first(tmp_path: Path) -> None:
    """Without the secret nothing comes in, so it is named before the server."""
    said = CliRunner().invoke(app, ["--home", str(tmp_path), "init", "--example", "hubspot"]).output
    assert said.index("PLANWATCH_HUBSPOT_SECRET") < said.index("planwatch serve") < said.index("planwatch run")
