"""Debug log of an event's way through relay, a line for each step.

The lines go to the logger `relay.events` at level DEBUG: numbers, names and verdicts, never a body, a header or a
secret. Callers ask `steps_are_logged` first, so that a request pays nothing while they are not read.
"""

import logging
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from relay.model.delivery import Attempt, Delivery, DeliveryState, Route
from relay.model.event import EventOutcome, NewEvent, Verdict, Verification
from relay.model.text import decode_header_text, escape_unprintable, format_headline
from relay.pipeline.routing import RouteMatch, match_routes

LOGGER_NAME = "relay.events"
_log = logging.getLogger(LOGGER_NAME)
_LONGEST_TEXT = 200  # characters of a name that a sender chose


def steps_are_logged() -> bool:
    """Return whether the lines are logged."""
    return _log.isEnabledFor(logging.DEBUG)


def log_arrival(
    number: int | None, event: NewEvent, outcome: EventOutcome, routes: Sequence[Route], duplicate_of: int | None = None
) -> None:
    """Log how a request was processed; `number` is None in an app, which stores no events."""
    capture = event.capture
    say = _EventLogger(number if number is not None else f"{capture.source} {event.type}")
    path = _shorten(decode_header_text(capture.path))
    say(f"received {_shorten(capture.method)} {path} with {len(capture.body)} bytes for source {capture.source}")
    say(_describe_verdict(event.verification))
    count, types = len(event.split), tuple(dict.fromkeys(event.split.types))
    called = f"type {_shorten(event.type)}" if count == 1 else _shorten(format_headline(event.type, types, count))
    say(f"{called}, {f'key {_shorten(event.idempotency_key)}' if event.idempotency_key else 'no key'}")
    if outcome is EventOutcome.ACCEPTED:
        for place, match in enumerate(match_routes(event, routes), start=1):
            say(f"route {place} {_describe_route(match)}")
    twin = f" of #{duplicate_of}" if duplicate_of is not None else ""
    reason = f" ({event.reason})" if event.reason and outcome is event.outcome else ""
    kept = "stored" if number is not None else "taken in"
    say(f"{kept}: {outcome.value}{twin}{reason}, answered {event.status}")


def log_attempt(attempt: Attempt, delivery: Delivery, state: DeliveryState, wait: float, *, spared: bool) -> None:
    """Log an attempt of a delivery and the next step; `wait` is in seconds."""
    say = _EventLogger(delivery.event_id)
    response = attempt.response
    came = f"status {response.status}" if response is not None else attempt.outcome
    # The detail of a mail or a handler may contain parts of the payload.
    why = f": {attempt.detail}" if delivery.action == "forward" and response is None and attempt.detail else ""
    where = f"delivery {delivery.id} to {_describe_target(delivery.target)}"
    say(f"{where}, attempt {attempt.number}: {came} in {attempt.took * 1000:.0f} ms{_shorten(why)}")
    if spared:
        say(f"{where} waits until the target answers")
    elif state is DeliveryState.PENDING:
        say(f"{where} is tried again in {wait:.1f} s")
    else:
        say(f"{where} {state.value}")


def log_start(delivery: Delivery) -> None:
    """Log that an attempt starts."""
    _EventLogger(delivery.event_id)(
        f"delivery {delivery.id} to {_describe_target(delivery.target)}, attempt {delivery.attempts + 1} begins"
    )


def log_handled(event: NewEvent, target: str, outcome: str) -> None:
    """Log the outcome of calling the handlers of a target, in an app."""
    _EventLogger(f"{event.capture.source} {event.type}")(f"handlers of target {target}: {outcome}")


def log_refusal(source: str, status: int, why: str) -> None:
    """Log a request that did not become an event."""
    # The reason may quote the request line, whose query may contain a token.
    why = re.sub(r"\?\S*", "?…", why)
    _log.debug("a request for %s was answered %d: %s", source or "no source", status, _shorten(why))


class _EventLogger:
    """Logs lines that start with the number of an event, or with its names."""

    def __init__(self, event: int | str) -> None:
        self._head = f"#{event}" if isinstance(event, int) else _shorten(event)
        self._extra = {"event": event} if isinstance(event, int) else {}

    def __call__(self, text: str) -> None:
        _log.debug("%s %s", self._head, text, extra=self._extra)


def _describe_verdict(verification: Verification) -> str:
    if verification.verdict is Verdict.VERIFIED:
        return "verified"
    failed = [f"{check.name}: {check.result}" for check in verification.checks if check.passed is False]
    where = f"; {', '.join(failed)}" if failed else ""
    return f"not verified: {verification.verdict.value} ({verification.reason}){where}"


def _describe_route(match: RouteMatch) -> str:
    to = ", ".join(match.route.targets)
    return f"matched, leads to {to}" if match.matched else f"to {to} did not match: {_shorten(match.why)}"


def _describe_target(name: str) -> str:
    # A typed address may contain a token after its host.
    parts = urlsplit(name)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else name


def _shorten(text: str) -> str:
    return escape_unprintable(text, _LONGEST_TEXT)
