"""Looking for a word in a body: which lines of its tree hold it, or where in its text it stands."""

import json
from collections.abc import Iterator

from relay.model.paths import below

MOST = 1000


def in_tree(value: object, wanted: str) -> tuple[str, ...]:
    """Return the pointers of the lines whose key or value holds `wanted`, in order, at most MOST."""
    folded = wanted.lower()
    if not folded:
        return ()
    found: list[str] = []
    for pointer, key, leaf in _walk(value):
        if folded in key.lower() or (leaf is not None and folded in leaf.lower()):
            found.append(pointer)
            if len(found) == MOST:
                break
    return tuple(found)


def in_text(body: bytes, wanted: str) -> tuple[int, ...]:
    """Return the byte offsets where `wanted` stands, ASCII letters without regard to case, at most MOST."""
    needle, folded = wanted.encode("utf-8", "replace").lower(), body.lower()
    found: list[int] = []
    here = folded.find(needle) if needle else -1
    while here >= 0 and len(found) < MOST:
        found.append(here)
        here = folded.find(needle, here + len(needle))
    return tuple(found)


def _walk(value: object) -> Iterator[tuple[str, str, str | None]]:
    # A stack rather than recursion, so that the order is the tree's and depth costs nothing.
    stack: list[tuple[str, str, object]] = [("", "", value)]
    while stack:
        pointer, key, here = stack.pop()
        kids = list(here.items()) if isinstance(here, dict) else []
        if isinstance(here, list):
            kids = [(str(index), member) for index, member in enumerate(here)]
        if pointer:
            yield pointer, key if not key.isdigit() else "", None if kids else _text(here)
        elif not kids:
            yield "", "", _text(here)
        stack.extend((below(pointer, name), name, member) for name, member in reversed(kids))


def _text(leaf: object) -> str:
    return leaf if isinstance(leaf, str) else json.dumps(leaf)
