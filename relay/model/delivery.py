"""Outgoing work: Target, Route, Delivery, Attempt, the outcome of an attempt, and the retry policy."""

from collections.abc import Callable, Iterable
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import ClassVar

from relay.model.event import Headers
from relay.model.values import dataclass


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    """The attempt succeeded."""

    name: ClassVar[str] = "succeeded"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRetry:
    """The attempt failed temporarily; `after` is the minimum wait in seconds, if known.

    `unreachable`: there was no connection, so further attempts would fail as well. `unsure`: the remote
    end may have acted on it nevertheless. Not `tried`: it only has to wait for `after`, so no attempt is counted
    or recorded. `firm`: the user's code requests that wait, so it may be as long as the policy's longest.
    """

    name: ClassVar[str] = "retry"
    detail: str
    after: float | None = None
    unreachable: bool = False
    unsure: bool = False
    tried: bool = True
    firm: bool = False


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt failed permanently."""

    name: ClassVar[str] = "failed"
    detail: str


Outcome = AttemptSucceeded | AttemptRetry | AttemptFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Waits in seconds between attempts; each is spread by `jitter` (0.2 is plus or minus 20 %)."""

    attempts: int = 6
    first: float = 2.0
    factor: float = 3.0
    max: float = 3600.0
    jitter: float = 0.2

    def wait_after(self, number: int, spread: Callable[[], float]) -> float | None:
        """Return how long to wait after attempt `number` (from 1); None if no attempts are left."""
        if number >= self.attempts:
            return None
        # Spread around less than the longest wait, so that jitter neither exceeds it nor clusters at it.
        longest = self.max / (1 + self.jitter)
        wait = min(self.first * self.factor ** min(number - 1, 64), longest)
        return wait * (1 + self.jitter * (2 * spread() - 1))


ONCE = RetryPolicy(attempts=1)


class SignMode(StrEnum):
    """The signature of a delivery: as received, a new one, or whichever will verify."""

    AUTO = "auto"
    ORIGINAL = "original"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A destination of events: an action's name with that action's options.

    `concurrency` is how many deliveries may be in flight there at a time.
    """

    name: str
    action: str
    options: object
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    fifo: bool = False
    concurrency: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which events go to which targets; empty `sources` means every source, empty `events` every type."""

    targets: tuple[str, ...]
    sources: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    when: str = ""

    def matches(self, source: str, types: Iterable[str]) -> bool:
        """Return whether the source and any of the types match; the caller evaluates the condition `when`."""
        if self.sources and source not in self.sources:
            return False
        return matches_any_type(types, self.events)


@lru_cache(maxsize=1024)
def matches_type(type_: str, patterns: tuple[str, ...]) -> bool:
    """Return whether an event type matches one of the patterns (`invoice.*`); without patterns all match."""
    return not patterns or any(fnmatchcase(type_, pattern) for pattern in patterns)


def matches_any_type(types: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """Return whether any of several types matches one of the patterns; without patterns all match."""
    return not patterns or any(matches_type(type_, patterns) for type_ in types)


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryReason(StrEnum):
    """Why a delivery exists: a route matched, or a user requested a replay or an action."""

    ROUTED = "routed"
    REPLAY = "replay"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryChanges:
    """How a delivery differs from its event and its target; None means unchanged.

    `url` sends to a typed address instead of a configured target. `path` and `query` replace those of the
    request sent. `headers` replaces all headers. `body` replaces the bytes. `template` and `to` belong to e-mail, and
    `force`: send it although it was sent before. `once` allows a single attempt, regardless of the policy. `age`
    signs as of that many seconds ago, `forged` with another secret: both must be refused.
    """

    url: str | None = None
    sign: SignMode | None = None
    method: str | None = None
    path: str | None = None
    query: str | None = None
    headers: Headers | None = None
    body: bytes | None = None
    template: str | None = None
    to: tuple[str, ...] = ()
    force: bool | None = None
    once: bool | None = None
    age: float | None = None
    forged: bool | None = None


NO_CHANGES = DeliveryChanges()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery to be stored. `target` is a configured name, or the typed URL.

    `asked`: the user waits for the attempt, so it is tried once even while its target is down.
    `lab` is the run that creates and sends it: it never waits in the queue.
    """

    target: str
    action: str
    reason: DeliveryReason = DeliveryReason.ROUTED
    changes: DeliveryChanges = NO_CHANGES
    asked: bool = False
    batch: int | None = None
    lab: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of an event to a target. `attempts` counts those made so far.

    `spared` of them do not count towards the policy's budget: they could not connect, or were made
    before a manual retry. `batch` is its bulk replay, `lab` its lab run.
    """

    id: int
    event_id: int
    source: str
    target: str
    action: str
    reason: DeliveryReason
    changes: DeliveryChanges
    state: DeliveryState
    created_at: datetime
    due_at: datetime
    attempts: int = 0
    detail: str = ""
    status: int | None = None
    took: float | None = None
    batch: int | None = None
    asked: bool = False
    spared: int = 0
    lab: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """The request of an attempt: for a forward the HTTP request, for a mail its envelope and headers.

    `notes` describes what differs from the original.
    """

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedResponse:
    """The response to an attempt: at most 64 KiB of the body, `cut` if there was more.

    `notes` describes violations of HTTP in the response.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    cut: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOutput:
    """The output of the user's code: what it printed and logged, and where it failed.

    `text` is at most its first 64 KiB, `cut` if there was more.
    """

    text: str = ""
    cut: bool = False
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt of a delivery. `took` is in seconds; `outcome` is succeeded, retry or failed."""

    delivery_id: int
    number: int
    started_at: datetime
    took: float
    outcome: str
    detail: str
    request: SentRequest | None = None
    response: ReceivedResponse | None = None
    output: HandlerOutput | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """The result of an action: the outcome, the request, the response, and the output."""

    outcome: Outcome
    request: SentRequest | None = None
    response: ReceivedResponse | None = None
    output: HandlerOutput | None = None
