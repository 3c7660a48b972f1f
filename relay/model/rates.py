"""How many messages arrived, were opened and were clicked, day by day: counts, and the rates they make."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

# No provider reports whether an SMS was opened or clicked: a rate of 0 would be a claim.
OPENED_CHANNELS = frozenset({"email"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCounts:
    """Messages counted by where they stand; each counts once.

    `sent` left relay or the app (a mail in the outbox did not); `delivered` reached the recipient,
    `failed` failed, was undelivered or bounced; `opened`, `clicked` and `complained` are among
    those that were told so. What is neither delivered nor failed is under way.
    """

    sent: int = 0
    delivered: int = 0
    failed: int = 0
    opened: int = 0
    clicked: int = 0
    complained: int = 0

    @property
    def under_way(self) -> int:
        """Return how many are neither delivered nor failed."""
        return self.sent - self.delivered - self.failed

    @property
    def delivery_rate(self) -> float | None:
        """Return delivered of sent, 0 to 1; None where nothing was sent."""
        return _share(self.delivered, self.sent)

    @property
    def open_rate(self) -> float | None:
        """Return opened of delivered, 0 to 1; None where nothing was delivered."""
        return _share(self.opened, self.delivered)

    @property
    def click_rate(self) -> float | None:
        """Return clicked of delivered, 0 to 1; None where nothing was delivered."""
        return _share(self.clicked, self.delivered)

    def __add__(self, other: "MessageCounts") -> "MessageCounts":
        return MessageCounts(
            sent=self.sent + other.sent,
            delivered=self.delivered + other.delivered,
            failed=self.failed + other.failed,
            opened=self.opened + other.opened,
            clicked=self.clicked + other.clicked,
            complained=self.complained + other.complained,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCounts:
    """The messages of one channel that were sent on one day (UTC), and what became of them since."""

    day: date
    channel: str
    counts: MessageCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCount:
    """How many messages of a channel and provider stand at a status."""

    channel: str
    provider: str
    status: str
    count: int


def total(days: Iterable[DayCounts], channel: str | None = None) -> MessageCounts:
    """Return the sum of some days, of one channel or of all."""
    wanted = (day.counts for day in days if channel in (None, day.channel))
    return sum(wanted, MessageCounts())


def by_day(days: Iterable[DayCounts]) -> dict[date, MessageCounts]:
    """Return the counts of each day over all channels."""
    found: dict[date, MessageCounts] = {}
    for day in days:
        found[day.day] = found.get(day.day, MessageCounts()) + day.counts
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
