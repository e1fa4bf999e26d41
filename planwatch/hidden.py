"""Which secrets a home has: registered with the log at the start of a role, so that no line ever shows one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from planwatch.home import Home
from planwatch.logs import hide
from schemas.base import PlanwatchError

#: Variables of ours that hold a secret themselves.
VARIABLE_PARTS = ("TOKEN", "PASSWORD", "SECRET")
INFLUX_ROLES = ("admin", "worker", "board", "grafana")


def hide_secrets(home: Home) -> None:
    """Mask the secrets of a home and of its tenants in everything that is logged from now on."""
    for name, value in os.environ.items():
        if name.startswith("PLANWATCH_") and any(part in name for part in VARIABLE_PARTS) and "FILE" not in name:
            hide(value.strip())
    for one in _homes(home):
        for path in secret_files(one):
            with suppress(OSError, UnicodeDecodeError):
                hide(path.read_text(encoding="utf-8").strip())


def secret_files(home: Home) -> list[Path]:
    """The files with secrets that the configuration of a home names, whether they are there or not."""
    config, found = home.config, []
    if config.influx is not None:
        folder = home.stack_path / config.influx.secrets
        found += [folder / f"influx-{role}.token" for role in INFLUX_ROLES]
    if config.grafana is not None:
        named = (config.grafana.token_file, config.grafana.password_file)
        found += [home.stack_path / name for name in named if name is not None]
    named_here = (config.board.token_file, *(receiver.smtp_password_file for receiver in config.receivers))
    return found + [home.path / name for name in named_here if name is not None]


def _homes(home: Home) -> list[Home]:
    try:
        return [home, *home.tenants().values()]
    except (PlanwatchError, OSError):  # whoever reads the tenants next says what is wrong with them
        return [home]
