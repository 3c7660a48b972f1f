"""Circuit breaker: which targets accept connections, learned from attempts and from probes of those that are down."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

from relay.actions.forward import GONE
from relay.model.delivery import ActionResult, AttemptRetry
from relay.model.values import dataclass

PROBE_SECONDS = 0.5  # between two probes of a target that is down
LONGEST_PROBE_WAIT = 30.0  # for one that accepts connections but no request


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHealth:
    """The health of a target according to its last attempt.

    `gone`: it answered 410, so nothing more is sent. `tried`: it accepted a connection, which no
    attempt has confirmed yet; `false_recoveries` counts consecutive unconfirmed ones.
    """

    up: bool = True
    gone: bool = False
    detail: str = ""
    probe_at: float = 0.0
    tried: bool = False
    false_recoveries: int = 0


class CircuitBreaker:
    """The health of each target by name; a target that was never tried is up.

    One attempt that cannot connect is enough: the target is down, and probes try to connect
    until one succeeds. `down` and `gone` map names to the reason, updated in
    place, and `on_change` is called with each target that goes down or comes back. Times (`at`) are seconds
    of a monotonic clock.
    """

    def __init__(self, on_change: Callable[[str], None] = lambda _: None) -> None:
        self._on_change = on_change
        self.health: dict[str, TargetHealth] = {}
        self.down: dict[str, str] = {}
        self.gone: dict[str, str] = {}

    def note(self, target: str, result: ActionResult, at: float) -> bool:
        """Update the health from an attempt; return whether a target that was down is up again."""
        known = self.health.get(target, TargetHealth())
        outcome = result.outcome
        unreachable = isinstance(outcome, AttemptRetry) and outcome.unreachable
        if result.request is None and not unreachable:
            return False  # nothing was sent, so nothing was learned
        if not unreachable:
            gone = result.response is not None and result.response.status == GONE
            self._set_health(target, TargetHealth(detail=outcome.detail, gone=gone))
            return not known.up
        failed = replace(known, up=False, gone=False, detail=outcome.detail, tried=False)
        if known.up:
            false_recoveries = known.false_recoveries + 1 if known.tried else 0
            wait = min(PROBE_SECONDS * 2.0 ** min(false_recoveries, 16), LONGEST_PROBE_WAIT)
            failed = replace(failed, false_recoveries=false_recoveries, probe_at=at + wait)
        self._set_health(target, failed)
        return False

    def note_probe(self, target: str, *, answered: bool, at: float) -> None:
        """Update the health from a probe."""
        known = self.health.get(target, TargetHealth())
        asked = replace(known, up=True, tried=True) if answered else replace(known, probe_at=at + PROBE_SECONDS)
        self._set_health(target, asked)

    def take_probes(self, at: float) -> tuple[str, ...]:
        """Return the targets that are due for a probe; each is returned once."""
        taken = tuple(name for name in self.down if self.health[name].probe_at <= at)
        for name in taken:
            self.health[name] = replace(self.health[name], probe_at=inf)
        return taken

    def next_probe(self) -> float | None:
        """Return when the next probe is due; None while all targets are up."""
        return min((self.health[name].probe_at for name in self.down), default=None)

    def next_try(self, target: str, at: float) -> float:
        """Return the seconds until the next probe of a target that is down."""
        wait = self.health.get(target, TargetHealth()).probe_at - at
        return wait if 0 < wait < inf else 0.0

    def _set_health(self, target: str, health: TargetHealth) -> None:
        before = target in self.down, target in self.gone
        self.health[target] = health
        _update_reasons(self.down, target, health.detail, holds=not health.up)
        _update_reasons(self.gone, target, health.detail, holds=health.gone)
        if before != (target in self.down, target in self.gone):
            self._on_change(target)


def _update_reasons(reasons: dict[str, str], target: str, reason: str, *, holds: bool) -> None:
    if holds:
        reasons[target] = reason
    else:
        reasons.pop(target, None)
