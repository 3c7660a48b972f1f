"""Picks that look through a list of events, or at which keys a body has."""

import hashlib
from dataclasses import dataclass

from relay.model.event import Capture, Pick
from relay.model.payload import Payload
from relay.model.text import printable

_MOST = 10_000
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class EachPick:
    """The same values of every item of a list, as one text: what a batch of events is known by."""

    items: tuple[str | int, ...]
    paths: tuple[tuple[str | int, ...], ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the values joined, or their digest where they are many; None when any is missing."""
        del capture
        items = payload.at(*self.items)
        if not isinstance(items, list) or not 0 < len(items) <= _MOST:
            return None
        values = [_at(item, path) for item in items for path in self.paths]
        if any(not isinstance(value, str | int) for value in values):
            return None
        text = "-".join(str(value) for value in values)
        if len(text) <= _LONGEST:
            return printable(text)
        # Two batches that begin alike must not become one: the second would count as a duplicate.
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyPick:
    """The first key of the body that ends as given and is none of some others."""

    besides: tuple[str, ...]
    ending: str = ""

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the key."""
        del capture
        body = payload.json
        keys = body if isinstance(body, dict) else ()
        found = (key for key in keys if key not in self.besides and key.endswith(self.ending))
        return printable(next(found, ""), 100) or None


def each(items: tuple[str | int, ...], *paths: tuple[str | int, ...]) -> Pick:
    """Return a pick of values of all items: `each(("value",), ("id",))`; `()` is a body that is a list."""
    return EachPick(items, paths)


def key(*besides: str, ending: str = "") -> Pick:
    """Return a pick of the body's first key besides some: `key("update_id")`, `key(ending="_events")`."""
    return KeyPick(besides, ending)


def _at(item: object, path: tuple[str | int, ...]) -> object:
    for step in path:
        item = item.get(step) if isinstance(item, dict) else None
    return item
