"""Formats times, sizes and messages for people; FILTERS makes the functions available to templates.

Times are in the zone of TIME_ZONE, which a page sets; by default this machine's own.
"""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from http import HTTPStatus
from urllib.parse import quote, urlencode
from zlib import crc32

from markupsafe import Markup

from relay.model.admission import describe_reason
from relay.model.event import EventRow, Source
from relay.model.message import BAD_STATUSES, Message, MessageStatus
from relay.model.text import decode_header_text, escape_lines, escape_unprintable, format_size, is_sensitive
from relay.model.values import dataclass
from relay.providers.catalogue import find_provider
from relay.providers.doctor.case import secret_tail
from relay.providers.message_status import explain_code

# The time zone of the page being rendered; None is the machine's own.
TIME_ZONE: ContextVar[tzinfo | None] = ContextVar("zone", default=None)
# Hues of the stylesheet (`.pv.u0` and so on); common providers always have the same one.
_HUE_COUNT = 13
_KNOWN_HUES = {
    "stripe": 10,
    "github": 9,
    "shopify": 5,
    "slack": 12,
    "twilio": 0,
    "sendgrid": 8,
    "linear": 11,
    "custom": 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayTime:
    """A time in four formats: `14:07:31`, `22 Nov 2026, 14:07:31.482`, ISO 8601, and for a tooltip."""

    clock: str
    full: str
    iso: str
    title: str


def format_moment(when: datetime) -> DisplayTime:
    """Return an aware time in the chosen zone."""
    local = when.astimezone(TIME_ZONE.get())
    full = f"{local.day} {local:%b %Y, %H:%M:%S}.{local.microsecond // 1000:03d}"
    iso = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return DisplayTime(clock=f"{local:%H:%M:%S}", full=full, iso=iso, title=f"{full} {local:%Z}".rstrip())


def format_day(when: datetime, now: datetime) -> tuple[str, str]:
    """Return `Today`, `Yesterday` or the weekday, with the date; the year only when it is another."""
    local, today = when.astimezone(TIME_ZONE.get()).date(), now.astimezone(TIME_ZONE.get()).date()
    date = f"{local.day} {local:%b}" if local.year == today.year else f"{local.day} {local:%b %Y}"
    return {0: "Today", 1: "Yesterday"}.get((today - local).days, f"{local:%A}"), date


def format_duration(seconds: float | None) -> str:
    """Return a duration: `38 ms`, `1.21 s`; "" if unknown."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


def format_count(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 event`, `1,284 events`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def format_due(when: datetime, now: datetime) -> str:
    """Return when the next try is: `now`, `in 12 s`, `in 4 min`, `in 2 h`."""
    wait = (when - now) / timedelta(seconds=1)
    if wait < 1:
        return "now"
    if wait < 90:
        return f"in {wait:.0f} s"
    return f"in {wait / 60:.0f} min" if wait < 5400 else f"in {wait / 3600:.0f} h"


def format_status(status: int) -> str:
    """Return an HTTP status with its name: `500 Internal Server Error`; the number only if it has none."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Avatar:
    """A provider's title, its two letters, and the class of its hue."""

    title: str
    letters: str
    hue: str


def make_avatar(provider: str, otherwise: str) -> Avatar:
    """Return the avatar of a provider, or of a name that is not in the catalogue."""
    known = find_provider(provider)
    name = known.name if known else otherwise
    title = escape_unprintable(known.title if known else name, 40) or "?"
    letters = known.monogram if known else title[:2].capitalize()
    hue = _KNOWN_HUES.get(name, crc32(name.encode("utf-8", "replace")) % _HUE_COUNT)
    return Avatar(title=title, letters=letters, hue=f"u{hue}")


def format_provider_title(name: str) -> str:
    """Return the title of a provider; its name if it is not in the catalogue."""
    known = find_provider(name)
    return known.title if known else escape_unprintable(name, 64)


def event_avatar(row: EventRow) -> Avatar:
    """Return the avatar of an event's sender: the provider, or the name it was captured under."""
    return make_avatar(row.provider, row.source)


def source_avatar(source: Source) -> Avatar:
    """Return the avatar of a source: that of its provider, else of its title or name."""
    return make_avatar(source.provider, source.title or source.name)


def capitalize_first(text: str) -> str:
    """Return a sentence with a capital first letter, otherwise unchanged."""
    return text[:1].upper() + text[1:]


def escape_output(value: object) -> object:
    """Return template output with control characters made visible; line breaks and tabs stay."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return escape_lines(value)


def build_url(path: str, **fields: object) -> str:
    """Return a URL with the non-empty fields as its query."""
    chosen = {name: value for name, value in fields.items() if value not in (None, "")}
    return f"{path}?{urlencode(chosen, quote_via=quote)}" if chosen else path


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
    """Return the status of a message; red if it needs attention, with a dot if it arrived."""
    status = message.status
    kind = "done" if status.arrived else "queued" if status in (MessageStatus.QUEUED, MessageStatus.DELAYED) else "dim"
    meaning = explain_code(message.provider, message.code)
    title = meaning.words if meaning else escape_unprintable(message.code, 80)
    return StatusChip("no" if status in BAD_STATUSES else kind, format_message_status(status), title=title)


def format_message_subject(message: Message) -> str:
    """Return the title of a message: its subject, or the recipient of an SMS."""
    recipient = escape_unprintable(message.recipient, 200) if message.channel == "sms" else ""
    return escape_unprintable(message.subject, 200) or recipient or "(no subject)"


def format_message_recipient(message: Message) -> str:
    """Return the recipient of a message, or the provider of an SMS whose title is its recipient."""
    if message.channel != "sms" or message.subject:
        return escape_unprintable(message.recipient, 200)
    return escape_unprintable(f"by {format_provider_title(message.provider)}", 80)


def format_message_time(message: Message, now: datetime) -> str:
    """Return the time of day at which a message was sent, or the date if it was another day."""
    sent_at = message.sent_at or message.created_at
    word, date = format_day(sent_at, now)
    return format_moment(sent_at).clock if word == "Today" else date


def format_message_status(status: MessageStatus) -> str:
    """Return a status for display."""
    return "In the outbox" if status is MessageStatus.OUTBOX else status.value.capitalize()


FILTERS: dict[str, Callable[..., object]] = {
    "avatar": make_avatar,
    "capitalize_first": capitalize_first,
    "count": format_count,  # 3 | count('event')
    "day": format_day,
    "duration": format_duration,
    "event_avatar": event_avatar,
    "header_text": decode_header_text,
    "is_sensitive": is_sensitive,
    "message_chip": build_message_chip,
    "message_recipient": format_message_recipient,
    "message_status": format_message_status,
    "message_subject": format_message_subject,
    "message_time": format_message_time,
    "moment": format_moment,
    "number": "{:,}".format,
    "provider_title": format_provider_title,
    "printable": escape_unprintable,  # name | printable(80)
    "reason_sentence": describe_reason,
    "secret_tail": secret_tail,
    "size": format_size,
    "source_avatar": source_avatar,
    "status": format_status,
    "url": build_url,  # '/events' | url(q=query)
}
