"""How a value inside a body is replaced while every other byte stays as it was."""

import dataclasses
import json
import re
from urllib.parse import quote_plus, unquote_plus

from relay.model.event import Capture
from relay.model.payload import PayloadError, parse_json

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def with_body(capture: Capture, body: bytes) -> Capture:
    """Return the capture with other body bytes and, where it names one, the right length."""
    headers = tuple(
        (name, str(len(body)) if name.lower() == "content-length" else value)
        for name, value in capture.headers
    )
    return dataclasses.replace(capture, body=body, headers=headers)


def with_header(capture: Capture, names: tuple[str, ...], value: str) -> Capture:
    """Return the capture with one header set, where the first of `names` stood, else at the end.

    All other headers of those names go. The name keeps its spelling as received.
    """
    lower = [name.lower() for name in names]
    headers: list[tuple[str, str]] = []
    placed = False
    for name, old in capture.headers:
        if name.lower() not in lower:
            headers.append((name, old))
        elif not placed:
            headers.append((name, value))
            placed = True
    if not placed:
        headers.append((names[0], value))
    return dataclasses.replace(capture, headers=tuple(headers))


def json_value(body: bytes, path: tuple[str | int, ...], value: str | int) -> bytes | None:
    """Return the JSON body with the value at `path` replaced or added; None where there is no such place.

    A value that is there already is replaced in the text itself: all other bytes stay.
    """
    try:
        text = body.decode()
        start, end = _span(text, path)
    except (ValueError, RecursionError, KeyError):
        return _added(body, path, value)
    return (text[:start] + json.dumps(value) + text[end:]).encode()


def form_value(body: bytes, name: str, value: str) -> bytes:
    """Return the form body with one field replaced where it stood, or added at the end."""
    field = f"{quote_plus(name)}={quote_plus(value, errors='surrogateescape')}"
    pairs = body.decode("latin-1").split("&") if body else []
    kept = [field if unquote_plus(pair.partition("=")[0]) == name else pair for pair in pairs]
    return "&".join(kept if field in kept else [*kept, field]).encode("latin-1")


def query_value(text: str, name: str, value: str) -> str:
    """Return a query (without `?`) with one parameter replaced where it stood, or added at the end."""
    return form_value(text.encode("latin-1", "replace"), name, value).decode("latin-1")


def _span(text: str, path: tuple[str | int, ...]) -> tuple[int, int]:
    """Return where the value at `path` starts and ends; the last one of equal keys, as parsers read it."""
    start, end = _skip(text, 0), len(text)
    for key in path:
        find = _element if isinstance(key, int) else _member
        start, end = find(text, start, key)
    return start, end


def _element(text: str, start: int, wanted: object) -> tuple[int, int]:
    if text[start : start + 1] != "[":
        raise KeyError(wanted)
    at, position = _skip(text, start + 1), 0
    while text[at : at + 1] not in ("]", ""):
        value_at = at
        _, at = _DECODER.raw_decode(text, value_at)
        if position == wanted:
            return value_at, at
        at, position = _skip(text, _skip(text, at) + 1), position + 1
    raise KeyError(wanted)


def _member(text: str, start: int, wanted: object) -> tuple[int, int]:
    if text[start : start + 1] != "{":
        raise KeyError(wanted)
    found: tuple[int, int] | None = None
    at = _skip(text, start + 1)
    while text[at : at + 1] == '"':
        key, at = _DECODER.raw_decode(text, at)
        value_at = _skip(text, _skip(text, at) + 1)
        _, at = _DECODER.raw_decode(text, value_at)
        if key == wanted:
            found = (value_at, at)
        at = _skip(text, _skip(text, at) + 1)
    if found is None:
        raise KeyError(wanted)
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _added(body: bytes, path: tuple[str | int, ...], value: str | int) -> bytes | None:
    try:
        root = parse_json(body)
    except PayloadError:
        return None
    here = root
    for key in path[:-1]:
        if isinstance(here, list) and isinstance(key, int) and key < len(here):
            here = here[key]
        elif isinstance(here, dict):
            here = here.setdefault(key, {})
        else:
            return None
    if not isinstance(here, dict):
        return None
    here[path[-1]] = value
    return json.dumps(root, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
