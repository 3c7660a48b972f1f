"""Payments: Stripe, Paddle, Lemon Squeezy, Razorpay, Square, Paystack, Coinbase, Adyen, PayPal, Plaid, Mollie."""

import dataclasses

from relay.model.request_items import ItemPaths
from relay.providers.derived_extractors import body_digest, each_item, format_amount, short_id
from relay.providers.extractors import body, first_of, header, join, join_key, summarize
from relay.providers.provider import DAY, HOUR, MINUTE, ONLY_200, OtherCredential, Provider, Schedule
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import KeyFormat, Prefix, items
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.locations import InEveryHeader, InHeader
from relay.providers.schemes.public_key import Rsa
from relay.providers.schemes.shared_secret import header_hmac
from relay.providers.schemes.timestamps import Time
from relay.providers.schemes.vendor_schemes import AdyenItems

STRIPE = Provider(
    name="stripe",
    docs="https://docs.stripe.com/webhooks",
    steps="""Open Developers, Webhooks in the Stripe Dashboard and add a destination.
    Paste {url} as the endpoint URL and choose the events.
    Reveal the signing secret (whsec_...) and set {secret} to it.""",
    answer="2xx at once; retried for 3 days",
    schedule=Schedule(spread=(12, 3 * DAY), source="https://docs.stripe.com/webhooks#automatic-retries"),
    secret_env=("STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SIGNING_SECRET"),
    other_credential=OtherCredential(("sk_", "rk_"), "an API key", "the signing secret (whsec_...) of the endpoint"),
    content_type="application/json; charset=utf-8",
    # The secret is text, its whsec_ included, and no base64. Both official libraries accept a time in the
    # future, and neither trims the items: a space after a comma is refused (stripe 16.1.0 for Python, 23.1.0
    # for Node). While a secret is rolled, one v1 of each comes in the list, and any of them may match. Items of
    # other names, such as v0, are skipped. Node also refuses an empty body; here its signature decides.
    schemes=(
        header_hmac(
            "Stripe-Signature",
            "{ts}.{body}",
            items("t={ts},v1={sig}"),
            time=Time(past=300),
            key=KeyFormat(claims=("whsec_",)),
        ),
    ),
    event_type=body("type"),
    idempotency_key=body("id"),
    # A thin event (v2) has no data.object, only the id of the related object.
    summary=summarize(
        format_amount(
            first_of(
                "data.object.amount", "data.object.amount_total", "data.object.amount_due", "data.object.plan.amount"
            ),
            "data.object.currency",
        ),
        short_id(first_of("data.object.id", "related_object.id")),
    ),
    # The body is indented by two spaces, which is signed: JSON that was read and written again does not verify.
    companions=(
        ("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        ("Accept", "*/*; q=0.5, application/xml"),
    ),
    indent=2,
)

PADDLE = Provider(
    name="paddle",
    docs="https://developer.paddle.com/webhooks/overview",
    steps="""Open Developer tools, Notifications in Paddle and add a destination.
    Paste {url} as the URL and choose the events.
    Copy the secret key (pdl_ntfset_...) and set {secret} to it.""",
    answer="200 within 5 s; retried 60 times over 3 days",
    schedule=Schedule(
        spread=(60, 3 * DAY, 1.12),
        limit=5.0,
        success_statuses=ONLY_200,
        source="https://developer.paddle.com/webhooks/about/respond-to-webhooks",
    ),
    other_credential=OtherCredential(
        ("pdl_sdbx_", "pdl_live_"), "an API key", "the secret key of the notification destination"
    ),
    schemes=(
        # Five seconds is the default of both libraries (paddle-python 1.16.1, paddle-node 3.10.0).
        header_hmac("Paddle-Signature", "{ts}:{body}", items("ts={ts};h1={sig}"), time=Time(past=5, future=5)),
    ),
    event_type=body("event_type"),
    # event_id is the event's and stays the same on a retry; notification_id is that of one destination.
    idempotency_key=first_of("event_id", "notification_id"),
    summary=summarize(format_amount("data.details.totals.total", "data.currency_code"), short_id("data.id")),
    companions=(("User-Agent", "Paddle"), ("Paddle-Version", "1")),
)

LEMONSQUEEZY = Provider(
    name="lemonsqueezy",
    title="Lemon Squeezy",
    docs="https://docs.lemonsqueezy.com/help/webhooks",
    steps="""Open Settings, Webhooks in Lemon Squeezy and add a webhook.
    Paste {url} as the callback URL.
    Enter a signing secret of 6 to 40 characters and set {secret} to the same.""",
    answer="200; retried 3 times: after 5, 25 and 125 s",
    schedule=Schedule(
        waits=(5.0, 25.0, 125.0),
        success_statuses=ONLY_200,
        source="https://docs.lemonsqueezy.com/help/webhooks/webhook-requests",
    ),
    # X-Signature is too common a name to tell a sender by.
    recognise=(),
    # Bare hex of the body, and no time: https://docs.lemonsqueezy.com/help/webhooks/webhook-requests
    schemes=(header_hmac("X-Signature"),),
    event_type=first_of(header("X-Event-Name"), "meta.event_name"),
    # No id of the event: an object may change twice in the second that updated_at tells.
    # https://docs.lemonsqueezy.com/help/webhooks/webhook-requests
    idempotency_key=join_key("meta.event_name", "data.id", "data.attributes.updated_at", body_digest()),
    summary=summarize(format_amount("data.attributes.total", "data.attributes.currency"), "data.attributes.user_email"),
    companions=(("X-Event-Name", "${type}"),),
)

RAZORPAY = Provider(
    name="razorpay",
    monogram="Rz",
    docs="https://razorpay.com/docs/webhooks/",
    steps="""Open Account and settings, Webhooks in the Razorpay dashboard and add a webhook.
    Paste {url} as the URL and choose the events.
    Enter a secret of your own and set {secret} to the same; it is not the API secret.""",
    answer="2xx within 5 s; retried for 24 h",
    # The webhook's own secret, which is not the API key's (razorpay 2.0.1 for Python, 2.9.8 for Node). Bare hex
    # of the raw body; there is no time in it.
    schemes=(header_hmac("X-Razorpay-Signature"),),
    event_type=body("event"),
    idempotency_key=header("X-Razorpay-Event-Id"),
    summary=summarize(
        format_amount("payload.payment.entity.amount", "payload.payment.entity.currency"),
        short_id("payload.payment.entity.id"),
    ),
    companions=(("User-Agent", "Razorpay-Webhook/v1"), ("X-Razorpay-Event-Id", "${id:14}")),
)

SQUARE = Provider(
    name="square",
    docs="https://developer.squareup.com/docs/webhooks/overview",
    steps="""Open your application in the Square developer console, Webhooks, and add a subscription.
    Paste {url} as the notification URL, exactly like that: the address is signed.
    Copy the signature key and set {secret} to it.""",
    answer="2xx within 10 s; retried 11 times over 24 h",
    schedule=Schedule(
        spread=(11, DAY),
        limit=10.0,
        retry_headers=(("square-retry-number", "{n}"), ("square-retry-reason", "{reason}")),
    ),
    secret_env=("SQUARE_WEBHOOK_SIGNATURE_KEY",),
    # The notification URL comes first, to the byte as it was typed in the console: squareup 46.0.0 tries no
    # other port, slash or case.
    schemes=(header_hmac("x-square-hmacsha256-signature", "{url}{body}", encoding="base64"),),
    event_type=body("type"),
    idempotency_key=body("event_id"),
    summary=short_id("data.id"),
    # Retries add square-retry-number and square-retry-reason, as the schedule says.
    companions=(("User-Agent", "Square Connect v2"),),
)

PAYSTACK = Provider(
    name="paystack",
    monogram="Ps",
    docs="https://paystack.com/docs/payments/webhooks/",
    steps="""Open Settings, API keys and webhooks in the Paystack dashboard.
    Paste {url} as the webhook URL.
    Set {secret} to the secret API key, which also signs.""",
    answer="200; retried 4 times every 3 min, then hourly for 72 h",
    schedule=Schedule(waits=(*[3 * MINUTE] * 4, *[HOUR] * 72), success_statuses=ONLY_200),
    secret_env=("PAYSTACK_SECRET_KEY",),
    # SHA-512, and the key is the secret API key itself: there is no secret of the webhook.
    # https://paystack.com/docs/payments/webhooks/
    schemes=(header_hmac("x-paystack-signature", algo="sha512"),),
    event_type=body("event"),
    # No id of the event, and one object may have an event several times: charge.dispute.remind, invoice.update. Others
    # have no object with an id: subscription.create.
    # https://paystack.com/docs/payments/webhooks/
    idempotency_key=join_key("event", "data.id?", body_digest()),
    summary=summarize(format_amount("data.amount", "data.currency"), "data.customer.email"),
)

COINBASE_COMMERCE = Provider(
    name="coinbase-commerce",
    title="Coinbase Commerce",
    docs="https://docs.cdp.coinbase.com/commerce/docs/webhooks",
    steps="""Open Settings, Notifications in Coinbase Commerce and add an endpoint.
    Paste {url} as the endpoint.
    Show the shared secret and set {secret} to it.""",
    answer="200; retried for 3 days",
    # Bare hex of the body, no time (coinbase-commerce 1.0.1 for Python, 1.0.4 for Node).
    schemes=(header_hmac("X-CC-Webhook-Signature"),),
    event_type=body("event.type"),
    # event.id is the same on each attempt; attempt_number beside the event counts up and is left out.
    idempotency_key=body("event.id"),
    summary=body("event.data.code"),
)

_ITEM = "notificationItems.0.NotificationRequestItem"

ADYEN = Provider(
    name="adyen",
    docs="https://docs.adyen.com/development-resources/webhooks/",
    steps="""Open Developers, Webhooks in the Adyen Customer Area and add a standard or a platform webhook.
    Paste {url} as the URL.
    Generate an HMAC key and set {secret} to it.""",
    answer="2xx with the body [accepted] within 10 s; retried for 30 days",
    # Older accounts count anything but this text as a failure: https://docs.adyen.com/development-resources/webhooks/
    answer_body="[accepted]",
    secret_env=("ADYEN_HMAC_KEY",),
    # The HMAC key is hex that is decoded first, in both products (Adyen 16.0.0 for Python, 32.1.0 for Node).
    # Platform webhooks are signed in a header over the body; payments webhooks carry a signature inside each
    # item over eight of its fields, so the rest of an item is not protected.
    schemes=(
        dataclasses.replace(
            header_hmac("HmacSignature", encoding="base64"), name="platform", key=KeyFormat(form="hex")
        ),
        AdyenItems(name="payments"),
    ),
    event_type=first_of(f"{_ITEM}.eventCode", "type"),
    # https://docs.adyen.com/development-resources/webhooks/: usually one item, but still a list.
    items=ItemPaths((("notificationItems", None),)),
    # Adyen reports one payment several times: the event code and its date belong to the key.
    # https://docs.adyen.com/development-resources/webhooks/handle-webhook-events
    idempotency_key=each_item(
        "notificationItems",
        *(f"NotificationRequestItem.{name}" for name in ("pspReference", "eventCode", "success", "eventDate?")),
    ),
    summary=summarize(
        format_amount(f"{_ITEM}.amount.value", f"{_ITEM}.amount.currency"),
        first_of(f"{_ITEM}.merchantReference", short_id("data.id")),
    ),
)

PAYPAL = Provider(
    name="paypal",
    title="PayPal",
    docs="https://developer.paypal.com/api/rest/webhooks/",
    steps="""Open Apps and credentials in the PayPal developer dashboard, your app, and add a webhook.
    Paste {url} as the URL and choose the events.
    Download the certificate that the PAYPAL-CERT-URL of an event leads to.
    Set {secret} to the webhook id, followed by that certificate (PEM).""",
    answer="2xx; retried 25 times over 3 days",
    schedule=Schedule(spread=(25, 3 * DAY, 1.3)),
    # The webhook's id is part of what is signed; PayPal's own certificate checks the signature.
    secret_env=("PAYPAL_WEBHOOK_ID",),
    recognise=("PAYPAL-TRANSMISSION-SIG", "PAYPAL-TRANSMISSION-ID"),
    schemes=(
        # paypalrestsdk 1.13.3. An application follows the certificate's address, so only PayPal's passes.
        Rsa(
            signed=template("{id}|{ts}|{secret}|{crc32}"),
            place=InHeader("PAYPAL-TRANSMISSION-SIG"),
            ident=InHeader("PAYPAL-TRANSMISSION-ID"),
            time=Time(place=InHeader("PAYPAL-TRANSMISSION-TIME"), unit="iso"),
            labelled=True,
            expects=(
                ("PAYPAL-CERT-URL", r"https://[a-z0-9.-]*(?<=[/.])paypal\.com/.*"),
                ("PAYPAL-AUTH-ALGO", "SHA256withRSA"),
            ),
        ),
    ),
    event_type=body("event_type"),
    # The event's id stays the same when PayPal retries; the transmission's id is new each time and only the
    # second choice.
    idempotency_key=first_of("id", header("PAYPAL-TRANSMISSION-ID")),
    summary=first_of("summary", short_id("resource.id")),
    companions=(
        ("User-Agent", "PayPal/AUHR-214.0-58"),
        ("PAYPAL-AUTH-ALGO", "SHA256withRSA"),
        ("PAYPAL-AUTH-VERSION", "v2"),
        ("PAYPAL-CERT-URL", "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-${hex:8}"),
        ("PAYPAL-TRANSMISSION-ID", "${uuid}"),
    ),
)

PLAID = Provider(
    name="plaid",
    docs="https://plaid.com/docs/api/webhooks/webhook-verification/",
    steps="""Open Developers, Webhooks in the Plaid dashboard, or name the webhook when you create a link token.
    Paste {url} as the webhook URL.
    Ask /webhook_verification_key/get for the key_id in an event's Plaid-Verification header.
    Set {secret} to the key of the answer (a JWK).""",
    answer="200 within 10 s; retried for 24 h",
    # A public JWK, which Plaid's API hands out by the kid in the token's header.
    secret_env=("PLAID_WEBHOOK_KEY",),
    # The token's claim holds the SHA-256 of the body as sent, which is JSON indented by two spaces: a body that
    # was read and written again has another hash. iat may be five minutes old.
    schemes=(Jwt(place=InHeader("Plaid-Verification")),),
    event_type=join(".", "webhook_type", "webhook_code"),
    summary=short_id("item_id"),
    indent=2,
)

MOLLIE = Provider(
    name="mollie",
    docs="https://docs.mollie.com/reference/webhooks-new",
    steps="""Open Developers, Webhooks in the Mollie dashboard and create a webhook.
    Paste {url} as the URL and choose the events.
    Copy the signing secret and set {secret} to it.""",
    answer="200 within 15 s; retried 10 times over 26 h",
    schedule=Schedule(
        spread=(10, 26 * HOUR),
        limit=15.0,
        success_statuses=ONLY_200,
        source="https://docs.mollie.com/reference/webhooks",
    ),
    schemes=(
        # A second secret while one is being changed means a second header.
        header_hmac(InEveryHeader("X-Mollie-Signature"), layout=Prefix(b"sha256=", optional=True)),
    ),
    event_type=body("type"),
    # The classic webhook has nothing but the id of a payment, whatever became of it: no key.
    # https://docs.mollie.com/reference/webhooks-best-practices
    # Only the new webhooks have a type and an id of their own.
    idempotency_key=join_key("type", "id"),
    summary=short_id("entityId"),
)

PAYMENTS = (PADDLE, LEMONSQUEEZY, RAZORPAY, SQUARE, PAYSTACK, COINBASE_COMMERCE, ADYEN, PAYPAL, PLAID, MOLLIE)
