"""Search: a query of the search language as SQL."""

import json
from dataclasses import dataclass
from typing import Any

from relay.model.numbers import spans
from relay.model.search import COMPARISON, Query, Term, size_limit
from relay.store.rows import to_micros
from relay.store.searchable import COLUMNS, WORD, has_unindexed

_SHORT = 100  # numbers of a range that are looked up one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A query as SQL: the table to walk, and what must hold."""

    table: str
    where: tuple[str, ...]
    parameters: tuple[Any, ...]

    @property
    def opens_bodies(self) -> bool:
        """Say whether finding out means reading the bytes of each event."""
        return any("event_bytes" in clause for clause in self.where)

    @property
    def everything(self) -> bool:
        """Say whether nothing is filtered at all."""
        return not self.where


def compile_query(query: Query) -> Compiled:
    """Turn a query into SQL over `events` (and `words` where it has plain words).

    Each term becomes a condition; one that cannot be read holds for no event.
    """
    where: list[str] = []
    parameters: list[Any] = []
    table = "events"
    matches = [expression for term in query.terms if (expression := _expression(term))]
    if matches:
        table = "words JOIN events ON events.id = words.rowid"
        where.append("words MATCH ?")
        parameters.append(" AND ".join(matches))
    for term in query.terms:
        if _expression(term) and not _is_phrase(term):
            continue
        clause, values = _condition(term)
        where.append(clause)
        parameters += values
    return Compiled(table=table, where=tuple(where), parameters=tuple(parameters))


def _expression(term: Term) -> str:
    """Return what the index is asked for a term that it must hold, or for each of its alternatives; "" for others."""
    if term.any_of:
        parts = [_expression(one) for one in term.any_of]
        whole = all(parts) and not any(_is_phrase(one) for one in term.any_of)
        return f"({' OR '.join(f'({part})' for part in parts)})" if whole else ""
    if term.key or term.negated or term.problem or has_unindexed(term.value):
        return ""
    return _words(term)


def _words(term: Term) -> str:
    # The last word may be unfinished, because people search while they type.
    *found, last = WORD.findall(term.value)
    return " AND ".join([*(f'"{word}"' for word in found), f'"{last}"' + ("" if term.closed else " *")])


def _is_phrase(term: Term) -> bool:
    # A single word is one for the index alone.
    return not term.key and term.quoted and WORD.fullmatch(term.value.strip()) is None


def _condition(term: Term) -> tuple[str, list[Any]]:
    if term.problem:
        return "0", []
    if term.any_of:
        found = [_condition(one) for one in term.any_of]
        clauses = " OR ".join(clause for clause, _ in found)
        return f"({clauses})", [value for _, values in found for value in values]
    clause, values = _clause(term) if term.key else _text(term)
    return f"NOT ({clause})" if term.negated else clause, values


def _text(term: Term) -> tuple[str, list[Any]]:
    if has_unindexed(term.value):
        return _in_bytes(f"text_matches(?, {_TEXT})"), [term.value]
    indexed = "events.id IN (SELECT rowid FROM words WHERE words MATCH ?)"
    if not _is_phrase(term):
        return indexed, [_words(term)]
    # The index keeps no positions (detail = none), which would make it twice as large.
    adjacent = _in_bytes(f"phrase_matches(?, ?, {_TEXT})")
    return f"({indexed} AND {adjacent})", [_words(term), term.value, int(term.closed)]


_TEXT = COLUMNS.replace(" AS body", "")

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
    if key in _COLUMNS:
        return _column(key, value)
    return _OTHERS[key](value) if key in _OTHERS else _bytes(term)


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
    column = _COLUMNS[key]
    value = value.upper() if key == "method" else value
    return _named(column, value.lower() if key in ("verdict", "outcome") else value)


def _named(column: str, value: str) -> tuple[str, list[Any]]:
    if set(value) & set("*?"):
        return f"{column} GLOB ?", [value.replace("[", "[[]")]
    return f"{column} = ?", [value]


def _type(value: str) -> tuple[str, list[Any]]:
    # A request that holds several events has the types of all; for most there is no list to look at.
    clause, values = _named("events.type", value)
    one, _ = _named("one.value", value)
    several = f"types IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(types) AS one WHERE {one})"
    return f"({clause} OR ({several}))", [*values, *values]


def _bytes(term: Term) -> tuple[str, list[Any]]:
    family, _, name = term.key.partition(".")
    if family == "header":
        return _in_bytes("header_matches(headers, ?, ?)"), [name, term.value]
    how = "compares" if COMPARISON.fullmatch(term.value) and not term.quoted else "fits"
    if family == "query":
        return f"query_{how}(query, ?, ?)", [name, term.value]
    return _in_bytes(f"payload_{how}(headers, body, query, ?, ?)"), [name, term.value]


def _in_bytes(test: str) -> str:
    return f"EXISTS (SELECT 1 FROM event_bytes WHERE event_id = events.id AND {test})"


def _path(value: str) -> tuple[str, list[Any]]:
    return "path_matches(path, ?)", [value]


def _target(value: str) -> tuple[str, list[Any]]:
    clause, values = _named("target", value)
    deliveries = f"SELECT 1 FROM deliveries WHERE event_id = events.id AND lab IS NULL AND {clause}"
    return f"EXISTS ({deliveries})", values


def _size(value: str) -> tuple[str, list[Any]]:
    operator, limit = size_limit(value) or ("=", -1)
    return f"size {operator} ?", [limit]


def _status(value: str) -> tuple[str, list[Any]]:
    if value.lower().endswith("xx"):
        low = int(value[0]) * 100
        return "events.status BETWEEN ? AND ?", [low, low + 99]
    operator = value.rstrip("0123456789") or "="
    return f"events.status {operator} ?", [int(value[len(operator) if operator != "=" else 0 :])]


_OTHERS = {
    "type": _type,
    "status": _status,
    "id": _numbers,
    "path": _path,
    "target": _target,
    "size": _size,
}
