"""What differs between two events: facts, headers, and the body place by place."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from relay.cli.client import Json
from relay.cli.show import body_bytes, body_lines
from relay.cli.terminal import as_json
from relay.model.payload import Payload

_FACTS = (
    "source",
    "type",
    "verdict",
    "reason",
    "outcome",
    "status",
    "method",
    "path",
    "query",
    "idempotency_key",
)
_TEXT_LINES = 2000  # lines of two texts that are compared; difflib takes their product


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where two events differ; None stands for nothing there."""

    place: str
    left: str | None
    right: str | None


def differences(left: Json, right: Json) -> list[Difference]:
    """Return every difference between two events as the API gives them whole."""
    facts = [
        Difference(place=name, left=_plain(left[name]), right=_plain(right[name]))
        for name in _FACTS
        if left[name] != right[name]
    ]
    return [*facts, *_headers(left, right), *_bodies(left, right)]


def _headers(left: Json, right: Json) -> Iterator[Difference]:
    one, other = _by_name(left), _by_name(right)
    for name in dict.fromkeys([*one, *other]):
        if one.get(name) != other.get(name):
            yield Difference(
                place=f"header {name}", left=_joined(one.get(name)), right=_joined(other.get(name))
            )


def _by_name(whole: Json) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in whole["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def _joined(values: list[str] | None) -> str | None:
    return None if values is None else ", ".join(values)


def _bodies(left: Json, right: Json) -> Iterator[Difference]:
    one, other = body_bytes(left), body_bytes(right)
    if one == other:
        return
    values = [_payload(whole, content).value for whole, content in ((left, one), (right, other))]
    if None in values:
        yield from _texts(body_lines(one, left["content_type"]), body_lines(other, right["content_type"]))
        return
    found = list(_values(values[0], values[1], ""))
    # Equal as JSON, yet not the same bytes: what breaks a signature without showing anywhere.
    yield from found or [
        Difference(place="body bytes", left=f"{len(one)} bytes", right=f"{len(other)} bytes")
    ]


def _payload(whole: Json, content: bytes) -> Payload:
    return Payload(content, whole["content_type"].partition(";")[0].strip().lower())


def _values(left: Any, right: Any, path: str) -> Iterator[Difference]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in dict.fromkeys([*left, *right]):
            yield from _members(left, right, name, f"{path}.{name}" if path else str(name))
    elif isinstance(left, list) and isinstance(right, list):
        one, other = dict(enumerate(left)), dict(enumerate(right))
        for place in range(max(len(left), len(right))):
            yield from _members(one, other, place, f"{path}[{place}]")
    elif left != right or type(left) is not type(right):
        yield Difference(place=f"body {path}".rstrip(), left=as_json(left), right=as_json(right))


def _members(left: dict[Any, Any], right: dict[Any, Any], key: Any, path: str) -> Iterator[Difference]:
    if key in left and key in right:
        yield from _values(left[key], right[key], path)
        return
    yield Difference(
        place=f"body {path}",
        left=as_json(left[key]) if key in left else None,
        right=as_json(right[key]) if key in right else None,
    )


def _texts(left: list[str], right: list[str]) -> Iterator[Difference]:
    matcher = difflib.SequenceMatcher(None, left[:_TEXT_LINES], right[:_TEXT_LINES], autojunk=False)
    for what, one, one_end, other, other_end in matcher.get_opcodes():
        if what != "equal":
            yield Difference(
                place=f"body line {one + 1}",
                left="\n".join(left[one:one_end]) if one_end > one else None,
                right="\n".join(right[other:other_end]) if other_end > other else None,
            )


def _plain(value: object) -> str | None:
    return None if value is None else str(value)
