"""The delivery lab: runs of experiments on an app, their sends, and their results."""

from datetime import datetime
from enum import StrEnum

from relay.model.values import dataclass


class LabState(StrEnum):
    """The state of a run. INTERRUPTED: relay stopped, or could not continue, before it ended."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


ENDED_STATES = frozenset({LabState.DONE, LabState.CANCELLED, LabState.INTERRUPTED})


class LabFinding(StrEnum):
    """The result of an experiment. UNCLEAR: relay found nothing that is certainly wrong; a person should check."""

    PASSED = "passed"
    UNCLEAR = "unclear"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """The numbers of a run.

    `times` is the number of copies or orders, None for each experiment's default; `seed` determines every
    shuffle; `delay` is seconds before each event of the experiment delay; `speed` is how many times faster
    than the provider's a retry schedule runs, None for ten seconds in all; `compare`
    is what equal answers have in common: status and body, or only the status.
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

    `sends` is the maximum; `skipped` maps events to the reason why the experiment cannot run on them, and
    `notes` describe how it is run.
    """

    experiment: str
    events: tuple[int, ...] = ()
    sends: int = 0
    skipped: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLabRun:
    """A run before it starts. `notes` apply to all its experiments."""

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
    """A stored run. The first `ended` of its trials have ended; `made` sends have started."""

    id: int
    created_at: datetime
    state: LabState
    ended: int = 0
    made: int = 0
    detail: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSend:
    """A planned send: `wait` seconds after the one before it. `role` is its purpose, `label` names it."""

    event_id: int
    role: str = "copy"
    label: str = ""
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRound:
    """Sends that belong together: one at a time, or all `at_once`; with `one_delivery` as attempts of one delivery."""

    shots: tuple[PlannedSend, ...]
    at_once: bool = False
    one_delivery: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSend:
    """One send of a run and its outcome.

    `place` counts the sends of a run from 1, `trial` and `round` from 0; `attempt` is the number in its
    delivery. `answer` is a digest of the whole answer's body, `said` its start as text.
    `good`: delivered by the provider's rules; None while there is no answer.
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
        """Return whether it has ended, with or without an answer."""
        return self.good is not None

    @property
    def answered(self) -> str:
        """Return the answer as a clause: `was answered 500`, `got no answer (connection refused)`."""
        return f"was answered {self.status}" if self.status is not None else f"got no answer ({self.short_answer})"

    @property
    def short_answer(self) -> str:
        """Return the answer in short: `200`, or why there was none."""
        return str(self.status) if self.status is not None else self.detail or "no answer"


@dataclass(frozen=True, slots=True)
class TrialVerdict:
    """The result of an experiment as a sentence, with advice. `finding` is None until it has ended."""

    finding: LabFinding | None
    sentence: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffledOrder:
    """An order of the shuffle: the events as sent, and those that were not accepted in it."""

    number: int
    events: tuple[int, ...]
    failed: tuple[int, ...]
    over: bool
    original: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latencies of answers, in seconds."""

    least: float
    median: float
    p95: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """An experiment of a run with its results.

    `differing` are the indices of sends whose answer differs from the first of their event;
    `at_once` is the maximum number of concurrent sends.
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
        """Return the worst finding of all; None while the run is in progress."""
        if self.run.state not in ENDED_STATES:
            return None
        found = [result.verdict.finding for result in self.results if result.verdict.finding]
        ranks = (LabFinding.FAILED, LabFinding.UNCLEAR, LabFinding.PASSED, LabFinding.SKIPPED)
        return next((one for one in ranks if one in found), None)
