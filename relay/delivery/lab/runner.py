"""Runs the lab: one run after another, each send a delivery, recorded as it happens."""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from relay.delivery.lab import EXPERIMENTS
from relay.delivery.lab.experiment import Experiment
from relay.delivery.lab.fresh_ids import find_event_ids, find_object_id, renew_ids
from relay.delivery.lab.plan import Planner
from relay.delivery.lab.report import build_report
from relay.errors import NotFoundError, SigningError, StoreError, UsageError, log_level, log_traceback
from relay.model.clock import Clock
from relay.model.delivery import (
    Attempt,
    Delivery,
    DeliveryChanges,
    DeliveryReason,
    DeliveryState,
    NewDelivery,
    SignMode,
)
from relay.model.event import CapturedEvent, EventRow
from relay.model.lab import (
    ENDED_STATES,
    LabReport,
    LabRun,
    LabSend,
    LabState,
    NewLabRun,
    PlannedLabRun,
    PlannedSend,
    SendRound,
)
from relay.model.signals import LabChanged
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.store import ClaimedDelivery, Store
from relay.store.connection import STORE_PAUSE, keep_trying

log = logging.getLogger(__name__)

STOPPED = "relay was stopped before it was over"
_POLL_SECONDS = 10.0
_LONGEST_QUOTE = 160  # characters of an answer in a report
_LONGEST_BODY = 2_000  # bytes of an answer that are read for them

MakeAttempt = Callable[[ClaimedDelivery, Callable[[Attempt], DeliveryState]], Awaitable[Attempt]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SendContext:
    """The position of a send in a run; `shared` are ids of objects that several of its events are about."""

    run: LabRun
    trial: int
    round: int
    experiment: Experiment
    shared: frozenset[str] = frozenset()


@dataclass(eq=False, kw_only=True)
class LabRunner:
    """Plans, starts, ends and reports runs; `run` is the long task that executes them, one at a time.

    `attempt(claimed, state)` makes one attempt of a delivery at once, regardless of what its target has to
    do, records it with the resulting state, and returns it.
    """

    store: Store
    bus: Bus
    clock: Clock
    planner: Planner
    attempt: MakeAttempt

    def __post_init__(self) -> None:
        """Set up with no run in progress."""
        self._bell = asyncio.Event()
        self._current: tuple[int, asyncio.Task[None]] | None = None
        self._unwanted: set[int] = set()

    async def plan(self, new: NewLabRun) -> PlannedLabRun:
        """Return what a run would do. Raises as Planner.plan."""
        return await self.planner.plan(new)

    async def start(self, new: NewLabRun) -> LabRun:
        """Queue a run. Raises as `plan`."""
        planned = await self.planner.plan(new)
        id_ = await self.store.labs.add(planned, self.clock.now())
        self._publish(id_, LabState.WAITING)
        self._bell.set()
        return await self.store.labs.get(id_)

    async def report(self, id_: int) -> LabReport:
        """Return the report of a run so far. Raises NotFoundError."""
        run = await self.store.labs.get(id_)
        return build_report(run, await self.store.labs.sends(id_))

    async def cancel(self, id_: int) -> None:
        """Cancel a run and its sends in flight. Raises NotFoundError, and UsageError if it has ended."""
        run = await self.store.labs.get(id_)
        if run.state not in ENDED_STATES and self._current is not None and self._current[0] == id_:
            self._unwanted.add(id_)
            self._current[1].cancel()
            await asyncio.wait({self._current[1]})
            if id_ not in self._unwanted:  # the run has ended itself
                return
            # A task that is cancelled before its first step runs none of its code.
            self._unwanted.discard(id_)
        await self.store.labs.end(id_, LabState.CANCELLED, self.clock.now())
        self._publish(id_, LabState.CANCELLED)

    async def recover(self) -> None:
        """Mark runs that an earlier relay left unfinished as interrupted: half a burst is no burst."""
        await self.store.labs.interrupt(self.clock.now(), STOPPED)

    async def run(self) -> None:
        """Execute runs until cancelled."""
        while True:
            self._bell.clear()
            wait = _POLL_SECONDS
            try:
                waiting = await self.store.labs.next_waiting()
                if waiting is not None:
                    wait = 0.0
                    await self._run_experiments(waiting)
            except* (StoreError, TimeoutError) as errors:
                error = errors.exceptions[0]
                log.log(log_level(error), "the lab waits for the store: %s", error)
                wait = STORE_PAUSE
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._bell.wait()

    async def _run_experiments(self, waiting: LabRun) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                # From here on it can be cancelled, also while it starts.
                self._current = waiting.id, group.create_task(self._run_trials(waiting), name=f"lab run {waiting.id}")
        finally:
            self._current = None

    async def _run_trials(self, waiting: LabRun) -> None:
        if not await self.store.labs.begin(waiting.id):
            return
        run = replace(waiting, state=LabState.RUNNING)
        self._publish(run.id, LabState.RUNNING)
        try:
            for number in range(len(run.trials)):
                await self._run_trial(run, number)
                await self.store.labs.advance(run.id, number + 1)
                self._publish(run.id, LabState.RUNNING)
            await self._end(run.id, LabState.DONE)
        except asyncio.CancelledError:
            if run.id not in self._unwanted:
                raise
            self._unwanted.discard(run.id)
            await self._end(run.id, LabState.CANCELLED)
        except (StoreError, TimeoutError) as error:
            await self._end(run.id, LabState.INTERRUPTED, f"the store could not be used: {error}")
        except Exception as error:  # noqa: BLE001 - capturing must continue if an experiment fails
            log_traceback(log, f"lab run {run.id} was ended", error)
            await self._end(run.id, LabState.INTERRUPTED, "relay failed; its log says where")

    async def _end(self, id_: int, state: LabState, detail: str = "") -> None:
        end = partial(self.store.labs.end, id_, state, self.clock.now(), escape_unprintable(detail, 300))
        with suppress(UsageError):  # it was ended in the meantime
            await keep_trying(self.clock, f"the end of lab run {id_} could not be recorded yet", end)
        self._publish(id_, state)

    async def _run_trial(self, run: LabRun, number: int) -> None:
        trial = run.trials[number]
        experiment = EXPERIMENTS[trial.experiment]
        rows = (await self.store.events.rows(trial.events))[::-1]
        if not rows:
            return
        shared = await self._find_shared(rows) if experiment.fresh_each_round else frozenset()
        for count, one in enumerate(experiment.plan_rounds(rows, run.settings)):
            context = _SendContext(run=run, trial=number, round=count, experiment=experiment, shared=shared)
            with suppress(NotFoundError):  # its event was deleted meanwhile
                await (self._send_at_once(context, one) if one.at_once else self._send_in_turn(context, one))

    async def _send_at_once(self, context: _SendContext, one: SendRound) -> None:
        event = await self.store.events.get(one.shots[0].event_id)
        changes = self._build_changes(context, event, one.shots[0])
        sends = await self._launch(context, [_plan_send(context, shot) for shot in one.shots], changes)
        async with asyncio.TaskGroup() as group:
            for send in sends:
                if send.delivery_id is not None:
                    group.create_task(
                        self._send_and_record(context, event, send, changes), name=f"lab send {send.place}"
                    )

    async def _send_in_turn(self, context: _SendContext, one: SendRound) -> None:
        before: LabSend | None = None
        for number, shot in enumerate(one.shots, start=1):
            if shot.wait:
                await self.clock.sleep(shot.wait)
            event, send = await self.store.events.get(shot.event_id), _plan_send(context, shot)
            try:
                changes = self._build_changes(context, event, shot)
            except SigningError as error:  # it could be signed when the run was planned
                await self._launch(context, [replace(send, good=False, detail=f"not sent: {error.message}")], None)
                continue
            if one.one_delivery and before is not None:
                changes = context.experiment.change_retry(changes, event, before)
                send = replace(send, delivery_id=before.delivery_id, attempt=number)
            (send,) = await self._launch(context, [send], changes)
            if send.delivery_id is None:
                continue
            more = one.one_delivery and number < len(one.shots)
            before = await self._send_and_record(context, event, send, changes, more=more)
            if context.experiment.ends_round(before):
                return

    def _build_changes(self, context: _SendContext, event: CapturedEvent, shot: PlannedSend) -> DeliveryChanges:
        forger = self.planner.forger
        changes = context.experiment.build_changes(event, shot, forger)
        if not forger.explain_unsignable(event):
            changes = self._renew_ids(context, event, shot, changes)
        url = context.run.target if "://" in context.run.target else None
        return replace(changes, once=True, url=url)

    def _renew_ids(
        self, context: _SendContext, event: CapturedEvent, shot: PlannedSend, changes: DeliveryChanges
    ) -> DeliveryChanges:
        """Return the changes with new ids for this trial, signed again."""
        ids, seed = find_event_ids(event), f"{context.run.id} {context.trial} {shot.role}"
        if context.experiment.fresh_each_round:
            seed = f"{seed} {context.round}"
            ids += tuple(id_ for id_ in [find_object_id(event)] if id_ in context.shared)
        fresh = renew_ids(changes, event, ids, seed)
        return replace(fresh, sign=SignMode.FRESH) if fresh != changes and changes.sign is SignMode.AUTO else fresh

    async def _find_shared(self, rows: Sequence[EventRow]) -> frozenset[str]:
        """Return the ids of objects that several of the events are about."""
        counted: Counter[str] = Counter()
        for row in rows:
            with suppress(NotFoundError):
                counted.update(filter(None, [find_object_id(await self.store.events.get(row.id))]))
        return frozenset(id_ for id_, count in counted.items() if count > 1)

    async def _launch(
        self, context: _SendContext, sends: Sequence[LabSend], changes: DeliveryChanges | None
    ) -> tuple[LabSend, ...]:
        """Record sends before they are made; a send without `changes` is not made."""
        new = None
        if changes is not None:
            new = NewDelivery(
                target=context.run.target,
                action="forward",
                reason=DeliveryReason.REPLAY,
                changes=changes,
                lab=context.run.id,
            )
        return await self.store.labs.launch(context.run.id, sends, new, self.clock.now())

    async def _send_and_record(
        self,
        context: _SendContext,
        event: CapturedEvent,
        send: LabSend,
        changes: DeliveryChanges,
        *,
        more: bool = False,
    ) -> LabSend:
        """Make a send and record its outcome; with `more` its delivery is retried unless it has ended."""
        assert send.delivery_id is not None
        now, experiment = self.clock.now(), context.experiment
        delivery = Delivery(
            id=send.delivery_id,
            event_id=event.id,
            source=event.row.source,
            target=context.run.target,
            action="forward",
            reason=DeliveryReason.REPLAY,
            changes=changes,
            state=DeliveryState.RUNNING,
            created_at=now,
            due_at=now,
            attempts=send.attempt - 1,
            lab=context.run.id,
        )

        def state(attempt: Attempt) -> DeliveryState:
            settled = _judge_answer(context, event, send, attempt)
            if settled.good:
                return DeliveryState.SUCCEEDED
            return DeliveryState.RUNNING if more and not experiment.ends_round(settled) else DeliveryState.FAILED

        attempt = await self.attempt(ClaimedDelivery(delivery=delivery, event=event), state)
        settled = _judge_answer(context, event, send, attempt)
        await self.store.labs.record(context.run.id, settled)
        self._publish(context.run.id, LabState.RUNNING)
        return settled

    def _publish(self, id_: int, state: LabState) -> None:
        self.bus.publish(LabChanged(id_, state.value))


def _plan_send(context: _SendContext, shot: PlannedSend) -> LabSend:
    return LabSend(
        place=0,  # the store counts
        trial=context.trial,
        round=context.round,
        role=shot.role,
        label=shot.label,
        event_id=shot.event_id,
    )


def _judge_answer(context: _SendContext, event: CapturedEvent, send: LabSend, attempt: Attempt) -> LabSend:
    response = attempt.response
    body = response.body if response else b""
    digest = hashlib.sha256(body).hexdigest()[:16] if context.run.settings.compare == "body" else ""
    answered = replace(
        send,
        started_at=attempt.started_at,
        took=attempt.took,
        status=response.status if response else None,
        detail=escape_unprintable(attempt.detail, 300),
        answer=digest if response else "",
        said=escape_unprintable(body[:_LONGEST_BODY], _LONGEST_QUOTE),
    )
    headers = {name.lower(): value for name, value in response.headers} if response else {}
    return context.experiment.judge_send(answered, headers, event)
