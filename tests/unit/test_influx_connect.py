"""Tokens of InfluxDB: where they come from, and that no message shows one."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.stack import InfluxConfig
from storage.influx_check import check
from storage.influx_connect import connect, token_of
from storage.influx_reader import InfluxReader
from storage.influx_series import InfluxSeries
from tests.unit.influx_samples import Make, make, stub, value
from tests.unit.influx_stub import Answer, InfluxStub

__all__ = ["make", "stub"]

#: Nobody listens on this port.
NOWHERE = InfluxConfig(url="http://127.0.0.1:9", timeout_s=2)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLANWATCH_INFLUX_TOKEN", "PLANWATCH_INFLUX_WORKER_TOKEN", "PLANWATCH_INFLUX_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def keep(home: Path, role: str, token: str) -> None:
    (home / "secrets").mkdir(exist_ok=True)
    (home / "secrets" / f"influx-{role}.token").write_text(token)


class TestTokens:
    """Where a token comes from."""

    def test_the_nearest_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The role's own variable before the common one before the file; an empty variable is none."""
        keep(tmp_path, "worker", " from-file \n")
        assert token_of(NOWHERE, "worker", tmp_path) == "from-file"
        monkeypatch.setenv("PLANWATCH_INFLUX_TOKEN", "common")
        assert token_of(NOWHERE, "worker", tmp_path) == "common"
        assert token_of(NOWHERE, "board", tmp_path) == "common"
        monkeypatch.setenv("PLANWATCH_INFLUX_WORKER_TOKEN", "own")
        assert token_of(NOWHERE, "worker", tmp_path) == "own"
        monkeypatch.setenv("PLANWATCH_INFLUX_WORKER_TOKEN", "")
        monkeypatch.setenv("PLANWATCH_INFLUX_TOKEN", " ")
        assert token_of(NOWHERE, "worker", tmp_path) == "from-file"

    def test_there_is_none(self, tmp_path: Path) -> None:
        """The message names the file and says how to come by one."""
        with pytest.raises(PlanwatchError, match=r"secrets/influx-worker\.token: no token. `planwatch influx apply`"):
            token_of(NOWHERE, "worker", tmp_path)
        with pytest.raises(
            PlanwatchError, match=r"secrets/influx-admin\.token: no token. .*PLANWATCH_INFLUX_ADMIN_TOKEN"
        ):
            token_of(NOWHERE, "admin", tmp_path)

    @pytest.mark.parametrize("token", ["SECRET\nSECRET", "SECRET two", "SECRET\u00e9", "SECRET\x7f"])
    def test_what_cannot_be_a_token(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
        """It is refused before HTTP would refuse it with the token in the message."""
        keep(tmp_path, "worker", token)
        with pytest.raises(PlanwatchError, match=r"influx-worker\.token: this is no token") as caught:
            token_of(NOWHERE, "worker", tmp_path)
        assert "SECRET" not in str(caught.value)
        monkeypatch.setenv("PLANWATCH_INFLUX_TOKEN", token)
        with pytest.raises(PlanwatchError, match="PLANWATCH_INFLUX_TOKEN: this is no token") as caught:
            token_of(NOWHERE, "worker", tmp_path)
        assert "SECRET" not in str(caught.value)

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        """The message says why, and a token of the environment makes the file unimportant."""
        (tmp_path / "secrets" / "influx-worker.token").mkdir(parents=True)
        with pytest.raises(PlanwatchError, match="the token cannot be read"):
            token_of(NOWHERE, "worker", tmp_path)

    def test_settings_that_do_not_do(self, tmp_path: Path) -> None:
        """No InfluxDB, and one bucket for both grains."""
        with pytest.raises(PlanwatchError, match="there is no `influx`"):
            connect(Config(), "worker", tmp_path)
        with pytest.raises(PlanwatchError, match="are the same"):
            connect(Config(influx=InfluxConfig(bucket="b", live_bucket="b")), "worker", tmp_path)


class TestOutOfReach:
    """What is said when nobody answers."""

    def test_doctor(self, tmp_path: Path) -> None:
        """One finding, which names the address and what to do."""
        (finding,) = check(Config(influx=NOWHERE), "worker", tmp_path)
        assert not finding.ok
        assert "http://127.0.0.1:9 does not answer" in finding.detail
        assert "influx.url" in finding.detail

    @pytest.mark.parametrize("version", ["1.8.10", "v3.0.1", "of unknown version"])
    def test_another_version(self, stub: InfluxStub, tmp_path: Path, version: str) -> None:
        """Versions 1 and 3 are other products; the finding names the one that is needed."""
        stub.version = version
        (finding,) = check(Config(influx=InfluxConfig(url=stub.url)), "worker", tmp_path)
        assert not finding.ok
        assert version.removeprefix("v") in finding.detail
        assert "influxdb:2.7" in finding.detail

    def test_a_server_that_is_not_well(self, stub: InfluxStub, tmp_path: Path) -> None:
        """What it says of itself is passed on; where it is well, the next finding is about the token."""
        config = Config(influx=InfluxConfig(url=stub.url))
        stub.health = "fail"
        findings = check(config, "worker", tmp_path)
        assert [finding.ok for finding in findings] == [True, False]
        assert "the engine: fail" in findings[1].detail
        stub.health = "pass"
        findings = check(config, "worker", tmp_path)
        assert [finding.ok for finding in findings] == [True, True, False]
        assert "no token" in findings[2].detail

    def test_reading(self, tmp_path: Path) -> None:
        """An error that a person can use."""
        keep(tmp_path, "board", "t")
        config = Config(influx=NOWHERE)
        reader = InfluxReader(NOWHERE, lambda: connect(config, "board", tmp_path))
        with pytest.raises(PlanwatchError, match=r"does not answer a query: .*`planwatch doctor`"):
            InfluxSeries(NOWHERE, "t", reader=reader).read("day", "revenue", "company", "", "2017", "value")

    def test_clearing_and_reading_while_points_wait(self, make: Make, stub: InfluxStub) -> None:
        """Neither is done behind the back of points that are not written yet."""
        stub.answer(*[Answer(503, "full")] * 100)
        settings = NOWHERE.model_copy(update={"timeout_s": 0.2})
        writer = make(timeout_s=0.2)
        series = InfluxSeries(settings, "t", writer=writer, reader=InfluxReader(settings, lambda: None))  # type: ignore[arg-type, return-value]
        series.write("day", [value("a", 1.0)])
        with pytest.raises(PlanwatchError, match=r"nothing is deleted, because points still wait: .*503: full"):
            series.clear()
        with pytest.raises(PlanwatchError, match=r"not all points that are to be read are written: .*503: full"):
            series.read("day", "revenue", "rep", "a", "2017-Q2", "value")

    def test_a_process_without_the_token(self) -> None:
        """Who has no writer cannot write, who has no reader cannot read."""
        series = InfluxSeries(NOWHERE, "t")
        for call in (lambda: series.write("day", []), lambda: series.write_records("day", []), series.clear):
            with pytest.raises(PlanwatchError, match="no token to write"):
                call()
        for read in (
            lambda: series.read("day", "revenue", "company", "", "2017", "value"),
            lambda: series.read_scopes("day", "revenue", "company", "2017", "value", 0),
        ):
            with pytest.raises(PlanwatchError, match="no token to read"):
                read()
