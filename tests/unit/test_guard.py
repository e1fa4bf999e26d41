"""Who comes in at the board's door: sessions, guessing, foreign sites, revoked tokens; and the headers of every answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from boards.access import COMPANY, Access
from boards.app import create_app
from boards.server import serve
from boards.sessions import (
    FREE_FAILURES,
)
from boards.tokens import SecretFile, Token, Tokens
from planwatch.board_access import board_tokens
from planwatch.home import Home
from schemas.base import PlanwatchError
from tests.browser.sample_board import SampleSource

TOKEN = "a-long-token-that-nobody-guesses"
ORIGIN = "http://board.example"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def board(tokens: Tokens | None = None, **settings: Any) -> TestClient:
    """A board with a token, as a browser or a program elsewhere sees it."""
    app = create_app(SampleSource(), title="Planwatch", tokens=tokens or Tokens.single(TOKEN), **settings)
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


def test_signing_in_gives_an_id_of_its_own_each_time() -> None:
    """The id is random, is not the token, and a new one at every sign-in; the one before no longer opens anything."""
    client = board()
    ids = []
    for _ in range(3):
        answer = client.post("/login", data={"token": TOKEN})
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=strict", "Max-Age=604800"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        ids.append(client.cookies["planwatch_board"])
    assert len(set(ids)) == 3
    assert all(len(i) >= 43 and TOKEN not in i for i in ids)
    stale = board_of_the_same(client)
    stale.cookies.set("planwatch_board", ids[0])
    assert stale.get("/").status_code == 401
    assert client.get("/").status_code == 200


def board_of_the_same(client: TestClient) -> TestClient:
    """Another browser at the same board."""
    return TestClient(client.app, base_url=ORIGIN, follow_redirects=False)


def test_an_id_that_a_browser_came_with_is_never_taken_over() -> None:
    """Session fixation: an id that somebody planted is none after the sign-in either."""
    client = board()
    client.cookies.set("planwatch_board", "planted-by-somebody")
    client.post("/login", data={"token": TOKEN})
    other = board_of_the_same(client)
    other.cookies.set("planwatch_board", "planted-by-somebody")
    assert other.get("/").status_code == 401


def test_signing_out_ends_it_on_the_server() -> None:
    """The button takes the cookie away, and a copy of it opens nothing any more."""
    client = board()
    client.post("/login", data={"token": TOKEN})
    copy = client.cookies["planwatch_board"]
    assert '<form method="post" action="/logout"' in client.get("/").text
    assert '<form method="post" action="/logout"' not in client.get("/", headers={**BEARER, "cookie": ""}).text
    answer = client.post("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    thief = board_of_the_same(client)
    thief.cookies.set("planwatch_board", copy)
    assert thief.get("/").status_code == 401


def test_under_https_cookies_stay_there() -> None:
    """Spoken to by https, or by a proxy that is: Secure, bound to the host by its name, and HSTS; by http none of it."""
    proxied = board(https=True)
    direct = TestClient(proxied.app, base_url="https://board.example", follow_redirects=False)
    plain = TestClient(board().app, base_url="https://board.example", follow_redirects=False)
    for client in (proxied, direct, plain):
        answer = client.post("/login", data={"token": TOKEN})
        assert answer.headers["set-cookie"].startswith("__Host-planwatch_board=")
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in board().get("/healthz").headers


def scoped(path: Path) -> Tokens:
    return Tokens([Token("lead", Access("team", "Team Snelling"), SecretFile(path))])


def test_a_token_is_revoked_by_its_file(tmp_path: Path) -> None:
    """Emptied, removed, made unreadable or exchanged: the old secret and its sessions end with the next request."""
    file = tmp_path / "lead.token"
    for revoke in (
        lambda: file.write_text(""),
        file.unlink,
        lambda: file.write_bytes(b"\xff\xfe" * 10),
        lambda: file.write_text("another-one"),
        lambda: file.write_text("x" * 5000),
    ):
        file.write_text(f"{TOKEN}\n")
        client = board(scoped(file))
        client.post("/login", data={"token": TOKEN})
        assert client.get("/team/Team%20Snelling").status_code == 200
        revoke()
        assert client.get("/team/Team%20Snelling").status_code == 401
        assert board_of_the_same(client).get("/", headers=BEARER).status_code == 401
        file.write_text(TOKEN)
        assert client.get("/team/Team%20Snelling").status_code == 401  # a session that ended does not come back
        assert board_of_the_same(client).get("/team/x", headers=BEARER).status_code == 404


def test_an_open_page_ends_with_its_token(tmp_path: Path) -> None:
    """The stream of a page says `out` and ends within seconds once the token is revoked."""
    file = tmp_path / "lead.token"
    file.write_text(TOKEN)
    app = create_app(SampleSource(), title="Planwatch", tokens=scoped(file), poll_s=0.01, cache_dir=tmp_path)
    with serve(app, "127.0.0.1", 0) as server:
        url = f"{server.url}/events?dimension=team&scope=Team+Snelling"
        with httpx.stream("GET", url, headers=BEARER, timeout=10) as response:
            events = (line for line in response.iter_lines() if line.startswith("event: "))
            assert next(events) == "event: view"
            file.unlink()
            assert list(events) == ["event: out"]


def test_an_open_page_ends_with_its_session(tmp_path: Path) -> None:
    """Signing out in one window ends the page that is open in another."""
    app = create_app(SampleSource(), title="Planwatch", tokens=Tokens.single(TOKEN), poll_s=0.01, cache_dir=tmp_path)
    with serve(app, "127.0.0.1", 0) as server, httpx.Client(base_url=server.url, timeout=10) as client:
        client.post("/login", data={"token": TOKEN})
        with client.stream("GET", "/events") as response:
            events = (line for line in response.iter_lines() if line.startswith("event: "))
            assert next(events) == "event: view"
            httpx.post(f"{server.url}/logout", cookies=client.cookies)
            assert list(events) == ["event: out"]


def test_equal_secrets_of_unlike_scopes_open_nothing() -> None:
    """Which of the two would be meant cannot be known, so the wider one is not given away."""
    both = Tokens([Token("a", COMPANY, lambda: TOKEN), Token("b", Access("rep", "x"), lambda: TOKEN)])
    assert both.grant(TOKEN) is None
    assert Tokens([Token("a", COMPANY, lambda: "")]).grant("") is None


def test_guessing_is_slowed_down_by_address() -> None:
    """After a few failures an address waits, longer each time; meanwhile the right token is not looked at either."""
    client = board()
    for _ in range(FREE_FAILURES):
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
    answer = client.post("/login", data={"token": TOKEN})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert "Try again in" in answer.text
    assert client.get("/", headers=BEARER).status_code == 429
    assert client.get(f"/?token={TOKEN}").status_code == 429


def test_who_is_signed_in_does_not_wait_for_guessers() -> None:
    """Sessions are no guesses: a page that is open behind the same proxy goes on."""
    client = board()
    client.post("/login", data={"token": TOKEN})
    for _ in range(FREE_FAILURES + 1):
        board_of_the_same(client).post("/login", data={"token": "wrong"})
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": ORIGIN},
        {"origin": "https://evil.example"},
        {"origin": "http://board.example.evil.example"},
        {"origin": "http://board.example:8081"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://["},
    ],
)
def test_forms_of_other_sites_change_nothing(path: str, headers: dict[str, str]) -> None:
    """Nobody is signed in or out by a page elsewhere; the board's own forms are taken."""
    client = board()
    client.post("/login", data={"token": TOKEN})
    before = dict(client.cookies)
    assert client.post(path, data={"token": TOKEN}, headers=headers).status_code == 403
    assert dict(client.cookies) == before
    assert client.get("/").status_code == 200
    for own in ({"origin": ORIGIN}, {"sec-fetch-site": "same-origin", "origin": ORIGIN}):
        assert client.post("/login", data={"token": TOKEN}, headers=own).status_code == 303


@pytest.mark.parametrize("tokens", [Tokens.single(TOKEN), None], ids=["token", "loopback"])
def test_other_sites_may_link_and_nothing_else(tokens: Tokens | None) -> None:
    """Following a link works; fetching, framing and embedding do not, nor does a preflight; no CORS header anywhere."""
    host = ORIGIN if tokens else "http://127.0.0.1:8350"
    app = create_app(SampleSource(), title="Planwatch", tokens=tokens)
    client = TestClient(app, base_url=host, follow_redirects=False, headers=BEARER)
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    for mode, dest in (("cors", "empty"), ("no-cors", "script"), ("navigate", "iframe"), ("no-cors", "image")):
        bad = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        for path in ("/", "/api/view", "/events", "/static/board.js"):
            assert client.get(path, headers=bad).status_code == 403
    preflight = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    answers = [client.options(path, headers=preflight) for path in ("/", "/api/view", "/login", "/static/board.css")]
    answers.append(client.get("/api/view", headers={"origin": "https://evil.example"}))
    assert [a.status_code for a in answers] == [405, 405, 405, 405, 200]
    assert not [name for a in answers for name in a.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_a_board_is_read_and_not_written(method: str) -> None:
    """Only signing in and out are posted."""
    for path in ("/", "/api/view", "/deals", "/healthz"):
        assert board().request(method, path, headers=BEARER).status_code == 405
    assert board().get("/logout", headers=BEARER).status_code == 405
    assert board().get("/login").headers["location"] == "/"


def test_headers_of_every_answer() -> None:
    """Pages, files, JSON, refusals and failures alike."""

    class Broken(SampleSource):
        def view(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("secret detail")

    app = create_app(Broken(), title="Planwatch", tokens=Tokens.single(TOKEN))
    client = TestClient(app, base_url=ORIGIN, headers=BEARER, raise_server_exceptions=False)
    seen = set()
    for path in ("/", "/api/view", "/deals", "/health", "/healthz", "/static/board.css", "/nowhere", "/?as_of=x"):
        answer = client.get(path)
        seen.add(answer.status_code)
        assert "secret detail" not in answer.text
        headers = answer.headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert headers["x-frame-options"] == "DENY"
    assert seen == {200, 400, 404, 500}


def test_a_token_in_an_address_is_taken_out(caplog: pytest.LogCaptureFixture) -> None:
    """Right, wrong or beside a session: what comes back leads to an address without it, and no log line has it."""
    client = board()
    assert "wrong-one" not in client.get("/?token=wrong-one&period=2017").text
    assert client.get(f"/?period=2017&token={TOKEN}").headers["location"] == "/?period=2017"
    assert client.get("/?token=wrong-one").headers["location"] == "/"
    assert client.get("/").status_code == 200
    assert TOKEN not in caplog.text
    assert "wrong-one" not in caplog.text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PLANWATCH_BOARD_TOKEN", raising=False)
    return tmp_path


def tokens_of(folder: Path, board_yaml: str) -> Tokens | None:
    (folder / "planwatch.yaml").write_text(f"board: {board_yaml}\n", encoding="utf-8")
    return board_tokens(Home(folder))


def test_tokens_from_the_configuration(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The single token and those with a scope stand side by side, from file and environment."""
    assert tokens_of(home, "{}") is None
    (home / "north").write_text("n" * 40)
    (home / "all").write_text("a" * 40)
    lead = '{name: north-lead, scope: "team:North: One", token_file: north}'
    found = tokens_of(home, f"{{token_file: all, tokens: [{lead}]}}")
    assert found is not None
    assert [g.access for g in map(found.grant, ("n" * 40, "a" * 40)) if g] == [Access("team", "North: One"), COMPANY]
    monkeypatch.setenv("PLANWATCH_BOARD_TOKEN", "e" * 40)
    found = tokens_of(home, f"{{tokens: [{lead}]}}")
    assert found is not None
    assert [g.access for g in map(found.grant, ("n" * 40, "e" * 40)) if g] == [Access("team", "North: One"), COMPANY]


def test_a_revoked_token_does_not_open_the_board(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A board whose only token file is empty or missing is closed to all, and says why; it is not a board without token."""
    (home / "empty").write_text(" \n")
    for name in ("empty", "missing"):
        found = tokens_of(home, f"{{token_file: {name}}}")
        assert found is not None
        assert found.grant("") is None
        assert name in caplog.text
        client = board(found)
        assert client.get("/").status_code == 401


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ("{name: x, scope: north, token_file: a}", "scope"),
        ("{name: x, scope: 'segment:SMB', token_file: a}", "scope"),
        ("{name: x, scope: 'team: ', token_file: a}", "scope"),
        ("{name: x, scope: company}", "token_file"),
        ("{name: x, scope: company, token_file: a}, {name: x, scope: company, token_file: b}", "used twice"),
    ],
)
def test_mistakes_in_tokens_are_named(home: Path, tokens: str, words: str) -> None:
    """A scope that is none never becomes the company's."""
    with pytest.raises(PlanwatchError, match=words):
        tokens_of(home, f"{{tokens: [{tokens}]}}")
