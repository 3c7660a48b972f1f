"""Where people sell, meet and sign: Typeform, Calendly, Cal.com, HubSpot, Close, DocuSign, WooCommerce."""

from relay.model.request_items import LIST
from relay.providers.challenges import WOOCOMMERCE_CHALLENGES
from relay.providers.provider import (
    OtherCredential,
    Provider,
    body,
    body_digest,
    each_item,
    first_of,
    format_amount,
    header,
    join,
    optional,
)
from relay.providers.schedules import DAY, HOUR, Schedule, spread_schedule
from relay.providers.schemes import Digest, Hmac, InEveryHeader, InHeader, Items, KeyFormat, Time, body_hmac, template

TYPEFORM = Provider(
    name="typeform",
    title="Typeform",
    monogram="Ty",
    docs="https://www.typeform.com/developers/webhooks/",
    steps=(
        "Open your form in Typeform, Connect, Webhooks, and add a webhook.",
        "Paste {url} as the endpoint.",
        "Enter a secret of your own and set {secret} to the same.",
    ),
    answer="2xx within 30 s, 404 or 410 disables it; retried for 10 h",
    secret_env=("TYPEFORM_WEBHOOK_SECRET",),
    schemes=(body_hmac("Typeform-Signature", prefix="sha256=", encoding="base64"),),
    event_type=body("event_type"),
    idempotency_key=body("event_id"),
    summary=body("form_response", "definition", "title"),
)

CALENDLY = Provider(
    name="calendly",
    title="Calendly",
    monogram="Cy",
    docs="https://developer.calendly.com/api-docs/overview-of-webhooks",
    steps=(
        "Create a webhook subscription through Calendly's API with {url} as its URL.",
        "Set {secret} to the signing key you sent along.",
    ),
    answer="2xx within 10 s; retried for 24 h, then disabled",
    secret_env=("CALENDLY_WEBHOOK_SIGNING_KEY",),
    schemes=(
        Hmac(
            signed=template("{ts}.{body}"),
            place=InHeader("Calendly-Webhook-Signature"),
            layout=Items(separator=b",", equals=b"=", sig=b"v1", ts=b"t", emit=b"t={ts},v1={sig}"),
            time=Time(past=180),
        ),
    ),
    event_type=body("event"),
    idempotency_key=join("-", body("event"), body("payload", "uri"), body("created_at"), whole=True),
    summary=join(" · ", body("payload", "email"), body("payload", "scheduled_event", "name")),
)

CALCOM = Provider(
    name="calcom",
    title="Cal.com",
    monogram="Cl",
    docs="https://cal.com/docs/developing/guides/automation/webhooks",
    steps=(
        "Open Settings, Developer, Webhooks in Cal.com and add a webhook.",
        "Paste {url} as the subscriber URL.",
        "Enter a secret of your own and set {secret} to the same.",
    ),
    secret_env=("CALCOM_WEBHOOK_SECRET",),
    schemes=(body_hmac("X-Cal-Signature-256"),),
    event_type=body("triggerEvent"),
    idempotency_key=join("-", body("triggerEvent"), body("payload", "uid"), body("createdAt"), whole=True),
    summary=body("payload", "title"),
)

HUBSPOT = Provider(
    name="hubspot",
    title="HubSpot",
    monogram="Hs",
    docs="https://developers.hubspot.com/docs/api/webhooks",
    steps=(
        "Open your app in HubSpot, Webhooks, and set the target URL.",
        "Paste {url}, exactly like that: the address is signed.",
        "Set {secret} to the app's client secret.",
        'Write scheme = "v3" under the source, where the app signs so, to refuse the older two, which never expire.',
    ),
    answer="2xx within 5 s; retried 10 times over 24 h",
    schedule=spread_schedule(10, DAY, limit=5.0, source="https://developers.hubspot.com/docs/api/webhooks"),
    secret_env=("HUBSPOT_CLIENT_SECRET",),
    schemes=(
        # The documentation decodes some escapes of the URL before signing, the libraries
        # (hubspot 12.0.0 for Python, 13.5.0 for Node) do not: either spelling may match.
        Hmac(
            name="v3",
            encoding="base64",
            signed=template("{method}{url}{body}{ts}"),
            place=InHeader("X-HubSpot-Signature-v3"),
            urls=("as_given", "unescaped"),
            time=Time(place=InHeader("X-HubSpot-Request-Timestamp"), unit="ms", past=300),
        ),
        Digest(
            name="v2",
            signed=template("{secret}{method}{url}{body}"),
            place=InHeader("X-HubSpot-Signature"),
            urls=("as_given", "unescaped"),
            only_if=("X-HubSpot-Signature-Version", "v2"),
        ),
        Digest(
            name="v1",
            signed=template("{secret}{body}"),
            place=InHeader("X-HubSpot-Signature"),
            only_if=("X-HubSpot-Signature-Version", "v1"),
        ),
    ),
    event_type=first_of(body(0, "subscriptionType"), body("subscriptionType")),
    items=LIST,
    # HubSpot does not promise that an eventId is unique, so what it is about counts too.
    # https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide
    idempotency_key=each_item(
        (),
        ("eventId",),
        ("subscriptionId",),
        ("occurredAt",),
        optional=(("portalId",), ("objectId",), ("propertyName",)),
    ),
    summary=body(0, "objectId"),
    companions=(("User-Agent", "HubSpot Connect 2.0 (http://dev.hubspot.com/)"),),
)

CLOSE = Provider(
    name="close",
    title="Close",
    monogram="Co",
    docs="https://developer.close.com/resources/webhook-subscriptions/",
    steps=(
        "Open Settings, Developer, Webhooks in Close and create a subscription.",
        "Paste {url} as the URL.",
        "Set {secret} to the signature key of the answer.",
    ),
    secret_env=("CLOSE_WEBHOOK_SIGNATURE_KEY",),
    schemes=(
        Hmac(
            key=KeyFormat(form="hex"),
            signed=template("{ts}{body}"),
            place=InHeader("close-sig-hash"),
            time=Time(place=InHeader("close-sig-timestamp"), past=300, future=300),
        ),
    ),
    event_type=join(".", body("event", "object_type"), body("event", "action")),
    idempotency_key=body("event", "id"),
    summary=body("event", "object_id"),
)

DOCUSIGN = Provider(
    name="docusign",
    title="DocuSign Connect",
    monogram="Ds",
    docs="https://developers.docusign.com/platform/webhooks/connect/",
    steps=(
        "Open Settings, Connect in DocuSign and add a configuration.",
        "Paste {url} as the URL to publish to and include the HMAC signature.",
        "Create a Connect key and set {secret} to it.",
    ),
    answer="200 within 100 s; retried for days",
    secret_env=("DOCUSIGN_HMAC_KEY",),
    schemes=(Hmac(signed=template("{body}"), place=InEveryHeader("X-DocuSign-Signature-#"), encoding="base64"),),
    event_type=body("event"),
    # One envelope gives the same event for each recipient, and an event such as envelope-corrected several times.
    # A further attempt has another retryCount and the same generatedDateTime.
    # https://developers.docusign.com/platform/webhooks/connect/json-sim-event-model/
    idempotency_key=join(
        "-",
        body("data", "envelopeId"),
        body("event"),
        optional(body("data", "recipientId")),
        optional(body("configurationId")),
        body("generatedDateTime"),
        whole=True,
    ),
    summary=body("data", "envelopeId"),
    companions=(("X-Authorization-Digest", "HMACSHA256"),),
)

WOOCOMMERCE = Provider(
    name="woocommerce",
    title="WooCommerce",
    monogram="Wc",
    docs="https://woocommerce.com/document/webhooks/",
    steps=(
        "Open WooCommerce, Settings, Advanced, Webhooks and add a webhook.",
        "Paste {url} as the delivery URL.",
        "Enter a secret of your own and set {secret} to the same.",
    ),
    answer="2xx or 3xx within 60 s; never retried, disabled after 5 failures",
    schedule=Schedule(
        waits=(),
        limit=60.0,
        success_statuses=frozenset(range(200, 400)),
        then="five failures in a row disable the webhook",
        source="https://woocommerce.com/document/webhooks/",
    ),
    challenges=WOOCOMMERCE_CHALLENGES,
    secret_env=("WOOCOMMERCE_WEBHOOK_SECRET",),
    recognise=("X-WC-Webhook-Signature", "X-WC-Webhook-Topic"),
    schemes=(body_hmac("X-WC-Webhook-Signature", encoding="base64"),),
    event_type=header("X-WC-Webhook-Topic"),
    # The delivery id is a hash of the webhook's id and the second: two orders of one second share it.
    # https://github.com/woocommerce/woocommerce, WC_Webhook::get_new_delivery_id
    idempotency_key=join("-", header("X-WC-Webhook-Delivery-ID"), body_digest(), whole=True),
    summary=join(" · ", body("number"), body("name")),
    companions=(
        ("User-Agent", "WooCommerce/10.3 Hookshot (WordPress/6.9)"),
        ("X-WC-Webhook-Topic", "${type}"),
        ("X-WC-Webhook-Resource", "${event}"),
        ("X-WC-Webhook-Event", "${action}"),
        ("X-WC-Webhook-ID", "${digits:2}"),
        ("X-WC-Webhook-Delivery-ID", "${hex:32}"),
    ),
)

BUSINESS = (TYPEFORM, CALENDLY, CALCOM, HUBSPOT, CLOSE, DOCUSIGN, WOOCOMMERCE)


SHOPIFY = Provider(
    name="shopify",
    title="Shopify",
    monogram="Sh",
    docs="https://shopify.dev/docs/apps/build/webhooks",
    steps=(
        "Subscribe to topics in shopify.app.toml, or under Settings, Notifications, Webhooks of the shop.",
        "Paste {url} as the URL and choose JSON.",
        "Set {secret} to the app's client secret, or to the key shown below the shop's webhooks.",
    ),
    answer="2xx within 5 s, no redirect; retried 8 times over 4 h",
    schedule=spread_schedule(
        8,
        4 * HOUR,
        limit=5.0,
        then="after 8 failures in a row a subscription made through the API is deleted",
        source="https://shopify.dev/changelog/updates-to-webhook-retry-mechanism",
    ),
    secret_env=("SHOPIFY_API_SECRET", "SHOPIFY_WEBHOOK_SECRET"),
    other_credential=OtherCredential(("shpat_", "shpca_"), "an access token", "the client secret of the app"),
    recognise=("X-Shopify-Topic", "X-Shopify-Hmac-Sha256", "shopify-hmac-sha256"),
    schemes=(body_hmac("X-Shopify-Hmac-Sha256", "shopify-hmac-sha256", encoding="base64"),),
    event_type=first_of(header("X-Shopify-Topic"), header("shopify-topic")),
    idempotency_key=first_of(header("X-Shopify-Webhook-Id"), header("shopify-webhook-id"), header("shopify-event-id")),
    summary=join(
        " · ",
        first_of(body("name"), body("title"), body("email"), body("shop_domain")),
        format_amount(body("total_price"), body("currency"), minor=False),
    ),
    # shopify-api-js 13.1.0 calls a request invalid when topic, domain, version or id is missing.
    companions=(
        ("User-Agent", "Shopify-Captain-Hook"),
        ("X-Shopify-Topic", "${type}"),
        ("X-Shopify-Shop-Domain", "linen-and-oak.myshopify.com"),
        ("X-Shopify-API-Version", "2026-10"),
        ("X-Shopify-Webhook-Id", "${uuid}"),
        ("X-Shopify-Event-Id", "${uuid}"),
        ("X-Shopify-Triggered-At", "${iso_ms}"),
        ("X-Shopify-Name", "relay"),
    ),
)
