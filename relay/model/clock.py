"""Time: the clock that is handed in, and RFC 3339."""

import re
from datetime import UTC, datetime
from typing import Protocol


def format_time(moment: datetime) -> str:
    """Return a time in UTC as RFC 3339 with microseconds, as the API and exports write it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def parse_time(value: object) -> datetime | None:
    """Return a time given as ISO 8601, in UTC unless it names a zone, or as seconds since 1970; None for neither."""
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
    """Time as the rest of relay sees it; handed in, never global."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump, for measuring how long a thing took."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds`."""
        ...
