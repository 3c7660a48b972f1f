"""A JSON or form body as it may have looked before something read it and wrote it again."""

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from relay.model.payload import PayloadError, parse_form, parse_json

LIMIT = 1_000_000  # bytes past which a body is not read and written again
_SPACES = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')
_HTML = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))


class Layout(NamedTuple):
    """One way to lay JSON out."""

    name: str
    separators: tuple[str, str]
    indent: int | str | None = None


_LAYOUTS = (
    Layout("compact", (",", ":")),
    Layout("spaced", (", ", ": ")),
    Layout("two-space indented", (",", ": "), 2),
    Layout("four-space indented", (",", ": "), 4),
    Layout("tab indented", (",", ": "), "\t"),
)


def minified(body: bytes) -> bytes:
    """Return JSON without the spaces between its parts, every text and number as it was written."""
    return _SPACES.sub(lambda match: match[1] or b"", body)


def json_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Return a JSON body in the layouts that senders use, each with its name; none when it is no JSON."""
    if len(body) > LIMIT:
        return
    try:
        value = parse_json(body)
    except PayloadError:
        return
    yield "compact", minified(body)
    if isinstance(value, str):
        yield "not wrapped in a JSON text", value.encode("utf-8", "surrogatepass")
    for keys_sorted in (False, True):
        for layout in _LAYOUTS:
            yield from _laid_out(value, layout, keys_sorted=keys_sorted)


def _laid_out(value: object, layout: Layout, *, keys_sorted: bool) -> Iterator[tuple[str, bytes]]:
    order = ", keys sorted" if keys_sorted else ""
    for ascii_only in (False, True):
        letters = ", \\u-escaped" if ascii_only else ""
        try:
            text = json.dumps(
                value,
                separators=layout.separators,
                indent=layout.indent,
                ensure_ascii=ascii_only,
                sort_keys=keys_sorted,
            )
        except (TypeError, ValueError, RecursionError):
            return
        name = f"{layout.name}{letters}{order}"
        for label, spelt in _spellings(text, name):
            encoded = spelt.encode("utf-8", "surrogatepass")
            yield label, encoded
            yield f"{label}, with a newline at its end", encoded + b"\n"


def _spellings(text: str, name: str) -> Iterator[tuple[str, str]]:
    yield name, text
    if "/" in text:
        # PHP's json_encode does this unless told otherwise.
        yield f"{name}, slashes escaped", text.replace("/", "\\/")
    escaped = text
    for letter, code in _HTML:
        escaped = escaped.replace(letter, code)
    if escaped != text:
        # Go's encoding/json does this unless told otherwise.
        yield f"{name}, HTML letters escaped", escaped


def form_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Return a form body in the ways that senders encode forms, each with its name."""
    if len(body) > LIMIT:
        return
    try:
        pairs = parse_form(body)
    except PayloadError:
        return
    ways: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("spaces as +", lambda text: quote_plus(text, safe="", errors="surrogateescape")),
        ("spaces as %20", lambda text: quote(text, safe="", errors="surrogateescape")),
        ("as browsers do", _browser),
        ("escapes in lower case", lambda text: _lower(quote_plus(text, safe="", errors="surrogateescape"))),
    )
    for order, listed in (("", pairs), (", fields sorted", tuple(sorted(pairs)))):
        for name, way in ways:
            text = "&".join(f"{way(key)}={way(value)}" for key, value in listed)
            yield f"{name}{order}", text.encode("latin-1")


def _browser(text: str) -> str:
    return quote_plus(text, safe="*-._", errors="surrogateescape").replace("~", "%7E")


def _lower(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text)
