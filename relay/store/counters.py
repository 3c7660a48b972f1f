"""Counters by the minute, updated in the transactions that they count: none is counted twice or lost."""

import sqlite3
from collections.abc import Iterable

from relay.model.counters import TYPED_ADDRESS, CounterLabel, CounterValue
from relay.store.readers import Repository

_FOLDED = 5000  # rows moved in one commit
_COLUMNS = "minute, kind, source, name, result, reason, bucket"
_INSERT = (
    f"INSERT INTO tallies ({_COLUMNS}, count, took) VALUES (?,?,?,?,?,?,?,?,?) "
    f"ON CONFLICT ({_COLUMNS}) DO UPDATE SET count = count + excluded.count, took = took + excluded.took"
)


class Counters(Repository):
    """Reads and writes counters."""

    async def add(self, tallies: Iterable[CounterValue]) -> None:
        """Add counts that belong to no other transaction."""
        listed = tuple(tallies)
        await self._writer.write(lambda connection: add_counts(connection, listed))

    async def since(self, minute: int, step: int = 1) -> tuple[CounterValue, ...]:
        """Return the counts from a minute (since 1970) on, summed by `step` minutes under the first of them."""
        found = await self._readers.all(
            "SELECT minute / ?1 * ?1 AS start, kind, source, name, result, reason, bucket, SUM(count), SUM(took) "
            "FROM tallies WHERE minute >= ?2 GROUP BY start, kind, source, name, result, reason, bucket",
            (step, minute),
            deadline=5.0,
        )
        return tuple(CounterValue(CounterLabel(*row[:7]), row[7], row[8]) for row in found)

    async def totals(self) -> tuple[CounterValue, ...]:
        """Return all counts ever, under minute 0."""
        return await self.since(0, step=2**62)

    async def dead_letters(self) -> dict[str, int]:
        """Return how many deliveries failed permanently, by target; those to typed addresses together."""
        found = await self._readers.all(
            f"SELECT CASE WHEN target LIKE '%://%' THEN '{TYPED_ADDRESS}' ELSE target END AS name, COUNT(*) "
            "FROM deliveries WHERE state = 'failed' AND lab IS NULL GROUP BY name"
        )
        return {row[0]: row[1] for row in found}

    async def fold(self, before: int) -> int:
        """Move counts from before a minute into minute 0, a few rows at a time; return how many rows."""

        def step(connection: sqlite3.Connection) -> int:
            old = connection.execute(
                f"SELECT {_COLUMNS}, count, took FROM tallies WHERE minute > 0 AND minute < ? LIMIT ?",
                (before, _FOLDED),
            ).fetchall()
            connection.executemany(_INSERT, [(0, *row[1:]) for row in old])
            connection.executemany(
                "DELETE FROM tallies WHERE minute = ? AND kind = ? AND source = ? AND name = ? AND result = ? "
                "AND reason = ? AND bucket = ?",
                [tuple(row[:7]) for row in old],
            )
            return len(old)

        return await self._writer.write(step)


def add_counts(connection: sqlite3.Connection, tallies: Iterable[CounterValue]) -> None:
    """Add counts within the current transaction; equal labels are summed first."""
    summed: dict[CounterLabel, tuple[int, float]] = {}
    for tally in tallies:
        number, took = summed.get(tally.label, (0, 0.0))
        summed[tally.label] = (number + tally.number, took + tally.took)
    connection.executemany(_INSERT, [(*label, *sums) for label, sums in summed.items()])
