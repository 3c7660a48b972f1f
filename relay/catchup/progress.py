"""What was asked of a catch-up, and how far it is."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from relay.errors import RelayError

KEPT = 1000  # events that a report names one by one


class CatchUpState(StrEnum):
    """Where a catch-up stands: it lists, then recovers what was missed, then is over in one of three ways."""

    LISTING = "listing"
    RECOVERING = "recovering"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which source is caught up with, and since when; `forward`: what is recovered owes what its routes say."""

    source: str
    since: datetime
    dry_run: bool = False
    forward: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One event that was missed: `id` is its number once it is recovered, `type` "" while it is not known."""

    key: str
    type: str
    sent_at: datetime
    id: int | None = None


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a catch-up is.

    Of the `found` events `known` were here, `unlisted` are of types that the source does not list,
    `missed` is the rest. Of those `recovered` are stored by now, and of `lost` the provider has no
    content any more.
    """

    wanted: Wanted
    title: str
    started_at: datetime
    finished_at: datetime | None = None
    state: CatchUpState = CatchUpState.LISTING
    detail: str = ""
    found: int = 0
    known: int = 0
    unlisted: int = 0
    missed: int = 0
    recovered: int = 0
    lost: int = 0
    items: list[Item] = field(default_factory=list)
    error: RelayError | None = None

    @property
    def over(self) -> bool:
        """Say whether nothing more will come."""
        return self.finished_at is not None

    @property
    def words(self) -> str:
        """Return what came of it so far: `found 12, 9 were here, 3 recovered`."""
        parts = [f"found {self.found}", f"{self.known} {'was' if self.known == 1 else 'were'} here"]
        if self.unlisted:
            parts.append(f"{self.unlisted} of types the source does not list")
        if self.lost:
            parts.append(f"{self.lost} without content at {self.title}")
        if self.wanted.dry_run:
            return ", ".join([*parts, f"{self.missed - self.lost} would be recovered"])
        return ", ".join([*parts, f"{self.recovered} recovered"])

    def note(self, item: Item) -> None:
        """Remember an event by name, as long as there are not too many."""
        if len(self.items) < KEPT:
            self.items.append(item)
