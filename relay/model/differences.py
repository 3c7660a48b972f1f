"""Compares two events: facts, headers, each location in the body, and the answers of targets."""

import difflib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from decimal import Decimal
from itertools import islice
from typing import Any

from relay.model.event import Headers
from relay.model.json_paths import append_to_path
from relay.model.payload import Payload
from relay.model.values import dataclass

COMPARED_FACTS = (
    *("source", "type", "verdict", "reason", "outcome", "status"),
    *("method", "path", "query", "idempotency_key"),
)
_TEXT_LINES = 2000  # lines of two texts that are compared; difflib's time grows with their product
_EXCERPT = 20  # bytes shown of two bodies that parse to the same value


MISSING = object()  # marks a missing value; JSON's null is a value


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedEvent:
    """An event prepared for comparison: `facts` by name, `answers` by target and name, all as text.

    `query` is used if there is no body.
    """

    facts: Mapping[str, str | None]
    headers: Headers
    content: bytes
    query: str = ""
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPlace:
    """A location in two events; None means a missing value. `part` is fact, header, body or delivery."""

    part: str
    name: str
    left: str | None
    right: str | None
    target: str = ""

    @property
    def differs(self) -> bool:
        """Return whether the two sides differ."""
        return self.left != self.right

    @property
    def full(self) -> str:
        """Return the location on one line: `status`, `header x-env`, `body data.amount`, `delivery to app status`."""
        parts = ("" if self.part == "fact" else self.part, self.target and f"to {self.target}", self.name)
        return " ".join(part for part in parts if part)


def compare_events(left: ComparedEvent, right: ComparedEvent, tell: Callable[[object], str]) -> Iterator[ComparedPlace]:
    """Yield all locations of two events in order, also equal ones; `tell` formats a JSON value.

    A number with a fraction or an exponent is a Decimal, and formatted as in the body.
    """
    yield from _compare_pairs("fact", COMPARED_FACTS, left.facts, right.facts)
    one, other = _join_headers(left.headers), _join_headers(right.headers)
    yield from _compare_pairs("header", dict.fromkeys([*one, *other]), one, other)
    yield from _compare_bodies(left, right, tell)
    for target in dict.fromkeys([*left.answers, *right.answers]):
        mine, yours = left.answers.get(target, {}), right.answers.get(target, {})
        yield from _compare_pairs("delivery", dict.fromkeys([*mine, *yours]), mine, yours, target)


def compare_json(left: object, right: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield the path of each value of two JSON documents with both values; MISSING if there is none."""
    if isinstance(left, dict) and isinstance(right, dict) and (left or right):
        for name in dict.fromkeys([*left, *right]):
            yield from _compare_member(left, right, name, append_to_path(path, str(name), listed=False))
    elif isinstance(left, list) and isinstance(right, list) and (left or right):
        one, other = dict(enumerate(left)), dict(enumerate(right))
        for place in range(max(len(left), len(right))):
            yield from _compare_member(one, other, place, append_to_path(path, str(place), listed=True))
    else:
        yield path, left, right


def is_same_value(left: object, right: object) -> bool:
    """Return whether two leaves are the same JSON: 1, 1.0 and true are three values."""
    return type(left) is type(right) and left == right


def _compare_member(
    left: Mapping[Any, object], right: Mapping[Any, object], key: str | int, path: str
) -> Iterator[tuple[str, object, object]]:
    if key in left and key in right:
        yield from compare_json(left[key], right[key], path)
    else:
        yield path, left.get(key, MISSING), right.get(key, MISSING)


def _compare_pairs(
    part: str, names: Iterable[str], left: Mapping[str, str | None], right: Mapping[str, str | None], target: str = ""
) -> Iterator[ComparedPlace]:
    for name in names:
        yield ComparedPlace(part=part, name=name, left=left.get(name), right=right.get(name), target=target)


def _join_headers(headers: Headers) -> dict[str, str | None]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return {name: ", ".join(values) for name, values in found.items()}


def _compare_bodies(
    left: ComparedEvent, right: ComparedEvent, tell: Callable[[object], str]
) -> Iterator[ComparedPlace]:
    one, other = (Payload.of_request(side.headers, side.content, side.query, exact=True) for side in (left, right))
    is_text = one.value is None or other.value is None
    places = _compare_texts(one.lines(), other.lines()) if is_text else _compare_values(one.value, other.value, tell)
    differing = False
    for place in places:
        differing = differing or place.differs
        yield place
    if not differing and left.content != right.content:
        # Equal values but different bytes: this breaks a signature without being visible.
        mine, yours = _describe_bytes(left.content, right.content)
        yield ComparedPlace(part="body", name="bytes", left=mine, right=yours)


def _compare_values(left: object, right: object, tell: Callable[[object], str]) -> Iterator[ComparedPlace]:
    for path, mine, yours in compare_json(left, right):
        texts = [None if value is MISSING else _write_value(value, tell) for value in (mine, yours)]
        yield ComparedPlace(part="body", name=path, left=texts[0], right=texts[1])


def _write_value(value: object, tell: Callable[[object], str]) -> str:
    return str(value) if isinstance(value, Decimal) else tell(value)


def _describe_bytes(left: bytes, right: bytes) -> list[str]:
    """Return how two contents differ: their sizes, or if these are equal the text after the first change."""
    if len(left) != len(right):
        return [f"{len(content)} bytes" for content in (left, right)]
    at = bisect_left(range(len(left)), True, key=lambda place: left[: place + 1] != right[: place + 1])
    excerpts = [content[at : at + _EXCERPT].decode("utf-8", "backslashreplace") for content in (left, right)]
    return [f"{len(left)} bytes, from byte {at + 1}: {excerpt}" for excerpt in excerpts]


def _compare_texts(left: Iterable[str], right: Iterable[str]) -> Iterator[ComparedPlace]:
    one, other = (list(islice(lines, _TEXT_LINES)) for lines in (left, right))
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    for _, start, end, begin, stop in matcher.get_opcodes():
        yield ComparedPlace(
            part="body",
            name=f"line {start + 1}",
            left="\n".join(one[start:end]) if end > start else None,
            right="\n".join(other[begin:stop]) if stop > begin else None,
        )
