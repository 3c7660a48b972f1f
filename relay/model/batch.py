"""A bulk replay: many events sent again at a given rate; it can be stopped and resumed."""

from collections import Counter
from datetime import datetime
from enum import StrEnum

from relay.model import admission
from relay.model.delivery import SignMode
from relay.model.event import EventOutcome, Verdict
from relay.model.values import dataclass


class BatchState(StrEnum):
    """The state of a batch. STOPPED: by its first failure."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A bulk replay to be started. `rate` is deliveries a second; `target` None means by the routes."""

    query: str
    target: str | None = None
    sign: SignMode = SignMode.AUTO
    rate: float | None = None
    stop_on_failure: bool = False
    include: frozenset[EventOutcome] = frozenset()


INCLUDABLE_OUTCOMES = (EventOutcome.REJECTED, EventOutcome.DUPLICATE, EventOutcome.IGNORED)


def find_exclusion(outcome: str, verdict: str, reason: str) -> EventOutcome | None:
    """Return the outcome for which a bulk replay excludes an event by default; None if it includes it.

    A forged event accepted by `verify = "report"` counts as rejected, a handshake that relay answered as ignored.
    """
    if outcome != EventOutcome.ACCEPTED:
        return EventOutcome(outcome)
    if verdict == Verdict.INVALID:
        return EventOutcome.REJECTED
    return EventOutcome.IGNORED if reason == "handshake" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedEvents:
    """How many events of an outcome a bulk replay excludes, and why: a code of REASONS."""

    outcome: EventOutcome
    reason: str
    is_forged: bool
    count: int

    @property
    def words(self) -> str:
        """Return the number and the reason: `12 failed verification (signature_mismatch)`."""
        what = "failed verification" if self.is_forged else self.outcome.value
        several = "s" if self.outcome is EventOutcome.DUPLICATE and self.count > 1 else ""
        why = f" ({self.reason})" if self.reason and self.outcome is not EventOutcome.DUPLICATE else ""
        return f"{self.count:,} {what}{several}{why}"

    @property
    def sentence(self) -> str:
        """Return the reason as a sentence."""
        if self.outcome is EventOutcome.DUPLICATE:
            return "relay has had the same event before."
        return admission.describe_reason(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch in the store: `made` of its `total` steps have become deliveries."""

    id: int
    created_at: datetime
    query: str
    target: str | None
    sign: SignMode
    rate: float | None
    stop_on_failure: bool
    state: BatchState
    total: int
    made: int = 0
    detail: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """How many steps of a batch are in each state; their sum is its total.

    `waiting` are not deliveries yet; `gone` never will be, because their events were deleted.
    """

    waiting: int = 0
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStep:
    """One event to one target."""

    event_id: int
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The plan of a batch: its steps, oldest event first, the number of events without targets, and exclusions."""

    steps: tuple[BatchStep, ...]
    skipped: int = 0
    left_out: tuple[ExcludedEvents, ...] = ()
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def targets(self) -> dict[str, int]:
        """Return how many deliveries each target would get."""
        return Counter(step.target for step in self.steps)
