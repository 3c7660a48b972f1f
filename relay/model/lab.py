"""The delivery lab: a run of experiments on an app, each single send of it, and what it came to."""

from datetime import datetime
from enum import StrEnum

from relay.model.values import dataclass


class LabState(StrEnum):
    """Where a run stands. INTERRUPTED: relay stopped, or could not go on, before it was over."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


ENDED_STATES = frozenset({LabState.DONE, LabState.CANCELLED, LabState.INTERRUPTED})


class LabFinding(StrEnum):
    """What an experiment came to. UNCLEAR: relay saw nothing wrong that it could be sure of; a person should look."""

    PASSED = "passed"
    UNCLEAR = "unclear"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """The numbers of a run.

    `times` is how many copies or orders, None being each experiment's own number; `seed` decides every
    shuffle; `delay` is seconds before each event of the experiment delay; `speed` is how many times faster
    than the provider's a retry schedule runs, None being as fast as makes it last ten seconds; `compare`
    says what makes two answers alike: status and body, or the status alone.
    """

    times: int | None = None
    seed: int = 0
    delay: float = 2.0
    speed: float | None = None
    compare: str = "body"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLabRun:
    """A run to be planned: experiments by name, on the events that `query` matches or that are named."""

    experiments: tuple[str, ...]
    target: str | None
    query: str = ""
    events: tuple[int, ...] = ()
    times: int | None = None
    seed: int | None = None
    delay: float | None = None
    speed: float | None = None
    compare: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTrial:
    """One experiment of a run as planned.

    `sends` is the most it makes; `skipped` says of an event why the experiment cannot be made on it, and
    `notes` what a person should know of how it is made.
    """

    experiment: str
    events: tuple[int, ...] = ()
    sends: int = 0
    skipped: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLabRun:
    """A run before it begins. `notes` say what is true of all its experiments."""

    query: str
    events: tuple[int, ...]
    target: str
    settings: LabSettings
    trials: tuple[LabTrial, ...]
    notes: tuple[str, ...] = ()

    @property
    def sends(self) -> int:
        """Return the most sends it makes."""
        return sum(trial.sends for trial in self.trials)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRun(PlannedLabRun):
    """A run in the store. The first `ended` of its trials are over; `made` sends have begun."""

    id: int
    created_at: datetime
    state: LabState
    ended: int = 0
    made: int = 0
    detail: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSend:
    """One send as planned: `wait` seconds after the one before it. `role` is what it is for, `label` says so."""

    event_id: int
    role: str = "copy"
    label: str = ""
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRound:
    """Sends that belong together: one after another, or all `at_once`; `one_delivery` makes them its attempts."""

    shots: tuple[PlannedSend, ...]
    at_once: bool = False
    one_delivery: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSend:
    """One send of a run and its outcome.

    `place` counts the sends of a run from 1, `trial` and `round` from 0; `attempt` is which one of its
    delivery it is. `answer` is a digest of the whole answer's body, `said` its start as text.
    `good`: the provider would call it delivered; None while there is no answer yet.
    """

    place: int
    trial: int
    round: int
    role: str
    label: str
    event_id: int
    delivery_id: int | None = None
    attempt: int = 1
    started_at: datetime | None = None
    took: float | None = None
    status: int | None = None
    detail: str = ""
    answer: str = ""
    said: str = ""
    good: bool | None = None
    note: str = ""

    @property
    def over(self) -> bool:
        """Return whether it has come to an end, with or without an answer."""
        return self.good is not None

    @property
    def answered(self) -> str:
        """Return what came back as a clause: `was answered 500`, `got no answer (connection refused)`."""
        return f"was answered {self.status}" if self.status is not None else f"got no answer ({self.short_answer})"

    @property
    def short_answer(self) -> str:
        """Return what came back in the fewest words: `200`, or why nothing did."""
        return str(self.status) if self.status is not None else self.detail or "no answer"


@dataclass(frozen=True, slots=True)
class TrialVerdict:
    """What an experiment came to, in a sentence, with what to do. `finding` is None until it is over."""

    finding: LabFinding | None
    sentence: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffledOrder:
    """One order of the shuffle: the events as they were sent, and those that were not taken in it."""

    number: int
    events: tuple[int, ...]
    failed: tuple[int, ...]
    over: bool
    original: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers took, in seconds."""

    least: float
    median: float
    p95: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One experiment of a run with everything it showed.

    `differing` are the places of sends that were answered otherwise than the first of their event;
    `at_once` is how many of them were under way together at the most.
    """

    trial: LabTrial
    title: str
    finds: str
    verdict: TrialVerdict
    sends: tuple[LabSend, ...]
    statuses: tuple[tuple[str, int], ...] = ()
    latency: Latency | None = None
    differing: frozenset[int] = frozenset()
    orders: tuple[ShuffledOrder, ...] = ()
    at_once: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabReport:
    """A run with the results of its experiments so far."""

    run: LabRun
    results: tuple[TrialResult, ...] = ()

    @property
    def finding(self) -> LabFinding | None:
        """Return the worst finding of all; None while the run goes on."""
        if self.run.state not in ENDED_STATES:
            return None
        found = [result.verdict.finding for result in self.results if result.verdict.finding]
        ranks = (LabFinding.FAILED, LabFinding.UNCLEAR, LabFinding.PASSED, LabFinding.SKIPPED)
        return next((one for one in ranks if one in found), None)
