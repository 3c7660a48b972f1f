"""Picks for the keys of events: what every item of a list says, which keys a body has, a digest of it."""

import hashlib
from dataclasses import dataclass

from relay.model.event import Capture, Extractor
from relay.model.payload import Payload
from relay.model.text import escape_unprintable

_MAX_ITEMS = 10_000
_MAX_LENGTH = 160


@dataclass(frozen=True, slots=True)
class EachItemExtractor:
    """The same values of every item of a list, as one text: what a batch of events is known by."""

    items: tuple[str | int, ...]
    paths: tuple[tuple[str | int, ...], ...]
    optional: tuple[tuple[str | int, ...], ...] = ()

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the values joined, or their digest where they are many; None when any of `paths` is missing."""
        del capture
        items = payload.at(*self.items)
        if not isinstance(items, list) or not 0 < len(items) <= _MAX_ITEMS:
            return None
        found: list[str] = []
        for item in items:
            values = [_value_at(item, path) for path in self.paths]
            if any(not isinstance(value, str | int) for value in values):
                return None
            values += [_value_at(item, path) for path in self.optional]
            found += [str(value) if isinstance(value, str | int) else "" for value in values]
        text = "-".join(found)
        if len(text) <= _MAX_LENGTH:
            return escape_unprintable(text)
        # Two batches that begin alike must not become one: the second would count as a duplicate.
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class FirstKeyExtractor:
    """The first key of the body that ends as given and is none of some others."""

    besides: tuple[str, ...]
    ending: str = ""

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the key."""
        del capture
        body = payload.json
        keys = body if isinstance(body, dict) else ()
        found = (key for key in keys if key not in self.besides and key.endswith(self.ending))
        return escape_unprintable(next(found, ""), 100) or None


@dataclass(frozen=True, slots=True)
class BodyDigestExtractor:
    """The first half of the body's SHA-256: what tells two requests apart that nothing else does."""

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the digest in hex; None for an empty body."""
        del payload
        return hashlib.sha256(capture.body).hexdigest()[:32] if capture.body else None


@dataclass(frozen=True, slots=True)
class OnlyWithExtractor:
    """A value that counts only where some others are there too."""

    pick: Extractor
    others: tuple[Extractor, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the value, or None where one of the others is missing."""
        if any(other(capture, payload) is None for other in self.others):
            return None
        return self.pick(capture, payload)


@dataclass(frozen=True, slots=True)
class OnlySingleExtractor:
    """A value that counts only where each of some lists has one element: it says nothing of a second one."""

    lists: tuple[tuple[str | int, ...], ...]
    pick: Extractor

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the value, or None where a list has several elements or is none."""
        found = (payload.at(*path) for path in self.lists)
        if any(not isinstance(held, list) or len(held) != 1 for held in found):
            return None
        return self.pick(capture, payload)


def each_item(
    items: tuple[str | int, ...], *paths: tuple[str | int, ...], optional: tuple[tuple[str | int, ...], ...] = ()
) -> Extractor:
    """Return a pick of values of all items: `each(("value",), ("id",))`; `()` is a body that is a list."""
    return EachItemExtractor(items, paths, optional)


def body_digest() -> Extractor:
    """Return a pick of a digest of the body, for keys of senders whose ids are not unique."""
    return BodyDigestExtractor()


def only_with(pick: Extractor, *others: Extractor) -> Extractor:
    """Return a pick that gives something only where the others do too."""
    return OnlyWithExtractor(pick, others)


def only_single(pick: Extractor, *lists: tuple[str | int, ...]) -> Extractor:
    """Return a pick for requests where each of the lists has one element: `sole(body("a", 0, "id"), ("a",))`."""
    return OnlySingleExtractor(lists, pick)


def first_key(*besides: str, ending: str = "") -> Extractor:
    """Return a pick of the body's first key besides some: `key("update_id")`, `key(ending="_events")`."""
    return FirstKeyExtractor(besides, ending)


def _value_at(item: object, path: tuple[str | int, ...]) -> object:
    for step in path:
        item = item.get(step) if isinstance(item, dict) else None
    return item
