"""Fan-out of committed changes to bounded queues: a slow listener loses signals, the publisher never waits."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from relay.model.signals import Signal

MAX_LAG = 1000  # default number of signals that a subscriber may lag behind before the oldest are dropped


class Subscription:
    """One listener's queue. `lost` counts signals dropped because it was too slow."""

    def __init__(self, max_lag: int = MAX_LAG) -> None:
        self.lost = 0
        self._max_lag = max_lag
        self._signals: deque[Signal] = deque()
        self._rung = asyncio.Event()

    @property
    def waiting(self) -> bool:
        """Return whether signals are queued."""
        return bool(self._signals)

    async def next(self) -> tuple[Signal, ...]:
        """Wait for signals and return all queued ones, oldest first."""
        await self._rung.wait()
        self._rung.clear()
        signals = tuple(self._signals)
        self._signals.clear()
        return signals

    def put(self, signal: Signal) -> None:
        """Queue a signal; drops the oldest when the listener lags too far behind."""
        if len(self._signals) >= self._max_lag:
            self._signals.popleft()
            self.lost += 1
        if not self._signals:
            self._rung.set()
        self._signals.append(signal)


class Bus:
    """Publishes committed changes to all subscribers of their kind, immediately and without waiting."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Callable[[Any], None], tuple[type, ...]]] = []
        self._by_type: dict[type, tuple[Callable[[Any], None], ...]] = {}

    def publish(self, signal: Signal) -> None:
        """Send a signal to every listener."""
        listeners = self._by_type.get(type(signal))
        if listeners is None:
            listeners = tuple(listener for listener, kinds in self._listeners if isinstance(signal, kinds))
            self._by_type[type(signal)] = listeners
        for listener in listeners:
            listener(signal)

    def on(self, listener: Callable[[Any], None], *kinds: type) -> None:
        """Call `listener` with every signal (of those kinds) from within `publish`: it must not block."""
        self._listeners.append((listener, kinds or (object,)))
        self._by_type.clear()

    @contextmanager
    def subscribe(
        self, *kinds: type, max_lag: int = MAX_LAG, skips: Callable[[Any], bool] | None = None
    ) -> Iterator[Subscription]:
        """Subscribe to signals (of those kinds, without those that `skips` selects) until the block ends."""
        subscription = Subscription(max_lag)

        def put(signal: Signal) -> None:
            if skips is not None and not skips(signal):
                subscription.put(signal)

        listener = (subscription.put if skips is None else put, kinds or (object,))
        self._listeners.append(listener)
        self._by_type.clear()
        try:
            yield subscription
        finally:
            self._listeners.remove(listener)
            self._by_type.clear()
