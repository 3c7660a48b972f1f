"""A request that is sent again, where its sender is told what the target answered: what became of it before."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from relay.model.delivery import DeliveryState, NewDelivery

_UNDER_WAY = (DeliveryState.PENDING, DeliveryState.RUNNING)
# An event that was delivered again is itself a duplicate of the one before it.
_EARLIER = """
WITH RECURSIVE tries(id) AS (
  VALUES (?) UNION SELECT duplicate_of FROM events JOIN tries USING (id) WHERE duplicate_of IS NOT NULL
)
SELECT deliveries.id, target, state, attempts FROM deliveries JOIN tries ON event_id = tries.id
WHERE reason = 'routed' AND lab IS NULL ORDER BY deliveries.id
"""


@dataclass(frozen=True, slots=True)
class Awaited:
    """The delivery whose answer a sender waits for: the first one after that many `attempts`."""

    delivery: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the tries before came to: `awaited` is under way, `owed` is what has to be delivered again.

    Neither, where the target has taken the event already.
    """

    awaited: Awaited | None = None
    owed: tuple[NewDelivery, ...] = ()


def earlier(
    connection: sqlite3.Connection, event: int, owed: Iterable[NewDelivery], answerer: str, now: int
) -> Earlier:
    """Return the outcome of a further try of `event`, whose sender waits for the target `answerer`.

    What waits for that target is made due at `now` (microseconds since 1970). A target that took the
    event, or still is to get it, is not owed it twice.
    """
    by_target: dict[str, list[tuple[int, DeliveryState, int]]] = {}
    for id_, target, state, attempts in connection.execute(_EARLIER, (event,)):
        by_target.setdefault(target, []).append((id_, DeliveryState(state), attempts))
    mine = by_target.get(answerer, [])
    if any(state is DeliveryState.SUCCEEDED for _, state, _ in mine):
        return Earlier()
    for id_, state, attempts in reversed(mine):
        if state in _UNDER_WAY:
            sql = (
                "UPDATE deliveries SET due_at = min(due_at, ?), asked = 1 WHERE id = ? AND state = 'pending'"
            )
            connection.execute(sql, (now, id_))
            return Earlier(awaited=Awaited(id_, attempts))
    again = (DeliveryState.FAILED, DeliveryState.CANCELLED)
    return Earlier(
        owed=tuple(
            new for new in owed if all(state in again for _, state, _ in by_target.get(new.target, ()))
        )
    )
