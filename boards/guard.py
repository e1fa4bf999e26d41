"""Who may see a board, and the headers that keep a page to itself. Wraps the whole application."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from boards.page import render_message

COOKIE = "planwatch_board"
COOKIE_AGE_S = 30 * 86_400
BODY_MAX = 4096
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
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


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
    """Without a token: only requests that name this machine (against DNS rebinding). With one: only who knows it."""

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token.encode() if token else None
        # The cookie is not the token: who reads it cannot sign in elsewhere. It outlives a restart on purpose.
        self._cookie = (
            hmac.new(self._token, b"planwatch board cookie", hashlib.sha256).hexdigest() if self._token else ""
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application, or let it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = await self._refusal(scope, receive)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        headers = Headers(scope=scope)
        if self._token is None:
            if is_loopback(host_of(headers.get("host", ""))):
                return None
            return message(
                421,
                "This board answers only to this machine",
                "Open it at its own address (http://127.0.0.1 and the port), or set a token to reach it from elsewhere.",
            )
        path: str = scope["path"]
        if path == "/login" and scope["method"] == "POST":
            return await self._login(Request(scope, receive))
        if path.startswith(OPEN_PATHS) or self._known(headers):
            return self._without_token(scope) if "token=" in scope["query_string"].decode("latin-1") else None
        offered = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
        if offered is not None and self._is_token(offered) and scope["method"] == "GET":
            return self._signed_in(self._address_without_token(scope), scope)
        return self._door(path, scope["query_string"].decode("latin-1"), wrong=offered is not None)

    def _is_token(self, offered: str) -> bool:
        return self._token is not None and hmac.compare_digest(offered.encode(), self._token)

    def _known(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(value.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._cookie.encode())

    @staticmethod
    def _address_without_token(scope: Scope) -> str:
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        query = urlencode([(name, value) for name, value in asked if name != "token"])
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        return local_address(raw.decode("latin-1") + (f"?{query}" if query else ""))

    def _without_token(self, scope: Scope) -> Response | None:
        """A token in an address that is already known is taken out of it, so that nobody shares it by mistake."""
        if scope["method"] != "GET" or scope["path"].startswith(OPEN_PATHS):
            return None
        return RedirectResponse(self._address_without_token(scope), 303)

    def _signed_in(self, address: str, scope: Scope) -> Response:
        response = RedirectResponse(address, 303)
        response.set_cookie(
            COOKIE,
            self._cookie,
            max_age=COOKIE_AGE_S,
            httponly=True,
            samesite="strict",
            secure=scope["scheme"] == "https",
            path="/",
        )
        return response

    async def _login(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_MAX:
                return message(413, "Too much was sent", "Only a token is asked for.")
        form = dict(parse_qsl(body.decode("latin-1")))
        address = local_address(form.get("next", "/"))
        if self._is_token(form.get("token", "").strip()):
            return self._signed_in(address, request.scope)
        return self._door(address, "", wrong=True)

    @staticmethod
    def _door(path: str, query: str, *, wrong: bool) -> Response:
        query = urlencode([(n, v) for n, v in parse_qsl(query, keep_blank_values=True) if n != "token"])
        address = local_address(path + (f"?{query}" if query else ""))
        html = render_message("door.html", next=address, wrong=wrong, message_title="Token needed")
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
