"""Handshakes of specifications that many senders follow, answered where a source has no provider of the catalogue.

Each is known by its exact shape, says nothing that the request did not say itself, and is delivered nowhere.
"""

import re
from collections.abc import Mapping
from typing import Any

from relay.model.event import Capture
from relay.model.secret import Secret
from relay.providers.challenge import Challenge, Proof, Reply, echo, json_reply, query_value, visible_text

WITHOUT_PROVIDER = frozenset({"unknown", "custom"})
"""What sources without a provider of the catalogue have in its place."""

_SMALL = 4_000  # bytes of a body with nothing but a challenge in it
_ORIGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
_EVENT_GRID = "Microsoft.EventGrid.SubscriptionValidationEvent"
_TOPIC = re.compile(r"[\x21-\x7e]{1,2048}")


def _event_grid(capture: Capture) -> str | None:
    """Read the code of a validation event, which comes alone in its list.

    https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
    """
    if (capture.header("aeg-event-type") or "").lower() != "subscriptionvalidation":
        return None
    events = _small_json(capture)
    if not isinstance(events, list) or len(events) != 1 or not isinstance(events[0], dict):
        return None
    data = events[0].get("data")
    is_validation = events[0].get("eventType") == _EVENT_GRID and isinstance(data, dict)
    return visible_text(data.get("validationCode")) if is_validation and isinstance(data, dict) else None


def _cloudevents(capture: Capture) -> str | None:
    """Read who asks for permission to send CloudEvents (HTTP 1.1 Web Hooks for Event Delivery, section 4)."""
    origin = capture.header("WebHook-Request-Origin") or ""
    if capture.method != "OPTIONS" or capture.body or not _ORIGIN.fullmatch(origin):
        return None
    return origin


def _allowed(origin: str, _: Secret | None) -> Reply:
    # A callback that the request names is never called: the caller would choose where relay connects to.
    headers = (
        ("WebHook-Allowed-Origin", origin),
        ("WebHook-Allowed-Rate", "*"),
        ("Allow", "POST, OPTIONS"),
    )
    return Reply(body=b"", headers=headers)


def _websub(capture: Capture) -> str | None:
    """Read a hub's question whether a subscription is wanted (WebSub, 5.3). An end of one is never confirmed."""
    if capture.method != "GET" or query_value(capture, "hub.mode") != "subscribe":
        return None
    topic = query_value(capture, "hub.topic") or ""
    return query_value(capture, "hub.challenge") if _TOPIC.fullmatch(topic) else None


def _challenge_query(capture: Capture) -> str | None:
    """Read a challenge that is all there is to a GET: Nylas, Adobe I/O Events and others."""
    if capture.method != "GET" or capture.body or "&" in capture.query:
        return None
    return query_value(capture, "challenge") if capture.query.startswith("challenge=") else None


def _challenge_json(capture: Capture) -> str | None:
    """Read a challenge that is all there is to a JSON body: monday.com and Miro, with a token Lark."""
    if capture.method != "POST" or b'"challenge"' not in capture.body:
        return None
    asked = _small_json(capture)
    if not isinstance(asked, dict):
        return None
    names = set(asked)
    is_typed = names == {"challenge", "token", "type"} and asked["type"] == "url_verification"
    return visible_text(asked["challenge"]) if names == {"challenge"} or is_typed else None


def _smartsheet(capture: Capture) -> str | None:
    challenge = capture.header("Smartsheet-Hook-Challenge")
    if capture.method != "POST" or challenge is None:
        return None
    asked = _small_json(capture)
    is_check = isinstance(asked, dict) and set(asked) == {"challenge", "webhookId"}
    return visible_text(challenge) if is_check and asked["challenge"] == challenge else None


def _smartsheet_reply(challenge: str, _: Secret | None) -> Reply:
    reply = json_reply({"smartsheetHookResponse": challenge})
    return Reply(
        body=reply.body,
        content_type=reply.content_type,
        headers=(("Smartsheet-Hook-Response", challenge),),
    )


def _graph(capture: Capture) -> str | None:
    """Read the token of Microsoft Graph (`validationToken`) or SharePoint, which comes by POST with nothing in it.

    https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
    """
    if capture.method != "POST" or capture.body or "validation" not in capture.query:
        return None
    return query_value(capture, "validationToken") or query_value(capture, "validationtoken")


def _small_json(capture: Capture) -> Any:
    return capture.payload.json if 0 < len(capture.body) <= _SMALL else None


def _challenge_reply(asked: str, _: Secret | None) -> Reply:
    return json_reply({"challenge": asked})


def _validation_reply(code: str, _: Secret | None) -> Reply:
    named: Mapping[str, object] = {"validationResponse": code}
    return json_reply(named)


COMMON = (
    # Where the source checks a signature, what comes with one in its header must be rightly signed.
    Challenge(
        name="Event Grid validation", asked=_event_grid, reply=_validation_reply, proof=Proof.SIGNATURE
    ),
    Challenge(name="CloudEvents permission", asked=_cloudevents, reply=_allowed),
    Challenge(name="WebSub verification", asked=_websub, reply=echo),
    Challenge(name="Graph validation", asked=_graph, reply=echo),
    Challenge(
        name="Smartsheet verification", asked=_smartsheet, reply=_smartsheet_reply, proof=Proof.SIGNATURE
    ),
    Challenge(name="URL challenge", asked=_challenge_json, reply=_challenge_reply, proof=Proof.SIGNATURE),
    Challenge(name="URL challenge", asked=_challenge_query, reply=echo),
)
"""The handshakes known by their shape alone, each in the words of its specification."""
