"""Extractors for the keys of events: what every item of a list says, which keys a body has, a digest of it."""

import hashlib
from dataclasses import dataclass

from relay.model.event import Capture, Extractor
from relay.model.payload import Payload
from relay.model.text import escape_unprintable
from relay.providers.extractors import Path

_MAX_LENGTH = 160
# SendGrid and HubSpot send many events at once; a list beyond this is no batch of events.
_MAX_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class EachItemExtractor:
    """The same values of every item of a list, as one text: what a batch of events is known by.

    None where any item lacks one of `paths`; what is `optional` may be missing.
    """

    items: Path
    paths: tuple[Path, ...]
    optional: tuple[Path, ...] = ()

    def __call__(self, _: Capture, payload: Payload) -> str | None:
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

    def __call__(self, _: Capture, payload: Payload) -> str | None:
        keys = payload.json if isinstance(payload.json, dict) else ()
        found = (key for key in keys if key not in self.besides and key.endswith(self.ending))
        return escape_unprintable(next(found, ""), 100) or None


@dataclass(frozen=True, slots=True)
class BodyDigestExtractor:
    """The first half of the body's SHA-256, which tells requests apart whose sender's ids are not unique."""

    def __call__(self, capture: Capture, _: Payload) -> str | None:
        return hashlib.sha256(capture.body).hexdigest()[:32] if capture.body else None


@dataclass(frozen=True, slots=True)
class OnlyWithExtractor:
    """A text that counts only where some others are there too."""

    extractor: Extractor
    others: tuple[Extractor, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        if any(other(capture, payload) is None for other in self.others):
            return None
        return self.extractor(capture, payload)


@dataclass(frozen=True, slots=True)
class OnlySingleExtractor:
    """A text that counts only where each of some lists has one element: it says nothing of a second one."""

    lists: tuple[Path, ...]
    extractor: Extractor

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        found = (payload.at(*path) for path in self.lists)
        if any(not isinstance(held, list) or len(held) != 1 for held in found):
            return None
        return self.extractor(capture, payload)


body_digest = BodyDigestExtractor


def each_item(items: Path, *paths: Path, optional: tuple[Path, ...] = ()) -> Extractor:
    """Extract values of all items: `each_item(("value",), ("id",))`; `()` is a body that is a list."""
    return EachItemExtractor(items, paths, optional)


def only_with(extractor: Extractor, *others: Extractor) -> Extractor:
    """Extract a text only where the others find one, too."""
    return OnlyWithExtractor(extractor, others)


def only_single(extractor: Extractor, *lists: Path) -> Extractor:
    """Extract a text of requests where each of the lists has one element."""
    return OnlySingleExtractor(lists, extractor)


def first_key(*besides: str, ending: str = "") -> Extractor:
    """Extract the body's first key besides some: `first_key("update_id")`, `first_key(ending="_events")`."""
    return FirstKeyExtractor(besides, ending)


def _value_at(item: object, path: Path) -> object:
    for step in path:
        item = item.get(step) if isinstance(item, dict) else None
    return item
