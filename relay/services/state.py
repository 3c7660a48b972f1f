"""The runtime state of relay, and the monitor of the store."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from relay.delivery.retention import RetentionNotice
from relay.errors import StoreError
from relay.model.clock import Clock
from relay.model.payload import PayloadError, parse_json
from relay.model.signals import StoreChanged, TunnelChanged
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.pipeline.limits import RefusalCounts
from relay.platform import write_private
from relay.store import Store

log = logging.getLogger(__name__)

_FILE_NAME = "preferences.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """Preferences of the dashboard: row height, time zone, keyboard shortcuts and announcements."""

    density: Literal["comfortable", "compact"] = "comfortable"
    zone: Literal["local", "utc"] = "local"
    keys: bool = True
    announcements: bool = True


_ADAPTER = TypeAdapter(Preferences)


def load_preferences(data_dir: Path) -> Preferences:
    """Return the saved preferences; the defaults if there are none, or if they cannot be read."""
    try:
        return _ADAPTER.validate_python(parse_json((data_dir / _FILE_NAME).read_bytes()))
    except (OSError, PayloadError, ValidationError):
        return Preferences()


def save_preferences(data_dir: Path, chosen: Preferences) -> None:
    """Save preferences; if that fails they last until relay stops."""
    try:
        write_private(data_dir / _FILE_NAME, json.dumps(asdict(chosen)).encode())
    except OSError as error:
        log.warning("preferences were not kept: %s", error.strerror)


CHECK_SECONDS = 1.0  # seconds between two checks: an outage is noticed before the next webhook
REPEAT_SECONDS = 60.0  # seconds after which a lasting outage is logged again


@dataclass(slots=True, kw_only=True)
class RuntimeState:
    """The runtime state: the tunnel, the health of targets, refused requests.

    `next_try(target)` gives the seconds until one that is down is tried again. `outage` is why the store can
    keep nothing, `unkept` how many requests were answered 503 for that since the start.
    """

    tunnel: TunnelChanged
    refused: RefusalCounts = field(default_factory=RefusalCounts)
    down: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    next_try: Callable[[str], float] = lambda _: 0.0
    preferences: Preferences = field(default_factory=Preferences)
    broken: dict[str, str] = field(default_factory=dict)
    retention: RetentionNotice | None = None
    outage: StoreError | None = None
    unkept: int = 0
    locked: dict[str, str] = field(default_factory=dict)

    def state_of(self, target: str) -> tuple[str, str]:
        """Return whether a target is up, down, gone or waits for the vault (locked), and why."""
        known = (("locked", self.locked), ("down", self.broken), ("down", self.down), ("gone", self.gone))
        for state, reasons in known:
            if target in reasons:
                return state, reasons[target]
        return "up", ""

    @property
    def public_url(self) -> str | None:
        """Return the tunnel's address while it is up, without a trailing slash."""
        return self.tunnel.public_url if self.tunnel.state == "up" else None


class StoreMonitor:
    """Monitors the store for outages, and tries to write until an outage is over."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, state: RuntimeState) -> None:
        self._writer = store.writer
        self._bus = bus
        self._clock = clock
        self._state = state
        self._began = 0.0
        self._log_at = 0.0
        self._logged = ""
        self._is_logged = False
        self._unkept_before = 0
        self._writer.outages.on_change = self._changed

    async def run(self) -> None:
        """Check every second until cancelled."""
        while True:
            outage = await self._writer.look()
            if outage is not None and self._clock.monotonic() >= self._log_at:
                self._log_outage(outage)
            await self._clock.sleep(CHECK_SECONDS)

    def _changed(self, outage: StoreError | None) -> None:
        began, self._state.outage = self._state.outage is None, outage
        if began:
            self._began, self._unkept_before = self._clock.monotonic(), self._state.unkept
        if outage is None:
            self._log_end()
        elif outage.message != self._logged or self._clock.monotonic() >= self._log_at:
            self._log_outage(outage)
        self._bus.publish(StoreChanged(outage.message if outage else ""))

    def _log_outage(self, outage: StoreError) -> None:
        self._log_at, self._logged = self._clock.monotonic() + REPEAT_SECONDS, outage.message
        self._is_logged = True
        log.error("no event can be kept: %s; %s%s", outage.message, outage.hint, self._unkept())

    def _log_end(self) -> None:
        if self._is_logged:
            lasted = self._clock.monotonic() - self._began
            log.warning("events are kept again, after %.0f s%s", lasted, self._unkept())
        self._is_logged = False

    def _unkept(self) -> str:
        count = self._state.unkept - self._unkept_before
        return f" ({count} answered 503, so that their senders try again)" if count else ""
