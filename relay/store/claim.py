"""Which deliveries may run now: due, within the limits of their target, in order where order is kept."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.model.delivery import Delivery
from relay.model.event import Event
from relay.store import rows
from relay.store.rows import EVENT_COLUMNS

# Named, because without statistics SQLite prefers the index on state alone, and reads the whole queue.
_QUEUE = "deliveries INDEXED BY deliveries_queue WHERE state = 'pending'"
_ASKED = "deliveries INDEXED BY deliveries_asked WHERE state = 'pending' AND asked = 1"
_PENDING = "deliveries INDEXED BY deliveries_pending WHERE state = 'pending'"
_RUNNING = "deliveries INDEXED BY deliveries_running WHERE state = 'running'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What must not be tried, however due: it needs secrets that are in the locked vault.

    Nothing at `targets`, nothing by `actions`, and at a target of `signing` nothing of the sources it
    names, whose signature could not be made anew.
    """

    targets: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    signing: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def holds(self, action: str, target: str, source: str) -> bool:
        """Say whether a delivery waits."""
        return action in self.actions or source in self.signing.get(target, ())

    def clause(self, target: str) -> tuple[str, tuple[str, ...]]:
        """Return what picks deliveries that do not wait, as SQL, with its values."""
        sources = self.signing.get(target, frozenset())
        sql = "".join(
            f" AND {column} NOT IN ({','.join('?' * len(values))})"
            for column, values in (("action", self.actions), ("source", sources))
            if values
        )
        return sql, (*self.actions, *sources)


NOTHING_WAITS = Waits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be claimed: in all, for each target, and what already runs there.

    `most` is how much may run at once at a target where that is not `each`. `held` names targets
    that are down: only what somebody waits to see tried is tried there. What is due more than
    `horizon` seconds ahead counts as due, for only a clock that jumped can put it there. `above`
    leaves alone what an earlier run of relay owes (ids up to it), for commands that work without a
    running relay. `waits` says what needs the vault.
    """

    total: int = 16
    each: int = 4
    most: Mapping[str, int] = field(default_factory=dict)
    running: Mapping[str, int] = field(default_factory=dict)
    fifo: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    horizon: float = 366 * 86400.0
    above: int = 0
    waits: Waits = NOTHING_WAITS

    def room(self, target: str) -> int:
        """Return how many more may run at a target."""
        return self.most.get(target, self.each) - self.running.get(target, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that may run, and what it delivers; None if that is gone."""

    delivery: Delivery
    event: Event | None


def claim(connection: sqlite3.Connection, now: int, limits: Limits) -> tuple[Claimed, ...]:
    """Mark what is due at `now` (microseconds since 1970) and may run as RUNNING; return it by id."""
    connection.row_factory = sqlite3.Row
    try:
        claimed: list[sqlite3.Row] = []
        # Whose share is smallest goes first: targets that hang must not keep the others out.
        for target in sorted(_targets(connection), key=lambda name: limits.running.get(name, 0)):
            if target in limits.waits.targets:
                continue
            room = min(limits.room(target), limits.total - len(claimed))
            if room > 0:
                pick = _heads if target in limits.fifo else _due
                claimed += pick(connection, target, now, limits)[:room]
        ids = [(row["id"],) for row in claimed]
        connection.executemany("UPDATE deliveries SET state = 'running' WHERE id = ?", ids)
        # In the same trip: asking for each event apart cost a quarter of all that a delivery costs.
        events = _events(connection, {row["event_id"] for row in claimed})
        found = (rows.delivery(row) for row in sorted(claimed, key=lambda row: int(row["id"])))
        return tuple(Claimed(delivery=one, event=events.get(one.event_id)) for one in found)
    finally:
        connection.row_factory = None


def _events(connection: sqlite3.Connection, ids: set[int]) -> dict[int, Event]:
    marks = ",".join("?" * len(ids))
    columns = EVENT_COLUMNS.count(",") + 1
    found = connection.execute(
        f"SELECT {EVENT_COLUMNS}, event_bytes.* FROM events JOIN event_bytes ON event_id = events.id "
        f"WHERE events.id IN ({marks})",
        tuple(ids),
    )
    return {row["id"]: rows.event(rows.event_row(tuple(row)[:columns]), row) for row in found}


def _targets(connection: sqlite3.Connection) -> list[str]:
    # Leaps from target to target along the index: DISTINCT would read the whole queue.
    first = f"SELECT MIN(target) FROM {_QUEUE}"
    sql = (
        f"WITH RECURSIVE waiting(target) AS ({first} UNION ALL "
        f"SELECT ({first} AND target > waiting.target) FROM waiting WHERE waiting.target IS NOT NULL) "
        "SELECT target FROM waiting WHERE target IS NOT NULL"
    )
    return [row[0] for row in connection.execute(sql)]


def _due(connection: sqlite3.Connection, target: str, now: int, limits: Limits) -> list[sqlite3.Row]:
    queue = _ASKED if target in limits.held else _QUEUE
    found: list[sqlite3.Row] = []
    ready, values = limits.waits.clause(target)
    for when, moment in (("due_at <= ?", now), ("due_at > ?", _horizon(now, limits))):
        sql = f"SELECT * FROM {queue} AND target = ? AND {when} AND id > ?{ready} ORDER BY due_at, id LIMIT ?"
        found += connection.execute(sql, (target, moment, limits.above, *values, limits.room(target)))
    return found


def _heads(connection: sqlite3.Connection, target: str, now: int, limits: Limits) -> list[sqlite3.Row]:
    """Return the first waiting delivery of each source, where it is due and nothing of that source runs."""
    first = f"SELECT MIN(source) FROM {_PENDING} AND target = :target"
    sql = (
        f"WITH RECURSIVE waiting(source) AS ({first} UNION ALL "
        f"SELECT ({first} AND source > waiting.source) FROM waiting WHERE waiting.source IS NOT NULL) "
        f"SELECT * FROM deliveries WHERE id IN (SELECT (SELECT MIN(id) FROM {_PENDING} AND target = :target "
        "AND source = waiting.source AND id > :above) FROM waiting) "
        "AND (due_at <= :now OR due_at > :horizon) AND asked >= :asked ORDER BY id"
    )
    values = {
        "target": target,
        "now": now,
        "horizon": _horizon(now, limits),
        "above": limits.above,
        "asked": int(target in limits.held),
    }
    heads = connection.execute(sql, values).fetchall()
    # The lab goes past every queue, and a retry schedule of its may run for hours: nothing waits for it.
    busy = f"SELECT 1 FROM {_RUNNING} AND target = ? AND source = ? AND lab IS NULL"
    return [
        head
        for head in heads
        if not limits.waits.holds(head["action"], target, head["source"])
        and connection.execute(busy, (target, head["source"])).fetchone() is None
    ]


def _horizon(now: int, limits: Limits) -> int:
    return now + int(limits.horizon * 1_000_000)
