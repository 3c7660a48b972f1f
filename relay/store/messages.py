"""Outgoing mail and SMS in the store: each message, its reported statuses, and counts by status."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from relay.model.mail import MailClaim, MailLimitReached, MailState, SentMail
from relay.model.message import (
    ARRIVED,
    LOST,
    DayCounts,
    HistoryEntry,
    MatchWay,
    Message,
    MessageCounts,
    MessageFilter,
    MessageStatus,
    NewMessage,
    StatusCount,
    parse_addresses,
)
from relay.store.message_register import MessageRegistration, add_own_message, register_message
from relay.store.readers import Repository, limit_id
from relay.store.row_mappers import convert, from_micros, list_columns, to_micros

_COLUMNS = list_columns(Message)


def _quote_statuses(statuses: Iterable[str]) -> str:
    return ",".join(f"'{status}'" for status in sorted(statuses))


_COUNT_COLUMNS = (
    f"COUNT(*), SUM(status IN ({_quote_statuses(ARRIVED)})), SUM(status IN ({_quote_statuses(LOST)})), "
    f"SUM(opened), SUM(clicked), "
    "SUM(status = 'complained') FROM messages WHERE sent_at >= ? AND status <> 'outbox'"
)
_EVERYTHING = MessageFilter()
_DAY = 86_400_000_000  # microseconds


class Messages(Repository):
    """Reads and writes messages."""

    async def add(self, new: NewMessage, source: bytes, created_at: datetime) -> int:
        """Record a mail that relay sent itself and return its id; the same Message-ID may occur again.

        `source` is the whole mail as RFC 5322 bytes.
        """
        at = to_micros(created_at)
        return await self._writer.write(lambda connection: add_own_message(connection, new, source, at))

    async def register(self, new: NewMessage, created_at: datetime) -> MessageRegistration:
        """Register a message sent elsewhere, once per provider and external id.

        Statuses that came before it are its own from then on.
        """
        return await self._writer.write(lambda connection: register_message(connection, new, to_micros(created_at)))

    async def get(self, id_: int) -> Message:
        """Return a message. Raises NotFoundError."""
        hint = "the Messages page lists them"
        return _read_message(await self._get(f"SELECT {_COLUMNS} FROM messages WHERE id = ?", id_, "message", hint))

    async def history(self, id_: int, limit: int = 500) -> tuple[HistoryEntry, ...]:
        """Return the latest `limit` statuses reported for a message, in the order received."""
        found = await self._readers.all(
            f"SELECT {list_columns(HistoryEntry)} FROM history WHERE message_id = ? ORDER BY id DESC LIMIT ?",
            (limit_id(id_), limit),
        )
        return tuple(_read_history_entry(row) for row in reversed(found))

    async def source(self, id_: int) -> bytes:
        """Return the whole mail as RFC 5322 bytes; empty for a message that relay did not compose."""
        row = await self._readers.one("SELECT source FROM messages WHERE id = ?", (limit_id(id_),))
        return bytes(row[0]) if row else b""

    async def page(
        self, criteria: MessageFilter = _EVERYTHING, *, before: int | None = None, limit: int = 50
    ) -> tuple[Message, ...]:
        """Return messages newest first."""
        filters = _build_clauses(criteria)
        filters += [("id < ?", (before,))] if before is not None else []
        where = " AND ".join(clause for clause, _ in filters) or "1"
        values = [value for _, parameters in filters for value in parameters]
        found = await self._readers.all(
            f"SELECT {_COLUMNS} FROM messages WHERE {where} ORDER BY id DESC LIMIT ?", (*values, limit)
        )
        return tuple(_read_message(row) for row in found)

    async def count(self) -> int:
        """Return how many messages there are."""
        return await self._readers.number("SELECT COUNT(*) FROM messages")

    async def days(self, since: date) -> tuple[DayCounts, ...]:
        """Return the messages sent on each day (UTC) since, by channel, the oldest day first.

        Days without messages are left out. A mail in the outbox was not sent.
        """
        first = to_micros(datetime(since.year, since.month, since.day, tzinfo=UTC))
        found = await self._readers.all(
            f"SELECT sent_at / {_DAY}, channel, {_COUNT_COLUMNS} GROUP BY 1, 2 ORDER BY 1, 2", (first,)
        )
        return tuple(
            DayCounts(day=date(1970, 1, 1) + timedelta(days=day), channel=channel, counts=_read_counts(numbers))
            for day, channel, *numbers in found
        )

    async def counts(self, since: datetime) -> dict[str, MessageCounts]:
        """Return the counts of messages sent since, by channel; channels without messages are left out."""
        found = await self._readers.all(f"SELECT channel, {_COUNT_COLUMNS} GROUP BY 1", (to_micros(since),))
        return {channel: _read_counts(numbers) for channel, *numbers in found}

    async def standing(self) -> tuple[StatusCount, ...]:
        """Return how many of all messages have each status, by channel and provider."""
        found = await self._readers.all(
            "SELECT channel, provider, status, COUNT(*) AS count FROM messages GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return tuple(StatusCount(**dict(row)) for row in found)

    async def unmatched(self) -> int:
        """Return how many statuses wait for their message to be registered."""
        return await self._readers.number("SELECT COUNT(*) FROM history WHERE message_id IS NULL")


def _build_clauses(criteria: MessageFilter) -> list[tuple[str, tuple[object, ...]]]:
    people = parse_addresses(criteria.recipient or "")
    marks, statuses = ",".join("?" * len(people)), ",".join("?" * len(criteria.statuses))
    reports = "SELECT message_id FROM history WHERE event_id = ? AND message_id IS NOT NULL"
    clauses: list[tuple[str, tuple[object, ...], bool]] = [
        (f"(event_id = ? OR id IN ({reports}))", (criteria.event, criteria.event), criteria.event is not None),
        ("channel = ?", (criteria.channel,), criteria.channel is not None),
        ("provider = ?", (criteria.provider,), criteria.provider is not None),
        (f"status IN ({statuses})", tuple(criteria.statuses), bool(criteria.statuses)),
        (f"id IN (SELECT message_id FROM recipients WHERE address IN ({marks}))", people, bool(people)),
        ("sent_at >= ?", (to_micros(criteria.since),) if criteria.since else (), criteria.since is not None),
    ]
    return [(clause, values) for clause, values, applies in clauses if applies]


def _read_counts(numbers: list[int]) -> MessageCounts:
    names = ("sent", "delivered", "failed", "opened", "clicked", "complained")
    return MessageCounts(**dict(zip(names, numbers, strict=True)))


_HOUR = timedelta(hours=1)
# A mail of this same delivery counts too: it was handed over, but the outcome was not recorded.
# Only a file of the outbox can be written again without a recipient getting it twice.
_FIND_SAME = (
    f"SELECT {list_columns(SentMail)} FROM sent_mails WHERE event_id = ?1 AND template = ?2 AND kept <= ?3 "
    "AND (delivery_id = ?4 OR NOT ?5) AND NOT (kept AND state = 'handing' AND delivery_id = ?4) AND ?6 "
    "ORDER BY state = 'sent' DESC, at LIMIT 1"
)
_FIND_RECENT = (
    "SELECT COUNT(*), MIN(at) FROM (SELECT at FROM sent_mails WHERE template = ?1 AND kept = 0 "
    "AND at > ?2 AND at <= ?3 ORDER BY at DESC LIMIT ?4)"
)
_INSERT_CLAIM = (
    "INSERT OR REPLACE INTO sent_mails (delivery_id, event_id, template, recipients, kept, again, state, at) "
    "VALUES (?, ?, ?, ?, ?, ?, 'handing', ?)"
)


def _read_message(row: sqlite3.Row) -> Message:
    times = {"created_at": from_micros, "sent_at": from_micros}
    return Message(**convert(row, **times, status=MessageStatus, opened=bool, clicked=bool))


def _read_history_entry(row: sqlite3.Row) -> HistoryEntry:
    times = {"at": from_micros, "received_at": from_micros}
    return HistoryEntry(**convert(row, **times, status=MessageStatus, way=lambda way: MatchWay(way) if way else None))


class SentMails(Repository):
    """Reads and writes the record of sent mails."""

    async def standing(self, claim: MailClaim, now: datetime) -> SentMail | MailLimitReached | None:
        """Return why a mail would be held back, None if it would not."""
        same, recent = [await self._readers.all(*query) for query in _build_queries(claim, now)]
        return _find_obstacle(claim, same, recent)

    async def claim(self, claim: MailClaim, now: datetime) -> SentMail | MailLimitReached | None:
        """Record that a mail is about to be handed over; return why it is held back, None if it is not.

        Of two simultaneous claims of the same mail one is held back.
        """
        again = claim.forced or not claim.once
        values = (claim.delivery_id, claim.event_id, claim.template, claim.recipients, claim.kept, again)

        def step(connection: sqlite3.Connection) -> SentMail | MailLimitReached | None:
            same, recent = [connection.execute(*query).fetchall() for query in _build_queries(claim, now)]
            obstacle = _find_obstacle(claim, same, recent)
            if obstacle is None:
                connection.execute(_INSERT_CLAIM, (*values, to_micros(now)))
            return obstacle

        return await self._writer.write(step)

    async def confirm(self, delivery_id: int) -> None:
        """Record that a claimed mail was sent."""
        await self._writer.execute("UPDATE sent_mails SET state = 'sent' WHERE delivery_id = ?", (delivery_id,))

    async def release(self, delivery_id: int) -> None:
        """Record that a claimed mail was certainly not sent."""
        await self._writer.execute("DELETE FROM sent_mails WHERE delivery_id = ?", (delivery_id,))


def _build_queries(claim: MailClaim, now: datetime) -> tuple[tuple[str, tuple[object, ...]], ...]:
    """Return the queries for the same mail, and for the number of mails sent within the hour."""
    same = (claim.event_id, claim.template, claim.kept, claim.delivery_id, claim.forced, claim.once)
    recent = (claim.template, to_micros(now - _HOUR), to_micros(now), claim.per_hour or 0)
    return (_FIND_SAME, same), (_FIND_RECENT, recent)


def _find_obstacle(claim: MailClaim, same: Sequence[Any], recent: Sequence[Any]) -> SentMail | MailLimitReached | None:
    if same:
        *plain, kept, state, at = same[0]
        values: tuple[Any, ...] = (*plain, bool(kept), MailState(state), from_micros(at))
        return SentMail(*values)
    ((count, first),) = recent
    if claim.kept or claim.per_hour is None or count < claim.per_hour:
        return None
    return MailLimitReached(until=from_micros(first) + _HOUR)
