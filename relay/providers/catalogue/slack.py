"""Slack: `v0=...` over the time and the body; events are JSON, commands and interactions forms."""

from relay.providers.provider import Provider, body, first, form, joined, when
from relay.providers.schemes import Hmac, InHeader, Prefix, Time, template

SLACK = Provider(
    name="slack",
    title="Slack",
    monogram="Sl",
    docs="https://docs.slack.dev/authentication/verifying-requests-from-slack/",
    steps=(
        "Open your app on api.slack.com/apps, Event Subscriptions, and turn events on.",
        "Paste {url} as the request URL; also under Interactivity and Slash Commands if you use them.",
        "Copy the signing secret from Basic Information and set SLACK_SIGNING_SECRET to it.",
    ),
    answer="2xx within 3 s; retried 3 times: at once, after 1 min, after 5 min",
    # What a command or an interaction is answered with is shown to its user, or called an error; an empty
    # body says nothing. https://docs.slack.dev/interactivity/implementing-slash-commands
    form_answer="",
    secret_env=("SLACK_SIGNING_SECRET",),
    recognise=("X-Slack-Signature", "X-Slack-Request-Timestamp"),
    schemes=(
        # slack_sdk 3.47.0 refuses times more than 300 s off in both directions, bolt-js only old ones.
        Hmac(
            signed=template("v0:{ts}:{body}"),
            place=InHeader("X-Slack-Signature"),
            layout=Prefix(b"v0="),
            time=Time(place=InHeader("X-Slack-Request-Timestamp"), past=300, future=300),
        ),
    ),
    event_type=first(
        body("event", "type"),
        when(form("command"), "command"),
        body("type"),
    ),
    idempotency_key=first(body("event_id"), form("trigger_id"), body("trigger_id")),
    summary=first(
        joined(" ", form("command"), form("text")),
        body("actions", 0, "action_id"),
        body("view", "callback_id"),
        body("event", "text"),
        body("event", "reaction"),
        body("event", "channel", "name"),
        body("event", "user", "name"),
        body("event", "channel"),
        body("event", "user"),
    ),
    companions=(("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)"), ("Accept", "*/*")),
)
