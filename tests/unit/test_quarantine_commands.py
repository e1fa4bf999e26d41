"""`planwatch quarantine`: what the commands print, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ingest.door import Refused
from planwatch.cli import app
from planwatch.home import Home
from planwatch.shown import hex_lines, shown_lines
from planwatch.store import Store
from schemas.base import PlanwatchError
from tests.unit.quarantine_samples import CONFIG, HEAD, MENDED, STRICT, row

HOSTILE = "D-8,2026-03-01T00:00:00Z,Amount,\x1b[2J\x9b31m[red]\u202e"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own whose file has two refused rows, on lines 3 and 4."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "planwatch.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "mapping.yaml").write_text(STRICT, encoding="utf-8")
    rows = [HEAD, row(1, "100"), row(2, "1.234,50"), HOSTILE, ""]
    (tmp_path / "history.csv").write_text("\n".join(rows), encoding="utf-8")
    assert run("ingest", "field-history", "history.csv", "--source", "crm").exit_code == 0
    return tmp_path


def run(*words: str) -> Result:
    """The command's result."""
    return CliRunner().invoke(app, words)


def said(*words: str, code: int = 0) -> dict[str, Any]:
    """What a command says as JSON."""
    result = run("quarantine", *words, "--json")
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def harmless(text: str) -> bool:
    """Whether a terminal would only print it."""
    return all(c.isprintable() or c == "\n" for c in text)


def ids(*, state: str = "open") -> list[str]:
    """Ids, the oldest first."""
    return [item["id"] for item in reversed(said("list", "--state", state)["items"])]


def test_list(home: Path) -> None:
    """The newest first, with when, where and why, and counts; nothing in it commands a terminal."""
    found = said("list")
    assert [(i["position"], i["source"], i["code"], i["state"]) for i in found["items"]] == [
        (4, "crm", "bad_number", "open"),
        (3, "crm", "bad_number", "open"),
    ]
    assert found["items"][0]["at"].endswith("Z")
    assert found["counts"] == [{"source": "crm", "code": "bad_number", "open": 2, "replayed": 0, "dropped": 0}]
    assert [i["position"] for i in said("list", "--limit", "1")["items"]] == [4]
    assert said("list", "--source", "other")["items"] == []
    text = run("quarantine", "list").stdout
    assert harmless(text)
    assert all(f"{i['id']}  open" in text for i in found["items"])
    assert "history.csv, line 3" in text
    assert run("quarantine", "list", "--state", "gone").exit_code == 2


def test_show(home: Path) -> None:
    """Everything, the bytes too, and what replaying it would do today; escapes are escaped and brackets are no markup."""
    first, second = ids()
    result = run("quarantine", "show", second[:6])
    assert result.exit_code == 0
    assert harmless(result.stdout)
    assert r"\x1b[2J\x9b31m[red]\u202e" in result.stdout
    assert HEAD in result.stdout
    assert "still refused" in result.stdout
    raw = run("quarantine", "show", second, "--json").stdout
    assert harmless(raw)
    found = json.loads(raw)
    assert (found["around"]["head"], found["cut"], found["disposition"]) == (HEAD, False, None)
    (home / "mapping.yaml").write_text(MENDED, encoding="utf-8")
    assert said("show", first)["today"] == {"result": "readable", "changes": 1, "reason": ""}


def test_replay(home: Path) -> None:
    """3 where nothing could be taken in; what would happen; what happened; who did it; and the account of `ingest`."""
    assert said("replay", "--all", code=3)["still_refused"] == 2
    (home / "mapping.yaml").write_text(MENDED, encoding="utf-8")
    dry = said("replay", "--source", "crm", "--code", "bad_number", "--dry-run")
    assert (dry["dry_run"], dry["replayed"], dry["still_refused"], dry["changes"]) == (True, 1, 1, 1)
    assert (
        "1 would be replayed as 1 change; 1 would stay open."
        in run("quarantine", "replay", "--all", "--dry-run").stdout
    )
    text = run("quarantine", "replay", "--all").stdout
    assert "gave 1 change of opportunity D-2" in text
    assert "1 replayed as 1 change; 1 stays open." in text
    (one,) = ids(state="replayed")
    shown = run("quarantine", "show", one).stdout
    assert "by " in shown
    assert said("replay", one)["already"] == 1
    again = run("ingest", "field-history", "history.csv", "--source", "crm", "--json").stdout
    found = json.loads(again)
    assert {k: found[k] for k in ("received", "applied", "duplicate", "stale", "quarantined")} == {
        "received": 3, "applied": 0, "duplicate": 2, "stale": 0, "quarantined": 1,
    }  # fmt: skip


def test_drop(home: Path) -> None:
    """It says what it did; a reason must be given."""
    first, second = ids()
    assert run("quarantine", "drop", first).exit_code == 2
    assert f"{first}  dropped: a test" in run("quarantine", "drop", first, "--reason", "a test").stdout
    assert [i["result"] for i in said("drop", first, second, "--reason", "all")["items"]] == ["already", "dropped"]
    assert said("list")["items"] == []
    assert "Nothing is in quarantine." not in run("quarantine", "list", "--state", "dropped").stdout
    assert said("list", "--state", "all")["counts"][0]["dropped"] == 2


@pytest.mark.parametrize("words", [(), ("--all", "--source", "crm"), ("abcdef", "--all"), ("abcdef", "--code", "x")])
def test_replay_wants_one_way_of_choosing(home: Path, words: Sequence[str]) -> None:
    """Ids, or filters, or everything: anything else is wrong usage."""
    assert run("quarantine", "replay", *words).exit_code == 2


def test_an_unknown_id(home: Path) -> None:
    """It is said to be so, and where to look."""
    result = run("quarantine", "show", "ffffffff")
    assert isinstance(result.exception, PlanwatchError)
    assert "planwatch quarantine list" in str(result.exception)


def test_bytes_that_are_no_text(home: Path) -> None:
    """They are dumped, sixteen to a line."""
    item = Refused("crm", "other.csv", 2, bytes(range(250, 256)) + b"deal\x1b[0m, and more", "not_text", "no text")
    Store(Home(home)).quarantine.add([item])
    text = run("quarantine", "show", ids()[-1]).stdout
    assert "  00000000  fa fb fc fd fe ff 64 65 61 6c 1b 5b 30 6d 2c 20  ......deal.[0m, " in text
    assert harmless(text)


@pytest.mark.parametrize("payload", [b"", b"\n", b"a\r\nb", "é\u2028x".encode(), b"\xff", bytes(range(255, 55, -2))])
def test_lines_are_harmless(payload: bytes) -> None:
    """Whatever the bytes are, each line only prints."""
    assert all(harmless(line) for line in shown_lines(payload))
    assert b"".join(bytes.fromhex(line[10:57]) for line in hex_lines(payload)) == payload
