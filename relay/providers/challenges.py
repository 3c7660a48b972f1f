"""The handshakes that providers ask for when a URL is registered: what is asked, who may ask, what to say."""

import hashlib
import hmac
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from urllib.parse import parse_qsl

from relay.model.event import Capture, Headers
from relay.model.payload import PayloadError, parse_form
from relay.model.secret import Secret

# What is asked for is signed or sent back, so it must be too plain to be anything else: whoever may
# choose the text of an HMAC could have a whole forged event signed (X's crc_token, Zoom's plainToken).
_PLAIN = re.compile(r"[A-Za-z0-9+/=_.~-]{1,256}")
_VISIBLE = re.compile(r"[\x20-\x7e]{1,2048}")
_DISCORD_PING = re.compile(rb'"type"\s*:\s*[01]\b')
_SNS_HOST = re.compile(r"https://sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?/")


class Proof(Enum):
    """What must be right before a handshake is answered: the signature, a verify token, or nothing."""

    SIGNATURE = "signature"
    TOKEN = "token"  # noqa: S105 - the kind of proof, no secret
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a provider wants to hear; `body` None means the source's own answer.

    `offered` is a secret that the provider gave away in the handshake, and `todo` what is left for a
    person to do.
    """

    status: int = 200
    body: bytes | None = None
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()
    offered: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One handshake of a provider.

    `asked` returns what a request asks for, None when it is no such handshake. `reply` makes the
    answer from it and from the secret that is proven right, None being none; it gives None where
    it cannot be answered without one. `token` reads the verify token.
    """

    name: str
    asked: Callable[[Capture], str | None]
    reply: Callable[[str, Secret | None], Reply | None]
    proof: Proof = Proof.NONE
    token: Callable[[Capture], str] = lambda _: ""


def find_challenge(provider: str, capture: Capture) -> tuple[Challenge, str] | None:
    """Return the handshake that a request is, with what it asks for; None for an ordinary request."""
    for challenge in CHALLENGES.get(provider, ()):
        asked = challenge.asked(capture)
        if asked is not None:
            return challenge, asked
    return None


def offered_secret(provider: str, capture: Capture) -> str:
    """Return the secret that a handshake brought; "" where it brought none."""
    found = find_challenge(provider, capture)
    reply = found[0].reply(found[1], None) if found else None
    return reply.offered if reply else ""


def subscription_link(capture: Capture) -> str | None:
    """Return the link that confirms an SNS subscription; None unless it leads to SNS itself."""
    link = capture.payload.json_at("SubscribeURL")
    return link if isinstance(link, str) and _SNS_HOST.match(link) and _VISIBLE.fullmatch(link) else None


def _json_where(key: str, value: str, *path: str) -> Callable[[Capture], str | None]:
    """Return what reads the text at `path` of a JSON body whose `key` says `value`."""
    needle = value.encode()

    def asked(capture: Capture) -> str | None:
        # Looking for the word first spares ordinary events a reading of their body.
        if needle not in capture.body:
            return None
        payload = capture.payload
        return _text(payload.json_at(*path)) if payload.json_at(key) == value else None

    return asked


def _parameter(name: str, method: str) -> Callable[[Capture], str | None]:
    """Return what reads a query parameter of requests of one method."""

    def asked(capture: Capture) -> str | None:
        if capture.method != method or f"{name}=" not in capture.query:
            return None
        return _query(capture, name)

    return asked


def _meta(capture: Capture) -> str | None:
    if capture.method != "GET" or _query(capture, "hub.mode") != "subscribe":
        return None
    return _query(capture, "hub.challenge")


def _twitch(capture: Capture) -> str | None:
    if capture.header("Twitch-Eventsub-Message-Type") != "webhook_callback_verification":
        return None
    return _text(capture.payload.json_at("challenge"))


def _okta(capture: Capture) -> str | None:
    return _text(capture.header("X-Okta-Verification-Challenge")) if capture.method == "GET" else None


def _asana(capture: Capture) -> str | None:
    if capture.header("X-Hook-Signature") is not None:
        return None
    return _text(capture.header("X-Hook-Secret"))


def _notion(capture: Capture) -> str | None:
    if b"verification_token" not in capture.body or capture.header("X-Notion-Signature") is not None:
        return None
    payload = capture.payload
    return _text(payload.json_at("verification_token")) if payload.json_at("type") is None else None


def _discord(kind: int) -> Callable[[Capture], str | None]:
    def asked(capture: Capture) -> str | None:
        # Every event has a type; pings are small, and only what may be one is read here.
        if len(capture.body) > 10_000 or not _DISCORD_PING.search(capture.body):
            return None
        payload = capture.payload
        said = payload.json_at("type")
        is_event = payload.json_at("event") is not None
        return "ping" if type(said) is int and said == kind and not is_event else None

    return asked


def _woocommerce(capture: Capture) -> str | None:
    if capture.header("X-WC-Webhook-Signature") is not None or not capture.body.startswith(b"webhook_id="):
        return None
    fields = _form(capture)
    return fields["webhook_id"] if set(fields) == {"webhook_id"} else None


def _mandrill(capture: Capture) -> str | None:
    # Signed with the key "test-webhook", as no webhook exists yet; it has no events, so nothing can be forged.
    return "ping" if capture.body in (b"mandrill_events=%5B%5D", b"mandrill_events=[]") else None


def _head(capture: Capture) -> str | None:
    return "HEAD" if capture.method == "HEAD" else None


def _sns(capture: Capture) -> str | None:
    if b"SubscriptionConfirmation" not in capture.body:
        return None
    payload = capture.payload
    return "confirm" if payload.json_at("Type") == "SubscriptionConfirmation" else None


def _echoed(asked: str, _: Secret | None) -> Reply:
    return Reply(body=asked.encode())


def _ordinary(_: str, __: Secret | None) -> Reply:
    return Reply()


def _json(value: Mapping[str, object]) -> Reply:
    return Reply(body=json.dumps(value, separators=(",", ":")).encode(), content_type="application/json")


def _zoom(asked: str, secret: Secret | None) -> Reply | None:
    if secret is None or not _PLAIN.fullmatch(asked):
        return None
    digest = hmac.new(_key(secret), asked.encode(), hashlib.sha256).hexdigest()
    return _json({"plainToken": asked, "encryptedToken": digest})


def _crc(asked: str, secret: Secret | None) -> Reply | None:
    if secret is None or not _PLAIN.fullmatch(asked):
        return None
    digest = hmac.new(_key(secret), asked.encode(), hashlib.sha256).digest()
    return _json({"response_token": f"sha256={b64encode(digest).decode()}"})


def _hook_secret(asked: str, _: Secret | None) -> Reply:
    return Reply(
        body=b"",
        headers=(("X-Hook-Secret", asked),),
        offered=asked,
        todo="save the X-Hook-Secret of its headers as {variable}",
    )


def _verification_token(asked: str, _: Secret | None) -> Reply:
    return Reply(
        offered=asked, todo="paste the verification_token of its body in Notion and save it as {variable}"
    )


def _confirmed_by_hand(_: str, __: Secret | None) -> Reply:
    return Reply(todo="open the SubscribeURL of its body to confirm the subscription")


_META = (
    Challenge(
        name="Meta URL verification",
        asked=_meta,
        reply=_echoed,
        proof=Proof.TOKEN,
        token=lambda capture: _query(capture, "hub.verify_token") or "",
    ),
)
_GRAPH = (
    Challenge(name="Graph validation", asked=_parameter("validationToken", "POST"), reply=_echoed),
    Challenge(name="Graph validation", asked=_parameter("validationToken", "GET"), reply=_echoed),
)
_X = (Challenge(name="X challenge-response check", asked=_parameter("crc_token", "GET"), reply=_crc),)
_SNS = (
    # Never fetched by relay itself: whoever can write a body would choose where relay connects to.
    Challenge(
        name="SNS subscription confirmation", asked=_sns, reply=_confirmed_by_hand, proof=Proof.SIGNATURE
    ),
)
_HEAD = Challenge(name="HEAD request", asked=_head, reply=lambda _, __: Reply(body=b""))

CHALLENGES: Mapping[str, tuple[Challenge, ...]] = MappingProxyType(
    {
        "slack": (
            Challenge(
                name="Slack URL verification",
                asked=_json_where("type", "url_verification", "challenge"),
                reply=_echoed,
                proof=Proof.SIGNATURE,
            ),
        ),
        "zoom": (
            # Zoom repeats it about every 72 hours.
            Challenge(
                name="Zoom URL validation",
                asked=_json_where("event", "endpoint.url_validation", "payload", "plainToken"),
                reply=_zoom,
                proof=Proof.SIGNATURE,
            ),
        ),
        "meta": _META,
        "whatsapp": _META,
        "msgraph": _GRAPH,
        "x": _X,
        "dropbox": (
            Challenge(name="Dropbox verification", asked=_parameter("challenge", "GET"), reply=_echoed),
        ),
        "okta": (
            Challenge(
                name="Okta verification", asked=_okta, reply=lambda asked, _: _json({"verification": asked})
            ),
        ),
        "asana": (Challenge(name="Asana handshake", asked=_asana, reply=_hook_secret),),
        "discord": (
            # Discord sends bad signatures on purpose and unregisters a URL that answers them.
            Challenge(
                name="Discord PING",
                asked=_discord(1),
                reply=lambda _, __: _json({"type": 1}),
                proof=Proof.SIGNATURE,
            ),
            Challenge(
                name="Discord Webhook Events PING",
                asked=_discord(0),
                reply=lambda _, __: Reply(status=204, body=b""),
                proof=Proof.SIGNATURE,
            ),
        ),
        "twitch": (
            Challenge(
                name="Twitch callback verification", asked=_twitch, reply=_echoed, proof=Proof.SIGNATURE
            ),
        ),
        "aws-sns": _SNS,
        "notion": (Challenge(name="Notion verification", asked=_notion, reply=_verification_token),),
        "woocommerce": (Challenge(name="WooCommerce activation", asked=_woocommerce, reply=_ordinary),),
        "trello": (_HEAD,),
        "intercom": (_HEAD,),
        "mandrill": (_HEAD, Challenge(name="Mandrill test", asked=_mandrill, reply=_ordinary)),
    }
)
"""The handshakes of each provider that has any, by its name in the catalogue."""

VERIFY_TOKENS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "meta": ("META_VERIFY_TOKEN",),
        "whatsapp": ("WHATSAPP_VERIFY_TOKEN", "META_VERIFY_TOKEN"),
    }
)
"""The variables that usually hold the verify token, which is another secret than the one that signs."""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and _VISIBLE.fullmatch(value) else None


def _query(capture: Capture, name: str) -> str | None:
    pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
    return next((_text(value) for key, value in pairs if key == name), None)


def _form(capture: Capture) -> Mapping[str, str]:
    try:
        return dict(parse_form(capture.body))
    except PayloadError:
        return {}


def _key(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogateescape")
