"""The delivery engine: claims due deliveries, runs their actions, records and announces the attempts."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from functools import partial
from random import random
from typing import Any

from relay.actions.base import Action
from relay.delivery.attempts import AttemptRecorder, longest_wait, make_attempt, next_state
from relay.delivery.circuit_breaker import CircuitBreaker
from relay.delivery.scheduler import Scheduler
from relay.delivery.targets import Targets
from relay.errors import StoreError, log_level, log_traceback
from relay.model.clock import Clock
from relay.model.delivery import (
    ActionResult,
    Attempt,
    AttemptFailed,
    AttemptRetry,
    Delivery,
    DeliveryState,
    RetryPolicy,
    Target,
)
from relay.model.event import CapturedEvent
from relay.model.signals import DeliveryChanged, EventStored, Signal, TargetChanged
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.pipeline.event_log import log_attempt, log_start, steps_are_logged
from relay.store import NOTHING_BLOCKED, BlockedWork, ClaimedDelivery, ClaimLimits, Store
from relay.store.connection import STORE_PAUSE, keep_trying
from relay.store.deliveries import AttemptRecord

log = logging.getLogger(__name__)

CONCURRENCY = 16
CONCURRENCY_PER_TARGET = 4
GRACE_SECONDS = 5.0
_POLL_SECONDS = 10.0  # a wake-up may be lost or the clock set; neither delays a delivery for longer


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Limits of an engine: concurrency, grace at shutdown, and the deliveries that are not its own.

    Deliveries with ids up to `above` are left alone; `spread` gives numbers from 0 to 1.
    """

    at_once: int = CONCURRENCY
    each: int = CONCURRENCY_PER_TARGET
    grace: float = GRACE_SECONDS
    above: int = 0
    spread: Callable[[], float] = random


@dataclass(eq=False, kw_only=True)
class Engine:
    """Runs deliveries. `run` is the long task; when it is cancelled, attempts in flight finish.

    `waits` gives the deliveries that need the locked vault; call `ring` when that changes.
    """

    store: Store
    bus: Bus
    clock: Clock
    targets: Targets
    actions: Mapping[str, Action[Any]]
    options: EngineOptions = field(default_factory=EngineOptions)
    waits: Callable[[], BlockedWork] = lambda: NOTHING_BLOCKED

    def __post_init__(self) -> None:
        """Subscribe to deliveries that become due."""
        self.circuit_breaker = CircuitBreaker(lambda name: self.bus.publish(TargetChanged(name)))
        self._horizon = 2 * longest_wait(self.targets.policies)
        self._bell = asyncio.Event()
        self._scheduler = Scheduler(self.targets.most, self.options.each, self.options.at_once)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._recorder = AttemptRecorder(self.store, self.clock, self._announce)
        self._crowded: set[str] = set()  # targets with more pending deliveries than the last claim took
        self._stopping = False
        self._claimed_at = self.clock.now()
        self.bus.on(self._hear, EventStored, DeliveryChanged)

    def ring(self) -> None:
        """Wake the engine: a delivery may be due."""
        self._bell.set()

    def in_order(self, target: str, up_to: int) -> None:
        """Send deliveries with ids up to `up_to` to a target one at a time."""
        self._scheduler.drain(target, up_to)

    async def give_up(self, is_wanted: Callable[[Delivery], bool]) -> int:
        """Cancel the claimed deliveries that `is_wanted` selects and that were not sent yet; return how many."""
        await self._release(taken := self._scheduler.take(is_wanted), DeliveryState.CANCELLED)
        return len(taken)

    async def attempt(self, claimed: ClaimedDelivery, state: Callable[[Attempt], DeliveryState]) -> Attempt:
        """Make one attempt of a running delivery, regardless of its target's limits; return it.

        `state` gives the state of the delivery after it, which is recorded together with it.
        """
        delivery = claimed.delivery
        started_at, began = self.clock.now(), self.clock.monotonic()
        result = await self._act(delivery, claimed.event, self.targets.of(delivery))
        attempt = make_attempt(delivery, started_at, self.clock.monotonic() - began, result)
        await self._recorder.record([AttemptRecord(delivery, attempt, state(attempt), self.clock.now())])
        self._say(delivery, state(attempt))
        return attempt

    async def run(self) -> None:
        """Deliver until cancelled; then finish attempts in flight within the grace period and release the rest."""
        await self._recover()
        # The state of targets is unknown after a start: each is treated like one that was down.
        await self._drain(self.targets.names)
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._work(group)
                except asyncio.CancelledError:
                    await self._finish()
                    raise
        finally:
            await self._recover()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._bell.clear()
            try:
                await self._claim()
                self._start(group)
                wait = await self._idle_for()
            except (StoreError, TimeoutError) as error:
                log.log(log_level(error), "deliveries wait for the store: %s", error)
                wait = STORE_PAUSE
            except Exception as error:  # noqa: BLE001 - capturing must continue if delivering fails
                log_traceback(log, "deliveries wait", error)
                wait = STORE_PAUSE
            for name in self.circuit_breaker.take_probes(self.clock.monotonic()):
                group.create_task(self._probe(name), name=f"probe {name}")
            await self._rest(wait)

    def _hear(self, signal: Signal) -> None:
        match signal:
            case DeliveryChanged(state=DeliveryState.PENDING, target=target) if target in self.circuit_breaker.down:
                return  # the probe that finds it up again wakes the engine
            case EventStored(wakes=True) | DeliveryChanged(state=DeliveryState.PENDING):
                self.ring()

    async def _claim(self) -> None:
        """Claim due deliveries; those of a target that has gone down since are released."""
        limits = ClaimLimits(
            total=self._scheduler.free_slots,
            each=self.options.each,
            most=self._scheduler.most(self.clock.monotonic()),
            running=self._scheduler.taken,
            fifo=self.targets.fifo,
            held=frozenset(self.circuit_breaker.down),
            horizon=self._horizon,
            above=self.options.above,
            waits=self.waits(),
        )
        late: list[ClaimedDelivery] = []
        self._claimed_at = self.clock.now()
        claimed = await self.store.deliveries.claim_due(self._claimed_at, limits)
        counts = Counter(one.delivery.target for one in claimed)
        is_full = len(claimed) >= limits.total
        known = {*counts, *limits.running, *(self.targets.names if is_full else ())}
        self._crowded = {name for name in known if is_full or counts[name] >= limits.count_free(name)}
        for one in claimed:
            if one.delivery.target in self.circuit_breaker.down and not one.delivery.asked:
                late.append(one)
            else:
                self._scheduler.line_up(one)
                self._say(one.delivery, DeliveryState.RUNNING)
        await self._release(late)

    def _start(self, group: asyncio.TaskGroup, *, takes_one: bool = False) -> ClaimedDelivery | None:
        """Start the deliveries that may start, except for one that the caller takes itself."""
        startable = self._scheduler.start(self.clock.monotonic()) if not self._stopping else []
        taken = startable.pop(0) if startable and takes_one else None
        for one in startable:
            task = group.create_task(self._deliver(one, group), name="deliver")
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        if self._scheduler.take_drained():
            self.ring()
        return taken

    async def _release(self, claimed: Sequence[ClaimedDelivery], state: DeliveryState = DeliveryState.PENDING) -> None:
        if claimed:
            write = partial(self.store.deliveries.release, [one.delivery.id for one in claimed], state)
            await keep_trying(self.clock, "deliveries wait to be given back", write)
        for one in claimed:
            self._say(one.delivery, state)

    async def _idle_for(self) -> float:
        now, waits = self.clock.now(), [_POLL_SECONDS]
        if not self._bell.is_set():
            # Counted from the last claim, not from now: a delivery due in between would be missed.
            held = self.circuit_breaker.down
            due = await self.store.deliveries.next_due(self._claimed_at, self.options.above, held)
            waits += [(due - now).total_seconds()] if due is not None else []
        moments = (self.circuit_breaker.next_probe(), self._scheduler.next_start())
        waits += [moment - self.clock.monotonic() for moment in moments if moment is not None]
        return max(0.0, min(waits))

    async def _rest(self, seconds: float) -> None:
        if self._bell.is_set():
            return
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(self._bell.wait()), group.create_task(self.clock.sleep(seconds))]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def _deliver(self, claimed: ClaimedDelivery | None, group: asyncio.TaskGroup) -> None:
        """Make attempts one after another, as long as another may start when one has ended."""
        while claimed is not None:
            try:
                await self._attempt(claimed, group)
            except Exception as error:  # noqa: BLE001 - one delivery must never take the others with it
                log_traceback(log, f"delivery {claimed.delivery.id} was left running", error)
            claimed = self._start(group, takes_one=True)

    async def _attempt(self, claimed: ClaimedDelivery, group: asyncio.TaskGroup) -> None:
        delivery, event = claimed
        target = self.targets.of(delivery)
        started_at, began = self.clock.now(), self.clock.monotonic()
        if steps_are_logged():
            log_start(delivery)
        try:
            result = await self._act(delivery, event, target)
        finally:
            ended = self.clock.monotonic()
            took, now = ended - began, self.clock.now()
            if self._scheduler.ended(delivery.target, took) and delivery.target in self._crowded:
                self.ring()
        if isinstance(result.outcome, AttemptRetry) and not result.outcome.tried:
            self._start(group)
            await self._postpone(delivery, result.outcome, now)
            return
        lasting = self.targets.lasting(delivery)
        back = lasting and self.circuit_breaker.note(delivery.target, result, ended)
        spared = lasting and isinstance(result.outcome, AttemptRetry) and result.outcome.unreachable
        attempt = make_attempt(delivery, started_at, took, result)
        if spared:
            # No connection: the delivery keeps its place in the queue until a connection succeeds.
            state, due_at = DeliveryState.PENDING, delivery.due_at
        else:
            policy = target.retry if target else RetryPolicy()
            counted = attempt.number - delivery.spared
            state, due_at = next_state(result.outcome, policy, counted, now, self.options.spread)
        sends_event = event is not None and attempt.request is not None and attempt.request.body == event.capture.body
        record = AttemptRecord(delivery, attempt, state, due_at, spared, sends_event)
        # The next attempt starts while this one is being committed.
        self._recorder.add(record, group)
        left = (self._scheduler.clear_line if spared else self._scheduler.trim_line)(delivery.target)
        if left:
            self._start(group)
            await self._release(left)
        if back:
            self._start(group)
            await self._make_due(delivery.target)

    def _announce(self, made: AttemptRecord) -> None:
        """Announce the state of a delivery after an attempt that is on disk."""
        delivery, attempt, state, due_at, spared, _ = made
        # A retry of a bulk replay that has ended since was cancelled: only the store knows.
        is_known = delivery.batch is None or state is not DeliveryState.PENDING
        self._say(delivery, state, made.settled if is_known else None)
        if steps_are_logged():
            wait = (due_at - attempt.started_at).total_seconds() - attempt.took
            log_attempt(attempt, delivery, state, wait, spared=spared)
        if delivery.target in self.targets.fifo:
            self.ring()

    async def _postpone(self, delivery: Delivery, outcome: AttemptRetry, now: datetime) -> None:
        # At most half the horizon ahead: a delivery due beyond the horizon is treated as due now.
        due_at = now + timedelta(seconds=min(outcome.after or STORE_PAUSE, self._horizon / 2))
        write = partial(self.store.deliveries.postpone, delivery.id, due_at, outcome.detail)
        await keep_trying(self.clock, "a delivery waits to be put off", write)
        self._say(delivery, DeliveryState.PENDING)

    async def _act(self, delivery: Delivery, event: CapturedEvent | None, target: Target | None) -> ActionResult:
        action = self.actions.get(target.action) if target else None
        if target is None or action is None:
            return ActionResult(outcome=AttemptFailed(self.targets.describe_missing(delivery)))
        if event is None:
            return ActionResult(outcome=AttemptFailed(f"no event {delivery.event_id}"))
        try:
            return await action.run(event, delivery, target.options)
        except Exception as error:  # noqa: BLE001 - whatever an action raises is an attempt that failed
            log_traceback(log, f"delivery {delivery.id}: {target.action} failed", error)
            return ActionResult(outcome=AttemptRetry(f"relay failed ({type(error).__name__}); its log says where"))

    async def _probe(self, name: str) -> None:
        answered = False
        try:
            target = self.targets.find(name)
            answered = await self.actions[target.action].reachable(target.options)
        except Exception as error:  # noqa: BLE001 - a target that cannot even be asked is still down
            log_traceback(log, f"the probe of {name} failed", error)
        if answered:
            await self._make_due(name)
        self.circuit_breaker.note_probe(name, answered=answered, at=self.clock.monotonic())
        self.ring()

    async def _make_due(self, name: str) -> None:
        await self._drain((name,))
        try:
            await self.store.deliveries.make_due(name, self.clock.now())
        except (StoreError, TimeoutError) as error:
            log.log(log_level(error), "deliveries to %s keep their own pace: %s", name, error)
        self.ring()

    async def _drain(self, names: Iterable[str]) -> None:
        try:
            newest = await self.store.deliveries.newest()
        except (StoreError, TimeoutError) as error:
            log.log(log_level(error), "what waited may go out in another order: %s", error)
            return
        for name in names:
            self._scheduler.drain(name, newest)

    async def _finish(self) -> None:
        self._stopping = True
        until = self.clock.monotonic() + self.options.grace
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=self.options.grace)
        await self._recorder.finish(max(until - self.clock.monotonic(), STORE_PAUSE))

    async def _recover(self) -> None:
        try:
            await self.store.deliveries.recover(self.options.above)
        except StoreError as error:
            log.warning("deliveries that were interrupted wait for the next start: %s", error.message)

    def _say(self, delivery: Delivery, state: DeliveryState, settled: Delivery | None = None) -> None:
        self.bus.publish(DeliveryChanged(delivery.id, delivery.event_id, state.value, settled))
