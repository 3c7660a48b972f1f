"""Where Twilio, Resend, SendGrid, Mailgun and Postmark say what became of a mail or SMS."""

from relay.model.request_items import LIST
from relay.providers.derived_extractors import cut_at
from relay.providers.extractors import body, first_of, form, join
from relay.providers.message_status import MessageStatuses, embedded_id, status_words, text_list

# https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
# No time is told: RawDlrDoneDate is the carrier's, in an unnamed time zone. What the
# sender wants back is in the query of its StatusCallback address.
TWILIO_STATUSES = MessageStatuses(
    provider="twilio",
    channel="sms",
    word=first_of(form("MessageStatus"), form("SmsStatus")),
    words=status_words(
        queued="accepted scheduled queued sending",
        sent="sent",
        delivered="delivered",
        opened="read",
        undelivered="undelivered",
        failed="failed canceled",
    ),
    external_ids=(first_of(form("MessageSid"), form("SmsSid")),),
    embedded=embedded_id(),
    recipient=form("To"),
    code=form("ErrorCode"),
    detail=first_of(form("ErrorMessage"), form("ChannelStatusMessage")),
)

# https://resend.com/docs/webhooks/event-types. `created_at` is the event's time, `data.created_at` the
# mail's. A mail to several people has one id; which of them an event is of is not told.
# Opened and clicked come only for domains that track them.
RESEND_STATUSES = MessageStatuses(
    provider="resend",
    word=body("type"),
    words=status_words(
        queued="email.scheduled",
        sent="email.sent",
        delayed="email.delivery_delayed",
        delivered="email.delivered",
        opened="email.opened",
        clicked="email.clicked",
        complained="email.complained",
        bounced="email.bounced",
        failed="email.failed email.suppressed",
    ),
    # `data.id` is what the guides show that sign the simple way; Resend's own mails never have it.
    external_ids=(body("data.email_id"), body("data.message_id"), body("data.id")),
    embedded=embedded_id("data.headers", "data.tags"),
    recipient=text_list("data.to"),
    at=body("created_at"),
    code=first_of(join(" ", "data.bounce.type", "data.bounce.subType"), "data.failed.reason", "data.suppressed.type"),
    detail=first_of(
        text_list("data.bounce.message"), text_list("data.suppressed.message"), text_list("data.click.link")
    ),
)

# https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event. A request holds many. What the
# sender was given is X-Message-Id; `sg_message_id` goes on with which machine took it. Custom arguments
# stand among the other keys.
SENDGRID_STATUSES = MessageStatuses(
    provider="sendgrid",
    items=LIST,
    word=body("event"),
    words=status_words(
        queued="processed",
        delayed="deferred",
        delivered="delivered",
        opened="open",
        clicked="click",
        complained="spamreport",
        bounced="bounce",
        failed="dropped",
    ),
    external_ids=(cut_at("sg_message_id", ".filter", ".recv"), body("sg_message_id"), body("smtp-id")),
    embedded=embedded_id(""),
    recipient=text_list("email"),
    at=body("timestamp"),
    code=body("status"),
    detail=first_of(text_list("reason"), text_list("response"), text_list("url")),
)

# https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-types. A failure for good may be a bounce, or
# a mail that was never tried because of an earlier one (`suppress-…`). Forms are how it was sent before 2018. `failed`
# without a severity is taken for a permanent failure.
MAILGUN_STATUSES = MessageStatuses(
    provider="mailgun",
    word=first_of(join(".", "event-data.event", "event-data.severity", "event-data.reason"), form("event")),
    words=status_words(
        queued="accepted",
        failed="rejected failed.permanent.suppress-bounce failed.permanent.suppress-complaint "
        "failed.permanent.suppress-unsubscribe dropped",
        delivered="delivered",
        bounced="failed bounced",
        delayed="failed.temporary",
        opened="opened",
        clicked="clicked",
        complained="complained",
    ),
    external_ids=(first_of("event-data.message.headers.message-id", form("Message-Id"), form("message-id")),),
    embedded=embedded_id("event-data.user-variables"),
    recipient=first_of(text_list("event-data.recipient"), form("recipient")),
    at=first_of("event-data.timestamp", form("timestamp")),
    code=first_of("event-data.delivery-status.enhanced-code", "event-data.delivery-status.code", form("code")),
    detail=first_of(
        text_list("event-data.delivery-status.message"),
        text_list("event-data.delivery-status.description"),
        text_list("event-data.reject.reason"),
        text_list("event-data.reason"),
        text_list("event-data.url"),
        form("description"),
        form("url"),
    ),
)

# https://postmarkapp.com/developer/api/bounce-api#bounce-types. What comes back as a bounce may be a holiday
# notice or a passing trouble; `Type` tells.
POSTMARK_STATUSES = MessageStatuses(
    provider="postmark",
    word=join(".", "RecordType", "Type"),
    words=status_words(
        delivered="Delivery",
        opened="Open",
        clicked="Click",
        complained="SpamComplaint Bounce.SpamNotification Bounce.SpamComplaint",
        bounced="Bounce",
        delayed="Bounce.Transient Bounce.DnsError",
        failed="Bounce.BadEmailAddress Bounce.ManuallyDeactivated Bounce.SMTPApiError Bounce.TemplateRenderingFailed",
        none="Bounce.AutoResponder Bounce.AddressChange Bounce.ChallengeVerification "
        "Bounce.Subscribe Bounce.Unsubscribe Bounce.OpenRelayTest Bounce.InboundError "
        "Bounce.Unknown",
    ),
    external_ids=(body("MessageID"),),
    embedded=embedded_id("Metadata"),
    recipient=first_of(text_list("Recipient"), text_list("Email")),
    at=first_of("DeliveredAt", "BouncedAt", "ReceivedAt"),
    code=body("Type"),
    detail=first_of(text_list("Details"), text_list("Description"), text_list("OriginalLink")),
)
