"""What a source asks of whoever sends to it, and who was turned away at its door, in words."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo

from relay.admission.naming import place
from relay.model.admission import EmailField
from relay.model.event import Source
from relay.model.paths import dotted
from relay.model.text import printable, size
from relay.web.refusals import Kind
from relay.web.view.words import moment, plural

_DETAIL = 400  # characters
# Refused for what they are, not for a rule of their source: only their path or first line says what to put right.
_TOLD = frozenset({400, 404, 405, 417, 505})
_SHORT: Mapping[int, tuple[str, str]] = {
    400: ("not to be read", "not to be read"),
    403: ("address not allowed", "addresses not allowed"),
    408: ("too slow", "too slow"),
    413: ("too large", "too large"),
    429: ("too fast", "too fast"),
}
_SAID: Mapping[int, tuple[str, str]] = {
    403: (
        "request came from an address that is not allowed",
        "requests came from addresses that are not allowed",
    ),
    400: ("request could not be read", "requests could not be read"),
    404: ("request was for no source", "requests were for no source"),
    408: ("request did not send its body in time", "requests did not send their bodies in time"),
    413: ("request was too large", "requests were too large"),
    405: ("request had a method that is not served", "requests had a method that is not served"),
    417: ("request expected what is not done", "requests expected what is not done"),
    429: ("request came too fast", "requests came too fast"),
    503: ("connection was one too many", "connections were too many"),
    505: ("request spoke another version of HTTP", "requests spoke another version of HTTP"),
}


def facts(source: Source, max_body: int) -> Iterator[tuple[str, str]]:
    """Return the rules of a source, name and words; `max_body` is the limit of a source without its own."""
    rules = source.admission
    if rules.networks:
        yield (
            "Addresses",
            ", ".join(str(network).removesuffix("/32").removesuffix("/128") for network in rules.networks),
        )
    if rules.rate is not None:
        yield "Rate", f"{rules.rate.per_minute} a minute, {rules.rate.burst} at once"
    yield "Largest body", _round(rules.max_body or max_body)
    if rules.content_types:
        yield "Content types", ", ".join(rules.content_types)
    if rules.schema is not None:
        yield "Schema", printable(rules.schema.name, 200)
    if source.require_idempotency_key:
        yield "Idempotency key", f"required: {place(source.idempotency_key)[0]}"
    if rules.email is not None:
        yield "Mail address", f"{_field(rules.email)} must hold one"


def summary(kinds: Sequence[Kind]) -> str:
    """Return how many were turned away and why: `12 too fast, 1 address not allowed`."""
    return ", ".join(plural(kind.count, *_of(_SHORT, kind)) for kind in kinds)


def lines(
    kinds: Sequence[Kind], source: Source | None, max_body: int, zone: tzinfo | None = None
) -> tuple[str, ...]:
    """Return a sentence for each kind of refusal, its limit and the latest of it, and details of a few."""
    return tuple(
        line
        for kind in kinds
        for line in (
            _line(kind, source, max_body, zone),
            *(_details(kind) if kind.latest.status in _TOLD else ()),
        )
    )


def _details(kind: Kind) -> Iterator[str]:
    # The same mistake made again is one line: a provider repeats what was refused.
    for detail in dict.fromkeys(refused.detail for refused in kind.recent):
        yield printable(detail, _DETAIL)


def _line(kind: Kind, source: Source | None, max_body: int, zone: tzinfo | None) -> str:
    rules = source.admission if source else None
    limits = {413: _round((rules and rules.max_body) or max_body)}
    if rules is not None and rules.rate is not None:
        limits[429] = f"{rules.rate.per_minute} a minute, {rules.rate.burst} at once"
    limit = limits.get(kind.latest.status, "")
    latest = kind.latest
    when = moment(latest.at, zone).clock if latest.at else ""
    caller = f"from {printable(latest.remote, 60)}" if latest.remote else ""
    told = " ".join(filter(None, (when, caller)))
    said = plural(kind.count, *_of(_SAID, kind)) + (f" (limit {limit})" if limit else "")
    return f"{said}. The latest: {told}" if told else f"{said}."


def _of(words: Mapping[int, tuple[str, str]], kind: Kind) -> tuple[str, str]:
    status = kind.latest.status
    return words.get(status, (f"refused with {status}", f"refused with {status}"))


def _field(email: EmailField) -> str:
    return printable(dotted(email.name) if email.kind == "body" else f"{email.kind} {email.name}", 120)


def _round(limit: int) -> str:
    return size(limit).replace(".0 ", " ")
