"""The server of the live page (Starlette): one page, its events, and nothing else of the machine.

Only the loopback is served without a token. A request whose ``Host`` is another name is refused, so that a page of the
Internet whose name leads to the loopback reads nothing; requests that change something must come from the page itself.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pokered_rl.record.live.follower import RunFollower

__all__ = ["is_loopback", "make_app"]

_FILES = {
    "/": ("live/page.html", "text/html"),
    "/page.js": ("live/page.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/page.css": ("live/page.css", "text/css"),
}
_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
     b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip
_COOKIE = "pokered_live"
_MAX_BODY_BYTES = 4096
_MOST_PAGES = 32
_PING_SECONDS = 5.0


def is_loopback(host: str) -> bool:
    """Return whether an address or name leads to this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Guard:
    """Refuse requests under another name, without the token, or from other pages; add the security headers.

    Args:
        app: What is guarded.
        token: The token; None on the loopback, where names other than its own are refused instead.
    """

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        refused = self._refusal(scope)
        await (self._app if refused is None else refused)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._token is None and not is_loopback(_name_of(host)):
            return PlainTextResponse("this page is served under the names of the loopback only", 421)
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        foreign = foreign or headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        if foreign and (scope["method"] != "GET" or scope["path"] != "/"):
            return PlainTextResponse("requests of other pages are refused", 403)
        if self._token is None:
            return None
        request = Request(scope)
        given = request.query_params.get("token", "")
        if given and hmac.compare_digest(given.encode(), self._token.encode()):
            response = RedirectResponse("/", 303)
            response.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
            return response
        if hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self._token.encode()):
            return None
        return PlainTextResponse("give the token: http://ADDRESS:PORT/?token=TOKEN", 401)


def _name_of(host: str) -> str:
    """Return the name or address in a ``Host``, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def make_app(follower: RunFollower, *, token: str | None = None) -> Starlette:
    """Return the application of a run's live page.

    Args:
        follower: Of the run.
        token: What a browser must give once; None serves the loopback.
    """
    files = {
        path: (resources.files("pokered_rl.record").joinpath(name).read_bytes(), kind)
        for path, (name, kind) in _FILES.items()
    }

    async def file(request: Request) -> Response:
        content, kind = files[request.url.path]
        return Response(content, media_type=kind)

    async def no_icon(request: Request) -> Response:
        return Response(status_code=204)

    async def events(request: Request) -> Response:
        if follower.num_pages >= _MOST_PAGES:
            return PlainTextResponse(f"{_MOST_PAGES} pages are open already", 503)

        async def stream() -> AsyncIterator[str]:
            queue = follower.subscribe()
            try:
                yield "retry: 1000\n\n"
                while True:
                    try:
                        text = await asyncio.wait_for(queue.get(), _PING_SECONDS)
                    except TimeoutError:
                        yield ": still here\n\n"
                        continue
                    if not text:
                        return
                    yield text
            finally:
                follower.unsubscribe(queue)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def picture(request: Request) -> Response:
        png = follower.pictures.png(request.path_params["map_id"])
        return PlainTextResponse("no such map", 404) if png is None else Response(png, media_type="image/png")

    async def screen(request: Request) -> Response:
        found = follower.screen(request.path_params["track"], request.path_params["step"])
        if found is None:
            return PlainTextResponse("no such step", 404)
        return Response(found, media_type="application/octet-stream")

    def values(request: Request) -> Response:  # in a thread: it may load the network
        found = follower.values(request.path_params["track"], request.path_params["step"])
        return Response(json.dumps(found), media_type="application/json")

    async def look(request: Request) -> Response:
        asked = await _body(request)
        emulator = asked.get("emulator")
        if type(emulator) is not int or not -1 <= emulator < 2**20:
            return PlainTextResponse("emulator must be a number", 400)
        follower.look_at(emulator, log=asked.get("log") is True)
        return Response(status_code=204)

    async def logs(request: Request) -> Response:
        follower.list_logs()
        return Response(status_code=204)

    async def open_log(request: Request) -> Response:
        index = (await _body(request)).get("log")
        found = type(index) is int and follower.open_log(index)
        return Response(status_code=204) if found else PlainTextResponse("no such log", 404)

    async def take_over(request: Request) -> Response:
        asked = await _body(request)
        track, step = asked.get("track"), asked.get("step")
        if type(track) is not int or type(step) is not int:
            return PlainTextResponse("track and step must be numbers", 400)
        refused = follower.take_over(track, step)
        return PlainTextResponse(refused, 409) if refused else Response(status_code=204)

    async def press(request: Request) -> Response:
        key = (await _body(request)).get("key")
        known = isinstance(key, str) and follower.press(key)
        return Response(status_code=204) if known else PlainTextResponse("no such key now", 404)

    @asynccontextmanager
    async def follow(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(follower.follow())
        try:
            yield
        finally:
            task.cancel()

    routes = [
        *(Route(path, file) for path in files),
        Route("/favicon.ico", no_icon),
        Route("/events", events),
        Route("/map/{map_id:int}.png", picture),
        Route("/screen/{track:int}/{step:int}", screen),
        Route("/values/{track:int}/{step:int}", values),
        Route("/look", look, methods=["POST"]),
        Route("/logs", logs, methods=["POST"]),
        Route("/open", open_log, methods=["POST"]),
        Route("/take", take_over, methods=["POST"]),
        Route("/press", press, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_Guard, token=token)], lifespan=follow)


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request; an empty one where it is none, or is too long."""
    if request.headers.get("content-type", "") != "application/json":
        return {}
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _MAX_BODY_BYTES:
            return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
