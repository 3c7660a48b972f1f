"""How much may go to each target at this moment: all it takes, or one after another while a queue drains."""

from collections import Counter
from collections.abc import Mapping

from relay.model.delivery import Delivery

# What waited for a target goes out in the order it came: the next starts when the one before it is
# answered, or after this many seconds, so that a slow target still gets several at once. Much less, and
# on a busy machine two of them overtake each other on their way (seen with 25 ms).
STAGGER = 0.2


class Pace:
    """Counts what runs at each target, and holds back where a queue has to keep its order.

    `most` is how much each target takes at once, `backlog` the highest id of what waits from before.
    Moments are seconds of a clock that never jumps.
    """

    def __init__(self, most: Mapping[str, int], each: int) -> None:
        self.running: Counter[str] = Counter()
        self._most = most
        self._each = each
        self._drains: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._asked_at = 0.0

    def drain(self, target: str, backlog: int) -> None:
        """Let everything up to the id `backlog` go to a target in order."""
        if backlog:
            self._drains[target] = max(backlog, self._drains.get(target, 0))

    def started(self, delivery: Delivery, at: float) -> bool:
        """Count a delivery that was claimed; return whether a queue is drained, so that more may be."""
        self.running[delivery.target] += 1
        self._started[delivery.target] = at
        drained = delivery.id > self._drains.get(delivery.target, delivery.id)
        if drained:
            del self._drains[delivery.target]
        return drained

    def acting(self, target: str, at: float) -> None:
        """Learn that a delivery is on its way out only now."""
        self._started[target] = at

    def ended(self, target: str) -> None:
        """Count a delivery that is over."""
        self.running[target] -= 1
        if not self.running[target]:
            del self.running[target]

    def most(self, at: float) -> dict[str, int]:
        """Return how many may run at each target now, where that is not what an unknown one may have."""
        self._asked_at = at
        return {**self._most, **{target: self._next(target, at) for target in self._drains}}

    def next_start(self) -> float | None:
        """Return when more may run at a target than `most` last said; None when one has to end first."""
        moments = (
            self._started[target] + STAGGER
            for target in self._drains
            if 0 < self.running[target] < self._limit(target)
        )
        return min((moment for moment in moments if moment > self._asked_at), default=None)

    def _next(self, target: str, at: float) -> int:
        running = self.running[target]
        free = not running or at >= self._started[target] + STAGGER
        return min(running + free, self._limit(target))

    def _limit(self, target: str) -> int:
        return self._most.get(target, self._each)
