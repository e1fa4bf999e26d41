"""The secrets of a source that is called: from a file, read again when it changes, or from the environment."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.sources import HookConfig
from storage.text_file import TextFile, Unreadable

#: As many as are exchanged at once, with room: each costs a hash per request.
SECRETS_MAX = 16
FILE_BYTES_MAX = 64 * 1024
#: How often the file is looked at, at most.
CHECK_S = 1.0


def variable(source: str) -> str:
    """The environment variable with the secrets of a source: PLANWATCH_<SOURCE>_SECRET."""
    return f"PLANWATCH_{re.sub('[^A-Z0-9]', '_', source.upper())}_SECRET"


def secrets_in(text: str) -> tuple[str, ...]:
    """The secrets of a file's text: one a line, without blank lines, comments (#) and the white space around."""
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    return tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))[:SECRETS_MAX]


class HookSecrets:
    """What counts as the secret of a source at this moment. May be asked by several threads."""

    def __init__(
        self,
        source: str,
        hook: HookConfig,
        home: Path,
        *,
        hide: Callable[[str], None] = lambda _secret: None,
        environ: Mapping[str, str] = os.environ,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hide` is told each secret as soon as it is known, so that no log shows it; `monotonic` counts seconds."""
        self._file = None if hook.secret_file is None else TextFile(home / hook.secret_file, FILE_BYTES_MAX)
        self._variable = variable(source)
        self._hide = hide
        self._environ = environ
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._secrets: tuple[bytes, ...] = ()
        self._problem: str | None = None

    def __repr__(self) -> str:
        return f"HookSecrets({self._file.path if self._file else self._variable}, {len(self._secrets)} known)"

    def current(self) -> tuple[bytes, ...]:
        """The secrets, any of which counts; none when there is none. The file is looked at once a second at most."""
        with self._lock:
            now = self._monotonic()
            if self._looked_at is None or now - self._looked_at >= CHECK_S:
                self._looked_at = now
                self._refresh()
            return self._secrets

    def problem(self) -> str | None:
        """Why there is no secret and what to do about it; none while there is one. Shows no secret."""
        self.current()
        return self._problem

    def _refresh(self) -> None:
        if self._file is None:
            found = tuple(dict.fromkeys(self._environ.get(self._variable, "").split()))[:SECRETS_MAX]
            self._keep(found, f"{self._variable} is not set; set it to the sender's secret, or name a `secret_file`")
            return
        try:
            found, why = secrets_in(self._file.read()), "holds no secret"
        except Unreadable as error:
            found, why = (), str(error)
        self._keep(found, f"{self._file.path} {why}; put the sender's secret there, one a line")

    def _keep(self, found: tuple[str, ...], problem: str) -> None:
        # An environment may hold bytes that are no text.
        secrets = {secret.encode("utf-8", "surrogateescape"): secret for secret in found}
        for encoded, secret in secrets.items():
            if encoded not in self._secrets:
                self._hide(secret)
        self._secrets = tuple(secrets)
        self._problem = None if found else problem
