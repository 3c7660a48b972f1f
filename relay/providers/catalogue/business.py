"""Where people sell, meet, sign and help: Shopify, WooCommerce, HubSpot, Calendly, DocuSign, Zendesk and more."""

from relay.model.request_items import LIST
from relay.providers.challenges import HEAD_CHALLENGES, WOOCOMMERCE_CHALLENGES
from relay.providers.derived_extractors import body_digest, each_item, format_amount
from relay.providers.extractors import body, first_of, header, join, join_key, optional, summarize
from relay.providers.provider import DAY, HOUR, MINUTE, OtherCredential, Provider, Schedule
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import KeyFormat, Prefix, items
from relay.providers.schemes.locations import InEveryHeader, InHeader
from relay.providers.schemes.shared_secret import Digest, header_hmac
from relay.providers.schemes.timestamps import Time

TYPEFORM = Provider(
    name="typeform",
    docs="https://www.typeform.com/developers/webhooks/",
    steps="""Open your form in Typeform, Connect, Webhooks, and add a webhook.
    Paste {url} as the endpoint.
    Enter a secret of your own and set {secret} to the same.""",
    answer="2xx within 30 s, 404 or 410 disables it; retried for 10 h",
    # Base64 behind a prefix that announces hex elsewhere: https://www.typeform.com/developers/webhooks/
    schemes=(header_hmac("Typeform-Signature", layout=Prefix(b"sha256="), encoding="base64"),),
    event_type=body("event_type"),
    idempotency_key=body("event_id"),
    summary=body("form_response.definition.title"),
)

CALENDLY = Provider(
    name="calendly",
    monogram="Cy",
    docs="https://developer.calendly.com/api-docs/overview-of-webhooks",
    steps="""Create a webhook subscription through Calendly's API with {url} as its URL.
    Set {secret} to the signing key you sent along.""",
    answer="2xx within 10 s; retried for 24 h, then disabled",
    secret_env=("CALENDLY_WEBHOOK_SIGNING_KEY",),
    # Three minutes, past only, as in the sample of Calendly's documentation:
    # https://developer.calendly.com/api-docs/overview-of-webhooks
    schemes=(header_hmac("Calendly-Webhook-Signature", "{ts}.{body}", items("t={ts},v1={sig}"), time=Time(past=180)),),
    event_type=body("event"),
    # There is no id of the event. An invitee may be created, canceled and rescheduled under one address.
    idempotency_key=join_key("event", "payload.uri", "created_at"),
    summary=summarize("payload.email", "payload.scheduled_event.name"),
)

CALCOM = Provider(
    name="calcom",
    title="Cal.com",
    monogram="Cl",
    docs="https://cal.com/docs/developing/guides/automation/webhooks",
    steps="""Open Settings, Developer, Webhooks in Cal.com and add a webhook.
    Paste {url} as the subscriber URL.
    Enter a secret of your own and set {secret} to the same.""",
    # Bare hex although the header's name ends in 256, and no time:
    # https://cal.com/docs/developing/guides/automation/webhooks
    schemes=(header_hmac("X-Cal-Signature-256"),),
    event_type=body("triggerEvent"),
    idempotency_key=join_key("triggerEvent", "payload.uid", "createdAt"),
    summary=body("payload.title"),
)

_HUBSPOT_KEY = ("eventId", "subscriptionId", "occurredAt", "portalId?", "objectId?", "propertyName?")
HUBSPOT = Provider(
    name="hubspot",
    title="HubSpot",
    docs="https://developers.hubspot.com/docs/api/webhooks",
    steps="""Open your app in HubSpot, Webhooks, and set the target URL.
    Paste {url}, exactly like that: the address is signed.
    Set {secret} to the app's client secret.
    Write scheme = "v3" under the source, where the app signs so, to refuse the older two, which never expire.""",
    answer="2xx within 5 s; retried 10 times over 24 h",
    schedule=Schedule(spread=(10, DAY), limit=5.0),
    secret_env=("HUBSPOT_CLIENT_SECRET",),
    # v3 alone has a time, in milliseconds and limited towards the past only. v1 and v2 are plain SHA-256 with
    # the secret in the text, and X-HubSpot-Signature-Version tells them apart.
    schemes=(
        # The documentation decodes some escapes of the URL before signing, the libraries
        # (hubspot 12.0.0 for Python, 13.5.0 for Node) do not: either spelling may match.
        header_hmac(
            "X-HubSpot-Signature-v3",
            "{method}{url}{body}{ts}",
            name="v3",
            encoding="base64",
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
    # A request is a list of up to a hundred events.
    event_type=first_of("0.subscriptionType", "subscriptionType"),
    items=LIST,
    # HubSpot does not promise that an eventId is unique, so what it is about counts too.
    # https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide
    # An association has no objectId, and one between two contacts is told from both sides.
    idempotency_key=first_of(each_item("", *_HUBSPOT_KEY, "fromObjectId", "toObjectId"), each_item("", *_HUBSPOT_KEY)),
    summary=body("0.objectId"),
    companions=(("User-Agent", "HubSpot Connect 2.0 (http://dev.hubspot.com/)"),),
)

CLOSE = Provider(
    name="close",
    monogram="Co",
    docs="https://developer.close.com/resources/webhook-subscriptions/",
    steps="""Open Settings, Developer, Webhooks in Close and create a subscription.
    Paste {url} as the URL.
    Set {secret} to the signature key of the answer.""",
    secret_env=("CLOSE_WEBHOOK_SIGNATURE_KEY",),
    # The signature key is hex that is decoded first. Close states no limit of age; five minutes is common
    # practice among receivers.
    schemes=(
        header_hmac(
            "close-sig-hash",
            "{ts}{body}",
            key=KeyFormat(form="hex"),
            time=Time(place=InHeader("close-sig-timestamp"), past=300, future=300),
        ),
    ),
    event_type=join(".", "event.object_type", "event.action"),
    idempotency_key=body("event.id"),
    summary=body("event.object_id"),
)

DOCUSIGN = Provider(
    name="docusign",
    title="DocuSign Connect",
    docs="https://developers.docusign.com/platform/webhooks/connect/",
    steps="""Open Settings, Connect in DocuSign and add a configuration.
    Paste {url} as the URL to publish to and include the HMAC signature.
    Create a Connect key and set {secret} to it.""",
    answer="200 within 100 s; retried for days",
    secret_env=("DOCUSIGN_HMAC_KEY",),
    # One numbered header comes for each active Connect key, and any of them may match. The body is signed with
    # its line ends: https://developers.docusign.com/platform/webhooks/connect/
    schemes=(header_hmac(InEveryHeader("X-DocuSign-Signature-#"), encoding="base64"),),
    event_type=body("event"),
    # One envelope gives the same event for each recipient, and an event such as envelope-corrected several times.
    # A further attempt has another retryCount and the same generatedDateTime.
    # https://developers.docusign.com/platform/webhooks/connect/json-sim-event-model/
    idempotency_key=join_key("data.envelopeId", "event", "data.recipientId?", "configurationId?", "generatedDateTime"),
    summary=body("data.envelopeId"),
    companions=(("X-Authorization-Digest", "HMACSHA256"),),
)

WOOCOMMERCE = Provider(
    name="woocommerce",
    title="WooCommerce",
    docs="https://woocommerce.com/document/webhooks/",
    steps="""Open WooCommerce, Settings, Advanced, Webhooks and add a webhook.
    Paste {url} as the delivery URL.
    Enter a secret of your own and set {secret} to the same.""",
    answer="2xx or 3xx within 60 s; never retried, disabled after 5 failures",
    schedule=Schedule(
        limit=60.0, success_statuses=frozenset(range(200, 400)), then="five failures in a row disable the webhook"
    ),
    challenges=WOOCOMMERCE_CHALLENGES,
    # The topic comes also with hooks that are not signed.
    recognise=("X-WC-Webhook-Signature", "X-WC-Webhook-Topic"),
    # Base64 of the body. The first request after activation is a form with webhook_id alone and has no signature.
    schemes=(header_hmac("X-WC-Webhook-Signature", encoding="base64"),),
    event_type=header("X-WC-Webhook-Topic"),
    # The delivery id is a hash of the webhook's id and the second: two orders of one second share it.
    # https://github.com/woocommerce/woocommerce, WC_Webhook::get_new_delivery_id
    idempotency_key=join_key(header("X-WC-Webhook-Delivery-ID"), body_digest()),
    summary=summarize("number", "name"),
    # As WC_Webhook::deliver writes them: https://github.com/woocommerce/woocommerce
    companions=(
        ("User-Agent", "WooCommerce/10.3 Hookshot (WordPress/6.9)"),
        ("X-WC-Webhook-Topic", "${type}"),
        ("X-WC-Webhook-Resource", "${event}"),
        ("X-WC-Webhook-Event", "${action}"),
        ("X-WC-Webhook-ID", "${digits:2}"),
        ("X-WC-Webhook-Delivery-ID", "${hex:32}"),
    ),
)

INTERCOM = Provider(
    name="intercom",
    docs="https://developers.intercom.com/docs/webhooks",
    steps="""Open your app in the Intercom Developer Hub, Webhooks.
    Paste {url} as the endpoint URL and choose the topics.
    Set {secret} to the app's client secret.""",
    answer="2xx within 5 s; retried once after 1 min",
    schedule=Schedule(waits=(MINUTE,), limit=5.0),
    challenges=HEAD_CHALLENGES,
    secret_env=("INTERCOM_CLIENT_SECRET",),
    # X-Hub-Signature is Bitbucket's, Jira's and GitHub's as well.
    recognise=(),
    # Still SHA-1, with the client secret of the app as its key: https://developers.intercom.com/docs/webhooks
    schemes=(header_hmac("X-Hub-Signature", layout=Prefix(b"sha1="), algo="sha1"),),
    event_type=body("topic"),
    idempotency_key=body("id"),
    summary=body("data.item.id"),
    companions=(("User-Agent", "intercom-webhooks/1.0"),),
)

ZENDESK = Provider(
    name="zendesk",
    monogram="Zd",
    docs="https://developer.zendesk.com/documentation/webhooks/",
    steps="""Open the Zendesk Admin Center, Apps and integrations, Webhooks, and create a webhook.
    Paste {url} as the endpoint URL.
    Reveal the signing secret and set {secret} to it.""",
    # Test requests of a webhook that is not saved yet are signed with a fixed secret of Zendesk's, and do not
    # verify here.
    schemes=(
        # The secret looks like base64 and is used as text.
        header_hmac(
            "X-Zendesk-Webhook-Signature",
            "{ts}{body}",
            encoding="base64",
            time=Time(place=InHeader("X-Zendesk-Webhook-Signature-Timestamp"), unit="iso"),
        ),
    ),
    event_type=body("type"),
    idempotency_key=header("X-Zendesk-Webhook-Invocation-Id"),
    summary=body("detail.subject"),
    companions=(("X-Zendesk-Webhook-Invocation-Id", "${id:26}"),),
)

BUSINESS = (TYPEFORM, CALENDLY, CALCOM, HUBSPOT, CLOSE, DOCUSIGN, WOOCOMMERCE)


SHOPIFY = Provider(
    name="shopify",
    docs="https://shopify.dev/docs/apps/build/webhooks",
    steps="""Subscribe to topics in shopify.app.toml, or under Settings, Notifications, Webhooks of the shop.
    Paste {url} as the URL and choose JSON.
    Set {secret} to the app's client secret, or to the key shown below the shop's webhooks.""",
    answer="2xx within 5 s, no redirect; retried 8 times over 4 h",
    schedule=Schedule(
        spread=(8, 4 * HOUR),
        limit=5.0,
        then="after 8 failures in a row a subscription made through the API is deleted",
        source="https://shopify.dev/changelog/updates-to-webhook-retry-mechanism",
    ),
    secret_env=("SHOPIFY_API_SECRET", "SHOPIFY_WEBHOOK_SECRET"),
    other_credential=OtherCredential(("shpat_", "shpca_"), "an access token", "the client secret of the app"),
    recognise=("X-Shopify-Topic", "X-Shopify-Hmac-Sha256", "shopify-hmac-sha256"),
    # The key is the app's client secret as text; for hooks made in the shop's admin it is the key shown there.
    # Newer deliveries of events spell the header in lower case without X-. After a rotation the old secret may
    # sign for up to an hour, so name both meanwhile: https://shopify.dev/docs/apps/build/webhooks
    schemes=(header_hmac(InHeader("X-Shopify-Hmac-Sha256", "shopify-hmac-sha256"), encoding="base64"),),
    event_type=first_of(header("X-Shopify-Topic"), header("shopify-topic")),
    # The webhook id is that of one delivery and stays the same when Shopify retries. Newer deliveries of events have
    # that of what the merchant did, which may change several resources and be subscribed to under several handles.
    idempotency_key=first_of(
        header("X-Shopify-Webhook-Id"),
        header("shopify-webhook-id"),
        join_key(
            *map(header, ("shopify-event-id", "shopify-topic")),
            *(optional(header(f"shopify-{name}")) for name in ("handle", "action", "resource-id")),
        ),
    ),
    summary=summarize(
        first_of("name", "title", "email", "shop_domain"), format_amount("total_price", "currency", minor=False)
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
