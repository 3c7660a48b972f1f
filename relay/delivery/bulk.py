"""Bulk replay: resends a batch of events, oldest first, at a given rate; it continues after a restart."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from relay.actions.egress import EgressRules
from relay.delivery.replay import GiveUp
from relay.delivery.targets import Targets
from relay.errors import NotFoundError, StoreError, UsageError, log_level, log_traceback
from relay.model.batch import (
    Batch,
    BatchCounts,
    BatchPlan,
    BatchState,
    BatchStep,
    ExcludedEvents,
    NewBatch,
    find_exclusion,
)
from relay.model.clock import Clock
from relay.model.delivery import DeliveryChanges, DeliveryReason, NewDelivery, Route
from relay.model.event import EventOutcome, EventRow, Verdict
from relay.model.search import Query, parse_query_strictly
from relay.model.signals import DeliveryChanged, Signal
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.pipeline.routing import find_target_names
from relay.store import Store
from relay.store.connection import STORE_PAUSE

log = logging.getLogger(__name__)

MOST_EVENTS = 100_000  # events of one batch
WINDOW = 16  # deliveries of a batch in flight: enough to keep a target busy, few enough to stop at once
_FEED_PAUSE = 0.01  # seconds between two checks, so that a burst of changes causes one check
_POLL_SECONDS = 10.0
_LATE_SECONDS = 0.25  # seconds of its rate that a batch may catch up on after a delay


@dataclass(eq=False, kw_only=True)
class BulkReplays:
    """Plans, starts, ends and resumes batches; `run` is the long task that feeds them to the queue.

    `in_order(target, id)` requests that deliveries up to an id go to a target one at a time; `give_up(select)` cancels
    deliveries that the engine has claimed and not sent. Batches up to `above` belong to an earlier relay.
    """

    store: Store
    bus: Bus
    clock: Clock
    targets: Targets
    routes: tuple[Route, ...]
    rules: Callable[[bool], EgressRules]
    in_order: Callable[[str, int], None]
    give_up: GiveUp
    above: int = 0

    def __post_init__(self) -> None:
        """Subscribe to deliveries that end."""
        self._bell = asyncio.Event()
        self._next_at: dict[int, float] = {}
        self.bus.on(self._on_signal, DeliveryChanged)

    async def plan(self, new: NewBatch) -> BatchPlan:
        """Return what a batch would do. Raises UsageError, TargetError, NotFoundError for an unknown target."""
        query = parse_query_strictly(new.query, self.clock.now())
        target = new.target and await self.targets.resolve(new.target, self.rules(True))
        found, left_out = _select_events(await self._find_matching(query), new.include)
        steps: list[BatchStep] = []
        skipped = 0
        for row in found:
            names = (target,) if target else await self._find_usual_targets(row)
            steps += [BatchStep(event_id=row.id, target=name) for name in names]
            skipped += not names
        return BatchPlan(
            steps=tuple(steps),
            skipped=skipped,
            left_out=left_out,
            oldest=found[0].received_at if found else None,
            newest=found[-1].received_at if found else None,
        )

    async def start(self, new: NewBatch, plan: BatchPlan | None = None) -> Batch:
        """Start a planned batch. Raises as `plan` does, and NotFoundError if there is nothing to send."""
        new = replace(new, target=new.target and self.targets.place(new.target))
        plan = plan or await self.plan(new)
        if not plan.steps:
            lost = "; no route leads from what matches to a target" if plan.skipped else ""
            left = f"; left out: {', '.join(one.words for one in plan.left_out)}" if plan.left_out else ""
            wanted = ", ".join(dict.fromkeys(one.outcome for one in plan.left_out))
            hint = f"include {wanted} to send them too" if left else "name a target, or another query"
            raise NotFoundError(f"no event to replay{lost}{left}", hint=hint)
        id_ = await self.store.batches.add(new, plan.steps, self.clock.now())
        self._bell.set()
        return await self.store.batches.get(id_)

    async def progress(self, id_: int) -> tuple[Batch, BatchCounts]:
        """Return a batch and the progress of its steps. Raises NotFoundError."""
        batch = await self.store.batches.get(id_)
        return batch, await self.store.batches.counts(batch)

    async def cancel(self, id_: int) -> None:
        """Cancel a batch; deliveries in flight finish. Raises NotFoundError, and UsageError if it has ended."""
        await self.store.batches.get(id_)
        await self._end(id_, BatchState.CANCELLED)

    async def resume(self, id_: int, *, stop_on_failure: bool | None = None) -> None:
        """Resume an ended batch; `stop_on_failure` None keeps its setting. Raises NotFoundError, UsageError."""
        batch = await self.store.batches.get(id_)
        stops = batch.stop_on_failure if stop_on_failure is None else stop_on_failure
        due = await self.store.batches.resume(id_, self.clock.now(), stop_on_failure=stops)
        self._publish(due, "pending")
        self._bell.set()

    async def run(self) -> None:
        """Feed batches to the queue until cancelled."""
        while True:
            self._bell.clear()
            wait = _POLL_SECONDS
            try:
                for batch in await self.store.batches.running(self.above):
                    wait = min(wait, await self._feed(batch))
            except (StoreError, TimeoutError) as error:
                log.log(log_level(error), "replays wait for the store: %s", error)
                wait = STORE_PAUSE
            except Exception as error:  # noqa: BLE001 - capturing must continue if a replay fails
                log_traceback(log, "replays wait", error)
                wait = STORE_PAUSE
            with suppress(TimeoutError):
                async with asyncio.timeout(max(wait, 0.0)):
                    await self._bell.wait()
            await self.clock.sleep(_FEED_PAUSE)

    def _on_signal(self, signal: Signal) -> None:
        if not isinstance(signal, DeliveryChanged) or signal.state in ("pending", "running"):
            return
        # A signal without its delivery may concern a batch.
        if signal.delivery is None or signal.delivery.batch is not None:
            self._bell.set()

    async def _feed(self, batch: Batch) -> float:
        """Queue a batch's next steps; return the seconds until the next check."""
        under_way, failed_id = await self.store.batches.load_activity(batch.id)
        if batch.stop_on_failure and failed_id is not None:
            failed = await self.store.deliveries.get(failed_id)
            why = f"#{failed.event_id} to {failed.target} failed: {failed.detail}"
            await self._finish(batch, BatchState.STOPPED, why)
            return _POLL_SECONDS
        if batch.made >= batch.total:
            if not under_way:
                await self._finish(batch, BatchState.DONE)
            return _POLL_SECONDS
        free = (1 if batch.stop_on_failure else WINDOW) - under_way
        if free <= 0:
            return _POLL_SECONDS
        count, wait = self._count_allowed(batch, free)
        if count:
            await self._advance(batch, count)
        return wait

    def _count_allowed(self, batch: Batch, free: int) -> tuple[int, float]:
        """Return how many steps the rate allows now, and when to check again."""
        if batch.rate is None:
            return free, _POLL_SECONDS
        now, interval = self.clock.monotonic(), 1 / batch.rate
        due = max(self._next_at.get(batch.id, now), now - max(_LATE_SECONDS, interval))
        count = min(free, int((now - due) / interval) + 1) if now >= due else 0
        self._next_at[batch.id] = due + count * interval
        return count, self._next_at[batch.id] - now

    async def _advance(self, batch: Batch, count: int) -> None:
        build_delivery = partial(self._build_delivery, batch)
        made = await self.store.batches.advance(batch.id, count, build_delivery, self.clock.now())
        if len(made) < count:
            self._bell.set()  # events were deleted: there may be nothing left to wait for
        for name in (batch.target,) if batch.target else self.targets.names:
            self.in_order(name, made[-1][0] if made else 0)
        self._publish(made, "pending")

    def _build_delivery(self, batch: Batch, target: str) -> NewDelivery:
        known = self.targets.named(target)
        return NewDelivery(
            target=target,
            action=known.action if known else "forward",
            reason=DeliveryReason.REPLAY,
            changes=DeliveryChanges(
                sign=batch.sign, once=batch.stop_on_failure or None, url=target if "://" in target else None
            ),
            batch=batch.id,
        )

    async def _finish(self, batch: Batch, state: BatchState, detail: str = "") -> None:
        with suppress(UsageError):  # it was ended in the meantime
            await self._end(batch.id, state, detail)

    async def _end(self, id_: int, state: BatchState, detail: str = "") -> None:
        given_up = await self.store.batches.end(id_, state, self.clock.now(), detail)
        self._next_at.pop(id_, None)
        self._publish(given_up, "cancelled")
        await self.give_up(lambda delivery: delivery.batch == id_)

    def _publish(self, changed: tuple[tuple[int, int], ...], state: str) -> None:
        for id_, event_id in changed:
            self.bus.publish(DeliveryChanged(id_, event_id, state))

    async def _find_matching(self, query: Query) -> list[EventRow]:
        """Return the events that match, oldest first."""
        found = [row async for row in self.store.events.iterate(query, most=MOST_EVENTS + 1)]
        if len(found) > MOST_EVENTS:
            raise UsageError(
                f"more than {MOST_EVENTS} events match", hint="narrow the query, by after: and before: perhaps"
            )
        return found[::-1]

    async def _find_usual_targets(self, row: EventRow) -> tuple[str, ...]:
        """Return the targets of an event's routes except e-mail: a mail is repeated only if its target is named."""
        matching = [route for route in self.routes if route.matches(row.source, row.types)]
        if any(route.when for route in matching):
            event = await self.store.events.get(row.id)
            # Included events go to the targets they would have had if they had been accepted.
            accepted = replace(event.row, outcome=EventOutcome.ACCEPTED, reason="")
            led = find_target_names(replace(event, row=accepted), self.routes)
        else:
            led = tuple(dict.fromkeys(name for route in matching for name in route.targets))
        sending = self.targets.sending
        return tuple(name for name in led if name in sending) or (sending if len(sending) == 1 else ())


def _select_events(
    rows: list[EventRow], include: frozenset[EventOutcome]
) -> tuple[list[EventRow], tuple[ExcludedEvents, ...]]:
    """Return the events of a batch, and counts of those left out, the largest first."""
    chosen: list[EventRow] = []
    left: Counter[tuple[EventOutcome, str, bool]] = Counter()
    for row in rows:
        outcome = find_exclusion(row.outcome, row.verdict, row.reason)
        if outcome is None or outcome in include:
            chosen.append(row)
        else:
            left[outcome, row.reason, row.verdict is Verdict.INVALID] += 1
    return chosen, tuple(
        ExcludedEvents(outcome=outcome, reason=reason, is_forged=is_forged, count=count)
        for (outcome, reason, is_forged), count in left.most_common()
    )
