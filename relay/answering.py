"""What a sender is told: the source's answer, a refusal, and nothing that would help a forger."""

import json
from dataclasses import dataclass, replace

from relay.model.event import Answer, EventOutcome, Headers
from relay.model.secret import Secret

_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the sender gets: status, body, content type and further headers.

    `offered` is a secret that the sender gave relay in a handshake.
    """

    status: int
    body: bytes
    content_type: str = _JSON
    event_id: int | None = None
    headers: Headers = ()
    offered: Secret | None = None


def answer(configured: Answer, status: int, id_: int, outcome: EventOutcome) -> Answered:
    """Return what a stored event's sender gets."""
    if outcome is EventOutcome.REJECTED:
        return rejected(status, id_)
    if configured.body is not None:
        return Answered(
            status=status, body=configured.body.encode(), content_type=configured.content_type, event_id=id_
        )
    # Written by hand: this is the hot path and json.dumps costs ten times as much.
    body = b'{"success": true, "event": %d, "outcome": "%s"}' % (id_, outcome.value.encode())
    return Answered(status=status, body=body, event_id=id_)


def rejected(status: int, id_: int) -> Answered:
    """Return what the sender of a stored, rejected event gets."""
    # A refused sender learns nothing that would help a forger; the reason is for the dashboard.
    if status == 401:
        refused = refusal(
            401, "signature_not_valid", "signature not valid", "the dashboard of relay says why"
        )
    else:
        refused = refusal(
            status, "not_acceptable", "the request was not accepted", "the dashboard of relay says why"
        )
    return replace(refused, event_id=id_)


def unknown_message(status: int, id_: int) -> Answered:
    """Return what the sender of a status gets whose message nobody has registered."""
    refused = refusal(
        status, "message_not_found", "message not found", "relay keeps the status until it is registered"
    )
    return replace(refused, event_id=id_)


def refusal(status: int, code: str, message: str, hint: str = "") -> Answered:
    """Return an error in the form both ports use."""
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode()
    return Answered(status=status, body=body)
