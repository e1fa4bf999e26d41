"""The pages that are made from the code say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from planwatch.cli import app
from planwatch.documents import PAGES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_page_is_up_to_date(page: str) -> None:
    """A changed declaration or help text without `make docs` is noticed."""
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


def test_every_command_has_help() -> None:
    """No command is without a description."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert commands
    assert [name for name, command in commands.items() if not command.help] == []
