"""Logs: one line each, machine-readable, bounded, without secrets and without what could forge a line."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from planwatch import log_limits, logs
from planwatch.hidden import hide_secrets
from planwatch.home import Home
from planwatch.log_limits import RepeatLimit
from planwatch.logs import fields, hide
from schemas.base import PlanwatchError


class Terminal(io.StringIO):
    """A stream that says that people look at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives the process its logging back, and a list of secrets of our own."""
    root = logging.getLogger()
    handlers, level, raises = list(root.handlers), root.level, logging.raiseExceptions
    hooks = sys.excepthook, threading.excepthook
    monkeypatch.delenv("PLANWATCH_LOG", raising=False)
    monkeypatch.delenv("PLANWATCH_LOG_LEVEL", raising=False)
    monkeypatch.setattr(logs, "_MASKS", logs._Masks())
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    logs.setup("json", "DEBUG", stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


log = logging.getLogger("planwatch.some.role")


class TestJson:
    """One object per line."""

    def test_a_line_has_the_facts(self, out: io.StringIO) -> None:
        """Time in RFC 3339 with zone, level, logger, message, and every field as it was given."""
        log.warning("message %s refused", 7, extra=fields(tenant="demo", offset=12, reason="no header", names=["a"]))
        (line,) = lines(out)
        moment = datetime.fromisoformat(str(line.pop("ts")))
        assert moment.utcoffset() is not None
        assert line == {
            "level": "warning",
            "logger": "planwatch.some.role",
            "message": "message 7 refused",
            "tenant": "demo",
            "offset": 12,
            "reason": "no header",
            "names": ["a"],
        }

    def test_plain_extra_works_too(self, out: io.StringIO) -> None:
        """Libraries and callers that pass `extra` themselves lose nothing."""
        log.info("x", extra={"partition": 3})
        assert lines(out)[0]["partition"] == 3

    def test_fields_cannot_take_the_place_of_ours(self, out: io.StringIO) -> None:
        """Fields named like a part of the line, or like an attribute of the library's record, stand beside it."""
        log.info("real", extra=fields(message="false", level="false", name="n", args=[1]))
        (line,) = lines(out)
        assert (line["message"], line["level"]) == ("real", "info")
        assert (line["field_message"], line["field_level"], line["name"], line["args"]) == ("false", "false", "n", [1])

    def test_hostile_text_stays_on_its_line(self, out: io.StringIO) -> None:
        """Line ends, escapes, separators, direction marks and half surrogates are escaped and read back the same."""
        bad = 'a\nb\r\x1b[2J\x85\u2028\u202e\ud800"\\'
        log.info("say %s", bad, extra=fields(scope=bad))
        text = out.getvalue()
        assert len(text.splitlines()) == 1
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text[:-1])
        assert lines(out)[0]["scope"] == bad
        assert lines(out)[0]["message"] == f"say {bad}"

    def test_an_error_is_one_line(self, out: io.StringIO) -> None:
        """What went wrong, what it came from, where it happened, and the whole traceback as one string."""
        try:
            try:
                int("x")
            except ValueError as error:
                raise PlanwatchError("plan.yaml: not\na number") from error
        except PlanwatchError:
            log.exception("cannot read")
        (line,) = lines(out)
        assert str(line["error"]).startswith("plan.yaml: not a number ← ValueError: invalid literal")
        assert str(line["at"]).startswith("test_logs.py:")
        assert "Traceback" in str(line["traceback"])

    def test_values_that_json_lacks(self, out: io.StringIO) -> None:
        """NaN, infinity, sets, bytes, errors and objects whose text fails: every line is JSON all the same."""

        class Bad:
            def __str__(self) -> str:
                raise RuntimeError("no")

        log.info("x", extra=fields(a=float("nan"), b=float("-inf"), c={1}, d=b"\xff", e=OSError("gone"), f=Bad()))
        (line,) = lines(out)
        assert (line["a"], line["b"], line["c"], line["e"]) == ("nan", "-inf", [1], "OSError: gone")
        assert "RuntimeError" in str(line["f"])

    def test_a_wrong_number_of_arguments_still_makes_a_line(self, out: io.StringIO) -> None:
        """A mistake in a log call shows what was meant and ends nothing."""
        log.info("%s and %s", "one")  # noqa: PLE1206 (on purpose)
        assert "'one'" in str(lines(out)[0]["message"])

    def test_lines_are_bounded(self, out: io.StringIO) -> None:
        """Megabytes in a message, a field, a nest or a recursion make a line of limited length."""
        deep: list[object] = []
        deep.append(deep)
        log.info("m" * 10**6, extra=fields(big="b" * 10**6, many={str(i): "v" * 200 for i in range(9999)}, deep=deep))
        (line,) = lines(out)
        assert len(out.getvalue()) < 100_000
        assert str(line["message"]).endswith("m…")


class TestSecrets:
    """Secrets never appear."""

    def test_masked_everywhere(self, out: io.StringIO) -> None:
        """In message, field, nested field, field's name, error and traceback."""
        hide("s3cr3t-token==")
        try:
            raise OSError("401 for Token s3cr3t-token==")
        except OSError:
            log.exception("with %s", "s3cr3t-token==", extra=fields(a=["s3cr3t-token=="], b={"s3cr3t-token==": 1}))
        assert "s3cr3t" not in out.getvalue()
        assert "Token ***" in out.getvalue()

    def test_masked_in_other_forms(self, out: io.StringIO) -> None:
        """As part of an address, where it is percent-encoded, and as Python writes it."""
        hide("a'b\\c=&d")
        log.info("http://u:a%%27b%%5Cc%%3D%%26d@host/ %r", "a'b\\c=&d")
        assert "a%27b" not in out.getvalue()
        assert "c=&d" not in out.getvalue()

    def test_one_secret_within_another(self, out: io.StringIO) -> None:
        """No rest of the longer one remains."""
        hide("abcdef")
        hide("abcdefghij")
        log.info("abcdefghij abcdef")
        assert lines(out)[0]["message"] == "*** ***"

    def test_the_secrets_of_a_home(self, out: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What its files, those of its tenants, and our variables hold is masked; files that are not there matter not."""
        (tmp_path / "tenants" / "a").mkdir(parents=True)
        (tmp_path / "planwatch.yaml").write_text(
            "influx: {}\ngrafana: {token_file: grafana.token}\nboard: {token_file: board.token}\ntenants: [tenants/a]\n"
        )
        (tmp_path / "tenants" / "a" / "planwatch.yaml").write_text(
            "receivers: [{name: mail, kind: email, smtp_password_file: smtp}]\n"
        )
        (tmp_path / "secrets").mkdir()
        secrets = {
            "secrets/influx-worker.token": "influx-secret",
            "grafana.token": "grafana-secret",
            "board.token": "board-secret",
            "tenants/a/smtp": "smtp-secret",
        }
        for name, secret in secrets.items():
            (tmp_path / name).write_text(secret + "\n")
        monkeypatch.setenv("PLANWATCH_OPS_TOKEN", "ops-secret")
        hide_secrets(Home(tmp_path))
        log.info("%s", [*secrets.values(), "ops-secret"])
        assert lines(out)[0]["message"] == "['***', '***', '***', '***', '***']"

    def test_nothing_is_no_secret(self, out: io.StringIO) -> None:
        """An empty or tiny secret would mask every word."""
        hide("")
        hide(None)
        hide("ab")
        log.info("abc")
        assert lines(out)[0]["message"] == "abc"


class TestText:
    """For people at a terminal."""

    def test_the_form_follows_the_stream_and_the_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Text on a terminal, JSON elsewhere, and what PLANWATCH_LOG says before both."""
        found = {}
        for setting, stream in (("", Terminal()), ("", io.StringIO()), ("json", Terminal()), ("text", io.StringIO())):
            monkeypatch.setenv("PLANWATCH_LOG", setting)
            logs.setup(stream=stream)
            log.info("x")
            found[setting, type(stream)] = stream.getvalue().startswith("{")
        assert found == {
            ("", Terminal): False,
            ("", io.StringIO): True,
            ("json", Terminal): True,
            ("text", io.StringIO): False,
        }

    def test_a_line_for_people(self) -> None:
        """Message and facts on one line, escaped where they could break it."""
        stream = io.StringIO()
        logs.setup("text", "INFO", stream)
        log.error("refused\nFAKE", extra=fields(tenant="a b", offset=3, reason="x\x1b[2J"))
        line = stream.getvalue()
        assert line.count("\n") == 1
        assert r"ERROR refused\nFAKE" in line
        assert 'tenant="a b" offset=3' in line
        assert "\x1b" not in line

    def test_wrong_settings_are_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message names the variable."""
        monkeypatch.setenv("PLANWATCH_LOG", "xml")
        with pytest.raises(PlanwatchError, match="PLANWATCH_LOG: «xml»"):
            logs.setup(stream=io.StringIO())
        monkeypatch.setenv("PLANWATCH_LOG", "text")
        monkeypatch.setenv("PLANWATCH_LOG_LEVEL", "loud")
        with pytest.raises(PlanwatchError, match="PLANWATCH_LOG_LEVEL: «loud»"):
            logs.setup(stream=io.StringIO())


class TestLibraries:
    """Others' loggers go the same way."""

    def test_a_library_with_a_handler_of_its_own(self, out: io.StringIO) -> None:
        """Taken over again after it has configured itself: one line, ours."""
        own = io.StringIO()
        library = logging.getLogger("uvicorn")
        library.addHandler(logging.StreamHandler(own))
        library.propagate = False
        logs.adopt()
        logging.getLogger("uvicorn.error").error("port taken")
        assert own.getvalue() == ""
        assert [line["message"] for line in lines(out)] == ["port taken"]

    def test_their_chatter_is_left_out(self, out: io.StringIO) -> None:
        """Warnings pass, what is below does not; Kafka's clients are silent, for our roles say what they meet."""
        for name in ("aiokafka.consumer", "kafka.client", "faust.app", "uvicorn.error", "apscheduler.scheduler"):
            logging.getLogger(name).info("chatter")
            logging.getLogger(name).warning("warning")
        assert [line["logger"] for line in lines(out)] == ["faust.app", "uvicorn.error", "apscheduler.scheduler"]

    def test_uncaught_errors_are_logged(self, out: io.StringIO) -> None:
        """What ends a thread, or the process, is a line like any other."""

        def fail() -> None:
            raise KeyError("lost")

        thread = threading.Thread(target=fail, name="folder")
        thread.start()
        thread.join(10)
        try:
            raise OSError("gone")
        except OSError as error:
            sys.excepthook(OSError, error, error.__traceback__)
        first, second = lines(out)
        assert (first["level"], first["thread"], first["error"]) == ("critical", "folder", "KeyError: 'lost'")
        assert (second["level"], second["error"]) == ("critical", "OSError: gone")

    def test_a_full_disk_ends_nothing(self) -> None:
        """A stream that cannot be written to is no reason to stop working."""

        class Full(io.StringIO):
            def write(self, text: str) -> int:
                raise OSError("no space")

        logs.setup("json", "INFO", Full())
        log.info("x")
        assert not logging.raiseExceptions


class TestRepeats:
    """Repeated warnings."""

    @staticmethod
    def record(text: str = "write failed", level: int = logging.WARNING, **facts: object) -> logging.LogRecord:
        record = logging.LogRecord("planwatch.x", level, __file__, 1, text, (), None)
        record.fields = facts
        return record

    def test_the_same_again_and_again_is_limited(self) -> None:
        """A few pass in each window, and the first of the next window tells how many did not."""
        now = [0.0]
        limit = RepeatLimit(burst=3, window_s=60, clock=lambda: now[0])
        passed = [limit.filter(self.record(reason="refused", offset=i)) for i in range(10)]
        assert passed == [True] * 3 + [False] * 7
        now[0] = 60
        later = self.record(reason="refused", offset=11)
        assert limit.filter(later)
        assert later.__dict__["repeated"] == 7

    def test_what_differs_is_not_held_back(self) -> None:
        """Another reason, tenant, text or level is another warning; information and the critical always pass."""
        limit = RepeatLimit(burst=1, window_s=60, clock=lambda: 0.0)
        assert limit.filter(self.record(reason="a"))
        assert not limit.filter(self.record(reason="a"))
        assert limit.filter(self.record(reason="b"))
        assert limit.filter(self.record(reason="a", tenant="t"))
        assert limit.filter(self.record("other", reason="a"))
        assert limit.filter(self.record(level=logging.ERROR, reason="a"))
        assert all(limit.filter(self.record(level=level)) for level in [logging.INFO, logging.CRITICAL] * 9)

    def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The oldest of very many different warnings is forgotten: it passes again."""
        monkeypatch.setattr(log_limits, "KEYS_MAX", 10)
        limit = RepeatLimit(burst=1, window_s=60, clock=lambda: 0.0)
        assert limit.filter(self.record(reason="first"))
        assert not limit.filter(self.record(reason="first"))
        for i in range(10):
            limit.filter(self.record(reason=str(i)))
        assert limit.filter(self.record(reason="first"))

    def test_in_place(self, out: io.StringIO) -> None:
        """The handler limits: a hundred equal warnings are a few lines."""
        for i in range(100):
            log.warning("broker away", extra=fields(reason="refused", attempt=i))
        assert len(lines(out)) == log_limits.BURST
