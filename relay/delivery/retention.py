"""Deletes old events: the oldest first, a few at a time, while the store is idle."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import accumulate, takewhile

from relay.errors import StoreError, log_level
from relay.model.clock import Clock
from relay.model.retention import RetentionLimits
from relay.model.signals import DeliveryChanged, EventChanged, EventStored
from relay.model.values import dataclass
from relay.pipeline.bus import Bus, Subscription
from relay.store import Store
from relay.store.pruning import PrunableEvent, StoreUsage

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 10.0  # seconds between two checks
MAX_SWEEP = 30.0  # seconds that one check may take
BATCH = 100  # events removed in one commit: about ten milliseconds of the writer's time
BATCH_BYTES = 4_000_000  # of their bodies
PAUSE = 0.02  # seconds between two batches
BUSY_PAUSE = 0.5  # while events arrive
REVISIT_INTERVAL = 600.0  # seconds after which pinned or waiting events are checked again
RESERVE = 64_000_000  # bytes of free pages that the file keeps for new events
_URGENT = 1.05  # above this fraction of a limit events are removed even while others arrive
_PAGES = 500  # free pages cut off the file in one commit


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionNotice:
    """A notice about retention: a fact and its consequence."""

    title: str
    text: str


@dataclass(eq=False)
class Retention:
    """Removes events that exceed the limits; `report` is called with a notice, or None when there is none.

    Pinned events and those with pending deliveries stay; nothing is removed during a bulk replay.
    """

    store: Store
    bus: Bus
    clock: Clock
    keep: RetentionLimits
    report: Callable[[RetentionNotice | None], None]

    def __post_init__(self) -> None:
        """Start from the oldest event."""
        self._start = 0
        self._revisit_at = 0.0

    async def run(self) -> None:
        """Check every few seconds until cancelled."""
        while True:
            try:
                # Not on every signal: its own signals would slow it down.
                with self.bus.subscribe(EventStored, DeliveryChanged) as listening:
                    await self.sweep(listening)
            except (StoreError, TimeoutError) as error:
                # Removal can wait; the next check tries again.
                log.log(log_level(error), "could not remove old events: %s", error)
            await self.clock.sleep(SWEEP_INTERVAL)

    async def sweep(self, listening: Subscription | None = None) -> int:
        """Remove all events that are due and return how many. Raises StoreError, TimeoutError."""
        if await self.store.pruning.is_replay_running():
            return 0
        if self.clock.monotonic() >= self._revisit_at:
            self._start, self._revisit_at = 0, self.clock.monotonic() + REVISIT_INTERVAL
        usage, after, count, rule = await self.store.pruning.usage(), self._start, 0, ""
        # New events are left to the next check: a sweep that waits for a pause would never end.
        found, until = usage.events, self.clock.monotonic() + MAX_SWEEP
        while True:
            olds = await self.store.pruning.oldest(after, BATCH)
            due, chosen = self._due(olds, found - count, usage.used)
            if not chosen or self.clock.monotonic() > until:
                break
            gone = await self.store.pruning.remove(tuple(old.id for old in chosen), due)
            after, count, rule = chosen[-1].id, count + len(gone), due
            if gone:
                self.bus.publish(EventChanged(gone[-1]))
            usage = await self.store.pruning.usage()
            await self._pause(listening, usage)
        self._start = olds[0].id - 1 if olds else after
        if count:
            log.info("removed %d events, up to %d: more than %s", count, after, self.keep.describe_rule(rule))
        await self._give_back(usage)
        self.report(self._notice(usage, rule))
        return count

    def _due(self, olds: tuple[PrunableEvent, ...], events: int, used: int) -> tuple[str, tuple[PrunableEvent, ...]]:
        """Return which of the oldest events must be removed for these totals, and by which rule."""
        before = self._cutoff()
        # Up to the first event that is young enough: ids increase with the time of storage.
        if aged := tuple(takewhile(lambda old: old.kept_since < before, olds)):
            return "age", _take_batch(aged)
        if events > self.keep.max_events:
            return "events", _take_batch(olds[: events - self.keep.max_events])
        surplus = used - self.keep.max_size
        return "size", _take_batch(olds, surplus) if surplus > 0 else ()

    def _cutoff(self) -> datetime:
        now = self.clock.now()
        try:
            return now - timedelta(seconds=self.keep.max_age)
        except OverflowError:
            return datetime.min.replace(tzinfo=now.tzinfo)

    async def _pause(self, listening: Subscription | None, usage: StoreUsage) -> None:
        busy = listening is not None and listening.waiting and bool(await listening.next())
        keep = self.keep
        urgent = usage.events > keep.max_events * _URGENT or usage.used > keep.max_size * _URGENT
        await self.clock.sleep(BUSY_PAUSE if busy and not urgent else PAUSE)

    async def _give_back(self, usage: StoreUsage) -> None:
        while usage.free > max(RESERVE, usage.used // 10):
            await self.store.pruning.free_pages(_PAGES)
            before, usage = usage, await self.store.pruning.usage()
            if usage.free >= before.free:
                return  # a file that cannot shrink: its free pages are reused for new events
            await self.clock.sleep(PAUSE)

    def _notice(self, usage: StoreUsage, rule: str) -> RetentionNotice | None:
        keep = self.keep
        if usage.events > keep.max_events or usage.used > keep.max_size:
            return RetentionNotice(
                title="More is kept than [retention] allows.",
                text="The remaining events are pinned, or still wait for a target.",
            )
        if usage.events == keep.max_events:
            limit = keep.describe_rule("events")
        elif rule == "size" or usage.used > keep.max_size * 0.98:
            limit = f"{keep.describe_rule('size')} of events"
        else:
            return None
        return RetentionNotice(title=f"Kept {limit}.", text="The oldest are removed as new ones arrive.")


def _take_batch(olds: tuple[PrunableEvent, ...], most: int = BATCH_BYTES) -> tuple[PrunableEvent, ...]:
    """Return the events of one commit: at least the first, with bodies of at most `most` bytes in all."""
    totals = accumulate(old.size for old in olds)
    return olds[: max(1, sum(total <= min(most, BATCH_BYTES) for total in totals))]
