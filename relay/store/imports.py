"""Events that come from a file rather than over the wire: each kept once, owing nothing."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from relay.model.event import NewEvent
from relay.store.incoming import incoming, insert_events
from relay.store.rows import to_micros
from relay.store.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An event to keep, known by `digest`; `original_id` is its number in the store it was exported from."""

    event: NewEvent
    digest: bytes
    original_id: int
    pinned: bool = False
    note: str = ""


class Imports:
    """Takes parcels in."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def add(self, parcels: Iterable[Parcel], now: datetime) -> tuple[int | None, ...]:
        """Keep parcels in one transaction; return the id of each, None for what was here already.

        `now` is what retention counts their age from.
        """
        listed = tuple(parcels)

        def step(connection: sqlite3.Connection) -> tuple[int | None, ...]:
            return tuple(_keep(connection, parcel, to_micros(now)) for parcel in listed)

        return await self._writer.write(step)


def _keep(connection: sqlite3.Connection, parcel: Parcel, now: int) -> int | None:
    values = incoming(parcel.event, ())
    if _is_known(connection, parcel, values.received_at):
        return None
    (stored,) = insert_events(connection, [values])
    connection.execute(
        "INSERT INTO imports (digest, event_id, at) VALUES (?, ?, ?)", (parcel.digest, stored.id, now)
    )
    if parcel.pinned or parcel.note:
        connection.execute(
            "UPDATE events SET pinned = ?, note = ? WHERE id = ?", (parcel.pinned, parcel.note, stored.id)
        )
    return stored.id


def _is_known(connection: sqlite3.Connection, parcel: Parcel, received_at: int) -> bool:
    if connection.execute("SELECT 1 FROM imports WHERE digest = ?", (parcel.digest,)).fetchone():
        return True
    # An export read back into the store it came from.
    row = connection.execute(
        "SELECT received_at, source FROM events WHERE id = ?", (min(parcel.original_id, 2**62),)
    ).fetchone()
    return row is not None and tuple(row) == (received_at, parcel.event.capture.source)
