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
from relay.model.text import header_text, readable
from relay.store.rows import load_headers
from relay.store.searchable import phrase_holds, searchable_text, text_holds

_NUMBER = re.compile(r"[+-]?\d{1,5000}(?:\.\d{1,5000})?(?:[eE][+-]?\d{1,4})?")
_MISSING = object()


def path_matches(path: bytes, pattern: str) -> bool:
    """Say whether a path fits the pattern, as it came or with its escapes undone."""
    text = readable(path)
    return any(fnmatchcase(shown, pattern.replace("[", "[[]")) for shown in (text, unquote(text)))


def header_matches(headers: bytes, name: str, pattern: str) -> bool:
    """Say whether a header of that name fits the pattern."""
    return any(
        key.lower() == name and _fits(header_text(value), pattern) for key, value in load_headers(headers)
    )


def query_fits(query: bytes, name: str, pattern: str) -> bool:
    """Say whether a parameter of that name fits the pattern."""
    return any(_fits(value, pattern) for value in _parameters(query, name))


def query_compares(query: bytes, name: str, comparison: str) -> bool:
    """Say whether a parameter of that name is a number for which a comparison such as `>10` holds."""
    return any(_compares(value, comparison) for value in _parameters(query, name))


def payload_fits(headers: bytes, body: bytes, query: bytes, path: str, pattern: str) -> bool:
    """Say whether a value at a dotted path of the payload fits the pattern."""
    return any(_is(value, pattern) for value in _values(headers, body, query, path))


def payload_compares(headers: bytes, body: bytes, query: bytes, path: str, comparison: str) -> bool:
    """Say whether a value at a dotted path of the payload is a number for which a comparison holds."""
    return any(_compares(value, comparison) for value in _values(headers, body, query, path))


def text_matches(wanted: str, *columns: Any) -> bool:
    """Return whether an event holds a text letter for letter; `columns` are those of its searchable text."""
    return text_holds(searchable_text(*columns), wanted)


def phrase_matches(wanted: str, closed: int, *columns: Any) -> bool:
    """Say whether words stand in an event one after the other; the last may go on unless `closed`."""
    return phrase_holds(searchable_text(*columns), wanted, closed=bool(closed))


FUNCTIONS: tuple[Callable[..., bool], ...] = (
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


def _parameters(query: bytes, name: str) -> tuple[str, ...]:
    try:
        return tuple(value for key, value in parse_form(query) if key == name)
    except PayloadError:
        return ()


def _values(headers: bytes, body: bytes, query: bytes, path: str) -> tuple[object, ...]:
    payload = Payload.of_request(load_headers(headers), body, query.decode("latin-1"), exact=True)
    keys = _keys(path)
    value = payload.at(*keys, missing=_MISSING)
    # A form's fields may be there several times, and be called `user[email]`.
    fields = tuple(text for name, text in payload.fields if name == path or _keys(name) == keys)
    return fields if value is _MISSING else (value, *fields)


def _keys(path: str) -> list[str]:
    return [key for key in re.split(r"[.\[\]]+", path) if key]


def _is(value: object, pattern: str) -> bool:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null") == pattern.lower()
    if isinstance(value, int | Decimal) and _NUMBER.fullmatch(pattern):
        return value == Decimal(pattern)
    return not isinstance(value, dict | list) and _fits(str(value), pattern)


def _compares(value: object, comparison: str) -> bool:
    match, number = COMPARISON.fullmatch(comparison), _number(value)
    return match is not None and number is not None and _holds(match[1], number, Decimal(match[2]))


def _number(value: object) -> Decimal | None:
    # A float would take 9007199254740993 for 9007199254740992.
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    text = str(value)
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _holds(operator: str, left: Decimal, right: Decimal) -> bool:
    return {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[operator]


def _fits(value: str, pattern: str) -> bool:
    return fnmatchcase(value.lower(), pattern.lower().replace("[", "[[]"))
