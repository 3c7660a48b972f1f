"""What Twilio, Resend, SendGrid, Mailgun and Postmark tell of messages, read from what they send."""

import json
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_capture, build_source
from cases import check_each
from relay.model.message import MessageStatus
from relay.model.payload import Payload
from relay.model.request_items import MAX_ITEMS
from relay.providers.catalogue import PROVIDERS
from relay.providers.message_status import explain_code
from relay.providers.samples import prepare_sample

S = MessageStatus
TELLING = [name for name, entry in PROVIDERS.items() if entry.message_status is not None]
SAMPLES = {
    ("twilio", "message.queued"): S.QUEUED,
    ("twilio", "message.sent"): S.SENT,
    ("twilio", "message.delivered"): S.DELIVERED,
    ("twilio", "message.undelivered"): S.UNDELIVERED,
    ("twilio", "message.failed"): S.FAILED,
    ("resend", "email.scheduled"): S.QUEUED,
    ("resend", "email.sent"): S.SENT,
    ("resend", "email.delivery_delayed"): S.DELAYED,
    ("resend", "email.delivered"): S.DELIVERED,
    ("resend", "email.opened"): S.OPENED,
    ("resend", "email.clicked"): S.CLICKED,
    ("resend", "email.complained"): S.COMPLAINED,
    ("resend", "email.bounced"): S.BOUNCED,
    ("resend", "email.failed"): S.FAILED,
    ("resend", "email.suppressed"): S.FAILED,
    ("sendgrid", "processed"): S.QUEUED,
    ("sendgrid", "deferred"): S.DELAYED,
    ("sendgrid", "delivered"): S.DELIVERED,
    ("sendgrid", "open"): S.OPENED,
    ("sendgrid", "click"): S.CLICKED,
    ("sendgrid", "spamreport"): S.COMPLAINED,
    ("sendgrid", "bounce"): S.BOUNCED,
    ("sendgrid", "dropped"): S.FAILED,
    ("mailgun", "accepted"): S.QUEUED,
    ("mailgun", "delivered"): S.DELIVERED,
    ("mailgun", "failed"): S.BOUNCED,
    ("mailgun", "opened"): S.OPENED,
    ("mailgun", "clicked"): S.CLICKED,
    ("mailgun", "complained"): S.COMPLAINED,
    ("postmark", "Delivery"): S.DELIVERED,
    ("postmark", "Bounce"): S.BOUNCED,
    ("postmark", "Open"): S.OPENED,
    ("postmark", "Click"): S.CLICKED,
    ("postmark", "SpamComplaint"): S.COMPLAINED,
}
SILENT = ["call.completed", "message.received", "recording.completed", "onMessageAdded"]


def make_capture(body, headers=(("Content-Type", "application/json"),), query=""):
    return build_capture("test", query=query, headers=headers, body=body, received_at=datetime(2026, 3, 1, tzinfo=UTC))


def read(name, capture):
    return PROVIDERS[name].message_status(capture, Payload(capture.body, capture.content_type))


def sent(name, value):
    return read(name, make_capture(json.dumps(value).encode()))


def triggered(name, type_):
    source = build_source(name)
    url = f"https://hooks.example/webhooks/{name}"
    return prepare_sample(source, PROVIDERS[name], type_, datetime.now(UTC), random=Random(7), url=url)


@check_each(("name", "type_"), SAMPLES)
def test_every_sample_says_what_became_of_a_message(name, type_):
    (report,) = read(name, triggered(name, type_))
    assert report.status is SAMPLES[name, type_]
    assert (report.provider, report.channel) == (name, "sms" if name == "twilio" else "email")
    assert report.external_ids
    assert report.recipients
    assert (report.at is None) == (name == "twilio")


@pytest.mark.parametrize(
    ("name", "type_"),
    [("twilio", type_) for type_ in SILENT] + [("resend", "email.received"), ("sendgrid", "unsubscribe")],
)
def test_what_is_no_status_of_a_message_says_nothing(name, type_):
    assert read(name, triggered(name, type_)) == ()


def test_a_mailgun_form_of_old_is_read_too():
    form = b"event=bounced&recipient=Ada%40example.com&Message-Id=%3C1%40mg%3E&timestamp=1700000000&code=550"
    capture = make_capture(form, (("Content-Type", "application/x-www-form-urlencoded"),))
    (report,) = read("mailgun", capture)
    assert (report.status, report.external_ids, report.recipients) == (S.BOUNCED, ("1@mg",), ("ada@example.com",))
    assert (report.at, report.code) == (datetime.fromtimestamp(1_700_000_000, UTC), "550")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"event": "failed", "severity": "temporary", "reason": "generic"}, S.DELAYED),
        ({"event": "failed", "severity": "permanent", "reason": "bounce"}, S.BOUNCED),
        ({"event": "failed", "severity": "permanent", "reason": "suppress-bounce"}, S.FAILED),
        ({"event": "rejected", "reject": {"reason": "Sandbox"}}, S.FAILED),
    ],
)
def test_a_mailgun_failure_is_a_delay_a_bounce_or_a_mail_that_never_left(event, status):
    (report,) = sent("mailgun", {"event-data": event})
    assert report.status is status


@pytest.mark.parametrize(
    ("type_", "status"),
    [("HardBounce", S.BOUNCED), ("Transient", S.DELAYED), ("BadEmailAddress", S.FAILED), ("Newly", S.BOUNCED)],
)
def test_a_postmark_bounce_is_what_its_type_says(type_, status):
    (report,) = sent("postmark", {"RecordType": "Bounce", "Type": type_, "MessageID": "m"})
    assert report.status is status


def test_a_holiday_notice_is_no_bounce():
    assert sent("postmark", {"RecordType": "Bounce", "Type": "AutoResponder", "MessageID": "m"}) == ()


def test_a_sendgrid_batch_is_read_item_by_item():
    batch = [
        {"event": "delivered", "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.0", "email": "a@b.c"},
        7,
        {"event": "unsubscribe"},
        {"event": "open", "sg_message_id": "x.recvd-1", "smtp-id": "<x@geopod>", "X-Message-ID": 42},
    ]
    delivered, opened = sent("sendgrid", batch)
    assert delivered.external_ids[0] == "14c5d75ce93.dfd.64b469"
    assert (opened.external_ids, opened.embedded_id) == (("x", "x.recvd-1", "x@geopod"), "42")


def test_a_batch_without_end_is_cut():
    assert len(sent("sendgrid", [{"event": "open"}] * (MAX_ITEMS + 5))) == MAX_ITEMS


@pytest.mark.parametrize(
    "data",
    [
        {"headers": [{"name": "x-message-id", "value": "<mine@example.com>"}]},
        {"headers": [{"name": "Message-ID", "value": "other"}, {"name": "X-Message-ID", "value": "mine@example.com"}]},
        {"headers": {"X-Message-ID": "mine@example.com"}},
        {"tags": {"message_id": "mine@example.com"}},
        {"tags": [{"name": "messageId", "value": "mine@example.com"}]},
    ],
)
def test_the_id_a_mail_carries_is_found_where_the_provider_hands_it_back(data):
    (report,) = sent("resend", {"type": "email.sent", "data": data})
    assert report.embedded_id == "mine@example.com"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("postmark", {"RecordType": "Open", "MessageID": "m", "Metadata": {"message-id": "7"}}),
        ("mailgun", {"event-data": {"event": "opened", "user-variables": {"message_id": "7"}}}),
    ],
)
def test_metadata_holds_the_id_a_mail_carries(name, value):
    (report,) = sent(name, value)
    assert report.embedded_id == "7"


def test_what_twilio_is_to_hand_back_stands_in_the_callbacks_address():
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    body = b"MessageSid=SM1&MessageStatus=sent&To=%2B1"
    (report,) = read("twilio", make_capture(body, form, query="a=b&message_id=order-7"))
    assert report.embedded_id == "order-7"
    (report,) = read("twilio", make_capture(body, (*form, ("X-Message-ID", "order-8"))))
    assert report.embedded_id == "order-8"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "data",
                    "event",
                    "email_id",
                    "to",
                    "headers",
                    "tags",
                    "name",
                    "value",
                    "event-data",
                    "message",
                    "Metadata",
                    "RecordType",
                    "Type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(json_values, st.sampled_from(TELLING))
def test_no_body_at_all_breaks_the_reading(value, name):
    for report in sent(name, value):
        assert isinstance(report.status, MessageStatus)


@settings(max_examples=60)
@given(st.binary(max_size=200), st.sampled_from(TELLING))
def test_no_bytes_at_all_break_the_reading(body, name):
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        read(name, make_capture(body, (("Content-Type", kind),)))


@pytest.mark.parametrize(
    ("provider", "code", "source"),
    [
        ("twilio", "30007", "https://www.twilio.com/docs/api/errors/30007"),
        ("sendgrid", "5.1.1", "https://www.rfc-editor.org/rfc/rfc3463#section-3"),
        ("smtp", "4.2.2", "https://www.rfc-editor.org/rfc/rfc3463#section-3"),
        ("postmark", "HardBounce", "https://postmarkapp.com/developer/api/bounce-api#bounce-types"),
    ],
)
def test_a_code_is_told_in_words_with_their_source(provider, code, source):
    found = explain_code(provider, code)
    assert found.source == source
    assert found.words[0].islower()


@pytest.mark.parametrize(("provider", "code"), [("twilio", "99999"), ("twilio", "5.1.1"), ("x", ""), ("x", "550")])
def test_a_code_that_nobody_put_into_words_stays_a_code(provider, code):
    assert explain_code(provider, code) is None
