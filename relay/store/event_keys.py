"""Idempotency keys and their events. Later events of the source with the same key are duplicates.

Keys are mostly random: in a table in their order each one writes a page, a seventh of what an event costs. So a key is
appended to `new_keys`, in the order of events, and found through memory; `sort_in` moves it to `keys` behind commits.
"""

import sqlite3
from collections.abc import Iterable
from functools import cache
from itertools import chain

from relay.model.values import dataclass
from relay.store.readers import Readers, Repository
from relay.store.row_mappers import MAX_ROWS, insert_rows, round_up
from relay.store.writer import Writer

SourceKey = tuple[str, str]
"""A source and a key."""

_MAX_RECENT = 50_000  # keys found through memory, about 130 bytes each; more are sorted in at once
_MIN_RECENT = 1_000  # minimum number of keys for a sort
_BATCH = 500  # keys sorted in by one commit: a few milliseconds of the writer's time
_AT_ONCE = 500  # keys looked up in one statement
_NEW_HOLDER = (
    "SELECT id, outcome = 'ignored' FROM new_keys JOIN events ON id = event_id WHERE new_keys.source = ? AND key = ?"
)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """The event that has a key. An `ignored` event loses it to the first that is not ignored."""

    id: int
    ignored: bool


class EventKeys(Repository):
    """Reads and writes keys. Methods that take a connection run inside the writer's transaction.

    Memory says by a key's hash that `new_keys` may have it, and for which event. Only transactions read and change
    it, and after one that was rolled back it is read from the table again.
    """

    def __init__(self, writer: Writer, readers: Readers) -> None:
        super().__init__(writer, readers)
        self._recent: dict[int, int] = {}
        self._rollbacks = -1  # number of rollbacks when memory was read

    def find_holders(self, connection: sqlite3.Connection, claims: list[SourceKey]) -> dict[SourceKey, KeyHolder]:
        """Return the events that have those keys."""
        recent = self._load_recent(connection)
        found: dict[SourceKey, KeyHolder] = {}
        for claim in claims:
            id_ = recent.get(hash(claim))
            if id_ is None:
                continue
            # By the key alone if two keys have the same hash, or that event is deleted.
            row = connection.execute(f"{_NEW_HOLDER} AND event_id = ?", (*claim, id_)).fetchone()
            row = row or connection.execute(_NEW_HOLDER, claim).fetchone()
            if row is not None:
                found[claim] = KeyHolder(row[0], bool(row[1]))
        left = [claim for claim in claims if claim not in found] if found else claims
        for at in range(0, len(left), MAX_ROWS):
            some = left[at : at + MAX_ROWS]
            size = round_up(len(some))
            values = [*chain.from_iterable(some), *[0, 0] * (size - len(some))]
            for source, key, id_, ignored in connection.execute(_build_key_query(size), values):
                found[source, key] = KeyHolder(id_, bool(ignored))
        return found

    def claim(self, connection: sqlite3.Connection, claims: dict[SourceKey, int]) -> None:
        """Assign unclaimed keys to the events with those ids."""
        recent = self._load_recent(connection)
        if len(recent) > _MAX_RECENT:
            rows = [value for claim, id_ in claims.items() for value in (*claim, id_)]
            insert_rows(connection, "keys", rows, len(claims))
            return
        insert_rows(connection, "new_keys", [x for claim, id_ in claims.items() for x in (id_, *claim)], len(claims))
        for claim, id_ in claims.items():
            recent[hash(claim)] = id_

    def release(self, connection: sqlite3.Connection, claim: SourceKey, holder: KeyHolder) -> None:
        """Take a key from the event that has it."""
        connection.execute("DELETE FROM keys WHERE source = ? AND key = ?", claim)
        connection.execute("DELETE FROM new_keys WHERE event_id = ?", (holder.id,))

    async def sort_in(self) -> int:
        """Move a batch of keys to the sorted table and return how many; 0 means that there are few."""
        if self._rollbacks == self._writer.rollbacks and len(self._recent) < _MIN_RECENT:
            return 0
        return await self._writer.write(self._move, is_durable=False)

    async def filter_claimed(self, source: str, keys: Iterable[str]) -> frozenset[str]:
        """Return those idempotency keys that an event of the source has claimed."""
        listed = list(keys)
        found: set[str] = set()
        for start in range(0, len(listed), _AT_ONCE):
            some = listed[start : start + _AT_ONCE]
            where = f"WHERE source = ?1 AND key IN ({','.join(f'?{place}' for place in range(2, len(some) + 2))})"
            sql = f"SELECT key FROM keys {where} UNION SELECT key FROM new_keys {where}"
            found |= {row[0] for row in await self._readers.all(sql, (source, *some))}
        return frozenset(found)

    def _load_recent(self, connection: sqlite3.Connection) -> dict[int, int]:
        if self._rollbacks != self._writer.rollbacks:
            rows = connection.execute("SELECT event_id, source, key FROM new_keys ORDER BY event_id")
            self._recent = {hash((source, key)): id_ for id_, source, key in rows}
            self._rollbacks = self._writer.rollbacks
        return self._recent

    def _move(self, connection: sqlite3.Connection) -> int:
        recent = self._load_recent(connection)
        if len(recent) < _MIN_RECENT:
            return 0
        rows = connection.execute("SELECT source, key, event_id FROM new_keys ORDER BY event_id LIMIT ?", (_BATCH,))
        moved = sorted(tuple(row) for row in rows)  # neighbours share pages
        insert_rows(connection, "keys", list(chain.from_iterable(moved)), len(moved))
        connection.execute("DELETE FROM new_keys WHERE event_id <= ?", (max((id_ for *_, id_ in moved), default=0),))
        for source, key, id_ in moved:
            if recent.get(hash((source, key))) == id_:
                del recent[hash((source, key))]
        if len(moved) < _BATCH:
            recent.clear()  # the remaining ones are of deleted events
        return len(moved)


@cache
def _build_key_query(size: int) -> str:
    # A join from the list into the index; `(source, key) IN (…)` would read all keys.
    return (
        f"WITH claims (source, key) AS (VALUES {','.join(['(?,?)'] * size)}) SELECT keys.source, keys.key, event_id, "
        "(SELECT outcome = 'ignored' FROM events WHERE id = event_id) "
        "FROM claims CROSS JOIN keys ON keys.source = claims.source AND keys.key = claims.key"
    )
