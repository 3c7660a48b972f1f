"""An event under ids that its app has not seen: so that one which drops duplicates looks at it."""

import re
from collections.abc import Iterable
from dataclasses import replace
from random import Random

from relay.model.delivery import Changes
from relay.model.event import Event
from relay.model.payload import Payload

_SHORTEST = 6  # letters of an id; anything shorter may stand in a body for something else
_TURNED = 8  # letters at its end that become others
_KINDS = ("0123456789", "abcdef", "ABCDEF", "ghijklmnopqrstuvwxyz", "GHIJKLMNOPQRSTUVWXYZ")
# Where providers keep the id of the object that an event is about.
_OBJECT_IDS = ("/data/object/id", "/data/id", "/object/id", "/resource/id", "/id")


def find_event_ids(event: Event) -> tuple[str, ...]:
    """Return the ids that tell an event from others of its source: its idempotency key, or the parts of it.

    A key of several parts (`evt:paid:7`) is seldom in a request as a whole. Only the parts that are there count.
    """
    key = event.row.idempotency_key or ""
    parts = (part for part in re.split(r"[:|/ ]", key) if _is_id(part) and part != event.row.type)
    whole = [key] if len(key) >= _SHORTEST and _stands_in(event, key) else []
    return tuple(whole or dict.fromkeys(part for part in parts if _stands_in(event, part)))


def find_object_id(event: Event) -> str | None:
    """Return the id of the object that an event is about, None where there is no such id."""
    payload = Payload(event.capture.body, event.capture.content_type)
    ids = (payload.pointer(pointer) for pointer in _OBJECT_IDS)
    own = find_event_ids(event)
    texts = (str(id_) for id_ in ids if isinstance(id_, str | int) and not isinstance(id_, bool))
    return next((text for text in texts if _is_id(text) and text not in own), None)


def renew_ids(changes: Changes, event: Event, ids: Iterable[str], seed: str) -> Changes:
    """Return the changes with each of the ids replaced in headers and body.

    A new id has the same form, and the same seed gives the same one in every event that holds it.
    """
    before = event.capture.headers if changes.headers is None else changes.headers
    headers, body = before, event.capture.body if changes.body is None else changes.body
    for id_ in ids:
        fresh = _vary(id_, Random(f"{seed} {id_}"))  # noqa: S311 - an id that only has to be another one
        headers = tuple((name, fresh if value == id_ else value) for name, value in headers)
        body = _word(id_).sub(fresh.encode(), body)
    if headers != before:
        changes = replace(changes, headers=headers)
    return replace(changes, body=body) if body != (changes.body or event.capture.body) else changes


def _stands_in(event: Event, id_: str) -> bool:
    in_headers = any(value == id_ for _, value in event.capture.headers)
    return in_headers or _word(id_).search(event.capture.body) is not None


def _is_id(text: str) -> bool:
    return len(text) >= _SHORTEST and any(letter.isdigit() for letter in text)


def _word(id_: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![\w-])" + re.escape(id_.encode()) + rb"(?![\w-])")


def _vary(id_: str, random: Random) -> str:
    """Return an id of the same length and kind, other letters at its end; the first one stays."""
    letters = list(id_)
    for place in range(max(1, len(letters) - _TURNED), len(letters)):
        kind = next((kind for kind in _KINDS if letters[place] in kind), letters[place])
        letters[place] = random.choice(kind)
    return "".join(letters)
