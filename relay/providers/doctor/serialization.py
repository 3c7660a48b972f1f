"""Hypotheses on a JSON or form body that was parsed and serialized again."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice, permutations, product
from math import factorial, prod
from typing import Any
from urllib.parse import quote, quote_plus

from relay.model.payload import PayloadError, parse_form, parse_json
from relay.model.text import escape_unprintable
from relay.providers.catalogue import find_provider
from relay.providers.doctor.case import BYTES_ADVICE, SignatureCase, SignatureFinding, VariantTester
from relay.providers.samples import load_sample, sample_types
from relay.providers.schemes.locations import InEach, InForm, InJson
from relay.providers.schemes.shared_secret import SharedToken
from relay.providers.schemes.vendor_schemes import AdyenItems, Sns

MAX_BODY = 1_000_000  # bytes above which a body is not serialized again
_SPACES = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")|[ \t\r\n]+')
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_HTML_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


# Name, separators and indent of JSON layouts.
_JSON_LAYOUTS: tuple[tuple[str, tuple[str, str], int | str | None], ...] = (
    ("compact", (",", ":"), None),  # JSON.stringify, Go, most senders
    ("spaced", (", ", ": "), None),  # json.dumps of Python
    ("two-space indented", (",", ": "), 2),  # Stripe, Plaid, Ruby's pretty_generate
    ("four-space indented", (",", ": "), 4),  # PHP's JSON_PRETTY_PRINT
    ("tab indented", (",", ": "), "\t"),
)


def minify_json(body: bytes) -> bytes:
    """Return JSON without white space, with the original spelling of texts and numbers."""
    return _SPACES.sub(lambda match: match[1] or b"", body)


def list_json_variants(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Return a JSON body in the layouts of senders, each with its name; none if it is not JSON."""
    if len(body) > MAX_BODY:
        return
    try:
        value = parse_json(body)
    except PayloadError:
        return
    yield "compact", minify_json(body)
    if isinstance(value, str):
        yield "not wrapped in a JSON text", value.encode("utf-8", "surrogatepass")
    layouts = product((("", False), (", keys sorted", True)), _JSON_LAYOUTS, (("", False), (", \\u-escaped", True)))
    for (order, keys_sorted), (name, separators, indent), (letters, ascii_only) in layouts:
        text = json.dumps(value, separators=separators, indent=indent, ensure_ascii=ascii_only, sort_keys=keys_sorted)
        for label, spelt in _spell_json(text, f"{name}{letters}{order}"):
            encoded = spelt.encode("utf-8", "surrogatepass")
            yield label, encoded
            yield f"{label}, with a newline at its end", encoded + b"\n"


def _spell_json(text: str, name: str) -> Iterator[tuple[str, str]]:
    yield name, text
    if "/" in text:
        # The default of PHP's json_encode.
        yield f"{name}, slashes escaped", text.replace("/", "\\/")
    escaped = text.translate(_HTML_ESCAPES)
    if escaped != text:
        # The default of Go's encoding/json.
        yield f"{name}, HTML letters escaped", escaped


def list_form_variants(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Return a form body in the ways that senders encode forms, each with its name."""
    if len(body) > MAX_BODY:
        return
    try:
        pairs = parse_form(body)
    except PayloadError:
        return
    for order, listed in (("", pairs), (", fields sorted", tuple(sorted(pairs)))):
        for name, encode in _FORM_ENCODINGS:
            text = "&".join(f"{encode(key)}={encode(value)}" for key, value in listed)
            yield f"{name}{order}", text.encode("latin-1")


_FORM_ENCODINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    # Python's urlencode, Java's URLEncoder and PHP's http_build_query.
    ("spaces as +", lambda text: quote_plus(text, errors="surrogateescape")),
    # encodeURIComponent, which leaves a few more characters unescaped.
    ("spaces as %20", lambda text: quote(text, safe="", errors="surrogateescape")),
    ("as browsers do", lambda text: quote_plus(text, safe="*-._", errors="surrogateescape").replace("~", "%7E")),
    (
        "escapes in lower case",
        lambda text: _ESCAPE.sub(lambda match: match[0].lower(), quote_plus(text, errors="surrogateescape")),
    ),
)


_ORDER_KIND = "Keys in another order"
_MAX_ORDERS = 6_000  # orders of one body that are tried
JsonLayout = tuple[tuple[str, str], int | None]
_COMPACT: JsonLayout = ((",", ":"), None)
_LAYOUTS: tuple[JsonLayout, ...] = (_COMPACT, ((", ", ": "), None))
_MAX_MOVED_KEYS = 24  # keys of an object up to which each is moved individually
_MAX_SAMPLES = 12  # samples of a provider that are read
_MIN_SORTED_KEYS = 4  # minimum keys of an object whose order is significant

_NUMBERS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?')
_PROTECTED_NUMBER = re.compile(r'"\\u0000(-?[0-9][0-9.eE+-]*)"')

KeyOrder = Mapping[frozenset[str], tuple[str, ...]]


def try_key_orders(tester: VariantTester) -> SignatureFinding | None:
    """Try the keys of the JSON in the order of earlier events, of the provider's samples, and in every order."""
    received = tester.case.capture.body
    if len(received) > MAX_BODY:
        return None
    value = parse_object(_NUMBERS.sub(_protect_number, received))
    seen = {received}
    for body in _order_variants(tester.case, value) if value is not None else ():
        if body in seen:
            continue
        seen.add(body)
        if found := tester.find_match(_ORDER_KIND, [(body, tester.case.with_body(body))]):
            return SignatureFinding(
                cause="body_changed",
                title="The body changed before it reached relay: its keys were put in another order",
                sentence=f"The signature fits {found[1]} with its keys in this order: {_format_keys(body)}.",
                fix=f"{BYTES_ADVICE}: no parsed JSON.",
            )
        if tester.is_late():
            return None
    return None


def is_sorted(body: bytes) -> bool:
    """Return whether all objects of a JSON body have sorted keys, and one has several."""
    value = parse_object(body)
    objects = [] if value is None else [list(item) for item in _walk_objects(value)]
    return all(keys == sorted(keys) for keys in objects) and any(len(keys) >= _MIN_SORTED_KEYS for keys in objects)


def signs_bytes(scheme: object) -> bool:
    """Return whether a signature covers the bytes of the body, not fields of it or nothing at all."""
    return not (isinstance(scheme, SharedToken | AdyenItems | Sns) or is_in_body(scheme))


def is_in_body(scheme: object) -> bool:
    """Return whether a scheme reads its signature from the body."""
    return isinstance(getattr(scheme, "place", None), InJson | InEach | InForm)


def list_known_orders(case: SignatureCase) -> Iterator[KeyOrder]:
    """Return the known key orders of the provider: of earlier events and of its samples."""
    for _, body in case.recent:
        earlier = parse_object(body)
        if earlier is not None:
            yield _find_orders(earlier)
    provider = find_provider(case.source.provider)
    if provider is None:
        return
    for type_ in islice(sample_types(provider), _MAX_SAMPLES):
        sample = load_sample(provider, type_)
        if sample.kind == "json":
            yield _find_orders(parse_json(sample.text))


def _find_orders(value: Any) -> dict[frozenset[str], tuple[str, ...]]:
    return {frozenset(item): tuple(item) for item in _walk_objects(value)}


def parse_object(body: bytes) -> Any:
    """Return the parsed body if it is a JSON object or list; None for any other, or if it is too long."""
    if len(body) > MAX_BODY:
        return None
    try:
        value = parse_json(body)
    except PayloadError:
        return None
    return value if isinstance(value, dict | list) else None


def _order_variants(case: SignatureCase, value: Any) -> Iterator[bytes]:
    provider = find_provider(case.source.provider)
    usual = ((",", ": "), provider.indent) if provider and provider.indent else _COMPACT
    for order, layout in product(list_known_orders(case), dict.fromkeys((usual, *_LAYOUTS))):
        yield from _serialize(_arrange_keys(value, order), (layout,))
    objects = {keys: names for keys, names in _find_orders(value).items() if len(names) > 1}
    upside_down = {keys: names[::-1] for keys, names in objects.items()}
    sorted_down = {keys: tuple(sorted(names, reverse=True)) for keys, names in objects.items()}
    moved = ({**objects, frozenset(names): names} for names in _move_keys(next(iter(objects.values()), ())))
    for ways in chain((upside_down, sorted_down), moved):
        yield from _serialize(_arrange_keys(value, ways))
    top = frozenset(value) if isinstance(value, dict) else frozenset()
    total = prod(factorial(len(keys)) for keys in objects.values())
    if total > _MAX_ORDERS:
        objects = {top: objects[top]} if top in objects else {}
    every = [permutations(keys) for keys in objects.values()]
    for found in islice(product(*every), _MAX_ORDERS):
        yield from _serialize(_arrange_keys(value, dict(zip(objects, found, strict=True))))


def _move_keys(keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Return the keys with one of them moved: it was removed and added again."""
    for key in keys if len(keys) <= _MAX_MOVED_KEYS else ():
        rest = tuple(other for other in keys if other != key)
        yield from ((*rest[:place], key, *rest[place:]) for place in range(len(keys)))


def _format_keys(body: bytes) -> str:
    value = parse_json(body)
    first = next((item for item in _walk_objects(value) if len(item) > 1), {})
    return escape_unprintable(", ".join(first), 160)


def _walk_objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _arrange_keys(value: Any, order: KeyOrder) -> Any:
    if isinstance(value, dict):
        keys = order.get(frozenset(value), tuple(value))
        return {key: _arrange_keys(value[key], order) for key in keys}
    return [_arrange_keys(item, order) for item in value] if isinstance(value, list) else value


def _serialize(value: Any, layouts: Iterable[JsonLayout] = _LAYOUTS) -> Iterator[bytes]:
    for separators, indent in layouts:
        for ascii_only in (False, True):
            text = json.dumps(value, separators=separators, indent=indent, ensure_ascii=ascii_only)
            yield _PROTECTED_NUMBER.sub(r"\1", text).encode("utf-8", "surrogatepass")


def _protect_number(match: re.Match[bytes]) -> bytes:
    """Return a number as text that `_serialize` turns into a number with the original spelling: 10.50 stays 10.50."""
    token = match[0]
    return token if token.startswith(b'"') else b'"\\u0000%s"' % token
