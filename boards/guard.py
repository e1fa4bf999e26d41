"""Who may come in, and the headers that keep a page to itself. Wraps the whole application.

What one may see once inside is in the request's `state.viewer`.
"""

from __future__ import annotations

import functools
import ipaddress
import math
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from boards.access import Viewer
from boards.page import render_message
from boards.sessions import LIFETIME_S, Attempts, Sessions
from boards.tokens import Grant, Tokens

COOKIE = "planwatch_board"
BODY_MAX = 4096
SIGN_IN, SIGN_OUT = "/login", "/logout"
OPEN_PATHS = ("/healthz", "/static/")
#: Nothing from elsewhere, nothing inline: Vega runs on its expression interpreter, styles are classes.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers send our own forms with «Origin: null», which the same-origin check refuses.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
ONLY_HTTPS = {"Strict-Transport-Security": "max-age=31536000"}


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0][1:]
    return header.rpartition(":")[0] if ":" in header else header


class Guard:
    """Without tokens: only requests that name this machine (against DNS rebinding). With them: only who brings one.

    `https`: the board is reached by https although a proxy in front of it speaks http with us.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Tokens | None,
        https: bool = False,
        sessions: Sessions | None = None,
        attempts: Attempts | None = None,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._https = https
        self._sessions = sessions or Sessions()
        self._attempts = attempts or Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application, or let it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS | (ONLY_HTTPS if self._secure(scope) else {}))
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = await self._answer(scope, receive)
        await (answer or self._app)(scope, receive, send_with_headers)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._tokens is None and not is_loopback(host_of(headers.get("host", ""))):
            return message(
                421,
                "This board answers only to this machine",
                "Open it at its own address (http://127.0.0.1 and the port), or set a token to reach it from elsewhere.",
            )
        signing = self._tokens is not None and path in (SIGN_IN, SIGN_OUT)
        if (
            signing and path == SIGN_IN and scope["method"] == "GET"
        ):  # typed, or called up again: the form is at the front
            return RedirectResponse("/", 303)
        if scope["method"] not in (("POST",) if signing else ("GET", "HEAD")):
            return message(405, "Not that way", "A board is read, not written.")
        if (signing and not _same_origin(headers)) or _is_foreign_fetch(headers):
            return message(403, "Not from elsewhere", "Another site made this request. Open the board itself.")
        if signing:
            return await (self._sign_in if path == SIGN_IN else self._sign_out)(Request(scope, receive))
        return self._without_sign_in(scope, headers)

    def _without_sign_in(self, scope: Scope, headers: Headers) -> Response | None:
        """Let in who is known or needs not be; take a token out of the address; or show the door."""
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        viewer = Viewer()
        if self._tokens is not None and not path.startswith(OPEN_PATHS):
            offered = dict(parse_qsl(query)).get("token")
            if offered is not None and scope["method"] == "GET":
                return self._sign_in_by_address(scope, headers, offered)
            known = self._known(scope, headers)
            if isinstance(known, Response):
                return known
            if known is None:
                return _door(_own_address(scope))
            viewer = known
        scope.setdefault("state", {})["viewer"] = viewer
        return None

    def _known(self, scope: Scope, headers: Headers) -> Viewer | Response | None:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            grant = self._tried(scope, secret.strip())
            return Viewer(grant.access, grant.holds) if isinstance(grant, Grant) else grant
        session_id = self._session_id(scope, headers)
        found = self._sessions.find(session_id) if session_id else None
        if found is None:
            return None
        return Viewer(found.access, functools.partial(self._still, session_id), signed_in=True)

    def _still(self, session_id: str) -> bool:
        return self._sessions.find(session_id) is not None

    def _tried(self, scope: Scope, secret: str) -> Grant | Response | None:
        """What a secret opens; none where it opens nothing; the answer to who has to wait."""
        assert self._tokens is not None
        address = scope["client"][0] if scope.get("client") else ""
        wait_s = self._attempts.wait_s(address)
        if wait_s > 0:
            return _door(_own_address(scope), wait_s=math.ceil(wait_s))
        grant = self._tokens.grant(secret)
        if grant is None:
            self._attempts.failed(address)
        return grant

    def _sign_in_by_address(self, scope: Scope, headers: Headers, offered: str) -> Response:
        """The token leaves the address at once, so that nobody shares it by mistake."""
        address = _own_address(scope)
        grant = self._tried(scope, offered)
        if isinstance(grant, Grant):
            return self._signed_in(scope, headers, grant, address)
        if isinstance(self._known(scope, headers), Viewer):  # by a session: a wrong token takes nothing from it
            return RedirectResponse(address, 303)
        return grant or _door(address, wrong=True)

    async def _sign_in(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_MAX:
                return message(413, "Too much was sent", "Only a token is asked for.")
        form = dict(parse_qsl(body.decode("latin-1")))
        address = local_address(form.get("next", "/"))
        grant = self._tried(request.scope, form.get("token", "").strip())
        if isinstance(grant, Grant):
            return self._signed_in(request.scope, request.headers, grant, address)
        return grant or _door(address, wrong=True)

    def _signed_in(self, scope: Scope, headers: Headers, grant: Grant, address: str) -> Response:
        """A session with an id of its own, whatever id the browser came with."""
        self._sessions.end(self._session_id(scope, headers))
        response = RedirectResponse(address, 303)
        self._set_cookie(response, scope, self._sessions.begin(grant), int(LIFETIME_S))
        return response

    async def _sign_out(self, request: Request) -> Response:
        self._sessions.end(self._session_id(request.scope, request.headers))
        response = RedirectResponse("/", 303)
        self._set_cookie(response, request.scope, "", 0)
        return response

    def _set_cookie(self, response: Response, scope: Scope, value: str, max_age: int) -> None:
        secure = self._secure(scope)
        response.set_cookie(
            self._cookie_name(scope), value, max_age, path="/", httponly=True, samesite="strict", secure=secure
        )

    def _session_id(self, scope: Scope, headers: Headers) -> str:
        """The id that the browser brings; empty where it brings none."""
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie_name(scope))
        except CookieError:
            return ""
        return cookie.value if cookie is not None else ""

    def _cookie_name(self, scope: Scope) -> str:
        # The prefix binds it to this host: no other host of the domain can plant one.
        return f"__Host-{COOKIE}" if self._secure(scope) else COOKIE

    def _secure(self, scope: Scope) -> bool:
        return self._https or scope["scheme"] == "https"


def _same_origin(headers: Headers) -> bool:
    """Whether a form was sent by a page of ours. What says nothing of its origin is no browser that could be misled."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin, host = headers.get("origin"), headers.get("host", "")
    return origin is None or (bool(host) and origin.partition("://")[2] == host)


def _is_foreign_fetch(headers: Headers) -> bool:
    """Whether another site's page fetches, frames or embeds. A link from there that is followed is none of these."""
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return False
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != ("navigate", "document")


def _own_address(scope: Scope) -> str:
    """The address that was asked for, without a token in it."""
    if scope["path"] in (SIGN_IN, SIGN_OUT):
        return "/"
    asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = urlencode([(name, value) for name, value in asked if name != "token"])
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return local_address(raw.decode("latin-1") + (f"?{query}" if query else ""))


def _door(address: str, *, wrong: bool = False, wait_s: int = 0) -> Response:
    """The page that asks for a token. `wait_s`: so many seconds nothing is looked at."""
    html = render_message("door.html", next=address, wrong=wrong, wait_s=wait_s, message_title="Token needed")
    if wait_s:
        return HTMLResponse(html, 429, {"Retry-After": str(wait_s)})
    return HTMLResponse(html, 401, {"WWW-Authenticate": 'Bearer realm="planwatch board"'})


def local_address(address: str) -> str:
    """An address on this board, or its front page: nobody is led elsewhere by a crafted link."""
    if not address.startswith("/") or address.startswith(("//", "/\\")) or any(ord(c) < 32 for c in address):
        return "/"
    return address


def message(status: int, title: str, text: str, *, again: str | None = None) -> HTMLResponse:
    """A designed page for what went wrong: what, and what to do."""
    html = render_message("message.html", message_title=title, text=text, status=status, again=again)
    return HTMLResponse(html, status, HEADERS)
