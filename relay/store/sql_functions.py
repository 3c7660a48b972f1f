"""Whether one event fits a filter that no index knows: functions that are called from SQL."""

import re
from collections.abc import Callable
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from relay.model.parsing import PayloadError, parse_form
from relay.model.payload import Payload
from relay.model.search import COMPARISON
from relay.model.text import decode_header_text, decode_text
from relay.store.full_text import build_searchable_text, contains_phrase, contains_text
from relay.store.row_mappers import load_headers

_NUMBER = re.compile(r"[+-]?\d{1,5000}(?:\.\d{1,5000})?(?:[eE][+-]?\d{1,4})?")
_MISSING = object()


def path_matches(path: bytes, pattern: str) -> bool:
    """Say whether a path fits the pattern, as it came or with its escapes undone."""
    text = decode_text(path)
    return any(fnmatchcase(shown, pattern.replace("[", "[[]")) for shown in (text, unquote(text)))


def header_matches(headers: bytes, name: str, pattern: str) -> bool:
    """Say whether a header of that name fits the pattern."""
    return any(
        key.lower() == name and _matches_pattern(decode_header_text(value), pattern)
        for key, value in load_headers(headers)
    )


def query_fits(query: bytes, name: str, pattern: str) -> bool:
    """Say whether a parameter of that name fits the pattern."""
    return any(_matches_pattern(value, pattern) for value in _find_parameters(query, name))


def query_compares(query: bytes, name: str, comparison: str) -> bool:
    """Say whether a parameter of that name is a number for which a comparison such as `>10` holds."""
    return any(_compares(value, comparison) for value in _find_parameters(query, name))


def payload_fits(headers: bytes, body: bytes, query: bytes, path: str, pattern: str) -> bool:
    """Say whether a value at a dotted path of the payload fits the pattern."""
    return any(_equals(value, pattern) for value in _find_values(headers, body, query, path))


def payload_compares(headers: bytes, body: bytes, query: bytes, path: str, comparison: str) -> bool:
    """Say whether a value at a dotted path of the payload is a number for which a comparison holds."""
    return any(_compares(value, comparison) for value in _find_values(headers, body, query, path))


def text_matches(wanted: str, *columns: Any) -> bool:
    """Return whether an event holds a text letter for letter; `columns` are those of its searchable text."""
    return contains_text(build_searchable_text(*columns), wanted)


def phrase_matches(wanted: str, closed: int, *columns: Any) -> bool:
    """Say whether words follow each other in an event; the last may go on unless `closed`."""
    return contains_phrase(build_searchable_text(*columns), wanted, closed=bool(closed))


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
    # A form's fields may be there several times, and be called `user[email]`.
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
    return match is not None and number is not None and _compare(match[1], number, Decimal(match[2]))


def _parse_number(value: object) -> Decimal | None:
    # A float would take 9007199254740993 for 9007199254740992.
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    text = str(value)
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _compare(operator: str, left: Decimal, right: Decimal) -> bool:
    return {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[operator]


def _matches_pattern(value: str, pattern: str) -> bool:
    return fnmatchcase(value.lower(), pattern.lower().replace("[", "[[]"))
