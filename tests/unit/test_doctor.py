"""`planwatch doctor`: every check stands alone, says what to do, shows no secret, and dead servers cost seconds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from planwatch import doctor_stack, logs
from planwatch.doctor import examine
from planwatch.doctor_stack import Check, source_topics
from planwatch.home import Home

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN = "s3cr3t-influx-token"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines of a unit test; secrets of this test only."""
    monkeypatch.setattr(logs, "_MASKS", logs._Masks())
    monkeypatch.setattr(doctor_stack, "ASK_S", 0.2)
    monkeypatch.setattr(doctor_stack, "DEADLINE_S", 5.0)
    monkeypatch.setitem(doctor_stack.QUICK, "bootstrap_timeout_ms", 200)
    monkeypatch.setitem(doctor_stack.QUICK, "request_timeout_ms", 200)


def home(folder: Path, text: str = "", example: str = "starter") -> Path:
    """A home like an example, with more settings."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (EXAMPLES / example).glob("*.yaml"):
        (folder / file.name).write_bytes(file.read_bytes())
    with (folder / "planwatch.yaml").open("a") as file:
        file.write(text)
    return folder


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def stack(kafka: int, influx: int, grafana: int) -> str:
    return f"""
kafka: {{ bootstrap: "127.0.0.1:{kafka}" }}
influx: {{ url: "http://127.0.0.1:{influx}" }}
grafana: {{ url: "http://127.0.0.1:{grafana}", token_file: secrets/grafana.token }}
"""


def test_an_embedded_home_is_looked_at_without_servers(tmp_path: Path) -> None:
    """As before: configuration, plan, rules, mapping, log and quarantine, all in order in the starter."""
    found = by_name(examine(home(tmp_path)))
    assert all(check.ok for check in found.values()), found
    assert {"configuration", "plan", "measures", "rules", "mapping of crm", "log", "quarantine"} == set(found)


def test_dead_servers_are_each_said(tmp_path: Path) -> None:
    """Three dead servers: three findings with address and what to do, after seconds at most; the folder is looked at."""
    ports = [closed_port() for _ in range(3)]
    path = home(tmp_path, stack(*ports))
    (path / "secrets").mkdir()
    (path / "secrets" / "grafana.token").write_text("glsa_token")
    started = time.monotonic()
    found = by_name(examine(path))
    assert time.monotonic() - started < 10
    assert not found["Kafka"].ok
    assert f"127.0.0.1:{ports[0]} does not answer" in found["Kafka"].detail
    assert "planwatch native up" in found["Kafka"].detail
    assert not found["InfluxDB server"].ok
    assert "influx.url" in found["InfluxDB server"].detail
    assert not found["Grafana"].ok
    assert "grafana.url" in found["Grafana"].detail
    assert found["snapshots"].ok
    assert "log" not in found  # the embedded stores are not used


def test_servers_that_never_answer_hold_up_nothing(
    tmp_path: Path, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes connections and stays silent is said like a dead one, and the others are shown."""
    monkeypatch.setattr(doctor_stack, "DEADLINE_S", 1.0)
    path = home(tmp_path, stack(silent_port, silent_port, silent_port))
    (path / "secrets").mkdir()
    (path / "secrets" / "grafana.token").write_text("glsa_token")
    started = time.monotonic()
    found = by_name(examine(path))
    assert time.monotonic() - started < 5
    bad = [name for name, check in found.items() if not check.ok]
    assert len(bad) == 3
    assert found["snapshots"].ok


def test_a_check_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a client ignores its own timeouts, the deadline of all ends the wait, and the others are shown."""
    release = threading.Event()

    def hangs(*_: object) -> Iterator[Check]:
        release.wait(30)
        yield Check("Grafana", True, "too late")

    monkeypatch.setattr(doctor_stack, "_grafana", hangs)
    monkeypatch.setattr(doctor_stack, "DEADLINE_S", 1.0)
    try:
        found = by_name(examine(home(tmp_path, stack(closed_port(), closed_port(), 1))))
    finally:
        release.set()
    assert found["Grafana"] == Check(
        "Grafana", False, "no answer within 1 s: it hangs, or the network loses what it says"
    )
    assert found["snapshots"].ok


def test_what_breaks_in_one_check_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw is one finding with its reason; what was found before it is kept."""

    def broken(*_: object) -> Iterator[Check]:
        yield Check("Grafana", True, "answers")
        raise KeyError("what nobody foresaw")

    monkeypatch.setattr(doctor_stack, "_grafana", broken)
    found = examine(home(tmp_path, stack(closed_port(), closed_port(), 1)))
    assert [(c.ok, c.detail) for c in found if c.name == "Grafana"] == [
        (True, "answers"),
        (False, "KeyError: 'what nobody foresaw'"),
    ]
    assert by_name(found)["snapshots"].ok


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a server repeats a token, the finding does not."""

    def repeats(*_: object) -> Iterator[Check]:
        yield Check("InfluxDB server", False, f"unauthorized: {TOKEN} and glsa_token")

    monkeypatch.setattr(doctor_stack, "_influx", repeats)
    path = home(tmp_path, stack(closed_port(), 1, closed_port()))
    (path / "secrets").mkdir()
    (path / "secrets" / "influx-worker.token").write_text(TOKEN + "\n")
    (path / "secrets" / "grafana.token").write_text("glsa_token\n")
    text = str(examine(path))
    assert "unauthorized: *** and ***" in text
    assert TOKEN not in text


def test_a_snapshot_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    """A file in the way: the finding names folder and setting."""
    (tmp_path / "in-the-way").write_text("")
    path = home(tmp_path / "home", "worker: { snapshots: ../in-the-way/snapshots }\n" + stack(*[closed_port()] * 3))
    check = by_name(examine(path))["snapshots"]
    assert not check.ok
    assert "in-the-way" in check.detail
    assert "worker.snapshots" in check.detail


def test_the_stack_example_is_a_valid_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configuration, plan and rules are in order, its plan is the demo's, and addresses come from outside."""
    monkeypatch.setenv("PLANWATCH_KAFKA__BOOTSTRAP", f"127.0.0.1:{(port := closed_port())}")
    monkeypatch.setenv("PLANWATCH_INFLUX__URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("PLANWATCH_GRAFANA__URL", f"http://127.0.0.1:{port}")
    found = by_name(examine(home(tmp_path, example="stack")))
    assert all(found[name].ok for name in ("configuration", "plan", "measures", "rules")), found
    assert f":{port} does not answer" in found["Kafka"].detail
    for file in ("plan.yaml", "alerts.yaml"):
        assert (EXAMPLES / "stack" / file).read_bytes() == (EXAMPLES / "demo" / file).read_bytes()


class TestTenants:
    """Homes of several tenants."""

    def test_each_is_looked_at(self, tmp_path: Path) -> None:
        """The plan of one is broken: said with its name; the others and the rest are looked at."""
        path = home(tmp_path, 'tenants: ["tenants/*"]\n')
        for name in ("a", "b"):
            home(tmp_path / "tenants" / name, f"tenant: {name}\n")
        (tmp_path / "tenants" / "a" / "plan.yaml").write_text("name: [")
        found = by_name(examine(path))
        assert [name for name, check in found.items() if not check.ok] == ["plan of a"]
        assert found["tenants"] == Check("tenants", True, "2 homes can be read")

    def test_what_makes_tenants_impossible_is_said(self, tmp_path: Path) -> None:
        """A pattern without a folder, a home that is not valid, one name for two."""
        path = home(tmp_path, 'tenants: ["tenants/*"]\n')
        assert "no folder" in by_name(examine(path))["tenants"].detail
        home(tmp_path / "tenants" / "a", "tenant: same\n")
        home(tmp_path / "tenants" / "b", "tenant: same\n")
        assert "«same»" in by_name(examine(path))["tenants"].detail
        home(tmp_path / "tenants" / "0", "nonsense: 1\n")
        assert "nonsense" in by_name(examine(path))["tenants"].detail

    def test_source_topics_of_all(self, tmp_path: Path) -> None:
        """Every topic that some tenant's source writes to, each once."""
        path = home(tmp_path, 'tenants: ["tenants/*"]\n')
        for name, topic in (("a", "crm.a"), ("b", "crm.shared"), ("c", "crm.shared")):
            folder = home(tmp_path / "tenants" / name, f"tenant: {name}\n")
            config = folder / "planwatch.yaml"
            config.write_text(config.read_text().replace("    kind: csv", f"    kind: salesforce\n    topic: {topic}"))
        assert source_topics(Home(path).tenants().values()) == ["crm.a", "crm.shared"]
