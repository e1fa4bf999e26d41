"""Which secrets a home has: registered with the log at the start of a role, so that no line ever shows one.

By a rule, so that no new setting can be forgotten: whatever a setting named `..._file` points to is secret, but for
certificates, which are public; and so is every variable of ours with a word for a secret in its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel

from planwatch.home import STACK_SETTINGS, Home
from planwatch.logs import hide
from schemas.base import PlanwatchError

#: Variables of ours that hold a secret themselves.
VARIABLE_PARTS = ("TOKEN", "PASSWORD", "SECRET")
PUBLIC_FILES = ("ca_file", "cert_file")
INFLUX_ROLES = ("admin", "worker", "board", "grafana")
FILE_BYTES_MAX = 64 * 1024
#: A word that is shorter may be one of a pass phrase, and of every other line.
WORD_CHARS_MIN = 8
#: A path of a webhook's address that is so long holds the sender's secret, as those of chat services do.
PATH_CHARS_MIN = 16


def hide_secrets(home: Home) -> None:
    """Mask the secrets of a home and of its tenants in everything that is logged from now on."""
    for name, value in os.environ.items():
        if name.startswith("PLANWATCH_") and any(part in name for part in VARIABLE_PARTS) and "FILE" not in name:
            _hide_text(value)
    for one in _homes(home):
        for path in secret_files(one):
            with suppress(OSError, UnicodeDecodeError), path.open("rb") as file:
                _hide_text(file.read(FILE_BYTES_MAX).decode("utf-8"))
        for url in _settings(one.config, "url"):
            parts = urlsplit(url)
            hide(parts.password)
            hide(parts.path if len(parts.path) >= PATH_CHARS_MIN else None)


def secret_files(home: Home) -> list[Path]:
    """The files with secrets that the configuration of a home names, whether they are there or not."""
    found: list[Path] = []
    for name, section in home.config:
        base = home.stack_path if name in STACK_SETTINGS else home.path
        found += [base / file for file in _settings(section, "_file")]
    if home.config.influx is not None:
        folder = home.stack_path / home.config.influx.secrets
        found += [folder / f"influx-{role}.token" for role in INFLUX_ROLES]
    return found


def _settings(part: object, ending: str) -> Iterator[str]:
    """The texts of all settings whose names end so, but for public ones, however deep."""
    if isinstance(part, BaseModel):
        for name, value in part:
            if isinstance(value, str) and name.endswith(ending) and name not in PUBLIC_FILES:
                yield value
            yield from _settings(value, ending)
    elif isinstance(part, dict):
        for value in part.values():
            yield from _settings(value, ending)
    elif isinstance(part, tuple):
        for value in part:
            yield from _settings(value, ending)


def _hide_text(text: str) -> None:
    """A text and each of its words: files and variables may hold several secrets, and a key has many lines."""
    hide(text.strip())
    for line in text.splitlines():
        # Neither comments nor the lines around a key are secret.
        if not line.startswith(("#", "-----")):
            hide(line.strip())
            for word in line.split():
                hide(word if len(word) >= WORD_CHARS_MIN else None)


def _homes(home: Home) -> list[Home]:
    try:
        return [home, *home.tenants().values()]
    except (PlanwatchError, OSError):  # whoever reads the tenants next says what is wrong with them
        return [home]
