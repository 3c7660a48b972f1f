"""Statuses of messages: each finds its message, or waits until that is registered."""

import sqlite3
from collections.abc import Iterable
from itertools import product

from relay.model.message import MatchWay, MessageStatus, MessageTracking, StatusReport, find_furthest
from relay.model.signals import MessageChanged
from relay.model.values import dataclass
from relay.store.row_mappers import to_micros

# Mails that relay sends itself: their carrier reports their statuses.
OWN_PROVIDERS = ("smtp", "outbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingResult:
    """The effect of an event: the messages it changed, and whether none of its statuses found a message."""

    moved: tuple[MessageChanged, ...] = ()
    unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """A status to apply: the event that reports it, and how its message may be found."""

    report: StatusReport
    event_id: int
    received_at: int
    tracked: MessageTracking

    @property
    def ways(self) -> tuple[MatchWay, ...]:
        return self.tracked.matching.ways

    @property
    def window(self) -> int:
        """Return the time window for matching a message, in microseconds."""
        return round(self.tracked.matching.window * 1_000_000)

    @property
    def at(self) -> int | None:
        return to_micros(self.report.at) if self.report.at else None

    @property
    def time(self) -> int:
        """Return when it happened, as far as known."""
        return self.received_at if self.at is None else self.at

    @property
    def providers(self) -> tuple[str, ...]:
        """Return the providers whose messages it may concern."""
        own = OWN_PROVIDERS if self.report.channel == "email" else ()
        return (self.report.provider, *own)


def apply_statuses(
    connection: sqlite3.Connection, event_id: int, received_at: int, tracked: MessageTracking
) -> TrackingResult:
    """Record the statuses of an event and update their messages; inside the writer's transaction."""
    moved: dict[int, MessageChanged] = {}
    known = False
    for report in tracked.reports:
        arrival = _Arrival(report=report, event_id=event_id, received_at=received_at, tracked=tracked)
        found = _find_message(connection, arrival)
        if found is None:
            _insert_waiting(connection, arrival)
            continue
        known = True
        if _insert_status(connection, arrival, *found):
            moved[found[0]] = update_status(connection, found[0])
    return TrackingResult(moved=tuple(moved.values()), unknown=not known)


def is_message_known(connection: sqlite3.Connection, received_at: int, tracked: MessageTracking) -> bool:
    """Return whether any of the messages that an event reports about exists; changes nothing."""
    arrivals = (
        _Arrival(report=report, event_id=0, received_at=received_at, tracked=tracked) for report in tracked.reports
    )
    return any(_find_message(connection, arrival) for arrival in arrivals)


def update_status(connection: sqlite3.Connection, message: int) -> MessageChanged:
    """Set a message's status from its history, in any order of arrival; inside a transaction."""
    rows = connection.execute("SELECT DISTINCT status FROM history WHERE message_id = ?", (message,))
    reported = {MessageStatus(row[0]) for row in rows}
    status = find_furthest(reported)
    code, detail = connection.execute(
        "SELECT code, detail FROM history WHERE message_id = ? AND status = ? "
        "ORDER BY coalesce(at, received_at) DESC, code, detail LIMIT 1",
        (message, status.value),
    ).fetchone()
    clicked = MessageStatus.CLICKED in reported
    opened = clicked or MessageStatus.OPENED in reported
    connection.execute(
        "UPDATE messages SET status = ?, code = ?, detail = ?, opened = ?, clicked = ? WHERE id = ?",
        (status.value, code, detail, opened, clicked, message),
    )
    (event,) = connection.execute("SELECT event_id FROM messages WHERE id = ?", (message,)).fetchone()
    return MessageChanged(message, event, status.value)


def remember_ids(
    connection: sqlite3.Connection, message: int, provider: str, ids: Iterable[str], way: MatchWay
) -> None:
    """Store the ids of a message at a provider, so that later statuses find it."""
    connection.executemany(
        "INSERT OR IGNORE INTO external_ids (external_id, provider, way, message_id) VALUES (?, ?, ?, ?)",
        [(id_, provider, way.value, message) for id_ in ids],
    )


def attach_waiting(connection: sqlite3.Connection, message: int, waiting: Iterable[int], way: MatchWay) -> int:
    """Attach waiting statuses to their message and return how many are new to it."""
    taken = 0
    for id_ in waiting:
        sql = "UPDATE OR IGNORE history SET message_id = ?, way = ? WHERE id = ? AND message_id IS NULL"
        taken += connection.execute(sql, (message, way.value, id_)).rowcount
        connection.execute("DELETE FROM waiting_keys WHERE history_id = ?", (id_,))
        # The rest was reported for this message before.
        connection.execute("DELETE FROM history WHERE id = ? AND message_id IS NULL", (id_,))
    return taken


def find_waiting_under(connection: sqlite3.Connection, provider: str, ids: Iterable[str]) -> list[int]:
    """Return the waiting statuses that a provider reported for a message by one of these ids, the oldest first."""
    sql = "SELECT id FROM history WHERE external_id = ? AND provider = ? AND message_id IS NULL ORDER BY id"
    return [row[0] for id_ in ids for row in connection.execute(sql, (id_, provider))]


def _find_message(connection: sqlite3.Connection, arrival: _Arrival) -> tuple[int, MatchWay] | None:
    """Return the message of a status and how it was found, by the first configured way that finds one."""
    report = arrival.report
    finders = {
        MatchWay.EXTERNAL_ID: lambda: _find_by_ids(connection, report.external_ids, arrival.providers),
        MatchWay.EMBEDDED: lambda: _find_by_embedded_id(connection, arrival),
        MatchWay.TIMESTAMP: lambda: _find_by_time(connection, arrival),
    }
    for way in arrival.ways:
        # A message found once is found again by its id, however late the next status arrives.
        message = _find_by_ids(connection, report.external_ids, (report.provider,), way) or finders[way]()
        if message is not None:
            return message, way
    return None


def _find_by_ids(
    connection: sqlite3.Connection, ids: Iterable[str], providers: tuple[str, ...], way: MatchWay = MatchWay.EXTERNAL_ID
) -> int | None:
    """Return the message that a provider knows by an id in that way, by the first id that finds one."""
    sql = "SELECT message_id FROM external_ids WHERE external_id = ? AND provider = ? AND way = ?"
    for id_, provider in product(ids, providers):
        row = connection.execute(sql, (id_, provider, way.value)).fetchone()
        if row is not None:
            return int(row[0])
    return None


def _find_by_embedded_id(connection: sqlite3.Connection, arrival: _Arrival) -> int | None:
    id_ = arrival.report.embedded_id
    if not id_:
        return None
    marks = ",".join("?" * len(arrival.providers))
    # A sender's own id may have been used before: the message nearest in time is meant.
    row = connection.execute(
        f"SELECT id FROM messages WHERE embedded_id = ? AND provider IN ({marks}) "
        "ORDER BY abs(sent_at - ?), id DESC LIMIT 1",
        (id_, *arrival.providers, arrival.time),
    ).fetchone()
    if row is not None:
        return int(row[0])
    return _find_by_ids(connection, (id_,), arrival.providers) or _find_by_number(connection, arrival, id_)


def _find_by_number(connection: sqlite3.Connection, arrival: _Arrival, text: str) -> int | None:
    """Return the message with that relay id, if it went to the same recipient: small numbers are common."""
    people = arrival.report.recipients
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or not people:
        return None
    providers, marks = ",".join("?" * len(arrival.providers)), ",".join("?" * len(people))
    row = connection.execute(
        f"SELECT m.id FROM messages m WHERE m.id = ? AND m.provider IN ({providers}) AND EXISTS "
        f"(SELECT 1 FROM recipients r WHERE r.message_id = m.id AND r.address IN ({marks}))",
        (int(text), *arrival.providers, *people),
    ).fetchone()
    return int(row[0]) if row else None


def _find_by_time(connection: sqlite3.Connection, arrival: _Arrival) -> int | None:
    """Return the message to the same recipient that was sent nearest in time and has no other id."""
    people = arrival.report.recipients
    if not people:
        return None
    marks, providers = ",".join("?" * len(people)), ",".join("?" * len(arrival.providers))
    ways = ",".join("?" * len(arrival.ways))
    row = connection.execute(
        f"SELECT m.id FROM recipients r JOIN messages m ON m.id = r.message_id WHERE r.address IN ({marks}) "
        f"AND m.channel = ? AND m.provider IN ({providers}) AND m.provider <> 'outbox' "
        "AND m.sent_at BETWEEN ? AND ? AND NOT EXISTS (SELECT 1 FROM external_ids e "
        f"WHERE e.message_id = m.id AND e.provider = ? AND e.way IN ({ways})) "
        "ORDER BY abs(m.sent_at - ?), m.id DESC LIMIT 1",
        (
            *people,
            arrival.report.channel,
            *arrival.providers,
            arrival.time - arrival.window,
            arrival.time + arrival.window,
            arrival.report.provider,
            *(way.value for way in arrival.ways),
            arrival.time,
        ),
    ).fetchone()
    return int(row[0]) if row else None


def _insert_status(connection: sqlite3.Connection, arrival: _Arrival, message: int, way: MatchWay) -> bool:
    """Add a status, and those waiting under the same id, to a message's history; return whether any was new."""
    report = arrival.report
    news = _insert_history(connection, arrival, message, way.value) is not None
    remember_ids(connection, message, report.provider, report.external_ids, way)
    waiting = find_waiting_under(connection, report.provider, report.external_ids)
    return bool(attach_waiting(connection, message, waiting, way)) or news


def _insert_waiting(connection: sqlite3.Connection, arrival: _Arrival) -> None:
    """Store a status whose message is not registered, with the data it may be found by."""
    id_, report = _insert_history(connection, arrival, None, ""), arrival.report
    held = {
        MatchWay.EXTERNAL_ID: report.external_ids,
        MatchWay.EMBEDDED: (report.embedded_id,) if report.embedded_id else (),
        MatchWay.TIMESTAMP: report.recipients,
    }
    if id_ is not None:
        connection.executemany(
            "INSERT OR IGNORE INTO waiting_keys (way, key, history_id) VALUES (?, ?, ?)",
            [(way.value, key, id_) for way in arrival.ways for key in held[way]],
        )


def _insert_history(connection: sqlite3.Connection, arrival: _Arrival, message: int | None, way: str) -> int | None:
    """Store a status and return its id; None if the same was reported before."""
    report = arrival.report
    values = (
        message,
        way,
        arrival.event_id,
        report.status.value,
        arrival.at,
        arrival.received_at,
        report.code,
        report.detail,
        report.provider,
        next(iter(report.external_ids), ""),  # the id under which a status waits
        ",".join(arrival.ways),
        arrival.window,
    )
    cursor = connection.execute(
        "INSERT OR IGNORE INTO history (message_id, way, event_id, status, at, received_at, code, detail, provider, "
        f"external_id, ways, window) VALUES ({','.join('?' * len(values))})",
        values,
    )
    return cursor.lastrowid if cursor.rowcount > 0 else None
