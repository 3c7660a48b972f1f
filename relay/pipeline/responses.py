"""The responses to senders: the source's answer or a refusal, without anything that would help a forger."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from relay.model.admission import Answer
from relay.model.clock import format_time
from relay.model.event import EventOutcome, Headers, NewEvent, Source
from relay.model.event_json import serialize_problem
from relay.model.secret import Secret
from relay.model.values import dataclass
from relay.providers.generic_challenges import ChallengeReply

_JSON = "application/json"
_MOST_PROBLEMS = 10  # problems named in the message; the list contains all


@dataclass(slots=True, kw_only=True)
class SenderResponse:
    """A response: status, body, content type and further headers.

    `offered` is a secret from a handshake. With `closes` the connection is closed after it.
    """

    status: int
    body: bytes
    content_type: str = _JSON
    event_id: int | None = None
    headers: Headers = ()
    offered: Secret | None = None
    closes: bool = False


def build_response(configured: Answer, status: int, id_: int | None, outcome: EventOutcome) -> SenderResponse:
    """Return the response for an event; `id_` is None if it was not stored."""
    if outcome is EventOutcome.REJECTED:
        return build_rejection(status, id_)
    if configured.body is not None:
        return SenderResponse(
            status=status, body=configured.body.encode(), content_type=configured.content_type, event_id=id_
        )
    # Formatted by hand: this is the hot path, and json.dumps takes ten times as long.
    number = b"null" if id_ is None else b"%d" % id_
    body = b'{"success": true, "event": %s, "outcome": "%s"}' % (number, outcome.value.encode())
    return SenderResponse(status=status, body=body, event_id=id_)


def build_rejection(status: int, id_: int | None = None) -> SenderResponse:
    """Return the response for a rejected event; `id_` is None if it was not stored."""
    # The response reveals nothing that would help a forger. Inside an app nothing is stored and there is
    # no dashboard: its log has the reason.
    hint = "the log of the app says why" if id_ is None else "the dashboard of relay says why"
    if status == 401:
        refused = build_error_response(401, "signature_not_valid", "signature not valid", hint)
    else:
        refused = build_error_response(status, "not_acceptable", "the request was not accepted", hint)
    return replace(refused, event_id=id_)


def build_validation_response(event: NewEvent, id_: int | None = None) -> SenderResponse:
    """Return the response for an event that breaks its source's rules: every field, with the reason.

    Unverified senders are not told the problems, even if their source accepts them; nor are any while the vault is
    locked, because none can be verified.
    """
    if not event.verification.may_act:
        return build_rejection(event.status, id_)
    problems = "; ".join(one.sentence for one in event.problems[:_MOST_PROBLEMS])
    more = f"; and {len(event.problems) - _MOST_PROBLEMS} more" if len(event.problems) > _MOST_PROBLEMS else ""
    what = "the body does not fit the schema" if event.reason == "schema" else "the request was not accepted"
    error: dict[str, object] = {
        "code": event.reason,
        "message": f"{what}: {problems}{more}",
        "hint": "correct the fields and send it again",
        "fields": [serialize_problem(one) for one in event.problems],
    }
    return SenderResponse(status=event.status, body=json.dumps({"error": error}).encode(), event_id=id_)


def build_challenge_response(reply: ChallengeReply, body: bytes) -> SenderResponse:
    """Return the response to a setup challenge whose reply has a `body` of its own."""
    return SenderResponse(
        status=reply.status,
        body=body,
        content_type=reply.content_type,
        # The body is text chosen by the caller: no browser may render it as a page.
        headers=(("X-Content-Type-Options", "nosniff"), *reply.headers),
    )


def build_health_response(sources: Iterable[Source], now: datetime, *, keeps: bool = True) -> SenderResponse:
    """Return the response of `GET /webhooks/health`: 503 while no event can be stored."""
    body = {
        "status": "healthy" if keeps else "unhealthy",
        "service": "relay",
        "endpoints": {source.name: source.path for source in sources},
        "timestamp": format_time(now),
    }
    return SenderResponse(status=200 if keeps else 503, body=json.dumps(body).encode())


def build_unknown_message_response(status: int, id_: int) -> SenderResponse:
    """Return the response to a status report whose message is not registered."""
    refused = build_error_response(
        status, "message_not_found", "message not found", "relay keeps the status until it is registered"
    )
    return replace(refused, event_id=id_)


def build_error_response(
    status: int, code: str, message: str, hint: str = "", *, headers: Headers = (), closes: bool = False
) -> SenderResponse:
    """Return an error in the format of both ports."""
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode()
    return SenderResponse(status=status, body=body, headers=headers, closes=closes)
