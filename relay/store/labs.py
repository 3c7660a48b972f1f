"""Runs of the delivery lab and their sends: the requests to an app and its answers."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from relay.errors import UsageError
from relay.model.delivery import NewDelivery
from relay.model.lab import LabRun, LabSend, LabSettings, LabState, LabTrial, PlannedLabRun
from relay.store.readers import Repository
from relay.store.row_mappers import convert, from_micros, insert_delivery, insert_row, list_columns, to_micros

_RUNS = "SELECT *, (SELECT COUNT(*) FROM lab_sends WHERE run_id = id) AS made FROM lab_runs"
_OPEN = "state IN ('waiting', 'running')"
_SEND_COLUMNS = list_columns(LabSend)


class Labs(Repository):
    """Reads and writes runs of the lab."""

    async def add(self, planned: PlannedLabRun, now: datetime) -> int:
        """Store a queued run and return its id."""
        values: dict[str, Any] = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in asdict(planned).items()
        }
        values |= {"created_at": to_micros(now), "state": LabState.WAITING.value}
        return await self._writer.write(lambda connection: insert_row(connection, "lab_runs", values))

    async def get(self, id_: int) -> LabRun:
        """Return a run. Raises NotFoundError."""
        hint = "the dashboard lists them at /lab"
        return _read_run(await self._get(f"{_RUNS} WHERE id = ?", id_, "lab run", hint))

    async def page(self, *, limit: int = 50, before: int | None = None) -> tuple[LabRun, ...]:
        """Return runs, newest first."""
        sql = f"{_RUNS} WHERE id < ? ORDER BY id DESC LIMIT ?"
        found = await self._readers.all(sql, (before or 2**62, limit))
        return tuple(_read_run(row) for row in found)

    async def next_waiting(self) -> LabRun | None:
        """Return the oldest queued run."""
        row = await self._readers.one(f"{_RUNS} WHERE state = 'waiting' ORDER BY id LIMIT 1")
        return _read_run(row) if row else None

    async def sends(self, id_: int) -> tuple[LabSend, ...]:
        """Return the sends of a run in the order they were made."""
        found = await self._readers.all(
            f"SELECT {_SEND_COLUMNS} FROM lab_sends WHERE run_id = ? ORDER BY place", (id_,)
        )
        return tuple(LabSend(**convert(row, started_at=from_micros, good=bool)) for row in found)

    async def begin(self, id_: int) -> bool:
        """Start a queued run; return False if it was ended since."""
        sql = "UPDATE lab_runs SET state = 'running' WHERE id = ? AND state = 'waiting'"
        return bool(await self._writer.execute(sql, (id_,)))

    async def advance(self, id_: int, ended: int) -> None:
        """Record that the first `ended` trials of a run have ended."""
        sql = "UPDATE lab_runs SET ended = ? WHERE id = ?"
        await self._writer.execute(sql, (ended, id_))

    async def launch(
        self, id_: int, sends: Sequence[LabSend], new: NewDelivery | None, now: datetime
    ) -> tuple[LabSend, ...]:
        """Record sends before they are made; return them with their indices and deliveries.

        Each that has no delivery yet makes `new`; None makes none. A send whose event is gone is over at once, and
        says so.
        """

        def step(connection: sqlite3.Connection) -> tuple[LabSend, ...]:
            return tuple(_insert_send(connection, id_, send, new, to_micros(now)) for send in sends)

        return await self._writer.write(step)

    async def record(self, id_: int, send: LabSend) -> None:
        """Record the outcome of a send."""
        await self._writer.write_together(_update_sends, (id_, send))

    async def end(self, id_: int, state: LabState, now: datetime, detail: str = "") -> None:
        """End a run and cancel its sends in flight. Raises UsageError if it has ended already."""

        def step(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                f"UPDATE lab_runs SET state = ?, detail = ?, finished_at = ? WHERE id = ? AND {_OPEN}",
                (state.value, detail, to_micros(now), id_),
            ).rowcount
            if not changed:
                raise UsageError(f"lab run {id_} is over", hint=f"look at it: /api/labs/{id_}")
            connection.execute("UPDATE deliveries SET state = 'cancelled' WHERE lab = ? AND state = 'running'", (id_,))

        await self._writer.write(step)

    async def interrupt(self, now: datetime, detail: str) -> int:
        """End all runs that an earlier relay left open; return how many."""

        def step(connection: sqlite3.Connection) -> int:
            connection.execute(
                "UPDATE deliveries SET state = 'cancelled' WHERE state = 'running' AND lab IN "
                f"(SELECT id FROM lab_runs WHERE {_OPEN})"
            )
            return connection.execute(
                f"UPDATE lab_runs SET state = 'interrupted', detail = ?, finished_at = ? WHERE {_OPEN}",
                (detail, to_micros(now)),
            ).rowcount

        return await self._writer.write(step)


def _insert_send(
    connection: sqlite3.Connection, run_id: int, send: LabSend, new: NewDelivery | None, now: int
) -> LabSend:
    if new is not None and send.delivery_id is None:
        found = connection.execute("SELECT source FROM events WHERE id = ?", (send.event_id,)).fetchone()
        if found is None:
            send = replace(send, good=False, detail=f"event {send.event_id} is gone")
        else:
            send = replace(send, delivery_id=insert_delivery(connection, send.event_id, found[0], new, now))
    last = connection.execute("SELECT MAX(place) FROM lab_sends WHERE run_id = ?", (run_id,)).fetchone()[0]
    begun = replace(send, place=(last or 0) + 1)
    insert_row(connection, "lab_sends", {"run_id": run_id, **asdict(begun)})
    return begun


def _update_sends(connection: sqlite3.Connection, batch: list[tuple[int, LabSend]]) -> list[None]:
    connection.executemany(
        "UPDATE lab_sends SET started_at = :started_at, took = :took, status = :status, detail = :detail, "
        "answer = :answer, said = :said, good = :good, note = :note WHERE run_id = :run_id AND place = :place",
        [
            asdict(send) | {"run_id": run_id, "started_at": send.started_at and to_micros(send.started_at)}
            for run_id, send in batch
        ],
    )
    return [None] * len(batch)


def _read_run(row: sqlite3.Row) -> LabRun:
    return LabRun(
        **convert(
            row,
            created_at=from_micros,
            finished_at=from_micros,
            events=lambda text: tuple(json.loads(text)),
            settings=lambda text: LabSettings(**json.loads(text)),
            trials=lambda text: tuple(_read_trial(**plain) for plain in json.loads(text)),
            notes=lambda text: tuple(json.loads(text)),
            state=LabState,
        )
    )


def _read_trial(*, events: list[int], skipped: list[list[Any]], notes: list[str], **plain: Any) -> LabTrial:
    return LabTrial(events=tuple(events), skipped=tuple(map(tuple, skipped)), notes=tuple(notes), **plain)
