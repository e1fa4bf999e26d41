"""A source's webhook secrets: where they come from, how they are exchanged, and that nobody sees them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from ingest.hook_secrets import CHECK_S, SECRETS_MAX, HookSecrets, secrets_in, variable
from planwatch import logs
from planwatch.hidden import hide_secrets
from planwatch.home import Home
from schemas.sources import HookConfig


class Watch:
    """A watch that is wound on by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def secrets(home: Path, watch: Watch, hidden: list[str] | None = None, file: str | None = "hook.secret") -> HookSecrets:
    told: list[str] = [] if hidden is None else hidden
    return HookSecrets("crm", HookConfig(secret_file=file), home, hide=told.append, environ={}, monotonic=watch)


def replace(path: Path, text: str) -> None:
    """As an operator or Kubernetes does it: a new file takes the name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("s3cret", ("s3cret",)),
        ("\ufeff  s3cret \t\r\n", ("s3cret",)),
        ("# the new one\nnew\n\n   \n# the old one\nold\n", ("new", "old")),
        ("with # inside\n", ("with # inside",)),
        ("twice\ntwice\n", ("twice",)),
        ("", ()),
        ("\n# nothing yet\n", ()),
    ],
)
def test_the_lines_of_a_secret_file(text: str, found: tuple[str, ...]) -> None:
    """One a line; white space around, blank lines and comments are none of it."""
    assert secrets_in(text) == found


def test_there_are_never_more_than_can_be_compared() -> None:
    """Each costs a hash per request."""
    assert len(secrets_in("\n".join(f"secret-{n}" for n in range(100)))) == SECRETS_MAX


def test_a_secret_is_exchanged_without_a_restart(tmp_path: Path) -> None:
    """Old, then both, then new: seen within a second, and the file is left alone in between."""
    path, watch = tmp_path / "hook.secret", Watch()
    path.write_text("old\n")
    found = secrets(tmp_path, watch)
    assert found.current() == (b"old",)
    replace(path, "old\nnew\n")
    assert found.current() == (b"old",)
    watch.now += CHECK_S
    assert found.current() == (b"old", b"new")
    replace(path, "new\n")
    watch.now += CHECK_S
    assert found.current() == (b"new",)
    assert found.problem() is None


def test_a_file_written_over_in_place_is_seen(tmp_path: Path) -> None:
    """Of the same length too: its time tells."""
    path, watch = tmp_path / "hook.secret", Watch()
    path.write_text("aaaa\n")
    os.utime(path, ns=(1, 1))
    found = secrets(tmp_path, watch)
    assert found.current() == (b"aaaa",)
    path.write_text("bbbb\n")
    watch.now += CHECK_S
    assert found.current() == (b"bbbb",)


@pytest.mark.parametrize("last", ["gone", "empty", "binary", "folder"])
def test_a_secret_that_was_taken_away_counts_no_more(tmp_path: Path, last: str) -> None:
    """Nothing is kept from before, the message names the file and what to do, and a new one is seen at once."""
    path, watch = tmp_path / "hook.secret", Watch()
    path.write_text("s3cret\n")
    found = secrets(tmp_path, watch)
    assert found.current() == (b"s3cret",)
    path.unlink()
    if last == "empty":
        path.write_text("\n")
    elif last == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    elif last == "folder":
        path.mkdir()
    watch.now += CHECK_S
    assert found.current() == ()
    problem = found.problem()
    assert problem is not None
    assert str(path) in problem
    assert "put the sender's secret there" in problem
    if last == "folder":
        path.rmdir()
    path.write_text("s3cret\n")
    watch.now += CHECK_S
    assert found.current() == (b"s3cret",)


def test_secrets_from_the_environment() -> None:
    """Several, between white space, while they are exchanged; without any the message names the variable."""
    environ = {"PLANWATCH_HUB_SPOT_EU_SECRET": " one two\n"}
    found = HookSecrets("hub-spot.eu", HookConfig(), Path(), environ=environ)
    assert found.current() == (b"one", b"two")
    missing = HookSecrets("crm", HookConfig(), Path(), environ=environ)
    assert missing.current() == ()
    assert (
        missing.problem() == "PLANWATCH_CRM_SECRET is not set; set it to the sender's secret, or name a `secret_file`"
    )
    assert variable("hubspot") == "PLANWATCH_HUBSPOT_SECRET"


def test_a_named_file_is_not_replaced_by_the_environment(tmp_path: Path) -> None:
    """A file that is missing must not bring an older secret back."""
    hook = HookConfig(secret_file="missing")
    found = HookSecrets("crm", hook, tmp_path, environ={"PLANWATCH_CRM_SECRET": "old"})
    assert found.current() == ()


def test_bytes_of_the_environment_that_are_no_text() -> None:
    """They are the secret as they are."""
    environ = {"PLANWATCH_CRM_SECRET": os.fsdecode(b"s\xffcret")}
    assert HookSecrets("crm", HookConfig(), Path(), environ=environ).current() == (b"s\xffcret",)


def test_nobody_sees_a_secret(tmp_path: Path) -> None:
    """It is in no repr, and the log is told of it before it counts, of a new one too."""
    path, watch, hidden = tmp_path / "hook.secret", Watch(), list[str]()
    path.write_text("first-secret\n")
    found = secrets(tmp_path, watch, hidden)
    found.current()
    replace(path, "second-secret\n")
    watch.now += CHECK_S
    found.current()
    assert hidden == ["first-secret", "second-secret"]
    assert "second-secret" not in repr(found)


def test_a_roles_log_masks_what_its_home_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of several secrets, from the file and from the environment."""
    monkeypatch.setattr(logs, "_MASKS", logs._Masks())
    monkeypatch.setenv("PLANWATCH_OTHER_SECRET", "env-secret-one env-secret-two")
    (tmp_path / "hook.secret").write_text("# old and new\nfile-secret-one\nfile-secret-two\n")
    (tmp_path / "planwatch.yaml").write_text(
        "sources:\n  crm: { kind: hubspot, hook: { secret_file: hook.secret } }\n  other: { kind: webhook, hook: {} }\n"
    )
    hide_secrets(Home(tmp_path))
    with caplog.at_level(logging.WARNING):
        logging.getLogger("planwatch.test").warning(
            "got %s", "file-secret-one env-secret-one file-secret-two env-secret-two"
        )
    line = logs.TextFormatter().format(caplog.records[-1])
    assert "got *** *** *** ***" in line
