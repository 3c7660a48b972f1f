"""An event under an id that its app has not seen: so that one which drops duplicates looks at it anew."""

import re
from dataclasses import replace
from random import Random

from relay.model.delivery import Changes
from relay.model.event import Event

_SHORTEST = 6  # letters of an id; anything shorter may stand in a body for something else
_TURNED = 8  # letters at its end that become others
_KINDS = ("0123456789", "abcdef", "ABCDEF", "ghijklmnopqrstuvwxyz", "GHIJKLMNOPQRSTUVWXYZ")


def renewed(changes: Changes, event: Event, seed: str) -> Changes:
    """Return the changes with the event's idempotency key replaced wherever it stands in headers and body.

    The new one has the same form, and the same seed gives the same. An event without such a key, or whose
    key stands nowhere as it is, stays as it was.
    """
    key = event.row.idempotency_key or ""
    if len(key) < _SHORTEST:
        return changes
    fresh = _alike(key, Random(seed))  # noqa: S311 - an id that only has to be another one
    headers = tuple((name, fresh if value == key else value) for name, value in event.capture.headers)
    word = rb"(?<![\w-])" + re.escape(key.encode()) + rb"(?![\w-])"
    body = re.sub(word, lambda _: fresh.encode(), event.capture.body)
    if headers != event.capture.headers:
        changes = replace(changes, headers=headers)
    return replace(changes, body=body) if body != event.capture.body else changes


def _alike(key: str, random: Random) -> str:
    """Return a key of the same length and kind, other letters at its end; the first one stays."""
    letters = list(key)
    for place in range(max(1, len(letters) - _TURNED), len(letters)):
        kind = next((kind for kind in _KINDS if letters[place] in kind), letters[place])
        letters[place] = random.choice(kind)
    return "".join(letters)
