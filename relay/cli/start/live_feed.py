"""Reports each event once, in order, with its deliveries if they are quick, else after it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter

from relay.cli.start.reporters import Reporter
from relay.model.delivery import Delivery, DeliveryState
from relay.model.event import EventRow
from relay.model.signals import (
    DeliveryChanged,
    EventStored,
    HandlersChanged,
    RequestRefused,
    Signal,
    TunnelChanged,
    VaultChanged,
)
from relay.model.values import dataclass
from relay.pipeline.bus import Subscription
from relay.services.relay import RunningRelay
from relay.store.deliveries import count_states

log = logging.getLogger(__name__)

DELIVERY_WAIT = 0.3  # seconds that an event waits for its deliveries before it is reported without them
_MAX_REMEMBERED = 10_000  # deliveries whose last reported state is remembered
_MAX_ROWS = 500  # events kept for deliveries that are reported after them
POLL_INTERVAL = 0.05  # seconds between two reports: reporting events singly costs a third of the throughput
_FLOOD_INTERVAL = 0.25  # seconds until the next report if there were more events than a person can read
MAX_EVENTS_SHOWN = 40  # events in a report above which only their number is shown
_SHOWN_IN_FLOOD = 5  # the same for each further report: writing 40 takes 5 ms, which delays requests
_AT_ONCE = 8  # events reported in one iteration of the loop
_ABOUT_EVENTS = (EventStored, DeliveryChanged)
_RECOVERY_PAUSE = 1.0
_SETTLED_STATES = frozenset({DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.CANCELLED})


@dataclass(slots=True)
class _OpenEvent:
    """An event that waits for its deliveries until `due`; `made` has those that were tried, None for the others."""

    row: EventRow
    due: float
    made: dict[int, Delivery | None]


class LiveFeed:
    """Subscribes to the bus and calls a reporter, in the order of the signals.

    Values in signals are reported directly. The store is read only for gaps in event ids, and for
    deliveries and events that a signal only names.
    """

    def __init__(self, relay: RunningRelay, reporter: Reporter) -> None:
        self._store = relay.store
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._is_flooded = False
        self._open: OrderedDict[int, _OpenEvent] = OrderedDict()
        self._rows: OrderedDict[int, EventRow] = OrderedDict()
        self._reported: OrderedDict[int, tuple[DeliveryState, int]] = OrderedDict()

    async def run(self, last: int, subscription: Subscription) -> None:
        """Report everything after event number `last`, until cancelled."""
        self._last = last
        signals: tuple[Signal, ...] = ()
        looks = True  # for what came before the subscription
        while True:
            try:
                await self._process(signals, looks=looks)
                await self._report_open()
                await asyncio.sleep(_FLOOD_INTERVAL if self._is_flooded else POLL_INTERVAL)
                looks = False
            except Exception:
                # Capture continues if this fails.
                log.exception("could not report what happened")
                await asyncio.sleep(_RECOVERY_PAUSE)
                looks = True
            signals = await self._next_signals(subscription)

    async def finish(self) -> None:
        """Report the events that were waiting for their deliveries."""
        await self._process((), looks=True)
        await self._report_open(all_of_it=True)

    async def _next_signals(self, subscription: Subscription) -> tuple[Signal, ...]:
        oldest = next((event.due for event in self._open.values()), None)
        try:
            async with asyncio.timeout_at(oldest):
                return await subscription.next()
        except TimeoutError:
            return ()

    async def _process(self, signals: Sequence[Signal], *, looks: bool) -> None:
        stored = [one for one in signals if isinstance(one, EventStored)]
        await self._open_new_events(stored, looks=looks)
        changed = {one.delivery_id: one for one in signals if isinstance(one, DeliveryChanged)}
        tried = await self._find_tried(changed, made_now={id_ for one in stored for id_ in one.deliveries})
        for delivery in tried:
            if delivery.event_id in self._open:
                self._open[delivery.event_id].made[delivery.id] = delivery
        if not self._reporter.joins_deliveries:
            await self._report_open()
        await self._report_deliveries([one for one in tried if one.event_id not in self._open])
        for signal in [one for one in signals if type(one) not in _ABOUT_EVENTS]:
            match signal:
                case TunnelChanged():
                    self._reporter.report_tunnel(signal)
                case VaultChanged(detail=detail) if detail:
                    self._reporter.report_notice(detail)
                case RequestRefused():
                    self._reporter.report_refusal(signal)
                case HandlersChanged(target=target, detail=why):
                    state = f"cannot be run: {why}; their events wait" if why else "are loaded again"
                    self._reporter.report_notice(f"the handlers of {target} {state}")

    async def _open_new_events(self, stored: list[EventStored], *, looks: bool) -> None:
        fresh = sorted([one for one in stored if one.event_id > self._last], key=attrgetter("event_id"))
        # Consecutive ids show that no signal was lost.
        is_whole = (
            fresh and fresh[-1].event_id - self._last == len(fresh) and None not in [one.build_row for one in fresh]
        )
        if looks or (fresh and not is_whole):
            fresh = await self._load_new_events()
        if not fresh:
            self._is_flooded = False
            return
        self._last = fresh[-1].event_id
        joins = self._reporter.joins_deliveries
        due = self._loop.time() + (DELIVERY_WAIT if joins else 0.0)
        was_flooded, self._is_flooded = self._is_flooded, joins and len(fresh) > MAX_EVENTS_SHOWN
        reported = fresh
        if self._is_flooded:
            reported = fresh[: _SHOWN_IN_FLOOD if was_flooded else MAX_EVENTS_SHOWN]
        for one in reported:
            if one.build_row is not None:
                self._open[one.event_id] = _OpenEvent(one.build_row(), due, dict.fromkeys(one.deliveries))
        if self._is_flooded:
            await self._report_open(all_of_it=True)
            self._reporter.report_flood(len(fresh) - len(reported), self._last)

    async def _load_new_events(self) -> list[EventStored]:
        found = [row async for row in self._store.events.iterate(after=self._last)]
        made = await self._store.deliveries.of_events(row.id for row in found) if found else {}
        return [
            EventStored(row.id, tuple(one.id for one in made[row.id]), build_row=partial(_get_row, row))
            for row in reversed(found)
        ]

    async def _find_tried(self, changed: dict[int, DeliveryChanged], *, made_now: set[int]) -> list[Delivery]:
        """Return the deliveries that were tried or cancelled, in their current state."""
        known = [one.delivery for one in changed.values() if one.delivery is not None]
        # A pending delivery that is not new may have been tried: signals of bulk replays do not tell.
        states = (*_SETTLED_STATES, DeliveryState.PENDING)
        unknown = {id_ for id_, one in changed.items() if one.delivery is None and one.state in states}
        named = sorted(unknown - made_now)
        found = (*known, *(await self._store.deliveries.rows(named) if named else ()))
        return sorted((one for one in found if _is_tried(one)), key=lambda one: (one.event_id, one.id))

    async def _report_open(self, *, all_of_it: bool = False) -> None:
        now = self._loop.time()
        over: list[_OpenEvent] = []
        for event in self._open.values():
            if None in event.made.values() and not all_of_it and now < event.due:
                break  # later ones wait for it: lines stay in the order of their ids
            over.append(event)
        joins = self._reporter.joins_deliveries
        unknown = [id_ for event in over for id_, delivery in event.made.items() if delivery is None] if joins else []
        found = {one.id: one for one in await self._store.deliveries.rows(unknown)} if unknown else {}
        for place, event in enumerate(over):
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # requests have priority
            del self._open[event.row.id]
            made = [one for id_, delivery in event.made.items() if (one := delivery or found.get(id_)) is not None]
            counts = count_states(made)
            counts["pending"] += len(event.made) - len(made)
            joined = [one for one in made if self._is_news(one) or not one.attempts] if joins else []
            self._reporter.report_event(event.row, counts, joined)
            self._remember_row(event.row)

    async def _report_deliveries(self, tried: Iterable[Delivery]) -> None:
        news = [one for one in tried if self._is_news(one)]
        if self._reporter.joins_deliveries:
            events = list(dict.fromkeys(one.event_id for one in news))[:MAX_EVENTS_SHOWN]
            news = [one for one in news if one.event_id in events]
            missing = [id_ for id_ in events if id_ not in self._rows]
            for row in await self._store.events.rows(missing) if missing else ():
                self._remember_row(row)
        for delivery in news:
            self._reporter.report_delivery(self._rows.get(delivery.event_id), delivery)

    def _remember_row(self, row: EventRow) -> None:
        self._rows[row.id] = row
        while len(self._rows) > _MAX_ROWS:
            self._rows.popitem(last=False)

    def _is_news(self, delivery: Delivery) -> bool:
        state, attempts = self._reported.get(delivery.id, (None, 0))
        if not _is_tried(delivery) or (state, attempts) == (delivery.state, delivery.attempts):
            return False
        if delivery.state is DeliveryState.PENDING and attempts == delivery.attempts:
            return False  # a retry was requested; its result is reported once it was made
        self._reported[delivery.id] = (delivery.state, delivery.attempts)
        while len(self._reported) > _MAX_REMEMBERED:
            self._reported.popitem(last=False)
        return True


def _get_row(row: EventRow) -> EventRow:
    return row


def _is_tried(delivery: Delivery) -> bool:
    return delivery.state in _SETTLED_STATES or (delivery.state is DeliveryState.PENDING and delivery.attempts > 0)
