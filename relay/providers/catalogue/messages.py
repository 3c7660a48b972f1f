"""Where Twilio, Resend, SendGrid, Mailgun and Postmark say what became of a mail or SMS."""

from relay.model.items import LIST
from relay.model.message import MessageStatus
from relay.providers.picks import body, first, form, joined
from relay.providers.statuses import MessageStatuses, cut, embedded, texts, words

# https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
# No time is told: RawDlrDoneDate is the carrier's, in a time zone that nobody names. What the
# sender wants back stands in the query of its StatusCallback address.
TWILIO_STATUSES = MessageStatuses(
    provider="twilio",
    channel="sms",
    word=first(form("MessageStatus"), form("SmsStatus")),
    words=words(
        {
            "accepted": MessageStatus.QUEUED,
            "scheduled": MessageStatus.QUEUED,
            "queued": MessageStatus.QUEUED,
            "sending": MessageStatus.QUEUED,
            "sent": MessageStatus.SENT,
            "delivered": MessageStatus.DELIVERED,
            "read": MessageStatus.OPENED,
            "undelivered": MessageStatus.UNDELIVERED,
            "failed": MessageStatus.FAILED,
            "canceled": MessageStatus.FAILED,
        }
    ),
    external_ids=(first(form("MessageSid"), form("SmsSid")),),
    embedded=embedded(),
    recipient=form("To"),
    code=form("ErrorCode"),
    detail=first(form("ErrorMessage"), form("ChannelStatusMessage")),
)

# https://resend.com/docs/webhooks/event-types. `created_at` is the event's time, `data.created_at` the
# mail's. A mail to several people has one id; which of them an event is of is not told.
RESEND_STATUSES = MessageStatuses(
    provider="resend",
    channel="email",
    word=body("type"),
    words=words(
        {
            "email.scheduled": MessageStatus.QUEUED,
            "email.sent": MessageStatus.SENT,
            "email.delivery_delayed": MessageStatus.DELAYED,
            "email.delivered": MessageStatus.DELIVERED,
            "email.opened": MessageStatus.OPENED,
            "email.clicked": MessageStatus.CLICKED,
            "email.complained": MessageStatus.COMPLAINED,
            "email.bounced": MessageStatus.BOUNCED,
            "email.failed": MessageStatus.FAILED,
            "email.suppressed": MessageStatus.FAILED,
        }
    ),
    # `data.id` is what the guides show that sign the simple way; Resend's own mails never have it.
    external_ids=(body("data", "email_id"), body("data", "message_id"), body("data", "id")),
    embedded=embedded(("data", "headers"), ("data", "tags")),
    recipient=texts("data", "to"),
    at=body("created_at"),
    code=first(
        joined(" ", body("data", "bounce", "type"), body("data", "bounce", "subType")),
        body("data", "failed", "reason"),
        body("data", "suppressed", "type"),
    ),
    detail=first(
        texts("data", "bounce", "message"),
        texts("data", "suppressed", "message"),
        texts("data", "click", "link"),
    ),
)

# https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event. A request holds many. What the
# sender was given is X-Message-Id; `sg_message_id` goes on with which machine took it. Custom arguments
# stand among the other keys.
SENDGRID_STATUSES = MessageStatuses(
    provider="sendgrid",
    channel="email",
    items=LIST,
    word=body("event"),
    words=words(
        {
            "processed": MessageStatus.QUEUED,
            "deferred": MessageStatus.DELAYED,
            "delivered": MessageStatus.DELIVERED,
            "open": MessageStatus.OPENED,
            "click": MessageStatus.CLICKED,
            "spamreport": MessageStatus.COMPLAINED,
            "bounce": MessageStatus.BOUNCED,
            "dropped": MessageStatus.FAILED,
        }
    ),
    external_ids=(
        cut(body("sg_message_id"), ".filter", ".recv"),
        body("sg_message_id"),
        body("smtp-id"),
    ),
    embedded=embedded(()),
    recipient=texts("email"),
    at=body("timestamp"),
    code=body("status"),
    detail=first(texts("reason"), texts("response"), texts("url")),
)

# https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-types. A failure for good may be a
# bounce, or a mail that was never tried because of an earlier one (`suppress-…`). Forms are how it was
# sent before 2018.
MAILGUN_STATUSES = MessageStatuses(
    provider="mailgun",
    channel="email",
    word=first(
        joined(
            ".", body("event-data", "event"), body("event-data", "severity"), body("event-data", "reason")
        ),
        form("event"),
    ),
    words=words(
        {
            "accepted": MessageStatus.QUEUED,
            "rejected": MessageStatus.FAILED,
            "delivered": MessageStatus.DELIVERED,
            "failed": MessageStatus.BOUNCED,
            "failed.temporary": MessageStatus.DELAYED,
            "failed.permanent.suppress-bounce": MessageStatus.FAILED,
            "failed.permanent.suppress-complaint": MessageStatus.FAILED,
            "failed.permanent.suppress-unsubscribe": MessageStatus.FAILED,
            "opened": MessageStatus.OPENED,
            "clicked": MessageStatus.CLICKED,
            "complained": MessageStatus.COMPLAINED,
            "bounced": MessageStatus.BOUNCED,
            "dropped": MessageStatus.FAILED,
        }
    ),
    external_ids=(
        first(body("event-data", "message", "headers", "message-id"), form("Message-Id"), form("message-id")),
    ),
    embedded=embedded(("event-data", "user-variables")),
    recipient=first(texts("event-data", "recipient"), form("recipient")),
    at=first(body("event-data", "timestamp"), form("timestamp")),
    code=first(
        body("event-data", "delivery-status", "enhanced-code"),
        body("event-data", "delivery-status", "code"),
        form("code"),
    ),
    detail=first(
        texts("event-data", "delivery-status", "message"),
        texts("event-data", "delivery-status", "description"),
        texts("event-data", "reject", "reason"),
        texts("event-data", "reason"),
        texts("event-data", "url"),
        form("description"),
        form("url"),
    ),
)

# https://postmarkapp.com/developer/api/bounce-api#bounce-types. What comes back as a bounce may be a holiday
# notice or a passing trouble; `Type` tells.
POSTMARK_STATUSES = MessageStatuses(
    provider="postmark",
    channel="email",
    word=joined(".", body("RecordType"), body("Type")),
    words=words(
        {
            "Delivery": MessageStatus.DELIVERED,
            "Open": MessageStatus.OPENED,
            "Click": MessageStatus.CLICKED,
            "SpamComplaint": MessageStatus.COMPLAINED,
            "Bounce": MessageStatus.BOUNCED,
            "Bounce.Transient": MessageStatus.DELAYED,
            "Bounce.DnsError": MessageStatus.DELAYED,
            "Bounce.SpamNotification": MessageStatus.COMPLAINED,
            "Bounce.SpamComplaint": MessageStatus.COMPLAINED,
            "Bounce.BadEmailAddress": MessageStatus.FAILED,
            "Bounce.ManuallyDeactivated": MessageStatus.FAILED,
            "Bounce.SMTPApiError": MessageStatus.FAILED,
            "Bounce.TemplateRenderingFailed": MessageStatus.FAILED,
            "Bounce.AutoResponder": None,
            "Bounce.AddressChange": None,
            "Bounce.ChallengeVerification": None,
            "Bounce.Subscribe": None,
            "Bounce.Unsubscribe": None,
            "Bounce.OpenRelayTest": None,
            "Bounce.InboundError": None,
            "Bounce.Unknown": None,
        }
    ),
    external_ids=(body("MessageID"),),
    embedded=embedded(("Metadata",)),
    recipient=first(texts("Recipient"), texts("Email")),
    at=first(body("DeliveredAt"), body("BouncedAt"), body("ReceivedAt")),
    code=body("Type"),
    detail=first(texts("Details"), texts("Description"), texts("OriginalLink")),
)
