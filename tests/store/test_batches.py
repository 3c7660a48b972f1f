"""Requests that hold several events, through relay: each of them counts wherever one alone would."""

import asyncio
import json

import pytest
from aiohttp import web

from cases import check_each

BATCH = [
    {"email": "a@example.com", "event": "delivered", "sg_event_id": "1"},
    {"email": "b@example.com", "event": "bounce", "sg_event_id": "2", "reason": "full"},
    {"email": "c@example.com", "event": "delivered", "sg_event_id": "3"},
]
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def app(aiohttp_server):
    got = []

    async def handle(request):
        got.append((request.path, await request.read()))
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handle)
    server = await aiohttp_server(application)
    return type("App", (), {"port": server.port, "got": got})


def sendgrid(more=""):
    return f'[sources.sendgrid]\nverify = "off"\n{more}\n'


def body(value):
    return json.dumps(value).encode() + b"\r\n"


async def only(at):
    return (await at.api("/api/events"))[1]["events"][0]


@pytest.mark.parametrize(
    ("listed", "outcome"), [("bounce", "accepted"), ("delivered", "accepted"), ("open", "ignored")]
)
async def test_any_event_of_a_request_may_be_the_listed_one(start, listed, outcome):
    at = await start(sendgrid(f'events = ["{listed}"]'))
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    event = await only(at)
    assert (event["outcome"], event["type"]) == (outcome, "delivered")
    assert (event["types"], event["item_count"]) == (["delivered", "bounce"], 3)


async def test_a_single_event_has_its_one_type(start):
    at = await start(sendgrid())
    await at.send("/webhooks/sendgrid", body(BATCH[:1]), headers=JSON)
    assert ((await only(at))["types"], (await only(at))["item_count"]) == (["delivered"], 1)


@pytest.fixture
async def with_batch(start):
    at = await start(sendgrid())
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    return at


@check_each(
    ("query", "found"),
    [
        ("type:bounce", 1),
        ("type:boun*", 1),
        ("type:delivered", 1),
        ("type:open", 0),
        ("type:b", 0),
        ("-type:bounce", 0),
        ("-type:open", 1),
        ('type:"delivered bounce"', 0),
    ],
)
async def test_a_search_by_type_looks_at_every_event(with_batch, query, found):
    assert len((await with_batch.api("/api/events", params={"q": query}))[1]["events"]) == found


@pytest.mark.parametrize(
    ("route", "taken"),
    [
        ('events = ["bounce"]', True),
        ('events = ["open"]', False),
        ("when = \"item.event == 'bounce'\"", True),
        ("when = \"payload[0].event == 'bounce'\"", True),
        ("when = 'payload | length == 3'", True),
        ("when = 'items | length == 3'", True),
        ("when = \"event.type == 'bounce'\"", True),
        ("when = \"item.reason == 'full'\"", True),
        ("when = \"item.event == 'open'\"", False),
        # Both by the same event: it is b@example.com that bounced.
        ('events = ["bounce"]\nwhen = "item.email == \'b@example.com\'"', True),
        ('events = ["bounce"]\nwhen = "payload[0].email == \'b@example.com\'"', True),
        ('events = ["bounce"]\nwhen = "item.email == \'a@example.com\'"', False),
        ('events = ["bounce"]\nwhen = "payload[0].email == \'a@example.com\'"', False),
    ],
)
async def test_a_route_takes_a_request_if_any_event_in_it_fits(start, app, route, taken):
    at = await start(
        sendgrid() + f'[targets.app]\nforward = "http://127.0.0.1:{app.port}/"\n[[routes]]\n{route}\nto = ["app"]\n'
    )
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    deliveries = (await at.api("/api/deliveries"))[1]["deliveries"]
    assert len(deliveries) == int(taken)
    (told,) = (await at.api("/api/events/1/routes"))[1]["routes"]
    assert told["matched"] is taken


async def test_an_explanation_says_which_event_a_condition_holds_for(start, app):
    route = '[[routes]]\nwhen = "item.reason == \'full\'"\nto = ["app"]\n'
    at = await start(sendgrid() + f'[targets.app]\nforward = "http://127.0.0.1:{app.port}/"\n{route}')
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    (told,) = (await at.api("/api/events/1/routes"))[1]["routes"]
    assert "is true for event 2 of 3: item.reason = 'full'" in told["why"]


async def test_list_and_detail_say_how_many_events_a_request_holds(start):
    at = await start(sendgrid())
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    for path in ("/events", "/events/1"):
        assert b"3 events: delivered, bounce" in (await at.api(path))[1]


HANDLERS = """
import json
from relay import on, Event

@on("*", "bounce")
def seen(event: Event):
    print(json.dumps([event.type, event.types, [item["email"] for item in event.items]]))
"""


async def test_a_handler_is_called_for_any_event_and_may_ask_for_all(start, tmp_path):
    (tmp_path / "handlers.py").write_text(HANDLERS)
    at = await start(sendgrid() + '[targets.code]\nhandler = "handlers.py"\n')
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    while (await at.api("/api/deliveries/1"))[1]["state"] in ("pending", "running"):  # noqa: ASYNC110 - the store is what is asked
        await asyncio.sleep(0.01)
    (attempt,) = (await at.api("/api/deliveries/1"))[1]["attempts"]
    emails = [one["email"] for one in BATCH]
    assert json.loads(attempt["output"]) == ["delivered", ["delivered", "bounce"], emails]


async def test_a_mail_may_tell_of_all(start):
    mail = """
[targets.mail]
email = "note"
[emails.note]
to = "a@example.com"
subject = "{{ items | length }}: {{ event.types | join(', ') }}"
text = "{% for item in items %}{{ item.email }} {% endfor %}"
"""
    at = await start(sendgrid() + mail)
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    _, seen = await at.api("/api/events/1/email/preview", "POST", json={"template": "note"})
    assert (seen["subject"], seen["text"].split()) == (
        "3: delivered, bounce",
        ["a@example.com", "b@example.com", "c@example.com"],
    )


async def test_an_export_carries_the_events_to_another_relay(start, tmp_path):
    at = await start(sendgrid())
    await at.send("/webhooks/sendgrid", body(BATCH), headers=JSON)
    _, lines = await at.api("/api/export", params={"as": "jsonl"})
    record = json.loads(lines)
    assert record["types"] == ["delivered", "bounce"]
    assert (await at.api("/api/events/1", "DELETE"))[0] in (200, 204)
    status, _ = await at.api("/api/import", "POST", data=lines, headers={"Content-Type": "application/x-ndjson"})
    assert status == 200
    event = await only(at)
    assert (event["types"], event["item_count"]) == (["delivered", "bounce"], 3)


WHATSAPP = {
    "object": "whatsapp_business_account",
    "entry": [
        {"id": "1", "changes": [{"field": "messages", "value": {}}]},
        {"id": "2", "changes": [{"field": "account_update", "value": {}}]},
    ],
}


@pytest.fixture
async def with_batches(start):
    """A relay with a source, named as its provider, for each that may send several events at once."""
    names = (
        "hubspot",
        "whatsapp",
        "meta",
        "adyen",
        "msgraph",
        "okta",
        "auth0",
        "brevo",
        "asana",
        "x",
        "twilio",
        "custom",
    )
    return await start("".join(f'[sources.{name}]\nprovider = "{name}"\nverify = "off"\n' for name in names))


@check_each(
    ("provider", "sent", "types"),
    [
        ("hubspot", [{"subscriptionType": "contact.creation"}, {"subscriptionType": "deal.creation"}], None),
        ("whatsapp", WHATSAPP, ["whatsapp_business_account.messages", "whatsapp_business_account.account_update"]),
        (
            "meta",
            {"object": "page", "entry": [{"messaging": [{"sender": {"id": "1"}}]}, {"changes": [{"field": "feed"}]}]},
            ["page.feed", "page.messaging"],
        ),
        (
            "adyen",
            {
                "notificationItems": [
                    {"NotificationRequestItem": {"eventCode": "AUTHORISATION"}},
                    {"NotificationRequestItem": {"eventCode": "CAPTURE"}},
                ]
            },
            ["AUTHORISATION", "CAPTURE"],
        ),
        (
            "msgraph",
            {"value": [{"changeType": "created", "resource": "a"}, {"lifecycleEvent": "missed"}]},
            ["created.a", "missed"],
        ),
        ("okta", {"data": {"events": [{"eventType": "a"}, {"eventType": "b"}]}}, ["a", "b"]),
        ("auth0", [{"data": {"type": "s"}}, {"data": {"type": "f"}}], ["s", "f"]),
        ("brevo", [{"event": "delivered"}, {"event": "hard_bounce"}], ["delivered", "hard_bounce"]),
        (
            "asana",
            {
                "events": [
                    {"action": "added", "resource": {"resource_type": "task"}},
                    {"action": "deleted", "resource": {"resource_type": "story"}},
                ]
            },
            ["task.added", "story.deleted"],
        ),
        ("x", {"for_user_id": "1", "favorite_events": [{"id": 1}], "follow_events": [{}]}, None),
        ("twilio", [{"type": "com.twilio.a", "specversion": "1.0"}, {"type": "com.twilio.b"}], None),
        ("custom", [{"type": "a", "specversion": "1.0"}, {"type": "b"}], ["a", "b"]),
        ("custom", [{"eventType": "Microsoft.A"}, {"eventType": "Microsoft.B"}], ["Microsoft.A", "Microsoft.B"]),
        ("custom", {"destination": "U1", "events": [{"type": "message"}, {"type": "follow"}]}, ["message", "follow"]),
        ("custom", {"type": "order", "events": [{"type": "message"}]}, ["order"]),
        ("custom", {"id": 1, "event": "order"}, ["order"]),
    ],
)
async def test_each_provider_s_events_are_found_where_it_puts_them(with_batches, provider, sent, types):
    at = with_batches
    await at.send(f"/webhooks/{provider}", body(sent), headers=JSON)
    expected = {
        "hubspot": ["contact.creation", "deal.creation"],
        "x": ["favorite_events", "follow_events"],
        "twilio": ["com.twilio.a", "com.twilio.b"],
    }
    event = (await at.api("/api/events?limit=1"))[1]["events"][0]
    assert event["source"] == provider
    assert event["types"] == (types or expected[provider])
    assert event["type"] == event["types"][0]


async def test_mandrill_s_events_lie_in_a_form(start):
    at = await start('[sources.mandrill]\nverify = "off"\nevents = ["hard_bounce"]\n')
    sent = json.dumps([{"event": "send"}, {"event": "hard_bounce"}, {"type": "denylist", "action": "add"}])
    async with at.session.post(at.ingress + "/webhooks/mandrill", data={"mandrill_events": sent}) as response:
        assert response.status == 200
    event = await only(at)
    assert (event["outcome"], event["types"]) == ("accepted", ["send", "hard_bounce", "denylist.add"])


async def test_a_type_of_the_user_s_own_is_asked_of_each_event(start):
    at = await start(
        '[sources.one]\nprovider = "custom"\nevent_type = "body:/0/msys/message_event/type"\nevents = ["bounce"]\n'
    )
    sent = [{"msys": {"message_event": {"type": name}}} for name in ("delivery", "bounce")]
    await at.send("/webhooks/one", body(sent), headers=JSON)
    event = await only(at)
    assert (event["outcome"], event["types"]) == ("accepted", ["delivery", "bounce"])


async def test_a_recognised_request_shows_its_events_too(at):
    await at.send("/webhooks/anything", body(BATCH), headers=JSON | {"X-Twilio-Email-Event-Webhook-Signature": "x"})
    event = await only(at)
    assert (event["provider"], event["types"]) == ("sendgrid", ["delivered", "bounce"])
