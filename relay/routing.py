"""Where an event goes: which routes match, what that owes, and why the others do not."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relay.conditions import judge, seen
from relay.model.delivery import NewDelivery, Route, Target, listed
from relay.model.event import Capture, Event, EventOutcome, NewEvent
from relay.model.text import printable

log = logging.getLogger(__name__)

_WORDS = 200  # characters of a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """Whether one route leads from an event to its targets, and why in a few words.

    `problem` is what its condition raised, "" when it could be judged.
    """

    route: Route
    matched: bool
    why: str
    problem: str = ""


def owe(event: NewEvent, routes: tuple[Route, ...], targets: Mapping[str, Target]) -> tuple[NewDelivery, ...]:
    """Return a delivery for each target a matching route leads to, each target once; pure.

    What could not be checked because the vault is locked owes nothing until it has been.
    """
    if event.outcome is not EventOutcome.ACCEPTED or event.verification.reason == "vault_locked":
        return ()
    names: dict[str, None] = {}
    context: tuple[dict[str, object], object] | None = None
    for route in routes:
        if not route.matches(event.capture.source, event.type):
            continue
        if route.when:
            context = context or _context(event)
            holds, problem = judge(route.when, *context)
            if problem:
                log.warning("a route's condition could not be judged: %s", printable(problem, _WORDS))
            if not holds:
                continue
        names.update(dict.fromkeys(route.targets))
    return tuple(NewDelivery(target=name, action=targets[name].action) for name in names if name in targets)


def match_routes(event: NewEvent, routes: Sequence[Route]) -> Iterator[RouteMatch]:
    """Say for each route whether it leads from an accepted event to its targets; `why` holds no value of the event."""
    context = _context(event)
    for route in routes:
        why = _mismatch(route, event.capture.source, event.type)
        if not why and route.when:
            holds, problem = judge(route.when, *context)
            if not holds:
                why = "its condition cannot be judged" if problem else f"{route.when} does not hold"
        yield RouteMatch(route=route, matched=not why, why=why)


def explain(event: Event, routes: tuple[Route, ...]) -> tuple[RouteMatch, ...]:
    """Say for each route in order whether it leads from this event to its targets, and why."""
    return tuple(_explain(event, route) for route in routes)


def lead(event: Event, routes: tuple[Route, ...]) -> tuple[str, ...]:
    """Return the names of the targets that routes lead to from an event, each once."""
    taken = (match.route.targets for match in explain(event, routes) if match.matched)
    return tuple(dict.fromkeys(name for targets in taken for name in targets))


def stumbled(event: Event, routes: tuple[Route, ...]) -> tuple[RouteMatch, ...]:
    """Return the routes whose condition raised on this event instead of holding or not."""
    conditional = tuple(route for route in routes if route.when)
    return tuple(match for match in explain(event, conditional) if match.problem)


def _explain(event: Event, route: Route) -> RouteMatch:
    row = event.row
    why = ""
    if row.outcome is not EventOutcome.ACCEPTED:
        why = f"the event was {row.outcome.value}"
    elif row.reason == "vault_locked":
        why = "the vault is locked, so the event was not checked yet"
    elif row.reason == "handshake":
        why = "a setup handshake, which relay answered itself"
    why = why or _mismatch(route, row.source, row.type)
    if why:
        return RouteMatch(route=route, matched=False, why=why)
    if route.when:
        return _judged(event, route)
    return RouteMatch(route=route, matched=True, why="source and type fit")


def _mismatch(route: Route, source: str, type_: str) -> str:
    """Return why a route is not for events of this source and type, "" where it is."""
    if route.sources and source not in route.sources:
        return f"source {source} is not {' or '.join(route.sources)}"
    if not listed(type_, route.events):
        return f"type {type_} is not {' or '.join(route.events)}"
    return ""


def _judged(event: Event, route: Route) -> RouteMatch:
    facts, payload = _facts_of(event), event.payload
    holds, problem = judge(route.when, facts, payload)
    if problem:
        problem = printable(problem, _WORDS)
        return RouteMatch(
            route=route, matched=False, why=f"when cannot be judged: {problem}", problem=problem
        )
    values = printable(", ".join(seen(route.when, facts, payload)), _WORDS)
    why = f"when {route.when} is {'true' if holds else 'false'}" + (f": {values}" if values else "")
    return RouteMatch(route=route, matched=holds, why=why)


def _context(event: NewEvent) -> tuple[dict[str, object], object]:
    capture = event.capture
    return _facts(event.type, event.provider, event.idempotency_key, capture), capture.payload.value


def _facts_of(event: Event) -> dict[str, object]:
    return _facts(event.row.type, event.row.provider, event.row.idempotency_key, event.capture)


def _facts(type_: str, provider: str, key: str | None, capture: Capture) -> dict[str, object]:
    return {
        "type": type_,
        "source": capture.source,
        "provider": provider,
        "idempotency_key": key,
        "method": capture.method,
        "path": capture.path,
        "received_at": capture.received_at.isoformat(),
        "headers": {name.lower(): value for name, value in capture.headers},
    }
