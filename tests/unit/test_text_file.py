"""A file that is exchanged while we run: what it says now is what is read, and its bytes are in no message."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.text_file import TextFile, Unreadable


def overwrite(path: Path) -> None:
    """In place, with a text of the same length and the same time of change."""
    path.write_text("new")
    os.utime(path, ns=(1, 1))


def exchange(path: Path) -> None:
    """As an editor or Kubernetes does it: another file takes the name."""
    path.with_name("other").write_text("new")
    path.with_name("other").replace(path)


@pytest.mark.parametrize("change", [overwrite, exchange])
def test_a_change_is_seen(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """However the new text got there."""
    path = tmp_path / "secret"
    path.write_text("old")
    os.utime(path, ns=(1, 1))
    file = TextFile(path, 100)
    assert file.read() == "old"
    change(path)
    assert file.read() == "new"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "cannot be read (No such file or directory)"),
        (lambda path: path.write_bytes(b"s3cret \xff"), "is not UTF-8 text"),
        (lambda path: path.write_text("s3cret" * 20), "has more than 100 bytes"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read (Is a directory)"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, spoil: Callable[[Path], object], why: str) -> None:
    """Each time it is asked for, nothing of before is given, and nothing of the file shown."""
    path = tmp_path / "secret"
    path.write_text("s3cret")
    file = TextFile(path, 100)
    assert file.read() == "s3cret"
    spoil(path)
    for _ in range(2):
        with pytest.raises(Unreadable) as caught:
            file.read()
        assert str(caught.value) == why


def test_it_is_read_again_after_a_failure(tmp_path: Path) -> None:
    """The same file coming back is no reason to go without it."""
    path, away = tmp_path / "secret", tmp_path / "away"
    path.write_text("s3cret")
    file = TextFile(path, 100)
    assert file.read() == "s3cret"
    path.rename(away)
    with pytest.raises(Unreadable):
        file.read()
    away.rename(path)
    assert file.read() == "s3cret"
