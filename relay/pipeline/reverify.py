"""Re-verification: events received while the vault was locked are checked in order and forwarded if they verify."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple

from relay.errors import NotFoundError
from relay.model.clock import Clock
from relay.model.event import Capture, EventOutcome, Source, Verdict, Verification
from relay.model.signals import DeliveryChanged, EventChanged
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.pipeline.classify import classify_again
from relay.pipeline.process import Routing, process_request
from relay.store import Store
from relay.store.pending_verification import CheckedEvent, build_checked_event

log = logging.getLogger(__name__)

BATCH = 50  # events stored in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverifyResult:
    """How many events were checked, by result; `others` could still not be checked."""

    verified: int = 0
    duplicates: int = 0
    rejected: int = 0
    others: int = 0

    def __add__(self, more: "ReverifyResult") -> "ReverifyResult":
        return ReverifyResult(**{name: getattr(self, name) + getattr(more, name) for name in self.__slots__})

    @property
    def events(self) -> int:
        """Return the number of events."""
        return sum(astuple(self))

    @property
    def words(self) -> str:
        """Return a sentence about all results, "" if there are none."""
        if not self.events:
            return ""
        counts = {
            "verified": self.verified,
            "seen before": self.duplicates,
            "rejected": self.rejected,
            "still unchecked": self.others,
        }
        counted = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
        one = self.events == 1
        return (
            f"{self.events:,} {'event that came meanwhile was' if one else 'events that came meanwhile were'} "
            f"checked: {counted}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverifier:
    """Checks events again, as received and by the time at which they were received.

    `urls(source, capture)` gives the addresses the sender may have signed; `in_order(target, id)`
    requests that deliveries up to that id go there one at a time.
    """

    store: Store
    bus: Bus
    clock: Clock
    routing: Routing
    urls: Callable[[Source, Capture], tuple[str, ...]]
    in_order: Callable[[str, int], None]

    async def run(self, named: Callable[[str], Source | None]) -> ReverifyResult:
        """Check the waiting events in the order received; `named` gives the current sources.

        Events of a source that is still locked keep waiting. Each BATCH is one transaction, so a relay
        that is killed continues with the next. Raises StoreError, TimeoutError.
        """
        total, after, last = ReverifyResult(), 0, await self.store.unchecked.last()
        while waiting := await self.store.unchecked.page(after, last, BATCH):
            after = waiting[-1][0]
            batch = [one for id_, name in waiting if (one := await self._process(id_, named(name))) is not None]
            total += await self._store(batch)
        return total

    async def _process(self, id_: int, source: Source | None) -> CheckedEvent | None:
        if source is not None and source.locked_secrets:
            return None
        try:
            event = await self.store.events.get(id_)
        except NotFoundError:
            return None  # deleted meanwhile
        if source is None or not source.configured:
            removed = Source(name=event.row.source, provider=event.row.provider, path=event.row.path)
            unknown = Verification(verdict=Verdict.UNCHECKED, reason="no_source")
            return build_checked_event(id_, classify_again(removed, event, unknown), ())
        urls = self.urls(source, event.capture)
        processed = await process_request(source, event.capture, urls, self.routing, stored=event)
        return build_checked_event(id_, processed.event, processed.deliveries)

    async def _store(self, batch: list[CheckedEvent]) -> ReverifyResult:
        if not batch:
            return ReverifyResult()
        stored = await self.store.unchecked.settle(batch, self.clock.now())
        byid = {one.id: one for one in batch}
        for one in stored:
            for new, delivery in zip(byid[one.id].planned, one.deliveries, strict=False):
                self.in_order(new.target, delivery)
        for one in stored:
            self.bus.publish(EventChanged(one.id))
            for moved in one.moved:
                self.bus.publish(moved)
            for delivery in one.deliveries:
                self.bus.publish(DeliveryChanged(delivery, one.id, "pending"))
        return ReverifyResult(**Counter(_name_result(one.outcome, byid[one.id].event.verification) for one in stored))


def _name_result(outcome: EventOutcome, verification: Verification) -> str:
    match outcome:
        case EventOutcome.REJECTED:
            return "rejected"
        case EventOutcome.DUPLICATE:
            return "duplicates"
    return "verified" if verification.verdict is Verdict.VERIFIED else "others"
