"""Routing: the routes that match an event, the deliveries they plan, and why other routes do not match."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from relay.errors import ConfigError
from relay.model.delivery import NewDelivery, Route, Target, matches_any_type, matches_type
from relay.model.event import Capture, CapturedEvent, EventOutcome, NewEvent
from relay.model.request_items import Split
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

# Names in an expression: `event` (facts by name), `payload`, `items` (the events in the request) and `item` (one of
# them, or the first).
ConditionContext = Mapping[str, object]
_OPERAND = re.compile(r"(?:event|payload|items?)[.\[]")


@lru_cache(maxsize=1)
def _build_environment() -> "ImmutableSandboxedEnvironment":
    from jinja2 import StrictUndefined  # noqa: PLC0415 - see compile_condition
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - as above

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined)


@lru_cache(maxsize=256)
def compile_condition(text: str) -> Callable[..., Any]:
    """Return the compiled expression, to be called with a `Context`.

    Raises ConfigError if the text is not a Jinja expression.
    """
    from jinja2 import TemplateError  # noqa: PLC0415 - 15 ms of a start, for conditions alone

    try:
        return _build_environment().compile_expression(text, undefined_to_none=False)
    except TemplateError as error:
        raise ConfigError(
            f"{text!r} is not an expression: {error}", hint="write one such as payload.data.object.amount_due > 1000"
        ) from error


def describe_operands(text: str, context: ConditionContext) -> tuple[str, ...]:
    """Return the operands of an expression with their values: `payload.amount = 500`."""
    values: dict[str, None] = {}
    for path in _find_operand_paths(text):
        try:
            value = _build_environment().compile_expression(path)(context)
        except Exception:  # noqa: BLE001, S112 - the values are an extra; whatever looking at one raises, the rest is listed
            continue
        if not isinstance(value, dict | list):
            values[f"{path} = {value!r}"] = None
    return tuple(values)


@lru_cache(maxsize=256)
def _find_operand_paths(text: str) -> tuple[str, ...]:
    from jinja2 import nodes  # noqa: PLC0415 - see compile_condition

    from relay.actions.mail.templates import format_node_path  # noqa: PLC0415 - as above

    tree = _build_environment().parse("{{ " + text + " }}")
    chains: list[nodes.Getattr | nodes.Getitem] = []
    chains += tree.find_all(nodes.Getattr)
    chains += tree.find_all(nodes.Getitem)
    inner = {id(chain.node) for chain in chains}
    paths = (format_node_path(chain) for chain in chains if id(chain) not in inner)
    return tuple(dict.fromkeys(path for path in paths if _OPERAND.match(path)))


def evaluate_condition(text: str, context: ConditionContext) -> tuple[bool, str]:
    """Return whether the condition is true, and a sentence if it could not be evaluated (else "")."""
    try:
        return bool(compile_condition(text)(context)), ""
    except Exception as error:  # noqa: BLE001 - the expression is the user's own; whatever it raises is shown, not raised
        return False, f"{type(error).__name__}: {error}"


log = logging.getLogger(__name__)

_LONGEST_REASON = 200  # characters of a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """Whether a route matches an event, with a short reason.

    `problem` is the error that its condition raised, "" if there was none.
    """

    route: Route
    matched: bool
    why: str
    problem: str = ""


def plan_deliveries(
    event: NewEvent, routes: tuple[Route, ...], targets: Mapping[str, Target]
) -> tuple[NewDelivery, ...]:
    """Return a delivery for each target of the matching routes, each target once; pure.

    An event that could not be checked because the vault is locked has no deliveries until it was checked.
    """
    if event.outcome is not EventOutcome.ACCEPTED or event.verification.reason == "vault_locked":
        return ()
    names: dict[str, None] = {}
    view: _ConditionView | None = None
    for route in routes:
        if not route.matches(event.capture.source, event.types):
            continue
        if route.when:
            view = view or _ConditionView(event.split, event.provider, event.idempotency_key, event.capture)
            found = view.evaluate(route)
            if found.problem:
                log.warning(
                    "a route's condition could not be judged: %s", escape_unprintable(found.problem, _LONGEST_REASON)
                )
            if not found.holds:
                continue
        names.update(dict.fromkeys(route.targets))
    return tuple([_build_delivery(name, targets[name].action) for name in names if name in targets])


@lru_cache(maxsize=256)
def _build_delivery(target: str, action: str) -> NewDelivery:
    return NewDelivery(target=target, action=action)


def match_routes(event: NewEvent, routes: Sequence[Route]) -> Iterator[RouteMatch]:
    """Return for each route whether it matches an accepted event; `why` contains no value of the event."""
    view = _ConditionView(event.split, event.provider, event.idempotency_key, event.capture)
    for route in routes:
        why = _mismatch(route, event.capture.source, view.split.types)
        if not why and route.when:
            found = view.evaluate(route)
            if not found.holds:
                why = "its condition cannot be judged" if found.problem else f"{route.when} does not hold"
        yield RouteMatch(route=route, matched=not why, why=why)


def explain_routes(event: CapturedEvent, routes: tuple[Route, ...]) -> tuple[RouteMatch, ...]:
    """Return for each route in order whether it matches this event, and why."""
    return tuple(_explain_route(event, route) for route in routes)


def find_target_names(event: CapturedEvent, routes: tuple[Route, ...]) -> tuple[str, ...]:
    """Return the names of the targets of an event's routes, each once."""
    taken = (match.route.targets for match in explain_routes(event, routes) if match.matched)
    return tuple(dict.fromkeys(name for targets in taken for name in targets))


def find_failed_routes(event: CapturedEvent, routes: tuple[Route, ...]) -> tuple[RouteMatch, ...]:
    """Return the routes whose condition raised an error on this event."""
    conditional = tuple(route for route in routes if route.when)
    return tuple(match for match in explain_routes(event, conditional) if match.problem)


def _explain_route(event: CapturedEvent, route: Route) -> RouteMatch:
    row = event.row
    why = ""
    if row.outcome is not EventOutcome.ACCEPTED:
        article = "a " if row.outcome is EventOutcome.DUPLICATE else ""
        why = f"the event was {article}{row.outcome.value}"
    elif row.reason == "vault_locked":
        why = "the vault is locked, so the event was not checked yet"
    elif row.reason == "handshake":
        why = "a setup handshake, which relay answered itself"
    why = why or _mismatch(route, row.source, row.types)
    if why:
        return RouteMatch(route=route, matched=False, why=why)
    if route.when:
        return _evaluate_condition(event, route)
    return RouteMatch(route=route, matched=True, why="source and type fit")


def _mismatch(route: Route, source: str, types: Sequence[str]) -> str:
    """Return why a route does not match this source and these event types, "" if it does."""
    if route.sources and source not in route.sources:
        return f"source {source} is not {' or '.join(route.sources)}"
    if matches_any_type(types, route.events):
        return ""
    patterns, distinct = " or ".join(route.events), tuple(dict.fromkeys(types))
    return (
        f"type {types[0]} is not {patterns}"
        if len(distinct) == 1
        else f"none of the types {', '.join(distinct)} is {patterns}"
    )


def _evaluate_condition(event: CapturedEvent, route: Route) -> RouteMatch:
    view = _ConditionView(event.split, event.row.provider, event.row.idempotency_key, event.capture)
    found = view.evaluate(route)
    if found.problem:
        problem = escape_unprintable(found.problem, _LONGEST_REASON)
        return RouteMatch(route=route, matched=False, why=f"when cannot be judged: {problem}", problem=problem)
    values = escape_unprintable(", ".join(describe_operands(route.when, found.context)), _LONGEST_REASON)
    which = f" for event {found.place + 1} of {len(view.split)}" if found.place is not None else ""
    why = f"when {route.when} is {'true' if found.holds else 'false'}{which}" + (f": {values}" if values else "")
    return RouteMatch(route=route, matched=found.holds, why=why)


@dataclass(frozen=True, slots=True)
class _ConditionResult:
    """The result of a condition and its context; `place` is the event it is true for, None for the whole request."""

    holds: bool
    problem: str
    context: ConditionContext
    place: int | None = None


@dataclass(frozen=True, slots=True)
class _ConditionView:
    """A request as conditions see it: as a whole, and each of its events as if received alone."""

    split: Split
    provider: str
    key: str | None
    capture: Capture

    def evaluate(self, route: Route) -> _ConditionResult:
        """Evaluate a route's condition on the events of its types: together, then one at a time until one matches.

        The result is an error only if it is one for each of them.
        """
        places = [place for place, type_ in enumerate(self.split.types) if matches_type(type_, route.events)]
        first = whole = self._evaluate(route.when, places)
        for place in places if len(places) > 1 and not whole.holds else ():
            found = self._evaluate(route.when, [place])
            if found.holds:
                return replace(found, place=place)
            if first.problem and not found.problem:
                first = found
        return first

    def _evaluate(self, when: str, places: Sequence[int]) -> _ConditionResult:
        values = self.split.values
        items = [values[place] for place in places] if self.split.found else list(values)
        context = {
            "event": self._facts(self.split.types[places[0]]),
            "payload": self.split.value(places),
            "item": items[0] if items else None,
            "items": items,
        }
        return _ConditionResult(*evaluate_condition(when, context), context)

    def _facts(self, type_: str) -> dict[str, object]:
        return {
            "type": type_,
            "types": list(dict.fromkeys(self.split.types)),
            "source": self.capture.source,
            "provider": self.provider,
            "idempotency_key": self.key,
            "method": self.capture.method,
            "path": self.capture.path,
            "received_at": self.capture.received_at.isoformat(),
            "headers": {name.lower(): value for name, value in self.capture.headers},
        }
