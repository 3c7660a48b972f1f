"""The interface of an experiment: what it finds, the sends it plans, and how it evaluates the answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from relay.model.delivery import DeliveryChanges, SignMode
from relay.model.event import CapturedEvent, EventRow
from relay.model.lab import LabFinding, LabSend, LabSettings, PlannedSend, SendRound, ShuffledOrder, TrialVerdict

if TYPE_CHECKING:  # `relay lab --help` lists the experiments without importing providers
    from relay.delivery.signing import SignatureForger

CONTROL = "control"  # the role of a send that shows how the app answers without the experiment
UNSEEN_NOTE = (
    "relay sees only the answers: an app that acts on each copy and answers the same looks correct; "
    "use --check to find out"
)
_MOST_QUOTED = 3  # events named in a sentence; the report shows all

# Each takes a sentence and optional advice.
report_passed = partial(TrialVerdict, LabFinding.PASSED)
report_unclear = partial(TrialVerdict, LabFinding.UNCLEAR)
report_failed = partial(TrialVerdict, LabFinding.FAILED)


class Experiment(ABC):
    """One kind of test of an app. Stateless: everything it needs is handed in.

    `finds` is a sentence for help and dashboard, `good` the right answer of an app, `not_alone` why one event is too
    few, "" if it is enough. The app has seen each event as stored, so an experiment sends it with an id of
    its own if relay can sign that; with `fresh_each_round` with another one in each round, and shared ids are
    renamed too. `ends_early`: it may make fewer sends of an event than planned.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    finds: ClassVar[str]
    good: ClassVar[str]
    not_alone: ClassVar[str] = ""
    fresh_each_round: ClassVar[bool] = False
    ends_early: ClassVar[bool] = False

    def explain_refusal(self, event: CapturedEvent, forger: "SignatureForger") -> str:
        """Return why the experiment cannot run on an event, "" if it can."""
        return ""

    def list_notes(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[str, ...]:
        """Return notes on how the experiment runs on these events."""
        return ()

    @abstractmethod
    def plan_rounds(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[SendRound, ...]:
        """Return the sends, round by round; `events` are oldest first."""

    def build_changes(self, event: CapturedEvent, shot: PlannedSend, forger: "SignatureForger") -> DeliveryChanges:
        """Return how a send differs from its event. Raises SigningError if it cannot be signed."""
        return DeliveryChanges(sign=SignMode.AUTO)

    def change_retry(self, changes: DeliveryChanges, event: CapturedEvent, before: LabSend) -> DeliveryChanges:
        """Return how the next attempt of a delivery differs from its event; `before` is the last attempt."""
        return changes

    def judge_send(self, send: LabSend, headers: Mapping[str, str], event: CapturedEvent) -> LabSend:
        """Return an answered send, marked as delivered or not by the provider's rules, with an optional note.

        `headers` are those of the answer by lower-case name.
        """
        return replace(send, good=send.status is not None and 200 <= send.status < 300)

    def ends_round(self, send: LabSend) -> bool:
        """Return whether the rest of a round is skipped after this send."""
        return False

    def judge(self, sends: Sequence[LabSend]) -> TrialVerdict:
        """Return the verdict on all answers: the worst verdict on any event."""
        judged = ((event, self.judge_event(event, sent)) for event, sent in group_by_event(sends).items())
        return select_worst_verdict([(event, verdict) for event, verdict in judged if verdict is not None])

    def judge_event(self, event: int, sends: Sequence[LabSend]) -> TrialVerdict | None:
        """Return the verdict on the answers for one event; None if it was not sent as planned.

        An experiment that judges all sends together overrides `judge` instead.
        """
        raise NotImplementedError

    def find_differing(self, sends: Sequence[LabSend]) -> frozenset[int]:
        """Return the indices of sends whose answer differs from the first one of their event."""
        return frozenset()

    def list_orders(self, sends: Sequence[LabSend]) -> tuple[ShuffledOrder, ...]:
        """Return the orders in which events were sent, if the experiment is about order."""
        return ()


def select_worst_verdict(verdicts: Sequence[tuple[int, TrialVerdict]]) -> TrialVerdict:
    """Return the worst verdict on any event, and the other events that have the same verdict."""
    for finding in (LabFinding.FAILED, LabFinding.UNCLEAR, LabFinding.PASSED):
        alike = [(event, one) for event, one in verdicts if one.finding is finding]
        if alike:
            first, others = alike[0][1], [event for event, _ in alike[1:]]
            more = f"; the same with {name_events(others)}" if others else ""
            return replace(first, sentence=first.sentence + more)
    return TrialVerdict(LabFinding.SKIPPED, "nothing was sent")


def group_by_event(sends: Sequence[LabSend]) -> dict[int, list[LabSend]]:
    """Return the sends of each event, in order."""
    grouped: dict[int, list[LabSend]] = {}
    for send in sends:
        grouped.setdefault(send.event_id, []).append(send)
    return grouped


def name_events(events: Sequence[int], most: int = _MOST_QUOTED) -> str:
    """Return events on one line, at most `most` of them by number: `#1, #2, #3 and 4 more`."""
    named = ", ".join(f"#{event}" for event in events[:most])
    return f"{named} and {len(events) - most} more" if len(events) > most else named
