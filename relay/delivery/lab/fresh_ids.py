"""Give an event ids that its app has not seen, so that an app which drops duplicates processes it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

from relay.actions.outgoing_request import edit_request
from relay.delivery.signing import CHARACTER_CLASSES
from relay.model.delivery import NO_CHANGES, DeliveryChanges
from relay.model.event import CapturedEvent
from relay.model.payload import Payload

# Length of an id. Shorter text may occur in a body with another meaning, so its location decides.
_SHORTEST_ID = 6
_MOST_CHANGED = 8  # letters at its end that are replaced
# Names of the fields and headers that hold the id of an event, in the order of preference.
_EVENT_ID = re.compile(
    r"id|uuid|guid|(x-)?([\w-]+-)?(event|delivery|message|msg|notification|webhook|svix|idempotency)[_-]?(id|uuid|key)",
    re.IGNORECASE,
)
_ANY_ID = re.compile(r".*(id|delivery)", re.IGNORECASE)
# A value under such a name belongs to an event; `id` alone may be the id of an order.
_CERTAIN_ID = re.compile(r"(evt|event|msg|notif|wh)[\w-]*\d[\w-]*", re.IGNORECASE)
_MEMBER = re.compile(rb'"(?P<name>[^"\\]*)"\s*:\s*(?:"(?P<text>[^"\\]*)"|(?P<number>\d+))(?=\s*(?:[,}\]]|$))')
_FIELD = re.compile(rb"(?:^|(?<=&))(?P<name>[^=&]+)=(?P<text>[^&]*)")
# Locations of the id of the object that an event is about.
_OBJECT_IDS = ("/data/object/id", "/data/id", "/object/id", "/resource/id", "/id")


def find_event_ids(event: CapturedEvent) -> tuple[str, ...]:
    """Return the ids that identify an event within its source: its idempotency key, or the parts of it.

    A key of several parts (`evt:paid:7`) is rarely in a request as a whole. Only the parts found in it count.
    If the source has no key, values named like an event's id are used.
    """
    key = event.row.idempotency_key or ""
    if not key:
        return tuple(dict.fromkeys(_named_ids(event)))
    parts = (part for part in re.split(r"[:|/ ]", key) if _has_digit(part) and part != event.row.type)
    whole = [key] if _contains_id(event, key) else []
    return tuple(whole or dict.fromkeys(part for part in parts if _contains_id(event, part)))


def find_object_id(event: CapturedEvent) -> str | None:
    """Return the id of the object that an event is about, None if there is none."""
    payload = Payload(event.capture.body, event.capture.content_type)
    ids = (payload.pointer(pointer) for pointer in _OBJECT_IDS)
    own = find_event_ids(event)
    texts = (str(id_) for id_ in ids if isinstance(id_, str | int) and not isinstance(id_, bool))
    return next((text for text in texts if len(text) >= _SHORTEST_ID and _has_digit(text) and text not in own), None)


def renew_ids(changes: DeliveryChanges, event: CapturedEvent, ids: Iterable[str], seed: str) -> DeliveryChanges:
    """Return the changes with each of the ids replaced in headers and body.

    A new id has the same form, and the same seed gives the same one in every event that holds it.
    """
    before = edit_request(event.capture, changes)
    headers, body, query = before.headers, before.body, before.query
    for id_ in ids:
        fresh = _vary_id(id_, Random(f"{seed} {id_}"))  # noqa: S311 - an id that only has to be another one
        headers = tuple((name, fresh if value == id_ else value) for name, value in headers)
        body = _replace(body, id_, fresh)
        query = _replace_named(_FIELD, query.encode("latin-1"), id_, fresh).decode("latin-1")
    made: dict[str, Any] = {"headers": headers, "body": body, "query": query}
    return replace(changes, **{name: value for name, value in made.items() if value != getattr(before, name)})


def _replace(body: bytes, id_: str, fresh: str) -> bytes:
    if len(id_) >= _SHORTEST_ID:
        return _id_pattern(id_).sub(lambda _: fresh.encode(), body)
    return _replace_named(_MEMBER if body.lstrip()[:1] in (b"{", b"[") else _FIELD, body, id_, fresh)


def _replace_named(pattern: re.Pattern[bytes], data: bytes, id_: str, fresh: str) -> bytes:
    """Replace an id under names of event ids, else under names that end in id, else wherever it is text."""
    found = [match for match in pattern.finditer(data) if _matched_value(match) == id_]
    for named in (_EVENT_ID, _ANY_ID):
        if chosen := [match for match in found if named.fullmatch(_matched_name(match))]:
            break
    else:
        chosen = [match for match in found if match["text"] is not None]
    for match in reversed(chosen):
        start, end = match.span(match.lastgroup or 0)
        data = data[:start] + fresh.encode() + data[end:]
    return data


def _named_ids(event: CapturedEvent) -> Iterator[str]:
    """Return values named like event ids, without those that may be ids of objects."""
    capture = event.capture
    fields = [*_MEMBER.finditer(capture.body), *_FIELD.finditer(capture.query.encode("latin-1"))]
    pairs = [*capture.headers, *((_matched_name(match), _matched_value(match)) for match in fields)]
    for name, value in pairs:
        own = _EVENT_ID.fullmatch(name) and name.lower() not in ("id", "uuid", "guid")
        if value and (own or (name.lower() == "id" and _CERTAIN_ID.fullmatch(value))):
            yield value


def _matched_name(match: re.Match[bytes]) -> str:
    return match["name"].decode("latin-1")


def _matched_value(match: re.Match[bytes]) -> str:
    return match[match.lastgroup or 0].decode("utf-8", "replace")


def _contains_id(event: CapturedEvent, id_: str) -> bool:
    in_headers = any(value == id_ for _, value in event.capture.headers)
    if in_headers or (len(id_) >= _SHORTEST_ID and _id_pattern(id_).search(event.capture.body) is not None):
        return True
    return renew_ids(NO_CHANGES, event, (id_,), "") != NO_CHANGES


def _has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _id_pattern(id_: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![\w-])" + re.escape(id_.encode()) + rb"(?![\w-])")


def _vary_id(id_: str, random: Random) -> str:
    """Return an id of the same form with other letters at its end; the first stays. A short one gets longer."""
    if len(id_) < _SHORTEST_ID:
        # Few letters allow few ids; a number must still fit into 32 bits.
        number = str(random.randint(10**8, 10**9 - 1))
        return number if id_.isascii() and id_.isdigit() else id_ + number
    letters = list(id_)
    for place in range(max(1, len(letters) - _MOST_CHANGED), len(letters)):
        kind = next((kind for kind in CHARACTER_CLASSES if letters[place] in kind), letters[place])
        letters[place] = random.choice(kind)
    return "".join(letters)
