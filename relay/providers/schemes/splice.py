"""How a value inside a body is replaced while every other byte stays as it was."""

import dataclasses
import json
from urllib.parse import quote_plus, unquote_plus

from relay.model.event import Capture
from relay.model.json_edit import PathError, splice_json
from relay.model.payload import PayloadError


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

    All other bytes stay.
    """
    try:
        return splice_json(body, path, lambda _: json.dumps(value).encode()).apply(body)
    except (PayloadError, PathError):
        return None


def form_value(body: bytes, name: str, value: str) -> bytes:
    """Return the form body with one field replaced where it stood, or added at the end."""
    field = f"{quote_plus(name)}={quote_plus(value, errors='surrogateescape')}"
    pairs = body.decode("latin-1").split("&") if body else []
    kept = [field if unquote_plus(pair.partition("=")[0]) == name else pair for pair in pairs]
    return "&".join(kept if field in kept else [*kept, field]).encode("latin-1")


def query_value(text: str, name: str, value: str) -> str:
    """Return a query (without `?`) with one parameter replaced where it stood, or added at the end."""
    return form_value(text.encode("latin-1", "replace"), name, value).decode("latin-1")
