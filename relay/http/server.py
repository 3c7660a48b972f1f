"""Listening sockets, and the loopback port: one guarded app for dashboard and API."""

import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from relay.errors import PortError
from relay.http.guard import Guard, add_headers, make_guard_middleware
from relay.http.responses import RELAY
from relay.services.relay import RunningRelay

MAX_REQUEST_BODY = 1024 * 1024  # bytes that a call may carry
_KEEPALIVE = 15.0
BACKLOG = 128
SHUTDOWN_TIMEOUT = 5.0  # seconds that a request in flight has left when relay stops
PORT_TRIES = 50  # ports looked at after a default one that is taken


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


@asynccontextmanager
async def serve_app(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """Serve an app for as long as the block lasts."""
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, keepalive_timeout=_KEEPALIVE, shutdown_timeout=SHUTDOWN_TIMEOUT
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()


def open_listener(address: tuple[str, int], option: str, *, named: bool) -> socket.socket:
    """Return a listening socket at `address`, or at the next free port where none was `named`.

    Raises PortError naming the port and the option that would change it.
    """
    host, first = address
    for port in range(first, first + (1 if named or not first else PORT_TRIES)):
        try:
            return _bind_socket(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and not named:
                continue
            raise _make_port_error(error, address, option) from error
    raise PortError(f"no port from {first} to {first + PORT_TRIES - 1} is free", hint=f"name one with {option}")


def _bind_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _make_port_error(error: OSError, address: tuple[str, int], option: str) -> PortError:
    host, port = address
    if error.errno == errno.EADDRINUSE:
        return PortError(f"port {port} is in use by another program", hint=f"name another with {option}")
    if error.errno == errno.EACCES:
        return PortError(f"not allowed to use port {port}", hint="choose one above 1023")
    return PortError(f"cannot listen on {host}:{port}: {error.strerror}", hint=f"name another with {option}")
