"""Attempts: the state of a delivery after one, by its retry policy, and recording many in one transaction."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from relay.errors import log_traceback
from relay.model.clock import Clock
from relay.model.delivery import (
    ActionResult,
    Attempt,
    AttemptFailed,
    AttemptRetry,
    AttemptSucceeded,
    Delivery,
    DeliveryState,
    Outcome,
    RetryPolicy,
)
from relay.store import Store
from relay.store.connection import keep_trying
from relay.store.deliveries import AttemptRecord

log = logging.getLogger(__name__)

# Attempts that end together share a transaction: each one costs 0.1 ms besides the disk's part.
_CROWD = 2
_GATHER_SECONDS = 0.005
LEAST_CEILING = 60.0  # seconds: a Retry-After up to this is always honoured


def next_state(
    outcome: Outcome, policy: RetryPolicy, number: int, now: datetime, spread: Callable[[], float]
) -> tuple[DeliveryState, datetime]:
    """Return the state of a delivery after attempt `number` (from 1), and when it is due next.

    `number` counts the attempts charged to the policy's budget. A Retry waits as the policy
    says, or longer if `after` requests it: up to twice the policy's wait, or a minute; if it
    is firm, up to twice the policy's longest wait.
    `spread` gives numbers from 0 to 1.
    """
    match outcome:
        case AttemptSucceeded():
            return DeliveryState.SUCCEEDED, now
        case AttemptFailed():
            return DeliveryState.FAILED, now
        case AttemptRetry(after=after, firm=firm):
            wait = policy.wait_after(number, spread)
            if wait is None:
                return DeliveryState.FAILED, now
            longest = max(2 * (policy.max if firm else wait), LEAST_CEILING)
            return DeliveryState.PENDING, now + timedelta(seconds=min(max(wait, after or 0.0), longest))


def make_attempt(delivery: Delivery, started_at: datetime, took: float, result: ActionResult) -> Attempt:
    """Return the next attempt of a delivery, ready to be recorded; `took` is in seconds."""
    return Attempt(
        delivery_id=delivery.id,
        number=delivery.attempts + 1,
        started_at=started_at,
        took=took,
        outcome=result.outcome.name,
        detail=result.outcome.detail,
        request=result.request,
        response=result.response,
        output=result.output,
    )


def longest_wait(policies: Iterable[RetryPolicy]) -> float:
    """Return the longest wait in seconds that any of these policies can cause."""
    return max(LEAST_CEILING, *(2 * policy.max for policy in policies))


class AttemptRecorder:
    """Records attempts, those that end together in one transaction; calls `announce` when each is on disk."""

    def __init__(self, store: Store, clock: Clock, announce: Callable[[AttemptRecord], None]) -> None:
        self._store = store
        self._clock = clock
        self._announce = announce
        self._made: list[AttemptRecord] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, record: AttemptRecord, group: asyncio.TaskGroup) -> None:
        """Have an attempt recorded by a task of the group."""
        self._made.append(record)
        if self._task is None or self._task.done():
            self._task = group.create_task(self._run(), name="record attempts")

    async def record(self, records: Sequence[AttemptRecord]) -> None:
        """Record attempts, retrying as long as the store fails: a forgotten attempt would be made twice.

        Raises StoreError if the store rejects one of the attempts itself.
        """
        write = partial(self._store.deliveries.settle_all, records)
        await keep_trying(self._clock, "an attempt could not be recorded yet", write, only_outages=True)

    async def finish(self, seconds: float) -> None:
        """Wait until all attempts are on disk, at most this many seconds."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=seconds)

    async def _run(self) -> None:
        while self._made:
            made, self._made = self._made, []
            await self._record_batch(made)
            if len(made) > _CROWD:
                await self._clock.sleep(_GATHER_SECONDS)

    async def _record_batch(self, made: list[AttemptRecord]) -> None:
        try:
            await self.record(made)
        except Exception as error:  # noqa: BLE001 - one attempt must never take the others with it
            if len(made) == 1:
                log_traceback(log, f"delivery {made[0].delivery.id} was left running", error)
            for one in made if len(made) > 1 else ():
                await self._record_batch([one])
            return
        for one in made:
            try:
                self._announce(one)
            except Exception as error:  # noqa: BLE001 - a listener that fails takes neither the others nor the engine
                log_traceback(log, f"delivery {one.delivery.id} was not announced", error)
