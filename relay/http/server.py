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

MAX_REQUEST_BODY = 1024 * 1024  # bytes that a call may carry
_KEEPALIVE = 15.0
SHUTDOWN_TIMEOUT = 5.0  # seconds that a request in flight has left when relay stops


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
    """Return routes as what `app.router.register_resource` takes.

    To build a hundred takes a fifth of a start, and any number of apps can share them: they hold no state.
    """
    router = web.UrlDispatcher()
    router.add_routes(routes)
    return tuple(router.resources())


class _Protocol(RequestHandler):
    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Refuse what is no HTTP, or can be read in two ways, as everything is refused: it is logged and not quoted."""
        super().handle_error(request, status, exc, message)
        refusal = ("bad_request", "the request cannot be read")
        failure = ("internal", "relay failed on this request", "its log says why")
        response = error_response(status, *(refusal if status < 500 else failure))
        set_security_headers(response)  # no signal of the app is sent for what is no request of its
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


@asynccontextmanager
async def serve_app(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """Serve an app while the block runs."""
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, keepalive_timeout=_KEEPALIVE, shutdown_timeout=SHUTDOWN_TIMEOUT
    )
    await runner.setup()
    assert runner.server is not None
    runner.server.__class__ = _Server  # an AppRunner makes its server, and that its protocols, by itself
    try:
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
