"""What is told while relay runs: each event once, with its deliveries when they are quick, else after it."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from relay.bus import Subscription
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

DELIVERY_WAIT = 0.3  # seconds that an event waits for its deliveries before it is told without them
_MAX_REMEMBERED = 10_000  # deliveries whose last telling is remembered
POLL_INTERVAL = 0.05  # seconds between two looks: asked for one by one, events cost a third of the throughput
MAX_EVENTS_SHOWN = 40  # events in one look beyond which a person is told how many there were
_RECOVERY_PAUSE = 1.0
_SETTLED_STATES = frozenset({DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.CANCELLED})


class Reporter(Protocol):
    """Who tells it: lines for a person, or objects for a program.

    `joins` says whether quick deliveries are told together with their event.
    """

    joins: bool

    def event(self, row: EventRow, made: Sequence[Delivery], told: Sequence[Delivery]) -> None:
        """Tell an event: all deliveries it has, and which of them are told with it."""
        ...

    def delivery(self, row: EventRow, delivery: Delivery) -> None:
        """Tell how a delivery went, after its event was told."""
        ...

    def tunnel(self, change: TunnelChanged) -> None:
        """Tell what became of the tunnel."""
        ...

    def flood(self, count: int, last: int) -> None:
        """Tell how many events came at once beyond those told, up to number `last`."""
        ...

    def refused(self, refused: RequestRefused) -> None:
        """Tell that a request was turned away at the door."""
        ...

    def notice(self, text: str) -> None:
        """Tell what a person should know."""
        ...


class LiveFeed:
    """Listens to the bus and tells a voice, in the order in which things became known."""

    def __init__(self, relay: RunningRelay, voice: Reporter) -> None:
        self._store = relay.store
        self._bus = relay.bus
        self._voice = voice
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._open: OrderedDict[int, tuple[EventRow, float]] = OrderedDict()
        self._told: OrderedDict[int, tuple[DeliveryState, int]] = OrderedDict()

    async def run(self, last: int) -> None:
        """Tell everything after event number `last`, until cancelled."""
        self._last = last
        with self._bus.subscribe() as listening:
            signals: tuple[Signal, ...] = (EventStored(0),)  # what came before anybody listened
            while True:
                try:
                    await self._take(signals)
                    await self._tell()
                    await asyncio.sleep(POLL_INTERVAL)
                except Exception:
                    # Telling is not what relay is for: capture goes on, whatever happens here.
                    log.exception("could not tell what happened")
                    await asyncio.sleep(_RECOVERY_PAUSE)
                signals = await self._heard(listening)

    async def finish(self) -> None:
        """Tell what was waiting for its deliveries."""
        await self._take((EventStored(0),))
        await self._tell(all_of_it=True)

    async def _heard(self, listening: Subscription) -> tuple[Signal, ...]:
        oldest = next((due for _, due in self._open.values()), None)
        try:
            async with asyncio.timeout_at(oldest):
                return await listening.next()
        except TimeoutError:
            return ()

    async def _take(self, signals: Sequence[Signal]) -> None:
        if any(isinstance(signal, EventStored) for signal in signals):
            arrived = await self._arrived()
            told = arrived[:MAX_EVENTS_SHOWN] if self._voice.joins else arrived
            due = self._loop.time() + (DELIVERY_WAIT if self._voice.joins else 0.0)
            self._open.update((row.id, (row, due)) for row in told)
            if len(arrived) > len(told):
                await self._tell(all_of_it=True)
                self._voice.flood(len(arrived) - len(told), arrived[-1].id)
        if not self._voice.joins:
            await self._tell()
        changed = {signal.delivery_id: signal.event_id for signal in signals if isinstance(signal, DeliveryChanged)}
        await self._tell_changed(changed)
        for signal in signals:
            match signal:
                case TunnelChanged():
                    self._voice.tunnel(signal)
                case VaultChanged(detail=detail) if detail:
                    self._voice.notice(detail)
                case RequestRefused():
                    self._voice.refused(signal)
                case HandlersChanged(target=target, detail=why):
                    said = f"cannot be run: {why}; their events wait" if why else "are loaded again"
                    self._voice.notice(f"the handlers of {target} {said}")

    async def _arrived(self) -> list[EventRow]:
        # Asked for by number rather than by signal, so that a flood loses none of them.
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

    async def _tell(self, *, all_of_it: bool = False) -> None:
        if not self._open:
            return
        made = await self._store.deliveries.of_events(self._open)
        now = self._loop.time()
        while self._open:
            id_, (row, due) = next(iter(self._open.items()))
            ready = all(_is_tried(delivery) for delivery in made[id_])
            if not (ready or all_of_it or now >= due):
                break  # later ones wait for it: lines stay in the order of their numbers
            del self._open[id_]
            told = [delivery for delivery in made[id_] if self._voice.joins and self._is_news(delivery)]
            self._voice.event(row, made[id_], told)

    async def _tell_changed(self, changed: dict[int, int]) -> None:
        wanted = sorted({event for event in changed.values() if event not in self._open})
        if not wanted:
            return
        if self._voice.joins:
            del wanted[MAX_EVENTS_SHOWN:]
        rows = {row.id: row for row in await self._store.events.rows(wanted)}
        for event, made in (await self._store.deliveries.of_events(rows)).items():
            for delivery in made:
                if delivery.id in changed and self._is_news(delivery):
                    self._voice.delivery(rows[event], delivery)

    def _is_news(self, delivery: Delivery) -> bool:
        state, attempts = self._told.get(delivery.id, (None, 0))
        if not _is_tried(delivery) or (state, attempts) == (delivery.state, delivery.attempts):
            return False
        if delivery.state is DeliveryState.PENDING and attempts == delivery.attempts:
            return False  # somebody asked for another try, which is told when it was made
        self._told[delivery.id] = (delivery.state, delivery.attempts)
        while len(self._told) > _MAX_REMEMBERED:
            self._told.popitem(last=False)
        return True


def _is_tried(delivery: Delivery) -> bool:
    return delivery.state in _SETTLED_STATES or (delivery.state is DeliveryState.PENDING and delivery.attempts > 0)
