"""The queue: deliveries that may run now, within the limits of their target and in order if it keeps order."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, NamedTuple

from relay.model.delivery import Delivery, DeliveryState, NewDelivery, SignMode
from relay.model.event import CapturedEvent
from relay.model.values import dataclass
from relay.store.row_mappers import DELIVERY_COLUMNS, WHOLE_EVENTS, read_delivery, read_whole_event

_SELECT = f"SELECT {DELIVERY_COLUMNS} FROM"
# The index is named, because without statistics SQLite prefers the one on state and reads the whole queue.
_QUEUE = "deliveries INDEXED BY deliveries_queue WHERE state = 'pending'"
_ASKED = "deliveries INDEXED BY deliveries_asked WHERE state = 'pending' AND asked = 1"
_PENDING = "deliveries INDEXED BY deliveries_pending WHERE state = 'pending'"
_RUNNING = "deliveries INDEXED BY deliveries_running WHERE state = 'running'"
_FIRST_TARGET = f"SELECT MIN(target) FROM {_QUEUE}"
# Skips from target to target along the index: DISTINCT would read the whole queue.
_TARGETS = (
    f"WITH RECURSIVE waiting(target) AS ({_FIRST_TARGET} UNION ALL "
    f"SELECT ({_FIRST_TARGET} AND target > waiting.target) FROM waiting WHERE waiting.target IS NOT NULL)"
)
_DUE_LATER = "AND target = waiting.target AND due_at > ?1 AND id > ?2 ORDER BY due_at, id LIMIT 1"
# When the next delivery falls due after a moment, among those with a higher id than the second value. At the targets
# that the third lists, which are down, only what was asked for counts.
NEXT_DUE = (
    f"{_TARGETS} SELECT MIN(CASE WHEN target IN (SELECT value FROM json_each(?3)) "
    f"THEN (SELECT due_at FROM {_ASKED} {_DUE_LATER}) ELSE (SELECT due_at FROM {_QUEUE} {_DUE_LATER}) END) "
    "FROM waiting WHERE target IS NOT NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedWork:
    """The deliveries that must not be tried because they need secrets from the locked vault.

    Nothing at `targets`, nothing by `actions`, and at a target of `signing` nothing of the sources it
    names, whose signature could not be made again, but for what is to go out as received.
    """

    targets: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    signing: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def holds(self, delivery: Delivery) -> bool:
        """Return whether a delivery has to wait."""
        is_signed = delivery.changes.sign is not SignMode.ORIGINAL
        return delivery.action in self.actions or (
            is_signed and delivery.source in self.signing.get(delivery.target, ())
        )

    def clause(self, target: str) -> tuple[str, tuple[str, ...]]:
        """Return an SQL condition for deliveries that need not wait, and its values."""
        sources = self.signing.get(target, frozenset())
        actions, held = (",".join("?" * len(values)) for values in (self.actions, sources))
        sql = f" AND action NOT IN ({actions})" if actions else ""
        sql += f" AND (source NOT IN ({held}) OR json_extract(changes, '$.sign') = 'original')" if held else ""
        return sql, (*self.actions, *sources)


NOTHING_BLOCKED = BlockedWork()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLimits:
    """How much may be claimed: in all and for each target, and how much runs there already.

    `most` is how much may run at once at a target where that is not `each`. `held` names targets
    that are down: only what somebody waits to see tried is tried there. What is due more than
    `horizon` seconds ahead counts as due, for only a clock that jumped can put it there. `above`
    leaves alone what an earlier run of relay left pending (ids up to it), for commands that work without a
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
    waits: BlockedWork = NOTHING_BLOCKED

    def count_free(self, target: str) -> int:
        """Return how many more deliveries may run at a target."""
        return self.most.get(target, self.each) - self.running.get(target, 0)


class ClaimedDelivery(NamedTuple):
    """A delivery that may run, and its event; None if that was deleted."""

    delivery: Delivery
    event: CapturedEvent | None


def claim_deliveries(connection: sqlite3.Connection, now: int, limits: ClaimLimits) -> tuple[ClaimedDelivery, ...]:
    """Mark deliveries due at `now` (microseconds since 1970) that may run as RUNNING; return them by id."""
    claimed: list[tuple[Any, ...]] = []
    # The target with the smallest share goes first: targets that hang must not block the others.
    waiting = connection.execute(f"{_TARGETS} SELECT target FROM waiting WHERE target IS NOT NULL").fetchall()
    for target in sorted((row[0] for row in waiting), key=lambda name: limits.running.get(name, 0)):
        if target in limits.waits.targets:
            continue
        free = min(limits.count_free(target), limits.total - len(claimed))
        if free > 0:
            pick = _find_queue_heads if target in limits.fifo else _find_due
            claimed += pick(connection, target, now, limits)[:free]
    claimed.sort()  # by id, the first column
    ids = json.dumps([row[0] for row in claimed])
    connection.execute("UPDATE deliveries SET state = 'running' WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    # In the same statement: reading each event separately took a quarter of a delivery's time.
    ids = json.dumps(list({row[1] for row in claimed}))
    found = connection.execute(f"{WHOLE_EVENTS} WHERE events.id IN (SELECT value FROM json_each(?))", (ids,))
    events = {row[0]: read_whole_event(row) for row in found}
    return tuple([ClaimedDelivery(read_delivery(row), events.get(row[1])) for row in claimed])


def _find_due(connection: sqlite3.Connection, target: str, now: int, limits: ClaimLimits) -> list[tuple[Any, ...]]:
    queue = _ASKED if target in limits.held else _QUEUE
    found: list[tuple[Any, ...]] = []
    ready, values = limits.waits.clause(target)
    for when, moment in (("due_at <= ?", now), ("due_at > ?", _compute_max_due(now, limits))):
        sql = f"{_SELECT} {queue} AND target = ? AND {when} AND id > ?{ready} ORDER BY due_at, id LIMIT ?"
        found += connection.execute(sql, (target, moment, limits.above, *values, limits.count_free(target)))
    return found


def _find_queue_heads(
    connection: sqlite3.Connection, target: str, now: int, limits: ClaimLimits
) -> list[tuple[Any, ...]]:
    """Return the first pending delivery of each source, if it is due and nothing of that source runs."""
    first = f"SELECT MIN(source) FROM {_PENDING} AND target = :target"
    sql = (
        f"WITH RECURSIVE waiting(source) AS ({first} UNION ALL "
        f"SELECT ({first} AND source > waiting.source) FROM waiting WHERE waiting.source IS NOT NULL) "
        f"{_SELECT} deliveries WHERE id IN (SELECT (SELECT MIN(id) FROM {_PENDING} AND target = :target "
        "AND source = waiting.source AND id > :above) FROM waiting) "
        "AND (due_at <= :now OR due_at > :horizon) AND asked >= :asked ORDER BY id"
    )
    values = {
        "target": target,
        "now": now,
        "horizon": _compute_max_due(now, limits),
        "above": limits.above,
        "asked": int(target in limits.held),
    }
    heads = connection.execute(sql, values).fetchall()
    # The lab bypasses queues, and its retry schedules may run for hours: nothing waits for it. Nor for deliveries
    # that ran when an earlier relay was killed, if those are left alone.
    busy = f"SELECT 1 FROM {_RUNNING} AND target = ? AND source = ? AND id > ? AND lab IS NULL"
    return [
        row
        for row in heads
        if not limits.waits.holds(head := read_delivery(row))
        and connection.execute(busy, (target, head.source, limits.above)).fetchone() is None
    ]


def _compute_max_due(now: int, limits: ClaimLimits) -> int:
    return now + int(limits.horizon * 1_000_000)


_UNDER_WAY = (DeliveryState.PENDING, DeliveryState.RUNNING)
# An event that was delivered again is a duplicate of the one before it.
_EARLIER = """
WITH RECURSIVE tries(id) AS (
  VALUES (?) UNION SELECT duplicate_of FROM events JOIN tries USING (id) WHERE duplicate_of IS NOT NULL
)
SELECT deliveries.id, target, state, attempts FROM deliveries JOIN tries ON event_id = tries.id
WHERE reason = 'routed' AND lab IS NULL ORDER BY deliveries.id
"""


@dataclass(frozen=True, slots=True)
class AwaitedDelivery:
    """The delivery whose response a sender waits for: the first response after that many `attempts`."""

    delivery: int
    attempts: int


@dataclass(frozen=True, slots=True)
class EarlierTries:
    """The outcome of earlier tries: `awaited` is in flight, `planned` has to be delivered again.

    Both are empty if the target has accepted the event already.
    """

    awaited: AwaitedDelivery | None = None
    planned: tuple[NewDelivery, ...] = ()


def resolve_earlier_tries(
    connection: sqlite3.Connection, event: int, planned: Iterable[NewDelivery], answerer: str, now: int
) -> EarlierTries:
    """Return the outcome of a further try of `event`, whose sender waits for the target `answerer`.

    Pending deliveries to that target are made due at `now` (microseconds since 1970). A target that accepted the
    event, or still is to get it, does not get it twice.
    """
    by_target: dict[str, list[tuple[int, DeliveryState, int]]] = {}
    for id_, target, state, attempts in connection.execute(_EARLIER, (event,)):
        by_target.setdefault(target, []).append((id_, DeliveryState(state), attempts))
    mine = by_target.get(answerer, [])
    if any(state is DeliveryState.SUCCEEDED for _, state, _ in mine):
        return EarlierTries()
    for id_, state, attempts in reversed(mine):
        if state in _UNDER_WAY:
            sql = "UPDATE deliveries SET due_at = min(due_at, ?), asked = 1 WHERE id = ? AND state = 'pending'"
            connection.execute(sql, (now, id_))
            return EarlierTries(awaited=AwaitedDelivery(id_, attempts))
    again = (DeliveryState.FAILED, DeliveryState.CANCELLED)
    return EarlierTries(
        planned=tuple(new for new in planned if all(state in again for _, state, _ in by_target.get(new.target, ())))
    )
