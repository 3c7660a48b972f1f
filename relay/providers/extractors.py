"""Picks: small frozen values that take one text out of a request, such as an event type or an id."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from relay.errors import ConfigError
from relay.model.event import Capture, Extractor
from relay.model.payload import Payload
from relay.model.text import decode_header_text, escape_unprintable

MAX_LENGTH = 200

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_ID = re.compile(r"(?:.*_)?[^_]{1,4}")
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹"}
_WITHOUT_CENTS = frozenset(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "XAF", "XOF"))


@dataclass(frozen=True, slots=True)
class HeaderExtractor:
    """The first value of a header."""

    name: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the value as readable text."""
        del payload
        value = capture.header(self.name)
        return None if value is None else _limit_text(_decode_header(value))


@dataclass(frozen=True, slots=True)
class BodyExtractor:
    """A value in the payload, by keys and list positions."""

    keys: tuple[str | int, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the value when it is text, a number or a boolean."""
        del capture
        return _to_text(payload.at(*self.keys))


@dataclass(frozen=True, slots=True)
class PointerExtractor:
    """A value in the payload, by JSON Pointer (RFC 6901)."""

    path: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the value when it is text, a number or a boolean."""
        del capture
        return _to_text(payload.pointer(self.path))


@dataclass(frozen=True, slots=True)
class FormExtractor:
    """The first value of a form field, or of a query parameter where there is no body."""

    name: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the decoded value."""
        del capture
        return next((_limit_text(value) for name, value in payload.fields if name == self.name), None)


@dataclass(frozen=True, slots=True)
class QueryExtractor:
    """The first value of a query parameter."""

    name: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the decoded value."""
        del payload
        pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
        return next((_limit_text(value) for name, value in pairs if name == self.name), None)


@dataclass(frozen=True, slots=True)
class ConstantExtractor:
    """The same text for every request."""

    text: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the text."""
        del capture, payload
        return self.text


@dataclass(frozen=True, slots=True)
class ConditionalExtractor:
    """A fixed text for requests where another pick gives something."""

    pick: Extractor
    text: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the text, or None where the other pick gives nothing."""
        return None if self.pick(capture, payload) is None else self.text


@dataclass(frozen=True, slots=True)
class FirstExtractor:
    """The first of several picks that gives something."""

    picks: tuple[Extractor, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the first text there is."""
        return next((text for pick in self.picks if (text := pick(capture, payload)) is not None), None)


@dataclass(frozen=True, slots=True)
class JoinExtractor:
    """Several picks joined; those that give nothing are left out, unless all are wanted."""

    separator: str
    picks: tuple[Extractor, ...]
    whole: bool = False

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the joined text; None when no pick gives anything."""
        texts = [pick(capture, payload) for pick in self.picks]
        if self.whole and None in texts:
            return None
        return _limit_text(self.separator.join(text for text in texts if text is not None))


@dataclass(frozen=True, slots=True)
class LookupExtractor:
    """A code with its name in place of it; a code without a name stays."""

    pick: Extractor
    names: tuple[tuple[str, str], ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the name of the code."""
        text = self.pick(capture, payload)
        return next((name for code, name in self.names if code == text), text)


@dataclass(frozen=True, slots=True)
class StripPrefixExtractor:
    """A text without the first of some prefixes that it starts with."""

    pick: Extractor
    prefixes: tuple[str, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the rest of the text."""
        text = self.pick(capture, payload)
        prefix = next((prefix for prefix in self.prefixes if text and text.startswith(prefix)), "")
        return text.removeprefix(prefix) if text else None


@dataclass(frozen=True, slots=True)
class ShortIdExtractor:
    """An id cut to what tells it apart in a list: `pi_3Rk2Qe8LmN0p` becomes `pi_3Rk2`."""

    pick: Extractor

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the kind and the first four characters."""
        text = self.pick(capture, payload)
        match = _ID.match(text) if text else None
        return match[0] if match else None


@dataclass(frozen=True, slots=True)
class MoneyExtractor:
    """An amount in minor units with its currency: 4800 and `eur` become `€48.00`."""

    amount: Extractor
    currency: Extractor
    minor: bool = True

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the amount as people write it; None when there is none."""
        amount, currency = self.amount(capture, payload), self.currency(capture, payload)
        if amount is None or currency is None or not re.fullmatch(r"-?\d{1,15}(\.\d{1,4})?", amount):
            return None
        return _format_money(amount, currency.upper(), self.minor)


def header(name: str) -> Extractor:
    """Return a pick of a header."""
    return HeaderExtractor(name)


def body(*keys: str | int) -> Extractor:
    """Return a pick of a value in the JSON body: `body("data", "object", "id")`."""
    return BodyExtractor(keys)


def form(name: str) -> Extractor:
    """Return a pick of a form field."""
    return FormExtractor(name)


def query(name: str) -> Extractor:
    """Return a pick of a query parameter."""
    return QueryExtractor(name)


def first_of(*picks: Extractor) -> Extractor:
    """Return a pick of the first that gives something."""
    return FirstExtractor(picks)


def join(separator: str, *picks: Extractor, whole: bool = False) -> Extractor:
    """Return a pick of several texts joined; what is missing is left out, or with `whole` spoils it."""
    return JoinExtractor(separator, picks, whole=whole)


def optional(pick: Extractor) -> Extractor:
    """Return a pick that gives "" where the other gives nothing, for a joined text that is wanted whole."""
    return FirstExtractor((pick, ConstantExtractor("")))


def add_prefix(prefix: str, pick: Extractor) -> Extractor:
    """Return a pick with a text before it; None when the pick gives nothing."""
    return JoinExtractor("", (constant(prefix), pick), whole=True)


def text_if(pick: Extractor, text: str) -> Extractor:
    """Return a pick of a fixed text, for requests where another pick gives something."""
    return ConditionalExtractor(pick, text)


def lookup(pick: Extractor, names: Mapping[str, str]) -> Extractor:
    """Return a pick of a code by its name: `named(body("type"), {"1": "ping"})`."""
    return LookupExtractor(pick, tuple(names.items()))


def strip_prefix(pick: Extractor, *prefixes: str) -> Extractor:
    """Return a pick of a text without a prefix such as `refs/heads/`."""
    return StripPrefixExtractor(pick, prefixes)


def constant(text: str) -> Extractor:
    """Return a pick that always gives the same text."""
    return ConstantExtractor(text)


def short_id(pick: Extractor) -> Extractor:
    """Return a pick of an id cut to its first few characters."""
    return ShortIdExtractor(pick)


def format_amount(amount: Extractor, currency: Extractor, *, minor: bool = True) -> Extractor:
    """Return a pick of an amount with its currency; `minor` says it is in cents."""
    return MoneyExtractor(amount, currency, minor)


def parse_extractor(text: str, where: str = "") -> Extractor:
    """Return the pick that relay.toml means by `header:NAME`, `body:/json/pointer` or `query:NAME`.

    Raises ConfigError, its sentence led by the key path `where`.
    """
    kind, _, rest = text.partition(":")
    at = f"{where}: " if where else ""
    if kind not in ("header", "body", "query") or not rest.strip():
        raise ConfigError(
            f"{at}'{escape_unprintable(text, 80)}' says neither where to look nor for what",
            hint="write header:NAME, body:/json/pointer or query:NAME",
        )
    if kind == "header":
        return HeaderExtractor(rest.strip())
    if kind == "query":
        return QueryExtractor(rest)
    if not _POINTER.fullmatch(rest):
        raise ConfigError(
            f"{at}'{escape_unprintable(rest, 80)}' is not a JSON Pointer",
            hint="start each step with a slash: body:/data/object/id",
        )
    return PointerExtractor(rest)


def _to_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _limit_text(str(value))
    return _limit_text(value) if isinstance(value, str) else None


def _decode_header(value: str) -> str:
    try:
        return decode_header_text(value)
    except UnicodeEncodeError:
        return value


def _limit_text(text: str) -> str | None:
    if not text.strip():
        return None
    shown = escape_unprintable(text)
    if len(shown) <= MAX_LENGTH:
        return shown
    # Two keys that differ only in their ends must not become one: the second event would be lost.
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{shown[: MAX_LENGTH - 17]}…{mark}"


def _format_money(amount: str, currency: str, minor: bool) -> str:
    number = float(amount)
    if minor and currency not in _WITHOUT_CENTS:
        number /= 100
    digits = 0 if currency in _WITHOUT_CENTS else 2
    symbol = _SYMBOLS.get(currency)
    sign = "-" if number < 0 else ""
    text = f"{abs(number):,.{digits}f}"
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{text} {currency}"
