"""An outgoing mail or SMS, what providers tell of it, and where that leaves it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import getaddresses
from enum import StrEnum

from relay.model.text import printable

MAX_ADDRESSES = 50
MAX_ID = 200  # characters of an id; longer ones are refused rather than cut


class MessageStatus(StrEnum):
    """What became of a message, each further than the one before it.

    The order is what makes the order of arrival irrelevant: a message stands at the furthest of all
    statuses that it was ever told, and the same set gives the same one.
    FAILED (it never left the provider) and UNDELIVERED (a carrier gave up) are refuted by a
    receipt of delivery. BOUNCED comes after DELIVERED: a server may take a mail and send it back
    an hour later. OPENED and what follows it are a person's doing, which no bounce undoes.
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
        """Return how far this is, 0 being the least."""
        return _RANKS[self]

    @property
    def arrived(self) -> bool:
        """Say whether a message that stands here reached its recipient."""
        return self in ARRIVED


_RANKS = {status: rank for rank, status in enumerate(MessageStatus)}

ARRIVED = frozenset(
    (MessageStatus.DELIVERED, MessageStatus.OPENED, MessageStatus.CLICKED, MessageStatus.COMPLAINED)
)
LOST = frozenset((MessageStatus.FAILED, MessageStatus.UNDELIVERED, MessageStatus.BOUNCED))


def furthest(statuses: Iterable[MessageStatus]) -> MessageStatus:
    """Return where a message stands that was told these statuses, in whatever order and however often.

    Raises ValueError for none.
    """
    return max(statuses, key=_RANKS.__getitem__)


class MatchWay(StrEnum):
    """How a status finds its message.

    By the provider's id, by an id of the sender's own that the message carries (`X-Message-ID`,
    metadata), or by recipient and time.
    """

    EXTERNAL_ID = "external_id"
    EMBEDDED = "embedded"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How the statuses of one source find their messages: ways in order, a window in seconds either side.

    `unknown` is what the provider is answered for a message that nobody has registered: 200 or 404.
    """

    ways: tuple[MatchWay, ...] = tuple(MatchWay)
    window: float = 600.0
    unknown: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What a provider told of one message.

    `external_ids` are its ids at the provider, the usual one first, `recipients` as `addresses`
    gives them, `at` the provider's own time where it tells one.
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
class Tracked:
    """What an event tells of messages, and how these are found."""

    reports: tuple[StatusReport, ...]
    matching: Matching


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One status of a message's history: the provider's time (None where it tells none) and ours.

    `way` says how the message was found, None for what relay or the app said itself.
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
    """A message on its way into the store; `source` is the whole mail as RFC 5322 bytes.

    `sent_at` None means now.
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
    source: bytes = b""
    embedded_id: str = ""
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One stored message; `id` is a small integer, `external_id` its Message-ID or provider id.

    `status` is the furthest it was told, `code` and `detail` what was told with it; `event_id` and
    `delivery_id` are what caused it.
    """

    id: int
    channel: str
    provider: str
    external_id: str
    recipient: str
    subject: str
    status: MessageStatus
    created_at: datetime
    event_id: int | None = None
    delivery_id: int | None = None
    detail: str = ""
    embedded_id: str = ""
    sent_at: datetime | None = None
    code: str = ""
    opened: bool = False
    clicked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages are wanted; what is None or empty restricts nothing. `event` caused it or told of it."""

    channel: str | None = None
    provider: str | None = None
    statuses: tuple[MessageStatus, ...] = ()
    recipient: str | None = None
    since: datetime | None = None
    event: int | None = None


_NUMBER = re.compile(r"[+0-9() ./-]{3,40}")


def addresses(text: str) -> tuple[str, ...]:
    """Return who a text names, each in the one form that addresses are compared in.

    Mail addresses lower-case and without display names, phone numbers as their digits alone with the
    country's first, without a channel such as `whatsapp:`.
    """
    text = text.strip()
    number = text.rpartition(":")[2].strip()
    if "@" not in text and _NUMBER.fullmatch(number):
        return (re.sub(r"\D", "", number).removeprefix("00"),)
    found = (address.strip().lower() for _, address in getaddresses([text]) if address.strip())
    return tuple(dict.fromkeys(found))[:MAX_ADDRESSES] or ((text.lower(),) if text else ())


def bare_id(text: str) -> str:
    """Return an id in the one form that ids are compared in: on one line, no angle brackets around it."""
    shown = printable(text.strip())
    return shown[1:-1] if shown.startswith("<") and shown.endswith(">") else shown
