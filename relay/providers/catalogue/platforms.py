"""Where programs run and are watched: Vercel, Heroku, CircleCI, Buildkite, Sentry, PagerDuty, WorkOS and more."""

from relay.model.request_items import LIST
from relay.providers.extractors import body, first_of, header, join
from relay.providers.key_extractors import each_item
from relay.providers.provider import CLIENT_ERRORS, MINUTE, Provider, Schedule
from relay.providers.schemes import Hmac, InHeader, Items, SharedToken, Time, body_hmac, template

VERCEL = Provider(
    name="vercel",
    title="Vercel",
    monogram="Ve",
    docs="https://vercel.com/docs/webhooks",
    steps=(
        "Open Settings, Webhooks of your team in Vercel and create a webhook.",
        "Paste {url} as the endpoint and choose the events.",
        "Copy the secret and set {secret} to it.",
    ),
    answer="2xx within 30 s; retried for 24 h",
    secret_env=("VERCEL_WEBHOOK_SECRET",),
    # SHA-1, though lists of such schemes tend to say SHA-256.
    # No time is in it: https://vercel.com/docs/webhooks
    schemes=(body_hmac("x-vercel-signature", algo="sha1"),),
    # deployment.created, deployment.ready and so on: https://vercel.com/docs/webhooks
    event_type=body("type"),
    idempotency_key=body("id"),
    summary=first_of(body("payload", "deployment", "name"), body("payload", "project", "id")),
)

HEROKU = Provider(
    name="heroku",
    title="Heroku",
    monogram="He",
    docs="https://devcenter.heroku.com/articles/app-webhooks",
    steps=("Run heroku webhooks:add -u {url} with the entities you want.", "Set {secret} to the secret of the answer."),
    secret_env=("HEROKU_WEBHOOK_SECRET",),
    # Base64 of the body: https://devcenter.heroku.com/articles/app-webhooks
    schemes=(body_hmac("Heroku-Webhook-Hmac-SHA256", encoding="base64"),),
    # The entity (api:release) and what happened to it (create, update, destroy).
    event_type=join(".", body("resource"), body("action")),
    idempotency_key=body("id"),
    summary=first_of(body("data", "app", "name"), body("data", "name")),
)

CIRCLECI = Provider(
    name="circleci",
    title="CircleCI",
    monogram="Cx",
    docs="https://circleci.com/docs/guides/integration/webhooks/",
    steps=(
        "Open Project settings, Webhooks in CircleCI and add a webhook.",
        "Paste {url} as the receiver URL.",
        "Enter a secret token of your own and set {secret} to the same.",
    ),
    secret_env=("CIRCLECI_WEBHOOK_SECRET",),
    recognise=("circleci-signature", "circleci-event-type"),
    # A list of versions of which v1 counts; unknown ones such as v2 are skipped:
    # https://circleci.com/docs/guides/integration/webhooks/
    schemes=(
        Hmac(
            signed=template("{body}"),
            place=InHeader("circleci-signature"),
            layout=Items(separator=b",", equals=b"=", sig=b"v1", emit=b"v1={sig}"),
        ),
    ),
    event_type=first_of(body("type"), header("circleci-event-type")),
    idempotency_key=body("id"),
    summary=join(" · ", body("project", "name"), first_of(body("job", "name"), body("workflow", "name"))),
    companions=(("User-Agent", "CircleCI-Webhook/1.0"), ("circleci-event-type", "${type}")),
)

BUILDKITE = Provider(
    name="buildkite",
    title="Buildkite",
    monogram="Bk",
    docs="https://buildkite.com/docs/apis/webhooks",
    steps=(
        "Open Settings, Notification services in Buildkite and add a webhook.",
        "Paste {url} as the webhook URL and send the token as a signature.",
        "Copy the token and set {secret} to it.",
    ),
    secret_env=("BUILDKITE_WEBHOOK_SECRET",),
    recognise=("X-Buildkite-Event", "X-Buildkite-Signature", "X-Buildkite-Token"),
    # A webhook shows its token or signs with it, as chosen in its settings; where a signature comes, the token
    # alone is not enough.
    schemes=(
        # How old a request may be is left to the receiver, so no limit is set here.
        Hmac(
            name="signature",
            signed=template("{ts}.{body}"),
            place=InHeader("X-Buildkite-Signature"),
            layout=Items(
                separator=b",", equals=b"=", sig=b"signature", ts=b"timestamp", emit=b"timestamp={ts},signature={sig}"
            ),
            time=Time(),
        ),
        SharedToken(name="token", place=InHeader("X-Buildkite-Token")),
    ),
    # The header and the field event say the same: https://buildkite.com/docs/apis/webhooks
    event_type=first_of(header("X-Buildkite-Event"), body("event")),
    summary=join(" · ", body("pipeline", "name"), body("build", "state")),
    companions=(("User-Agent", "Buildkite-Request"), ("X-Buildkite-Event", "${type}")),
)

SENTRY = Provider(
    name="sentry",
    title="Sentry",
    monogram="Se",
    docs="https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
    steps=(
        "Open Settings, Custom integrations in Sentry and create an internal integration.",
        "Paste {url} as the webhook URL.",
        "Copy the client secret and set {secret} to it.",
    ),
    answer="2xx within 1 s; never retried",
    schedule=Schedule(
        waits=(),
        limit=1.0,
        then="a thousand timeouts in a day end the subscription",
        source="https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
    ),
    secret_env=("SENTRY_CLIENT_SECRET",),
    recognise=("Sentry-Hook-Signature", "Sentry-Hook-Resource"),
    # The documentation signs JSON written again, which gives the same bytes only in JavaScript; relay takes the
    # body as it came. Sentry-Hook-Timestamp is not signed, so it limits nothing:
    # https://docs.sentry.io/organization/integrations/integration-platform/webhooks/
    schemes=(body_hmac("Sentry-Hook-Signature"),),
    # The resource (issue, event_alert) with what happened to it, which the body says.
    event_type=join(".", header("Sentry-Hook-Resource"), body("action")),
    idempotency_key=header("Request-ID"),
    summary=first_of(body("data", "issue", "title"), body("data", "event", "title"), body("data", "error", "title")),
    companions=(
        ("Request-ID", "${hex:32}"),
        ("Sentry-Hook-Resource", "${event}"),
        ("Sentry-Hook-Timestamp", "${unix}"),
    ),
)

PAGERDUTY = Provider(
    name="pagerduty",
    title="PagerDuty",
    monogram="Pd",
    docs="https://developer.pagerduty.com/docs/webhooks-overview",
    steps=(
        "Open Integrations, Generic webhooks (v3) in PagerDuty and add a subscription.",
        "Paste {url} as the webhook URL.",
        "Copy the secret shown once and set {secret} to it.",
    ),
    answer="2xx within 5 s, 4xx but 429 is final; retried 4 times over 20 min",
    schedule=Schedule(
        spread=(4, 20 * MINUTE),
        limit=5.0,
        stop_statuses=CLIENT_ERRORS,
        source="https://developer.pagerduty.com/docs/webhooks-overview",
    ),
    secret_env=("PAGERDUTY_WEBHOOK_SECRET",),
    # Several v1 come while a secret is changed, and any may match:
    # https://developer.pagerduty.com/docs/webhooks-overview
    schemes=(
        Hmac(
            signed=template("{body}"),
            place=InHeader("X-PagerDuty-Signature"),
            layout=Items(separator=b",", equals=b"=", sig=b"v1", emit=b"v1={sig}"),
        ),
    ),
    event_type=body("event", "event_type"),
    idempotency_key=body("event", "id"),
    summary=body("event", "data", "title"),
    companions=(("User-Agent", "PagerDuty-Webhook/V3.0"), ("X-Webhook-Id", "${uuid}")),
)

LAUNCHDARKLY = Provider(
    name="launchdarkly",
    title="LaunchDarkly",
    monogram="Ld",
    docs="https://launchdarkly.com/docs/integrations/webhooks",
    steps=(
        "Open Integrations, Webhooks in LaunchDarkly and add one.",
        "Paste {url} as the URL and have payloads signed.",
        "Copy the secret and set {secret} to it.",
    ),
    secret_env=("LAUNCHDARKLY_WEBHOOK_SECRET",),
    # Bare hex of the body, and no time: https://launchdarkly.com/docs/integrations/webhooks
    schemes=(body_hmac("X-LD-Signature"),),
    # kind alone (flag, project) would lump together what titleVerb tells apart.
    event_type=join(".", body("kind"), body("titleVerb")),
    idempotency_key=body("_id"),
    summary=body("name"),
)

WORKOS = Provider(
    name="workos",
    title="WorkOS",
    monogram="Wo",
    docs="https://workos.com/docs/events/data-syncing/webhooks",
    steps=(
        "Open Developer, Webhooks in the WorkOS dashboard and create an endpoint.",
        "Paste {url} as the endpoint URL and choose the events.",
        "Copy the secret and set {secret} to it.",
    ),
    secret_env=("WORKOS_WEBHOOK_SECRET",),
    # The Node library reads the body as JSON and writes it again before it compares (8.13.0); relay takes the
    # bytes as they came, as the Python one does.
    schemes=(
        # Milliseconds, and a space after the comma. workos 10.8.0 limits the age both ways.
        Hmac(
            signed=template("{ts}.{body}"),
            place=InHeader("WorkOS-Signature"),
            layout=Items(separator=b",", equals=b"=", sig=b"v1", ts=b"t", emit=b"t={ts}, v1={sig}", trim=True),
            time=Time(unit="ms", past=180, future=180),
        ),
    ),
    event_type=body("event"),
    idempotency_key=body("id"),
    summary=first_of(body("data", "email"), body("data", "name"), body("data", "id")),
)

AUTH0 = Provider(
    name="auth0",
    title="Auth0 log streams",
    monogram="A0",
    docs="https://auth0.com/docs/customize/log-streams/custom-log-streams",
    steps=(
        "Open Monitoring, Streams in Auth0 and create a custom webhook.",
        "Paste {url} as the payload URL with an authorization token of your own.",
        "Set {secret} to the same token.",
    ),
    secret_env=("AUTH0_LOG_STREAM_TOKEN",),
    # The whole value of Authorization is the token, with whatever word the owner put before it.
    schemes=(SharedToken(place=InHeader("Authorization")),),
    event_type=body(0, "data", "type"),
    # A stream sends its logs in batches, as a JSON array:
    # https://auth0.com/docs/customize/log-streams/custom-log-streams
    items=LIST,
    idempotency_key=each_item((), ("log_id",)),
    summary=body(0, "data", "user_name"),
)

PLATFORMS = (VERCEL, HEROKU, CIRCLECI, BUILDKITE, SENTRY, PAGERDUTY, LAUNCHDARKLY, WORKOS, AUTH0)
