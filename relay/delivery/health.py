"""Which targets take connections: told by attempts, and asked again while one does not."""

from dataclasses import dataclass, replace
from datetime import datetime
from math import inf

from relay.model.delivery import ActionResult, Retry

FAILURES = 10  # attempts in a row that found nobody there
FIRST_KNOCK = 1.0  # seconds until a target that is down is asked again, doubling
LAST_KNOCK = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a target is, in the words of its last attempt. `seen_at` is when it last answered."""

    up: bool = True
    detail: str = ""
    seen_at: datetime | None = None
    failures: int = 0
    knocks: int = 0
    knock_at: float = 0.0


class Ward:
    """The health of each target by name; a target that nobody tried is taken to be up.

    `down` maps those that are down to the reason, kept current in place. Moments given as `at` are
    seconds of a clock that never jumps.
    """

    def __init__(self) -> None:
        self.health: dict[str, Health] = {}
        self.down: dict[str, str] = {}

    def note(self, target: str, result: ActionResult, now: datetime, at: float) -> bool:
        """Learn from an attempt; return whether it shows that a target that was down is up again."""
        known = self.health.get(target, Health())
        outcome = result.outcome
        unreachable = isinstance(outcome, Retry) and outcome.unreachable
        if result.request is None and not unreachable:
            return False  # nothing was sent, so nothing was learnt
        if not unreachable:
            self._put(target, Health(detail=outcome.detail, seen_at=now))
            return not known.up
        failed = replace(known, failures=known.failures + 1, detail=outcome.detail)
        if known.up and failed.failures >= FAILURES:
            failed = replace(failed, up=False, knocks=0, knock_at=at + FIRST_KNOCK)
        self._put(target, failed)
        return False

    def knocked(self, target: str, *, answered: bool, at: float) -> None:
        """Learn from a connection that was tried for its own sake."""
        known = self.health.get(target, Health())
        if answered:
            # On probation: one more failure, and it is down again.
            self._put(target, replace(known, up=True, failures=FAILURES - 1, knocks=0))
            return
        wait = min(FIRST_KNOCK * 2 ** (known.knocks + 1), LAST_KNOCK)
        self._put(target, replace(known, knocks=min(known.knocks + 1, 10), knock_at=at + wait))

    def take_knocks(self, at: float) -> tuple[str, ...]:
        """Return the targets that are to be asked now whether they are up again; each once."""
        taken = tuple(name for name in self.down if self.health[name].knock_at <= at)
        for name in taken:
            self.health[name] = replace(self.health[name], knock_at=inf)
        return taken

    def next_knock(self) -> float | None:
        """Return when the next target is to be asked; None while all are up."""
        return min((self.health[name].knock_at for name in self.down), default=None)

    def _put(self, target: str, health: Health) -> None:
        self.health[target] = health
        if health.up:
            self.down.pop(target, None)
        else:
            self.down[target] = health.detail
