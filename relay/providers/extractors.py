"""Extractors: small frozen values that take one text out of a request, such as an event type, a key or a summary.

They are values, not closures, so that the configuration of two sources can be compared and a rejected request
can name the field that it lacks. The catalogue builds them by the lower-case names at the end.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import field
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec
from urllib.parse import parse_qsl

from relay.errors import ConfigError
from relay.model.event import Capture, Extractor
from relay.model.json_paths import find_below, split_pointer
from relay.model.payload import Payload
from relay.model.text import decode_header_text, escape_unprintable
from relay.model.values import dataclass

Path = tuple[str | int, ...]
"""A way into JSON, by keys and list positions."""

# An idempotency key is an indexed column; longer ones keep their start and a digest.
MAX_LENGTH = 200

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_Further = ParamSpec("_Further")


@dataclass(frozen=True, slots=True)
class HeaderExtractor:
    """The first value of a header, as readable text."""

    name: str

    def __call__(self, capture: Capture, _: Payload) -> str | None:
        value = capture.header(self.name)
        if value is None:
            return None
        try:
            return _limit_text(decode_header_text(value))
        except UnicodeEncodeError:
            return _limit_text(value)


@dataclass(frozen=True, slots=True)
class BodyExtractor:
    """A text, number or boolean in the payload, by keys and list indices."""

    keys: Path

    def __call__(self, _: Capture, payload: Payload) -> str | None:
        value = payload.value
        for key in self.keys:
            value = value.get(key) if isinstance(value, dict) else find_below(value, (key,))
            if value is None:
                return None
        return _to_text(value)


@dataclass(frozen=True, slots=True)
class FormExtractor:
    """The first value of a form field, or of a query parameter if there is no body."""

    name: str

    def __call__(self, _: Capture, payload: Payload) -> str | None:
        return next((_limit_text(value) for name, value in payload.fields if name == self.name), None)


@dataclass(frozen=True, slots=True)
class QueryExtractor:
    """The first value of a query parameter, decoded."""

    name: str

    def __call__(self, capture: Capture, _: Payload) -> str | None:
        pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
        return next((_limit_text(value) for name, value in pairs if name == self.name), None)


@dataclass(frozen=True, slots=True)
class FirstExtractor:
    """The text of the first extractor that finds one; `roots` are what `_find_root` returns for each."""

    extractors: tuple[Extractor, ...]
    roots: tuple[str | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "roots", tuple([_find_root(extractor) for extractor in self.extractors]))

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        value: object = self
        for root, extract in zip(self.roots, self.extractors, strict=True):
            if root is not None:
                value = payload.value if value is self else value
                if isinstance(value, dict) and root not in value:
                    continue
            text = extract(capture, payload)
            if text is not None:
                return text
        return None


@dataclass(frozen=True, slots=True)
class JoinExtractor:
    """Several texts joined; missing ones are left out, or with `whole` give no result."""

    separator: str
    extractors: tuple[Extractor, ...]
    whole: bool = False

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        texts: list[str] = []
        for extract in self.extractors:
            text = extract(capture, payload)
            if text is not None:
                texts.append(text)
            elif self.whole:
                return None
        return _limit_text(self.separator.join(texts))


@dataclass(frozen=True, slots=True)
class OnlyWithExtractor:
    """A text that is used only if some others are present."""

    extractor: Extractor
    others: tuple[Extractor, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        if any(other(capture, payload) is None for other in self.others):
            return None
        return self.extractor(capture, payload)


@dataclass(frozen=True, slots=True)
class FunctionExtractor:
    """The result of a function with further arguments; if the first is an extractor, nothing without its text."""

    function: Callable[..., str | None]
    arguments: tuple[object, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        return self.function(capture, payload, *self.arguments)


def make_extractor(
    function: Callable[Concatenate[Capture, Payload, _Further], str | None],
) -> Callable[_Further, Extractor]:
    """Return a factory of extractors that call a function with further arguments."""

    @wraps(function)
    def make(*arguments: _Further.args, **named: _Further.kwargs) -> Extractor:
        return FunctionExtractor(function, (*arguments, *named.values()))

    return make


def derive_text(
    function: Callable[Concatenate[str, _Further], str | None],
) -> Callable[Concatenate[Extractor | str, _Further], Extractor]:
    """Return a factory of extractors that call a function with the text of a part and further arguments."""
    change: Callable[..., str | None] = function

    def derive(capture: Capture, payload: Payload, extractor: Extractor, *arguments: object) -> str | None:
        text = extractor(capture, payload)
        return None if text is None else change(text, *arguments)

    @wraps(function)
    def make(part: Extractor | str, /, *arguments: _Further.args, **named: _Further.kwargs) -> Extractor:
        return FunctionExtractor(derive, (read_part(part), *arguments, *named.values()))

    return make


header, form, query = HeaderExtractor, FormExtractor, QueryExtractor


@lru_cache(maxsize=1024)
def split_path(path: str) -> Path:
    """Return the keys of a path into JSON: `data.items.0.id`, "" for the whole."""
    return tuple([int(key) if key.isdigit() else key for key in path.split(".")]) if path else ()


def body(*keys: str | int) -> Extractor:
    """Extract a value in the JSON body by its path, `body("data.items.0.id")`, or key by key: `body("a.b", "c")`."""
    return BodyExtractor(split_path(keys[0]) if len(keys) == 1 and isinstance(keys[0], str) else keys)


def first_of(*parts: Extractor | str) -> Extractor:
    """Extract the first text that any part finds."""
    return FirstExtractor(tuple(map(read_part, parts)))


def optional(extractor: Extractor) -> Extractor:
    """Extract "" if the other finds nothing, for a joined text that needs all parts."""
    return FirstExtractor((extractor, constant("")))


def join(separator: str, *parts: Extractor | str, whole: bool = False) -> Extractor:
    """Extract several texts, joined; missing ones are left out, or with `whole` give no result."""
    return JoinExtractor(separator, tuple(map(read_part, parts)), whole=whole)


def summarize(*parts: Extractor | str) -> Extractor:
    """Extract the summary of an event, joined by middle dots; missing parts are left out."""
    return join(" · ", *parts)


def join_key(*parts: Extractor | str) -> Extractor:
    """Extract an idempotency key of several texts, joined by hyphens; None if one of them is missing."""
    return join("-", *parts, whole=True)


def add_prefix(prefix: str, part: Extractor | str) -> Extractor:
    """Extract a text with a prefix; None if there is no text."""
    return join("", constant(prefix), part, whole=True)


def read_part(part: Extractor | str) -> Extractor:
    """Return a part as an extractor: a string is a path into the body, and is optional if it ends in `?`."""
    if not isinstance(part, str):
        return part
    return optional(body(part[:-1])) if part.endswith("?") else body(part)


def only_with(extractor: Extractor, *others: Extractor) -> Extractor:
    """Extract a text only if the others find one, too."""
    return OnlyWithExtractor(extractor, others)


@make_extractor
def constant(_: Capture, __: Payload, text: str) -> str | None:
    """Extract the same text from every request."""
    return text


def parse_extractor(text: str) -> Extractor:
    """Return the extractor for `header:NAME`, `body:/json/pointer` or `query:NAME`. Raises ConfigError."""
    kind, _, rest = text.partition(":")
    if kind not in ("header", "body", "query") or not rest.strip():
        raise ConfigError(
            f"'{escape_unprintable(text, 80)}' says neither where to look nor for what",
            hint="write header:NAME, body:/json/pointer or query:NAME",
        )
    if kind == "header":
        return HeaderExtractor(rest.strip())
    if kind == "query":
        return QueryExtractor(rest)
    if not _POINTER.fullmatch(rest):
        raise ConfigError(
            f"'{escape_unprintable(rest, 80)}' is not a JSON Pointer",
            hint="start each step with a slash: body:/data/object/id",
        )
    return BodyExtractor(() if rest == "/" else split_pointer(rest))


def _find_root(extractor: Extractor) -> str | None:
    """Return the key of the body without which an extractor finds nothing; None if there is no such key."""
    match extractor:
        case BodyExtractor(keys=(str(key), *_)):
            return key
        case JoinExtractor(extractors=parts, whole=True):
            return next((root for part in parts if (root := _find_root(part)) is not None), None)
        case JoinExtractor(extractors=parts) | FirstExtractor(extractors=parts):
            roots = {_find_root(part) for part in parts}
            return roots.pop() if len(roots) == 1 else None
        case FunctionExtractor(arguments=(FirstExtractor() | BodyExtractor() | JoinExtractor() as inner, *_)):
            return _find_root(inner)
    return None


def _to_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _limit_text(str(value)) if isinstance(value, str | int | float) else None


def _limit_text(text: str) -> str | None:
    if not text or text.isspace():
        return None
    if text.isprintable() and len(text) <= MAX_LENGTH:
        return text
    readable = escape_unprintable(text)
    if len(readable) <= MAX_LENGTH:
        return readable
    # Two keys that differ only at their ends must not become equal: the second event would be lost.
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{readable[: MAX_LENGTH - 17]}…{mark}"
