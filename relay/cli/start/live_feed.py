"""Report each event once, in order, with its deliveries when they are quick, else after it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

from relay.bus import Subscription
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
from relay.services.relay import RunningRelay

log = logging.getLogger(__name__)

DELIVERY_WAIT = 0.3  # seconds that an event waits for its deliveries before it is reported without them
_MAX_REMEMBERED = 10_000  # deliveries whose last reported state is remembered
POLL_INTERVAL = 0.05  # seconds between two looks: loaded one by one, events cost a third of the throughput
MAX_EVENTS_SHOWN = 40  # events in one look beyond which a person sees only how many there were
_RECOVERY_PAUSE = 1.0
_SETTLED_STATES = frozenset({DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.CANCELLED})


class LiveFeed:
    """Listens to the bus and calls a reporter, in the order in which things became known."""

    def __init__(self, relay: RunningRelay, reporter: Reporter) -> None:
        self._store = relay.store
        self._bus = relay.bus
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._open: OrderedDict[int, tuple[EventRow, float]] = OrderedDict()  # by id: an event and when it is due
        self._reported: OrderedDict[int, tuple[DeliveryState, int]] = OrderedDict()

    async def run(self, last: int) -> None:
        """Report everything after event number `last`, until cancelled."""
        self._last = last
        with self._bus.subscribe() as subscription:
            signals: tuple[Signal, ...] = (EventStored(0),)  # what came before the subscription
            while True:
                try:
                    await self._process(signals)
                    await self._report_open()
                    await asyncio.sleep(POLL_INTERVAL)
                except Exception:
                    # Capture goes on, whatever happens here.
                    log.exception("could not report what happened")
                    await asyncio.sleep(_RECOVERY_PAUSE)
                signals = await self._next_signals(subscription)

    async def finish(self) -> None:
        """Report what was waiting for its deliveries."""
        await self._process((EventStored(0),))
        await self._report_open(all_of_it=True)

    async def _next_signals(self, subscription: Subscription) -> tuple[Signal, ...]:
        oldest = next((due for _, due in self._open.values()), None)
        try:
            async with asyncio.timeout_at(oldest):
                return await subscription.next()
        except TimeoutError:
            return ()

    async def _process(self, signals: Sequence[Signal]) -> None:
        joins = self._reporter.joins_deliveries
        if any(isinstance(signal, EventStored) for signal in signals):
            arrived = await self._load_new_events()
            shown = arrived[:MAX_EVENTS_SHOWN] if joins else arrived
            due = self._loop.time() + (DELIVERY_WAIT if joins else 0.0)
            self._open.update((row.id, (row, due)) for row in shown)
            if len(arrived) > len(shown):
                await self._report_open(all_of_it=True)
                self._reporter.report_flood(len(arrived) - len(shown), arrived[-1].id)
        if not joins:
            await self._report_open()
        changed = {signal.delivery_id: signal.event_id for signal in signals if isinstance(signal, DeliveryChanged)}
        await self._report_changed(changed)
        for signal in signals:
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

    async def _load_new_events(self) -> list[EventRow]:
        # By number rather than by signal, so that a flood loses none of them.
        found: list[EventRow] = []
        before: int | None = None
        while True:
            page = await self._store.events.page(after=self._last, before=before, limit=500)
            found += page.rows
            before = page.next_before
            if before is None:
                break
        self._last = max((row.id for row in found), default=self._last)
        return found[::-1]

    async def _report_open(self, *, all_of_it: bool = False) -> None:
        if not self._open:
            return
        made = await self._store.deliveries.of_events(self._open)
        now = self._loop.time()
        while self._open:
            id_, (row, due) = next(iter(self._open.items()))
            is_ready = all(_is_tried(delivery) for delivery in made[id_])
            if not (is_ready or all_of_it or now >= due):
                break  # later ones wait for it: lines stay in the order of their numbers
            del self._open[id_]
            joined = [one for one in made[id_] if self._reporter.joins_deliveries and self._is_news(one)]
            self._reporter.report_event(row, made[id_], joined)

    async def _report_changed(self, changed: dict[int, int]) -> None:
        events = sorted({event for event in changed.values() if event not in self._open})
        if not events:
            return
        if self._reporter.joins_deliveries:
            del events[MAX_EVENTS_SHOWN:]
        rows = {row.id: row for row in await self._store.events.rows(events)}
        for event, made in (await self._store.deliveries.of_events(rows)).items():
            for delivery in made:
                if delivery.id in changed and self._is_news(delivery):
                    self._reporter.report_delivery(rows[event], delivery)

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


def _is_tried(delivery: Delivery) -> bool:
    return delivery.state in _SETTLED_STATES or (delivery.state is DeliveryState.PENDING and delivery.attempts > 0)
