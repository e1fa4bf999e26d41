"""Logs of the long-running roles: one JSON object per line, or a line for people where standard error is a terminal.

Use the standard library as everywhere, with the facts as fields:

    log.warning("message refused", extra=fields(tenant=tenant, topic=topic, offset=offset, reason=reason))
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO
from urllib.parse import quote

from planwatch.log_limits import RepeatLimit
from schemas.base import PlanwatchError

Mode = Literal["json", "text"]
MESSAGE_MAX = 4_000
VALUE_MAX = 8_000
ITEMS_MAX = 50
DEPTH_MAX = 4
FRAMES_MAX = 6
SECRETS_MAX = 1_000
#: Shorter than this is no secret, and masking it would make every line unreadable.
SECRET_MIN = 4
MASK = "***"
#: What a terminal or a log viewer could take for a command or a line's end: C0, C1, separators, direction, surrogates.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
#: What the libraries say below these levels is of use to their authors only.
LEVELS = {
    "aiokafka": logging.CRITICAL,  # while a broker is away: several lines a second, and we say it once
    "apscheduler": logging.WARNING,
    "asyncio": logging.WARNING,
    "faust": logging.WARNING,
    "faust.transport.producer": logging.ERROR,  # it says at every burst that its buffer is full
    "httpx": logging.WARNING,
    "influxdb_client": logging.WARNING,
    "kafka": logging.CRITICAL,
    "mode": logging.WARNING,
    "urllib3": logging.ERROR,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
    "uvicorn.error": logging.WARNING,
}
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "fields",
    "color_message",
}
_OURS = ("ts", "level", "logger", "message", "error", "at", "traceback")


class _Masks:
    """The registered secrets in every form in which they are written."""

    def __init__(self) -> None:
        self._texts: tuple[str, ...] = ()  # the longest first, so that no part of one remains
        self._lock = threading.Lock()

    def add(self, secret: str) -> None:
        with self._lock:
            found = {secret, quote(secret, safe=""), repr(secret)[1:-1], *self._texts}
            self._texts = tuple(sorted(found, key=len, reverse=True)[:SECRETS_MAX])

    def applied(self, text: str) -> str:
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


_MASKS = _Masks()


def fields(**facts: Any) -> dict[str, Any]:
    """The `extra` of a log call: facts under names of any kind, which the standard library would refuse in part."""
    return {"fields": facts}


def hide(secret: str | None) -> None:
    """From now on this text is masked in every line, also percent-encoded or escaped."""
    if secret and len(secret) >= SECRET_MIN:
        _MASKS.add(secret)


def masked(text: str) -> str:
    """A text without the registered secrets."""
    return _MASKS.applied(text)


def setup(mode: Mode | None = None, level: str | None = None, stream: TextIO | None = None) -> logging.Handler:
    """Send every logger's lines through one handler, ours; also what no `except` caught and Python's warnings.

    `mode`: else PLANWATCH_LOG, else text on a terminal and JSON elsewhere. `level`: else PLANWATCH_LOG_LEVEL, else INFO.
    `stream`: else standard error. May be called again; raises PlanwatchError for a mode or level that is none.
    """
    out = stream or sys.stderr
    chosen = _mode(mode or os.environ.get("PLANWATCH_LOG"), out)
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if chosen == "json" else TextFormatter())
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_level(level or os.environ.get("PLANWATCH_LOG_LEVEL") or "INFO"))
    logging.raiseExceptions = False  # a line that cannot be written must not end a worker
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    adopt()
    return handler


def adopt(names: Iterable[str] = ()) -> None:
    """Take the libraries' own handlers away, so that their lines go through ours: again after one has set its own up."""
    known = [*LEVELS, *names]
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in known or name in known:
            _adopt(name)
    for name, level in LEVELS.items():
        _adopt(name).setLevel(level)


def _adopt(name: str) -> logging.Logger:
    logger = logging.getLogger(name)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = True
    return logger


def _mode(asked: str | None, out: TextIO) -> Mode:
    if not asked:
        return "text" if out.isatty() else "json"
    if asked not in ("json", "text"):
        raise PlanwatchError(f"PLANWATCH_LOG: «{asked}» is neither json nor text.")
    return "json" if asked == "json" else "text"


def _level(name: str) -> int:
    number = logging.getLevelNamesMapping().get(name.upper())
    if number is None:
        raise PlanwatchError(f"PLANWATCH_LOG_LEVEL: «{name}» is none of DEBUG, INFO, WARNING, ERROR, CRITICAL.")
    return number


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("planwatch").critical("uncaught error", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "?"
        info = (args.exc_type, args.exc_value, args.exc_traceback)
        logging.getLogger("planwatch").critical("uncaught error in a thread", exc_info=info, extra=fields(thread=name))


class _Formatter(logging.Formatter):
    """What both forms share: the parts of a record, bounded and without secrets. Never raises."""

    def parts(self, record: logging.LogRecord) -> dict[str, Any]:
        """Time, level, logger, message, then the fields, then the error."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        found: dict[str, Any] = {
            "ts": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(_message(record), MESSAGE_MAX),
        }
        given = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        own = record.__dict__.get("fields")
        given.update(own if isinstance(own, dict) else {})
        for name, value in list(given.items())[:ITEMS_MAX]:
            found[f"field_{name}" if name in _OURS else _text(str(name), 100)] = plain(value)
        if record.exc_info and record.exc_info[1] is not None:
            found |= self.error(record.exc_info[1])
        return found

    def error(self, error: BaseException) -> dict[str, Any]:
        """What went wrong and where, on one line."""
        return {"error": _text(described(error), MESSAGE_MAX), "at": _text(where(error), MESSAGE_MAX)}


class JsonFormatter(_Formatter):
    """One JSON object per line, in UTF-8; the traceback is one string."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        text = json.dumps(self.parts(record), ensure_ascii=False, allow_nan=False)
        return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)

    def error(self, error: BaseException) -> dict[str, Any]:
        """With the traceback: its end where it is long, since that is where the error is."""
        text = masked("".join(traceback.format_exception(error)))
        return {**super().error(error), "traceback": text[-VALUE_MAX:]}


class TextFormatter(_Formatter):
    """A line for people: local time, level, message, then name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        parts = self.parts(record)
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        shown = [f"{name}={_shown(value)}" for name, value in parts.items() if name not in ("ts", "level", "message")]
        return UNSAFE.sub(_escaped, f"{at} {level}{parts['message']}  {' '.join(shown)}")


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it, bounded in length and depth, without secrets."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict) and depth < DEPTH_MAX:
        return {_text(str(k), 100): plain(v, depth + 1) for k, v in list(value.items())[:ITEMS_MAX]}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < DEPTH_MAX:
        return [plain(v, depth + 1) for v in list(value)[:ITEMS_MAX]]
    if isinstance(value, BaseException):
        return _text(described(value), VALUE_MAX)
    try:
        return _text(str(value), VALUE_MAX)
    except Exception as error:
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"


def described(error: BaseException) -> str:
    """An error in words: what people may read as it is, anything else with its type; and what it came from."""
    found: list[str] = []
    at: BaseException | None = error
    while at is not None and len(found) < 4:
        text = " ".join(str(at).split()) or "no message"
        found.append(text if isinstance(at, PlanwatchError) else f"{type(at).__name__}: {text}")
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return " ← ".join(found)


def where(error: BaseException) -> str:
    """The innermost frames of an error, the innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit their text: better both as they are than no line
        return f"{record.msg!r} {record.args!r}"


def _text(text: str, longest: int) -> str:
    text = masked(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and re.search(r"[\s\"=]|^$", text) else text


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {10: "\\n", 13: "\\r", 9: "\\t"}.get(code, f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
