"""Standard Webhooks and who uses it: Svix, Resend, Clerk, OpenAI, Supabase."""

import dataclasses

from relay.providers.catalogue import message_statuses
from relay.providers.derived_extractors import short_id, text_if
from relay.providers.extractors import add_prefix, body, first_of, header, join, join_key, summarize
from relay.providers.provider import HOUR, STANDARD_SCHEDULE, SVIX_SCHEDULE, OtherCredential, Provider, Schedule
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import KeyFormat, Prefix, items
from relay.providers.schemes.locations import InHeader
from relay.providers.schemes.public_key import Ed25519
from relay.providers.schemes.shared_secret import Hmac, SharedToken, header_hmac
from relay.providers.schemes.timestamps import Time

# The prefix is for people: the libraries strip it and decode the rest, which is 24 to 64 bytes by the specification.
WHSEC_KEY = KeyFormat(form="base64", strip=("whsec_",), claims=("whsec_",))


def standard_hmac(*families: str, key: KeyFormat = WHSEC_KEY, bare: bool = False, name: str = "v1") -> Hmac:
    """Return HMAC-SHA256 over id, time and body, its headers named `<family>-id` and so on.

    Of several families the first present one is used, as in svix 1.99.1.
    """
    return Hmac(
        name=name,
        signed=template("{id}.{ts}.{body}"),
        key=key,
        encoding="base64",
        place=_family_headers(families, "signature"),
        layout=items("v1,{sig}", bare=bare),
        time=Time(place=_family_headers(families, "timestamp"), past=300, future=300),
        ident=_family_headers(families, "id"),
    )


def standard_ed25519(*families: str) -> Ed25519:
    """Return the `v1a` form, whose key is public: `whpk_<base64 of 32 bytes>`."""
    return Ed25519(
        name="v1a",
        signed=template("{id}.{ts}.{body}"),
        key=KeyFormat(form="base64", strip=("whpk_",), claims=("whpk_",), exclusive=True),
        encoding="base64",
        place=_family_headers(families, "signature"),
        layout=items("v1a,{sig}"),
        time=Time(place=_family_headers(families, "timestamp"), past=300, future=300),
        ident=_family_headers(families, "id"),
    )


def _family_headers(families: tuple[str, ...], part: str) -> InHeader:
    return InHeader(*(f"{family}-{part}" for family in families))


# The specification leaves data to the sender; an id or an object with one is the commonest.
_SUMMARY = short_id(first_of("data.id", "data.object.id"))

STANDARD_WEBHOOKS = Provider(
    name="standard-webhooks",
    title="Standard Webhooks",
    docs="https://www.standardwebhooks.com/",
    steps="""Register {url} where the sender keeps its webhook endpoints.
    Copy the signing secret (whsec_..., or whpk_... for Ed25519) and set {secret} to it.""",
    answer="2xx within 15 s, 410 ends it; retried for days",
    schedule=STANDARD_SCHEDULE,
    secret_env=("STANDARD_WEBHOOKS_SECRET", "WEBHOOK_SECRET"),
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the signature
    # list is parted by spaces, any v1 may match, and unknown versions are skipped, not refused. Five minutes
    # both ways is what the libraries allow (standardwebhooks 1.1.0 for Python, 1.1.1 for Node).
    schemes=(standard_ed25519("webhook"), standard_hmac("webhook")),
    event_type=body("type"),
    idempotency_key=header("webhook-id"),
    summary=_SUMMARY,
    companions=(("User-Agent", "Webhooks/1.0"), ("webhook-id", "msg_${id:27}")),
    samples="svix",
)

SVIX = Provider(
    name="svix",
    monogram="Sx",
    docs="https://docs.svix.com/receiving/verifying-payloads/how",
    steps="""Add {url} as an endpoint in the application portal.
    Copy the endpoint's signing secret (whsec_...) and set {secret} to it.""",
    answer="2xx within 15 s; retried 7 times over 28 h",
    schedule=SVIX_SCHEDULE,
    other_credential=OtherCredential(
        ("sk_", "testsk_"), "an API key", "the signing secret (whsec_...) of the endpoint"
    ),
    recognise=("svix-signature", "svix-id"),
    # Of the libraries none verifies v1a (svix 2.9.1 for Python, 1.99.1 for Node), but the server can be set to
    # it. A key of the form whpk_ or whsk_ decides for v1a, whsec_ for v1.
    schemes=(standard_ed25519("svix", "webhook"), standard_hmac("svix", "webhook")),
    event_type=first_of("type", "eventType"),
    # The id is the message's and stays the same on each attempt; time and signature are new.
    idempotency_key=first_of(header("svix-id"), header("webhook-id")),
    summary=_SUMMARY,
    companions=(("User-Agent", "Svix-Webhooks/1.62.0"), ("svix-id", "msg_${id:27}")),
)

RESEND = Provider(
    name="resend",
    docs="https://resend.com/docs/dashboard/webhooks/introduction",
    steps="""Open Webhooks in the Resend dashboard and add a webhook.
    Paste {url} as the endpoint and choose the events.
    Copy the signing secret (whsec_...) and set {secret} to it.""",
    answer="2xx within 15 s; retried 7 times over 28 h",
    schedule=Schedule(
        waits=SVIX_SCHEDULE.waits, limit=15.0, source="https://resend.com/docs/webhooks/retries-and-replays"
    ),
    other_credential=OtherCredential(("re_",), "an API key", "the signing secret (whsec_...) of the webhook"),
    # Resend signs through Svix, so any customer of Svix sends these headers.
    recognise=(),
    # The helpers of resend 2.52.0 (Python) and 6.38.0 (Node) read the svix- names alone, not webhook-.
    schemes=(standard_hmac("svix"),),
    event_type=body("type"),
    idempotency_key=header("svix-id"),
    summary=summarize(first_of("data.to.0", "data.to"), "data.subject"),
    companions=SVIX.companions,
    message_status=message_statuses.RESEND_STATUSES,
)

# What some guides show instead of Resend's real signature. Never accepted for a `resend` source.
RESEND_SIMPLE = dataclasses.replace(
    RESEND,
    name="resend-simple",
    title="Resend (simplified)",
    steps="Only for senders that sign the body as Resend-Signature: sha256=<hex>; Resend itself does not.",
    answer="",
    schedule=None,
    recognise=None,
    other_credential=None,
    schemes=(header_hmac("Resend-Signature", layout=Prefix(b"sha256=")),),
    # An id of the body may be the message's, which is sent, delivered and opened one after the other.
    idempotency_key=first_of(header("svix-id"), join_key("type", "id", "created_at?")),
    samples="resend",
)

CLERK = Provider(
    name="clerk",
    monogram="Ck",
    docs="https://clerk.com/docs/webhooks/overview",
    steps="""Open Configure, Webhooks in the Clerk dashboard and add an endpoint.
    Paste {url} as the endpoint URL and subscribe to events.
    Copy the signing secret (whsec_...) and set {secret} to it.""",
    answer="2xx within 15 s; retried 7 times over 28 h",
    schedule=SVIX_SCHEDULE,
    secret_env=("CLERK_WEBHOOK_SIGNING_SECRET", "CLERK_WEBHOOK_SECRET"),
    other_credential=OtherCredential(("sk_", "pk_"), "an API key", "the signing secret (whsec_...) of the endpoint"),
    # Clerk, too, signs through Svix: the headers are not its own.
    recognise=(),
    # Clerk's backend library 3.25.0 reads the svix- names alone, and its variable is CLERK_WEBHOOK_SIGNING_SECRET.
    schemes=(standard_hmac("svix"),),
    event_type=body("type"),
    idempotency_key=header("svix-id"),
    # user.created and its kin have addresses, sessions and organisations only an id.
    summary=summarize("data.email_addresses.0.email_address", short_id("data.id")),
    companions=SVIX.companions,
)

OPENAI = Provider(
    name="openai",
    title="OpenAI",
    docs="https://platform.openai.com/docs/guides/webhooks",
    steps="""Open Settings, Project, Webhooks on the OpenAI platform and create an endpoint.
    Paste {url} as the URL and choose the events.
    Copy the signing secret (whsec_...) and set {secret} to it.""",
    answer="2xx within a few seconds; retried for 72 h",
    schedule=Schedule(spread=(12, 72 * HOUR)),
    other_credential=OtherCredential(("sk-",), "an API key", "the signing secret (whsec_...) of the webhook"),
    # The headers are those of Standard Webhooks, which others send as well.
    recognise=(),
    # The library signs id and time as the text that came: a time such as 0017... is signed with its zeros
    # (tests of openai 3.54.0).
    schemes=(
        # openai 3.54.0 takes a secret without whsec_ as text, and a signature without `v1,`.
        standard_hmac(
            "webhook", key=KeyFormat(form="base64", strip=("whsec_",), claims=("whsec_",), bare="text"), bare=True
        ),
    ),
    event_type=body("type"),
    idempotency_key=header("webhook-id"),
    summary=short_id("data.id"),
    companions=STANDARD_WEBHOOKS.companions,
)

SUPABASE = Provider(
    name="supabase",
    docs="https://supabase.com/docs/guides/auth/auth-hooks",
    steps="""For auth hooks open Authentication, Hooks in the Supabase dashboard and add an HTTPS hook.
    For database webhooks open Integrations, Webhooks, and add the header Authorization: Bearer <a token>.
    Paste {url} as the URL.
    Set {secret} to the hook's whole secret (v1,whsec_...), or to your token.""",
    secret_env=("SUPABASE_WEBHOOK_SECRET", "SEND_EMAIL_HOOK_SECRET", "SEND_SMS_HOOK_SECRET"),
    # Auth hooks carry the headers of Standard Webhooks, database webhooks whatever their owner typed.
    recognise=(),
    schemes=(
        # A database webhook is not signed; its token never replaces an auth hook's signature.
        standard_hmac(
            "webhook",
            key=KeyFormat(form="base64", strip=("v1,whsec_", "whsec_"), claims=("v1,whsec_", "whsec_"), exclusive=True),
            name="auth-hook",
        ),
        SharedToken(
            name="database-webhook",
            place=InHeader("Authorization"),
            prefix="Bearer ",
            bare=True,
            refuses=("v1,whsec_", "whsec_"),
        ),
    ),
    event_type=first_of(
        join(".", "type", "table", whole=True),
        "metadata.name",
        add_prefix("email.", "email_data.email_action_type"),
        text_if("sms.otp", "sms.otp"),
    ),
    idempotency_key=header("webhook-id"),
    summary=first_of("user.email", "user.phone", "record.id", "old_record.id"),
)

STANDARD_WEBHOOKS_SENDERS = (STANDARD_WEBHOOKS, SVIX, RESEND, CLERK, OPENAI, SUPABASE, RESEND_SIMPLE)
