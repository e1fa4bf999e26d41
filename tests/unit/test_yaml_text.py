"""Files that people write in YAML: whatever stands in them, they are read or refused in words, and soon."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from planwatch.home import Home
from schemas.base import PlanwatchError
from schemas.yaml_text import load_yaml


@pytest.mark.parametrize("typ", ["rt", "safe"])
def test_a_document(typ: Literal["rt", "safe"]) -> None:
    """Lists, settings, texts in quotes and aliases are read; nothing is an empty document."""
    text = "a: &x [1, two, {b: 2.5}]\nc: *x\n'd e': \"[[\"\n3: yes\n"
    assert load_yaml(text, "f", typ) == {
        "a": [1, "two", {"b": 2.5}],
        "c": [1, "two", {"b": 2.5}],
        "d e": "[[",
        3: "yes",
    }
    assert load_yaml("", "f", typ) is None


@pytest.mark.parametrize("typ", ["rt", "safe"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: [1", "f, line 2: not valid YAML"),
        ("a: 1\na: 2", "f, line 2: not valid YAML"),
        ("a: \x07", "f: not valid YAML: unacceptable character"),
        ("a: 2024-13-01", "f: not valid YAML: month must be in 1..12"),
        ("a: " + "9" * 5_000, "f: not valid YAML"),
        ("a: 1\nb: " + "[" * 3_000, "f: not valid YAML: more than 100 brackets are open in line 2"),
        ("- " * 3_000, "f: it is nested too deep"),
        ("a: 1\n[b, c]: 2", "f, line 2: not valid YAML: the name of a setting is one word or a text"),
        ("? " * 300 + "a", "f, line 1: not valid YAML: the name of a setting is one word or a text"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(text: str, says: str, typ: Literal["rt", "safe"]) -> None:
    """Damage, dates that there are none of, and nesting that a parser would take seconds or for ever over."""
    with pytest.raises(PlanwatchError) as refused:
        load_yaml(text, "f", typ)
    assert str(refused.value).startswith(says)


def test_names_of_settings_are_text(tmp_path: Path) -> None:
    """A number as a name is refused with the file and the name."""
    (tmp_path / "planwatch.yaml").write_text("company: Acme\n404: x\n", encoding="utf-8")
    with pytest.raises(PlanwatchError, match=r"planwatch.yaml: '404' is not the name of a setting"):
        Home(tmp_path)
