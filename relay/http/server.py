"""The loopback port: one guarded app for dashboard and API."""

import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_urldispatcher import AbstractResource

from relay.http.guard import Guard, add_headers, make_guard_middleware, set_security_headers
from relay.http.listening import BACKLOG
from relay.http.responses import RELAY, error_response
from relay.services.relay import RunningRelay

MAX_REQUEST_BODY = 1024 * 1024  # maximum bytes of a request body
_KEEPALIVE = 15.0
SHUTDOWN_TIMEOUT = 5.0  # seconds for requests in flight when relay stops


def build_app(
    relay: RunningRelay, guard: Guard, parts: Iterable[Callable[[web.Application, Guard], None]]
) -> web.Application:
    """Return a guarded app; each of `parts` adds its routes and state to it."""
    app = web.Application(middlewares=[make_guard_middleware(guard)], client_max_size=MAX_REQUEST_BODY)
    app[RELAY] = relay
    app.on_response_prepare.append(add_headers)
    for add in parts:
        add(app, guard)
    return app


def build_resources(routes: Iterable[web.AbstractRouteDef]) -> tuple[AbstractResource, ...]:
    """Return routes as resources for `app.router.register_resource`.

    Building a hundred takes a fifth of the start-up time; they have no state, so apps can share them.
    """
    router = web.UrlDispatcher()
    router.add_routes(routes)
    return tuple(router.resources())


class _Protocol(RequestHandler):
    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Refuse data that is not HTTP or ambiguous like any other request: logged, not quoted."""
        super().handle_error(request, status, exc, message)
        refusal = ("bad_request", "the request cannot be read")
        failure = ("internal", "relay failed on this request", "its log says why")
        response = error_response(status, *(refusal if status < 500 else failure))
        set_security_headers(response)  # the app's signals are not sent for such data
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


@asynccontextmanager
async def serve_app(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """Serve an app until the block ends."""
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, keepalive_timeout=_KEEPALIVE, shutdown_timeout=SHUTDOWN_TIMEOUT
    )
    await runner.setup()
    assert runner.server is not None
    runner.server.__class__ = _Server  # an AppRunner creates its server and protocols itself
    try:
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
