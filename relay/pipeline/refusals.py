"""Who was turned away at the door: how often for which source and why, and the latest of each kind."""

from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relay.model.signals import RequestRefused

_MAX_SOURCES = 1000  # names counted apart; the inbox takes any name, and memory has an end
_MAX_RECENT = 5  # of the latest refusals with one status


@dataclass(slots=True)
class RefusalKind:
    """Requests refused with one status; `recent` are the last few of them, the newest first."""

    count: int = 0
    recent: deque[RequestRefused] = field(default_factory=lambda: deque(maxlen=_MAX_RECENT))

    @property
    def latest(self) -> RequestRefused:
        """Return the last of them."""
        return self.recent[0]


class RefusalCounts:
    """Counts for as long as relay runs."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[int, RefusalKind]] = {}

    def note(self, refused: RequestRefused) -> None:
        """Count a refusal; past a thousand sources, those of further names count as no source's."""
        full = len(self._kinds) >= _MAX_SOURCES and refused.source not in self._kinds
        kinds = self._kinds.setdefault("" if full else refused.source, {})
        kind = kinds.setdefault(refused.status, RefusalKind())
        kind.count += 1
        kind.recent.appendleft(refused)

    def of(self, source: str) -> tuple[RefusalKind, ...]:
        """Return what was refused for a source, "" for none, the most frequent kind first."""
        return tuple(sorted(self._kinds.get(source, {}).values(), key=lambda kind: -kind.count))

    def list_others(self, names: Container[str]) -> tuple[RefusalKind, ...]:
        """Return what was refused for no source, or for one that is not among `names`."""
        merged: dict[int, RefusalKind] = {}
        for name, kinds in self._kinds.items():
            for status, kind in kinds.items() if name not in names else ():
                known = merged.setdefault(status, RefusalKind())
                known.count += kind.count
                recent = sorted((*known.recent, *kind.recent), key=_get_time, reverse=True)
                known.recent = deque(recent[:_MAX_RECENT], maxlen=_MAX_RECENT)
        return tuple(sorted(merged.values(), key=lambda kind: -kind.count))

    def __iter__(self) -> Iterator[str]:
        yield from self._kinds


def _get_time(refused: RequestRefused) -> datetime:
    return refused.at or datetime.min.replace(tzinfo=UTC)
