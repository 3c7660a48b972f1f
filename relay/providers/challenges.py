"""The handshakes of individual providers, used by their catalogue entries."""

import hmac
import re
from base64 import b64encode
from collections.abc import Callable

from relay.model.event import Capture
from relay.model.secret import Secret
from relay.providers.generic_challenges import (
    Challenge,
    ChallengeReply,
    Proof,
    echo_json,
    echo_reply,
    find_query_value,
    json_reply,
    parse_form_fields,
    read_hub_challenge,
    read_json_where,
    read_query_parameter,
    visible_text,
)
from relay.providers.schemes.vendor_schemes import SNS_HOST

# What is asked for is signed or sent back, so it must be too plain to be anything else: a caller who may
# choose the text of an HMAC could have a whole forged event signed (X's crc_token, Zoom's plainToken).
_PLAIN = re.compile(r"[A-Za-z0-9+/=_.~-]{1,256}")
_MAX_CHECK_BODY = 1_000  # bytes of a body that is only a check
_DISCORD_PING = re.compile(rb'"type"\s*:\s*[01]\b')
_SNS_LINK = re.compile(rf"https://{SNS_HOST.pattern}/")


def find_subscription_link(capture: Capture) -> str | None:
    """Return the link that confirms an SNS subscription; None unless it leads to SNS itself."""
    link = capture.payload.json_at("SubscribeURL")
    return link if isinstance(link, str) and _SNS_LINK.match(link) and visible_text(link) else None


# The response must be only the challenge, as plain text; otherwise Twitch drops the subscription
# (twurple 8.1.4, https://dev.twitch.tv/docs/eventsub/handling-webhook-events/).
def _read_twitch(capture: Capture) -> str | None:
    if capture.header("Twitch-Eventsub-Message-Type") != "webhook_callback_verification":
        return None
    return visible_text(capture.payload.json_at("challenge"))


# A GET, once, when the hook is verified; events come by POST with the owner's Authorization:
# https://developer.okta.com/docs/concepts/event-hooks/
def _read_okta(capture: Capture) -> str | None:
    return visible_text(capture.header("X-Okta-Verification-Challenge")) if capture.method == "GET" else None


# Asana sends it before its API answers the call that makes the webhook, and wants the same header back; from then
# on the value signs. An event has X-Hook-Signature beside it, and then nothing is given away:
# https://developers.asana.com/docs/webhooks-guide
def _read_asana(capture: Capture) -> str | None:
    if capture.header("X-Hook-Signature") is not None:
        return None
    return visible_text(capture.header("X-Hook-Secret"))


# Unsigned, because the token is the key: the owner pastes it into Notion, and later requests are signed with it
# (notion-client 5.26.0, https://developers.notion.com/reference/webhooks).
def _read_notion(capture: Capture) -> str | None:
    if b"verification_token" not in capture.body or capture.header("X-Notion-Signature") is not None:
        return None
    payload = capture.payload
    return visible_text(payload.json_at("verification_token")) if payload.json_at("type") is None else None


# Interactions ping with type 1 and want it back; Webhook Events ping with type 0 and want 204. Both are signed
# with the same key: https://docs.discord.com/developers/interactions/overview
def _read_discord(kind: int) -> Callable[[Capture], str | None]:
    def read(capture: Capture) -> str | None:
        # Every event has a type; pings are small, and only what may be one is read here.
        if len(capture.body) > 10_000 or not _DISCORD_PING.search(capture.body):
            return None
        found, event = capture.payload.json_at("type"), capture.payload.json_at("event")
        return "ping" if type(found) is int and found == kind and event is None else None

    return read


# When a webhook is activated WooCommerce posts its number as a form, without topic or signature, and wants any
# 2xx: https://woocommerce.com/document/webhooks/
def _read_woocommerce(capture: Capture) -> str | None:
    if capture.header("X-WC-Webhook-Signature") is not None or not capture.body.startswith(b"webhook_id="):
        return None
    fields = parse_form_fields(capture)
    return fields["webhook_id"] if set(fields) == {"webhook_id"} else None


def _read_ssl_check(*, signed: bool) -> Callable[[Capture], str | None]:
    """Return a reader of Slack's certificate check: it must contain nothing else, because it is not signed."""

    def read(capture: Capture) -> str | None:
        body = capture.body
        if capture.method != "POST" or b"ssl_check=1" not in body or len(body) > _MAX_CHECK_BODY:
            return None
        fields = parse_form_fields(capture)
        is_check = fields.get("ssl_check") == "1" and set(fields) <= {"ssl_check", "token"}
        return "1" if is_check and signed is (capture.header("X-Slack-Signature") is not None) else None

    return read


def _read_mandrill(capture: Capture) -> str | None:
    # Signed with the key "test-webhook" while no webhook exists yet; it has no events, so nothing can be forged.
    return "ping" if capture.body in (b"mandrill_events=%5B%5D", b"mandrill_events=[]") else None


# Trello looks for an answer to HEAD before it saves a callback, and so do Mandrill and Intercom:
# https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/
def _read_head(capture: Capture) -> str | None:
    return "HEAD" if capture.method == "HEAD" else None


# The content type is text/plain, and the link in the body is what confirms: a person opens it, relay does not.
# https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
def _read_sns(capture: Capture) -> str | None:
    kind = "SubscriptionConfirmation"
    is_asked = kind.encode() in capture.body and capture.payload.json_at("Type") == kind
    return find_subscription_link(capture) or "" if is_asked else None


def _subscription_reply(link: str, _: Secret | None) -> ChallengeReply:
    confirm = "open the SubscribeURL of its body to confirm the subscription"
    return ChallengeReply(
        todo=confirm if link else "do not open the SubscribeURL of its body, which does not lead to SNS"
    )


def _empty_reply(*_: object) -> ChallengeReply:
    return ChallengeReply()


def _signed_reply(
    write: Callable[[str, bytes], dict[str, object]],
) -> Callable[[str, Secret | None], ChallengeReply | None]:
    """Return a reply with the HMAC of the challenge, formatted as JSON by `write`."""

    def reply(value: str, secret: Secret | None) -> ChallengeReply | None:
        if secret is None or not _PLAIN.fullmatch(value):
            return None
        key = secret.reveal().encode("utf-8", "surrogateescape")
        return json_reply(write(value, hmac.digest(key, value.encode(), "sha256")))

    return reply


# The header goes back as it came, with an empty body; what Asana's server compares is the header.
def _hook_secret_reply(value: str, _: Secret | None) -> ChallengeReply:
    return ChallengeReply(
        body=b"",
        headers=(("X-Hook-Secret", value),),
        offered=value,
        todo="save the X-Hook-Secret of its headers as {variable}",
    )


# The verify token is a second secret, which the owner typed beside the address; the app secret signs nothing
# here: https://developers.facebook.com/docs/graph-api/webhooks/getting-started
META_CHALLENGES = (
    Challenge(
        "Meta URL verification",
        read_hub_challenge,
        echo_reply,
        proof=Proof.TOKEN,
        token=lambda capture: find_query_value(capture, "hub.verify_token") or "",
    ),
)
GRAPH_CHALLENGES = (
    Challenge("Graph validation", read_query_parameter("validationToken", "POST"), echo_reply),
    Challenge("Graph validation", read_query_parameter("validationToken", "GET"), echo_reply),
    # The spelling of SharePoint's own webhooks.
    Challenge("SharePoint validation", read_query_parameter("validationtoken", "POST"), echo_reply),
)
X_CHALLENGES = (
    # X asks at least once a day: https://docs.x.com/x-api/webhooks/introduction
    Challenge(
        "X challenge-response check",
        read_query_parameter("crc_token", "GET"),
        _signed_reply(lambda _, digest: {"response_token": f"sha256={b64encode(digest).decode()}"}),
    ),
)
SNS_CHALLENGES = (
    # Never fetched by relay itself: the sender of a body would choose where relay connects to.
    Challenge("SNS subscription confirmation", _read_sns, _subscription_reply, proof=Proof.SIGNATURE),
)
_HEAD = Challenge("HEAD request", _read_head, lambda *_: ChallengeReply(body=b""))
SLACK_CHALLENGES = (
    Challenge(
        "Slack URL verification",
        read_json_where("type", "url_verification", "challenge"),
        echo_reply,
        proof=Proof.SIGNATURE,
    ),
    Challenge("Slack SSL check", _read_ssl_check(signed=False), _empty_reply),
    Challenge("Slack SSL check", _read_ssl_check(signed=True), _empty_reply, proof=Proof.SIGNATURE),
)
ZOOM_CHALLENGES = (
    # Hex of an HMAC of the token, within three seconds, about every 72 hours (Zoom's rivet 0.4.0 and its sample,
    # https://developers.zoom.us/docs/api/webhooks/).
    Challenge(
        "Zoom URL validation",
        read_json_where("event", "endpoint.url_validation", "payload", "plainToken"),
        _signed_reply(lambda token, digest: {"plainToken": token, "encryptedToken": digest.hex()}),
        proof=Proof.SIGNATURE,
    ),
)
DROPBOX_CHALLENGES = (Challenge("Dropbox verification", read_query_parameter("challenge", "GET"), echo_reply),)
OKTA_CHALLENGES = (Challenge("Okta verification", _read_okta, echo_json("verification")),)
ASANA_CHALLENGES = (Challenge("Asana handshake", _read_asana, _hook_secret_reply),)
DISCORD_CHALLENGES = (
    # Discord sends bad signatures on purpose and unregisters a URL that answers them.
    Challenge("Discord PING", _read_discord(1), lambda *_: json_reply({"type": 1}), proof=Proof.SIGNATURE),
    Challenge(
        "Discord Webhook Events PING",
        _read_discord(0),
        lambda *_: ChallengeReply(status=204, body=b""),
        proof=Proof.SIGNATURE,
    ),
)
TWITCH_CHALLENGES = (Challenge("Twitch callback verification", _read_twitch, echo_reply, proof=Proof.SIGNATURE),)
NOTION_CHALLENGES = (
    Challenge(
        "Notion verification",
        _read_notion,
        lambda value, _: ChallengeReply(
            offered=value, todo="paste the verification_token of its body in Notion and save it as {variable}"
        ),
    ),
)
WOOCOMMERCE_CHALLENGES = (Challenge("WooCommerce activation", _read_woocommerce, _empty_reply),)
MANDRILL_CHALLENGES = (_HEAD, Challenge("Mandrill test", _read_mandrill, _empty_reply))
HEAD_CHALLENGES = (_HEAD,)
