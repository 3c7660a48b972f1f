"""Sets fields of a JSON or form body by path, without changing any other byte."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote, quote_plus, unquote_plus

from relay.errors import UsageError
from relay.model.json_paths import Key, PathError, Splice, splice_json, split_pointer, write_text
from relay.model.parsing import MAX_FIELDS, PayloadError, is_json, parse_json
from relay.model.payload import FORM
from relay.model.text import escape_unprintable, parse_media_type
from relay.model.values import dataclass

_MULTIPART = "multipart/"
_GZIP = b"\x1f\x8b"
_STEP = re.compile(
    r"""
    (?P<name>[^.\[\]]+)
    | \[ (?P<place>[0-9]{1,9}) \]
    | \[ (?P<quoted>"(?:[^"\\]|\\.)*"|'[^']*') \]
    | \[ (?P<bare>[^\]"']+) \]
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")


def edit_body(body: bytes, content_type: str, changes: Mapping[str, object]) -> bytes:
    """Return the body with the value at each path of `changes` replaced or added.

    A path is dotted (`data.items[0].id`, `list.0.n`) or a JSON Pointer (`/data/items/0/id`). In a form it names a
    field, or a value in a field with JSON (`payload.ref`); in a form whose field `payload` is JSON it may also
    be a path into that (`ref`). Text that is JSON is inserted as JSON, except that a number replacing
    text becomes text. Of repeated keys the last one is changed, because parsers use that.
    Raises UsageError for a path that does not exist, and for a body without fields.
    """
    for path, value in changes.items():
        body = _splice_body(body, content_type, path, value).apply(body)
    return body


def parse_path(path: str) -> tuple[Key, ...]:
    """Return the keys of a path. Raises UsageError if it is not a path."""
    if path.startswith("/"):
        return split_pointer(path)
    text = path.removeprefix("$.") if len(path) > len("$.") else path
    keys: list[Key] = []
    at = 0
    while at < len(text):
        if keys and text[at] == ".":
            at += 1
        elif keys and text[at] != "[":
            raise _invalid_path_error(path)
        match = _STEP.match(text, at)
        if match is None:
            raise _invalid_path_error(path)
        keys.append(_parse_key(match))
        at = match.end()
    if not keys or text.endswith("."):
        raise _invalid_path_error(path)
    return tuple(keys)


def _parse_key(match: re.Match[str]) -> Key:
    if match["place"] is not None:
        return int(match["place"])
    quoted = match["quoted"]
    if quoted is None:
        return match["name"] or match["bare"]
    if quoted.startswith("'"):
        return quoted[1:-1]
    try:
        return str(parse_json(quoted))
    except PayloadError as error:
        raise _invalid_path_error(match.string) from error


def _splice_body(body: bytes, content_type: str, path: str, value: object) -> Splice:
    kind = parse_media_type(content_type)
    if kind != FORM and is_json(body):
        return _splice_json(body, path, parse_path(path), value)
    if kind == FORM or (not kind.startswith(_MULTIPART) and _looks_like_form(body)):
        return _Form(body).splice(path, value)
    what = "neither JSON nor a form"
    if body.startswith(_GZIP):
        what = "compressed"
    elif kind.startswith(_MULTIPART):
        what = f"{kind}, of which relay changes no parts"
    elif body.decode(errors="ignore").encode() != body:
        what = "not UTF-8 text"
    raise UsageError(
        f"'{escape_unprintable(path, 60)}' cannot be set: the body is {what}.", hint="give the whole body instead"
    )


def _holds_fields(data: bytes) -> bool:
    """Return whether the value of a form field is a JSON object or list."""
    return data.lstrip()[:1] in (b"{", b"[") and is_json(data)


def _looks_like_form(body: bytes) -> bool:
    return b"=" in body and not any(byte <= 0x20 for byte in body.strip()) and body.count(b"&") < MAX_FIELDS


def _splice_json(data: bytes, path: str, keys: Sequence[Key], value: object) -> Splice:
    try:
        return splice_json(data, keys, partial(_write_value, value, data))
    except PathError as error:
        raise UsageError(
            f"'{escape_unprintable(path, 60)}' cannot be set: there is nothing in the body at "
            f"'{escape_unprintable(str(error.key), 40)}'.",
            hint="name a field of an object, or a position in a list from 0 to its length",
        ) from error


def _write_value(value: object, data: bytes, old: bytes | None) -> bytes:
    """Return a value as JSON; a typed value unchanged if it is JSON."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=data.isascii() and b"\\u" in data).encode()
    try:
        parsed = parse_json(value)
        written = value.strip().encode()
    except (PayloadError, UnicodeEncodeError):
        return write_text(value, data)
    is_number = isinstance(parsed, int | float) and not isinstance(parsed, bool)
    was_text = old is not None and old.startswith(b'"')
    return write_text(value, data) if is_number and was_text else written


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a form: its name and the position of its value; `value` is -1 for a name without `=`."""

    name: str
    start: int
    value: int
    end: int


class _Form:
    """A url-encoded form in which one value is changed."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._fields = tuple(_split_fields(body))
        self._quote = quote if b"%20" in body and b"+" not in body else quote_plus

    def splice(self, path: str, value: object) -> Splice:
        """Return the splice that sets a field, or a value in the JSON of one. Raises UsageError."""
        field = self._named(path)
        if field is not None:
            return self._whole(field, value)
        keys = parse_path(path)
        head, rest = keys[0], keys[1:]
        field = self._named(str(head))
        if field is not None and rest:
            return self._inside(field, path, rest, value)
        payload = self._named("payload")
        if payload is not None and _holds_fields(self._decoded(payload)[0]):
            return self._inside(payload, path, keys, value)
        if field is not None:
            return self._whole(field, value)
        name = path if rest else str(head)
        ending = len(self._body.rstrip(b"\r\n"))
        joint = b"&" if self._body[:ending] else b""
        return Splice(ending, ending, joint + self._written(name) + b"=" + self._written(value))

    def _named(self, name: str) -> _Field | None:
        return next((field for field in reversed(self._fields) if field.name == name), None)

    def _whole(self, field: _Field, value: object) -> Splice:
        new = self._written(value)
        if field.value < 0:
            return Splice(field.end, field.end, b"=" + new)
        return Splice(field.value, field.end, new)

    def _inside(self, field: _Field, path: str, keys: Sequence[Key], value: object) -> Splice:
        data, places = self._decoded(field)
        if not _holds_fields(data):
            raise UsageError(
                f"'{escape_unprintable(path, 60)}' cannot be set: the field "
                f"'{escape_unprintable(field.name, 40)}' holds no JSON.",
                hint="name the field alone to replace it",
            )
        inner = _splice_json(data, path, keys, value)
        return Splice(places[inner.start], places[inner.end], self._written(inner.new))

    def _decoded(self, field: _Field) -> tuple[bytes, list[int]]:
        """Return the decoded bytes of the value, and the position of each in the body, with the end position last."""
        made, places = bytearray(), []
        at = max(field.value, 0) if field.value >= 0 else field.end
        while at < field.end:
            places.append(at)
            if _ESCAPE.match(self._body, at):
                made.append(int(self._body[at + 1 : at + 3], 16))
                at += 3
            else:
                byte = self._body[at]
                made.append(0x20 if byte == 0x2B else byte)
                at += 1
        return bytes(made), [*places, field.end]

    def _written(self, value: object) -> bytes:
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return self._quote(data, safe="").encode()


def _split_fields(body: bytes) -> list[_Field]:
    found: list[_Field] = []
    at = 0
    # A line end after a form is not part of its last value.
    for piece in body.rstrip(b"\r\n").split(b"&"):
        name, equals, _ = piece.partition(b"=")
        text = unquote_plus(name.decode("latin-1"), encoding="utf-8", errors="surrogateescape")
        end = at + len(piece)
        if piece:
            found.append(_Field(text, at, at + len(name) + 1 if equals else -1, end))
        at = end + 1
    return found


def _invalid_path_error(path: str) -> UsageError:
    return UsageError(
        f"'{escape_unprintable(path, 60)}' is not a path.",
        hint='write data.object.amount, items[0].id, metadata["a.b"] or /data/object/amount',
    )
