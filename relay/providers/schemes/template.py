"""Templates of signed text, compiled once: `{ts}.{body}` becomes the bytes a signature covers."""

import functools
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from relay.errors import ConfigError
from relay.model.payload import PayloadError, parse_form
from relay.model.text import printable
from relay.providers.schemes.base import Reading, UnreadableError, octets
from relay.providers.schemes.places import InForm, InHeader, InJson, only
from relay.providers.schemes.urls import target_of

STEP = "Signed content"

_TOKEN = re.compile(r"\{([a-z_0-9]+)(?::([^{}]+))?\}")


@dataclass(frozen=True, slots=True)
class Token:
    """One hole of a template: what fills it, and what a person calls that (None: its own text)."""

    fill: Callable[[Reading], bytes]
    words: Callable[[Reading], str] | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A signed text in parts: fixed bytes, and tokens that a request fills."""

    text: str
    parts: tuple[bytes | Token, ...]

    @property
    def uses_url(self) -> bool:
        """Say whether the address is part of what is signed."""
        return "{url}" in self.text

    @property
    def uses_address(self) -> bool:
        """Say whether any part of the address is signed."""
        return any(token in self.text for token in ("{url}", "{path}", "{query}", "{target}"))

    @property
    def uses_secret(self) -> bool:
        """Say whether the secret itself is part of the text."""
        return "{secret}" in self.text

    def render(self, reading: Reading) -> bytes:
        """Return the signed bytes. Raises UnreadableError where the request lacks a part."""
        return b"".join([part if isinstance(part, bytes) else part.fill(reading) for part in self.parts])

    def describe(self, reading: Reading) -> str:
        """Return the signed text in words: `1795356346. and 1,153 body bytes as received`."""
        pieces: list[str] = []
        literal = b""
        for part in self.parts:
            if isinstance(part, bytes):
                literal += part
            elif part.words is None:
                literal += part.fill(reading)
            else:
                pieces += [_shown(literal)] if literal else []
                pieces.append(part.words(reading))
                literal = b""
        pieces += [_shown(literal)] if literal else []
        return " and ".join(pieces)


@functools.lru_cache(maxsize=512)
def template(text: str, *, distinct: bool = False) -> Template:
    """Return the compiled template, one for equal texts; `distinct` counts equal values of a form field once.

    Raises ConfigError for a token it does not know.
    """
    parts: list[bytes | Token] = []
    at = 0
    for match in _TOKEN.finditer(text):
        parts.append(_literal(text[at : match.start()], text))
        parts.append(_token(match[1], match[2] or "", distinct))
        at = match.end()
    parts.append(_literal(text[at:], text))
    return Template(text, tuple(part for part in parts if part != b""))


def _literal(part: str, text: str) -> bytes:
    if "{" in part or "}" in part:
        raise ConfigError(f"'{printable(text, 80)}' has a brace without its partner")
    return part.encode()


def _token(name: str, argument: str, distinct: bool) -> Token:
    if name in _PLAIN and not argument:
        return _PLAIN[name]
    if name == "form_sorted" and not argument:
        return _form_token(distinct)
    if name == "header" and argument:
        return Token(lambda reading: only(InHeader(argument), reading.capture, reading.payload))
    if name == "json" and argument:
        path = tuple(argument.split("."))
        return Token(lambda reading: only(InJson(path), reading.capture, reading.payload))
    if name == "form" and argument:
        return Token(lambda reading: only(InForm(argument), reading.capture, reading.payload))
    raise ConfigError(
        f"'{{{name}{':' + argument if argument else ''}}}' cannot be signed",
        hint="use {body}, {timestamp}, {url}, {path}, {query}, {target}, {method}, {id}, {header:NAME} or {json:a.b}",
    )


def _body_words(reading: Reading) -> str:
    size = len(reading.capture.body)
    return f"{size:,} body byte{'' if size == 1 else 's'} as received"


def _path(reading: Reading) -> bytes:
    return target_of(reading.url)[0]


def _query(reading: Reading) -> bytes:
    return target_of(reading.url)[1]


def _target(reading: Reading) -> bytes:
    path, query = target_of(reading.url)
    return path + b"?" + query if query else path


_PLAIN = {
    "body": Token(lambda reading: reading.capture.body, _body_words),
    "ts": Token(lambda reading: reading.ts),
    "timestamp": Token(lambda reading: reading.ts),
    "id": Token(lambda reading: reading.ident),
    "url": Token(lambda reading: reading.url, lambda reading: f"the URL {printable(reading.url, 120)}"),
    "path": Token(_path),
    "query": Token(_query),
    "target": Token(_target),
    "method": Token(lambda reading: octets(reading.capture.method)),
    "crc32": Token(lambda reading: str(zlib.crc32(reading.capture.body)).encode()),
    "secret": Token(lambda reading: reading.secret, lambda _: "the secret"),
}


def _form_sorted(reading: Reading, distinct: bool) -> tuple[bytes, int]:
    """Return every field name, sorted by code point, each followed by its values; and how many fields.

    Where the body is no form nothing is signed of it, so something else must vouch for it.
    """
    body = reading.capture.body
    if not reading.payload.is_form:
        if body and not reading.hashed:
            raise UnreadableError("body_malformed", "the body is not a form", step=STEP)
        return b"", 0
    try:
        pairs = parse_form(body)
    except PayloadError as error:
        raise UnreadableError("body_malformed", error.sentence, step=STEP) from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    pieces = [
        name + value
        for name in sorted(fields)
        for value in (sorted(set(fields[name])) if distinct else fields[name])
    ]
    return "".join(pieces).encode("utf-8", "surrogateescape"), len(pairs)


def _form_token(distinct: bool) -> Token:
    def read(reading: Reading) -> tuple[bytes, int]:
        reading.form = reading.form or _form_sorted(reading, distinct)
        return reading.form

    def words(reading: Reading) -> str:
        count = read(reading)[1]
        return f"{count or 'no'} form field{'' if count == 1 else 's'}"

    return Token(lambda reading: read(reading)[0], words)


def _shown(literal: bytes) -> str:
    return printable(literal, 80)
