"""Who was turned away at the door: how often for which source and why, and the latest of each kind."""

from collections.abc import Iterator
from dataclasses import dataclass

from relay.model.signals import Refused

_SOURCES = 1000  # names counted apart; the inbox takes any name, and memory has an end


@dataclass(slots=True)
class Kind:
    """Requests refused with one status; `latest` is the last of them."""

    count: int
    latest: Refused


class Refusals:
    """Counts for as long as relay runs."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[int, Kind]] = {}

    def note(self, refused: Refused) -> None:
        """Count a refusal; past a thousand sources, those of further names count as no source's."""
        full = len(self._kinds) >= _SOURCES and refused.source not in self._kinds
        kinds = self._kinds.setdefault("" if full else refused.source, {})
        kind = kinds.get(refused.status)
        if kind is None:
            kinds[refused.status] = Kind(1, refused)
        else:
            kind.count, kind.latest = kind.count + 1, refused

    def of(self, source: str) -> tuple[Kind, ...]:
        """Return what was refused for a source, "" for none, the most frequent kind first."""
        return tuple(sorted(self._kinds.get(source, {}).values(), key=lambda kind: -kind.count))

    def __iter__(self) -> Iterator[str]:
        yield from self._kinds
