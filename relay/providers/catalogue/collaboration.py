"""Where people plan, write and keep files: Linear, Jira, Asana, Trello, Notion, Airtable, Figma, Dropbox, Box."""

from relay.model.request_items import ItemPaths
from relay.providers import challenges
from relay.providers.derived_extractors import text_if
from relay.providers.extractors import body, constant, first_of, form, header, join, join_key, optional, summarize
from relay.providers.provider import HOUR, MINUTE, ONLY_200, OtherCredential, Provider, Schedule
from relay.providers.schemes.encoding import KeyFormat, Prefix
from relay.providers.schemes.locations import InEveryHeader, InHeader, InJson
from relay.providers.schemes.shared_secret import SharedToken, header_hmac
from relay.providers.schemes.timestamps import Time
from relay.providers.schemes.vendor_schemes import Contentful

LINEAR = Provider(
    name="linear",
    docs="https://linear.app/developers/webhooks",
    steps="""Open Settings, API in Linear and add a webhook.
    Paste {url} as the URL and choose the events.
    Copy the signing secret and set {secret} to it.""",
    answer="200 within 5 s; retried 3 times: after 1 min, 1 h, 6 h",
    schedule=Schedule(
        waits=(MINUTE, HOUR, 6 * HOUR), limit=5.0, success_statuses=ONLY_200, then="the webhook may be disabled"
    ),
    other_credential=OtherCredential(("lin_api_", "lin_oauth_"), "an API key", "the signing secret of the webhook"),
    recognise=("Linear-Signature", "Linear-Event"),
    # A body without webhookTimestamp, or with a text in its place, is refused, as the SDK does. A replay
    # therefore gets a new time in its body before it is signed.
    schemes=(
        # The age comes from the body, not from Linear-Timestamp (linear-sdk 98.0.0).
        header_hmac(
            "Linear-Signature",
            time=Time(
                place=InJson(("webhookTimestamp",), number=True),
                unit="ms",
                past=60,
                future=60,
                copy=InHeader("Linear-Timestamp"),
            ),
        ),
    ),
    event_type=join(".", first_of("type", header("Linear-Event")), "action"),
    idempotency_key=header("Linear-Delivery"),
    summary=summarize(
        first_of("data.identifier", "data.issue.identifier", "data.name"), first_of("data.title", "data.body")
    ),
    content_type="application/json; charset=utf-8",
    # Linear-Timestamp is sent and not signed.
    companions=(
        ("User-Agent", "Linear-Webhook"),
        ("Linear-Delivery", "${uuid}"),
        ("Linear-Event", "${event}"),
        ("Linear-Timestamp", "${unix_ms}"),
    ),
)

JIRA = Provider(
    name="jira",
    docs="https://developer.atlassian.com/cloud/jira/platform/webhooks/",
    steps="""Open Settings, System, WebHooks in Jira and create a webhook.
    Paste {url} as the URL.
    Enter a secret of your own, without which Jira does not sign, and set {secret} to the same.""",
    # X-Hub-Signature is shared with Bitbucket and Intercom.
    recognise=("X-Atlassian-Webhook-Identifier",),
    # Only webhooks with a secret are signed, and the form is WebSub's:
    # https://developer.atlassian.com/cloud/jira/platform/webhooks/
    schemes=(header_hmac("X-Hub-Signature", layout=Prefix(b"sha256=")),),
    event_type=body("webhookEvent"),
    # The identifier stays the same on a retry, which X-Atlassian-Webhook-Retry counts.
    idempotency_key=header("X-Atlassian-Webhook-Identifier"),
    summary=summarize("issue.key", "issue.fields.summary"),
    companions=(("User-Agent", "Atlassian Webhook HTTP Client"), ("X-Atlassian-Webhook-Identifier", "${uuid}")),
)

ASANA = Provider(
    name="asana",
    docs="https://developers.asana.com/docs/webhooks-guide",
    steps="""Create a webhook through Asana's API with {url} as its target.
    Set {secret} to the X-Hook-Secret of its handshake.""",
    answer="200 or 204 within 10 s; retried for 24 h",
    challenges=challenges.ASANA_CHALLENGES,
    recognise=("X-Hook-Signature", "X-Hook-Secret"),
    # The key is the X-Hook-Secret that came with the handshake, one for each webhook:
    # https://developers.asana.com/docs/webhooks-guide
    schemes=(header_hmac("X-Hook-Signature"),),
    # An empty list of events is a heartbeat.
    event_type=first_of(join(".", "events.0.resource.resource_type", "events.0.action"), constant("heartbeat")),
    # Events come in batches, with no id of the request: nothing says that one is a repetition.
    items=ItemPaths((("events", None),)),
    summary=body("events.0.resource.gid"),
)

TRELLO = Provider(
    name="trello",
    docs="https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/",
    steps="""Create a webhook through Trello's API with {url} as its callback URL: the address is signed.
    Set {secret} to the secret of your Power-Up.""",
    challenges=challenges.HEAD_CHALLENGES,
    secret_env=("TRELLO_API_SECRET",),
    # Body first, then the callback URL as it was given to the API; SHA-1 with the secret of the Power-Up as its key.
    schemes=(header_hmac("X-Trello-Webhook", "{body}{url}", algo="sha1", encoding="base64"),),
    event_type=body("action.type"),
    idempotency_key=body("action.id"),
    summary=summarize("action.data.board.name", "action.data.card.name"),
)

NOTION = Provider(
    name="notion",
    docs="https://developers.notion.com/reference/webhooks",
    steps="""Open your integration in Notion, Webhooks, and create a subscription.
    Paste {url} as the webhook URL.
    Set {secret} to the token of the first request, and paste it in Notion too.""",
    challenges=challenges.NOTION_CHALLENGES,
    secret_env=("NOTION_WEBHOOK_VERIFICATION_TOKEN",),
    # notion-client 5.26.0 compares the digest in lower case.
    # The key is the verification token of the first request, which was not signed itself.
    schemes=(header_hmac("X-Notion-Signature", layout=Prefix(b"sha256="), any_case=True),),
    event_type=body("type"),
    # The id is the event's; attempt_number beside it counts up.
    idempotency_key=body("id"),
    summary=summarize("entity.type", "entity.id"),
)

AIRTABLE = Provider(
    name="airtable",
    monogram="At",
    docs="https://airtable.com/developers/web/api/webhooks-overview",
    steps="""Create a webhook through Airtable's API with {url} as its notification URL.
    Set {secret} to the macSecretBase64 of the answer.""",
    # The key is base64 that is decoded first (macSecretBase64), as in pyairtable 3.5.
    schemes=(header_hmac("X-Airtable-Content-MAC", layout=Prefix(b"hmac-sha256="), key=KeyFormat(form="base64")),),
    # The request is a ping without data; the app has to ask for the changes.
    event_type=constant("changed"),
    idempotency_key=join_key("webhook.id", "timestamp"),
    summary=body("base.id"),
)

FIGMA = Provider(
    name="figma",
    docs="https://developers.figma.com/docs/rest-api/webhooks/",
    steps="""Create a webhook through Figma's API with {url} as its endpoint and a passcode of your own.
    Set {secret} to the same passcode.""",
    answer="200; retried 3 times: after 5 min, 30 min, 3 h",
    schedule=Schedule(waits=(5 * MINUTE, 30 * MINUTE, 3 * HOUR), success_statuses=ONLY_200),
    secret_env=("FIGMA_WEBHOOK_PASSCODE",),
    # Nothing is signed: the passcode is in the body, so a request that is seen once can be made again.
    schemes=(SharedToken(place=InJson(("passcode",))),),
    # FILE_UPDATE, FILE_COMMENT and so on; PING is sent when a webhook is made.
    event_type=body("event_type"),
    # Several files and comments of a team may change within the second that the time tells; `retries` counts up.
    # https://developers.figma.com/docs/rest-api/webhooks-events/
    idempotency_key=join_key(
        "webhook_id",
        "event_type",
        "timestamp",
        "file_key?",
        optional(first_of("comment_id", "version_id", "node_id")),
        "triggered_by.id?",
    ),
    summary=body("file_name"),
)

DROPBOX = Provider(
    name="dropbox",
    monogram="Db",
    docs="https://www.dropbox.com/developers/reference/webhooks",
    steps="""Open your app in the Dropbox App Console, Webhooks.
    Paste {url} as the webhook URI.
    Set {secret} to the app secret.""",
    answer="2xx within 10 s; retried",
    challenges=challenges.DROPBOX_CHALLENGES,
    secret_env=("DROPBOX_APP_SECRET",),
    # Bare hex of the body with the app's secret as its key, and no time.
    schemes=(header_hmac("X-Dropbox-Signature"),),
    # The request names the accounts and says nothing of what changed:
    # https://www.dropbox.com/developers/reference/webhooks
    event_type=constant("accounts.changed"),
    summary=body("list_folder.accounts.0"),
)

CONTENTFUL = Provider(
    name="contentful",
    monogram="Cf",
    docs="https://www.contentful.com/developers/docs/webhooks/request-verification/",
    steps="""Open Settings, Webhooks of the space in Contentful and add a webhook.
    Paste {url} as the URL: its path is signed.
    Enable request verification under Settings and set {secret} to the secret.""",
    recognise=("x-contentful-signature", "X-Contentful-Topic"),
    content_type="application/vnd.contentful.management.v1+json",
    # The headers that count are listed in the request itself; the time is in milliseconds and may be 30 s old
    # (apps-toolkit 3.16.1).
    schemes=(Contentful(),),
    event_type=header("X-Contentful-Topic"),
    idempotency_key=header("X-Contentful-Idempotency-Key"),
    summary=summarize("sys.contentType.sys.id", "sys.id"),
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

BOX = Provider(
    name="box",
    monogram="Bx",
    docs="https://developer.box.com/guides/webhooks/v2/signatures-v2/",
    steps="""Open your app in the Box developer console, Webhooks, and create a webhook.
    Paste {url} as the URL address.
    Generate both signature keys and set {secret} to the primary one.
    Name both under the source: secret = ["env:BOX_PRIMARY_KEY", "env:BOX_SECONDARY_KEY"].""",
    # Each of the two headers is signed with a key of its own, so that one can be rotated.
    secret_env=("BOX_PRIMARY_KEY", "BOX_SECONDARY_KEY"),
    recognise=("BOX-SIGNATURE-PRIMARY", "BOX-DELIVERY-ID"),
    schemes=(
        # boxsdk 10.18.0: ten minutes back and not a second ahead; either header may match.
        header_hmac(
            InEveryHeader("BOX-SIGNATURE-PRIMARY", "BOX-SIGNATURE-SECONDARY"),
            "{body}{ts}",
            encoding="base64",
            time=Time(place=InHeader("BOX-DELIVERY-TIMESTAMP"), unit="iso", past=600, future=0),
            expects=(("BOX-SIGNATURE-VERSION", "1"), ("BOX-SIGNATURE-ALGORITHM", "HmacSHA256")),
        ),
    ),
    event_type=body("trigger"),
    # A further attempt has another delivery id and the same id in its body:
    # https://developer.box.com/guides/webhooks/v2/
    idempotency_key=body("id"),
    summary=body("source.name"),
    companions=(
        ("BOX-DELIVERY-ID", "${uuid}"),
        ("BOX-SIGNATURE-VERSION", "1"),
        ("BOX-SIGNATURE-ALGORITHM", "HmacSHA256"),
    ),
)

COLLABORATION = (LINEAR, JIRA, ASANA, TRELLO, NOTION, AIRTABLE, FIGMA, DROPBOX)


SLACK = Provider(
    name="slack",
    docs="https://docs.slack.dev/authentication/verifying-requests-from-slack/",
    steps="""Open your app on api.slack.com/apps, Event Subscriptions, and turn events on.
    Paste {url} as the request URL; also under Interactivity and Slash Commands if you use them.
    Copy the signing secret from Basic Information and set {secret} to it.""",
    answer="2xx within 3 s; retried 3 times: at once, after 1 min, after 5 min",
    # What a command or an interaction is answered with is shown to its user, or called an error; an empty
    # body says nothing. https://docs.slack.dev/interactivity/implementing-slash-commands
    form_answer="",
    schedule=Schedule(
        waits=(0.0, MINUTE, 5 * MINUTE),
        limit=3.0,
        stop_header=("X-Slack-No-Retry", "1"),
        retry_headers=(("X-Slack-Retry-Num", "{n}"), ("X-Slack-Retry-Reason", "{reason}")),
        source="https://docs.slack.dev/apis/events-api/#retries",
    ),
    challenges=challenges.SLACK_CHALLENGES,
    secret_env=("SLACK_SIGNING_SECRET",),
    other_credential=OtherCredential(("xoxb-", "xoxp-", "xapp-"), "a token", "the signing secret of Basic Information"),
    recognise=("X-Slack-Signature", "X-Slack-Request-Timestamp"),
    schemes=(
        # slack_sdk 3.47.0 refuses times more than 300 s off in both directions, bolt-js only old ones.
        header_hmac(
            "X-Slack-Signature",
            "v0:{ts}:{body}",
            Prefix(b"v0="),
            time=Time(place=InHeader("X-Slack-Request-Timestamp"), past=300, future=300),
        ),
    ),
    # Three kinds of requests share the address: events (JSON), commands (a form) and interactions (a form whose
    # payload is JSON).
    event_type=first_of("event.type", text_if(form("command"), "command"), "type"),
    # Events have an id of their own; a command or an interaction is told apart by its trigger_id, which is used once.
    idempotency_key=first_of("event_id", form("trigger_id"), "trigger_id"),
    summary=first_of(
        join(" ", form("command"), form("text")),
        "actions.0.action_id",
        "view.callback_id",
        "event.text",
        "event.reaction",
        "event.channel.name",
        "event.user.name",
        "event.channel",
        "event.user",
    ),
    companions=(("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)"), ("Accept", "*/*")),
)
