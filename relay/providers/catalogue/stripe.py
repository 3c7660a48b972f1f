"""Stripe: `t=...,v1=...`, limited in age towards the past only."""

from relay.providers.provider import OtherCredential, Provider, body, first_of, format_amount, join, short_id
from relay.providers.schedules import DAY, spread_schedule
from relay.providers.schemes import Hmac, InHeader, Items, Time, template

_OBJECT = ("data", "object")

STRIPE = Provider(
    name="stripe",
    title="Stripe",
    monogram="St",
    docs="https://docs.stripe.com/webhooks",
    steps=(
        "Open Developers, Webhooks in the Stripe Dashboard and add a destination.",
        "Paste {url} as the endpoint URL and choose the events.",
        "Reveal the signing secret (whsec_...) and set {secret} to it.",
    ),
    answer="2xx at once; retried for 3 days",
    schedule=spread_schedule(12, 3 * DAY, source="https://docs.stripe.com/webhooks#automatic-retries"),
    secret_env=("STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SIGNING_SECRET"),
    other_credential=OtherCredential(("sk_", "rk_"), "an API key", "the signing secret (whsec_...) of the endpoint"),
    content_type="application/json; charset=utf-8",
    schemes=(
        # The secret is text, its whsec_ included. Both official libraries accept a time in the
        # future and trim nothing around items (stripe 16.1.0 for Python, 23.1.0 for Node).
        Hmac(
            signed=template("{ts}.{body}"),
            place=InHeader("Stripe-Signature"),
            layout=Items(separator=b",", equals=b"=", sig=b"v1", ts=b"t", emit=b"t={ts},v1={sig}"),
            time=Time(past=300),
        ),
    ),
    event_type=body("type"),
    idempotency_key=body("id"),
    summary=join(
        " · ",
        format_amount(
            first_of(
                body(*_OBJECT, "amount"),
                body(*_OBJECT, "amount_total"),
                body(*_OBJECT, "amount_due"),
                body(*_OBJECT, "plan", "amount"),
            ),
            body(*_OBJECT, "currency"),
        ),
        short_id(first_of(body(*_OBJECT, "id"), body("related_object", "id"))),
    ),
    companions=(
        ("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        ("Accept", "*/*; q=0.5, application/xml"),
    ),
    indent=2,
)
