"""The parts of a setup handshake: the challenge, the proof, the reply."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

from relay.model.event import Capture, Headers
from relay.model.json_paths import find_below
from relay.model.payload import PayloadError, parse_form
from relay.model.secret import Secret
from relay.model.values import dataclass

# Control characters in an echoed text would allow its sender to write headers or log lines.
_VISIBLE = re.compile(r"[\x20-\x7e]{1,2048}")


class Proof(Enum):
    """The proof that a handshake needs: the signature, a verify token, or nothing."""

    SIGNATURE = "signature"
    TOKEN = "token"  # noqa: S105 - the kind of proof, no secret
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeReply:
    """The reply to a provider; `body` None means the source's own answer.

    `offered` is a secret that the provider sent in the handshake, and `todo` what the user still has to do.
    """

    status: int = 200
    body: bytes | None = None
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()
    offered: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A handshake of a provider.

    `read` returns the challenge of a request, None if it is not such a handshake. `reply` builds the
    reply from it and from the proven secret (None for none); it returns None if
    that needs a secret. `token` reads the verify token.
    """

    name: str
    read: Callable[[Capture], str | None]
    reply: Callable[[str, Secret | None], ChallengeReply | None]
    proof: Proof = Proof.NONE
    token: Callable[[Capture], str] = lambda _: ""


# Slack and Zoom send their challenge as an ordinary event with its own type.
def read_json_where(key: str, value: str, *path: str) -> Callable[[Capture], str | None]:
    """Return a reader of the text at `path` in a JSON body whose `key` is `value`."""
    needle = value.encode()

    def read(capture: Capture) -> str | None:
        # Searching for the word first avoids parsing the body of ordinary events.
        if needle not in capture.body:
            return None
        return visible_text(capture.payload.json_at(*path)) if capture.payload.json_at(key) == value else None

    return read


def read_query_parameter(name: str, method: str) -> Callable[[Capture], str | None]:
    """Return a reader of a query parameter for requests of one method."""

    def read(capture: Capture) -> str | None:
        if capture.method != method or f"{name}=" not in capture.query:
            return None
        return find_query_value(capture, name)

    return read


def read_hub_challenge(capture: Capture) -> str | None:
    """Read the challenge of Meta or of a WebSub hub."""
    if capture.method != "GET" or find_query_value(capture, "hub.mode") != "subscribe":
        return None
    return find_query_value(capture, "hub.challenge")


def echo_reply(value: str, _: Secret | None) -> ChallengeReply:
    """Return the challenge as text."""
    return ChallengeReply(body=value.encode())


def json_reply(value: Mapping[str, object]) -> ChallengeReply:
    """Return a reply in compact JSON."""
    return ChallengeReply(body=json.dumps(value, separators=(",", ":")).encode(), content_type="application/json")


def echo_json(key: str) -> Callable[[str, Secret | None], ChallengeReply]:
    """Return a reply with the challenge as JSON under a key."""
    return lambda value, _: json_reply({key: value})


def visible_text(value: object) -> str | None:
    """Return a text that may be echoed: printable ASCII in one line; None for anything else."""
    return value if isinstance(value, str) and _VISIBLE.fullmatch(value) else None


def find_query_value(capture: Capture, name: str) -> str | None:
    """Return the first value of a query parameter, as checked by `visible_text`."""
    pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
    return next((visible_text(value) for key, value in pairs if key == name), None)


# Frameworks read repeated fields differently, so they are not accepted in a handshake.
def parse_form_fields(capture: Capture) -> Mapping[str, str]:
    """Return the fields of a form body; none if it is not a form or has repeated fields."""
    try:
        pairs = parse_form(capture.body)
    except PayloadError:
        return {}
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {}


WITHOUT_PROVIDER = frozenset({"unknown", "custom"})
"""What sources without a provider of the catalogue have in its place."""

# Challenges are small; a larger body is an event.
_MAX_BODY = 4_000  # bytes of a body that is only a challenge
_ORIGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
_EVENT_GRID = "Microsoft.EventGrid.SubscriptionValidationEvent"
_TOPIC = re.compile(r"[\x21-\x7e]{1,2048}")


def _read_event_grid(capture: Capture) -> str | None:
    """Read the code of a validation event, which is the only one in its list.

    https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
    """
    if (capture.header("aeg-event-type") or "").lower() != "subscriptionvalidation":
        return None
    events = _parse_small_json(capture)
    if not isinstance(events, list) or len(events) != 1 or find_below(events, (0, "eventType")) != _EVENT_GRID:
        return None
    return visible_text(find_below(events, (0, "data", "validationCode")))


def _read_cloudevents(capture: Capture) -> str | None:
    """Read the origin that asks to send CloudEvents (HTTP 1.1 Web Hooks for Event Delivery, section 4)."""
    origin = capture.header("WebHook-Request-Origin") or ""
    is_asked = capture.method == "OPTIONS" and not capture.body and _ORIGIN.fullmatch(origin)
    return origin if is_asked else None


# https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md, section 4.2: the rate is requests a
# minute, or an asterisk for no limit.
def _cloudevents_reply(origin: str, _: Secret | None) -> ChallengeReply:
    # A callback in the request is never called: the caller would choose where relay connects to.
    headers = (("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", "*"), ("Allow", "POST, OPTIONS"))
    return ChallengeReply(body=b"", headers=headers)


def _read_websub(capture: Capture) -> str | None:
    """Read a hub's verification of a subscription (WebSub, 5.3). An unsubscription is never confirmed."""
    challenge = read_hub_challenge(capture)
    is_named = challenge is not None and _TOPIC.fullmatch(find_query_value(capture, "hub.topic") or "")
    return challenge if is_named else None


def _read_challenge_query(capture: Capture) -> str | None:
    """Read a challenge that is the only parameter of a GET: Nylas, Adobe I/O Events and others."""
    if capture.method != "GET" or capture.body or "&" in capture.query:
        return None
    return find_query_value(capture, "challenge") if capture.query.startswith("challenge=") else None


def _read_challenge_json(capture: Capture) -> str | None:
    """Read a challenge that is the only field of a JSON body: monday.com and Miro, with a token Lark."""
    if capture.method != "POST" or b'"challenge"' not in capture.body:
        return None
    value = _parse_small_json(capture)
    names = set(value) if isinstance(value, dict) else set()
    is_typed = names == {"challenge", "token", "type"} and value["type"] == "url_verification"
    return visible_text(value["challenge"]) if names == {"challenge"} or is_typed else None


def _read_smartsheet(capture: Capture) -> str | None:
    challenge = capture.header("Smartsheet-Hook-Challenge")
    if capture.method != "POST" or challenge is None:
        return None
    value = _parse_small_json(capture)
    is_check = isinstance(value, dict) and set(value) == {"challenge", "webhookId"}
    return visible_text(challenge) if is_check and value["challenge"] == challenge else None


# The challenge is echoed in a header and in the body, because either may be compared.
def _smartsheet_reply(challenge: str, _: Secret | None) -> ChallengeReply:
    reply = json_reply({"smartsheetHookResponse": challenge})
    return replace(reply, headers=(("Smartsheet-Hook-Response", challenge),))


def _read_graph(capture: Capture) -> str | None:
    """Read the token of Microsoft Graph (`validationToken`) or SharePoint, which comes by POST with nothing in it.

    https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
    """
    if capture.method != "POST" or capture.body or "validation" not in capture.query:
        return None
    return find_query_value(capture, "validationToken") or find_query_value(capture, "validationtoken")


def _parse_small_json(capture: Capture) -> Any:
    return capture.payload.json if 0 < len(capture.body) <= _MAX_BODY else None


GENERIC_CHALLENGES = (
    # If the source checks a signature, a request with one must be signed correctly.
    Challenge("Event Grid validation", _read_event_grid, echo_json("validationResponse"), proof=Proof.SIGNATURE),
    Challenge("CloudEvents permission", _read_cloudevents, _cloudevents_reply),
    Challenge("WebSub verification", _read_websub, echo_reply),
    Challenge("Graph validation", _read_graph, echo_reply),
    Challenge("Smartsheet verification", _read_smartsheet, _smartsheet_reply, proof=Proof.SIGNATURE),
    Challenge("URL challenge", _read_challenge_json, echo_json("challenge"), proof=Proof.SIGNATURE),
    Challenge("URL challenge", _read_challenge_query, echo_reply),
)
"""The handshakes known by their shape alone, each in the words of its specification."""
