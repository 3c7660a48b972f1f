"""Time: an injectable clock, and RFC 3339."""

import re
from datetime import UTC, datetime
from typing import Protocol


def format_time(moment: datetime) -> str:
    """Return a time in UTC as RFC 3339 with microseconds, as used by the API and exports."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def parse_time(value: object) -> datetime | None:
    """Return a time from ISO 8601, in UTC unless it has a zone, or from seconds since 1970; None if it is neither."""
    try:
        if isinstance(value, str) and not _SECONDS.fullmatch(value):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


class Clock(Protocol):
    """The clock of all of relay; passed in, never global."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a monotonic clock, for measuring durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds`."""
        ...
