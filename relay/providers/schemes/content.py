"""Templates of signed text, compiled once: `{ts}.{body}` becomes the signed bytes."""

import functools
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable
from typing import Literal

from relay.errors import ConfigError
from relay.model.event import Capture, Check
from relay.model.payload import PayloadError, parse_form
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.schemes.base import RefusalError, SignatureInput, to_wire_bytes
from relay.providers.schemes.locations import (
    InForm,
    InHeader,
    InJson,
    Location,
    read_query_values,
    read_single,
    with_query,
)

CONTENT_STEP = "Signed content"
BODY_HASH_STEP = "Body hash"
SHOWN_LITERAL = 80  # characters of signed bytes, without the body, that are shown

_PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)(?::([^{}]+))?\}")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A placeholder of a template: its value, and its description (None: the value itself)."""

    fill: Callable[[SignatureInput], bytes]
    words: Callable[[SignatureInput], str] | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A signed text in parts: fixed bytes and placeholders."""

    text: str
    parts: tuple[bytes | Placeholder, ...]
    # Whether the address, or any part of it, is signed.
    uses_url: bool
    uses_address: bool

    def render(self, reading: SignatureInput) -> bytes:
        """Return the signed bytes. Raises RefusalError where the request lacks a part."""
        return b"".join([part if isinstance(part, bytes) else part.fill(reading) for part in self.parts])

    def describe(self, reading: SignatureInput) -> str:
        """Return a description of the signed text: `1795356346. and 1,153 body bytes as received`."""
        pieces: list[str] = []
        literal = b""
        for part in self.parts:
            if isinstance(part, bytes):
                literal += part
            elif part.words is None:
                literal += part.fill(reading)
            else:
                pieces += [escape_unprintable(literal, SHOWN_LITERAL)] if literal else []
                pieces.append(part.words(reading))
                literal = b""
        pieces += [escape_unprintable(literal, SHOWN_LITERAL)] if literal else []
        return " and ".join(pieces)


@functools.lru_cache(maxsize=512)
def template(text: str, *, distinct: bool = False) -> Template:
    """Return the compiled template, one for equal texts; `distinct` counts equal values of a form field once.

    Raises ConfigError for a token it does not know.
    """
    parts: list[bytes | Placeholder] = []
    at = 0
    for match in _PLACEHOLDER.finditer(text):
        parts.append(_check_literal(text[at : match.start()], text))
        parts.append(_find_placeholder(match[1], match[2] or "", distinct))
        at = match.end()
    parts.append(_check_literal(text[at:], text))
    return Template(
        text,
        tuple(part for part in parts if part != b""),
        uses_url="{url}" in text,
        uses_address=any(token in text for token in ("{url}", "{path}", "{query}", "{target}")),
    )


def _check_literal(part: str, text: str) -> bytes:
    if "{" in part or "}" in part:
        raise ConfigError(f"'{escape_unprintable(text, 80)}' has a brace without its partner")
    return part.encode()


def _find_placeholder(name: str, argument: str, distinct: bool) -> Placeholder:
    if name in _PLACEHOLDERS and not argument:
        return _PLACEHOLDERS[name]
    if name == "form_sorted" and not argument:
        return _form_placeholder(distinct)
    if name in _PLACES and argument:
        place = _PLACES[name](argument)
        return Placeholder(lambda reading: read_single(place, reading.capture))
    raise ConfigError(
        f"'{{{name}{':' + argument if argument else ''}}}' cannot be signed",
        hint="use {body}, {timestamp}, {url}, {path}, {query}, {target}, {method}, {id}, {header:NAME} or {json:a.b}",
    )


@functools.lru_cache(maxsize=256)
def describe_body(size: int) -> str:
    """Return the description of a signed body of that many bytes."""
    return f"{size:,} body byte{'' if size == 1 else 's'} as received"


_PLACES: dict[str, Callable[[str], Location]] = {
    "header": InHeader,
    "json": lambda path: InJson(tuple(path.split("."))),
    "form": InForm,
}
_PLACEHOLDERS = {
    "body": Placeholder(lambda reading: reading.capture.body, lambda reading: describe_body(len(reading.capture.body))),
    "ts": Placeholder(lambda reading: reading.ts),
    "timestamp": Placeholder(lambda reading: reading.ts),
    "id": Placeholder(lambda reading: reading.ident),
    "url": Placeholder(lambda reading: reading.url, lambda reading: f"the URL {escape_unprintable(reading.url, 120)}"),
    "path": Placeholder(lambda reading: split_target(reading.url)[0]),
    "query": Placeholder(lambda reading: split_target(reading.url)[1]),
    "target": Placeholder(lambda reading: read_target(reading.url)),
    "method": Placeholder(lambda reading: to_wire_bytes(reading.capture.method)),
    "crc32": Placeholder(lambda reading: str(zlib.crc32(reading.capture.body)).encode()),
    "secret": Placeholder(lambda reading: reading.secret, lambda _: "the secret"),
}


# Twilio's and Mandrill's libraries sort by code point, keep blank values and decode before they join; Twilio's
# counts equal values of a field once (twilio 9.13.0), Mandrill's does not.
def _sort_form(reading: SignatureInput, distinct: bool) -> tuple[bytes, int]:
    """Return every field name, sorted by code point, each followed by its values; and how many fields.

    If the body is not a form, nothing of it is signed, so it must be protected otherwise.
    """
    body = reading.capture.body
    if not reading.capture.payload.is_form:
        if body and not reading.hashed:
            raise RefusalError("body_malformed", "the body is not a form", step=CONTENT_STEP)
        return b"", 0
    try:
        pairs = parse_form(body)
    except PayloadError as error:
        raise RefusalError("body_malformed", error.message, step=CONTENT_STEP) from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    pieces = [
        name + value for name in sorted(fields) for value in (sorted(set(fields[name])) if distinct else fields[name])
    ]
    return "".join(pieces).encode("utf-8", "surrogateescape"), len(pairs)


def _form_placeholder(distinct: bool) -> Placeholder:
    def read(reading: SignatureInput) -> tuple[bytes, int]:
        reading.form = reading.form or _sort_form(reading, distinct)
        return reading.form

    def words(reading: SignatureInput) -> str:
        count = read(reading)[1]
        return f"{count or 'no'} form field{'' if count == 1 else 's'}"

    return Placeholder(lambda reading: read(reading)[0], words)


UrlForm = Literal["as_given", "no_port", "with_port", "unescaped"]

_URL = re.compile(rb"(https?)(://[^/?#]*)(.*)", re.DOTALL | re.IGNORECASE)
# What HubSpot decodes in an address before it signs: : / ? @ ! $ ' ( ) * , ;
_ESCAPED = re.compile(rb"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_PORT = re.compile(rb"(?<=[^:/@]):[0-9]+\Z")


# The signed address is the one configured at the provider, which differs from the socket's behind a tunnel.
def sender_address(capture: Capture) -> str:
    """Return the URL as the sender sees it; from the Host header if no URL is known."""
    if capture.url:
        return capture.url
    query = f"?{capture.query}" if capture.query else ""
    return f"https://{capture.header('Host') or 'localhost'}{capture.path}{query}"


def split_target(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a URL in their spelling, the path never empty."""
    _, scheme, rest = url.partition(b"://")
    start = re.search(rb"[/?#]", rest) if scheme else None
    target = rest[start.start() :] if start else (b"" if scheme else url)
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path or b"/", query


def read_target(url: bytes) -> bytes:
    """Return path and query of a URL as one text, as in a request line."""
    path, query = split_target(url)
    return path + b"?" + query if query else path


def spell_url(url: str, forms: tuple[UrlForm, ...]) -> tuple[bytes, ...]:
    """Return the distinct spellings of a URL, without and with its port."""
    wire = to_wire_bytes(url)
    return tuple(dict.fromkeys(_spell_as(wire, form) for form in forms))


def _spell_as(url: bytes, form: UrlForm) -> bytes:
    match = _URL.fullmatch(url)
    # HubSpot's documentation decodes these escapes before it signs, its libraries do not: both are tried.
    if form == "unescaped":
        return _ESCAPED.sub(lambda found: bytes.fromhex(found[0][1:].decode()), url)
    if form == "as_given" or match is None:
        return url
    scheme, host, rest = match.groups()
    has_port = _PORT.search(host) is not None
    if form == "no_port":
        return scheme + _PORT.sub(b"", host) + rest
    # Twilio signs some products' addresses with the default port written out.
    return url if has_port else scheme + host + (b":443" if scheme.lower() == b"https" else b":80") + rest


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyHash:
    """A hash of the body in a query parameter of the signed URL (Twilio's `bodySHA256`, lower-case hex).

    A form body is signed field by field instead and needs none.
    """

    query: str

    def check(self, reading: SignatureInput) -> Check | None:
        """Return the step, None if no hash is needed. Raises RefusalError if it is missing."""
        if reading.capture.payload.is_form:
            return None
        url = reading.url.decode("latin-1")
        values = read_query_values(url.partition("#")[0].partition("?")[2], self.query)
        body = reading.capture.body
        if not values:
            if not body:
                return None
            raise RefusalError(
                "signature_missing",
                f"{self.query} is missing from the URL, so nothing vouches for the body",
                result="Missing",
                step=BODY_HASH_STEP,
            )
        reading.hashed = True
        passed = len(values) == 1 and hmac.compare_digest(values[0], hashlib.sha256(body).hexdigest().encode())
        detail = f"{self.query} in the URL {'fits' if passed else 'does not fit'} {len(body):,} body bytes"
        return Check(name=BODY_HASH_STEP, passed=passed, detail=detail, result="Match" if passed else "No match")

    def write(self, capture: Capture) -> Capture:
        """Return the capture with the hash of its body in its query and URL, where one is needed."""
        if capture.payload.is_form or not capture.body:
            return capture
        return with_query(capture, self.query, hashlib.sha256(capture.body).hexdigest())
