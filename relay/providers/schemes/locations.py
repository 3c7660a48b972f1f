"""Locations of a signature, a timestamp or an id in a request, for reading and writing."""

import dataclasses
import json
from urllib.parse import parse_qsl, quote_plus, unquote_plus

from relay.errors import SigningError
from relay.model.event import Capture
from relay.model.json_paths import PathError, find_below, splice_json
from relay.model.parsing import split_parts
from relay.model.payload import MULTIPART, Payload, PayloadError
from relay.model.text import parse_parameters
from relay.model.values import dataclass
from relay.providers.schemes.base import RefusalError, to_wire_bytes


@dataclass(frozen=True, slots=True, init=False)
class InHeader:
    """A header; of several names the first that is present is used."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    @property
    def title(self) -> str:
        return self.names[0]

    def read(self, capture: Capture) -> tuple[bytes, ...]:
        for name in self.names:
            if values := capture.header_values(name):
                return tuple(to_wire_bytes(value) for value in dict.fromkeys(values))
        return ()

    def write(self, capture: Capture, text: bytes) -> Capture:
        return with_header(capture, self.names, text.decode("latin-1"))


# Mollie repeats its header while a secret is changed, Box has two names, DocuSign numbers them.
@dataclass(frozen=True, slots=True, init=False)
class InEveryHeader(InHeader):
    """Headers that each hold a signature, perhaps repeated; any of them may match.

    A name that ends in `#` means headers counted from 1, such as `X-DocuSign-Signature-1`.
    """

    @property
    def title(self) -> str:
        return self.names[0].replace("#", "N")

    def read(self, capture: Capture) -> tuple[bytes, ...]:
        values = dict.fromkeys(value for name, value in capture.headers if self._counts(name))
        return tuple(to_wire_bytes(value) for value in values)

    def write(self, capture: Capture, text: bytes) -> Capture:
        # Under another name the app would check it with another key.
        known = self.names[0].lower()
        kept = tuple(one for one in capture.headers if not self._counts(one[0]) or _matches_name(known, one[0].lower()))
        names = tuple(name for name, _ in kept if self._counts(name))
        written = dataclasses.replace(capture, headers=kept)
        return with_header(written, names or (self.names[0].replace("#", "1"),), text.decode("latin-1"))

    def _counts(self, name: str) -> bool:
        lower = name.lower()
        return any(_matches_name(known.lower(), lower) for known in self.names)


@dataclass(frozen=True, slots=True)
class InJson:
    """A value in the JSON body; `number` refuses text that looks like a number."""

    path: tuple[str, ...]
    number: bool = False

    @property
    def title(self) -> str:
        return ".".join(self.path)

    def read(self, capture: Capture) -> tuple[bytes, ...]:
        value = capture.payload.json_at(*self.path)
        if isinstance(value, int) and not isinstance(value, bool):
            return (str(value).encode(),)
        if isinstance(value, str) and not self.number:
            return (value.encode("utf-8", "surrogatepass"),)
        return ()

    def write(self, capture: Capture, text: bytes) -> Capture:
        # A number stays a number: Mailgun's time is text, and Linear refuses its own as text.
        numeric = self.number or isinstance(Payload(capture.body).json_at(*self.path), int)
        value = int(text) if numeric and text.isdigit() else _decode_value(text)
        body = set_json_value(capture.body, self.path, value)
        return _require_body(
            capture, body, f"{self.title}, which this provider signs", "send a JSON object as the body"
        )


@dataclass(frozen=True, slots=True)
class InEach:
    """The same value in every item of a list in the JSON body: `value[].clientState`."""

    items: str
    name: str

    @property
    def title(self) -> str:
        return f"{self.items}[].{self.name}"

    def read(self, capture: Capture) -> tuple[bytes, ...]:
        items = capture.payload.json_at(self.items)
        found = [find_below(item, (self.name,)) for item in (items if isinstance(items, list) else ())]
        texts = dict.fromkeys(value if isinstance(value, str) else "" for value in found)
        return tuple(text.encode("utf-8", "surrogatepass") for text in texts)

    def write(self, capture: Capture, text: bytes) -> Capture:
        items = Payload(capture.body).json_at(self.items)
        body: bytes | None = capture.body
        for number in range(len(items)) if isinstance(items, list) else ():
            body = set_json_value(body, (self.items, number, self.name), _decode_value(text)) if body else None
        body = body if isinstance(items, list) else None
        hint = f'send a JSON object with a list of objects under "{self.items}"'
        return _require_body(capture, body, f"{self.title}, where this provider shows its token", hint)


@dataclass(frozen=True, slots=True)
class InForm:
    """A field of a form body."""

    name: str

    @property
    def title(self) -> str:
        return self.name

    def read(self, capture: Capture) -> tuple[bytes, ...]:
        values = dict.fromkeys(value for name, value in capture.payload.form if name == self.name)
        return tuple(value.encode("utf-8", "surrogateescape") for value in values)

    def write(self, capture: Capture, text: bytes) -> Capture:
        payload, body = capture.payload, None
        if payload.media_type == MULTIPART:
            body = set_part_value(capture.body, capture.header("Content-Type") or "", self.name, text)
        elif payload.is_form and payload.unpacked.content == capture.body:
            body = set_form_value(capture.body, self.name, _decode_value(text))
        return _require_body(capture, body, f"{self.title}, where this provider signs", "send a form as the body")


@dataclass(frozen=True, slots=True)
class InQuery:
    """A query parameter."""

    name: str

    @property
    def title(self) -> str:
        return f"?{self.name}="

    def read(self, capture: Capture) -> tuple[bytes, ...]:
        return read_query_values(capture.query, self.name)

    def write(self, capture: Capture, text: bytes) -> Capture:
        return with_query(capture, self.name, _decode_value(text))


Location = InHeader | InJson | InEach | InForm | InQuery
"""A spot in a request that holds one text, `title` being what a person calls it.

`read` returns the distinct texts found there, and `write` the capture with one there, all else as it was. Writing
raises SigningError where the request has no such place.
"""


def _matches_name(known: str, name: str) -> bool:
    if not known.endswith("#"):
        return name == known
    number = name.removeprefix(known[:-1])
    return number != name and number.isascii() and number.isdigit() and len(number) <= 3


def with_query(capture: Capture, name: str, value: str) -> Capture:
    """Return the capture with one query parameter set, in the query and in the URL alike."""
    base, _, old = capture.url.partition("?")
    query, called = (
        set_form_value(text.encode("latin-1", "replace"), name, value).decode("latin-1")
        for text in (capture.query, old)
    )
    return dataclasses.replace(capture, query=query, url=f"{base}?{called}" if capture.url else "")


def read_query_values(query: str, name: str) -> tuple[bytes, ...]:
    """Return the distinct decoded values of a query parameter."""
    pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    return tuple(to_wire_bytes(value) for value in dict.fromkeys(value for key, value in pairs if key == name))


def _describe_absence(place: Location, values: tuple[bytes, ...], capture: Capture) -> str:
    if values:
        return "is empty"
    if isinstance(place, InJson) and capture.payload.json_at(*place.path) is not None:
        return "is not a whole number" if place.number else "is neither text nor a whole number"
    return "is missing"


def read_single(place: Location, capture: Capture) -> bytes:
    """Return the single text at a location.

    Raises RefusalError if there is none, or if there are different texts, of which an application might use another.
    """
    values = place.read(capture)
    if not values or not values[0].strip():
        in_body = isinstance(place, InJson | InEach | InForm)
        detail = f"{place.title} {_describe_absence(place, values, capture)}"
        raise RefusalError("body_malformed" if in_body else "signature_missing", detail, result="Missing")
    # Frameworks differ in which of several equal headers they use, so relay accepts none of them.
    if len(values) > 1:
        raise RefusalError("header_malformed", f"{place.title} is there {len(values)} times, each different")
    return values[0]


def _decode_value(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _require_body(capture: Capture, body: bytes | None, missing: str, hint: str) -> Capture:
    if body is None:
        raise SigningError(f"The body has no place for {missing}.", hint=hint)
    return with_body(capture, body)


def with_body(capture: Capture, body: bytes) -> Capture:
    """Return the capture with another body and, if present, the right Content-Length."""
    headers = tuple(
        (name, str(len(body)) if name.lower() == "content-length" else value) for name, value in capture.headers
    )
    return dataclasses.replace(capture, body=body, headers=headers)


def with_header(capture: Capture, names: tuple[str, ...], value: str) -> Capture:
    """Return the capture with a header set, at the position of the first of `names`, else at the end.

    All other headers of those names are removed. The name keeps its spelling as received.
    """
    lower = [name.lower() for name in names]
    place = next((at for at, (name, _) in enumerate(capture.headers) if name.lower() in lower), len(capture.headers))
    before, after = capture.headers[:place], capture.headers[place + 1 :]
    spelt = capture.headers[place][0] if place < len(capture.headers) else names[0]
    others = tuple((name, old) for name, old in after if name.lower() not in lower)
    return dataclasses.replace(capture, headers=(*before, (spelt, value), *others))


def set_json_value(body: bytes, path: tuple[str | int, ...], value: str | int) -> bytes | None:
    """Return the JSON body with the value at `path` replaced or added; None if the path does not exist.

    All other bytes stay.
    """
    try:
        return splice_json(body, path, lambda _: json.dumps(value).encode()).apply(body)
    except (PayloadError, PathError):
        return None


def set_form_value(body: bytes, name: str, value: str) -> bytes:
    """Return the form body with a field replaced in place, or added at the end."""
    field = f"{quote_plus(name)}={quote_plus(value, errors='surrogateescape')}"
    pairs = body.decode("latin-1").split("&") if body else []
    kept = [field if unquote_plus(pair.partition("=")[0]) == name else pair for pair in pairs]
    return "&".join(kept if field in kept else [*kept, field]).encode("latin-1")


def set_part_value(body: bytes, content_type: str, name: str, value: bytes) -> bytes | None:
    """Return the multipart body with the text of a field replaced; None if it has no such field."""
    try:
        parts, _ = split_parts(body, parse_parameters(content_type).get("boundary", ""))
    except PayloadError:
        return None
    found = [part for part in parts if part.name == name and part.file is None]
    for part in reversed(found):
        body = body[: part.start] + value + body[part.start + len(part.value) :]
    return body if found else None
