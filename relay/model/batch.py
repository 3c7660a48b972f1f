"""A bulk replay: many events sent again, at a pace, with a way to stop and to go on."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from relay.model.delivery import SignMode


class BatchState(StrEnum):
    """Where a batch stands. STOPPED: by its first failure."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """What somebody asked for. `rate` is deliveries a second; `target` None means where routes lead."""

    query: str
    target: str | None = None
    sign: SignMode = SignMode.AUTO
    rate: float | None = None
    stop_on_failure: bool = False


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
    """Where the steps of a batch stand; together they are its total.

    `waiting` are no deliveries yet, `gone` never will be or are no more: their events were deleted.
    """

    waiting: int = 0
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event to one target."""

    event_id: int
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a batch would do: its steps, oldest event first, and how many events lead nowhere."""

    steps: tuple[Step, ...]
    skipped: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def targets(self) -> dict[str, int]:
        """Return how many deliveries each target would get."""
        counts: dict[str, int] = {}
        for step in self.steps:
            counts[step.target] = counts.get(step.target, 0) + 1
        return counts
