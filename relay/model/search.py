"""The search language: one line of text read into words and filters, the same in UI, API and CLI."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from relay.model.numbers import spans

KEYS: dict[str, str] = {
    "source": "a source's name, `*` allowed",
    "provider": "a provider's name",
    "type": "an event type, `*` allowed",
    "verdict": "verified, invalid, unsigned or unchecked",
    "outcome": "accepted, duplicate, ignored or rejected",
    "reason": "a reason code such as signature_mismatch",
    "method": "an HTTP method",
    "status": "what the provider was answered: 200, 4xx, >=400",
    "has": "failed, pending, running, succeeded, note or message",
    "is": "duplicate, replay, sample, pinned, handshake or recovered",
    "id": "event numbers: 7, a range such as 10-20 or 10.., or a list such as 1,5,9-12",
    "key": "an idempotency key, `*` allowed",
    "after": "an age (2h, 7d) or a time (2026-01-31, 2026-01-31T12:00)",
    "before": "an age or a time",
}

_CHOICES = {
    "verdict": {"verified", "invalid", "unsigned", "unchecked"},
    "outcome": {"accepted", "duplicate", "ignored", "rejected"},
    "has": {"failed", "pending", "running", "succeeded", "cancelled", "note", "message"},
    "is": {"duplicate", "replay", "sample", "pinned", "handshake", "recovered"},
}
_AGE = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_STATUS = re.compile(r"[1-5]xx|(>=|<=|>|<)?\d{3}", re.IGNORECASE)
_TOKEN = re.compile(
    r'(?P<minus>-?)(?:(?P<key>[A-Za-z][\w.\[\]$-]*):)?(?:"(?P<quoted>[^"]*)"?|(?P<bare>(?(key)\S*|\S+)))'
)

MAX_LENGTH = 4000  # three hundred numbers of events in a list, and then some


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of a query. `key` is "" for a plain word; `problem` says why it cannot be read."""

    text: str
    key: str
    value: str
    negated: bool = False
    moment: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search as understood. `notes` are sentences such as `"foo:" is not a filter, searched as text`."""

    text: str
    terms: tuple[Term, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what cannot be read, a sentence each; empty when the query can be run."""
        return tuple(term.problem for term in self.terms if term.problem)

    @property
    def filters(self) -> tuple[Term, ...]:
        """Return the terms that are `key:value`."""
        return tuple(term for term in self.terms if term.key)

    @property
    def words(self) -> tuple[Term, ...]:
        """Return the terms that are plain text."""
        return tuple(term for term in self.terms if not term.key)


EVERYTHING = Query(text="")


def parse(text: str, now: datetime) -> Query:
    """Read a query; never raises. `now` is what ages such as `after:2h` count from."""
    terms: list[Term] = []
    notes: list[str] = []
    for match in _TOKEN.finditer(text[:MAX_LENGTH]):
        key = (match["key"] or "").lower()
        value = match["quoted"] if match["quoted"] is not None else match["bare"]
        if key and not _known(key):
            notes.append(f'"{key}:" is not a filter, searched as text')
            key, value = "", f"{match['key']}:{value}"
        # header.X keeps no case, payload.X does: JSON names differ by it.
        name = match["key"] if key.startswith("payload.") else key
        terms.append(_term(match[0], name, value, now, negated=bool(match["minus"])))
    if len(text) > MAX_LENGTH:
        notes.append(f"search text is limited to {MAX_LENGTH} characters")
    return Query(text=text[:MAX_LENGTH], terms=tuple(terms), notes=tuple(notes))


def _known(key: str) -> bool:
    return key in KEYS or key.startswith(("header.", "payload."))


def _term(text: str, key: str, value: str, now: datetime, *, negated: bool) -> Term:
    when = moment(value, now) if key in ("after", "before") else None
    problem = _problem(key, value, when) if key else ""
    return Term(text=text, key=key, value=value, negated=negated, moment=when, problem=problem)


def _problem(key: str, value: str, moment: datetime | None) -> str:
    if value == "":
        return f"{key}: needs a value: {KEYS.get(key, 'a value')}"
    if key in _CHOICES and value.lower() not in _CHOICES[key]:
        return f"{key}:{value} is not one of {', '.join(sorted(_CHOICES[key]))}"
    if key in ("after", "before") and moment is None:
        return f"{key}:{value} is not a time: write an age such as 2h, or 2026-01-31"
    if key == "status" and not _STATUS.fullmatch(value):
        return f"status:{value} is not a status: write 200, 4xx or >=400"
    return _unnumbered(value) if key == "id" else ""


def _unnumbered(value: str) -> str:
    try:
        spans(value)
    except ValueError as error:
        return f"id:{value[:60]} holds {error}: write 7, 10-20 or 1,5,9-12"
    return ""


def moment(value: str, now: datetime) -> datetime | None:
    """Return the time that an age (`2h`, counted back from `now`) or a time stands for, aware; None for neither."""
    age = _AGE.fullmatch(value)
    try:
        if age:
            return now - timedelta(seconds=int(age[1]) * _UNITS[age[2]])
        when = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
