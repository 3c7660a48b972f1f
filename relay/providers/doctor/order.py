"""JSON whose keys stand in another order than the sender wrote them, because something read and wrote it again."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice, permutations, product
from math import factorial, prod
from typing import Any

from relay.model.payload import PayloadError, parse_json
from relay.model.text import printable
from relay.providers.catalogue import find
from relay.providers.doctor.bench import Bench, with_body
from relay.providers.doctor.case import Case, Finding, name_of
from relay.providers.doctor.reserialised import LIMIT
from relay.providers.samples import load, sample_types

_KIND = "Keys in another order"
_MOST = 6_000  # orders of one body that are tried
_LAYOUTS = ((",", ":"), (", ", ": "))
_MOVED = 24  # keys of an object of which one at a time is moved
_SAMPLES = 12  # of a provider that are read
_SORTED_FROM = 4  # keys of an object whose order says something

_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?')
_HELD = re.compile(r'"\\u0000(-?[0-9][0-9.eE+-]*)"')

Order = Mapping[frozenset[str], tuple[str, ...]]


def reordered(bench: Bench) -> Iterator[Finding]:
    """Try the keys of the JSON in the order of earlier events, of the provider's samples, and in every order."""
    received = bench.case.capture.body
    value = _object(_NUMBERS.sub(_held, received))
    if value is None:
        return
    seen = {received}
    for body in _bodies(bench.case, value):
        if body in seen:
            continue
        seen.add(body)
        for secret in bench.own:
            if bench.fits(secret, _KIND, capture=with_body(bench.case.capture, body)):
                yield Finding(
                    cause="body_changed",
                    title="The body changed before it reached relay: its keys were put in another order",
                    sentence=f"The signature fits {name_of(secret)} with its keys in this order: {_shown(body)}.",
                    fix="Let whatever stands between the provider and relay pass the body on byte for byte: no parsed "
                    "JSON.",
                    certain=True,
                )
                return
        if bench.is_late():
            return


def looks_sorted(body: bytes) -> bool:
    """Say whether every object of a JSON body has its keys in alphabetical order, and one has several."""
    value = _object(body)
    objects = [] if value is None else [list(item) for item in _objects(value)]
    return all(keys == sorted(keys) for keys in objects) and any(
        len(keys) >= _SORTED_FROM for keys in objects
    )


def usual_orders(case: Case) -> Iterator[Order]:
    """Return the orders of keys that the provider is known to send: earlier events' and its samples'."""
    for _, body in case.recent:
        earlier = _object(body)
        if earlier is not None:
            yield {frozenset(item): tuple(item) for item in _objects(earlier)}
    provider = find(case.source.provider)
    for type_ in islice(sample_types(provider) if provider else (), _SAMPLES):
        sample = load(provider, type_) if provider else None
        if sample is not None and sample.kind == "json":
            yield {frozenset(item): tuple(item) for item in _objects(parse_json(sample.text))}


def _object(body: bytes) -> Any:
    if len(body) > LIMIT:
        return None
    try:
        value = parse_json(body)
    except PayloadError:
        return None
    return value if isinstance(value, dict | list) else None


def _bodies(case: Case, value: Any) -> Iterator[bytes]:
    for order in usual_orders(case):
        yield from _written(_arranged(value, order))
    objects = {frozenset(item): tuple(item) for item in _objects(value) if len(item) > 1}
    upside_down = {keys: names[::-1] for keys, names in objects.items()}
    sorted_down = {keys: tuple(sorted(names, reverse=True)) for keys, names in objects.items()}
    moved = ({**objects, frozenset(names): names} for names in _moves(next(iter(objects.values()), ())))
    for ways in chain((upside_down, sorted_down), moved):
        yield from _written(_arranged(value, ways))
    top = frozenset(value) if isinstance(value, dict) else frozenset()
    total = prod(factorial(len(keys)) for keys in objects.values())
    if total > _MOST:
        objects = {top: objects[top]} if top in objects else {}
    every = [permutations(keys) for keys in objects.values()]
    for found in islice(product(*every), _MOST):
        yield from _written(_arranged(value, dict(zip(objects, found, strict=True))))


def _moves(keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Return the keys with one of them in another place: it was taken out and put back."""
    for key in keys if len(keys) <= _MOVED else ():
        rest = tuple(other for other in keys if other != key)
        yield from ((*rest[:place], key, *rest[place:]) for place in range(len(keys)))


def _shown(body: bytes) -> str:
    value = parse_json(body)
    first = next((item for item in _objects(value) if len(item) > 1), {})
    return printable(", ".join(first), 160)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _arranged(value: Any, order: Order) -> Any:
    if isinstance(value, dict):
        keys = order.get(frozenset(value), tuple(value))
        return {key: _arranged(value[key], order) for key in keys}
    return [_arranged(item, order) for item in value] if isinstance(value, list) else value


def _written(value: Any) -> Iterator[bytes]:
    for separators in _LAYOUTS:
        for ascii_only in (False, True):
            text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
            yield _HELD.sub(r"\1", text).encode("utf-8", "surrogatepass")


def _held(match: re.Match[bytes]) -> bytes:
    """Return a number as a text that `_written` makes a number again, spelt as it came: 10.50 stays 10.50."""
    token = match[0]
    return token if token.startswith(b'"') else b'"\\u0000%s"' % token
