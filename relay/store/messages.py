"""Outgoing mail and SMS in the store."""

import sqlite3
from datetime import datetime

from relay.errors import NotFoundError
from relay.model.message import Message, MessageStatus, NewMessage
from relay.store import rows
from relay.store.reader import Readers
from relay.store.rows import to_micros
from relay.store.writer import Writer

_COLUMNS = "id, channel, provider, external_id, recipient, subject, status, detail, created_at, event_id, delivery_id"


class Messages:
    """Typed questions about messages."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def add(self, new: NewMessage, created_at: datetime) -> int:
        """Register a message and return its id."""
        values = (
            new.channel,
            new.provider,
            new.external_id,
            new.recipient,
            new.subject,
            new.status.value,
            new.detail,
            to_micros(created_at),
            new.event_id,
            new.delivery_id,
            new.source,
        )

        def step(connection: sqlite3.Connection) -> int:
            sql = (
                "INSERT INTO messages (channel, provider, external_id, recipient, subject, status, detail, "
                f"created_at, event_id, delivery_id, source) VALUES ({','.join('?' * 11)})"
            )
            return connection.execute(sql, values).lastrowid or 0

        return await self._writer.write(step)

    async def move(self, id_: int, status: MessageStatus, detail: str = "") -> None:
        """Set how far a message has come."""
        sql = "UPDATE messages SET status = ?, detail = ? WHERE id = ?"
        await self._writer.write(
            lambda connection: connection.execute(sql, (status.value, detail, id_)).rowcount
        )

    async def get(self, id_: int) -> Message:
        """Return a message. Raises NotFoundError."""
        row = await self._readers.one(f"SELECT {_COLUMNS} FROM messages WHERE id = ?", (min(id_, 2**62),))
        if row is None:
            raise NotFoundError(f"no message {id_}", hint="the page Messages lists those that there are")
        return rows.message(row)

    async def source(self, id_: int) -> bytes:
        """Return the whole mail as RFC 5322 bytes; empty for a message that relay did not compose."""
        row = await self._readers.one("SELECT source FROM messages WHERE id = ?", (min(id_, 2**62),))
        return bytes(row[0]) if row else b""

    async def page(
        self,
        *,
        event: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[Message, ...]:
        """Return messages newest first."""
        filters = {"event_id = ?": event, "id < ?": before}
        where = [clause for clause, value in filters.items() if value is not None]
        values = [value for value in filters.values() if value is not None]
        found = await self._readers.all(
            f"SELECT {_COLUMNS} FROM messages WHERE {' AND '.join(where) or '1'} ORDER BY id DESC LIMIT ?",
            (*values, limit),
        )
        return tuple(rows.message(row) for row in found)

    async def count(self) -> int:
        """Return how many messages there are."""
        row = await self._readers.one("SELECT COUNT(*) FROM messages")
        return int(row[0]) if row else 0
