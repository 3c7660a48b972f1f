"""Counts what no transaction counts: how long senders waited, and who was turned away."""

import logging
from collections import Counter

from relay.bus import Bus
from relay.clock import Clock
from relay.errors import StoreError
from relay.model.counters import CounterLabel, CounterValue, find_bucket
from relay.model.signals import RequestRefused, Signal
from relay.store import Store

log = logging.getLogger(__name__)

_FLUSH_INTERVAL = 5.0  # seconds between two writings down; what was timed since the last is lost to a kill -9
_KEPT_MINUTES = 8 * 1440  # minutes that are kept one by one: a week for the charts, and what they compare it with


class Meter:
    """Gathers in memory and writes down behind everything else. `run` is the long task."""

    def __init__(self, store: Store, bus: Bus, clock: Clock) -> None:
        self.refused: Counter[tuple[str, int]] = Counter()
        self._store = store
        self._clock = clock
        self._timed: dict[CounterLabel, tuple[int, float]] = {}
        bus.on(self._on_signal)

    def count_response(self, source: str, seconds: float) -> None:
        """Count a sender that was answered after so many seconds."""
        minute = int(self._clock.now().timestamp()) // 60
        label = CounterLabel(minute, "took", source, bucket=find_bucket(seconds))
        number, took = self._timed.get(label, (0, 0.0))
        self._timed[label] = (number + 1, took + seconds)

    async def run(self) -> None:
        """Write down what was timed until cancelled, and then once more."""
        try:
            while True:
                await self._clock.sleep(_FLUSH_INTERVAL)
                await self.flush()
                await self._fold()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write down what was timed so far."""
        timed, self._timed = self._timed, {}
        if timed:
            try:
                await self._store.counters.add(CounterValue(label, *sums) for label, sums in timed.items())
            except StoreError as error:
                log.debug("timings were not written down: %s", error.message)

    async def _fold(self) -> None:
        try:
            await self._store.counters.fold(int(self._clock.now().timestamp()) // 60 - _KEPT_MINUTES)
        except StoreError as error:
            log.debug("old counts stay as they are: %s", error.message)

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, RequestRefused):
            self.refused[signal.source, signal.status] += 1
