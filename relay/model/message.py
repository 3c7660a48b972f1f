"""An outgoing mail or SMS and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class MessageStatus(StrEnum):
    """How far a message has come, in order; FAILED and BOUNCED are ends."""

    OUTBOX = "outbox"
    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message on its way into the store; `source` is the whole mail as RFC 5322 bytes."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One stored message; `id` is a small integer, `external_id` its Message-ID or provider id."""

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
