"""Who sends mail for others: SendGrid, Mailgun, Postmark, Mandrill, Customer.io, Brevo."""

from relay.model.items import LIST, ItemPaths
from relay.providers.catalogue.messages import MAILGUN_STATUSES, POSTMARK_STATUSES, SENDGRID_STATUSES
from relay.providers.provider import Provider, body, each, first, form, joined, optional, when
from relay.providers.schemes import (
    Basic,
    Ecdsa,
    Hmac,
    InForm,
    InHeader,
    InJson,
    Time,
    Token,
    template,
)

SENDGRID = Provider(
    name="sendgrid",
    title="SendGrid",
    monogram="Sg",
    docs="https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event",
    steps=(
        "Open Settings, Mail settings, Event webhooks in SendGrid and create a webhook.",
        "Paste {url} as the post URL and switch the signed event webhook on.",
        "Copy the verification key and set SENDGRID_WEBHOOK_PUBLIC_KEY to it.",
    ),
    answer="2xx; retried for 24 h",
    secret_env=("SENDGRID_WEBHOOK_PUBLIC_KEY", "SENDGRID_WEBHOOK_VERIFICATION_KEY"),
    recognise=("X-Twilio-Email-Event-Webhook-Signature",),
    schemes=(
        # No library checks the age (sendgrid 6.12.5, eventwebhook-js 8.0.0).
        Ecdsa(
            signed=template("{ts}{body}"),
            place=InHeader("X-Twilio-Email-Event-Webhook-Signature"),
            time=Time(place=InHeader("X-Twilio-Email-Event-Webhook-Timestamp")),
        ),
    ),
    event_type=body(0, "event"),
    items=LIST,
    idempotency_key=each((), ("sg_event_id",)),
    summary=joined(" · ", body(0, "email"), first(body(0, "reason"), body(0, "url"))),
    companions=(("User-Agent", "SendGrid Event API"),),
    ending=b"\r\n",
    message_status=SENDGRID_STATUSES,
)

MAILGUN = Provider(
    name="mailgun",
    title="Mailgun",
    monogram="Mg",
    docs="https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhooks",
    steps=(
        "Open Sending, Webhooks of your domain in Mailgun and add a webhook.",
        "Paste {url} as the URL.",
        "Copy the HTTP webhook signing key and set MAILGUN_WEBHOOK_SIGNING_KEY to it; it is not the API key.",
    ),
    answer="200 within 10 s, 406 stops it; retried 6 times over 8 h",
    secret_env=("MAILGUN_WEBHOOK_SIGNING_KEY",),
    schemes=(
        # The event itself is not signed: only the time and a token beside it are.
        Hmac(
            name="json",
            signed=template("{json:signature.timestamp}{json:signature.token}"),
            place=InJson(("signature", "signature")),
            time=Time(place=InJson(("signature", "timestamp")), past=300, future=300),
        ),
        Hmac(
            name="form",
            signed=template("{form:timestamp}{form:token}"),
            place=InForm("signature"),
            time=Time(place=InForm("timestamp"), past=300, future=300),
        ),
    ),
    event_type=first(body("event-data", "event"), form("event")),
    # An id is unique within a day, so the event's time belongs to it; the time beside the signature is another one.
    # https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
    idempotency_key=first(
        joined("-", body("event-data", "id"), optional(body("event-data", "timestamp")), whole=True),
        form("token"),
    ),
    summary=first(body("event-data", "recipient"), form("recipient")),
    companions=(("User-Agent", "mailgun/treq-25.5.0"),),
    message_status=MAILGUN_STATUSES,
)

POSTMARK = Provider(
    name="postmark",
    title="Postmark",
    monogram="Pm",
    docs="https://postmarkapp.com/developer/webhooks/webhooks-overview",
    steps=(
        "Open your server in Postmark, Webhooks, and add a webhook.",
        "Paste {url} as the webhook URL with a user and password under basic auth.",
        "Set POSTMARK_WEBHOOK_AUTH to user:password.",
    ),
    answer="200, 403 stops it; retried 10 times over 10 h",
    secret_env=("POSTMARK_WEBHOOK_AUTH",),
    schemes=(Basic(),),
    event_type=body("RecordType"),
    # Bounces and complaints alone have an id; what else is told of a message differs by its time, and clicks of one
    # second by their link. https://postmarkapp.com/developer/webhooks/click-webhook
    idempotency_key=first(
        joined("-", body("RecordType"), body("MessageID"), body("ID"), whole=True),
        joined(
            "-",
            body("RecordType"),
            body("MessageID"),
            body("Recipient"),
            first(body("DeliveredAt"), body("ReceivedAt"), body("ChangedAt")),
            optional(body("OriginalLink")),
            optional(body("ClickLocation")),
            optional(body("SuppressSending")),
            whole=True,
        ),
    ),
    summary=first(body("Recipient"), body("Email"), body("From")),
    companions=(("User-Agent", "Postmark"),),
    message_status=POSTMARK_STATUSES,
)

MANDRILL = Provider(
    name="mandrill",
    title="Mandrill",
    monogram="Ma",
    docs="https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/",
    steps=(
        "Open Settings, Webhooks in Mandrill and add a webhook.",
        "Paste {url} as the post URL, exactly like that: the address is signed.",
        "Copy the key and set MANDRILL_WEBHOOK_KEY to it.",
    ),
    secret_env=("MANDRILL_WEBHOOK_KEY",),
    recognise=("X-Mandrill-Signature",),
    content_type="application/x-www-form-urlencoded",
    schemes=(
        Hmac(
            algo="sha1",
            encoding="base64",
            signed=template("{url}{form_sorted}"),
            place=InHeader("X-Mandrill-Signature"),
        ),
    ),
    # What became of a message, or that a rule of the deny list was added; an empty list is Mandrill's check.
    # https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/
    event_type=first(
        body(0, "event"),
        joined(".", body(0, "type"), body(0, "action")),
        when(form("mandrill_events"), "events"),
    ),
    items=ItemPaths(((None,),), form="mandrill_events"),
    companions=(("User-Agent", "Mandrill-Webhook/1.0"),),
)

CUSTOMERIO = Provider(
    name="customerio",
    title="Customer.io",
    monogram="Ci",
    docs="https://docs.customer.io/journeys/webhooks/",
    steps=(
        "Open Data and integrations, Reporting webhooks in Customer.io and add a webhook.",
        "Paste {url} as the endpoint.",
        "Copy the signing key and set CUSTOMERIO_WEBHOOK_SIGNING_KEY to it.",
    ),
    secret_env=("CUSTOMERIO_WEBHOOK_SIGNING_KEY",),
    recognise=("X-CIO-Signature",),
    schemes=(
        Hmac(
            signed=template("v0:{ts}:{body}"),
            place=InHeader("X-CIO-Signature"),
            time=Time(place=InHeader("X-CIO-Timestamp")),
        ),
    ),
    event_type=joined(".", body("object_type"), body("metric")),
    idempotency_key=body("event_id"),
    summary=first(body("data", "recipient"), body("data", "identifiers", "email")),
)

BREVO = Provider(
    name="brevo",
    title="Brevo",
    monogram="Bv",
    docs="https://developers.brevo.com/docs/username-and-password-authentication",
    steps=(
        "Open Settings, Webhooks in Brevo and add a webhook with an authentication method.",
        "Paste {url} as the URL to call.",
        "Set BREVO_WEBHOOK_TOKEN to the token, or to user:password for basic authentication.",
    ),
    secret_env=("BREVO_WEBHOOK_TOKEN",),
    schemes=(
        Basic(name="basic"),
        Token(name="token", place=InHeader("Authorization"), prefix="Bearer "),
    ),
    # https://developers.brevo.com/docs/batched-webhooks
    event_type=first(body("event"), body(0, "event")),
    items=LIST,
    # Brevo's id is that of the webhook. All recipients of a message share its message-id, and times are seconds.
    # https://developers.brevo.com/docs/transactional-webhooks
    idempotency_key=joined(
        "-",
        body("event"),
        body("message-id"),
        body("email"),
        body("ts_event"),
        optional(body("link")),
        whole=True,
    ),
    summary=joined(" · ", first(body("email"), body(0, "email")), first(body("subject"), body(0, "subject"))),
)

MAILERS = (SENDGRID, MAILGUN, POSTMARK, MANDRILL, CUSTOMERIO, BREVO)
