"""Deliveries and their attempts: the durable queue of everything that relay sends."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from relay.errors import NotFoundError, UsageError
from relay.model.counters import TYPED_ADDRESS, CounterLabel, CounterValue, find_bucket
from relay.model.delivery import Attempt, Delivery, DeliveryState, NewDelivery
from relay.store import counters, row_mappers
from relay.store.delivery_queue import NEXT_DUE, ClaimedDelivery, ClaimLimits, claim_deliveries
from relay.store.readers import READ_DEADLINE, Repository
from relay.store.row_mappers import DELIVERY_COLUMNS, from_micros, insert_delivery, to_micros

_LISTED = "id IN (SELECT value FROM json_each(?))"
_ENDED_BATCH = "batches WHERE id = deliveries.batch AND state IN ('cancelled', 'stopped')"
# A delivery in flight when its bulk replay was ended is not retried, unless a user retries it later.
_GIVEN_UP = f"EXISTS (SELECT 1 FROM {_ENDED_BATCH} AND finished_at >= deliveries.due_at)"
_FIRST_DUE = f"max(created_at, coalesce((SELECT finished_at + 1 FROM {_ENDED_BATCH}), 0))"


class Deliveries(Repository):
    """Reads and writes deliveries."""

    async def add(self, event_id: int, new: Iterable[NewDelivery], due_at: datetime) -> tuple[int, ...]:
        """Add deliveries of an event, due at `due_at`; return their ids. Raises NotFoundError."""
        planned = tuple(new)

        def step(connection: sqlite3.Connection) -> tuple[int, ...]:
            found = connection.execute("SELECT source FROM events WHERE id = ?", (event_id,)).fetchone()
            if found is None:
                raise NotFoundError(f"no event {event_id}", hint="relay events lists them")
            return tuple(insert_delivery(connection, event_id, found[0], one, to_micros(due_at)) for one in planned)

        return await self._writer.write(step)

    async def claim_due(self, now: datetime, limits: ClaimLimits) -> tuple[ClaimedDelivery, ...]:
        """Mark due deliveries that may run now as RUNNING and return them, oldest first."""
        if limits.total <= 0:
            return ()
        # If a power cut undoes it, the deliveries are pending, as after a restart.
        return await self._writer.write(
            lambda connection: claim_deliveries(connection, to_micros(now), limits), is_durable=False
        )

    async def settle_all(self, records: Sequence["AttemptRecord"]) -> None:
        """Record attempts with the new states of their deliveries in one transaction; a delivery may be deleted."""
        rows = [row_mappers.dump_attempt(one.attempt, keeps_body=not one.sends_event) for one in records]
        states = [
            (
                one.state.value,
                to_micros(one.due_at),
                one.attempt.number,
                one.attempt.detail,
                one.attempt.response.status if one.attempt.response else None,
                one.attempt.took,
                one.spared,
                one.delivery.id,
            )
            for one in records
        ]
        await self._writer.write(lambda connection: _record_attempts(connection, records, rows, states))

    async def recover(self, above: int = 0) -> int:
        """Make deliveries that were RUNNING when relay died PENDING, and postponed ones due; return how many ran."""
        # Without an attempt: the limit it waits for may have changed in relay.toml.
        put_off = "state = 'pending' AND attempts = 0 AND due_at > created_at AND id > ?"
        await self._writer.execute(f"UPDATE deliveries SET due_at = {_FIRST_DUE} WHERE {put_off}", (above,))
        # Deliveries of the lab are useless later: their run has ended.
        state = f"CASE WHEN lab IS NOT NULL OR {_GIVEN_UP} THEN 'cancelled' ELSE 'pending' END"
        sql = f"UPDATE deliveries SET state = {state} WHERE state = 'running' AND id > ?"
        return await self._writer.execute(sql, (above,))

    async def release(self, ids: Iterable[int], state: DeliveryState = DeliveryState.PENDING) -> None:
        """Release or cancel claimed deliveries without an attempt; `state` is their new state."""
        sql = (
            f"UPDATE deliveries SET state = CASE WHEN {_GIVEN_UP} THEN 'cancelled' ELSE ? END "
            "WHERE id = ? AND state = 'running'"
        )
        values = [(state.value, id_) for id_ in ids]
        await self._writer.write(lambda connection: connection.executemany(sql, values).rowcount)

    async def oldest(self) -> dict[str, datetime]:
        """Return when the oldest pending delivery of each target was created."""
        found = await self._readers.all(
            "SELECT target, MIN(created_at) FROM deliveries WHERE state = 'pending' GROUP BY target"
        )
        return {row[0]: from_micros(row[1]) for row in found}

    async def slowest(self, since: datetime, count: int) -> tuple[Delivery, ...]:
        """Return the deliveries with the slowest last attempt, of the latest 20 000 created since then."""
        found = await self._readers.all(
            f"SELECT {DELIVERY_COLUMNS} FROM (SELECT * FROM deliveries ORDER BY id DESC LIMIT 20000) "
            "WHERE created_at >= ? AND took IS NOT NULL ORDER BY took DESC, id DESC LIMIT ?",
            (to_micros(since), count),
        )
        return tuple(row_mappers.read_delivery(row) for row in found)

    async def postpone(self, id_: int, due_at: datetime, detail: str) -> None:
        """Release a claimed delivery without an attempt, due later, with the reason."""
        sql = (
            f"UPDATE deliveries SET state = CASE WHEN {_GIVEN_UP} THEN 'cancelled' ELSE 'pending' END, due_at = ?, "
            "detail = ? WHERE id = ? AND state = 'running'"
        )
        values = (to_micros(due_at), detail, id_)
        await self._writer.execute(sql, values)

    async def next_due(self, after: datetime, above: int = 0, held: Iterable[str] = ()) -> datetime | None:
        """Return when the next delivery is due after `after`; `above` and `held` as in ClaimLimits."""
        row = await self._readers.one(NEXT_DUE, (to_micros(after), above, json.dumps(list(held))))
        return from_micros(row[0]) if row and row[0] is not None else None

    async def make_due(self, target: str, now: datetime) -> int:
        """Make deliveries due that wait because `target` did not answer, keeping their age; return how many."""
        # Handlers and mail servers answer without a status: deliveries they asked to delay keep waiting.
        sql = (
            f"UPDATE deliveries SET due_at = min({_FIRST_DUE}, ?1) WHERE state = 'pending' AND target = ?2 "
            "AND due_at > ?1 AND attempts > 0 AND status IS NULL AND action = 'forward'"
        )
        values = (to_micros(now), target)
        return await self._writer.execute(sql, values)

    async def newest(self) -> int:
        """Return the highest id there is; 0 when there is none."""
        return await self._readers.number("SELECT MAX(id) FROM deliveries")

    async def get(self, id_: int) -> Delivery:
        """Return a delivery. Raises NotFoundError."""
        sql = f"SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE id = ?"
        row = await self._get(sql, id_, "delivery", "relay deliveries lists them")
        return row_mappers.read_delivery(row)

    async def attempts(self, id_: int) -> tuple[Attempt, ...]:
        """Return all attempts of a delivery in order; bodies equal to the event's are filled in."""
        found = await self._readers.all(
            "SELECT attempts.delivery_id, number, started_at, attempts.took, outcome, attempts.detail, request, "
            "coalesce(sent_body, event_bytes.body) AS sent_body, response, got_body, output FROM attempts "
            "JOIN deliveries ON deliveries.id = delivery_id "
            "LEFT JOIN event_bytes ON event_bytes.event_id = deliveries.event_id "
            "WHERE delivery_id = ? ORDER BY number",
            (id_,),
        )
        return tuple(row_mappers.read_attempt(row) for row in found)

    async def page(
        self,
        *,
        state: str | None = None,
        event: int | None = None,
        target: str | None = None,
        batch: int | None = None,
        before: int | None = None,
        limit: int = 50,
        lab: bool = True,
    ) -> tuple[Delivery, ...]:
        """Return deliveries that match every given filter, newest first; those of the lab only if `lab`."""
        where, values = _match_columns(state=state, event_id=event, target=target, batch=batch)
        where += "" if lab else " AND lab IS NULL"
        if before is not None:
            where, values = f"{where} AND id < ?", (*values, before)
        return await self._select(f"{where} ORDER BY id DESC LIMIT ?", (*values, limit))

    async def of_events(self, ids: Iterable[int]) -> dict[int, tuple[Delivery, ...]]:
        """Return the deliveries of several events, by event id, oldest first."""
        listed = list(ids)
        marks = ",".join("?" * len(listed))
        grouped: dict[int, tuple[Delivery, ...]] = dict.fromkeys(listed, ())
        for delivery in await self._select(f"event_id IN ({marks}) ORDER BY id", listed):
            grouped[delivery.event_id] += (delivery,)
        return grouped

    async def of_event(self, id_: int) -> tuple[Delivery, ...]:
        """Return the deliveries of one event, oldest first."""
        return (await self.of_events([id_]))[id_]

    async def rows(self, ids: Iterable[int]) -> tuple[Delivery, ...]:
        """Return the existing deliveries of these ids, newest first."""
        return await self._select(f"{_LISTED} ORDER BY id DESC", (json.dumps(list(ids)),))

    async def first_waiting(self, target: str) -> int | None:
        """Return the delivery that has waited longest for a target, or None."""
        sql = "SELECT MIN(id) FROM deliveries INDEXED BY deliveries_pending WHERE state = 'pending' AND target = ?"
        return await self._readers.number(sql, (target,)) or None

    async def counts(
        self, *, event: int | None = None, target: str | None = None, batch: int | None = None, lab: bool = True
    ) -> dict[str, int]:
        """Return how many deliveries that match every given filter are in each state."""
        where, values = _match_columns(event_id=event, target=target, batch=batch)
        sql = f"SELECT state, COUNT(*) FROM deliveries WHERE {where} GROUP BY state"
        if not lab:
            # Subtracted, because excluding them would read every row instead of the index; in the same statement,
            # because one that starts between two statements would be subtracted from a state it was not counted in.
            sql += (
                f" UNION ALL SELECT state, -COUNT(*) FROM deliveries WHERE {where} AND lab IS NOT NULL GROUP BY state"
            )
            values *= 2
        counts = dict.fromkeys((state.value for state in DeliveryState), 0)
        for state, count in await self._readers.all(sql, values):
            counts[state] += count
        return counts

    async def waiting(self) -> dict[str, int]:
        """Return how many deliveries are pending for each target."""
        found = await self._readers.all(
            "SELECT target, COUNT(*) FROM deliveries WHERE state = 'pending' GROUP BY target"
        )
        return {row[0]: row[1] for row in found}

    async def retry(self, id_: int, now: datetime) -> Delivery:
        """Make a delivery due now. Raises NotFoundError, or UsageError while it runs."""
        sql = "UPDATE deliveries SET state = 'pending', due_at = ?, asked = 1 WHERE id = ? AND state != 'running'"
        return await self._change(id_, sql, (to_micros(now), id_), "is running at this moment")

    async def cancel(self, id_: int) -> Delivery:
        """Cancel a pending delivery. Raises NotFoundError, or UsageError if it is not pending."""
        sql = "UPDATE deliveries SET state = 'cancelled' WHERE id = ? AND state = 'pending'"
        return await self._change(id_, sql, (id_,), "is not waiting, so there is nothing to cancel")

    async def retry_all(
        self, state: str, target: str | None, now: datetime, *, batch: int | None = None
    ) -> tuple[Delivery, ...]:
        """Make all deliveries in that state (to that target, of that batch) due now, with a full budget of attempts."""
        sql = "UPDATE deliveries SET state = 'pending', due_at = ?, spared = attempts WHERE state = ?"
        return await self._change_all(sql, (to_micros(now), state), target, batch)

    async def cancel_all(self, target: str | None) -> tuple[Delivery, ...]:
        """Cancel all pending deliveries (to that target)."""
        return await self._change_all("UPDATE deliveries SET state = 'cancelled' WHERE state = ?", ("pending",), target)

    async def _change_all(
        self, sql: str, parameters: tuple[Any, ...], target: str | None, batch: int | None = None
    ) -> tuple[Delivery, ...]:
        where, values = _match_columns(target=target, batch=batch)
        where += " AND lab IS NULL"  # deliveries of the lab were meant to fail and are not retried

        def step(connection: sqlite3.Connection) -> list[int]:
            found = connection.execute(f"{sql} AND {where} RETURNING id", (*parameters, *values))
            return [row[0] for row in found]

        changed = await self._writer.write(step)
        # The change is committed: a late response reports it, an error would hide it.
        return await self._select(f"{_LISTED} ORDER BY id", (json.dumps(changed),), deadline=30.0)

    async def _select(
        self, condition: str, values: Iterable[Any], deadline: float = READ_DEADLINE
    ) -> tuple[Delivery, ...]:
        sql = f"SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE {condition}"
        return tuple(row_mappers.read_delivery(row) for row in await self._readers.all(sql, values, deadline))

    async def _change(self, id_: int, sql: str, parameters: tuple[Any, ...], refusal: str) -> Delivery:
        await self.get(id_)
        changed = await self._writer.execute(sql, parameters)
        if not changed:
            raise UsageError(f"delivery {id_} {refusal}", hint="look at it first: relay deliveries")
        return await self.get(id_)


def _match_columns(**wanted: object) -> tuple[str, tuple[object, ...]]:
    """Return a condition on columns, and its values; a column given as None matches anything."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return " AND ".join(f"{name} = ?" for name in given) or "1", tuple(given.values())


def count_states(deliveries: Iterable[Delivery]) -> Counter[str]:
    """Return how many of these deliveries are in each state, without those of the lab, which may be meant to fail."""
    return Counter(delivery.state.value for delivery in deliveries if delivery.lab is None)


class AttemptRecord(NamedTuple):
    """An attempt of a delivery, and the state of the delivery after it.

    `spared`: it does not count towards the budget of attempts. `sends_event`: the body it sent is the event's, and
    not kept twice.
    """

    delivery: Delivery
    attempt: Attempt
    state: DeliveryState
    due_at: datetime
    spared: bool = False
    sends_event: bool = False

    @property
    def settled(self) -> Delivery:
        """Return the delivery in its state after the attempt."""
        attempt = self.attempt
        return replace(
            self.delivery,
            state=self.state,
            due_at=self.due_at,
            attempts=attempt.number,
            detail=attempt.detail,
            status=attempt.response.status if attempt.response else None,
            took=attempt.took,
            spared=self.delivery.spared + self.spared,
            asked=False,
        )

    @property
    def counted(self) -> CounterValue:
        """Return how the attempt is counted: the last one that a policy allows is not retried and counts as failed."""
        delivery, attempt = self.delivery, self.attempt
        ended = attempt.outcome == "retry" and self.state is DeliveryState.FAILED
        label = CounterLabel(
            to_micros(attempt.started_at) // 60_000_000,
            "attempt",
            delivery.source,
            TYPED_ADDRESS if "://" in delivery.target else delivery.target,
            "failed" if ended else attempt.outcome,
            "first" if attempt.number == 1 else "again",
            find_bucket(attempt.took),
        )
        return CounterValue(label, 1, attempt.took)


def _record_attempts(
    connection: sqlite3.Connection,
    records: Sequence[AttemptRecord],
    rows: list[tuple[Any, ...]],
    states: list[tuple[Any, ...]],
) -> None:
    connection.executemany(
        "INSERT INTO attempts (delivery_id, number, started_at, took, outcome, detail, request, sent_body, response, "
        "got_body, output) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, CASE WHEN ?8 IS NULL THEN NULL WHEN ?8 = (SELECT body "
        "FROM event_bytes JOIN deliveries ON deliveries.event_id = event_bytes.event_id WHERE deliveries.id = ?1) "
        "THEN NULL ELSE ?8 END, ?9, ?10, ?11 WHERE EXISTS (SELECT 1 FROM deliveries WHERE id = ?1)",
        rows,
    )
    changed = connection.executemany(
        f"UPDATE deliveries SET state = CASE WHEN ?1 = 'pending' AND {_GIVEN_UP} THEN 'cancelled' ELSE ?1 END, "
        "due_at = ?, attempts = ?, detail = ?, status = ?, took = ?, spared = spared + ?, asked = 0 WHERE id = ?",
        states,
    )
    if changed.rowcount < len(records):  # nothing is counted for a deleted delivery
        ids = json.dumps([one.delivery.id for one in records])
        sql = "SELECT id FROM deliveries WHERE id IN (SELECT value FROM json_each(?))"
        found = {id_ for (id_,) in connection.execute(sql, (ids,))}
        records = [one for one in records if one.delivery.id in found]
    counters.add_counts(connection, [one.counted for one in records])
