"""Who called: the other end of the connection, or whom the tunnel names where the tunnel is at that end."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from relay.model.admission import Network

UNKNOWN = "unknown"
_HERE = frozenset({"127.0.0.1", "::1"})


def is_loopback(peer: str) -> bool:
    """Say whether the other end of a connection is this computer, where a tunnel's agent runs."""
    if peer in _HERE:
        return True
    address = _read(peer)
    return address is not None and address.is_loopback


def forwarded_for(values: Iterable[str]) -> str:
    """Return the address that the last hop wrote into `X-Forwarded-For`, UNKNOWN where it is none.

    `values` are those of every header of that name, in order. Only the right-most entry counts: it is
    the tunnel's own word, and what stands before it is the caller's.
    """
    last = ",".join(values).rpartition(",")[2].strip(" \t")
    address = _read(last) or _read(_without_port(last))
    return UNKNOWN if address is None else str(address)


def allowed(caller: str, networks: tuple[Network, ...]) -> bool:
    """Say whether an address lies in one of the networks; what is no address lies in none."""
    address = _read(caller)
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=1024)
def _read(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # Sockets that serve both families give IPv4 callers as ::ffff:192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _without_port(text: str) -> str:
    if text.startswith("["):
        inside, closed, port = text[1:].partition("]")
        return inside if closed and (not port or port.startswith(":")) else text
    host, _, port = text.partition(":")
    return host if port.isascii() and port.isdigit() else text
