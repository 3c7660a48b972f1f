"""Listening sockets, without aiohttp: `relay doctor` tries the ports."""

import errno
import socket

from relay.errors import PortError

BACKLOG = 128
PORT_TRIES = 50  # ports tried after a default port that is in use


def open_listener(address: tuple[str, int], option: str, *, named: bool) -> socket.socket:
    """Return a listening socket at `address`, or at the next free port unless one was `named`.

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
