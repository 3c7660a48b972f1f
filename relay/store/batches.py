"""Batches and their steps: the pending work of a bulk replay, which survives a restart."""

import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from relay.errors import UsageError
from relay.model.batch import Batch, BatchCounts, BatchState, BatchStep, NewBatch
from relay.model.delivery import DeliveryState, NewDelivery, SignMode
from relay.store.readers import Repository
from relay.store.row_mappers import convert, from_micros, insert_delivery, insert_row, to_micros

ChangedDeliveries = tuple[tuple[int, int], ...]  # deliveries that changed: (delivery id, event id)


class Batches(Repository):
    """Reads and writes batches."""

    async def add(self, new: NewBatch, steps: tuple[BatchStep, ...], now: datetime) -> int:
        """Store a batch with all its steps and return its id."""

        def step(connection: sqlite3.Connection) -> int:
            plain = asdict(new)
            del plain["include"]  # the query that chose the steps
            values = {"created_at": to_micros(now), "state": BatchState.RUNNING.value, "total": len(steps)}
            id_ = insert_row(connection, "batches", plain | values)
            connection.executemany(
                "INSERT INTO batch_steps VALUES (?, ?, ?, ?)",
                [(id_, place, one.event_id, one.target) for place, one in enumerate(steps)],
            )
            return id_

        return await self._writer.write(step)

    async def get(self, id_: int) -> Batch:
        """Return a batch. Raises NotFoundError."""
        hint = "the dashboard lists them at /replays"
        return _read_batch(await self._get("SELECT * FROM batches WHERE id = ?", id_, "bulk replay", hint))

    async def page(self, limit: int = 50) -> tuple[Batch, ...]:
        """Return batches, newest first."""
        found = await self._readers.all("SELECT * FROM batches ORDER BY id DESC LIMIT ?", (limit,))
        return tuple(_read_batch(row) for row in found)

    async def running(self, above: int = 0) -> tuple[Batch, ...]:
        """Return the running batches with ids above `above`, oldest first."""
        found = await self._readers.all(
            "SELECT * FROM batches WHERE state = 'running' AND id > ? ORDER BY id", (above,)
        )
        return tuple(_read_batch(row) for row in found)

    async def newest(self) -> int:
        """Return the highest id there is; 0 when there is none."""
        return await self._readers.number("SELECT MAX(id) FROM batches")

    async def counts(self, batch: Batch) -> BatchCounts:
        """Return the current progress of a batch's steps, which may be later than `batch`."""
        found = await self._readers.all(
            # The batch and its deliveries in one statement, so that both are from the same moment.
            "SELECT made, deliveries.state, COUNT(deliveries.id) FROM batches "
            "LEFT JOIN deliveries ON batch = batches.id WHERE batches.id = ? GROUP BY deliveries.state",
            (batch.id,),
        )
        made = found[0][0]
        states = {row[1]: int(row[2]) for row in found}
        kept = {state.value: states.get(state.value, 0) for state in DeliveryState}
        return BatchCounts(waiting=batch.total - made, gone=made - sum(kept.values()), **kept)

    async def load_activity(self, id_: int) -> tuple[int, int | None]:
        """Return how many deliveries of a batch are in flight, and the first one that failed."""
        under_way = "SELECT COUNT(*) FROM deliveries WHERE batch = ? AND state IN ('pending', 'running')"
        failed = "SELECT MIN(id) FROM deliveries WHERE batch = ? AND state = 'failed'"
        return await self._readers.number(under_way, (id_,)), await self._readers.number(failed, (id_,)) or None

    async def advance(
        self, id_: int, count: int, build_delivery: Callable[[str], NewDelivery], now: datetime
    ) -> ChangedDeliveries:
        """Turn the next steps into deliveries due now; return their ids and those of their events.

        `build_delivery` makes the delivery to a target. Nothing happens unless the batch goes on; a step whose
        event is gone is passed over.
        """

        def step(connection: sqlite3.Connection) -> ChangedDeliveries:
            row = connection.execute("SELECT made FROM batches WHERE id = ? AND state = 'running'", (id_,)).fetchone()
            if row is None:
                return ()
            found = connection.execute(
                "SELECT event_id, target, source FROM batch_steps LEFT JOIN events ON events.id = event_id "
                "WHERE batch_id = ? AND place >= ? ORDER BY place LIMIT ?",
                (id_, row[0], count),
            ).fetchall()
            connection.execute("UPDATE batches SET made = made + ? WHERE id = ?", (len(found), id_))
            return tuple(
                (insert_delivery(connection, event_id, source, build_delivery(target), to_micros(now)), event_id)
                for event_id, target, source in found
                if source is not None
            )

        return await self._writer.write(step)

    async def end(self, id_: int, state: BatchState, now: datetime, detail: str = "") -> ChangedDeliveries:
        """End a running batch and cancel its pending deliveries; return those.

        Raises UsageError if it is not running.
        """

        def step(connection: sqlite3.Connection) -> ChangedDeliveries:
            changed = connection.execute(
                "UPDATE batches SET state = ?, detail = ?, finished_at = ? WHERE id = ? AND state = 'running'",
                (state.value, detail, to_micros(now), id_),
            ).rowcount
            if not changed:
                raise UsageError(f"replay {id_} is not running", hint=f"look at it: /api/replays/{id_}")
            if state is BatchState.DONE:
                connection.execute("DELETE FROM batch_steps WHERE batch_id = ?", (id_,))
            given_up = connection.execute(
                "UPDATE deliveries SET state = 'cancelled' WHERE batch = ? AND state = 'pending' "
                "RETURNING id, event_id",
                (id_,),
            )
            return tuple(given_up.fetchall())

        return await self._writer.write(step)

    async def resume(self, id_: int, now: datetime, *, stop_on_failure: bool) -> ChangedDeliveries:
        """Resume an ended batch: its cancelled deliveries are due again and returned.

        One that stops at failures sends first what failed. Raises UsageError when it goes on already,
        or is done.
        """

        def step(connection: sqlite3.Connection) -> ChangedDeliveries:
            changed = connection.execute(
                "UPDATE batches SET state = 'running', detail = '', finished_at = NULL, stop_on_failure = ? "
                "WHERE id = ? AND state IN ('cancelled', 'stopped')",
                (stop_on_failure, id_),
            ).rowcount
            if not changed:
                raise UsageError(f"replay {id_} cannot be resumed", hint="only one that was cancelled or stopped can")
            states = ("cancelled", "failed") if stop_on_failure else ("cancelled", "cancelled")
            due = connection.execute(
                "UPDATE deliveries SET state = 'pending', due_at = ?, spared = attempts "
                "WHERE batch = ? AND state IN (?, ?) RETURNING id, event_id",
                (to_micros(now), id_, *states),
            )
            return tuple(due.fetchall())

        return await self._writer.write(step)


def _read_batch(row: sqlite3.Row) -> Batch:
    times = {"created_at": from_micros, "finished_at": from_micros}
    return Batch(**convert(row, **times, sign=SignMode, stop_on_failure=bool, state=BatchState))
