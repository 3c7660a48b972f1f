"""Experiments with time and order: events in orders they did not come in, and events that come late."""

from collections.abc import Sequence
from itertools import permutations
from math import factorial
from random import Random

from relay.delivery.lab.experiment import Experiment, by_event, worst
from relay.model.event import EventRow
from relay.model.lab import Finding, Judged, Order, Round, Send, Settings, Shot, Trial

_FEW = 6  # events whose orders are listed rather than drawn: 720 of them
_ORDERS = 3
_CONTROL = "control"


class Shuffle(Experiment):
    """The events in their own order first, to tell what the order is to blame for; then in others."""

    name = "shuffle"
    title = "Shuffled order"
    finds = "sends the events in other orders than they came in: finds an app that counts on their order"
    good = "2xx to every event in every order"
    fresh_each_round = True

    def unfit(self, events: Sequence[int]) -> str:
        """Return that one event has no order."""
        return "one event has no order; name several, or a query" if len(events) < 2 else ""

    def notes(self, events: Sequence[EventRow], settings: Settings) -> tuple[str, ...]:
        """Return what an order cannot undo."""
        del events, settings
        return (
            "what the app keeps that no id of an event or its object tells apart is there in the next order",
        )

    def rounds(self, events: Sequence[EventRow], settings: Settings) -> tuple[Round, ...]:
        """Return a round for the order the events came in, then one for each order that the seed decides."""
        ids = tuple(event.id for event in events)
        drawn = _orders(ids, settings.times or _ORDERS, settings.seed)
        labels = [f"order {number} of {len(drawn)}" for number in range(1, len(drawn) + 1)]
        return (
            _in_order(ids, _CONTROL, "the order they came in"),
            *(_in_order(order, "order", label) for order, label in zip(drawn, labels, strict=True)),
        )

    def judge(self, trial: Trial, sends: Sequence[Send]) -> Judged:
        """Return failed where an event was not taken in an order, and is in its own."""
        del trial
        orders = self.orders(sends)
        anyway = {event for order in orders if order.original for event in order.failed}
        failed = [order for order in orders if not order.original and set(order.failed) - anyway]
        if failed:
            order = failed[0]
            blamed = [event for event in order.failed if event not in anyway]
            many = f"{len(failed)} of {len(orders) - 1} orders failed; " if len(orders) > 2 else ""
            return Judged(
                finding=Finding.FAILED,
                sentence=f"{many}sent as {_chain(order.events)} the app does not take {_chain(blamed)}, "
                "and does in the order they came in",
                advice="providers promise no order: take an event without those before it, or fetch what it is "
                "about from the provider",
            )
        if anyway:
            return Judged(
                finding=Finding.UNCLEAR,
                sentence=f"the app does not take {_chain(sorted(anyway))} in the order they came in either",
                advice="look why it is not taken at all; the order is not to blame",
            )
        count = len(orders) - 1
        return Judged(
            finding=Finding.PASSED,
            sentence=f"every event was taken in {f'each of {count} other orders' if count > 1 else 'the other order'}",
        )

    def orders(self, sends: Sequence[Send]) -> tuple[Order, ...]:
        """Return each order with the events that were not taken in it."""
        rounds: dict[int, list[Send]] = {}
        for send in sends:
            rounds.setdefault(send.round, []).append(send)
        return tuple(
            Order(
                number=number + 1,
                events=tuple(send.event_id for send in found),
                failed=tuple(send.event_id for send in found if send.good is False),
                over=all(send.over for send in found),
                original=found[0].role == _CONTROL,
            )
            for number, found in sorted(rounds.items())
        )


class Delay(Experiment):
    """Each event after a wait."""

    name = "delay"
    title = "Delay"
    finds = "waits before each event: finds an app that only takes an event right after what it is about"
    good = "2xx to every event, however late"

    def rounds(self, events: Sequence[EventRow], settings: Settings) -> tuple[Round, ...]:
        """Return one round, with a wait before every event."""
        label = f"after {settings.delay:g} s"
        shots = (Shot(event_id=event.id, role="late", label=label, wait=settings.delay) for event in events)
        return (Round(shots=tuple(shots)),)

    def judge(self, trial: Trial, sends: Sequence[Send]) -> Judged:
        """Return failed where a late event was not taken."""
        del trial
        return worst([(event, _late(event, sent[-1])) for event, sent in by_event(sends).items()])


def _late(event: int, send: Send) -> Judged:
    if send.good:
        return Judged(finding=Finding.PASSED, sentence=f"#{event} was taken {send.label}")
    return Judged(
        finding=Finding.FAILED,
        sentence=f"#{event} {send.answered} {send.label}",
        advice="providers deliver late after an outage, theirs or yours: judge an event by its signature, "
        "not by how long ago it happened",
    )


def _in_order(ids: Sequence[int], role: str, label: str) -> Round:
    return Round(shots=tuple(Shot(event_id=id_, role=role, label=label) for id_ in ids))


def _orders(ids: tuple[int, ...], count: int, seed: int) -> list[tuple[int, ...]]:
    """Return up to `count` orders other than their own, all different; the same seed always gives the same."""
    random = Random(seed)  # noqa: S311 - decides an order, keeps no secret
    if len(ids) <= _FEW:
        others = [order for order in permutations(ids) if order != ids]
        return random.sample(others, min(count, len(others)))
    found: dict[tuple[int, ...], None] = {}
    while len(found) < min(count, factorial(_FEW)):
        order = tuple(random.sample(ids, len(ids)))
        if order != ids:
            found[order] = None
    return list(found)


def _chain(ids: Sequence[int]) -> str:
    shown = ", ".join(f"#{id_}" for id_ in ids[:12])
    return f"{shown} and {len(ids) - 12} more" if len(ids) > 12 else shown
