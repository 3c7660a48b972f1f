"""Chat, calls and video: Discord, Telegram, Meta, WhatsApp, X, Zoom, Twitch."""

import dataclasses

from relay.model.request_items import ItemPaths
from relay.providers import challenges
from relay.providers.derived_extractors import body_digest, each_item, first_key, lookup, only_single, text_if
from relay.providers.extractors import add_prefix, body, first_of, header, join, join_key
from relay.providers.provider import MINUTE, Provider, Schedule
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import KeyFormat, Prefix
from relay.providers.schemes.locations import InHeader
from relay.providers.schemes.public_key import Ed25519
from relay.providers.schemes.shared_secret import SharedToken, header_hmac
from relay.providers.schemes.timestamps import Time

DISCORD = Provider(
    name="discord",
    docs="https://docs.discord.com/developers/interactions/overview",
    steps="""Open your application in the Discord Developer Portal.
    Paste {url} as the interactions endpoint URL, or under Webhooks.
    Copy the public key from General Information and set {secret} to it.""",
    # https://docs.discord.com/developers/interactions/overview: 401 to a bad signature is checked when the
    # address is saved.
    answer="200 or 204 within 3 s, 401 to a bad signature",
    challenges=challenges.DISCORD_CHALLENGES,
    secret_env=("DISCORD_PUBLIC_KEY",),
    # The hex is decoded before it is compared, so its case does not matter. Discord sends bad signatures on
    # purpose and unregisters an address that accepts one.
    schemes=(
        # No library checks the age (discord-interactions 0.4.0 for Python, 4.4.0 for JS).
        Ed25519(
            key=KeyFormat(form="hex"),
            signed=template("{ts}{body}"),
            place=InHeader("X-Signature-Ed25519"),
            time=Time(place=InHeader("X-Signature-Timestamp")),
        ),
    ),
    # Interactions have a number for a type; Webhook Events, on the same keys, wrap a named event in an outer
    # type 0 or 1.
    event_type=first_of(
        "event.type", lookup("type", "0 ping", "1 ping", "2 command", "3 component", "4 autocomplete", "5 modal")
    ),
    idempotency_key=body("id"),
    summary=first_of(add_prefix("/", "data.name"), "data.custom_id", "event.data.user.username", "application_id"),
    companions=(("User-Agent", "Discord-Interactions/1.0 (+https://discord.com)"),),
)

TELEGRAM = Provider(
    name="telegram",
    docs="https://core.telegram.org/bots/api#setwebhook",
    steps="""Call setWebhook of the Bot API with {url} and a secret_token of your own.
    Set {secret} to the same token.""",
    # The answer may call one method of the Bot API: https://core.telegram.org/bots/api#setwebhook
    answer="2xx, its body may hold one Bot API call; retried for a while",
    secret_env=("TELEGRAM_SECRET_TOKEN",),
    # The token that setWebhook was given, 1 to 256 of A-Z, a-z, 0-9, _ and -; it is shown, nothing is signed
    # (aiogram 3.31.0).
    schemes=(SharedToken(place=InHeader("X-Telegram-Bot-Api-Secret-Token")),),
    # An update has its number and one further key, which says what it is: message, callback_query, and so on.
    event_type=first_key("update_id"),
    idempotency_key=body("update_id"),
    summary=first_of("message.text", "callback_query.data", "inline_query.query"),
)

_META_CHANGE = "entry.0.changes.0"
META = Provider(
    name="meta",
    docs="https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
    steps="""Open your app in Meta for Developers, Webhooks.
    Paste {url} as the callback URL with a verify token of your own.
    Set {secret} to the app secret.""",
    answer="200 within 5 s; retried for 36 h",
    challenges=challenges.META_CHALLENGES,
    secret_env=("META_APP_SECRET",),
    verify_token_env=("META_VERIFY_TOKEN",),
    # X-Hub-Signature-256 is GitHub's as well, so a request alone does not tell that it is Meta's.
    recognise=(),
    # The text in the body comes \u-escaped, and that is what is signed: the bytes as sent, not the JSON written
    # again (pywa 4.5.0).
    schemes=(header_hmac("X-Hub-Signature-256", layout=Prefix(b"sha256=")),),
    # Pages and Instagram send messaging for a conversation that is the app's, standby for one of another app:
    # https://developers.facebook.com/docs/graph-api/webhooks/getting-started
    event_type=join(
        ".",
        "object",
        first_of(
            f"{_META_CHANGE}.field",
            text_if("entry.0.messaging.0.sender.id", "messaging"),
            text_if("entry.0.standby.0.sender.id", "standby"),
        ),
    ),
    # One request may hold changes of several pages and accounts; each of the three lists is a product of its own.
    items=ItemPaths(
        (("entry", None, "changes", None), ("entry", None, "messaging", None), ("entry", None, "standby", None))
    ),
    summary=body("entry.0.id"),
    companions=(("User-Agent", "Webhooks/1.0 (https://fb.me/webhooks)"),),
)

# An app of Meta's, whose requests are signed and made like those of its other products.
WHATSAPP = dataclasses.replace(
    META,
    name="whatsapp",
    title="WhatsApp",
    monogram="Wa",
    docs="https://developers.facebook.com/docs/whatsapp/cloud-api/guides/set-up-webhooks",
    steps="""Open your app in Meta for Developers, WhatsApp, Configuration.
    Paste {url} as the callback URL with a verify token of your own.
    Set {secret} to the app secret.""",
    answer="200 within 5 s; retried for 7 days",
    secret_env=("WHATSAPP_APP_SECRET", "META_APP_SECRET"),
    verify_token_env=("WHATSAPP_VERIFY_TOKEN", "META_VERIFY_TOKEN"),
    # A request may hold several messages or statuses, and a message to a group has a status for each reader. What
    # holds several changes has no key: what was put together once may come in another company the next time.
    # https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples
    idempotency_key=only_single(
        join(
            "-",
            each_item(f"{_META_CHANGE}.value.messages", "id"),
            each_item(
                f"{_META_CHANGE}.value.statuses",
                *("id", "status", "timestamp?", "recipient_id?", "recipient_participant_id?"),
            ),
        ),
        *("entry", "entry.0.changes"),
    ),
    summary=first_of(
        f"{_META_CHANGE}.value.messages.0.text.body",
        f"{_META_CHANGE}.value.messages.0.type",
        f"{_META_CHANGE}.value.statuses.0.status",
    ),
)

X = Provider(
    name="x",
    monogram="Xx",
    docs="https://docs.x.com/x-api/webhooks/introduction",
    steps="""Register {url} as a webhook through the X API, then subscribe to an account's activity.
    Set {secret} to the app's consumer secret.""",
    challenges=challenges.X_CHALLENGES,
    secret_env=("TWITTER_CONSUMER_SECRET", "X_CONSUMER_SECRET"),
    # The consumer secret of the app signs, in base64 behind a prefix that announces hex elsewhere.
    schemes=(header_hmac("x-twitter-webhooks-signature", layout=Prefix(b"sha256="), encoding="base64"),),
    event_type=first_key("", "_events"),
    # https://docs.x.com/x-api/account-activity/introduction
    items=ItemPaths(
        tuple(
            (f"{kind}_events", None)
            for kind in (
                *("tweet_create", "tweet_delete", "favorite", "follow", "block", "mute", "direct_message"),
                *("direct_message_indicate_typing", "direct_message_mark_read"),
            )
        )
    ),
    # The id of the account whose activity was subscribed to.
    summary=body("for_user_id"),
)

ZOOM = Provider(
    name="zoom",
    docs="https://developers.zoom.us/docs/api/webhooks/",
    steps="""Open your app in the Zoom App Marketplace, Features, Event subscriptions.
    Paste {url} as the endpoint URL and validate it.
    Copy the secret token and set {secret} to it.""",
    answer="200 or 204 within 3 s; retried 3 times: after 5, 20 and 60 min",
    schedule=Schedule(
        waits=(5 * MINUTE, 20 * MINUTE, 60 * MINUTE), limit=3.0, source="https://developers.zoom.us/blog/webhook-delays"
    ),
    challenges=challenges.ZOOM_CHALLENGES,
    secret_env=("ZOOM_WEBHOOK_SECRET_TOKEN",),
    # Zoom's sample signs JSON written again; Zoom sends it compact, so the raw bytes agree:
    # https://developers.zoom.us/docs/api/webhooks/
    schemes=(
        # Neither Zoom's library (rivet 0.4.0) nor its sample looks at the age.
        header_hmac(
            "x-zm-signature", "v0:{ts}:{body}", Prefix(b"v0="), time=Time(place=InHeader("x-zm-request-timestamp"))
        ),
    ),
    event_type=body("event"),
    # A meeting reports each participant and each registrant, several in one millisecond. What is about users
    # and chats has no uuid. https://developers.zoom.us/docs/api/meetings/events/
    idempotency_key=join_key(
        "event",
        "event_ts",
        first_of("payload.object.uuid", body_digest()),
        first_of("payload.object.participant.user_id", "payload.object.registrant.id?"),
        "payload.object.participant.participant_uuid?",
    ),
    summary=body("payload.object.topic"),
    companions=(("User-Agent", "Zoom Marketplace/1.0a"),),
)

TWITCH = Provider(
    name="twitch",
    title="Twitch EventSub",
    monogram="Tv",
    docs="https://dev.twitch.tv/docs/eventsub/handling-webhook-events/",
    steps="""Create an EventSub subscription through Twitch's API with {url} as its callback.
    Set {secret} to the secret you sent along.""",
    answer="2xx within a few seconds; retried a few times, then revoked",
    challenges=challenges.TWITCH_CHALLENGES,
    secret_env=("TWITCH_EVENTSUB_SECRET",),
    # Id, time and body without anything between them; the time is the RFC 3339 text as it came. Older than ten
    # minutes is to be dropped (twurple 8.1.4, twitchAPI 4.5.0).
    schemes=(
        header_hmac(
            "Twitch-Eventsub-Message-Signature",
            "{id}{ts}{body}",
            Prefix(b"sha256="),
            ident=InHeader("Twitch-Eventsub-Message-Id"),
            time=Time(place=InHeader("Twitch-Eventsub-Message-Timestamp"), unit="iso", past=600),
        ),
    ),
    # A revocation, too, names the subscription's type; Twitch-Eventsub-Message-Type tells it apart.
    event_type=header("Twitch-Eventsub-Subscription-Type"),
    # Of drops alone: https://dev.twitch.tv/docs/eventsub/eventsub-reference/#drop-entitlement-grant-event
    items=ItemPaths((("events", None),)),
    # Twitch promises at least once, and the id stays the same:
    # https://dev.twitch.tv/docs/eventsub/handling-webhook-events/
    idempotency_key=header("Twitch-Eventsub-Message-Id"),
    summary=body("event.broadcaster_user_name"),
    companions=(
        ("Twitch-Eventsub-Message-Id", "${uuid}"),
        ("Twitch-Eventsub-Message-Retry", "0"),
        ("Twitch-Eventsub-Message-Type", "notification"),
        ("Twitch-Eventsub-Subscription-Type", "${type}"),
        ("Twitch-Eventsub-Subscription-Version", "1"),
    ),
)

MESSAGING = (DISCORD, TELEGRAM, META, WHATSAPP, X, ZOOM, TWITCH)
