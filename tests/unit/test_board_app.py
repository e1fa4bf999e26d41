"""The board's routes, its door and its events, without a browser."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from starlette.testclient import TestClient

from boards.app import create_app
from boards.server import serve
from boards.tokens import Tokens
from schemas.base import PlanwatchError
from schemas.board import BoardView
from tests.browser.sample_board import HOSTILE, SampleSource

TOKEN = "a-long-token-that-nobody-guesses"
LOCAL = "http://127.0.0.1:8350"


@pytest.fixture
def source() -> SampleSource:
    """The invented company."""
    return SampleSource()


@pytest.fixture
def client(source: SampleSource) -> TestClient:
    """A board on this machine, without a token."""
    return TestClient(create_app(source, title="Planwatch", tokens=None), base_url=LOCAL, follow_redirects=False)


@pytest.fixture
def locked(source: SampleSource) -> TestClient:
    """A board with a token."""
    return TestClient(
        create_app(source, title="Planwatch", tokens=Tokens.single(TOKEN)),
        base_url="http://board.example",
        follow_redirects=False,
    )


def test_every_answer_keeps_the_page_to_itself(client: TestClient) -> None:
    """Pages, errors and files carry the policy; nothing inline is needed or allowed."""
    for path in ("/", "/rep/nobody", "/?as_of=never", "/static/board.css", "/nowhere"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    html = client.get("/").text
    assert " style=" not in html
    assert "<style" not in html


def test_scopes_of_any_name(client: TestClient) -> None:
    """A name with spaces, a slash, quotes and markup has a page; what does not exist is told in words with 404."""
    page = client.get(f"/rep/{quote(HOSTILE, safe='')}?period=2017-Q2")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    missing = client.get("/rep/nobody")
    assert missing.status_code == 404
    assert "There is no rep “nobody” in the plan." in missing.text
    assert client.get("/?period=1999").status_code == 404
    assert client.get("/customer/x").status_code == 404


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("2017-07-01", 1_498_860_000_000_000),
        ("2017-07-01T00:00:00Z", 1_498_867_200_000_000),
        ("1498867200000000", 1_498_867_200_000_000),
    ],
)
def test_moments_in_addresses(source: SampleSource, text: str, at_us: int) -> None:
    """A date is midnight in the tenant's zone; a time and microseconds are themselves."""
    app = create_app(source, title="Planwatch", tokens=None, time_zone="Europe/Berlin")
    assert TestClient(app, base_url=LOCAL).get("/", params={"as_of": text}).status_code == 200
    assert source.asked[-1][3] == at_us


@pytest.mark.parametrize(
    "text", ["yesterday", "2017-02-31", "9" * 30, "x" * 500, "2017-07-01T25:00", "9999-12-31", "0001-01-01", "9" * 18]
)
def test_a_moment_that_is_none_is_refused(client: TestClient, text: str) -> None:
    """What is no moment is told in words with 400."""
    assert client.get("/", params={"as_of": text}).status_code == 400


def test_the_view_as_json(client: TestClient) -> None:
    """`/api/view` gives the view as the models write it."""
    answer = client.get("/api/view", params={"dimension": "team", "scope": "Team Snelling"})
    view = BoardView.model_validate_json(answer.content)
    assert view.scope_name == "Team Snelling"
    assert client.get("/api/view", params={"dimension": "team", "scope": "x"}).json() == {
        "error": "There is no team “x” in the plan."
    }


def test_only_this_machine_without_a_token(client: TestClient) -> None:
    """Another host name is refused (DNS rebinding), also for events and files; every name of this machine is not."""
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8350", ""):
        for path in ("/", "/api/view", "/events", "/healthz"):
            assert client.get(path, headers={"host": host}).status_code == 421
    for host in ("localhost", "localhost:8350", "127.0.0.1", "[::1]:8350"):
        assert client.get("/healthz", headers={"host": host}).json() == {"status": "ok"}


def test_a_host_that_is_none_is_no_failure(client: TestClient) -> None:
    """A broken Host header gets an answer in words, also where the page is not there."""
    for host in ("[::1", "127.0.0.1:x"):
        assert client.get("/nowhere", headers={"host": host}).status_code == 404
        assert client.get("/", params={"as_of": "never"}, headers={"host": host}).status_code == 400


def test_the_door(locked: TestClient) -> None:
    """Without the token there is a designed page and no figure; health and style need none."""
    for path in ("/", "/api/view", "/events", "/rep/x?token=wrong", "/%2e%2e/static/../"):
        answer = locked.get(path)
        assert answer.status_code == 401
        assert "This board asks for a token" in answer.text
        assert "Revenue" not in answer.text
    assert locked.get("/healthz").status_code == 200
    assert locked.get("/static/board.css").status_code == 200
    assert locked.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert locked.get("/", headers={"authorization": f"Basic {TOKEN}"}).status_code == 401


def test_a_token_in_the_address_becomes_a_cookie(locked: TestClient) -> None:
    """`?token=` sets a strict cookie that is not the token itself and leads to the address without it."""
    answer = locked.get(f"/rep/{quote(HOSTILE, safe='')}?period=2017-Q2&token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/rep/{quote(HOSTILE, safe='')}?period=2017-Q2"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert locked.get(answer.headers["location"]).status_code == 200
    assert locked.get(f"/?token={TOKEN}").headers["location"] == "/"


def test_signing_in_by_form(locked: TestClient) -> None:
    """The form leads to where one wanted to go, never off the board; a wrong token stays outside."""
    assert locked.post("/login", data={"token": "wrong", "next": "/"}).status_code == 401
    assert locked.post("/login", data={"token": "x" * 10_000}).status_code == 413
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert locked.post("/login", data={"token": TOKEN, "next": elsewhere}).headers["location"] == "/"
    answer = locked.post("/login", data={"token": TOKEN, "next": "/territory/East?period=2017-Q2"})
    assert answer.headers["location"] == "/territory/East?period=2017-Q2"
    assert locked.get("/").status_code == 200


def test_others_need_a_token(source: SampleSource) -> None:
    """A board without a token is not served beyond this machine; a taken port is told in words."""
    app = create_app(source, title="Planwatch", tokens=None)
    for host in ("0.0.0.0", "192.0.2.1", "example.org", "::"):
        with pytest.raises(PlanwatchError, match=r"board\.host"):
            serve(app, host, 0)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PlanwatchError, match=r"board\.port"):
        serve(app, "127.0.0.1", taken.getsockname()[1])


class Events:
    """The events of a stream, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self) -> tuple[str, dict[str, object]]:
        """The next event's name and data."""
        name = ""
        for line in self._lines:
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                return name, json.loads(line[6:])
        raise AssertionError("the stream ended")


@pytest.fixture
def live(source: SampleSource, tmp_path: Path) -> Iterator[str]:
    """A board that listens."""
    with serve(
        create_app(source, title="Planwatch", tokens=None, poll_s=0.01, cache_dir=tmp_path), "127.0.0.1", 0
    ) as server:
        yield server.url


def test_events_send_what_changed(source: SampleSource, live: str) -> None:
    """The first event holds every section; the next only those that differ."""
    with httpx.stream("GET", live + "/events?dimension=company", timeout=5) as response:
        events = Events(response)
        name, first = events.next()
        assert name == "view"
        assert set(first["sections"]) >= {"headline", "where", "trust", "todo"}
        source.bump(500_000)
        name, second = events.next()
        assert second["version"] == source.version()
        assert {"headline", "where"} <= set(second["sections"])
        assert not {"todo", "trust"} & set(second["sections"])


def test_many_changes_are_one_event(source: SampleSource, live: str) -> None:
    """A hundred changes in a burst reach a page as one or two events, the last with the newest version."""
    with httpx.stream("GET", live + "/events", timeout=5) as response:
        events = Events(response)
        events.next()
        asked = len(source.asked)
        for _ in range(100):
            source.bump(1000)
        while events.next()[1]["version"] != source.version():
            pass
        assert len(source.asked) - asked <= 3


def test_a_view_that_fails_is_told_and_mended(source: SampleSource, live: str) -> None:
    """A scope that vanished is an event in words; the stream lives on and shows the next good view."""
    with httpx.stream("GET", live + "/events?period=2018", timeout=5) as response:
        assert Events(response).next() == ("problem", {"text": "There is no period 2018 in the plan."})


def test_many_viewers_cost_one_view(source: SampleSource, live: str) -> None:
    """Pages that look at the same scope at the same version share one view, also when they ask at once."""
    threads = [threading.Thread(target=httpx.get, args=(live + "/",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(source.asked) == 1


def test_stop_ends_the_streams(source: SampleSource, tmp_path: Path) -> None:
    """Stopping says goodbye to open pages and returns at once, also when called twice."""
    server = serve(create_app(source, title="Planwatch", tokens=None, cache_dir=tmp_path), "127.0.0.1", 0).start()
    with httpx.stream("GET", server.url + "/events", timeout=5) as response:
        events = Events(response)
        events.next()
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        assert events.next()[0] == "bye"
        stopper.join(4)
        assert not stopper.is_alive()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_the_bundle_is_made_once_and_mended(source: SampleSource, tmp_path: Path) -> None:
    """The Vega bundle is kept on disk; a damaged copy is made anew instead of being served."""
    from boards.bundle import VegaBundle

    (tmp_path / "kept").mkdir()
    made = VegaBundle(tmp_path / "kept").zipped()
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.read_bytes() == made
    kept.write_bytes(made[: len(made) // 2])
    assert VegaBundle(tmp_path / "kept").zipped() == made
    assert kept.read_bytes() == made
