"""The board's tokens as a home has them: the single one for the whole company, and those with a scope."""

from __future__ import annotations

import os

from boards.access import COMPANY, Access
from boards.tokens import SecretFile, Token, Tokens
from planwatch.home import Home
from schemas.base import PlanwatchError

VARIABLE = "PLANWATCH_BOARD_TOKEN"


def board_tokens(home: Home) -> Tokens | None:
    """All tokens; none where none is configured, which leaves the board to this machine.

    A file that is missing or empty is a token that is revoked, and no reason to open the board. Raises PlanwatchError
    for a scope that is none and for a name that is used twice.
    """
    board = home.config.board
    found: list[Token] = []
    if secret := os.environ.get(VARIABLE, "").strip():
        found.append(Token(VARIABLE, COMPANY, lambda: secret))
    if board.token_file:
        found.append(Token("board.token_file", COMPANY, SecretFile(home.path / board.token_file)))
    names: set[str] = set()
    for token in board.tokens:
        if token.name in names:
            raise PlanwatchError(
                f"board.tokens: the name «{token.name}» is used twice; give each one a name of its own."
            )
        names.add(token.name)
        try:
            access = Access.parse(token.scope)
        except PlanwatchError as error:
            raise PlanwatchError(f"board.tokens: «{token.name}»: scope: {error}") from None
        found.append(Token(token.name, access, SecretFile(home.path / token.token_file)))
    for known in found:
        known.secret()  # what cannot be read is said at the start, and not when somebody stands at the door
    return Tokens(found) if found else None
