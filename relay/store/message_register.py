"""New messages: registered once per id, with the statuses that arrived before."""

import sqlite3
from dataclasses import asdict
from typing import NamedTuple

from relay.model.message import MatchWay, NewMessage, normalize_id, parse_addresses
from relay.model.signals import MessageChanged
from relay.model.values import dataclass
from relay.store.message_statuses import OWN_PROVIDERS, attach_waiting, find_waiting_under, remember_ids, update_status
from relay.store.row_mappers import insert_row, to_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRegistration:
    """A registered message: `created` is False if it existed already; `moved` are all messages that changed."""

    id: int
    created: bool
    moved: tuple[MessageChanged, ...] = ()


class _Known(NamedTuple):
    """What a message can be found by."""

    id: int
    provider: str
    external_id: str
    embedded_id: str
    recipients: tuple[str, ...]


def register_message(connection: sqlite3.Connection, new: NewMessage, created_at: int) -> MessageRegistration:
    """Register a message that was sent elsewhere, once per provider and id; inside a transaction."""
    id_ = normalize_id(new.external_id)
    there = _find_registered(connection, new.provider, id_) if id_ else None
    if there is not None:
        remember_ids(connection, there, new.provider, (id_,), MatchWay.EXTERNAL_ID)
        return MessageRegistration(id=there, created=False)
    mistaken = _undo_time_match(connection, new.provider, id_) if id_ else None
    message = _insert_message(connection, new, created_at)
    if id_:
        remember_ids(connection, message, new.provider, (id_,), MatchWay.EXTERNAL_ID)
    # A status assigned to this message may now turn out to belong to another.
    touched = [message] if mistaken is None else [message, mistaken]
    return MessageRegistration(
        id=message, created=True, moved=tuple(_apply_waiting(connection, one) for one in touched)
    )


def add_own_message(connection: sqlite3.Connection, new: NewMessage, source: bytes, created_at: int) -> int:
    """Record a mail that relay sent itself; if sent again, its id refers to the latest. Inside a transaction.

    One that failed here and was tried again is the same mail, and keeps its number; of one that a provider reported
    about there are two.
    """
    key = (normalize_id(new.external_id), new.provider, MatchWay.EXTERNAL_ID.value)
    failed = connection.execute(
        "DELETE FROM messages WHERE status = 'failed' AND id = (SELECT message_id FROM external_ids "
        "WHERE external_id = ? AND provider = ? AND way = ?) AND NOT EXISTS (SELECT 1 FROM history "
        "WHERE message_id = messages.id AND provider <> '') RETURNING id",
        key,
    ).fetchone()
    message = _insert_message(connection, new, created_at, source, failed and failed[0])
    connection.execute(
        "INSERT OR REPLACE INTO external_ids (external_id, provider, way, message_id) VALUES (?, ?, ?, ?)",
        (*key, message),
    )
    _apply_waiting(connection, message)
    return message


def _find_registered(connection: sqlite3.Connection, provider: str, id_: str) -> int | None:
    """Return the message registered under this id, or found by the id it carries."""
    sql = (
        "SELECT message_id FROM external_ids WHERE external_id = ? AND provider = ? "
        "AND way IN ('external_id', 'embedded') ORDER BY way DESC LIMIT 1"
    )
    row = connection.execute(sql, (id_, provider)).fetchone()
    return int(row[0]) if row else None


def _undo_time_match(connection: sqlite3.Connection, provider: str, id_: str) -> int | None:
    """Remove from a message the statuses matched by time alone, if their id is now known to be another's.

    Returns that message. Only where the source looks at ids at all: else time is all there is.
    """
    row = connection.execute(
        "SELECT message_id FROM history WHERE external_id = ? AND provider = ? AND way = 'timestamp' "
        "AND instr(ways, 'external_id') LIMIT 1",
        (id_, provider),
    ).fetchone()
    if row is None:
        return None
    mistaken = (row[0], provider)
    connection.execute("DELETE FROM external_ids WHERE message_id = ? AND provider = ? AND way = 'timestamp'", mistaken)
    connection.execute(
        "UPDATE history SET message_id = NULL, way = '' WHERE message_id = ? AND provider = ? AND way = 'timestamp'",
        mistaken,
    )
    return int(row[0])


def _insert_message(
    connection: sqlite3.Connection, new: NewMessage, created_at: int, source: bytes = b"", id_: int | None = None
) -> int:
    sent_at = to_micros(new.sent_at) if new.sent_at else created_at
    values = asdict(new) | {"embedded_id": normalize_id(new.embedded_id), "sent_at": sent_at}
    message = insert_row(connection, "messages", values | {"id": id_, "created_at": created_at, "source": source})
    connection.executemany(
        "INSERT OR IGNORE INTO recipients (address, message_id) VALUES (?, ?)",
        [(address, message) for address in parse_addresses(new.recipient)],
    )
    connection.execute(
        "INSERT INTO history (message_id, status, at, received_at, detail) VALUES (?, ?, ?, ?, ?)",
        (message, new.status.value, sent_at if new.sent_at else None, created_at, new.detail),
    )
    return message


def _apply_waiting(connection: sqlite3.Connection, message: int) -> MessageChanged:
    """Attach the statuses that arrived before a message, each matched by the rules of its source."""
    row = connection.execute(
        "SELECT id, provider, external_id, embedded_id, recipient FROM messages WHERE id = ?", (message,)
    ).fetchone()
    known = _Known(row[0], row[1], normalize_id(row[2]), row[3], parse_addresses(row[4]))
    for way in MatchWay:
        for waiting, provider, id_ in _find_waiting(connection, known, way):
            others = connection.execute(
                "SELECT key FROM waiting_keys WHERE history_id = ? AND way = 'external_id'", (waiting,)
            )
            ids = {id_, *(key for (key,) in others)} - {""}
            remember_ids(connection, message, provider, ids, way)
            attach_waiting(connection, message, {waiting, *find_waiting_under(connection, provider, ids)}, way)
    return update_status(connection, message)


def _find_waiting(connection: sqlite3.Connection, known: _Known, way: MatchWay) -> list[tuple[int, str, str]]:
    """Return the waiting statuses that match a message in one way: ids, reporters, reported ids."""
    if way is MatchWay.TIMESTAMP:
        return _find_waiting_by_time(connection, known)
    # A status may have several ids; it was stored under the usual one.
    under = (
        "SELECT id, provider, external_id FROM history WHERE message_id IS NULL AND external_id = ? "
        "AND external_id <> '' AND instr(ways, ?) AND ? IN (provider, ?, ?)"
    )
    by_key = (
        "SELECT h.id, h.provider, h.external_id FROM waiting_keys k JOIN history h ON h.id = k.history_id "
        "WHERE k.way = ? AND k.key = ? AND k.key <> '' AND ? IN (h.provider, ?, ?)"
    )
    providers = (known.provider, *OWN_PROVIDERS)
    if way is MatchWay.EXTERNAL_ID:
        values = (known.external_id, way.value, *providers, way.value, known.external_id, *providers)
        return connection.execute(f"{under} UNION {by_key} ORDER BY 1", values).fetchall()
    return [
        row
        for key in dict.fromkeys((known.embedded_id, known.external_id))
        for row in connection.execute(f"{by_key} ORDER BY h.id", (way.value, key, *providers)).fetchall()
    ]


def _find_waiting_by_time(connection: sqlite3.Connection, known: _Known) -> list[tuple[int, str, str]]:
    """Return the nearest waiting status for a message's recipient, with the other statuses of its id."""
    marks = ",".join("?" * len(known.recipients))
    rows = connection.execute(
        "SELECT h.id, h.provider, h.external_id FROM waiting_keys k JOIN history h ON h.id = k.history_id "
        f"JOIN messages m ON m.id = ? WHERE k.way = 'timestamp' AND k.key IN ({marks}) "
        "AND m.provider IN (h.provider, 'smtp') "
        "AND abs(coalesce(h.at, h.received_at) - m.sent_at) <= h.window "
        "AND NOT EXISTS (SELECT 1 FROM external_ids e WHERE e.message_id = m.id AND e.provider = h.provider "
        "AND instr(h.ways, e.way)) ORDER BY abs(coalesce(h.at, h.received_at) - m.sent_at), h.id",
        (known.id, *known.recipients),
    ).fetchall()
    # Without an id the statuses of different messages cannot be told apart.
    return rows[:1] if rows and rows[0][2] else rows
