"""What a request said besides its body: query, headers in order, where it came from, what relay answered."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from relay.model.event import Event
from relay.model.text import header_text, is_sensitive, printable
from relay.providers.sender_urls import request_target
from relay.web.view.words import moment, plural, status_phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderLine:
    """One header as received. A hidden value is not part of the page: `value` then says how long it is."""

    number: int
    name: str
    value: str
    hidden: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The request without its body."""

    request: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]
    headers: tuple[HeaderLine, ...]


def envelope(event: Event, reveal: int | None = None) -> Envelope:
    """Return it; the value of a header that usually holds a credential only when `reveal` is its number."""
    row = event.row
    facts = [
        ("Request", f"{row.method} {printable(header_text(request_target(event.capture)), 2000)}"),
        ("From", "rebuilt by relay" if row.recovered else printable(row.remote, 80)),
        ("Answered", "nobody: fetched afterwards" if row.recovered else status_phrase(row.status)),
        ("Outcome", row.outcome.value),
        ("Idempotency key", printable(row.idempotency_key or "none", 200)),
        ("SHA-256", row.sha256),
    ]
    if row.sent_at is not None:
        facts.append(("Sent", moment(row.sent_at).full))
    if row.duplicate_of is not None:
        facts.append(("Duplicate of", f"event {row.duplicate_of}"))
    return Envelope(
        request=tuple(facts),
        query=_query(row.query),
        headers=tuple(
            _header(number, name, value, reveal) for number, (name, value) in enumerate(event.capture.headers)
        ),
    )


def _header(number: int, name: str, value: str, reveal: int | None) -> HeaderLine:
    hidden = is_sensitive(name) and number != reveal
    shown = plural(len(value), "character") if hidden else printable(header_text(value), 8192)
    return HeaderLine(number=number, name=printable(header_text(name), 200), value=shown, hidden=hidden)


def _query(query: str) -> tuple[tuple[str, str], ...]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=500)
    except ValueError:
        return ((printable(query, 2000), ""),)
    return tuple((printable(name, 200), printable(value, 2000)) for name, value in pairs)
