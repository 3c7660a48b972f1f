"""Search: a query of the search language as SQL."""

import json
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from urllib.parse import unquote

from relay.model.parsing import PayloadError, parse_form
from relay.model.payload import Payload
from relay.model.search import COMPARISON, Query, Term, parse_size_limit, parse_spans
from relay.model.text import decode_header_text, decode_text
from relay.model.values import dataclass
from relay.store.full_text import (
    TEXT_COLUMNS,
    WORD_PATTERN,
    build_searchable_text,
    contains_phrase,
    contains_text,
    has_unindexed,
)
from relay.store.row_mappers import load_headers, to_micros

_MAX_ENUMERATED = 100  # size up to which the numbers of a range are looked up individually


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledQuery:
    """A query as SQL: the table to scan and the conditions."""

    table: str
    where: tuple[str, ...]
    parameters: tuple[Any, ...]

    @property
    def opens_bodies(self) -> bool:
        """Return whether the conditions have to read the bytes of each event."""
        return any("event_bytes" in clause for clause in self.where)

    @property
    def everything(self) -> bool:
        """Return whether the query has no filter."""
        return not self.where


def compile_query(query: Query) -> CompiledQuery:
    """Turn a query into SQL over `events` (and `words` where it has plain words).

    Each term becomes a condition; one that cannot be read holds for no event.
    """
    where: list[str] = []
    parameters: list[Any] = []
    table = "events"
    matches = [expression for term in query.terms if (expression := _build_match(term))]
    if matches:
        table = "words JOIN events ON events.id = words.rowid"
        where.append("words MATCH ?")
        parameters.append(" AND ".join(matches))
    for term in query.terms:
        if _build_match(term) and not _is_phrase(term):
            continue
        clause, values = _build_condition(term)
        where.append(clause)
        parameters += values
    return CompiledQuery(table=table, where=tuple(where), parameters=tuple(parameters))


def _build_match(term: Term) -> str:
    """Return the full-text expression for a term and its alternatives; "" if it has none."""
    if term.any_of:
        parts = [_build_match(one) for one in term.any_of]
        whole = all(parts) and not any(_is_phrase(one) for one in term.any_of)
        return f"({' OR '.join(f'({part})' for part in parts)})" if whole else ""
    if term.key or term.negated or term.problem or has_unindexed(term.value):
        return ""
    return _match_words(term)


def _match_words(term: Term) -> str:
    # The last word may be incomplete, because people search while they type.
    *found, last = WORD_PATTERN.findall(term.value)
    return " AND ".join([*(f'"{word}"' for word in found), f'"{last}"' + ("" if term.closed else " *")])


def _is_phrase(term: Term) -> bool:
    # A single word needs only the index.
    return not term.key and term.quoted and WORD_PATTERN.fullmatch(term.value.strip()) is None


def _build_condition(term: Term) -> tuple[str, list[Any]]:
    if term.problem:
        return "0", []
    if term.any_of:
        found = [_build_condition(one) for one in term.any_of]
        clauses = " OR ".join(clause for clause, _ in found)
        return f"({clauses})", [value for _, values in found for value in values]
    clause, values = _build_clause(term) if term.key else _build_text_condition(term)
    return f"NOT ({clause})" if term.negated else clause, values


def _build_text_condition(term: Term) -> tuple[str, list[Any]]:
    if has_unindexed(term.value):
        return _in_bytes(f"text_matches(?, {_TEXT})"), [term.value]
    indexed = "events.id IN (SELECT rowid FROM words WHERE words MATCH ?)"
    if not _is_phrase(term):
        return indexed, [_match_words(term)]
    # The index has no positions (detail = none), which would double its size.
    adjacent = _in_bytes(f"phrase_matches(?, ?, {_TEXT})")
    return f"({indexed} AND {adjacent})", [_match_words(term), term.value, int(term.closed)]


_TEXT = TEXT_COLUMNS.replace(" AS body", "")

_STATES = ("failed", "pending", "running", "succeeded", "cancelled")
_OF_STATE = "events.id IN (SELECT event_id FROM deliveries WHERE state = '{}' AND lab IS NULL)"
_HAS = {
    **{state: _OF_STATE.format(state) for state in _STATES},
    "note": "note != ''",
    "message": "events.id IN (SELECT event_id FROM messages)",
}
_IS = {
    "duplicate": "(duplicate_of IS NOT NULL OR outcome = 'duplicate')",  # an imported event does not name its original
    "replay": "events.id IN (SELECT event_id FROM deliveries WHERE deliveries.reason = 'replay')",
    "sample": "sample = 1",
    "pinned": "pinned = 1",
    "handshake": "type = 'handshake'",
    "recovered": "recovered = 1",
}


def _build_clause(term: Term) -> tuple[str, list[Any]]:
    if term.key in ("after", "before"):
        moment = to_micros(term.moment) if term.moment else 0
        return f"received_at {'>=' if term.key == 'after' else '<'} ?", [moment]
    return _CLAUSES[term.key](term.value) if term.key in _CLAUSES else _build_bytes_clause(term)


def _build_number_clause(value: str) -> tuple[str, list[Any]]:
    # One lookup for all single numbers: an OR for each would reach SQLite's limit for expression depth.
    single: list[int] = []
    ranges: list[int] = []
    for low, high in parse_spans(value):
        if high is not None and high - low < _MAX_ENUMERATED:
            single += range(low, high + 1)
        else:
            ranges += (low, 2**62 if high is None else high)
    clauses = ["events.id BETWEEN ? AND ?"] * (len(ranges) // 2)
    values: list[Any] = [*ranges]
    if single:
        clauses.append("events.id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(single))
    return f"({' OR '.join(clauses) or '0'})", values


def _match_name(column: str, value: str) -> tuple[str, list[Any]]:
    if set(value) & set("*?"):
        return f"{column} GLOB ?", [value.replace("[", "[[]")]
    return f"{column} = ?", [value]


def _build_type_clause(value: str) -> tuple[str, list[Any]]:
    # A request with several events has the types of all of them; most requests have no such list.
    clause, values = _match_name("events.type", value)
    one, _ = _match_name("one.value", value)
    several = f"types IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(types) AS one WHERE {one})"
    return f"({clause} OR ({several}))", [*values, *values]


def _build_bytes_clause(term: Term) -> tuple[str, list[Any]]:
    family, _, name = term.key.partition(".")
    if family == "header":
        return _in_bytes("header_matches(headers, ?, ?)"), [name, term.value]
    how = "compares" if COMPARISON.fullmatch(term.value) and not term.quoted else "fits"
    if family == "query":
        return f"query_{how}(query, ?, ?)", [name, term.value]
    return _in_bytes(f"payload_{how}(headers, body, query, ?, ?)"), [name, term.value]


def _in_bytes(test: str) -> str:
    return f"EXISTS (SELECT 1 FROM event_bytes WHERE event_id = events.id AND {test})"


def _build_target_clause(value: str) -> tuple[str, list[Any]]:
    clause, values = _match_name("target", value)
    deliveries = f"SELECT 1 FROM deliveries WHERE event_id = events.id AND lab IS NULL AND {clause}"
    return f"EXISTS ({deliveries})", values


def _build_size_clause(value: str) -> tuple[str, list[Any]]:
    sign, limit = parse_size_limit(value) or ("=", -1)
    return f"size {sign} ?", [limit]


def _build_status_clause(value: str) -> tuple[str, list[Any]]:
    if value.lower().endswith("xx"):
        low = int(value[0]) * 100
        return "events.status BETWEEN ? AND ?", [low, low + 99]
    sign = value.rstrip("0123456789")
    return f"events.status {sign or '='} ?", [int(value[len(sign) :])]


_CLAUSES: dict[str, Callable[[str], tuple[str, list[Any]]]] = {
    "has": lambda value: (_HAS[value.lower()], []),
    "is": lambda value: (_IS[value.lower()], []),
    "source": partial(_match_name, "events.source"),
    "provider": partial(_match_name, "events.provider"),
    "reason": partial(_match_name, "events.reason"),
    "key": partial(_match_name, "idempotency_key"),
    "verdict": lambda value: _match_name("verdict", value.lower()),
    "outcome": lambda value: _match_name("outcome", value.lower()),
    "method": lambda value: _match_name("method", value.upper()),
    "path": lambda value: ("path_matches(path, ?)", [value]),
    "type": _build_type_clause,
    "status": _build_status_clause,
    "id": _build_number_clause,
    "target": _build_target_clause,
    "size": _build_size_clause,
}


_NUMBER = re.compile(r"[+-]?\d{1,5000}(?:\.\d{1,5000})?(?:[eE][+-]?\d{1,4})?")
_MISSING = object()
_OPERATORS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def path_matches(path: bytes, pattern: str) -> bool:
    """Return whether a path matches the pattern, as received or unescaped."""
    text = decode_text(path)
    return any(fnmatchcase(shown, pattern.replace("[", "[[]")) for shown in (text, unquote(text)))


def header_matches(headers: bytes, name: str, pattern: str) -> bool:
    """Return whether a header of that name matches the pattern."""
    return any(
        key.lower() == name and _matches_pattern(decode_header_text(value), pattern)
        for key, value in load_headers(headers)
    )


def query_fits(query: bytes, name: str, pattern: str) -> bool:
    """Return whether a query parameter of that name matches the pattern."""
    return any(_matches_pattern(value, pattern) for value in _find_parameters(query, name))


def query_compares(query: bytes, name: str, comparison: str) -> bool:
    """Return whether a query parameter of that name satisfies a comparison such as `>10`."""
    return any(_compares(value, comparison) for value in _find_parameters(query, name))


def payload_fits(headers: bytes, body: bytes, query: bytes, path: str, pattern: str) -> bool:
    """Return whether a value at a dotted path of the payload matches the pattern."""
    return any(_equals(value, pattern) for value in _find_values(headers, body, query, path))


def payload_compares(headers: bytes, body: bytes, query: bytes, path: str, comparison: str) -> bool:
    """Return whether a value at a dotted path of the payload satisfies a comparison."""
    return any(_compares(value, comparison) for value in _find_values(headers, body, query, path))


def text_matches(phrase: str, *columns: Any) -> bool:
    """Return whether an event contains a text exactly; `columns` are those of its searchable text."""
    return contains_text(build_searchable_text(*columns), phrase)


def phrase_matches(phrase: str, closed: int, *columns: Any) -> bool:
    """Return whether an event contains a phrase; its last word may be a prefix unless `closed`."""
    return contains_phrase(build_searchable_text(*columns), phrase, closed=bool(closed))


SQL_FUNCTIONS: tuple[Callable[..., bool], ...] = (
    path_matches,
    header_matches,
    query_fits,
    query_compares,
    payload_fits,
    payload_compares,
    text_matches,
    phrase_matches,
)
"""What is called by its own name in SQL."""


def _find_parameters(query: bytes, name: str) -> tuple[str, ...]:
    try:
        return tuple(value for key, value in parse_form(query) if key == name)
    except PayloadError:
        return ()


def _find_values(headers: bytes, body: bytes, query: bytes, path: str) -> tuple[object, ...]:
    payload = Payload.of_request(load_headers(headers), body, query.decode("latin-1"), exact=True)
    keys = _split_path(path)
    value = payload.at(*keys, missing=_MISSING)
    # A form's fields may be repeated, and named like `user[email]`.
    fields = tuple(text for name, text in payload.fields if name == path or _split_path(name) == keys)
    return fields if value is _MISSING else (value, *fields)


def _split_path(path: str) -> list[str]:
    return [key for key in re.split(r"[.\[\]]+", path) if key]


def _equals(value: object, pattern: str) -> bool:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null") == pattern.lower()
    if isinstance(value, int | Decimal) and _NUMBER.fullmatch(pattern):
        return value == Decimal(pattern)
    return not isinstance(value, dict | list) and _matches_pattern(str(value), pattern)


def _compares(value: object, comparison: str) -> bool:
    match, number = COMPARISON.fullmatch(comparison), _parse_number(value)
    return match is not None and number is not None and _OPERATORS[match[1]](number, Decimal(match[2]))


def _parse_number(value: object) -> Decimal | None:
    # As a float, 9007199254740993 would equal 9007199254740992.
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    text = str(value)
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _matches_pattern(value: str, pattern: str) -> bool:
    return fnmatchcase(value.lower(), pattern.lower().replace("[", "[[]"))
