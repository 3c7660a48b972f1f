"""Search: a query of the search language as SQL, and the words behind it indexed off the hot path."""

import asyncio
import json
import re
import sqlite3
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from relay.model.numbers import spans
from relay.model.payload import Payload
from relay.model.search import Query, Term
from relay.store.reader import Readers
from relay.store.rows import load_headers, to_micros
from relay.store.writer import Writer

BATCH = 200  # events indexed in one commit: about 10 ms of the writer's time
INDEXED_BODY = 256 * 1024  # bytes of a body whose words are found
_SHORT = 100  # numbers of a range that are looked up one by one
_WORD = re.compile(r"[^\W_]+")
_COMPARISON = re.compile(r"(>=|<=|>|<)(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A query as SQL: the table to walk, what must hold, and whether that means looking at bodies."""

    table: str
    where: tuple[str, ...]
    parameters: tuple[Any, ...]

    @property
    def everything(self) -> bool:
        """Say whether nothing is filtered at all."""
        return not self.where


def compile_query(query: Query) -> Compiled:
    """Turn a query into SQL over `events` (and `words` where it has plain words)."""
    where: list[str] = []
    parameters: list[Any] = []
    table = "events"
    wanted = _match([term.value for term in query.words if not term.negated])
    if wanted:
        table = "words JOIN events ON events.id = words.rowid"
        where.append("words MATCH ?")
        parameters.append(wanted)
    for term in query.words:
        unwanted = _match([term.value]) if term.negated else ""
        if unwanted:
            where.append("events.id NOT IN (SELECT rowid FROM words WHERE words MATCH ?)")
            parameters.append(unwanted)
    for term in query.filters:
        clause, values = _clause(term)
        where.append(f"NOT ({clause})" if term.negated else clause)
        parameters += values
    return Compiled(table=table, where=tuple(where), parameters=tuple(parameters))


class Indexer:
    """Fills the full-text index behind the commits: inside them it would cost a third of the throughput."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._turn = asyncio.Lock()

    async def catch_up(self) -> int:
        """Index everything stored so far and return how many events that were."""
        done = 0
        while count := await self.step():
            done += count
        return done

    async def step(self) -> int:
        """Index one batch and return how many events it held; 0 means there is nothing left."""
        async with self._turn:
            row = await self._readers.one("SELECT value FROM counters WHERE name = 'indexed_to'")
            reached = row[0] if row else 0
            rows = await self._readers.all(
                "SELECT id, type, path, headers, substr(body, 1, ?) AS body FROM events "
                "JOIN event_bytes ON event_id = id WHERE id > ? ORDER BY id LIMIT ?",
                (INDEXED_BODY, reached, BATCH),
            )
            if not rows:
                return 0
            texts = [(row["id"], indexed_text(row)) for row in rows]
            await self._writer.write(lambda connection: _index(connection, texts))
            return len(rows)


def header_matches(headers: bytes, name: str, pattern: str) -> int:
    """Say whether a header of that name fits the pattern; called from SQL."""
    return int(
        any(key.lower() == name and _fits(value, pattern) for key, value in load_headers(headers)),
    )


def payload_matches(headers: bytes, body: bytes, query: bytes, path: str, pattern: str) -> int:
    """Say whether the value at a dotted path of the payload fits the pattern; called from SQL."""
    payload = Payload.of_request(load_headers(headers), body, query.decode("latin-1"))
    value = payload.at(*[key for key in re.split(r"[.\[\]]+", path) if key])
    if value is None:
        value = dict(payload.fields).get(path)
    return int(_compares(value, pattern))


def _compares(value: object, pattern: str) -> bool:
    comparison = _COMPARISON.fullmatch(pattern)
    if comparison:
        try:
            left, right = float(str(value)), float(comparison[2])
        except ValueError:
            return False
        return {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[comparison[1]]
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null") == pattern.lower()
    return not isinstance(value, dict | list) and _fits(str(value), pattern)


def _fits(value: str, pattern: str) -> bool:
    return fnmatchcase(value.lower(), pattern.lower().replace("[", "[[]"))


def _match(texts: list[str]) -> str:
    # The index keeps no positions (detail=none), so a phrase is looked up as its words; the last
    # one may be unfinished, because people search while they type.
    parts: list[str] = []
    for text in texts:
        found = _WORD.findall(text)
        parts += [f'"{word}"' for word in found[:-1]]
        parts += [f'"{word}" *' for word in found[-1:]]
    return " AND ".join(parts)


_STATES = ("failed", "pending", "running", "succeeded", "cancelled")
_OF_STATE = "events.id IN (SELECT event_id FROM deliveries WHERE state = '{}' AND lab IS NULL)"
_HAS = {
    **{state: _OF_STATE.format(state) for state in _STATES},
    "note": "note != ''",
    "message": "events.id IN (SELECT event_id FROM messages)",
}
_IS = {
    "duplicate": "duplicate_of IS NOT NULL",
    "replay": "events.id IN (SELECT event_id FROM deliveries WHERE deliveries.reason = 'replay')",
    "sample": "sample = 1",
    "pinned": "pinned = 1",
    "handshake": "type = 'handshake'",
    "recovered": "recovered = 1",
}
_COLUMNS = {
    "source": "events.source",
    "provider": "events.provider",
    "type": "events.type",
    "verdict": "verdict",
    "outcome": "outcome",
    "reason": "events.reason",
    "method": "method",
    "key": "idempotency_key",
}


def _clause(term: Term) -> tuple[str, list[Any]]:
    key, value = term.key, term.value
    if key in ("has", "is"):
        return (_HAS if key == "has" else _IS)[value.lower()], []
    if key in ("after", "before"):
        moment = to_micros(term.moment) if term.moment else 0
        return f"received_at {'>=' if key == 'after' else '<'} ?", [moment]
    if key == "status":
        return _status(value)
    if key == "id":
        return _numbers(value)
    return _column(key, value) if key in _COLUMNS else _bytes(key, value)


def _numbers(value: str) -> tuple[str, list[Any]]:
    # One lookup for all single numbers: an OR for each would go as deep as SQLite lets expressions go.
    single: list[int] = []
    ranges: list[int] = []
    for low, high in spans(value):
        if high is not None and high - low < _SHORT:
            single += range(low, high + 1)
        else:
            ranges += (low, 2**62 if high is None else high)
    clauses = ["events.id BETWEEN ? AND ?"] * (len(ranges) // 2)
    values: list[Any] = [*ranges]
    if single:
        clauses.append("events.id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(single))
    return f"({' OR '.join(clauses) or '0'})", values


def _column(key: str, value: str) -> tuple[str, list[Any]]:
    if key == "type":
        return _type(value)
    column = _COLUMNS[key]
    value = value.upper() if key == "method" else value
    if set(value) & set("*?"):
        return f"{column} GLOB ?", [value.replace("[", "[[]")]
    return f"{column} = ?", [value.lower() if key in ("verdict", "outcome") else value]


def _type(value: str) -> tuple[str, list[Any]]:
    # A request that holds several events has the types of all; for most there is no list to look at.
    fits = "GLOB ?" if set(value) & set("*?") else "= ?"
    wanted = value.replace("[", "[[]") if fits == "GLOB ?" else value
    clause = (
        f"(events.type {fits} OR (types IS NOT NULL AND "
        f"EXISTS (SELECT 1 FROM json_each(types) AS one WHERE one.value {fits})))"
    )
    return clause, [wanted, wanted]


def _bytes(key: str, value: str) -> tuple[str, list[Any]]:
    kind, _, name = key.partition(".")
    test = (
        "header_matches(headers, ?, ?)" if kind == "header" else "payload_matches(headers, body, query, ?, ?)"
    )
    return f"EXISTS (SELECT 1 FROM event_bytes WHERE event_id = events.id AND {test})", [name, value]


def _status(value: str) -> tuple[str, list[Any]]:
    if value.lower().endswith("xx"):
        low = int(value[0]) * 100
        return "events.status BETWEEN ? AND ?", [low, low + 99]
    operator = value.rstrip("0123456789") or "="
    return f"events.status {operator} ?", [int(value[len(operator) if operator != "=" else 0 :])]


def indexed_text(row: sqlite3.Row) -> str:
    """Return the text whose words are indexed for an event; the same for as long as the event is there."""
    parts = [row["type"], row["path"].decode("utf-8", "replace")]
    parts += [f"{name} {value}" for name, value in load_headers(row["headers"])]
    parts.append((row["body"] or b"").decode("utf-8", "replace"))  # substr() of an empty blob is NULL
    return "\n".join(parts).replace("\0", " ").encode("utf-8", "replace").decode()


def _index(connection: sqlite3.Connection, texts: list[tuple[int, str]]) -> None:
    row = connection.execute("SELECT value FROM counters WHERE name = 'indexed_to'").fetchone()
    fresh = [pair for pair in texts if pair[0] > row[0]]
    if fresh:
        connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", fresh)
        connection.execute("UPDATE counters SET value = ? WHERE name = 'indexed_to'", (fresh[-1][0],))
