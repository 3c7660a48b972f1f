"""Extractors for the keys of events: what every item of a list says, which keys a body has, a digest of it."""

import hashlib

from relay.model.event import Capture, Extractor
from relay.model.payload import Payload
from relay.model.text import escape_unprintable
from relay.providers.extractors import make_extractor, split_path

_MAX_LENGTH = 160
# SendGrid and HubSpot send many events at once; a list beyond this is no batch of events.
_MAX_ITEMS = 10_000


@make_extractor
def each_item(_: Capture, payload: Payload, items: str, *paths: str) -> str | None:
    """Extract the values of all items of a list, as one text: `each_item("value", "id", "resource?")`.

    "" is a body that is a list. None where any item lacks a value whose path does not end in a question mark.
    """
    listed = payload.at(*split_path(items))
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_ITEMS:
        return None
    split = [(split_path(path.removesuffix("?")), path.endswith("?")) for path in paths]
    found: list[str] = []
    for item in listed:
        for keys, may_lack in split:
            value = item
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if not isinstance(value, str | int) and not may_lack:
                return None
            found.append(str(value) if isinstance(value, str | int) else "")
    text = "-".join(found)
    if len(text) <= _MAX_LENGTH:
        return escape_unprintable(text)
    # Two batches that begin alike must not become one: the second would count as a duplicate.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@make_extractor
def first_key(_: Capture, payload: Payload, besides: str, ending: str = "") -> str | None:
    """Extract the body's first key that ends so, besides one: `first_key("update_id")`, `first_key("", "_events")`."""
    keys = payload.json if isinstance(payload.json, dict) else ()
    found = (key for key in keys if key != besides and key.endswith(ending))
    return escape_unprintable(next(found, ""), 100) or None


@make_extractor
def body_digest(capture: Capture, _: Payload) -> str | None:
    """Extract half of the body's SHA-256, which tells requests apart whose sender's ids are not unique."""
    return hashlib.sha256(capture.body).hexdigest()[:32] if capture.body else None


@make_extractor
def only_single(capture: Capture, payload: Payload, extractor: Extractor, *lists: str) -> str | None:
    """Extract a text of requests where each of some lists has one element: it says nothing of a second one."""
    found = (payload.at(*split_path(path)) for path in lists)
    if any(not isinstance(held, list) or len(held) != 1 for held in found):
        return None
    return extractor(capture, payload)
