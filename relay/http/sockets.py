"""The two listening sockets and what serves behind each."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import http_parser, web

from relay.dashboard.routes import build_dashboard_app
from relay.errors import PortError
from relay.http.guard import Guard
from relay.ingress.receive import IngressHandler
from relay.ingress.server import PublicServer
from relay.services.state import HandlerContext

BACKLOG = 128
_ACCEPT_BATCH = 8
PORT_TRIES = 50  # ports looked at after a default one that is taken
_SHUTDOWN_TIMEOUT = 5.0  # seconds that a request in flight has left when relay stops
_KEEPALIVE = 15.0


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


def format_address(listening: socket.socket) -> str:
    """Return the address of a listening socket as `host:port`."""
    host, port = listening.getsockname()[:2]
    return join_host_port(host, port)


def join_host_port(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serve_ingress(listening: socket.socket, door: IngressHandler) -> AsyncIterator[None]:
    """Serve webhooks for as long as the block lasts."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        # The pure-Python parser is where most of aiohttp's request-smuggling flaws were.
        raise PortError("aiohttp lacks its C parser", hint="install aiohttp from a wheel")
    runner = web.ServerRunner(PublicServer(door), handle_signals=False, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        # asyncio accepts as many at a time as wait to be accepted, before any of them can be told that there are
        # too many, and may run out of descriptors by it. The second call alone says how many may wait.
        await web.SockSite(runner, listening, backlog=_ACCEPT_BATCH).start()
        listening.listen(BACKLOG)
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_dashboard(listening: socket.socket, desk: HandlerContext, guard: Guard) -> AsyncIterator[None]:
    """Serve the dashboard and the API for as long as the block lasts."""
    runner = web.AppRunner(
        build_dashboard_app(desk, guard),
        handle_signals=False,
        access_log=None,
        keepalive_timeout=_KEEPALIVE,
        shutdown_timeout=_SHUTDOWN_TIMEOUT,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
