"""Timestamps of signatures: parse them, check their age, write new ones."""

import re
from datetime import UTC, datetime
from typing import Literal

from relay.model.event import Check
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.schemes.base import RefusalError
from relay.providers.schemes.locations import Location

Unit = Literal["s", "ms", "iso"]

TIMESTAMP_STEP = "Timestamp"

# Name, seconds, and the minimum age: limits are given in seconds, so small ages are too.
_UNITS = (("days", 86_400, 172_800), ("h", 3_600, 7_200), ("min", 60, 600))

# Decimal digits only: other parsers may read a sign or a fraction differently.
_NUMBER = re.compile(rb"[0-9]{1,16}")
_ISO = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{5,8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """The location of a timestamp, its unit, and the limits of its age in seconds; None is no limit.

    `place` None means among the items of the signature itself.
    """

    place: Location | None = None
    unit: Unit = "s"
    # The limits are those of the providers: Stripe checks only the past, Box allows no future time, Zoom has none.
    past: float | None = None
    future: float | None = None
    # The location of an unsigned copy: written, never read.
    copy: Location | None = None

    def check_age(self, text: bytes, now: datetime) -> tuple[str, Check]:
        """Return the reason to refuse, "" for none, and the step. Raises RefusalError."""
        moment = self._moment(text)
        if moment is None:
            raise RefusalError("header_malformed", f"{escape_unprintable(text, 40)} is not a time", step=TIMESTAMP_STEP)
        age = now.timestamp() - moment
        if self.past is not None and age > self.past:
            return "timestamp_stale", _build_check(False, f"{format_age(age)}, limit {self.past:g} s", "Too old", age)
        if self.future is not None and -age > self.future:
            return "timestamp_future", _build_check(
                False, f"{format_age(age)}, limit {self.future:g} s", "From the future", age
            )
        # Captured and replayed requests are old: the age is shown even if there is no limit.
        if self.past is None and self.future is None:
            return "", _build_check(None, f"{format_age(age)}, which is not limited", "Not checked", age)
        if self.past is None or (age < 0 and self.future is None):
            return "", _build_check(True, f"{format_age(age)}, limited only the other way", "In time", age)
        return "", _build_check(True, f"{format_age(age)}, limit {self.past:g} s", "In time", age)

    def check_usual_age(self, text: bytes, now: datetime) -> Check | None:
        """Return the step of a valid time within its limits; None for any other."""
        try:
            late, check = self.check_age(text, now)
        except RefusalError:
            return None
        return None if late else check

    def write(self, now: datetime) -> bytes:
        """Return `now` as the provider writes it."""
        if self.unit == "iso":
            text = now.astimezone(UTC).isoformat(timespec="milliseconds")
            return text.replace("+00:00", "Z").encode()
        seconds = now.timestamp()
        return str(int(seconds * 1000 if self.unit == "ms" else seconds)).encode()

    def _moment(self, text: bytes) -> float | None:
        if self.unit == "iso":
            return _parse_iso(text)
        if not _NUMBER.fullmatch(text):
            return None
        return float(text) / (1000 if self.unit == "ms" else 1)


def format_age(age: float) -> str:
    """Return an age as text: `14 min old when received`, or how far it is ahead."""
    return f"{format_span(age)} old when received" if age >= 0 else f"{format_span(-age)} ahead of this clock"


def format_span(seconds: float) -> str:
    """Return a time span in a suitable unit: `14 min`."""
    unit, size = choose_unit(seconds)
    return f"{seconds / size:,.0f} {unit}"


def choose_unit(seconds: float) -> tuple[str, int]:
    """Return a suitable unit for a time span, and its seconds."""
    if seconds < _UNITS[-1][2]:
        return "s", 1
    return next((unit, size) for unit, size, least in _UNITS if seconds >= least)


def _parse_iso(text: bytes) -> float | None:
    if not _ISO.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.decode()).timestamp()
    except (ValueError, OverflowError):
        return None


def _build_check(passed: bool | None, detail: str, result: str, age: float) -> Check:
    return Check(name=TIMESTAMP_STEP, passed=passed, detail=detail, result=result, age=age)
