"""Experiments that send copies of an event, one at a time or all at once, or events in other orders."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from math import factorial
from random import Random

from relay.delivery.lab.experiment import (
    CONTROL,
    UNSEEN_NOTE,
    Experiment,
    group_by_event,
    name_events,
    report_failed,
    report_passed,
    report_unclear,
)
from relay.model.event import EventRow
from relay.model.lab import LabFinding, LabSend, LabSettings, PlannedSend, SendRound, ShuffledOrder, TrialVerdict

_DEDUPE_HINT = "keep the ids of events you have taken, and answer 2xx to one that is among them without acting again"
_COME_AGAIN = frozenset({409, 425, 429, 503})  # statuses that ask a sender to retry later


class _Copies(Experiment):
    """Sends the same event several times."""

    usual: int
    at_once: bool

    def plan_rounds(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[SendRound, ...]:
        count = settings.times or self.usual
        return tuple(
            SendRound(
                shots=tuple(
                    PlannedSend(event_id=event.id, label=f"copy {number} of {count}") for number in range(1, count + 1)
                ),
                at_once=self.at_once,
            )
            for event in events
        )

    def find_differing(self, sends: Sequence[LabSend]) -> frozenset[int]:
        return frozenset(
            copy.place
            for copies in group_by_event(sends).values()
            for copy in copies[1:]
            if copy.over and copies[0].over and _answer_key(copy) != _answer_key(copies[0])
        )

    def judge_event(self, event: int, sends: Sequence[LabSend]) -> TrialVerdict:
        """Return failed if a copy was not accepted, or the answers show that the app acted on several."""
        refused = [copy for copy in sends if not copy.good]
        answers = ", ".join(dict.fromkeys(copy.short_answer for copy in refused))
        if len(refused) == len(sends):
            return report_failed(
                f"no copy of #{event} was taken ({answers}), so nothing shows what it does with duplicates",
                "make the app take the event once, then try again",
            )
        if refused:
            return report_failed(
                f"{len(refused)} of {len(sends)} copies of #{event} got no 2xx ({answers}): "
                "a provider would send it again and again",
                _DEDUPE_HINT,
            )
        return self._compare_answers(event, sends)

    @abstractmethod
    def _compare_answers(self, event: int, copies: Sequence[LabSend]) -> TrialVerdict:
        """Return the verdict if all copies were accepted."""


class Duplicates(_Copies):
    """Sends copies one at a time."""

    name = "duplicates"
    title = "Duplicates"
    finds = "sends each event several times, one after another: finds an app that acts on an event twice, or refuses it"
    good = "2xx to every copy, the later ones all alike"
    usual = 3
    at_once = False

    def _compare_answers(self, event: int, copies: Sequence[LabSend]) -> TrialVerdict:
        answers = [_answer_key(copy) for copy in copies]
        if len(set(answers)) == 1:
            return report_passed(f"all {len(copies)} copies of #{event} were taken and answered alike", UNSEEN_NOTE)
        if len(copies) > 2 and len(set(answers[1:])) == 1:
            return report_passed(
                f"the first of {len(copies)} copies of #{event} was answered otherwise than the later "
                "ones, which are alike"
            )
        if len(copies) > 2:
            return report_failed(
                f"the later copies of #{event} were taken, but answered in {len(set(answers[1:]))} ways, "
                "as an app does that acts on each of them",
                f"{_DEDUPE_HINT}; if only the wording differs, compare statuses alone",
            )
        return report_unclear(
            f"the two copies of #{event} were taken, but not answered alike; "
            "three would show whether the later ones are",
            _DEDUPE_HINT,
        )


class Burst(_Copies):
    """Sends copies at the same moment."""

    name = "burst"
    title = "Burst"
    finds = (
        "sends many copies of an event at the same moment: finds two workers that both treat it as new, "
        "and an app that falls over"
    )
    good = "2xx to every copy, at most one of them otherwise than the rest"
    usual = 20
    at_once = True

    def judge_event(self, event: int, sends: Sequence[LabSend]) -> TrialVerdict:
        """Return unclear if nothing is wrong except that copies were asked to be sent again."""
        asked = [copy for copy in sends if copy.status in _COME_AGAIN]
        taken = [copy for copy in sends if copy.status not in _COME_AGAIN]
        verdict = super().judge_event(event, taken or sends)
        if not asked or verdict.finding is LabFinding.FAILED:
            return verdict
        statuses = " or ".join(dict.fromkeys(str(copy.status) for copy in asked))
        return report_unclear(
            f"{len(asked)} of {len(sends)} copies of #{event} got {statuses}, which asks to send it again: "
            "right while another copy is being handled, wrong if the app is overloaded",
            "look into the log of the app; a later copy has to be answered 2xx, as the experiment duplicates shows",
        )

    def _compare_answers(self, event: int, copies: Sequence[LabSend]) -> TrialVerdict:
        answers = Counter(_answer_key(copy) for copy in copies)
        if len(answers) == 1 or (len(answers) == 2 and min(answers.values()) == 1):
            one = " but one" if len(answers) == 2 else ""
            return report_passed(
                f"all {len(copies)} copies of #{event} were taken, and all{one} answered alike",
                "" if one else UNSEEN_NOTE,
            )
        return report_failed(
            f"{len(copies)} copies of #{event} at once were taken, but answered in {len(answers)} ways: "
            "an app that takes an event once answers one of them as new and the rest alike",
            "claim the id of an event in the same transaction that acts on it, with a unique key; "
            "if only the wording differs, compare statuses alone",
        )


def _answer_key(send: LabSend) -> tuple[int | None, str]:
    return send.status, send.answer


_FEW_EVENTS = 6  # up to so many events all orders are listed (720), beyond they are drawn
_MOST_ORDERS = 3
_MOST_LISTED = 12  # events of an order that are named in a sentence


class Shuffle(Experiment):
    """Sends the events in their own order first, as a baseline, then in other orders."""

    name = "shuffle"
    title = "Shuffled order"
    finds = "sends the events in other orders than they came in: finds an app that counts on their order"
    good = "2xx to every event in every order"
    not_alone = "one event has no order; name several, or a query"
    fresh_each_round = True

    def list_notes(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[str, ...]:
        return ("what the app keeps that no id of an event or its object tells apart is there in the next order",)

    def plan_rounds(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[SendRound, ...]:
        """Return a round in the order received, then one for each order drawn by the seed."""
        ids = tuple(event.id for event in events)
        drawn = _shuffle_orders(ids, settings.times or _MOST_ORDERS, settings.seed)
        return (
            _make_round(ids, CONTROL, "the order they came in"),
            *(
                _make_round(order, "order", f"order {number} of {len(drawn) + 1}")
                for number, order in enumerate(drawn, start=2)
            ),
        )

    def judge(self, sends: Sequence[LabSend]) -> TrialVerdict:
        """Return failed if an event was not accepted in another order but is in its own."""
        orders = self.list_orders(sends)
        anyway = {event for order in orders if order.original for event in order.failed}
        failed = [order for order in orders if not order.original and set(order.failed) - anyway]
        if failed:
            order = failed[0]
            blamed = [event for event in order.failed if event not in anyway]
            many = f"{len(failed)} of {len(orders) - 1} orders failed; " if len(orders) > 2 else ""
            return report_failed(
                f"{many}sent as {name_events(order.events, _MOST_LISTED)} the app does not take "
                f"{name_events(blamed, _MOST_LISTED)}, and does in the order they came in",
                "providers promise no order: take an event without those before it, or fetch what it is "
                "about from the provider",
            )
        if anyway:
            return report_unclear(
                f"the app does not take {name_events(sorted(anyway), _MOST_LISTED)} in the order they came in either",
                "find out why it is not accepted at all; the order is not the cause",
            )
        count = len(orders) - 1
        return report_passed(
            f"every event was taken in {f'each of {count} other orders' if count > 1 else 'the other order'}"
        )

    def list_orders(self, sends: Sequence[LabSend]) -> tuple[ShuffledOrder, ...]:
        rounds: dict[int, list[LabSend]] = {}
        for send in sends:
            rounds.setdefault(send.round, []).append(send)
        return tuple(
            ShuffledOrder(
                number=number + 1,
                events=tuple(send.event_id for send in found),
                failed=tuple(send.event_id for send in found if send.good is False),
                over=all(send.over for send in found),
                original=found[0].role == CONTROL,
            )
            for number, found in sorted(rounds.items())
        )


class Delay(Experiment):
    """Sends each event after a wait."""

    name = "delay"
    title = "Delay"
    finds = "waits before each event: finds an app that only accepts an event right after what it is about"
    good = "2xx to every event, however late"

    def plan_rounds(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[SendRound, ...]:
        label = f"after {settings.delay:g} s"
        shots = (PlannedSend(event_id=event.id, role="late", label=label, wait=settings.delay) for event in events)
        return (SendRound(shots=tuple(shots)),)

    def judge_event(self, event: int, sends: Sequence[LabSend]) -> TrialVerdict:
        send = sends[-1]
        if send.good:
            return report_passed(f"#{event} was taken {send.label}")
        return report_failed(
            f"#{event} {send.answered} {send.label}",
            "providers deliver late after an outage, theirs or yours: judge an event by its signature, "
            "not by how long ago it happened",
        )


def _make_round(ids: Sequence[int], role: str, label: str) -> SendRound:
    return SendRound(shots=tuple(PlannedSend(event_id=id_, role=role, label=label) for id_ in ids))


def _shuffle_orders(ids: tuple[int, ...], count: int, seed: int) -> list[tuple[int, ...]]:
    """Return up to `count` distinct orders other than their own; the same seed always gives the same."""
    random = Random(seed)  # noqa: S311 - decides an order, keeps no secret
    if len(ids) <= _FEW_EVENTS:
        others = [order for order in permutations(ids) if order != ids]
        return random.sample(others, min(count, len(others)))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < min(count, factorial(_FEW_EVENTS)):
        order = tuple(random.sample(ids, len(ids)))
        if order != ids:
            found[order] = None
    return list(found)
