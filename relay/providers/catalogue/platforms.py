"""Clouds and where programs run and are watched: Vercel, Heroku, CircleCI, Sentry, PagerDuty, Amazon SNS and more."""

from relay.model.request_items import LIST, ItemPaths
from relay.providers.challenges import GRAPH_CHALLENGES, OKTA_CHALLENGES, SNS_CHALLENGES
from relay.providers.derived_extractors import each_item, strip_prefix
from relay.providers.extractors import body, first_of, header, join, summarize
from relay.providers.provider import CLIENT_ERRORS, MINUTE, Provider, Schedule
from relay.providers.schemes.encoding import items
from relay.providers.schemes.locations import InEach, InHeader
from relay.providers.schemes.shared_secret import SharedToken, header_hmac
from relay.providers.schemes.timestamps import Time
from relay.providers.schemes.vendor_schemes import Sns

VERCEL = Provider(
    name="vercel",
    docs="https://vercel.com/docs/webhooks",
    steps="""Open Settings, Webhooks of your team in Vercel and create a webhook.
    Paste {url} as the endpoint and choose the events.
    Copy the secret and set {secret} to it.""",
    answer="2xx within 30 s; retried for 24 h",
    # SHA-1, though lists of such schemes tend to say SHA-256. No time is in it: https://vercel.com/docs/webhooks
    schemes=(header_hmac("x-vercel-signature", algo="sha1"),),
    # deployment.created, deployment.ready and so on: https://vercel.com/docs/webhooks
    event_type=body("type"),
    idempotency_key=body("id"),
    summary=first_of("payload.deployment.name", "payload.project.id"),
)

HEROKU = Provider(
    name="heroku",
    docs="https://devcenter.heroku.com/articles/app-webhooks",
    steps="""Run heroku webhooks:add -u {url} with the entities you want.
    Set {secret} to the secret of the answer.""",
    # Base64 of the body: https://devcenter.heroku.com/articles/app-webhooks
    schemes=(header_hmac("Heroku-Webhook-Hmac-SHA256", encoding="base64"),),
    # The entity (api:release) and what happened to it (create, update, destroy).
    event_type=join(".", "resource", "action"),
    idempotency_key=body("id"),
    summary=first_of("data.app.name", "data.name"),
)

CIRCLECI = Provider(
    name="circleci",
    title="CircleCI",
    monogram="Cx",
    docs="https://circleci.com/docs/guides/integration/webhooks/",
    steps="""Open Project settings, Webhooks in CircleCI and add a webhook.
    Paste {url} as the receiver URL.
    Enter a secret token of your own and set {secret} to the same.""",
    recognise=("circleci-signature", "circleci-event-type"),
    # A list of versions of which v1 counts; unknown ones such as v2 are skipped:
    # https://circleci.com/docs/guides/integration/webhooks/
    schemes=(header_hmac("circleci-signature", layout=items("v1={sig}")),),
    event_type=first_of("type", header("circleci-event-type")),
    idempotency_key=body("id"),
    summary=summarize("project.name", first_of("job.name", "workflow.name")),
    companions=(("User-Agent", "CircleCI-Webhook/1.0"), ("circleci-event-type", "${type}")),
)

BUILDKITE = Provider(
    name="buildkite",
    monogram="Bk",
    docs="https://buildkite.com/docs/apis/webhooks",
    steps="""Open Settings, Notification services in Buildkite and add a webhook.
    Paste {url} as the webhook URL and send the token as a signature.
    Copy the token and set {secret} to it.""",
    recognise=("X-Buildkite-Event", "X-Buildkite-Signature", "X-Buildkite-Token"),
    # A webhook shows its token or signs with it, as chosen in its settings; where a signature comes, the token
    # alone is not enough.
    schemes=(
        # How old a request may be is left to the receiver, so no limit is set here.
        header_hmac(
            "X-Buildkite-Signature",
            "{ts}.{body}",
            items("timestamp={ts},signature={sig}"),
            name="signature",
            time=Time(),
        ),
        SharedToken(name="token", place=InHeader("X-Buildkite-Token")),
    ),
    # The header and the field event say the same: https://buildkite.com/docs/apis/webhooks
    event_type=first_of(header("X-Buildkite-Event"), "event"),
    summary=summarize("pipeline.name", "build.state"),
    companions=(("User-Agent", "Buildkite-Request"), ("X-Buildkite-Event", "${type}")),
)

SENTRY = Provider(
    name="sentry",
    docs="https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
    steps="""Open Settings, Custom integrations in Sentry and create an internal integration.
    Paste {url} as the webhook URL.
    Copy the client secret and set {secret} to it.""",
    answer="2xx within 1 s; never retried",
    schedule=Schedule(limit=1.0, then="a thousand timeouts in a day end the subscription"),
    secret_env=("SENTRY_CLIENT_SECRET",),
    recognise=("Sentry-Hook-Signature", "Sentry-Hook-Resource"),
    # The documentation signs JSON written again, which gives the same bytes only in JavaScript; relay takes the
    # body as it came. Sentry-Hook-Timestamp is not signed, so it limits nothing:
    # https://docs.sentry.io/organization/integrations/integration-platform/webhooks/
    schemes=(header_hmac("Sentry-Hook-Signature"),),
    # The resource (issue, event_alert) with what happened to it, which the body says.
    event_type=join(".", header("Sentry-Hook-Resource"), "action"),
    idempotency_key=header("Request-ID"),
    summary=first_of("data.issue.title", "data.event.title", "data.error.title"),
    companions=(
        ("Request-ID", "${hex:32}"),
        ("Sentry-Hook-Resource", "${event}"),
        ("Sentry-Hook-Timestamp", "${unix}"),
    ),
)

PAGERDUTY = Provider(
    name="pagerduty",
    title="PagerDuty",
    docs="https://developer.pagerduty.com/docs/webhooks-overview",
    steps="""Open Integrations, Generic webhooks (v3) in PagerDuty and add a subscription.
    Paste {url} as the webhook URL.
    Copy the secret shown once and set {secret} to it.""",
    answer="2xx within 5 s, 4xx but 429 is final; retried 4 times over 20 min",
    schedule=Schedule(spread=(4, 20 * MINUTE), limit=5.0, stop_statuses=CLIENT_ERRORS),
    # Several v1 come while a secret is changed, and any may match:
    # https://developer.pagerduty.com/docs/webhooks-overview
    schemes=(header_hmac("X-PagerDuty-Signature", layout=items("v1={sig}")),),
    event_type=body("event.event_type"),
    idempotency_key=body("event.id"),
    summary=body("event.data.title"),
    companions=(("User-Agent", "PagerDuty-Webhook/V3.0"), ("X-Webhook-Id", "${uuid}")),
)

LAUNCHDARKLY = Provider(
    name="launchdarkly",
    title="LaunchDarkly",
    docs="https://launchdarkly.com/docs/integrations/webhooks",
    steps="""Open Integrations, Webhooks in LaunchDarkly and add one.
    Paste {url} as the URL and have payloads signed.
    Copy the secret and set {secret} to it.""",
    # Bare hex of the body, and no time: https://launchdarkly.com/docs/integrations/webhooks
    schemes=(header_hmac("X-LD-Signature"),),
    # kind alone (flag, project) would lump together what titleVerb tells apart.
    event_type=join(".", "kind", "titleVerb"),
    idempotency_key=body("_id"),
    summary=body("name"),
)

WORKOS = Provider(
    name="workos",
    title="WorkOS",
    docs="https://workos.com/docs/events/data-syncing/webhooks",
    steps="""Open Developer, Webhooks in the WorkOS dashboard and create an endpoint.
    Paste {url} as the endpoint URL and choose the events.
    Copy the secret and set {secret} to it.""",
    # The Node library reads the body as JSON and writes it again before it compares (8.13.0); relay takes the
    # bytes as they came, as the Python one does.
    schemes=(
        # Milliseconds, and a space after the comma. workos 10.8.0 limits the age both ways.
        header_hmac(
            "WorkOS-Signature",
            "{ts}.{body}",
            items("t={ts}, v1={sig}", trim=True),
            time=Time(unit="ms", past=180, future=180),
        ),
    ),
    event_type=body("event"),
    idempotency_key=body("id"),
    summary=first_of("data.email", "data.name", "data.id"),
)

AUTH0 = Provider(
    name="auth0",
    title="Auth0 log streams",
    monogram="A0",
    docs="https://auth0.com/docs/customize/log-streams/custom-log-streams",
    steps="""Open Monitoring, Streams in Auth0 and create a custom webhook.
    Paste {url} as the payload URL with an authorization token of your own.
    Set {secret} to the same token.""",
    secret_env=("AUTH0_LOG_STREAM_TOKEN",),
    # The whole value of Authorization is the token, with whatever word the owner put before it.
    schemes=(SharedToken(place=InHeader("Authorization")),),
    event_type=first_of("0.data.type", "data.type"),
    # A stream sends its logs as a JSON array, as lines of JSON, of which one alone is an object, or as objects:
    # https://auth0.com/docs/customize/log-streams/custom-log-streams
    items=LIST,
    idempotency_key=each_item("", "log_id"),
    summary=first_of("0.data.user_name", "data.user_name"),
)

OKTA = Provider(
    name="okta",
    title="Okta event hooks",
    docs="https://developer.okta.com/docs/concepts/event-hooks/",
    steps="""Open Workflow, Event hooks in the Okta admin console and create an event hook.
    Paste {url} as the URL with Authorization and a value of your own as the authentication field.
    Set {secret} to the same value, then verify the hook.""",
    challenges=OKTA_CHALLENGES,
    secret_env=("OKTA_EVENT_HOOK_TOKEN",),
    # Only the handshake has a header of Okta's own; events carry Authorization.
    recognise=("X-Okta-Verification-Challenge",),
    # Nothing is signed: the value is what the owner typed as the authentication field, whole.
    schemes=(SharedToken(place=InHeader("Authorization")),),
    event_type=body("data.events.0.eventType"),
    # One request may hold several events, of which each has a uuid of its own.
    items=ItemPaths((("data", "events", None),)),
    idempotency_key=body("eventId"),
    summary=body("data.events.0.displayMessage"),
)

SNS = Provider(
    name="aws-sns",
    title="Amazon SNS",
    monogram="Sn",
    docs="https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html",
    steps="""Open your topic in the Amazon SNS console and create an HTTPS subscription.
    Paste {url} as the endpoint, and open the SubscribeURL of the first event to confirm it.
    Download the certificate at an event's SigningCertURL and set {secret} to it (PEM).""",
    answer="2xx within 15 s; retried 3 times, then as the topic's policy says",
    challenges=SNS_CHALLENGES,
    # A certificate, and so nothing secret: only Amazon can sign.
    secret_env=("AWS_SNS_CERTIFICATE",),
    recognise=("x-amz-sns-message-type",),
    # The body is still JSON: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    content_type="text/plain; charset=UTF-8",
    # Version 1 of the signature is SHA-1, version 2 SHA-256; the topic decides. sns-validator 0.3.5 fetches the
    # certificate, relay fetches nothing that a request names.
    schemes=(Sns(),),
    event_type=body("Type"),
    idempotency_key=body("MessageId"),
    summary=first_of("Subject", "TopicArn"),
    companions=(
        ("User-Agent", "Amazon Simple Notification Service Agent"),
        ("x-amz-sns-message-type", "${type}"),
        ("x-amz-sns-topic-arn", "arn:aws:sns:eu-central-1:123456789012:orders"),
    ),
)

MSGRAPH = Provider(
    name="msgraph",
    title="Microsoft Graph",
    docs="https://learn.microsoft.com/graph/change-notifications-delivery-webhooks",
    steps="""Create a subscription through Microsoft Graph with {url} as its notificationUrl.
    Send a clientState of your own along and set {secret} to the same.""",
    challenges=GRAPH_CHALLENGES,
    secret_env=("GRAPH_CLIENT_STATE",),
    # Every notification of a batch must show it: one forged among real ones would pass otherwise.
    schemes=(SharedToken(place=InEach("value", "clientState")),),
    # A lifecycle notification (reauthorizationRequired, missed) has no change and no data.
    event_type=first_of(
        "value.0.lifecycleEvent",
        join(
            ".",
            "value.0.changeType",
            first_of(
                strip_prefix(body("value", 0, "resourceData", "@odata.type"), "#Microsoft.Graph.", "#microsoft.graph."),
                "value.0.resource",
            ),
        ),
    ),
    items=ItemPaths((("value", None),)),
    # The id is optional, and unique for the notification of one subscription.
    # https://learn.microsoft.com/graph/api/resources/changenotification
    idempotency_key=each_item("value", "id", "subscriptionId", "changeType?", "resource?"),
    summary=body("value.0.resource"),
)

PLATFORMS = (VERCEL, HEROKU, CIRCLECI, BUILDKITE, SENTRY, PAGERDUTY, LAUNCHDARKLY, WORKOS, AUTH0, SNS, MSGRAPH, OKTA)
