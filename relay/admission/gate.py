"""The gate before a request is read: may this address come, and not too fast."""

import math
from dataclasses import dataclass

from relay.admission.addresses import allowed
from relay.clock import Clock
from relay.model.admission import Rate
from relay.model.event import Source
from relay.model.text import printable

# What floating point loses over a year of requests: who waits as long as was asked for, gets in.
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAway:
    """Why a request is not even read. `detail` is for the dashboard, `retry_after` in whole seconds."""

    status: int
    code: str
    message: str
    hint: str
    detail: str
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return what the answer says beside its body."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


@dataclass(slots=True)
class Bucket:
    """Tokens left at a moment, one for each request; they fill up again as time goes by."""

    tokens: float
    at: float

    def take(self, rate: Rate, now: float) -> float:
        """Take a token and return 0.0, or leave them and return in how many seconds there is one."""
        each = 60.0 / rate.per_minute
        self.tokens = min(float(rate.burst), self.tokens + (now - self.at) / each)
        self.at = now
        if self.tokens >= 1.0 - _TOLERANCE:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) * each


class Gate:
    """Keeps a bucket for each source that has a rate, so its memory is as large as relay.toml."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def refuse(self, source: Source, caller: str) -> TurnedAway | None:
        """Return why a request is turned away, None where it may come in.

        Addresses are looked at first: who may not come uses up nobody's rate.
        """
        rules = source.admission
        if rules.networks and not allowed(caller, rules.networks):
            return TurnedAway(
                status=403,
                code="address_not_allowed",
                message="this address is not allowed",
                hint="allow_ips of the source lists those that are",
                detail=f"{printable(caller, 60)} is not in allow_ips",
            )
        wait = self._wait(source.name, rules.rate) if rules.rate else 0.0
        if rules.rate is None or not wait:
            return None
        seconds = max(1, math.ceil(wait - _TOLERANCE))
        return TurnedAway(
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
            bucket = self._buckets[name] = Bucket(float(rate.burst), now)
        return bucket.take(rate, now)
