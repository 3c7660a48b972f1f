"""Pieces that several pages show: links, choices of a form, the head of an event, a message in a list."""

from dataclasses import dataclass
from datetime import datetime

from relay.dashboard.event_rows import StatusChip
from relay.dashboard.filters import DisplayTime, find_provider, format_day, format_moment
from relay.model.message import LOST, Message, MessageStatus
from relay.model.text import escape_unprintable
from relay.providers.message_status import explain_code

QUEUED_STATUSES = (MessageStatus.QUEUED, MessageStatus.DELAYED)
BAD_STATUSES = (*LOST, MessageStatus.COMPLAINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NavLink:
    """A link among others; `key` is what a script calls it, `sign` ok, err or warn."""

    name: str
    href: str
    current: bool = False
    key: str = ""
    count: str = ""
    sign: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLine:
    """One outgoing message as lists show it; `when` is the time of day, or the day where that is another."""

    id: int
    channel: str
    subject: str
    to: str
    chip: StatusChip
    detail: str
    time: DisplayTime
    when: str
    event_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormOption:
    """One choice of a form."""

    value: str
    name: str
    help: str = ""
    chosen: bool = False


def build_message_chip(message: Message) -> StatusChip:
    """Return where a message stands; red for what needs a person, a dot for what arrived."""
    status = message.status
    kind = "done" if status.arrived else "queued" if status in QUEUED_STATUSES else "dim"
    known = explain_code(message.provider, message.code)
    return StatusChip(
        kind="no" if status in BAD_STATUSES else kind,
        text=format_message_status(status),
        title=known.words if known else escape_unprintable(message.code, 80),
    )


def build_message_line(message: Message, now: datetime) -> MessageLine:
    """Return an outgoing message as lists show it."""
    sms, to = message.channel == "sms", escape_unprintable(message.recipient, 200)
    sent_at = message.sent_at or message.created_at
    today, known = format_day(sent_at, now), find_provider(message.provider)
    return MessageLine(
        id=message.id,
        channel="SMS" if sms else "Mail",
        subject=escape_unprintable(message.subject, 200) or (to if sms else "(no subject)"),
        to=escape_unprintable(f"by {known.title if known else message.provider}", 80)
        if sms and not message.subject
        else to,
        chip=build_message_chip(message),
        detail=escape_unprintable(message.detail, 400),
        time=format_moment(sent_at),
        when=format_moment(sent_at).clock if today.word == "Today" else today.date,
        event_id=message.event_id,
    )


def format_message_status(status: MessageStatus) -> str:
    """Return a status as people read it."""
    return "In the outbox" if status is MessageStatus.OUTBOX else status.value.capitalize()
