"""Clouds and content: Amazon SNS, Microsoft Graph, Okta, Contentful, Box."""

from relay.model.request_items import ItemPaths
from relay.providers.challenges import GRAPH_CHALLENGES, OKTA_CHALLENGES, SNS_CHALLENGES
from relay.providers.extractors import body, first_of, header, join, strip_prefix
from relay.providers.key_extractors import each_item
from relay.providers.provider import Provider
from relay.providers.schemes import Contentful, Hmac, InEach, InEveryHeader, InHeader, SharedToken, Sns, Time, template

OKTA = Provider(
    name="okta",
    title="Okta event hooks",
    monogram="Ok",
    docs="https://developer.okta.com/docs/concepts/event-hooks/",
    steps=(
        "Open Workflow, Event hooks in the Okta admin console and create an event hook.",
        "Paste {url} as the URL with Authorization and a value of your own as the authentication field.",
        "Set {secret} to the same value, then verify the hook.",
    ),
    challenges=OKTA_CHALLENGES,
    secret_env=("OKTA_EVENT_HOOK_TOKEN",),
    # Only the handshake has a header of Okta's own; events carry Authorization.
    recognise=("X-Okta-Verification-Challenge",),
    # Nothing is signed: the value is what the owner typed as the authentication field, whole.
    schemes=(SharedToken(place=InHeader("Authorization")),),
    event_type=body("data", "events", 0, "eventType"),
    # One request may hold several events, of which each has a uuid of its own.
    items=ItemPaths((("data", "events", None),)),
    idempotency_key=body("eventId"),
    summary=body("data", "events", 0, "displayMessage"),
)

AWS_SNS = Provider(
    name="aws-sns",
    title="Amazon SNS",
    monogram="Sn",
    docs="https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html",
    steps=(
        "Open your topic in the Amazon SNS console and create an HTTPS subscription.",
        "Paste {url} as the endpoint, and open the SubscribeURL of the first event to confirm it.",
        "Download the certificate at an event's SigningCertURL and set {secret} to it (PEM).",
    ),
    answer="2xx within 15 s; retried 3 times, then as the topic's policy says",
    challenges=SNS_CHALLENGES,
    # A certificate, and so nothing secret: only Amazon can sign.
    secret_env=("AWS_SNS_CERTIFICATE",),
    recognise=("x-amz-sns-message-type",),
    # The body is JSON all the same: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    content_type="text/plain; charset=UTF-8",
    # Version 1 of the signature is SHA-1, version 2 SHA-256; the topic decides. sns-validator 0.3.5 fetches the
    # certificate, relay fetches nothing that a request names.
    schemes=(Sns(),),
    event_type=body("Type"),
    idempotency_key=body("MessageId"),
    summary=first_of(body("Subject"), body("TopicArn")),
    companions=(
        ("User-Agent", "Amazon Simple Notification Service Agent"),
        ("x-amz-sns-message-type", "${type}"),
        ("x-amz-sns-topic-arn", "arn:aws:sns:eu-central-1:123456789012:orders"),
    ),
)

CONTENTFUL = Provider(
    name="contentful",
    title="Contentful",
    monogram="Cf",
    docs="https://www.contentful.com/developers/docs/webhooks/request-verification/",
    steps=(
        "Open Settings, Webhooks of the space in Contentful and add a webhook.",
        "Paste {url} as the URL: its path is signed.",
        "Enable request verification under Settings and set {secret} to the secret.",
    ),
    secret_env=("CONTENTFUL_WEBHOOK_SECRET",),
    recognise=("x-contentful-signature", "X-Contentful-Topic"),
    content_type="application/vnd.contentful.management.v1+json",
    # The headers that count are listed in the request itself; the time is in milliseconds and may be 30 s old
    # (apps-toolkit 3.16.1).
    schemes=(Contentful(),),
    event_type=header("X-Contentful-Topic"),
    idempotency_key=header("X-Contentful-Idempotency-Key"),
    summary=join(" · ", body("sys", "contentType", "sys", "id"), body("sys", "id")),
    companions=(
        ("X-Contentful-Topic", "${type}"),
        ("X-Contentful-Webhook-Name", "relay"),
        ("X-Contentful-Idempotency-Key", "${hex:64}"),
        (
            "x-contentful-signed-headers",
            "x-contentful-idempotency-key,x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic",
        ),
    ),
)

MSGRAPH = Provider(
    name="msgraph",
    title="Microsoft Graph",
    monogram="Mg",
    docs="https://learn.microsoft.com/graph/change-notifications-delivery-webhooks",
    steps=(
        "Create a subscription through Microsoft Graph with {url} as its notificationUrl.",
        "Send a clientState of your own along and set {secret} to the same.",
    ),
    challenges=GRAPH_CHALLENGES,
    secret_env=("GRAPH_CLIENT_STATE",),
    # Every notification of a batch must show it: one forged among real ones would pass otherwise.
    schemes=(SharedToken(place=InEach("value", "clientState")),),
    # A lifecycle notification (reauthorizationRequired, missed) has no change and no data.
    event_type=first_of(
        body("value", 0, "lifecycleEvent"),
        join(
            ".",
            body("value", 0, "changeType"),
            first_of(
                strip_prefix(body("value", 0, "resourceData", "@odata.type"), "#Microsoft.Graph.", "#microsoft.graph."),
                body("value", 0, "resource"),
            ),
        ),
    ),
    items=ItemPaths((("value", None),)),
    # The id is optional, and unique for the notification of one subscription.
    # https://learn.microsoft.com/graph/api/resources/changenotification
    idempotency_key=each_item(("value",), ("id",), ("subscriptionId",), optional=(("changeType",), ("resource",))),
    summary=body("value", 0, "resource"),
)

BOX = Provider(
    name="box",
    title="Box",
    monogram="Bx",
    docs="https://developer.box.com/guides/webhooks/v2/signatures-v2/",
    steps=(
        "Open your app in the Box developer console, Webhooks, and create a webhook.",
        "Paste {url} as the URL address.",
        "Generate both signature keys and set {secret} to the primary one.",
        'Name both under the source: secret = ["env:BOX_PRIMARY_KEY", "env:BOX_SECONDARY_KEY"].',
    ),
    # Each of the two headers is signed with a key of its own, so that one can be rotated.
    secret_env=("BOX_PRIMARY_KEY", "BOX_SECONDARY_KEY"),
    recognise=("BOX-SIGNATURE-PRIMARY", "BOX-DELIVERY-ID"),
    schemes=(
        # boxsdk 10.18.0: ten minutes back and not a second ahead; either header may match.
        Hmac(
            encoding="base64",
            signed=template("{body}{ts}"),
            place=InEveryHeader("BOX-SIGNATURE-PRIMARY", "BOX-SIGNATURE-SECONDARY"),
            time=Time(place=InHeader("BOX-DELIVERY-TIMESTAMP"), unit="iso", past=600, future=0),
            expects=(("BOX-SIGNATURE-VERSION", "1"), ("BOX-SIGNATURE-ALGORITHM", "HmacSHA256")),
        ),
    ),
    event_type=body("trigger"),
    idempotency_key=header("BOX-DELIVERY-ID"),
    summary=body("source", "name"),
    companions=(
        ("BOX-DELIVERY-ID", "${uuid}"),
        ("BOX-SIGNATURE-VERSION", "1"),
        ("BOX-SIGNATURE-ALGORITHM", "HmacSHA256"),
    ),
)

CLOUDS = (AWS_SNS, MSGRAPH, OKTA, CONTENTFUL, BOX)
