"""Pieces that several pages show: chips, and a message in a list."""

from collections.abc import Callable, Mapping
from datetime import datetime

from relay.dashboard.filters import find_provider, format_day, format_moment
from relay.model.message import LOST, Message, MessageStatus
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.message_status import explain_code

QUEUED_STATUSES = (MessageStatus.QUEUED, MessageStatus.DELAYED)
BAD_STATUSES = (*LOST, MessageStatus.COMPLAINED)


@dataclass(frozen=True, slots=True)
class StatusChip:
    """A short result; `more` may drop when space is short.

    `kind` is ok, err, retry, queued, sending, warn, no, done or dim.
    """

    kind: str
    text: str
    more: str = ""
    title: str = ""


def build_message_chip(message: Message) -> StatusChip:
    """Return where a message stands; red for what needs a person, a dot for what arrived."""
    status = message.status
    kind = "done" if status.arrived else "queued" if status in QUEUED_STATUSES else "dim"
    meaning = explain_code(message.provider, message.code)
    title = meaning.words if meaning else escape_unprintable(message.code, 80)
    return StatusChip("no" if status in BAD_STATUSES else kind, format_message_status(status), title=title)


def format_message_subject(message: Message) -> str:
    """Return what a message is called: its subject, or the recipient of an SMS."""
    recipient = escape_unprintable(message.recipient, 200) if message.channel == "sms" else ""
    return escape_unprintable(message.subject, 200) or recipient or "(no subject)"


def format_message_recipient(message: Message) -> str:
    """Return whom a message is for, or who sent an SMS that is called by its recipient."""
    if message.channel != "sms" or message.subject:
        return escape_unprintable(message.recipient, 200)
    provider = find_provider(message.provider)
    return escape_unprintable(f"by {provider.title if provider else message.provider}", 80)


def format_message_time(message: Message, now: datetime) -> str:
    """Return the time of day at which a message was sent, or the day where that is another."""
    sent_at = message.sent_at or message.created_at
    day = format_day(sent_at, now)
    return format_moment(sent_at).clock if day.word == "Today" else day.date


def format_message_status(status: MessageStatus) -> str:
    """Return a status as people read it."""
    return "In the outbox" if status is MessageStatus.OUTBOX else status.value.capitalize()


MESSAGE_FILTERS: Mapping[str, Callable[..., object]] = {
    "message_chip": build_message_chip,
    "message_recipient": format_message_recipient,
    "message_status": format_message_status,
    "message_subject": format_message_subject,
    "message_time": format_message_time,
}
