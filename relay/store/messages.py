"""Outgoing mail and SMS in the store: each message, what it was told, and how many stand where."""

from datetime import UTC, date, datetime, timedelta

from relay.errors import NotFoundError
from relay.model.message import (
    ARRIVED,
    LOST,
    HistoryEntry,
    Message,
    MessageFilter,
    NewMessage,
    addresses,
)
from relay.model.rates import DayCounts, MessageCounts, StatusCount
from relay.store import rows
from relay.store.reader import Readers
from relay.store.registration import Registered, add_own, register
from relay.store.rows import to_micros
from relay.store.writer import Writer

_COLUMNS = (
    "id, channel, provider, external_id, recipient, subject, status, detail, created_at, event_id, delivery_id, "
    "embedded_id, sent_at, code, opened, clicked"
)


def _listed(statuses: frozenset[str]) -> str:
    return ",".join(f"'{status}'" for status in sorted(statuses))


_COUNTED = (
    f"COUNT(*), SUM(status IN ({_listed(ARRIVED)})), SUM(status IN ({_listed(LOST)})), SUM(opened), SUM(clicked), "
    "SUM(status = 'complained') FROM messages WHERE sent_at >= ? AND status <> 'outbox'"
)
_EVERYTHING = MessageFilter()
_DAY = 86_400_000_000  # microseconds


class Messages:
    """Typed questions about messages."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def add(self, new: NewMessage, created_at: datetime) -> int:
        """Write down a mail that relay sent itself and return its id; the same Message-ID may come again."""
        return await self._writer.write(
            lambda connection: add_own(connection, new, to_micros(created_at)),
        )

    async def register(self, new: NewMessage, created_at: datetime) -> Registered:
        """Register a message sent elsewhere, once for each provider and external id.

        Statuses that came before it are its own from then on.
        """
        return await self._writer.write(
            lambda connection: register(connection, new, to_micros(created_at)),
        )

    async def get(self, id_: int) -> Message:
        """Return a message. Raises NotFoundError."""
        row = await self._readers.one(f"SELECT {_COLUMNS} FROM messages WHERE id = ?", (min(id_, 2**62),))
        if row is None:
            raise NotFoundError(f"no message {id_}", hint="the page Messages lists those that there are")
        return rows.message(row)

    async def history(self, id_: int, limit: int = 500) -> tuple[HistoryEntry, ...]:
        """Return what a message was told, the latest `limit` of it in the order received."""
        found = await self._readers.all(
            "SELECT status, at, received_at, code, detail, event_id, way FROM history WHERE message_id = ? "
            "ORDER BY id DESC LIMIT ?",
            (min(id_, 2**62), limit),
        )
        return tuple(rows.history_entry(row) for row in reversed(found))

    async def source(self, id_: int) -> bytes:
        """Return the whole mail as RFC 5322 bytes; empty for a message that relay did not compose."""
        row = await self._readers.one("SELECT source FROM messages WHERE id = ?", (min(id_, 2**62),))
        return bytes(row[0]) if row else b""

    async def page(
        self,
        wanted: MessageFilter = _EVERYTHING,
        *,
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[Message, ...]:
        """Return messages newest first."""
        filters = _clauses(wanted)
        filters += [("id < ?", (before,))] if before is not None else []
        where = " AND ".join(clause for clause, _ in filters) or "1"
        values = [value for _, given in filters for value in given]
        found = await self._readers.all(
            f"SELECT {_COLUMNS} FROM messages WHERE {where} ORDER BY id DESC LIMIT ?", (*values, limit)
        )
        return tuple(rows.message(row) for row in found)

    async def count(self) -> int:
        """Return how many messages there are."""
        row = await self._readers.one("SELECT COUNT(*) FROM messages")
        return int(row[0]) if row else 0

    async def days(self, since: date) -> tuple[DayCounts, ...]:
        """Return the messages sent on each day (UTC) since, by channel, the oldest day first.

        Days without messages are left out. A mail in the outbox was not sent.
        """
        first = to_micros(datetime(since.year, since.month, since.day, tzinfo=UTC))
        found = await self._readers.all(
            f"SELECT sent_at / {_DAY}, channel, {_COUNTED} GROUP BY 1, 2 ORDER BY 1, 2", (first,)
        )
        return tuple(
            DayCounts(
                day=date(1970, 1, 1) + timedelta(days=day), channel=channel, counts=_message_counts(numbers)
            )
            for day, channel, *numbers in found
        )

    async def counts(self, since: datetime) -> dict[str, MessageCounts]:
        """Return the messages sent since, by channel; a channel without any is left out."""
        found = await self._readers.all(f"SELECT channel, {_COUNTED} GROUP BY 1", (to_micros(since),))
        return {channel: _message_counts(numbers) for channel, *numbers in found}

    async def standing(self) -> tuple[StatusCount, ...]:
        """Return how many messages of each channel and provider stand at each status, of all that there are."""
        found = await self._readers.all(
            "SELECT channel, provider, status, COUNT(*) AS count FROM messages GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return tuple(StatusCount(**dict(row)) for row in found)

    async def unmatched(self) -> int:
        """Return how many statuses wait for somebody to register their message."""
        row = await self._readers.one("SELECT COUNT(*) FROM history WHERE message_id IS NULL")
        return int(row[0]) if row else 0


def _clauses(wanted: MessageFilter) -> list[tuple[str, tuple[object, ...]]]:
    people = addresses(wanted.recipient or "")
    marks, statuses = ",".join("?" * len(people)), ",".join("?" * len(wanted.statuses))
    told = "SELECT message_id FROM history WHERE event_id = ? AND message_id IS NOT NULL"
    clauses: list[tuple[str, tuple[object, ...], bool]] = [
        (f"(event_id = ? OR id IN ({told}))", (wanted.event, wanted.event), wanted.event is not None),
        ("channel = ?", (wanted.channel,), wanted.channel is not None),
        ("provider = ?", (wanted.provider,), wanted.provider is not None),
        (f"status IN ({statuses})", tuple(wanted.statuses), bool(wanted.statuses)),
        (f"id IN (SELECT message_id FROM recipients WHERE address IN ({marks}))", people, bool(people)),
        ("sent_at >= ?", (to_micros(wanted.since),) if wanted.since else (), wanted.since is not None),
    ]
    return [(clause, values) for clause, values, asked in clauses if asked]


def _message_counts(numbers: list[int]) -> MessageCounts:
    sent, delivered, failed, opened, clicked, complained = numbers
    return MessageCounts(
        sent=sent,
        delivered=delivered,
        failed=failed,
        opened=opened,
        clicked=clicked,
        complained=complained,
    )
