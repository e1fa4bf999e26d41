"""The operations server: what it answers, to whom, and when a check fails, hangs or raises."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from boards.threaded import ThreadedServer, Words
from planwatch.metrics import Metrics
from planwatch.ops import OpsServer, Private, Problem
from schemas.base import PlanwatchError
from schemas.stack import OpsConfig


class Role:
    """A role whose state the tests set."""

    def __init__(self) -> None:
        self.waiting: list[Problem] = []
        self.sick: list[Problem] = []
        self.metrics = Metrics("worker")

    def ready(self) -> Sequence[Problem]:
        return self.waiting

    def alive(self) -> Sequence[Problem]:
        return self.sick


async def export(request: Request) -> Response:
    return JSONResponse({"tenant": request.path_params["tenant"]})


@pytest.fixture
def role() -> Role:
    return Role()


@pytest.fixture
def url(role: Role, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PLANWATCH_OPS_TOKEN", "the-ops-token")
    routes = [Route("/export/{tenant}", export)]
    server = OpsServer(OpsConfig(), role.metrics, role.ready, role.alive, routes)
    yield server.start()
    server.stop()


def test_well_and_ready(url: str) -> None:
    """On a free port of loopback; answers are not kept by anybody in between."""
    assert url.startswith("http://127.0.0.1:")
    health, ready = httpx.get(f"{url}/healthz"), httpx.get(f"{url}/readyz")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert health.headers["cache-control"] == "no-store"


def test_not_ready_says_why(url: str, role: Role) -> None:
    """Every problem by name and reason; being unready is no illness; the gauge follows."""
    role.waiting = [Problem("worker", "catching up: 12,000 messages behind"), Problem("influxdb", "does not answer")]
    answer = httpx.get(f"{url}/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "problems": [
            {"name": "worker", "why": "catching up: 12,000 messages behind"},
            {"name": "influxdb", "why": "does not answer"},
        ],
    }
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert "planwatch_ready 0.0" in httpx.get(f"{url}/metrics").text
    role.waiting = []
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert role.metrics.health()["ready"] == 1


def test_not_well(url: str, role: Role) -> None:
    """A failing liveness check is 503, so that whatever watches may restart it."""
    role.sick = [Problem("watchdog", "no progress for 61 s while there is work")]
    answer = httpx.get(f"{url}/healthz")
    assert (answer.status_code, answer.json()["problems"][0]["name"]) == (503, "watchdog")


def test_metrics_are_served(url: str, role: Role) -> None:
    """In the form that Prometheus asks for; a scrape asks for readiness too."""
    role.metrics.points_written(3)
    role.waiting = [Problem("worker", "catching up")]
    plain = httpx.get(f"{url}/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "planwatch_points_written_total 3.0" in plain.text
    assert "planwatch_ready 0.0" in plain.text
    asked = httpx.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.text.endswith("# EOF\n")


def test_a_check_that_raises_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason, without a secret in it, and without a traceback for strangers."""

    def ready() -> Sequence[Problem]:
        raise OSError("401 with the-ops-token")

    monkeypatch.setenv("PLANWATCH_OPS_TOKEN", "the-ops-token")
    server = OpsServer(OpsConfig(), Metrics("worker"), ready)
    answer = httpx.get(f"{server.start()}/readyz")
    server.stop()
    assert (answer.status_code, answer.json()["problems"]) == (
        503,
        [{"name": "check", "why": "failed: OSError: 401 with ***"}],
    )


def test_a_check_that_hangs_is_a_problem_and_holds_up_nothing() -> None:
    """Its deadline passes, again and again, and the other check and the metrics go on answering."""
    release = threading.Event()

    def ready() -> Sequence[Problem]:
        release.wait(30)
        return ()

    server = OpsServer(OpsConfig(), Metrics("worker"), ready, check_s=0.05)
    url = server.start()
    try:
        answers = [httpx.get(f"{url}/readyz") for _ in range(6)]
        assert [a.status_code for a in answers] == [503] * 6
        assert answers[0].json()["problems"] == [{"name": "check", "why": "no answer within 0.05 s"}]
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 200
        assert [thread.name for thread in threading.enumerate()].count("planwatch-check") == 1
    finally:
        release.set()
        server.stop()


class TestPrivate:
    """Who may use what a role adds."""

    @staticmethod
    def asked(
        client: str = "127.0.0.1", host: str = "127.0.0.1:9400", token: str | None = "right", **headers: str
    ) -> int:
        app = Private(Starlette(routes=[Route("/export/{tenant}", export)]), token=token)
        with TestClient(app, client=(client, 50000)) as browser:
            named = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
            return browser.get("/export/demo", headers=named).status_code

    def test_this_machine(self) -> None:
        """Loopback, by either protocol and by name."""
        assert self.asked() == 200
        assert self.asked(client="::1", host="[::1]:9400") == 200
        assert self.asked(host="localhost:9400") == 200

    def test_others(self) -> None:
        """Another machine, a page that rebinds a name to loopback, and a proxy on this machine are refused."""
        assert self.asked(client="10.0.0.7") == 403
        assert self.asked(host="evil.example:9400") == 403
        assert self.asked(x_forwarded_for="10.0.0.7") == 403
        assert self.asked(forwarded="for=10.0.0.7") == 403

    def test_others_with_the_token(self) -> None:
        """The token opens from anywhere, a wrong one does not, and without one set none does."""
        assert self.asked(client="10.0.0.7", host="worker-1:9400", authorization="Bearer right") == 200
        assert self.asked(client="10.0.0.7", authorization="Bearer wrong") == 403
        assert self.asked(client="10.0.0.7", authorization="right") == 403
        assert self.asked(client="10.0.0.7", authorization="Bearer ", token=None) == 403

    def test_over_the_wire(self, url: str) -> None:
        """The running server serves the added routes near, and refuses a foreign name; health stays open to all."""
        assert httpx.get(f"{url}/export/demo").json() == {"tenant": "demo"}
        assert httpx.get(f"{url}/export/demo", headers={"Host": "worker-1"}).status_code == 403
        assert httpx.get(f"{url}/nothing").status_code == 404
        named = httpx.get(f"{url}/export/demo", headers={"Host": "worker-1", "Authorization": "Bearer the-ops-token"})
        assert json.loads(named.text) == {"tenant": "demo"}
        assert httpx.get(f"{url}/healthz", headers={"Host": "worker-1"}).status_code == 200


def test_a_taken_port_is_said() -> None:
    """The message names the address and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PlanwatchError, match=rf"cannot listen at 127.0.0.1:{port}.*ops\.port"):
            OpsServer(OpsConfig(port=port), Metrics("worker"))


def test_a_port_that_is_none_is_said() -> None:
    """It is not taken for another one, as the system would."""
    with pytest.raises(PlanwatchError, match="cannot listen at port 99999: a port is a number from 0 to 65535"):
        ThreadedServer(Starlette(), "127.0.0.1", 99_999, Words("The webhook server", "serve"))


def test_stopping_twice_and_before_the_start() -> None:
    """A role may stop in any state; afterwards nobody listens."""
    server = OpsServer(OpsConfig(), Metrics("worker"))
    server.stop()
    server = OpsServer(OpsConfig(), Metrics("worker"))
    url = server.start()
    server.stop()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
