"""The egress policy: the URLs, and the addresses behind their names, that relay may connect to."""

import asyncio
import ipaddress
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import field, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urlsplit

from relay.errors import TargetError
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[tuple[Address, ...]]]

MAX_URL = 4096
RESOLVE_SECONDS = 5.0
_PROBE_SECONDS = 2.0

_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\\]")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_NUMERIC = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")  # by its last label, as browsers do
# Metadata addresses of clouds besides 169.254.169.254, which is link-local anyway:
# AWS and GCP over IPv6, Alibaba, Azure, Oracle.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_URL_SAFE = "/%:;,=+&$!'()*~-._@"
_BARE_PORT = re.compile(r":?(\d{1,5})([/?].*)?")
_BARE_HOST = re.compile(
    r"(?:(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+):\d{1,5}|localhost|127(?:\.\d+){3}|\[::1\])(?:[/?].*)?", re.IGNORECASE
)
_NAMED_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:[:/]|$)", re.IGNORECASE)
_FORMS_HINT = "use http://localhost:3000/webhooks"


class UnknownHostError(TargetError):
    """A name that currently has no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRules:
    """The addresses that may be called. A pair is a lower-case host with a port.

    `typed`: the URL was typed in rather than configured, so it must be loopback or one of
    `configured` or `allowed`. `own` is where relay itself listens, `own_names` the names under
    which it is reachable from outside: both would be a loop.
    """

    typed: bool = False
    configured: frozenset[tuple[str, int]] = frozenset()
    allowed: frozenset[tuple[str, int]] = frozenset()
    own: frozenset[tuple[str, int]] = frozenset()
    own_names: frozenset[str] = frozenset()


class EgressPolicy:
    """The current rules, for a typed or a configured URL."""

    def __init__(self, rules: EgressRules) -> None:
        self._by_typed = {typed: replace(rules, typed=typed) for typed in (False, True)}

    def __call__(self, typed: bool) -> EgressRules:
        """Return the current rules."""
        return self._by_typed[typed]

    def set_own_names(self, names: frozenset[str]) -> None:
        """Replace the public names of relay."""
        self._by_typed = {typed: replace(rules, own_names=names) for typed, rules in self._by_typed.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A checked URL in parts, and its allowed addresses: connect to those and to nothing else.

    `host` is lower-case and without brackets; a number in any spelling is a plain address.
    `path` and `query` are ASCII, percent-encoded, `path` starting with a slash.
    `authority` is `host` or `host:port`, as a Host header has it; `loopback`: every address is this computer's own.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str
    addresses: tuple[Address, ...] = ()

    authority: str = field(init=False)
    loopback: bool = field(init=False)

    def __post_init__(self) -> None:
        """Compute the values that each request needs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"
        object.__setattr__(self, "authority", authority)
        is_loopback = bool(self.addresses) and all(_is_loopback(address) for address in self.addresses)
        object.__setattr__(self, "loopback", is_loopback)

    def url(self, path: str | None = None, query: str | None = None) -> str:
        """Return the whole address, optionally with another path and query."""
        path = self.path if path is None else path
        query = self.query if query is None else query
        return f"{self.scheme}://{self.authority}{path}{'?' if query else ''}{query}"


async def resolve(host: str, port: int, seconds: float = RESOLVE_SECONDS) -> tuple[Address, ...]:
    """Return all addresses of a name. Raises UnknownHostError, also after `seconds`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise UnknownHostError(f"no answer about the name {host} in {seconds:g} s") from error
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(f"cannot find the host {host}", hint="is the name spelled correctly?") from error
    return tuple(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


async def check_target(url: str, rules: EgressRules, resolve: Resolve = resolve) -> Destination:
    """Return the destination of `url` after checking every address of its name.

    Raises TargetError with the rule that it breaks, UnknownHostError if the name has no address.
    """
    parts = check_syntax(url, rules)
    addresses = parts.addresses or await resolve(parts.host, parts.port)
    if not addresses:
        raise UnknownHostError(f"cannot find the host {parts.host}", hint="is the name spelled correctly?")
    for address in addresses:
        _check_address(parts, address, rules)
    destination = replace(parts, addresses=addresses)
    named = (parts.host, parts.port) in rules.configured | rules.allowed
    if rules.typed and not destination.loopback and not named:
        raise TargetError(
            f"{destination.authority} is neither on this computer nor a configured target",
            hint=f'allow_targets = ["{parts.host}:{parts.port}"] under [server] lets a typed-in URL reach it',
        )
    return destination


async def probe_connection(hosts: Iterable[str], port: int) -> bool:
    """Return whether one of the hosts accepts a connection; nothing is sent over it."""
    for host in hosts:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except OSError:
            continue
        # If tried often enough, a port without a listener becomes the caller's own: TCP then connects
        # a socket to itself, and a program that wants to listen there finds the port in use.
        itself = writer.get_extra_info("sockname") == writer.get_extra_info("peername")
        if not itself:
            writer.close()
            return True
        # Reset instead of closed, or the port would stay in use for a minute.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
    return False


def check_syntax(url: str, rules: EgressRules = EgressRules()) -> Destination:
    """Return the parts of `url` without a lookup, so `addresses` is empty unless the host is an address.

    Used when a configuration is read. Raises TargetError for errors that no lookup can change.
    """
    destination = _parse(url)
    for address in destination.addresses or _well_known_addresses(destination.host):
        _check_address(destination, address, rules)
    if destination.host.rstrip(".") in rules.own_names:
        raise _loop_error(destination)
    return destination


def complete_url(text: str) -> str:
    """Return a typed address with the scheme that was left out: `3000`, `:3000/x`, `localhost:3000/x`.

    A host without a port is only completed if it is this computer; anything else is returned unchanged.
    """
    if "://" in text:
        return text
    if port := _BARE_PORT.fullmatch(text):
        return f"http://localhost:{port[1]}{port[2] or ''}"
    return f"http://{text}" if _BARE_HOST.fullmatch(text) else text


@lru_cache(maxsize=256)
def _parse(url: str) -> Destination:
    if len(url) > MAX_URL:
        raise TargetError(f"a target is limited to {MAX_URL} characters", hint=_FORMS_HINT)
    if _CONTROL.search(url) or any(0xD800 <= ord(letter) <= 0xDFFF for letter in url):
        raise TargetError(f"'{escape_unprintable(url, 80)}' holds characters that no URL has", hint=_FORMS_HINT)
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise TargetError(
            f"'{escape_unprintable(url, 80)}' is not a URL: {escape_unprintable(str(error))}", hint=_FORMS_HINT
        ) from error
    scheme = split.scheme.lower()
    if scheme not in _PORTS or not url.lower().startswith(f"{scheme}://"):
        meant = None if "://" in url or not _NAMED_HOST.match(url) else f"use http://{escape_unprintable(url, 80)}"
        raise TargetError("a target must be http:// or https://", hint=meant or _FORMS_HINT)
    if "@" in split.netloc:
        raise TargetError("a target must not hold a user name or a password", hint=_FORMS_HINT)
    if port == 0:
        raise TargetError("port 0 cannot be connected to", hint=_FORMS_HINT)
    host, addresses = _parse_host(split.hostname or "", url)
    return Destination(
        scheme=scheme,
        host=host,
        port=port or _PORTS[scheme],
        path=quote(split.path, safe=_URL_SAFE) or "/",
        query=quote(split.query, safe=_URL_SAFE + "?[]"),
        addresses=addresses,
    )


def _parse_host(host: str, url: str) -> tuple[str, tuple[Address, ...]]:
    if not host:
        raise TargetError(f"'{escape_unprintable(url, 80)}' names no host", hint=_FORMS_HINT)
    try:
        if not host.isascii():
            host = host.encode("idna").decode("ascii").lower()
        if ":" in host and "%" not in host:
            address: Address = IPv6Address(host)
        elif _NUMERIC.fullmatch(host.removesuffix(".")):
            # 127.1, 0x7f.1 and 2130706433 are all 127.0.0.1 to the C library, and so here.
            address = IPv4Address(socket.inet_aton(host.removesuffix(".")))
        else:
            return _checked_name(host), ()
    except (ValueError, OSError) as error:
        raise TargetError(f"'{escape_unprintable(host, 80)}' is not a host", hint=_FORMS_HINT) from error
    return str(address), (address,)


def _checked_name(host: str) -> str:
    if len(host) > 253 or not _HOST_NAME.fullmatch(host) or any(len(label) > 63 for label in host.split(".")):
        raise ValueError(host)
    return host


def _well_known_addresses(host: str) -> tuple[Address, ...]:
    # RFC 6761: localhost and every name below it are loopback, regardless of the resolver.
    name = host.rstrip(".")
    return (IPv4Address("127.0.0.1"),) if name == "localhost" or name.endswith(".localhost") else ()


def _check_address(destination: Destination, address: Address, rules: EgressRules) -> None:
    refused = next((reason for inner in _embedded_addresses(address) if (reason := _refusal_reason(inner))), None)
    if refused:
        shown = destination.host if destination.host == str(address) else f"{destination.host} ({address})"
        raise TargetError(f"{shown} is not an allowed target ({refused})", hint=_FORMS_HINT)
    if any(destination.port == port and _is_bound_to(address, host) for host, port in rules.own):
        raise _loop_error(destination)


def _embedded_addresses(address: Address) -> tuple[Address, ...]:
    """Return the addresses that this one represents: itself, or those embedded in it."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.teredo:
        return address.teredo
    if address.sixtofour:
        return (address.sixtofour,)
    if any(address in network for network in _NAT64) or (address in _COMPATIBLE and int(address) > 1):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,)


def _refusal_reason(address: Address) -> str | None:
    if address in _METADATA or str(address) == "169.254.169.254":
        return "a cloud's metadata service"
    if address.is_loopback:
        return None
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_NETWORK):
        return "unspecified"
    return "reserved" if address.is_reserved else None


def _is_loopback(address: Address) -> bool:
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (inner or address).is_loopback


def _is_bound_to(address: Address, host: str) -> bool:
    """Return whether a socket bound to `host` is reached at `address`."""
    if host == "localhost":
        return _is_loopback(address)
    try:
        bound = ipaddress.ip_address(host)
    except ValueError:
        return False
    if bound.is_unspecified:
        return _is_loopback(address) or _is_own_address(address)
    return any(inner == bound for inner in (address, *_embedded_addresses(address)))


def _is_own_address(address: Address) -> bool:
    # Only an address of this computer can be bound to.
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _loop_error(destination: Destination) -> TargetError:
    return TargetError(f"{destination.authority} is relay itself (loop)", hint="name your own app's port")
