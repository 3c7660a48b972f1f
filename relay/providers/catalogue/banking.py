"""Payments that are signed in ways of their own: Adyen, PayPal, Plaid, Mollie."""

from relay.model.request_items import ItemPaths
from relay.providers.extractors import body, first_of, format_amount, header, join, short_id
from relay.providers.key_extractors import each_item
from relay.providers.provider import DAY, HOUR, ONLY_200, Provider, Schedule
from relay.providers.schemes import (
    AdyenItems,
    Hmac,
    InEveryHeader,
    InHeader,
    Jwt,
    KeyFormat,
    Prefix,
    Rsa,
    Time,
    template,
)

_ITEM = ("notificationItems", 0, "NotificationRequestItem")

ADYEN = Provider(
    name="adyen",
    title="Adyen",
    monogram="Ad",
    docs="https://docs.adyen.com/development-resources/webhooks/",
    steps=(
        "Open Developers, Webhooks in the Adyen Customer Area and add a standard or a platform webhook.",
        "Paste {url} as the URL.",
        "Generate an HMAC key and set {secret} to it.",
    ),
    answer="2xx with the body [accepted] within 10 s; retried for 30 days",
    # Older accounts count anything but this text as a failure:
    # https://docs.adyen.com/development-resources/webhooks/
    answer_body="[accepted]",
    secret_env=("ADYEN_HMAC_KEY",),
    # The HMAC key is hex that is decoded first, in both products (Adyen 16.0.0 for Python, 32.1.0 for Node).
    # Platform webhooks are signed in a header over the body; payments webhooks carry a signature inside each
    # item over eight of its fields, so the rest of an item is not protected.
    schemes=(
        Hmac(
            name="platform",
            signed=template("{body}"),
            place=InHeader("HmacSignature"),
            encoding="base64",
            key=KeyFormat(form="hex"),
        ),
        AdyenItems(name="payments"),
    ),
    event_type=first_of(body(*_ITEM, "eventCode"), body("type")),
    # https://docs.adyen.com/development-resources/webhooks/: usually one item, and a list all the same.
    items=ItemPaths((("notificationItems", None),)),
    # Adyen reports one payment several times: the event code and its date belong to the key.
    # https://docs.adyen.com/development-resources/webhooks/handle-webhook-events
    idempotency_key=each_item(
        ("notificationItems",),
        ("NotificationRequestItem", "pspReference"),
        ("NotificationRequestItem", "eventCode"),
        ("NotificationRequestItem", "success"),
        optional=(("NotificationRequestItem", "eventDate"),),
    ),
    summary=join(
        " · ",
        format_amount(body(*_ITEM, "amount", "value"), body(*_ITEM, "amount", "currency")),
        first_of(body(*_ITEM, "merchantReference"), short_id(body("data", "id"))),
    ),
)

PAYPAL = Provider(
    name="paypal",
    title="PayPal",
    monogram="Pp",
    docs="https://developer.paypal.com/api/rest/webhooks/",
    steps=(
        "Open Apps and credentials in the PayPal developer dashboard, your app, and add a webhook.",
        "Paste {url} as the URL and choose the events.",
        "Download the certificate that the PAYPAL-CERT-URL of an event leads to.",
        "Set {secret} to the webhook id, followed by that certificate (PEM).",
    ),
    answer="2xx; retried 25 times over 3 days",
    schedule=Schedule(spread=(25, 3 * DAY, 1.3), source="https://developer.paypal.com/api/rest/webhooks/"),
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
    idempotency_key=first_of(body("id"), header("PAYPAL-TRANSMISSION-ID")),
    summary=first_of(body("summary"), short_id(body("resource", "id"))),
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
    title="Plaid",
    monogram="Pl",
    docs="https://plaid.com/docs/api/webhooks/webhook-verification/",
    steps=(
        "Open Developers, Webhooks in the Plaid dashboard, or name the webhook when you create a link token.",
        "Paste {url} as the webhook URL.",
        "Ask /webhook_verification_key/get for the key_id in an event's Plaid-Verification header.",
        "Set {secret} to the key of the answer (a JWK).",
    ),
    answer="200 within 10 s; retried for 24 h",
    # A public JWK, which Plaid's API hands out by the kid in the token's header.
    secret_env=("PLAID_WEBHOOK_KEY",),
    # The token's claim holds the SHA-256 of the body as sent, which is JSON indented by two spaces: a body that
    # was read and written again has another hash. iat may be five minutes old.
    schemes=(Jwt(place=InHeader("Plaid-Verification")),),
    event_type=join(".", body("webhook_type"), body("webhook_code")),
    summary=short_id(body("item_id")),
    indent=2,
)

MOLLIE = Provider(
    name="mollie",
    title="Mollie",
    monogram="Mo",
    docs="https://docs.mollie.com/reference/webhooks-new",
    steps=(
        "Open Developers, Webhooks in the Mollie dashboard and create a webhook.",
        "Paste {url} as the URL and choose the events.",
        "Copy the signing secret and set {secret} to it.",
    ),
    answer="200 within 15 s; retried 10 times over 26 h",
    schedule=Schedule(
        spread=(10, 26 * HOUR),
        limit=15.0,
        success_statuses=ONLY_200,
        source="https://docs.mollie.com/reference/webhooks",
    ),
    secret_env=("MOLLIE_WEBHOOK_SECRET",),
    schemes=(
        Hmac(
            signed=template("{body}"),
            # A second secret while one is being changed means a second header.
            place=InEveryHeader("X-Mollie-Signature"),
            layout=Prefix(b"sha256=", optional=True),
        ),
    ),
    event_type=body("type"),
    # The classic webhook has nothing but the id of a payment, whatever became of it: no key.
    # https://docs.mollie.com/reference/webhooks-best-practices
    # Only the new webhooks have a type and an id of their own.
    idempotency_key=join("-", body("type"), body("id"), whole=True),
    summary=short_id(body("entityId")),
)

BANKING = (ADYEN, PAYPAL, PLAID, MOLLIE)
