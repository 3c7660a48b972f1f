"""The handshakes of single providers: each entry of the catalogue names its own."""

import hashlib
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
    echo_reply,
    find_query_value,
    json_reply,
    parse_form_fields,
    read_json_where,
    read_query_parameter,
    visible_text,
)

# What is asked for is signed or sent back, so it must be too plain to be anything else: a caller who may
# choose the text of an HMAC could have a whole forged event signed (X's crc_token, Zoom's plainToken).
_PLAIN = re.compile(r"[A-Za-z0-9+/=_.~-]{1,256}")
_MAX_CHECK_BODY = 1_000  # bytes of a body with nothing but a check in it
_DISCORD_PING = re.compile(rb'"type"\s*:\s*[01]\b')
_SNS_HOST = re.compile(r"https://sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?/")


def find_subscription_link(capture: Capture) -> str | None:
    """Return the link that confirms an SNS subscription; None unless it leads to SNS itself."""
    link = capture.payload.json_at("SubscribeURL")
    return link if isinstance(link, str) and _SNS_HOST.match(link) and visible_text(link) else None


# The verify token is a second secret, which the owner typed beside the address; the app secret signs nothing
# here: https://developers.facebook.com/docs/graph-api/webhooks/getting-started
def _read_meta(capture: Capture) -> str | None:
    if capture.method != "GET" or find_query_value(capture, "hub.mode") != "subscribe":
        return None
    return find_query_value(capture, "hub.challenge")


# The answer must be the challenge alone, as plain text; anything else and Twitch gives the subscription up
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


# Unsigned, for the token is the key: the owner pastes it into Notion, and later requests are signed with it
# (notion-client 5.26.0, https://developers.notion.com/reference/webhooks).
def _read_notion(capture: Capture) -> str | None:
    if b"verification_token" not in capture.body or capture.header("X-Notion-Signature") is not None:
        return None
    payload = capture.payload
    return visible_text(payload.json_at("verification_token")) if payload.json_at("type") is None else None


# Interactions ping with type 1 and want it back; Webhook Events ping with type 0 and want 204. Both are signed
# with the same key: https://docs.discord.com/developers/interactions/overview
def _read_discord(kind: int) -> Callable[[Capture], str | None]:
    def asked(capture: Capture) -> str | None:
        # Every event has a type; pings are small, and only what may be one is read here.
        if len(capture.body) > 10_000 or not _DISCORD_PING.search(capture.body):
            return None
        payload = capture.payload
        said = payload.json_at("type")
        is_event = payload.json_at("event") is not None
        return "ping" if type(said) is int and said == kind and not is_event else None

    return asked


# When a webhook is activated WooCommerce posts its number as a form, without topic or signature, and wants any
# 2xx: https://woocommerce.com/document/webhooks/
def _read_woocommerce(capture: Capture) -> str | None:
    if capture.header("X-WC-Webhook-Signature") is not None or not capture.body.startswith(b"webhook_id="):
        return None
    fields = parse_form_fields(capture)
    return fields["webhook_id"] if set(fields) == {"webhook_id"} else None


def _read_ssl_check(*, signed: bool) -> Callable[[Capture], str | None]:
    """Return what knows Slack's look at the certificate of a URL: nothing else may be in it, for it is not signed."""

    def asked(capture: Capture) -> str | None:
        body = capture.body
        if capture.method != "POST" or b"ssl_check=1" not in body or len(body) > _MAX_CHECK_BODY:
            return None
        fields = parse_form_fields(capture)
        is_check = fields.get("ssl_check") == "1" and set(fields) <= {"ssl_check", "token"}
        return "1" if is_check and signed is (capture.header("X-Slack-Signature") is not None) else None

    return asked


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
    if b"SubscriptionConfirmation" not in capture.body:
        return None
    payload = capture.payload
    return "confirm" if payload.json_at("Type") == "SubscriptionConfirmation" else None


def _empty_reply(_: str, __: Secret | None) -> ChallengeReply:
    return ChallengeReply()


# Hex of an HMAC of the token, within three seconds (Zoom's rivet 0.4.0 and its sample,
# https://developers.zoom.us/docs/api/webhooks/).
def _zoom_reply(asked: str, secret: Secret | None) -> ChallengeReply | None:
    if secret is None or not _PLAIN.fullmatch(asked):
        return None
    digest = hmac.new(_secret_bytes(secret), asked.encode(), hashlib.sha256).hexdigest()
    return json_reply({"plainToken": asked, "encryptedToken": digest})


# X asks at least once a day: https://docs.x.com/x-api/webhooks/introduction
def _crc_reply(asked: str, secret: Secret | None) -> ChallengeReply | None:
    if secret is None or not _PLAIN.fullmatch(asked):
        return None
    digest = hmac.new(_secret_bytes(secret), asked.encode(), hashlib.sha256).digest()
    return json_reply({"response_token": f"sha256={b64encode(digest).decode()}"})


# The header goes back as it came, with an empty body; what Asana's server compares is the header.
def _hook_secret_reply(asked: str, _: Secret | None) -> ChallengeReply:
    return ChallengeReply(
        body=b"",
        headers=(("X-Hook-Secret", asked),),
        offered=asked,
        todo="save the X-Hook-Secret of its headers as {variable}",
    )


def _verification_token_reply(asked: str, _: Secret | None) -> ChallengeReply:
    return ChallengeReply(
        offered=asked, todo="paste the verification_token of its body in Notion and save it as {variable}"
    )


# Anyone can post a link; following it would make a request to an address of their choice.
def _confirm_by_hand_reply(_: str, __: Secret | None) -> ChallengeReply:
    return ChallengeReply(todo="open the SubscribeURL of its body to confirm the subscription")


def _secret_bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogateescape")


META_CHALLENGES = (
    Challenge(
        name="Meta URL verification",
        read=_read_meta,
        reply=echo_reply,
        proof=Proof.TOKEN,
        token=lambda capture: find_query_value(capture, "hub.verify_token") or "",
    ),
)
GRAPH_CHALLENGES = (
    Challenge(name="Graph validation", read=read_query_parameter("validationToken", "POST"), reply=echo_reply),
    Challenge(name="Graph validation", read=read_query_parameter("validationToken", "GET"), reply=echo_reply),
    # SharePoint's own webhooks spell it so.
    Challenge(name="SharePoint validation", read=read_query_parameter("validationtoken", "POST"), reply=echo_reply),
)
X_CHALLENGES = (
    Challenge(name="X challenge-response check", read=read_query_parameter("crc_token", "GET"), reply=_crc_reply),
)
SNS_CHALLENGES = (
    # Never fetched by relay itself: anyone who can write a body would choose where relay connects to.
    Challenge(
        name="SNS subscription confirmation", read=_read_sns, reply=_confirm_by_hand_reply, proof=Proof.SIGNATURE
    ),
)
_HEAD = Challenge(name="HEAD request", read=_read_head, reply=lambda _, __: ChallengeReply(body=b""))
SLACK_CHALLENGES = (
    Challenge(
        name="Slack URL verification",
        read=read_json_where("type", "url_verification", "challenge"),
        reply=echo_reply,
        proof=Proof.SIGNATURE,
    ),
    Challenge(name="Slack SSL check", read=_read_ssl_check(signed=False), reply=_empty_reply),
    Challenge(name="Slack SSL check", read=_read_ssl_check(signed=True), reply=_empty_reply, proof=Proof.SIGNATURE),
)
ZOOM_CHALLENGES = (
    # Zoom repeats it about every 72 hours.
    Challenge(
        name="Zoom URL validation",
        read=read_json_where("event", "endpoint.url_validation", "payload", "plainToken"),
        reply=_zoom_reply,
        proof=Proof.SIGNATURE,
    ),
)
DROPBOX_CHALLENGES = (
    Challenge(name="Dropbox verification", read=read_query_parameter("challenge", "GET"), reply=echo_reply),
)
OKTA_CHALLENGES = (
    Challenge(name="Okta verification", read=_read_okta, reply=lambda asked, _: json_reply({"verification": asked})),
)
ASANA_CHALLENGES = (Challenge(name="Asana handshake", read=_read_asana, reply=_hook_secret_reply),)
DISCORD_CHALLENGES = (
    # Discord sends bad signatures on purpose and unregisters a URL that answers them.
    Challenge(
        name="Discord PING", read=_read_discord(1), reply=lambda _, __: json_reply({"type": 1}), proof=Proof.SIGNATURE
    ),
    Challenge(
        name="Discord Webhook Events PING",
        read=_read_discord(0),
        reply=lambda _, __: ChallengeReply(status=204, body=b""),
        proof=Proof.SIGNATURE,
    ),
)
TWITCH_CHALLENGES = (
    Challenge(name="Twitch callback verification", read=_read_twitch, reply=echo_reply, proof=Proof.SIGNATURE),
)
NOTION_CHALLENGES = (Challenge(name="Notion verification", read=_read_notion, reply=_verification_token_reply),)
WOOCOMMERCE_CHALLENGES = (Challenge(name="WooCommerce activation", read=_read_woocommerce, reply=_empty_reply),)
MANDRILL_CHALLENGES = (_HEAD, Challenge(name="Mandrill test", read=_read_mandrill, reply=_empty_reply))
HEAD_CHALLENGES = (_HEAD,)
