"""Times, sizes and counts as people read them; times are this machine's own unless a zone is handed in."""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from http import HTTPStatus

# The zone that the page being drawn shows its times in; None is this machine's own.
ZONE: ContextVar[tzinfo | None] = ContextVar("zone", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One point in time, four ways: `14:07:31`, `22 Nov 2026, 14:07:31.482`, ISO 8601, and for a tooltip."""

    clock: str
    full: str
    iso: str
    title: str


def moment(when: datetime, zone: tzinfo | None = None) -> Moment:
    """Return an aware time in `zone`, or in the one that was chosen."""
    local = when.astimezone(zone or ZONE.get())
    full = f"{local.day} {local:%b %Y, %H:%M:%S}.{local.microsecond // 1000:03d}"
    iso = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Moment(clock=f"{local:%H:%M:%S}", full=full, iso=iso, title=f"{full} {local:%Z}".rstrip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The heading of a day in the list: a word where there is one, and the date."""

    word: str
    date: str


def day(when: datetime, now: datetime, zone: tzinfo | None = None) -> Day:
    """Return `Today`, `Yesterday` or the weekday, with the date; the year only when it is another."""
    chosen = zone or ZONE.get()
    local, today = when.astimezone(chosen).date(), now.astimezone(chosen).date()
    date = f"{local.day} {local:%b}" if local.year == today.year else f"{local.day} {local:%b %Y}"
    word = {0: "Today", 1: "Yesterday"}.get((today - local).days, f"{local:%A}")
    return Day(word=word, date=date)


def took(seconds: float | None) -> str:
    """Return how long a thing took: `38 ms`, `1.21 s`; nothing when it is not known."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 event`, `1,284 events`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def due(when: datetime, now: datetime) -> str:
    """Return when the next try is: `now`, `in 12 s`, `in 4 min`, `in 2 h`."""
    wait = (when - now) / timedelta(seconds=1)
    if wait < 1:
        return "now"
    if wait < 90:
        return f"in {wait:.0f} s"
    return f"in {wait / 60:.0f} min" if wait < 5400 else f"in {wait / 3600:.0f} h"


def status_phrase(status: int) -> str:
    """Return an HTTP status with its name: `500 Internal Server Error`; the number alone when it has none."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
