"""Requests with several events: their locations and types, and the request reduced to some of them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from relay.model.payload import Payload, PayloadError, parse_json
from relay.model.values import dataclass

MAX_ITEMS = 10_000  # items of a request that are examined

Path = tuple[str | None, ...]
Trail = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ItemPaths:
    """The locations of a request's events: paths into its JSON, in which None means all elements of a list.

    `form` names the form field whose text is that JSON, "" for the body itself. `unless` are keys next to
    such a list that make the request one event itself. Only JSON objects count as events.
    """

    paths: tuple[Path, ...]
    form: str = ""
    unless: tuple[str, ...] = ()

    def split(self, payload: Payload) -> "Split":
        """Return the events of a payload; none if it has another shape. Never raises."""
        root = payload.json if not self.form else _read_form_json(payload, self.form)
        found: list[tuple[Trail, object]] = []
        if isinstance(root, dict) and any(key in root for key in self.unless):
            return Split(payload)
        for path in self.paths:
            items = ((trail, item) for trail, item in _find_items(root, path, ()) if isinstance(item, dict))
            found += islice(items, MAX_ITEMS - len(found))
        return Split(payload, self, root, tuple(found))


LIST = ItemPaths(((None,),))
"""A body that is a list of events."""


@dataclass(frozen=True, slots=True)
class Split:
    """A request and the events in it: where each is in `root`, and its value. `types` has one entry for each.

    Without any event, the request is one event itself.
    """

    payload: Payload
    items: ItemPaths | None = None
    root: object = None
    found: tuple[tuple[Trail, object], ...] = ()
    types: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.found) or 1

    def typed(self, types: tuple[str, ...]) -> "Split":
        """Return the same events with these types, one for each."""
        return Split(self.payload, self.items, self.root, self.found, types)

    @property
    def values(self) -> tuple[object, ...]:
        """Return each event as JSON; the whole payload if it is one event, nothing if it is unreadable."""
        if self.found:
            return tuple(value for _, value in self.found)
        whole = self.payload.value
        return () if whole is None else (whole,)

    def only(self, places: Sequence[int]) -> Payload:
        """Return the payload reduced to the events at `places`."""
        if self.items is None or not self.found:
            return self.payload
        if len(places) == len(self.found):
            return Payload.of(self.root) if self.items.form else self.payload
        return Payload.of(_reduce_value(self.root, [self.found[place][0] for place in places], self.items.paths))

    def value(self, places: Sequence[int]) -> object:
        """Return the `payload` of conditions, reduced to the events at `places`; a form stays whole."""
        if self.items is not None and self.items.form:
            return self.payload.value
        return self.only(places).value


@dataclass(frozen=True, slots=True)
class RequestItems:
    """The stored data on the events in a request: their locations, their distinct types, and the type of each."""

    items: ItemPaths
    types: tuple[str, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, split: Split) -> "RequestItems | None":
        """Return the data to store for a split; None if the request is one event itself."""
        if split.items is None or not split.found:
            return None
        types = tuple(dict.fromkeys(split.types))
        places = {name: place for place, name in enumerate(types)}
        return cls(split.items, types, tuple(places[name] for name in split.types))

    def split(self, payload: Payload) -> Split:
        """Return the events of the payload, with their types."""
        split = self.items.split(payload)
        types = tuple(self.types[place] for place in self.order)
        return split.typed(types) if len(types) == len(split.found) else Split(payload)

    def plain(self) -> dict[str, object]:
        """Return it as plain values `at`, `form`, `types` and `of`, without defaults."""
        plain: dict[str, object] = {"at": [list(path) for path in self.items.paths], "n": len(self.order)}
        if self.items.form:
            plain["form"] = self.items.form
        if len(self.types) > 1:
            plain |= {"types": list(self.types), "of": list(self.order)}
        return plain

    @classmethod
    def read(cls, plain: Mapping[str, Any], type_: str) -> "RequestItems":
        """Return the items from the values of `plain`, for an event of that type."""
        items = ItemPaths(tuple(tuple(path) for path in plain["at"]), plain.get("form") or "")
        order = tuple(plain["of"]) if plain.get("of") else (0,) * plain["n"]
        return cls(items, tuple(plain.get("types") or (type_,)), order)


def _read_form_json(payload: Payload, field: str) -> object:
    text = next((value for name, value in payload.form if name == field), "")
    try:
        return parse_json(text) if text else None
    except PayloadError:
        return None


def _find_items(value: object, path: Path, trail: Trail) -> Iterator[tuple[Trail, object]]:
    for place, step in enumerate(path):
        if step is None:
            for number, child in enumerate(value if isinstance(value, list) else ()):
                yield from _find_items(child, path[place + 1 :], (*trail, number))
            return
        value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return
        trail = (*trail, step)
    yield trail, value


def _reduce_value(value: object, trails: Sequence[Trail], paths: Sequence[Path]) -> object:
    """Return the value reduced to the events at `trails`, of all events at `paths`."""
    if trails == [()]:
        return value
    groups: dict[str | int, list[Trail]] = {}
    for trail in trails:
        groups.setdefault(trail[0], []).append(trail[1:])
    if isinstance(value, list):
        below = [path[1:] for path in paths if path and path[0] is None]
        return [_reduce_value(value[int(place)], rest, below) for place, rest in groups.items()]
    if not isinstance(value, dict):
        return value
    steps = {path[0] for path in paths if path}
    return {
        key: _reduce_value(child, groups[key], [path[1:] for path in paths if path and path[0] == key])
        if key in groups
        else child
        for key, child in value.items()
        if key in groups or key not in steps
    }
