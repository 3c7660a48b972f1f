"""Limits before a request is read: allowed addresses and rates; and counts of what was refused."""

import math
from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from relay.model.admission import Network, Rate
from relay.model.clock import Clock
from relay.model.event import Headers, Source
from relay.model.signals import RequestRefused
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

# Rounding errors over a year of requests: a client that waits as long as told is accepted.
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRefusal:
    """Why a request is refused unread. `detail` is for the dashboard, `retry_after` in whole seconds."""

    status: int
    code: str
    message: str
    hint: str
    detail: str
    retry_after: int | None = None

    @property
    def headers(self) -> Headers:
        """Return the headers of the response."""
        return () if self.retry_after is None else (("Retry-After", str(self.retry_after)),)


@dataclass(slots=True)
class TokenBucket:
    """A token bucket: each request takes one token, and tokens are refilled over time."""

    tokens: float
    at: float

    def take(self, rate: Rate, now: float) -> float:
        """Take a token and return 0.0; if there is none, return the seconds until the next one."""
        each = 60.0 / rate.per_minute
        self.tokens = min(float(rate.burst), self.tokens + (now - self.at) / each)
        self.at = now
        if self.tokens >= 1.0 - _TOLERANCE:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) * each


class RequestLimits:
    """Checks addresses and rates. It keeps a bucket for each configured rate, so its memory is bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}

    def refuse(self, source: Source, caller: str) -> LimitRefusal | None:
        """Return why a request is refused, None if it is allowed.

        Addresses are checked first: a refused address uses no tokens.
        """
        rules = source.admission
        if rules.networks and not is_address_allowed(caller, rules.networks):
            return LimitRefusal(
                status=403,
                code="address_not_allowed",
                message="this address is not allowed",
                hint="allow_ips of the source lists those that are",
                detail=f"{escape_unprintable(caller, 60)} is not in allow_ips",
            )
        wait = self._wait(source.name, rules.rate) if rules.rate else 0.0
        if rules.rate is None or not wait:
            return None
        seconds = max(1, math.ceil(wait - _TOLERANCE))
        return LimitRefusal(
            status=429,
            code="too_fast",
            message="too many requests",
            hint=f"try again in {seconds} s",
            detail=f"faster than {rules.rate.per_minute} a minute, {rules.rate.burst} at once",
            retry_after=seconds,
        )

    def _wait(self, name: str, rate: Rate) -> float:
        now = self._clock.monotonic()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(float(rate.burst), now)
        return bucket.take(rate, now)


UNKNOWN = "unknown"
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


def is_loopback(peer: str) -> bool:
    """Return whether a connection comes from this computer, where a tunnel's agent runs."""
    if peer in _LOOPBACK:
        return True
    address = _parse_address(peer)
    return address is not None and address.is_loopback


def forwarded_for(values: Iterable[str]) -> str:
    """Return the address that the last hop wrote into `X-Forwarded-For`, UNKNOWN if it is not an address.

    `values` are those of every header of that name, in order. Only the right-most entry counts: it is
    written by the tunnel, and the caller may have sent those before it.
    """
    last = ",".join(values).rpartition(",")[2].strip(" \t")
    address = _parse_address(last) or _parse_address(_without_port(last))
    return UNKNOWN if address is None else str(address)


def is_address_allowed(caller: str, networks: tuple[Network, ...]) -> bool:
    """Return whether an address is in one of the networks; False for text that is not an address."""
    address = _parse_address(caller)
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=1024)
def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # Dual-stack sockets report IPv4 clients as ::ffff:192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _without_port(text: str) -> str:
    if text.startswith("["):
        inside, closed, port = text[1:].partition("]")
        return inside if closed and (not port or port.startswith(":")) else text
    host, _, port = text.partition(":")
    return host if port.isascii() and port.isdigit() else text


_MAX_SOURCES = 1000  # names counted separately: the inbox accepts any name, and memory must stay bounded
_MAX_RECENT = 5  # latest refusals kept for each status


@dataclass(slots=True)
class RefusalKind:
    """Requests refused with one status; `recent` are the last few of them, the newest first."""

    count: int = 0
    recent: deque[RequestRefused] = field(default_factory=lambda: deque(maxlen=_MAX_RECENT))

    @property
    def latest(self) -> RequestRefused:
        """Return the latest refusal."""
        return self.recent[0]


class RefusalCounts:
    """Counts refusals since relay started."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[int, RefusalKind]] = {}

    def note(self, refused: RequestRefused) -> None:
        """Count a refusal; beyond a thousand names, refusals count for no source."""
        full = len(self._kinds) >= _MAX_SOURCES and refused.source not in self._kinds
        kinds = self._kinds.setdefault("" if full else refused.source, {})
        kind = kinds.setdefault(refused.status, RefusalKind())
        kind.count += 1
        kind.recent.appendleft(refused)

    def of(self, source: str) -> tuple[RefusalKind, ...]:
        """Return the refusals of a source ("" for those of no source), the most frequent kind first."""
        return tuple(sorted(self._kinds.get(source, {}).values(), key=lambda kind: -kind.count))

    def list_others(self, names: Container[str]) -> tuple[RefusalKind, ...]:
        """Return the refusals of no source, or of sources that are not in `names`."""
        merged: dict[int, RefusalKind] = {}
        for name, kinds in self._kinds.items():
            for status, kind in kinds.items() if name not in names else ():
                known = merged.setdefault(status, RefusalKind())
                known.count += kind.count
                recent = sorted((*known.recent, *kind.recent), key=_get_time, reverse=True)
                known.recent = deque(recent[:_MAX_RECENT], maxlen=_MAX_RECENT)
        return tuple(sorted(merged.values(), key=lambda kind: -kind.count))

    def __iter__(self) -> Iterator[str]:
        yield from self._kinds


def _get_time(refused: RequestRefused) -> datetime:
    return refused.at or datetime.min.replace(tzinfo=UTC)
