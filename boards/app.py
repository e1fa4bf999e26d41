"""The web board: its routes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from boards import charts
from boards.access import NO_SUCH_PAGE, Viewer
from boards.address import PAGES, Address, PageName
from boards.bundle import VegaBundle, bundle_version
from boards.feed import STREAMS_MAX, Feed, Rendered, age_now
from boards.guard import HEADERS, Guard, local_address, message
from boards.page import render_page
from boards.source import BoardSource
from boards.tokens import Tokens

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"
TEXT_MAX = 400  # of a scope or period in an address
AS_OF_MAX = 253_402_128_000_000_000  # 9999-12-30: a day later is in no zone beyond what a date can be


class Board:
    """The handlers, around one feed."""

    def __init__(
        self, source: BoardSource, *, title: str, poll_s: float, time_zone: str, cache_dir: Path | None
    ) -> None:
        self.feed = Feed(source, poll_s=poll_s)
        self._title = title
        self._zone = ZoneInfo(time_zone)
        self._bundle = VegaBundle(cache_dir)

    def _asked(
        self, dimension: str, scope: str, request: Request, page: PageName = "board"
    ) -> tuple[Address, int | None]:
        period = request.query_params.get("period") or None
        as_of = request.query_params.get("as_of") or None
        if max(len(dimension), len(scope), len(period or ""), len(as_of or "")) > TEXT_MAX:
            raise HTTPException(400, "The address is too long to be one of this board's.")
        if page == "health":  # it is about now, and about no scope
            return Address("company", "", page=page), None
        if page == "deals":
            period = None
        return Address(dimension, scope, period, as_of, page), parse_as_of(as_of, self._zone)

    async def _asked_by_query(self, request: Request, page: PageName) -> tuple[Address, int | None]:
        query = request.query_params
        if page == "health" or "dimension" in query:
            return self._asked(query.get("dimension") or "company", query.get("scope") or "", request, page)
        return self._asked(*await self._home(request), request, page)

    async def _home(self, request: Request) -> tuple[str, str]:
        """The scope that an address is about which names none: the company, or what the viewer may see of it."""
        try:
            return await self.feed.home(viewer_of(request).access)
        except LookupError as error:
            raise HTTPException(404, _words(error)) from error

    async def company(self, request: Request) -> Response:
        """The leadership page; who may see less is led to the page of that."""
        address, as_of = self._asked(*await self._home(request), request)
        if address.dimension != "company":
            return RedirectResponse(address.href(), 303)
        return await self._page(request, address, as_of)

    async def scope(self, request: Request) -> Response:
        """The page of a territory, team or rep."""
        dimension, scope = request.path_params["dimension"], request.path_params["scope"]
        return await self._page(request, *self._asked(dimension, scope, request))

    async def deals(self, request: Request) -> Response:
        """The deals at risk of the company, a territory, a team or a rep."""
        return await self._page(request, *await self._asked_by_query(request, "deals"))

    async def operators(self, request: Request) -> Response:
        """What operators look at."""
        return await self._page(request, *await self._asked_by_query(request, "health"))

    async def _page(self, request: Request, address: Address, as_of: int | None) -> Response:
        viewer = viewer_of(request)
        try:
            made = await self.feed.rendered(address, as_of, viewer.access)
        except LookupError as error:
            raise HTTPException(404, _words(error)) from error
        return HTMLResponse(await to_thread.run_sync(self._html, made, address, viewer))

    def _html(self, made: Rendered, address: Address, viewer: Viewer) -> str:
        shared = {"board_title": self._title, "static": static_tag, "version": made.version, "age_s": age_now(made)}
        return render_page(made.view, address, made.sections, {**shared, "viewer": viewer})

    async def api_view(self, request: Request) -> Response:
        """The view of a scope as JSON."""
        return await self._json(request, "board")

    async def api_deals(self, request: Request) -> Response:
        """The deals at risk of a scope as JSON."""
        return await self._json(request, "deals")

    async def api_health(self, request: Request) -> Response:
        """What operators look at as JSON."""
        return await self._json(request, "health")

    async def _json(self, request: Request, page: PageName) -> Response:
        try:
            made = await self.feed.rendered(*await self._asked_by_query(request, page), viewer_of(request).access)
        except LookupError as error:
            return JSONResponse({"error": _words(error)}, 404)
        return Response(made.view.model_dump_json(), media_type="application/json")

    async def events(self, request: Request) -> Response:
        """Server-sent events of a page."""
        page = PAGES.get(request.query_params.get("page", "board"))
        if page is None:
            raise HTTPException(400, NO_SUCH_PAGE)
        address, as_of = await self._asked_by_query(request, page)
        if self.feed.streams >= STREAMS_MAX:
            return JSONResponse({"error": "too many open boards"}, 503, {"Retry-After": "10"})
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = self.feed.events(address, as_of, viewer_of(request))
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def health(self, request: Request) -> Response:
        """Whether the board answers; open to everybody, so it says nothing else."""
        return JSONResponse({"status": "stopping" if self.feed.stopping.is_set() else "ok"})

    async def go(self, request: Request) -> Response:
        """The menu of reps, for browsers without scripts: from a chosen id to its page."""
        rep = request.query_params.get("rep", "")
        address, _ = self._asked("rep", rep, request)
        return RedirectResponse(address.href() if rep else address.href("company", ""), 303)

    async def static(self, request: Request) -> Response:
        """Style sheet, script, chart definition and the Vega bundle; an address with a version never changes."""
        name: str = request.path_params["name"]
        cache = FOREVER if "v" in request.query_params else "no-cache"
        if name == "vega.js":
            zipped = await to_thread.run_sync(self._bundle.zipped)
            return Response(
                zipped, media_type="text/javascript", headers={"Content-Encoding": "gzip", "Cache-Control": cache}
            )
        if name == "burnup.json":
            spec = await to_thread.run_sync(charts.burnup_spec, "page")
            return Response(orjson.dumps(spec), media_type="application/json", headers={"Cache-Control": cache})
        if name not in static_files():
            raise HTTPException(404, "There is no such file.")
        return Response(static_files()[name], media_type=KINDS[Path(name).suffix], headers={"Cache-Control": cache})


def viewer_of(request: Request) -> Viewer:
    """Who asks, as the guard found out."""
    viewer: Viewer = request.state.viewer
    return viewer


def _words(error: LookupError) -> str:
    return str(error.args[0]) if error.args else NO_SUCH_PAGE


@lru_cache(maxsize=1)
def static_files() -> dict[str, bytes]:
    """The files that are served, read once: a name in an address never reaches the file system."""
    return {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in KINDS}


def static_tag(name: str) -> str:
    """The address of a static file with a version, so that browsers keep it until it changes."""
    if name in static_files():
        content = static_files()[name]
    else:  # made by a library: its version and our definition decide
        content = bundle_version().encode() + (Path(charts.__file__).read_bytes() if name == "burnup.json" else b"")
    return f"/static/{name}?v={hashlib.blake2b(content, digest_size=6).hexdigest()}"


def parse_as_of(text: str | None, zone: ZoneInfo) -> int | None:
    """A moment from an address: a date (midnight in the tenant's zone), an RFC 3339 time, or microseconds UTC."""
    if not text:
        return None
    try:
        if text.isdecimal() and len(text) > 8:
            at_us = int(text)
        else:
            if len(text) == 10:
                at = datetime.combine(date.fromisoformat(text), datetime.min.time(), zone)
            else:
                at = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign of an offset reads as a space
            at_us = int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()) * 1_000_000
    except (ValueError, OverflowError):
        return _bad_time(text)
    return at_us if 0 <= at_us < AS_OF_MAX else _bad_time(text)


def _bad_time(text: str) -> int:
    raise HTTPException(
        400, f"“{text[:40]}” is no moment. Write a date such as 2017-07-01, or a time such as 2017-07-01T14:00:00Z."
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """A designed page, or JSON where JSON was asked for."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = (
        error.detail
        if isinstance(error, HTTPException)
        else "The program's log says what went wrong. The next change may mend it."
    )
    if request.scope["path"].startswith(("/api/", "/events")):
        return JSONResponse({"error": text}, status, HEADERS)
    titles = {400: "This address cannot be read", 404: "Not on this board", 405: "Not that way"}
    return message(status, titles.get(status, "Something went wrong"), text, again=local_address(request.scope["path"]))


def create_app(
    source: BoardSource,
    *,
    title: str,
    tokens: Tokens | None,
    poll_s: float = 0.1,
    time_zone: str = "UTC",
    cache_dir: Path | None = None,
    https: bool = False,
) -> Starlette:
    """The web board over a source of views.

    `tokens`: who brings none of them sees nothing; none at all: only requests from this machine. `poll_s`: how often
    the source is asked for its version. `time_zone`: in which a date in `?as_of=` begins. `cache_dir`: where the Vega
    bundle is kept (default: the user's cache). `https`: browsers reach it by https, whatever a proxy speaks with us.
    """
    board = Board(source, title=title, poll_s=poll_s, time_zone=time_zone, cache_dir=cache_dir)
    routes = [
        Route("/", board.company),
        Route("/go", board.go),
        Route("/deals", board.deals),
        Route("/health", board.operators),
        Route("/api/view", board.api_view),
        Route("/api/deals", board.api_deals),
        Route("/api/health", board.api_health),
        Route("/events", board.events),
        Route("/healthz", board.health),
        Route("/static/{name}", board.static),
        *[Route(f"/{kind}/{{scope:path}}", _scoped(board, kind)) for kind in ("territory", "team", "rep")],
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Guard, tokens=tokens, https=https),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5),
        ],
        exception_handlers={HTTPException: on_http_error, Exception: on_http_error},
    )
    app.state.feed = board.feed
    app.state.has_token = tokens is not None
    return app


def _scoped(board: Board, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def handler(request: Request) -> Response:
        request.path_params["dimension"] = kind
        return await board.scope(request)

    return handler
