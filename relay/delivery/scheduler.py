"""The scheduler: how many deliveries run per target, and in which order while a queue drains."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import islice

from relay.model.delivery import Delivery
from relay.store import ClaimedDelivery

# Queued deliveries are sent in order: the next starts when the one before it is
# answered, or after this many seconds, so that a slow target still gets several at once. With much less,
# two of them can overtake each other on a busy machine (seen with 25 ms).
STAGGER = 0.2
# Claimed ahead for a target that answers quickly, so that it never waits for a commit: this
# drains a queue three times as fast. The number is what it accepts in QUICK_SECONDS, within these limits; none for a
# slow target, whose queue can be cancelled. Claimed deliveries of a target that became slow are released after so many
# slow answers in a row: a single one may be chance.
LINE_LENGTH = 16
MAX_LINE_LENGTH = 256
QUICK_SECONDS = 0.1
SLOW_ANSWERS = 2


class Scheduler:
    """Queues claimed deliveries by target and decides which may start.

    `most` is the concurrency of each target, `each` that of any other, `at_once` the limit
    of all together. Moments are seconds of a monotonic clock.
    """

    def __init__(self, most: Mapping[str, int], each: int, at_once: int) -> None:
        self.running: Counter[str] = Counter()
        self._total = 0  # of running deliveries
        self._most = most
        self._each = each
        self._at_once = at_once
        self._lines: dict[str, deque[ClaimedDelivery]] = {}
        self._drains: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._quick: dict[str, int] = {}  # how many are claimed ahead
        self._slow: Counter[str] = Counter()  # slow answers in a row
        self._asked_at = 0.0
        self._drained = False

    def drain(self, target: str, backlog: int) -> None:
        """Send deliveries up to the id `backlog` to a target in order."""
        if backlog:
            self._drains[target] = max(backlog, self._drains.get(target, 0))

    @property
    def free_slots(self) -> int:
        """Return how many more may be claimed in all; the queue of one target does not limit others."""
        lined_up = sum(map(len, self._lines.values()))
        return self._at_once - self._total + max(0, max(self._quick.values(), default=0) - lined_up)

    @property
    def taken(self) -> Counter[str]:
        """Return how many deliveries run or are queued, by target."""
        return self.running + Counter({target: len(line) for target, line in self._lines.items()})

    def most(self, at: float) -> dict[str, int]:
        """Return how many may be claimed for each target, including its current ones, if not `each`."""
        self._asked_at = at
        limits = {**self._most, **{target: self._allowed(target, at) for target in self._drains}}
        return {target: limit + self._quick.get(target, 0) for target, limit in limits.items()}

    def line_up(self, claimed: ClaimedDelivery) -> None:
        """Append a delivery to its target's queue."""
        self._lines.setdefault(claimed.delivery.target, deque()).append(claimed)

    def start(self, at: float) -> list[ClaimedDelivery]:
        """Remove and return deliveries that may start now, least busy targets first, so that none is starved."""
        taken: list[ClaimedDelivery] = []
        for target in sorted(self._lines, key=lambda name: self.running[name]):
            line = self._lines[target]
            while line and self._total < self._at_once:
                if self.running[target] >= self._allowed(target, at):
                    break
                taken.append(line.popleft())
                self._count(taken[-1], at)
            if not line:
                del self._lines[target]
        return taken

    def take_drained(self) -> bool:
        """Return whether a queue was drained since the last call, so that more may be claimed."""
        drained, self._drained = self._drained, False
        return drained

    def ended(self, target: str, took: float) -> bool:
        """Count a finished delivery; return whether the target's queue is short enough to claim more."""
        self.running[target] -= 1
        self._total -= 1
        if not self.running[target]:
            del self.running[target]
        if took < QUICK_SECONDS:
            ahead = int(self._limit(target) * QUICK_SECONDS / max(took, 0.001))
            self._quick[target] = max(LINE_LENGTH, min(ahead, MAX_LINE_LENGTH))
            self._slow.pop(target, None)
        else:
            self._quick.pop(target, None)
            self._slow[target] += 1
        return len(self._lines.get(target, ())) <= self._quick.get(target, LINE_LENGTH) // 2

    def clear_line(self, target: str) -> tuple[ClaimedDelivery, ...]:
        """Remove and return the queue of a target that is down."""
        self._quick.pop(target, None)
        return tuple(self._lines.pop(target, ()))

    def take(self, is_wanted: Callable[[Delivery], bool]) -> tuple[ClaimedDelivery, ...]:
        """Remove and return the queued deliveries that `is_wanted` selects."""
        taken = tuple(one for line in self._lines.values() for one in line if is_wanted(one.delivery))
        for target, line in self._lines.items() if taken else ():
            self._lines[target] = deque(one for one in line if not is_wanted(one.delivery))
        return taken

    def trim_line(self, target: str) -> tuple[ClaimedDelivery, ...]:
        """Remove and return queued deliveries beyond the concurrency of a target that has become slow."""
        line, kept = self._lines.get(target, ()), self._limit(target)
        if self._slow[target] < SLOW_ANSWERS or len(line) <= kept:
            return ()
        self._lines[target] = deque(islice(line, kept))
        return tuple(islice(line, kept, None))

    def next_start(self) -> float | None:
        """Return when more may start than `most` last gave; None if a delivery has to end first."""
        moments = (
            self._started[target] + STAGGER for target in self._drains if 0 < self.running[target] < self._limit(target)
        )
        return min((moment for moment in moments if moment > self._asked_at), default=None)

    def _count(self, claimed: ClaimedDelivery, at: float) -> None:
        target = claimed.delivery.target
        self.running[target] += 1
        self._total += 1
        self._started[target] = at
        if claimed.delivery.id > self._drains.get(target, claimed.delivery.id):
            del self._drains[target]
            self._drained = True

    def _allowed(self, target: str, at: float) -> int:
        if target not in self._drains:
            return self._limit(target)
        running = self.running[target]
        free = not running or at >= self._started[target] + STAGGER
        return min(running + free, self._limit(target))

    def _limit(self, target: str) -> int:
        return self._most.get(target, self._each)
