"""Idempotency keys: two events never share one, and an event that is sent again keeps its own."""

import copy
import json

import pytest

from cases import check_each
from relay.model.payload import Payload
from relay.providers.catalogue import PROVIDERS
from relay.providers.derived_extractors import default_idempotency_key

DOCUSIGN = {
    "event": "recipient-completed",
    "retryCount": 0,
    "configurationId": 7,
    "generatedDateTime": "2026-01-02T03:04:01Z",
    "data": {"envelopeId": "env-1", "recipientId": "1"},
}
HUBSPOT = [{"eventId": 1, "subscriptionId": 2, "occurredAt": 3, "portalId": 4, "objectId": 5, "attemptNumber": 0}]
HUBSPOT_BETWEEN = [{"eventId": 1, "subscriptionId": 2, "occurredAt": 3, "fromObjectId": 7, "toObjectId": 8}]
MAILGUN = {"signature": {"token": "a"}, "event-data": {"id": "m", "event": "opened", "timestamp": 1.5}}
POSTMARK = {
    "RecordType": "Click",
    "MessageID": "m",
    "Recipient": "a@example.com",
    "ReceivedAt": "2026-01-02T03:04:05Z",
    "OriginalLink": "https://example.com/1",
}
BREVO = {"event": "delivered", "message-id": "<m>", "email": "a@example.com", "ts_event": 1, "id": 9}
ZOOM = {
    "event": "meeting.participant_joined",
    "event_ts": 1,
    "payload": {"object": {"uuid": "u", "participant": {"user_id": "1"}}},
}
ZOOM_REGISTRATION = {
    "event": "meeting.registration_created",
    "event_ts": 1,
    "payload": {"object": {"uuid": "u", "id": 7, "registrant": {"id": "a"}}},
}
ZOOM_USER = {"event": "user.created", "event_ts": 1, "payload": {"object": {"id": "u"}}}
LEMON = {"meta": {"event_name": "subscription_updated"}, "data": {"id": "1", "attributes": {"updated_at": "t"}}}
PAYSTACK = {"event": "charge.dispute.remind", "data": {"id": 1, "dueAt": "2026-01-02"}}
ADYEN = {
    "notificationItems": [
        {"NotificationRequestItem": {"pspReference": "p", "eventCode": "A", "success": "true", "eventDate": "t"}}
    ]
}
FIGMA = {"webhook_id": "1", "event_type": "FILE_UPDATE", "timestamp": "t", "file_key": "a", "retries": 0}
GRAPH = {"value": [{"id": "1", "subscriptionId": "s", "changeType": "created", "resource": "r"}]}
MESSAGE = {"id": "wamid.1"}
STATUS = {"id": "wamid.1", "status": "read", "timestamp": "1", "recipient_id": "49151"}


def whatsapp(**value):
    return {"entry": [{"changes": [{"value": value, "field": "messages"}]}]}


def changed(value, path, new):
    value = copy.deepcopy(value)
    *way, last = path
    here = value
    for step in way:
        here = here[step]
    here[last] = new
    return value


def key_of(capture, name, body, *headers):
    made = capture(json.dumps(body).encode(), headers=headers)
    pick = default_idempotency_key if name == "custom" else PROVIDERS[name].idempotency_key
    return pick(made, Payload(made.body, made.content_type))


@check_each(
    ("name", "body", "path", "other"),
    [
        ("docusign", DOCUSIGN, ("data", "recipientId"), "2"),
        ("docusign", DOCUSIGN, ("generatedDateTime",), "2026-01-02T03:09:01Z"),
        ("docusign", DOCUSIGN, ("event",), "recipient-delivered"),
        ("hubspot", HUBSPOT, (0, "portalId"), 5),
        ("hubspot", HUBSPOT, (0, "objectId"), 6),
        ("hubspot", HUBSPOT_BETWEEN, (0, "fromObjectId"), 8),
        ("hubspot", HUBSPOT_BETWEEN, (0, "toObjectId"), 7),
        ("mailgun", MAILGUN, ("event-data", "timestamp"), 86_401.5),
        ("postmark", POSTMARK, ("OriginalLink",), "https://example.com/2"),
        ("brevo", BREVO, ("email",), "b@example.com"),
        ("zoom", ZOOM, ("payload", "object", "participant", "user_id"), "2"),
        ("zoom", ZOOM_REGISTRATION, ("payload", "object", "registrant", "id"), "b"),
        ("zoom", ZOOM_USER, ("payload", "object", "id"), "v"),
        ("lemonsqueezy", LEMON, ("data", "attributes", "status"), "paused"),
        ("paystack", PAYSTACK, ("data", "dueAt"), "2026-01-03"),
        ("paystack", {"event": "subscription.create", "data": {"subscription_code": "a"}}, ("data",), {"a": "b"}),
        ("auth0", {"log_id": "1", "data": {"type": "s"}}, ("log_id",), "2"),
        ("auth0", [{"log_id": "1", "data": {"type": "s"}}], (0, "log_id"), "2"),
        ("postmark", {"FromFull": {"Email": "a@example.com"}, "MessageID": "m"}, ("MessageID",), "n"),
        ("box", {"id": "1", "trigger": "FILE.UPLOADED"}, ("id",), "2"),
        ("adyen", ADYEN, ("notificationItems", 0, "NotificationRequestItem", "eventDate"), "u"),
        ("figma", FIGMA, ("file_key",), "b"),
        ("msgraph", GRAPH, ("value", 0, "subscriptionId"), "t"),
        ("whatsapp", whatsapp(messages=[MESSAGE]), ("entry", 0, "changes", 0, "value", "messages", 0, "id"), "w"),
        ("whatsapp", whatsapp(statuses=[STATUS]), ("entry", 0, "changes", 0, "value", "statuses", 0, "status"), "x"),
        (
            "whatsapp",
            whatsapp(statuses=[STATUS]),
            ("entry", 0, "changes", 0, "value", "statuses", 0, "recipient_id"),
            "49152",
        ),
        (
            "whatsapp",
            whatsapp(messages=[MESSAGE]),
            ("entry", 0, "changes", 0, "value", "messages"),
            [MESSAGE, {"id": "wamid.2"}],
        ),
        ("resend-simple", {"type": "email.sent", "id": "msg_1"}, ("type",), "email.delivered"),
    ],
)
def test_events_that_differ_in_what_makes_them_unique_have_keys_of_their_own(capture, name, body, path, other):
    key = key_of(capture, name, body)
    assert key
    assert key != key_of(capture, name, changed(body, path, other))


@pytest.mark.parametrize(
    ("name", "body", "path", "other"),
    [
        ("docusign", DOCUSIGN, ("retryCount",), 1),
        ("hubspot", HUBSPOT, (0, "attemptNumber"), 1),
        ("mailgun", MAILGUN, ("signature", "token"), "b"),
        ("figma", FIGMA, ("retries",), 1),
    ],
)
def test_a_further_attempt_keeps_the_key_although_it_counts_up(capture, name, body, path, other):
    assert key_of(capture, name, body) == key_of(capture, name, changed(body, path, other))


@pytest.mark.parametrize(
    ("name", "body", "key"),
    [
        ("hubspot", HUBSPOT, "1-2-3-4-5-"),
        ("zoom", ZOOM, "meeting.participant_joined-1-u-1-"),
        ("paystack", {"event": "e", "data": {"id": 1}}, "e-1-b3e486a525eaf0a201ee9c83ffbe4e7f"),
    ],
)
def test_a_key_is_that_of_earlier_versions_or_a_retry_after_an_upgrade_is_delivered_twice(capture, name, body, key):
    assert key_of(capture, name, body) == key


def test_a_further_attempt_of_box_has_another_delivery_id_and_the_same_key(capture):
    event = {"id": "1", "trigger": "FILE.UPLOADED"}
    first, second = (key_of(capture, "box", event, ("BOX-DELIVERY-ID", attempt)) for attempt in "ab")
    assert first == second == "1"


@pytest.mark.parametrize("name", ["handle", "action", "resource-id", "topic", "event-id"])
def test_what_one_action_at_shopify_makes_has_keys_of_its_own(capture, name):
    headers = {f"shopify-{part}": "1" for part in ("topic", "event-id", "handle", "action", "resource-id")}
    key = key_of(capture, "shopify", {}, *headers.items())
    assert key == key_of(capture, "shopify", {}, *headers.items())
    assert key != key_of(capture, "shopify", {}, *(headers | {f"shopify-{name}": "2"}).items())


@pytest.mark.parametrize(
    ("name", "header"), [("woocommerce", "X-WC-Webhook-Delivery-ID"), ("gitlab", "X-Gitlab-Event-UUID")]
)
def test_an_id_that_several_events_share_is_no_key_by_itself(capture, name, header):
    shared = (header, "one")
    first, second = (key_of(capture, name, {"ref": ref}, shared) for ref in ("v1", "v2"))
    assert first
    assert first != second
    assert first == key_of(capture, name, {"ref": "v1"}, shared)


def test_gitlab_s_own_key_is_the_key(capture):
    headers = (("X-Gitlab-Event-UUID", "u"), ("Idempotency-Key", "k"))
    assert key_of(capture, "gitlab", {"ref": "v1"}, *headers) == "k"


def test_what_is_put_together_anew_has_no_key(capture):
    """A change that was taken may come again beside one that was not."""
    two = whatsapp(messages=[MESSAGE])
    two["entry"] *= 2
    assert key_of(capture, "whatsapp", two) is None


def test_a_classic_mollie_webhook_has_no_key(capture):
    made = capture(b"id=tr_1", headers=[("Content-Type", "application/x-www-form-urlencoded")])
    pick = PROVIDERS["mollie"].idempotency_key
    assert pick(made, Payload(made.body, made.content_type)) is None
    assert key_of(capture, "mollie", {"id": "event_1", "type": "payment-link.paid"})


def test_a_webhook_id_without_its_companions_may_be_the_webhook_s_own(capture):
    assert key_of(capture, "custom", {}, ("Webhook-Id", "7")) is None
    assert key_of(capture, "custom", {}, ("webhook-id", "msg_1"), ("webhook-timestamp", "1")) == "msg_1"
    assert key_of(capture, "custom", {}, ("svix-id", "msg_2"), ("svix-timestamp", "1")) == "msg_2"
