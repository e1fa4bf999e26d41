"""The board's tokens: secrets that open it, each with what it lets one see. Files are read again when they change."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from boards.access import COMPANY, Access
from storage.text_file import TextFile, Unreadable

log = logging.getLogger(__name__)

TOKEN_BYTES_MAX = 4096

#: Gives a token's secret as it is now; empty: nobody has it (any more).
Secret = Callable[[], str]


class SecretFile:
    """A secret in a file: read again when the file changes. One that is gone, empty or unreadable is no secret."""

    def __init__(self, path: Path) -> None:
        self._file = TextFile(path, TOKEN_BYTES_MAX)
        self._lock = threading.Lock()
        self._problem = ""

    def __call__(self) -> str:
        """The secret as the file has it now; empty where there is none."""
        with self._lock:
            try:
                secret = self._file.read().strip()
                problem = "" if secret else "is empty"
            except Unreadable as error:
                secret, problem = "", str(error)
            self._say(problem)
            return secret

    def _say(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("board token: %s %s: nobody gets in by it", self._file.path, problem)
        self._problem = problem


@dataclass(frozen=True)
class Token:
    """A way in: its name for people, what it shows, and its secret."""

    name: str
    access: Access
    secret: Secret


@dataclass(frozen=True)
class Grant:
    """What a secret opened: it holds as long as the token has the same secret."""

    token: Token
    digest: bytes

    @property
    def access(self) -> Access:
        """What may be seen."""
        return self.token.access

    def holds(self) -> bool:
        """Whether the token still has the secret that was brought."""
        secret = self.token.secret()
        return bool(secret) and hmac.compare_digest(_digest(secret), self.digest)


class Tokens:
    """All tokens of a board."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._tokens = tuple(tokens)

    @classmethod
    def single(cls, secret: str, access: Access = COMPANY) -> Tokens:
        """One token that does not change."""
        return cls([Token("board", access, lambda: secret)])

    def grant(self, offered: str) -> Grant | None:
        """What a secret opens; none where it is no token's, or that of two with unlike scopes.

        Every token is compared, in constant time, whether or not one was found.
        """
        digest = _digest(offered)
        found: list[Token] = []
        for token in self._tokens:
            secret = token.secret()
            same = hmac.compare_digest(_digest(secret), digest)
            if same and secret:
                found.append(token)
        if len({token.access for token in found}) > 1:
            names = ", ".join(token.name for token in found)
            log.warning("board tokens %s have the same secret but not the same scope: nobody gets in by it", names)
            return None
        return Grant(found[0], digest) if found else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
