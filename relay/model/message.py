"""An outgoing mail or SMS, the reports of providers about it, and its status."""

import re
from collections.abc import Iterable
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from relay.model.text import escape_unprintable
from relay.model.values import dataclass

MAX_ADDRESSES = 50
MAX_ID = 200  # characters of an id; longer ones are refused, not cut


class MessageStatus(StrEnum):
    """What became of a message, each further than the one before it.

    The rank makes the order of arrival irrelevant: a message has the highest of all statuses reported for
    it. FAILED (it never left the provider) and UNDELIVERED (a carrier gave up) are
    refuted by a receipt of delivery. BOUNCED comes after DELIVERED: a server may take a mail and send it back an hour
    later. OPENED and the following are actions of a person, which a bounce does not undo.
    """

    OUTBOX = "outbox"
    QUEUED = "queued"
    SENT = "sent"
    DELAYED = "delayed"
    FAILED = "failed"
    UNDELIVERED = "undelivered"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"

    @property
    def rank(self) -> int:
        """Return its rank, 0 being the lowest."""
        return _RANKS[self]

    @property
    def arrived(self) -> bool:
        """Return whether a message with this status reached its recipient."""
        return self in ARRIVED


_RANKS = {status: rank for rank, status in enumerate(MessageStatus)}

ARRIVED = frozenset((MessageStatus.DELIVERED, MessageStatus.OPENED, MessageStatus.CLICKED, MessageStatus.COMPLAINED))
LOST = (MessageStatus.FAILED, MessageStatus.UNDELIVERED, MessageStatus.BOUNCED)
BAD_STATUSES = (*LOST, MessageStatus.COMPLAINED)  # shown in red: they need attention


def find_furthest(statuses: Iterable[MessageStatus]) -> MessageStatus:
    """Return the status of a message from all its reports, in any order and with repeats.

    Raises ValueError for none.
    """
    return max(statuses, key=_RANKS.__getitem__)


class MatchWay(StrEnum):
    """How a status finds its message.

    By the provider's id, by the sender's own id in the message (`X-Message-ID`,
    metadata), or by recipient and time.
    """

    EXTERNAL_ID = "external_id"
    EMBEDDED = "embedded"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How the statuses of one source find their messages: ways in order, a window in seconds either side.

    `unknown` is the response to the provider for a message that was never registered: 200 or 404.
    """

    ways: tuple[MatchWay, ...] = tuple(MatchWay)
    window: float = 600.0
    unknown: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """A provider's report about a message.

    `external_ids` are its ids at the provider, the usual one first, `recipients` as from `parse_addresses`,
    `at` the provider's own time, if any.
    """

    status: MessageStatus
    provider: str
    channel: str
    external_ids: tuple[str, ...] = ()
    embedded_id: str = ""
    recipients: tuple[str, ...] = ()
    at: datetime | None = None
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTracking:
    """The reports of an event about messages, and how these are found."""

    reports: tuple[StatusReport, ...]
    matching: Matching


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One status of a message's history: the provider's time (None where it tells none) and ours.

    `way` is how the message was found, None for statuses by relay or the app itself.
    """

    status: MessageStatus
    at: datetime | None
    received_at: datetime
    code: str
    detail: str
    event_id: int | None
    way: MatchWay | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to be stored: `external_id` is its Message-ID or provider's id, `detail` belongs to its status.

    `event_id` and `delivery_id` are its cause; `sent_at` None means now.
    """

    channel: str
    provider: str
    external_id: str
    recipient: str
    subject: str
    status: MessageStatus
    event_id: int | None = None
    delivery_id: int | None = None
    detail: str = ""
    embedded_id: str = ""
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(NewMessage):
    """A stored message: `status` is the furthest that was reported, `code` and `detail` what was reported with it."""

    id: int
    created_at: datetime
    code: str = ""
    opened: bool = False
    clicked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """A filter for messages; None or empty matches all. `event` caused the message or reported about it."""

    channel: str | None = None
    provider: str | None = None
    statuses: tuple[MessageStatus, ...] = ()
    recipient: str | None = None
    since: datetime | None = None
    event: int | None = None


_NUMBER = re.compile(r"[+0-9() ./-]{3,40}")


def parse_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses in a text, each in the form used for comparison.

    Mail addresses are lower-case and without display names, phone numbers only digits with the
    country code first, without a channel such as `whatsapp:`.
    """
    text = text.strip()
    if not text:
        return ()
    number = text.rpartition(":")[2].strip()
    if "@" not in text and _NUMBER.fullmatch(number):
        return (re.sub(r"\D", "", number).removeprefix("00"),)
    from email.utils import getaddresses  # noqa: PLC0415 - the commands that only show messages do without

    found = (address.strip().lower() for _, address in getaddresses([text]) if address.strip())
    return tuple(dict.fromkeys(found))[:MAX_ADDRESSES] or (text.lower(),)


def normalize_id(text: str) -> str:
    """Return an id in the form used for comparison: on one line, without angle brackets."""
    shown = escape_unprintable(text.strip())
    return shown[1:-1] if shown.startswith("<") and shown.endswith(">") else shown


# No provider reports whether an SMS was opened or clicked: a rate of 0 would be a claim.
CHANNELS = ("email", "sms")
OPENED_CHANNELS = frozenset({"email"})
MESSAGE_RATE_DAYS = 30  # default number of days of rates


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCounts:
    """Messages counted by status; each counts once.

    `sent` left relay or the app (a mail in the outbox did not); `delivered` reached the recipient,
    `failed` failed, was undelivered or bounced; `opened`, `clicked` and `complained` are among
    those for which that was reported. All others are under way.
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
        """Return delivered of sent, 0 to 1; None if nothing was sent."""
        return _divide(self.delivered, self.sent)

    @property
    def open_rate(self) -> float | None:
        """Return opened of delivered, 0 to 1; None if nothing was delivered."""
        return _divide(self.opened, self.delivered)

    @property
    def click_rate(self) -> float | None:
        """Return clicked of delivered, 0 to 1; None if nothing was delivered."""
        return _divide(self.clicked, self.delivered)

    def __add__(self, other: "MessageCounts") -> "MessageCounts":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return MessageCounts(**dict(zip(self.__slots__, map(sum, pairs), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCounts:
    """The messages of a channel sent on a day (UTC), counted by their current status."""

    day: date
    channel: str
    counts: MessageCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCount:
    """How many messages of a channel and provider have a status."""

    channel: str
    provider: str
    status: str
    count: int


def add_up_counts(days: Iterable[DayCounts], channel: str | None = None) -> MessageCounts:
    """Return the sum over days, of one channel or of all."""
    chosen = (day.counts for day in days if channel in (None, day.channel))
    return sum(chosen, MessageCounts())


def find_first_day(now: datetime, span: int) -> date:
    """Return the first of the last `span` days (UTC), today included."""
    return now.astimezone(UTC).date() - timedelta(days=span - 1)


def group_by_day(days: Iterable[DayCounts]) -> dict[date, MessageCounts]:
    """Return the counts of each day over all channels."""
    found: dict[date, MessageCounts] = {}
    for day in days:
        found[day.day] = found.get(day.day, MessageCounts()) + day.counts
    return found


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None
