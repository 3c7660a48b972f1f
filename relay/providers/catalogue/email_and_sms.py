"""Who sends mail for others: SendGrid, Mailgun, Postmark, Mandrill, Customer.io, Brevo."""

import dataclasses

from relay.model.request_items import LIST, ItemPaths
from relay.providers.catalogue import message_statuses
from relay.providers.challenges import MANDRILL_CHALLENGES
from relay.providers.derived_extractors import each_item, short_id, text_if
from relay.providers.extractors import add_prefix, body, first_of, form, header, join, join_key, optional, summarize
from relay.providers.provider import CLIENT_ERRORS, DAY, HOUR, MINUTE, ONLY_200, OtherCredential, Provider, Schedule
from relay.providers.schemes.content import BodyHash, template
from relay.providers.schemes.encoding import Prefix
from relay.providers.schemes.locations import InForm, InHeader, InJson
from relay.providers.schemes.public_key import Ecdsa
from relay.providers.schemes.shared_secret import Basic, Hmac, SharedToken, header_hmac
from relay.providers.schemes.timestamps import Time

SENDGRID = Provider(
    name="sendgrid",
    title="SendGrid",
    docs="https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event",
    steps="""Open Settings, Mail settings, Event webhooks in SendGrid and create a webhook.
    Paste {url} as the post URL and switch the signed event webhook on.
    Copy the verification key and set {secret} to it.""",
    answer="2xx; retried for 24 h",
    schedule=Schedule(spread=(10, DAY)),
    # A public key: SPKI in base64.
    secret_env=("SENDGRID_WEBHOOK_PUBLIC_KEY", "SENDGRID_WEBHOOK_VERIFICATION_KEY"),
    schemes=(
        # No library checks the age (sendgrid 6.12.5, eventwebhook-js 8.0.0).
        Ecdsa(
            signed=template("{ts}{body}"),
            place=InHeader("X-Twilio-Email-Event-Webhook-Signature"),
            time=Time(place=InHeader("X-Twilio-Email-Event-Webhook-Timestamp")),
        ),
    ),
    event_type=body("0.event"),
    items=LIST,
    idempotency_key=each_item("", "sg_event_id"),
    summary=summarize("0.email", first_of("0.reason", "0.url")),
    companions=(("User-Agent", "SendGrid Event API"),),
    # The body is an array with CRLF behind it, which is signed: what trims it breaks the signature.
    ending=b"\r\n",
    message_status=message_statuses.SENDGRID_STATUSES,
)

MAILGUN = Provider(
    name="mailgun",
    monogram="Mg",
    docs="https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhooks",
    steps="""Open Sending, Webhooks of your domain in Mailgun and add a webhook.
    Paste {url} as the URL.
    Copy the HTTP webhook signing key and set {secret} to it; it is not the API key.""",
    answer="200 within 10 s, 406 stops it; retried 6 times over 8 h",
    schedule=Schedule(
        waits=(5 * MINUTE, 10 * MINUTE, 15 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
        limit=10.0,
        success_statuses=ONLY_200,
        stop_statuses=frozenset({406}),
        source="https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-retries",
    ),
    # The HTTP webhook signing key; on old accounts alone it is also the API key.
    secret_env=("MAILGUN_WEBHOOK_SIGNING_KEY",),
    # Five minutes both ways is what mailgun 1.10.0 for Python checks; older libraries check no age at all.
    # Forms are how webhooks came before 2018.
    schemes=(
        # The event itself is not signed: only the time and a token beside it are.
        header_hmac(
            InJson(("signature", "signature")),
            "{json:signature.timestamp}{json:signature.token}",
            name="json",
            time=Time(place=InJson(("signature", "timestamp")), past=300, future=300),
        ),
        header_hmac(
            InForm("signature"),
            "{form:timestamp}{form:token}",
            name="form",
            time=Time(place=InForm("timestamp"), past=300, future=300),
        ),
    ),
    event_type=first_of("event-data.event", form("event")),
    # An id is unique within a day, so the event's time belongs to it; the time beside the signature is another one.
    # https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
    idempotency_key=first_of(join_key("event-data.id", "event-data.timestamp?"), form("token")),
    summary=first_of("event-data.recipient", form("recipient")),
    companions=(("User-Agent", "mailgun/treq-25.5.0"),),
    message_status=message_statuses.MAILGUN_STATUSES,
)

POSTMARK = Provider(
    name="postmark",
    monogram="Pm",
    docs="https://postmarkapp.com/developer/webhooks/webhooks-overview",
    steps="""Open your server in Postmark, Webhooks, and add a webhook.
    Paste {url} as the webhook URL with a user and password under basic auth.
    Set {secret} to user:password.""",
    answer="200, 403 stops it; retried 10 times over 10 h",
    schedule=Schedule(
        waits=(MINUTE, 5 * MINUTE, *[10 * MINUTE] * 3, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR),
        success_statuses=ONLY_200,
        stop_statuses=frozenset({403}),
        source="https://postmarkapp.com/support/article/understanding-inbound-webhook-retries-in-postmark",
    ),
    secret_env=("POSTMARK_WEBHOOK_AUTH",),
    # Postmark signs nothing: user and password in the address are all that proves the sender.
    schemes=(Basic(),),
    # A mail that came in has no RecordType: https://postmarkapp.com/developer/webhooks/inbound-webhook
    event_type=first_of("RecordType", text_if("FromFull.Email", "Inbound")),
    # Bounces and complaints alone have an id; the other reports differ by their time, clicks also by their link:
    # https://postmarkapp.com/developer/webhooks/click-webhook
    idempotency_key=first_of(
        join_key("RecordType", "MessageID", "ID"),
        join_key(
            "RecordType",
            "MessageID",
            "Recipient",
            first_of("DeliveredAt", "ReceivedAt", "ChangedAt"),
            "OriginalLink?",
            "ClickLocation?",
            "SuppressSending?",
        ),
        join_key("FromFull.Email", "MessageID"),
    ),
    summary=first_of("Recipient", "Email", "From"),
    companions=(("User-Agent", "Postmark"),),
    message_status=message_statuses.POSTMARK_STATUSES,
)

MANDRILL = Provider(
    name="mandrill",
    docs="https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/",
    steps="""Open Settings, Webhooks in Mandrill and add a webhook.
    Paste {url} as the post URL, exactly like that: the address is signed.
    Copy the key and set {secret} to it.""",
    challenges=MANDRILL_CHALLENGES,
    secret_env=("MANDRILL_WEBHOOK_KEY",),
    content_type="application/x-www-form-urlencoded",
    # SHA-1 over the address as typed, user and password included, and the one field of the form with its name
    # (anymail 15.2). Without a webhook, as while it is set up, the key is the text test-webhook.
    schemes=(header_hmac("X-Mandrill-Signature", "{url}{form_sorted}", algo="sha1", encoding="base64"),),
    # What became of a message, or that a rule of the deny list was added; an empty list is Mandrill's check.
    # https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/
    event_type=first_of("0.event", join(".", "0.type", "0.action"), text_if(form("mandrill_events"), "events")),
    items=ItemPaths(((None,),), form="mandrill_events"),
    companions=(("User-Agent", "Mandrill-Webhook/1.0"),),
)

CUSTOMERIO = Provider(
    name="customerio",
    title="Customer.io",
    monogram="Ci",
    docs="https://docs.customer.io/journeys/webhooks/",
    steps="""Open Data and integrations, Reporting webhooks in Customer.io and add a webhook.
    Paste {url} as the endpoint.
    Copy the signing key and set {secret} to it.""",
    secret_env=("CUSTOMERIO_WEBHOOK_SIGNING_KEY",),
    # Slack's text with its v0, but without the v0= before the hex in the header. How old a request may be is
    # not documented, so nothing is limited: https://docs.customer.io/journeys/webhooks/
    schemes=(header_hmac("X-CIO-Signature", "v0:{ts}:{body}", time=Time(place=InHeader("X-CIO-Timestamp"))),),
    event_type=join(".", "object_type", "metric"),
    idempotency_key=body("event_id"),
    summary=first_of("data.recipient", "data.identifiers.email"),
)

BREVO = Provider(
    name="brevo",
    monogram="Bv",
    docs="https://developers.brevo.com/docs/username-and-password-authentication",
    steps="""Open Settings, Webhooks in Brevo and add a webhook with an authentication method.
    Paste {url} as the URL to call.
    Set {secret} to the token, or to user:password for basic authentication.""",
    schedule=Schedule(
        waits=(10 * MINUTE, HOUR, 2 * HOUR, 8 * HOUR),
        stop_statuses=CLIENT_ERRORS,
        source="https://developers.brevo.com/docs/retry-mechanism",
    ),
    secret_env=("BREVO_WEBHOOK_TOKEN",),
    # Nothing is signed: a token, or user and password, whichever the webhook was made with.
    schemes=(Basic(name="basic"), SharedToken(name="token", place=InHeader("Authorization"), prefix="Bearer ")),
    # https://developers.brevo.com/docs/batched-webhooks
    event_type=first_of("event", "0.event"),
    items=LIST,
    # The id is the webhook's, recipients share a message-id, and times are seconds:
    # https://developers.brevo.com/docs/transactional-webhooks
    idempotency_key=join_key("event", "message-id", "email", "ts_event", "link?"),
    summary=summarize(first_of("email", "0.email"), first_of("subject", "0.subject")),
)

EMAIL_SENDERS = (SENDGRID, MAILGUN, POSTMARK, MANDRILL, CUSTOMERIO, BREVO)


_NO_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'

TWILIO = Provider(
    name="twilio",
    docs="https://www.twilio.com/docs/usage/webhooks/webhooks-security",
    steps="""Open the phone number, messaging service or other product in the Twilio Console.
    Paste {url} as its webhook or status callback URL, exactly like that: the address is signed.
    Set {secret} to the account's auth token.""",
    answer="2xx within 15 s, TwiML for calls and messages; not retried by default",
    # JSON is error 12300 there, and ends a call: https://www.twilio.com/docs/api/errors/12300
    answer_body=_NO_TWIML,
    answer_type="text/xml; charset=utf-8",
    schedule=Schedule(
        limit=15.0,
        then="the fallback URL is called where there is one",
        source="https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides",
    ),
    secret_env=("TWILIO_AUTH_TOKEN",),
    other_credential=OtherCredential(("SK", "AC"), "an account or key SID", "the account's auth token"),
    content_type="application/x-www-form-urlencoded; charset=UTF-8",
    schemes=(
        # Twilio signs some URLs with the port and some without, so its libraries try both. Shared
        # keys announce their algorithm in a header (twilio 9.13.0 for Python).
        Hmac(
            algo="sha1",
            encoding="base64",
            signed=template("{url}{form_sorted}", distinct=True),
            place=InHeader("X-Twilio-Signature"),
            urls=("no_port", "with_port"),
            body_hash=BodyHash(query="bodySHA256"),
            announced="X-Twilio-Webhooks-Signature-Settings",
        ),
    ),
    event_type=first_of(
        form("EventType"),
        "EventType",
        add_prefix("recording.", form("RecordingStatus")),
        add_prefix("message.", first_of(form("MessageStatus"), form("SmsStatus"))),
        add_prefix("call.", form("CallStatus")),
        "type",
        "0.type",
    ),
    # Event Streams: https://www.twilio.com/docs/events/webhook-quickstart
    items=LIST,
    # A message or call reports several states under one id; only id and state together repeat.
    idempotency_key=first_of(
        header("I-Twilio-Idempotency-Token"),
        join_key(first_of(form("MessageSid"), form("SmsSid")), first_of(form("MessageStatus"), form("SmsStatus"))),
        join_key(form("RecordingSid"), form("RecordingStatus")),
        # A conference counts for itself, in requests about the same call.
        # https://www.twilio.com/docs/voice/api/conference-resource#statuscallback
        join_key(form("CallSid"), optional(form("ConferenceSid")), form("SequenceNumber")),
    ),
    summary=summarize(
        first_of(short_id(first_of(form("MessageSid"), form("SmsSid"), form("CallSid"))), short_id("MessageSid")),
        first_of(add_prefix("error ", form("ErrorCode")), form("Body"), form("From"), "Body"),
    ),
    companions=(
        ("User-Agent", "TwilioProxy/1.1"),
        ("Accept", "*/*"),
        ("I-Twilio-Idempotency-Token", "${uuid}"),
        ("X-Home-Region", "us1"),
    ),
    message_status=message_statuses.TWILIO_STATUSES,
)

# What some guides show instead of Twilio's real signature. Never accepted for a `twilio` source.
TWILIO_SIMPLE = dataclasses.replace(
    TWILIO,
    name="twilio-simple",
    title="Twilio (simplified)",
    steps="Only for senders that sign the body as X-Twilio-Signature: sha256=<hex>; Twilio itself does not.",
    answer="",
    schedule=None,
    answer_body="",
    recognise=(),
    other_credential=None,
    schemes=(header_hmac("X-Twilio-Signature", layout=Prefix(b"sha256=")),),
    samples="twilio",
)
