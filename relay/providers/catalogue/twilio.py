"""Twilio: HMAC over the URL and the form, or over the URL with a hash of the JSON body in it."""

from relay.model.items import LIST
from relay.providers.catalogue.messages import TWILIO_STATUSES
from relay.providers.provider import Provider, body, first, form, header, joined, optional, prefixed, short
from relay.providers.schemes import Announced, BodyHash, Hmac, InHeader, body_hmac, template

_NO_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'

TWILIO = Provider(
    name="twilio",
    title="Twilio",
    monogram="Tw",
    docs="https://www.twilio.com/docs/usage/webhooks/webhooks-security",
    steps=(
        "Open the phone number, messaging service or other product in the Twilio Console.",
        "Paste {url} as its webhook or status callback URL, exactly like that: the address is signed.",
        "Set TWILIO_AUTH_TOKEN to the account's auth token.",
    ),
    answer="2xx within 15 s, TwiML for calls and messages; not retried by default",
    # JSON is error 12300 there, and ends a call: https://www.twilio.com/docs/api/errors/12300
    answer_body=_NO_TWIML,
    answer_type="text/xml; charset=utf-8",
    secret_env=("TWILIO_AUTH_TOKEN",),
    recognise=("X-Twilio-Signature",),
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
            announced=Announced(
                header="X-Twilio-Webhooks-Signature-Settings",
                item="algorithm",
                algos=(("HMAC_SHA1", "sha1"), ("HMAC_SHA256", "sha256")),
            ),
        ),
    ),
    event_type=first(
        form("EventType"),
        body("EventType"),
        prefixed("recording.", form("RecordingStatus")),
        prefixed("message.", first(form("MessageStatus"), form("SmsStatus"))),
        prefixed("call.", form("CallStatus")),
        body("type"),
        body(0, "type"),
    ),
    # Event Streams: https://www.twilio.com/docs/events/webhook-quickstart
    items=LIST,
    # A message or call reports several states under one id; only id and state together repeat.
    idempotency_key=first(
        header("I-Twilio-Idempotency-Token"),
        joined(
            "-",
            first(form("MessageSid"), form("SmsSid")),
            first(form("MessageStatus"), form("SmsStatus")),
            whole=True,
        ),
        joined("-", form("RecordingSid"), form("RecordingStatus"), whole=True),
        # A conference counts for itself, in requests about the same call.
        # https://www.twilio.com/docs/voice/api/conference-resource#statuscallback
        joined("-", form("CallSid"), optional(form("ConferenceSid")), form("SequenceNumber"), whole=True),
    ),
    summary=joined(
        " · ",
        first(short(first(form("MessageSid"), form("SmsSid"), form("CallSid"))), short(body("MessageSid"))),
        first(prefixed("error ", form("ErrorCode")), form("Body"), form("From"), body("Body")),
    ),
    companions=(
        ("User-Agent", "TwilioProxy/1.1"),
        ("Accept", "*/*"),
        ("I-Twilio-Idempotency-Token", "${uuid}"),
        ("X-Home-Region", "us1"),
    ),
    message_status=TWILIO_STATUSES,
)

# What some guides show in place of Twilio's real signature. Never accepted for a `twilio` source.
TWILIO_SIMPLE = Provider(
    name="twilio-simple",
    title="Twilio (simplified)",
    monogram="Tw",
    docs=TWILIO.docs,
    steps=(
        "Only for senders that sign the body as X-Twilio-Signature: sha256=<hex>; Twilio itself does not.",
    ),
    secret_env=TWILIO.secret_env,
    content_type=TWILIO.content_type,
    schemes=(body_hmac("X-Twilio-Signature", prefix="sha256="),),
    event_type=TWILIO.event_type,
    items=LIST,
    idempotency_key=TWILIO.idempotency_key,
    summary=TWILIO.summary,
    companions=TWILIO.companions,
    samples="twilio",
    message_status=TWILIO_STATUSES,
)
