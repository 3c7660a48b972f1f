"""Fan-out of what was committed to bounded queues: a slow listener loses signals, the publisher never waits."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from relay.model.signals import Signal

MAX_LAG = 5000  # signals a listener may lag behind before the oldest are dropped: half a second's at full speed


class Subscription:
    """One listener's queue. `lost` counts signals dropped because it was too slow."""

    def __init__(self) -> None:
        self.lost = 0
        self._signals: deque[Signal] = deque()
        self._rung = asyncio.Event()

    @property
    def waiting(self) -> bool:
        """Say whether signals wait to be taken."""
        return bool(self._signals)

    async def next(self) -> tuple[Signal, ...]:
        """Wait for signals and return all that have gathered, oldest first."""
        await self._rung.wait()
        self._rung.clear()
        signals = tuple(self._signals)
        self._signals.clear()
        return signals

    def put(self, signal: Signal) -> None:
        """Queue a signal; drops the oldest when the listener lags too far behind."""
        if len(self._signals) >= MAX_LAG:
            self._signals.popleft()
            self.lost += 1
        if not self._signals:
            self._rung.set()
        self._signals.append(signal)


class Bus:
    """Publishes what was committed to every subscriber, at once and without waiting."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._bells: list[tuple[Callable[[Any], None], tuple[type, ...]]] = []
        self._by_type: dict[type, tuple[Callable[[Any], None], ...]] = {}

    def publish(self, signal: Signal) -> None:
        """Tell every listener."""
        bells = self._by_type.get(type(signal))
        if bells is None:
            bells = tuple(bell for bell, kinds in self._bells if isinstance(signal, kinds))
            self._by_type[type(signal)] = bells
        for bell in bells:
            bell(signal)
        for subscription in self._subscriptions:
            subscription.put(signal)

    def on(self, bell: Callable[[Any], None], *kinds: type) -> None:
        """Call `bell` with every signal (of those kinds), in the publisher's own turn: it must only ring."""
        self._bells.append((bell, kinds or (object,)))
        self._by_type.clear()

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Listen for as long as the block lasts."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
