"""Watches whether the store can keep anything, and says so: on every page, in the metrics and in the log."""

import logging

from relay.bus import Bus
from relay.clock import Clock
from relay.errors import StoreError
from relay.model.signals import StoreChanged
from relay.services.state import RuntimeState
from relay.store import Store

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0  # seconds between two looks: what is wrong is seen before the next webhook meets it
REPEAT_SECONDS = 60.0  # seconds after which an outage that lasts is logged again


class StoreMonitor:
    """Hears of an outage from the store itself, looks for the signs of one, and tries until it is over."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, live: RuntimeState) -> None:
        self._writer = store.writer
        self._bus = bus
        self._clock = clock
        self._live = live
        self._began = 0.0
        self._say_at = 0.0
        self._said = ""
        self._is_said = False
        self._unkept_before = 0
        self._writer.outages.listen(self._changed)

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            outage = await self._writer.look()
            if outage is not None and self._clock.monotonic() >= self._say_at:
                self._say(outage)
            await self._clock.sleep(CHECK_SECONDS)

    def _changed(self, outage: StoreError | None) -> None:
        began, self._live.outage = self._live.outage is None, outage
        if began:
            self._began, self._unkept_before = self._clock.monotonic(), self._live.unkept
        if outage is None:
            self._say_end()
        elif outage.message != self._said or self._clock.monotonic() >= self._say_at:
            self._say(outage)
        self._bus.publish(StoreChanged(outage.message if outage else ""))

    def _say(self, outage: StoreError) -> None:
        self._say_at, self._said = self._clock.monotonic() + REPEAT_SECONDS, outage.message
        self._is_said = True
        log.error("no event can be kept: %s; %s%s", outage.message, outage.hint, self._unkept())

    def _say_end(self) -> None:
        if self._is_said:
            lasted = self._clock.monotonic() - self._began
            log.warning("events are kept again, after %.0f s%s", lasted, self._unkept())
        self._is_said = False

    def _unkept(self) -> str:
        count = self._live.unkept - self._unkept_before
        return f" ({count} answered 503, which asks their senders to try again)" if count else ""
