"""What an experiment is: what it finds, which sends it makes of an event, and how it judges the answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from relay.model.values import dataclass

if TYPE_CHECKING:
    from relay.delivery.signing import SignatureForger
from relay.model.delivery import DeliveryChanges, SignMode
from relay.model.event import CapturedEvent, EventRow
from relay.model.lab import (
    LabFinding,
    LabSend,
    LabSettings,
    LabTrial,
    PlannedSend,
    SendRound,
    ShuffledOrder,
    TrialVerdict,
)

UNSEEN_NOTE = (
    "relay sees answers alone: an app that acts on each copy and answers alike looks the same; --check asks it"
)
MOST_QUOTED = 3  # events that a sentence names; the report shows all


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """What came back from one attempt: `status` None where nothing did, `took` in seconds; headers by lower name."""

    status: int | None
    took: float
    headers: dict[str, str]


class Experiment(ABC):
    """One kind of test of an app. Stateless: everything it needs is handed in.

    `finds` is a sentence for help and dashboard, `good` what an app should answer. The app has seen each event as
    it was stored, so an experiment sends it under an id of its own where relay can sign it so; with
    `fresh_each_round` under another in each round, and what events share is renamed with them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    finds: ClassVar[str]
    good: ClassVar[str]
    fresh_each_round: ClassVar[bool] = False

    def refuses(self, event: CapturedEvent, forger: "SignatureForger") -> str:
        """Return why the experiment cannot be made on an event, "" where it can."""
        del event, forger
        return ""

    def unfit(self, events: Sequence[int]) -> str:
        """Return why it cannot be made on these events together, "" where it can."""
        del events
        return ""

    def notes(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[str, ...]:
        """Return what a person should know of how it is made on these events."""
        del events, settings
        return ()

    @abstractmethod
    def rounds(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[SendRound, ...]:
        """Return the sends, round by round; `events` are oldest first."""

    def changes(self, event: CapturedEvent, shot: PlannedSend, forger: "SignatureForger") -> DeliveryChanges:
        """Return how a send differs from its event. Raises SigningError where it cannot be made after all."""
        del event, shot, forger
        return DeliveryChanges(sign=SignMode.AUTO)

    def again(self, changes: DeliveryChanges, event: CapturedEvent, before: LabSend) -> DeliveryChanges:
        """Return how the next attempt of a delivery differs from its event, `before` being the last."""
        del event, before
        return changes

    def settled(self, send: LabSend, answer: AttemptResult, event: CapturedEvent) -> LabSend:
        """Return a send with whether the provider would call it delivered, and a note where there is one to make."""
        del event
        return replace(send, good=answer.status is not None and 200 <= answer.status < 300)

    def over(self, send: LabSend) -> bool:
        """Say whether the rest of a round is left out after this send."""
        del send
        return False

    @abstractmethod
    def judge(self, trial: LabTrial, sends: Sequence[LabSend]) -> TrialVerdict:
        """Return what the answers mean, once all are there."""

    def differing(self, sends: Sequence[LabSend]) -> frozenset[int]:
        """Return the places of sends that were answered otherwise than the first of their event."""
        del sends
        return frozenset()

    def orders(self, sends: Sequence[LabSend]) -> tuple[ShuffledOrder, ...]:
        """Return the orders in which events were sent, where that is what it is about."""
        del sends
        return ()


def worst_judgement(verdicts: Sequence[tuple[int, TrialVerdict]]) -> TrialVerdict:
    """Return what all events together came to: the worst of them in its own words, and how many are like it."""
    for finding in (LabFinding.FAILED, LabFinding.UNCLEAR, LabFinding.PASSED):
        alike = [(event, one) for event, one in verdicts if one.finding is finding]
        if alike:
            first = alike[0][1]
            return replace(first, sentence=first.sentence + _describe_others([event for event, _ in alike[1:]]))
    return TrialVerdict(LabFinding.SKIPPED, "nothing was sent")


def group_by_event(sends: Sequence[LabSend]) -> dict[int, list[LabSend]]:
    """Return the sends of each event, in order."""
    grouped: dict[int, list[LabSend]] = {}
    for send in sends:
        grouped.setdefault(send.event_id, []).append(send)
    return grouped


def _describe_others(events: Sequence[int]) -> str:
    if not events:
        return ""
    named = ", ".join(f"#{event}" for event in events[:MOST_QUOTED])
    more = f" and {len(events) - MOST_QUOTED} more" if len(events) > MOST_QUOTED else ""
    return f"; the same with {named}{more}"
