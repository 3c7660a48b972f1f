"""Messages from outside: registered over the API, told of by signed webhooks, in any order and each way."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from itertools import permutations
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families
from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator

from cases import check_each
from relay.model.signals import MessageChanged

TOKEN = "12345"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SMS = {"channel": "sms", "provider": "twilio", "recipient": "+14155550187"}
MAIL = {"channel": "email", "provider": "resend", "recipient": "ada@example.com"}
TWILIO = "[sources.twilio]\nsecret = 'env:TWILIO_AUTH_TOKEN'\n"
RESEND = "[sources.resend]\nsecret = 'env:RESEND_WEBHOOK_SECRET'\n"


def now(**shift):
    return (datetime.now(UTC) + timedelta(**shift)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def twilio(at, status, sid="SM1", *, to=SMS["recipient"], query="", token=TOKEN, path="/webhooks/twilio", **more):
    """Send a status callback as Twilio does, its URL and form signed by the official library's own hand."""
    url = f"{at.ingress}{path}{query}"
    fields = {"MessageSid": sid, "SmsSid": sid, "MessageStatus": status, "SmsStatus": status, "To": to, **more}
    headers = {
        "X-Twilio-Signature": RequestValidator(token).compute_signature(url, fields),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    got, body = await at.send(path + query, data=urlencode(fields), headers=headers)
    return got, json.loads(body) if body.startswith(b"{") else body  # what is taken gets TwiML


async def resend(at, type_, id_="e-1", *, secret=WHSEC, moment=None, key=None, path="/webhooks/resend", **data):
    """Send an event as Resend does, signed by the library of those who sign for it."""
    data = {"email_id": id_, "to": ["ada@example.com"], "created_at": now(seconds=-3), **data}
    body = json.dumps({"type": f"email.{type_}", "created_at": moment or now(), "data": data})
    key, sent = key or f"msg_{uuid.uuid4()}", datetime.now(UTC)
    headers = {
        "svix-id": key,
        "svix-timestamp": str(int(sent.timestamp())),
        "svix-signature": Webhook(secret).sign(key, sent, body),
        "Content-Type": "application/json",
    }
    got, answer = await at.send(path, data=body, headers=headers)
    return got, json.loads(answer)


async def add(at, given, **more):
    status, message = await at.api("/api/messages", "POST", json=given | more)
    assert status in (200, 201), message
    return message


async def show(at, id_=1):
    return (await at.api(f"/api/messages/{id_}"))[1]


def told(message):
    return sorted(entry["status"] for entry in message["history"] if entry["event"])


TWILIO_WAYS = {
    "external_id": ({"external_id": "SM1"}, ""),
    "embedded": ({"embedded_id": "order-7"}, "?message_id=order-7"),
    "timestamp": ({}, ""),
}
RESEND_WAYS = {
    "external_id": ({"external_id": "e-1"}, {}),
    "embedded": ({"embedded_id": "order-7"}, {"headers": [{"name": "X-Message-ID", "value": "order-7"}]}),
    "timestamp": ({}, {}),
}


@pytest.mark.parametrize("way", TWILIO_WAYS)
@pytest.mark.parametrize(
    ("statuses", "end"),
    [(("queued", "sent", "delivered"), "delivered"), (("queued", "sent", "undelivered"), "undelivered")],
)
async def test_twilio_statuses_in_every_order_lead_to_the_same_end(start, way, statuses, end):
    at = await start(f"{TWILIO}[sources.twilio.messages]\nmatch = '{way}'\n")
    known, query = TWILIO_WAYS[way]
    for number, order in enumerate(permutations((*statuses, "registered")), start=1):
        to, sid = f"+1415555{number:04}", f"SM{number}"
        own = {name: value.replace("SM1", sid).replace("order-7", f"order-{number}") for name, value in known.items()}
        for step in order:
            if step == "registered":
                await add(at, SMS | own, recipient=to)
            else:
                signed = query.replace("order-7", f"order-{number}")
                assert (await twilio(at, step, sid, to=to, query=signed))[0] == 200
        message = await show(at, number)
        assert (message["status"], told(message)) == (end, sorted(statuses))
        assert {entry["matched_by"] for entry in message["history"] if entry["event"]} == {way}


@pytest.mark.parametrize(
    "source",
    [
        'provider = "resend-simple"\nsecret = "env:RESEND_WEBHOOK_SECRET"\n',
        (
            'provider = "resend"\nsecret = "env:RESEND_WEBHOOK_SECRET"\n'
            '[sources.mails.signature]\nscheme = "hmac"\nheader = "Resend-Signature"\nprefix = "sha256="\n'
        ),
    ],
)
async def test_the_simple_form_of_the_guides_moves_a_message_by_its_data_id(start, source):
    at = await start(f"[sources.mails]\n{source}")
    await add(at, MAIL | {"external_id": "msg_1", "recipient": "ada@example.com"})
    for status in ("sent", "delivered", "opened"):
        sent = {"type": f"email.{status}", "id": "msg_1", "data": {"id": "msg_1", "to": "ada@example.com"}}
        body = json.dumps(sent).encode()
        mac = hmac.new(WHSEC.encode(), body, hashlib.sha256).hexdigest()
        got, answer = await at.send("/webhooks/mails", data=body, headers={"Resend-Signature": f"sha256={mac}"})
        assert (got, json.loads(answer)["outcome"]) == (200, "accepted")
        assert (await show(at))["status"] == status
    assert {entry["matched_by"] for entry in (await show(at))["history"] if entry["event"]} == {"external_id"}


@pytest.mark.parametrize("way", RESEND_WAYS)
async def test_resend_statuses_shuffled_and_repeated_lead_to_the_same_end(start, way):
    at = await start(f"{RESEND}[sources.resend.messages]\nmatch = ['{way}']\n")
    known, inside = RESEND_WAYS[way]
    moments = {
        type_: now(milliseconds=step)
        for step, type_ in enumerate(("sent", "delivery_delayed", "delivered", "opened", "clicked"))
    }
    for number in range(1, 7):
        steps = [*moments, *random.Random(number).choices(list(moments), k=3), "registered"]
        random.Random(number).shuffle(steps)
        to, id_ = f"ada{number}@example.com", f"e-{number}"
        own = json.loads(json.dumps(known).replace("e-1", id_).replace("order-7", f"order-{number}"))
        data = json.loads(json.dumps(inside).replace("order-7", f"order-{number}"))
        for step in steps:
            if step == "registered":
                await add(at, MAIL | own, recipient=f"Ada <{to.upper()}>")
            else:
                assert (await resend(at, step, id_, moment=moments[step], to=[to], **data))[0] == 200
        message = await show(at, number)
        assert (message["status"], message["opened"], message["clicked"]) == ("clicked", True, True)
        assert told(message) == ["clicked", "delayed", "delivered", "opened", "sent"]


async def test_the_provider_is_told_of_by_its_code_in_words_with_their_source(start):
    at = await start(TWILIO)
    await add(at, SMS, external_id="SM1")
    await twilio(at, "undelivered", ErrorCode="30003")
    message = await show(at)
    assert (message["status"], message["code"]) == ("undelivered", "30003")
    assert message["code_meaning"] == {
        "words": "the phone could not be reached: switched off, or out of range",
        "source": "https://www.twilio.com/docs/api/errors/30003",
    }


async def test_a_forged_status_is_seen_but_moves_nothing(start):
    at = await start(TWILIO + RESEND)
    await add(at, SMS, external_id="SM1")
    await add(at, MAIL, external_id="e-1")
    assert (await twilio(at, "delivered", token="wrong"))[0] == 401
    assert (await resend(at, "delivered", secret="whsec_" + "A" * 32))[0] == 401
    # The header alone makes nobody Twilio, not even at another door of the house.
    for door in ("/webhooks/anything", "/webhooks/twilio-simple"):
        await twilio(at, "delivered", token="wrong", path=door)
    assert [(await show(at, id_))["status"] for id_ in (1, 2)] == ["sent", "sent"]
    assert (await twilio(at, "delivered"))[0] == 200
    assert (await show(at))["status"] == "delivered"


async def test_what_was_forged_counts_for_nothing_even_where_it_is_let_in(start):
    at = await start(TWILIO + "verify = 'report'\n")
    await add(at, SMS, external_id="SM1")
    assert (await twilio(at, "delivered", token="wrong"))[0] == 200
    assert (await show(at))["status"] == "sent"


async def test_an_open_door_beside_a_guarded_one_moves_no_message(start):
    toml = "[sources.pm]\nprovider = 'postmark'\nsecret = 'env:POSTMARK_WEBHOOK_AUTH'\n"
    at = await start(toml, environ={"POSTMARK_WEBHOOK_AUTH": "user:pass"})
    await add(at, MAIL, provider="postmark", external_id="m-1")
    event = json.dumps({"RecordType": "Delivery", "MessageID": "m-1", "Recipient": "ada@example.com"})
    headers = {"Content-Type": "application/json"}
    assert (await at.send("/webhooks/postmark", data=event, headers=headers))[0] in (200, 401)
    assert (await show(at))["status"] == "sent"
    headers["Authorization"] = "Basic " + base64.b64encode(b"user:pass").decode()
    await at.send("/webhooks/pm", data=event, headers=headers)
    assert (await show(at))["status"] == "delivered"


async def test_without_any_secret_what_comes_is_taken_at_its_word(start):
    at = await start(environ={})
    await add(at, SMS, external_id="SM1")
    await twilio(at, "delivered")
    assert (await show(at))["status"] == "delivered"


async def test_a_repeated_event_is_a_duplicate_and_changes_nothing(start):
    at = await start(RESEND)
    await add(at, MAIL, external_id="e-1")
    first = await resend(at, "delivered", key="msg_1", moment="2026-03-01T12:00:00Z")
    again = await resend(at, "delivered", key="msg_1", moment="2026-03-01T12:00:00Z")
    assert (first[1]["outcome"], again[1]["outcome"], again[0]) == ("accepted", "duplicate", 200)
    assert told(await show(at)) == ["delivered"]


async def test_a_status_of_an_unknown_message_is_stored_and_answered_200(start):
    at = await start(TWILIO)
    assert (await twilio(at, "delivered", "SM404"))[0] == 200
    event = (await at.api("/api/events/1"))[1]
    assert (event["outcome"], event["status"]) == ("accepted", 200)
    assert (await at.api("/api/messages"))[1]["messages"] == []


async def test_a_source_may_ask_for_404_until_the_message_is_known(start):
    at = await start(f"{RESEND}[sources.resend.messages]\nunknown = 404\n")
    for _ in range(2):
        status, body = await resend(at, "delivered", key="msg_1", moment="2026-03-01T12:00:00Z")
        assert (status, body["error"]["code"]) == (404, "message_not_found")
        assert body["error"]["message"] == "message not found"
    stored = (await at.api("/api/events?q="))[1]["events"]
    assert [(event["status"], event["outcome"]) for event in stored] == [(404, "duplicate"), (404, "accepted")]
    assert (await add(at, MAIL, external_id="e-1"))["status"] == "delivered"
    status, body = await resend(at, "delivered", key="msg_1", moment="2026-03-01T12:00:00Z")
    assert (status, body["outcome"]) == (200, "duplicate")
    assert (await resend(at, "opened"))[0] == 200


async def test_404_is_for_statuses_alone(start):
    at = await start(f"{RESEND}[sources.resend.messages]\nunknown = 404\n")
    assert (await resend(at, "received"))[0] == 200


async def test_an_unknown_status_is_sent_on_like_any_other_event(start, aiohttp_server):
    from aiohttp import web  # noqa: PLC0415 - only this test has an app behind it

    got = asyncio.Event()

    async def take(request):
        got.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hooks", take)
    server = await aiohttp_server(app)
    at = await start(
        f"{TWILIO}[sources.twilio.messages]\nunknown = 404\n[targets.app]\nforward = '{server.make_url('/hooks')}'\n"
    )
    assert (await twilio(at, "delivered", "SM404"))[0] == 404
    async with asyncio.timeout(60):
        await got.wait()


async def test_what_a_source_does_not_list_is_ignored_for_messages_too(start):
    at = await start(TWILIO + "events = ['message.failed']\n")
    await add(at, SMS, external_id="SM1")
    assert (await twilio(at, "delivered"))[0] == 200
    assert (await at.api("/api/events/1"))[1]["outcome"] == "ignored"
    assert (await show(at))["status"] == "sent"


async def test_a_message_somebody_wrote_to_us_is_no_status(start):
    at = await start(TWILIO)
    await add(at, SMS, external_id="SM1")
    fields = {"MessageSid": "SM1", "SmsStatus": "received", "From": SMS["recipient"], "To": "+1", "Body": "Hi"}
    url = at.ingress + "/webhooks/twilio"
    headers = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, fields)}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    await at.send("/webhooks/twilio", data=urlencode(fields), headers=headers)
    assert told(await show(at)) == []


@pytest.mark.parametrize(("shift", "found"), [(-599, True), (-601, False), (595, True), (605, False)])
async def test_by_time_a_message_is_found_inside_its_window_alone(start, shift, found):
    at = await start(f"{RESEND}[sources.resend.messages]\nmatch = 'timestamp'\nwindow = '10m'\n")
    await add(at, MAIL, sent_at=now())
    await resend(at, "delivered", moment=now(seconds=shift))
    assert ((await show(at))["status"] == "delivered") is found


async def test_the_embedded_id_may_stand_wherever_the_source_says(start):
    toml = f"{RESEND}[sources.resend.messages]\nmatch = 'embedded'\nid = 'body:/data/tags/order'\n"
    at = await start(toml)
    await add(at, MAIL, embedded_id="1042")
    await resend(at, "delivered", tags={"order": "1042"})
    assert (await show(at))["status"] == "delivered"


async def test_a_sendgrid_batch_moves_each_of_its_messages(start):
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    at = await start(
        "[sources.sendgrid]\nsecret = 'env:SG'\n[sources.sendgrid.messages]\nunknown = 404\n",
        environ={"SG": base64.b64encode(public).decode()},
    )

    async def send(*events):
        stamp, body = str(int(time.time())), json.dumps(events)
        signature = key.sign((stamp + body).encode(), ec.ECDSA(hashes.SHA256()))
        headers = {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
            "Content-Type": "application/json",
        }
        return (await at.send("/webhooks/sendgrid", data=body, headers=headers))[0]

    def event(name, number, **more):
        return {
            "email": f"ada{number}@example.com",
            "timestamp": int(time.time()),
            "event": name,
            "sg_event_id": str(uuid.uuid4()),
            "sg_message_id": f"msg{number}.recvd-canary-1.0",
            "smtp-id": f"<msg{number}@geopod>",
            **more,
        }

    for number in (1, 2):
        await add(at, MAIL, provider="sendgrid", external_id=f"msg{number}", recipient=f"ada{number}@example.com")
    await add(at, MAIL, provider="sendgrid", embedded_id="order-3", recipient="bob@example.com")
    batch = (
        event("click", 1),
        event("bounce", 2, status="5.1.1", reason="550 5.1.1 no such user"),
        event("delivered", 1),
        event("processed", 2),
        event("delivered", 3, message_id="order-3"),
        event("delivered", 9),
    )
    assert await send(*batch) == 200
    messages = (await at.api("/api/messages"))[1]["messages"]
    assert [(one["id"], one["status"], one["code"]) for one in messages] == [
        (3, "delivered", ""),
        (2, "bounced", "5.1.1"),
        (1, "clicked", ""),
    ]
    assert messages[1]["code_meaning"]["words"] == "there is no such mailbox"
    assert await send(event("delivered", 8), event("delivered", 9)) == 404
    assert (await at.api("/api/messages?event=1"))[1]["messages"] == messages


async def test_mailgun_and_postmark_move_their_messages_too(start):
    toml = "[sources.mailgun]\nsecret = 'env:MG'\n[sources.postmark]\nsecret = 'env:PM'\n"
    at = await start(toml, environ={"MG": "key", "PM": "user:pass"})
    await add(at, MAIL, provider="mailgun", external_id="<1@mg.example.com>")
    await add(at, MAIL, provider="postmark", external_id="m-1")

    async def mailgun(event, **more):
        stamp, token = str(int(time.time())), uuid.uuid4().hex
        signature = hmac.new(b"key", (stamp + token).encode(), hashlib.sha256).hexdigest()
        body = {
            "signature": {"timestamp": stamp, "token": token, "signature": signature},
            "event-data": {
                "id": token,
                "event": event,
                "timestamp": time.time(),
                "recipient": "ada@example.com",
                "message": {"headers": {"message-id": "1@mg.example.com"}},
                **more,
            },
        }
        headers = {"Content-Type": "application/json"}
        return (await at.send("/webhooks/mailgun", data=json.dumps(body), headers=headers))[0]

    async def postmark(type_, **more):
        body = {"RecordType": type_, "MessageID": "m-1", "Recipient": "ada@example.com", **more}
        auth = "Basic " + base64.b64encode(b"user:pass").decode()
        headers = {"Content-Type": "application/json", "Authorization": auth}
        return (await at.send("/webhooks/postmark", data=json.dumps(body), headers=headers))[0]

    assert await mailgun("opened") == await mailgun("delivered") == 200
    assert await mailgun("failed", severity="temporary") == 200
    assert await postmark("Bounce", Type="Transient", BouncedAt="2014-08-01T13:28:10.2735393-04:00") == 200
    assert (await show(at, 2))["status"] == "delayed"
    assert await postmark("Bounce", Type="AutoResponder") == 200
    assert await postmark("Delivery", DeliveredAt=now()) == 200
    assert [(await show(at, id_))["status"] for id_ in (1, 2)] == ["opened", "delivered"]
    delayed = next(entry for entry in (await show(at, 2))["history"] if entry["status"] == "delayed")
    assert delayed["at"] == "2014-08-01T17:28:10.273539Z"


async def test_registering_is_asked_for_by_id_and_done_once(at):
    status, first = await at.api("/api/messages", "POST", json=SMS | {"external_id": "SM1"})
    again, same = await at.api("/api/messages", "POST", json=SMS | {"external_id": "SM1"})
    assert (status, again, same["id"]) == (201, 200, first["id"])
    assert (first["status"], first["provider"], first["embedded_id"]) == ("sent", "twilio", "")
    assert [entry["status"] for entry in first["history"]] == ["sent"]


async def test_a_message_may_begin_as_queued_and_when_it_was_sent_is_kept(at, monkeypatch):
    message = await add(at, SMS, status="queued", sent_at="2026-03-01T13:00:00+01:00")
    assert (message["status"], message["sent_at"]) == ("queued", "2026-03-01T12:00:00.000000Z")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        local = await add(at, SMS | {"external_id": "SM2"}, sent_at="2026-03-01T12:00:00")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert local["sent_at"] == "2026-03-01T06:30:00.000000Z"


@check_each(
    ("wrong", "named"),
    [
        ({"channel": "fax"}, "channel"),
        ({"channel": None}, "channel"),
        ({"provider": ""}, "provider"),
        ({"provider": 7}, "provider"),
        ({"recipient": "  "}, "recipient"),
        ({"recipient": "a" * 12_801}, "recipient is limited to 12800 characters"),
        ({"provider": "a" * 65}, "provider is limited to 64 characters"),
        ({"channel": "email", "recipient": "nobody"}, "recipient"),
        ({"external_id": "x" * 201}, "external_id"),
        ({"embedded_id": ["x"]}, "embedded_id"),
        ({"sent_at": "yesterday"}, "sent_at"),
        ({"status": "delivered"}, "status"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_registered_is_named_and_nothing_is_kept(at, wrong, named):
    status, body = await at.api("/api/messages", "POST", json=SMS | wrong)
    assert (status, named in body["error"]["message"]) == (400, True)
    assert (await at.api("/api/messages"))[1]["messages"] == []


async def test_the_list_is_filtered_and_paged(start):
    at = await start(TWILIO + RESEND)
    for number in range(3):
        await add(at, SMS, external_id=f"SM{number}", recipient=f"+1415555000{number}")
    await add(at, MAIL, external_id="e-1", sent_at="2020-01-01T00:00:00Z")
    await twilio(at, "failed", "SM1", to="+14155550001", ErrorCode="30008")

    async def ids(query):
        return [one["id"] for one in (await at.api(f"/api/messages?{query}"))[1]["messages"]]

    assert await ids("channel=sms") == [3, 2, 1]
    assert await ids("provider=resend") == await ids("provider=Resend") == [4]
    assert await ids("status=failed") == [2]
    assert await ids("status=failed,sent&channel=sms") == [3, 2, 1]
    assert await ids("recipient=%2B1 415 555 0002") == [3]
    assert await ids("recipient=ADA@example.com") == [4]
    assert await ids("since=1h") == [3, 2, 1]
    assert await ids("event=1") == [2]
    _, page = await at.api("/api/messages?limit=2")
    assert ([one["id"] for one in page["messages"]], page["next_before"]) == ([4, 3], 3)
    assert await ids("before=3&limit=2") == [2, 1]


@check_each("query", ["channel=fax", "status=lost", "since=soon", "since=", "limit=x", "event=x"])
async def test_a_filter_that_cannot_be_read_is_named(at, query):
    status, body = await at.api(f"/api/messages?{query}")
    assert status == (200 if query == "since=" else 400)
    assert query == "since=" or query.partition("=")[0] in body["error"]["message"]


async def test_rates_count_each_message_once_by_the_day_it_was_sent(start):
    at = await start(TWILIO + RESEND)
    for number in range(4):
        await add(at, MAIL, external_id=f"e-{number}", recipient=f"a{number}@example.com")
    await add(at, MAIL, external_id="old", sent_at="2020-01-01T00:00:00Z")
    await add(at, SMS, external_id="SM1")
    for type_, id_ in [
        ("delivered", "e-0"),
        ("opened", "e-0"),
        ("opened", "e-0"),
        ("clicked", "e-1"),
        ("bounced", "e-2"),
    ]:
        await resend(at, type_, id_)
    await twilio(at, "delivered")
    _, rates = await at.api("/api/messages/rates?days=2")
    email, sms = rates["totals"]["email"], rates["totals"]["sms"]
    assert (email["sent"], email["delivered"], email["failed"], email["under_way"]) == (4, 2, 1, 1)
    assert (email["delivery_rate"], email["open_rate"], email["click_rate"]) == (0.5, 1.0, 0.5)
    assert (sms["sent"], sms["delivery_rate"], sms["open_rate"]) == (1, 1.0, None)
    assert [(day["day"], day["channel"]) for day in rates["days"]] == [
        (datetime.now(UTC).date().isoformat(), "email"),
        (datetime.now(UTC).date().isoformat(), "sms"),
    ]
    assert (await at.api("/api/messages/rates?days=no"))[0] == 400


async def test_the_store_tells_how_many_messages_stand_where(start):
    at = await start(TWILIO)
    await add(at, SMS, external_id="SM1")
    await add(at, SMS, external_id="SM2")
    await twilio(at, "delivered")
    await twilio(at, "sent", "SM99", to="+1999")
    messages = at.relay.store.messages
    assert [(one.provider, one.status, one.count) for one in await messages.standing()] == [
        ("twilio", "delivered", 1),
        ("twilio", "sent", 1),
    ]
    assert await messages.unmatched() == 1
    assert (await at.api("/api/messages/rates"))[1]["unmatched"] == 1


async def test_stats_and_prometheus_tell_the_same_of_messages(start):
    at = await start(TWILIO + RESEND)
    await add(at, SMS, external_id="SM1")
    await add(at, SMS, external_id="SM2")
    await add(at, MAIL, external_id="e-1")
    await add(at, MAIL, external_id="old", sent_at="2020-01-01T00:00:00Z")
    await twilio(at, "delivered")
    await resend(at, "opened")
    stats = (await at.api("/api/stats?window=7d"))[1]["messages"]
    assert (stats["sms"]["sent"], stats["sms"]["delivery_rate"]) == (2, 0.5)
    assert (stats["email"]["sent"], stats["email"]["open_rate"]) == (1, 1.0)
    families = text_string_to_metric_families((await at.api("/metrics"))[1].decode())
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("relay_message")
    }
    assert found["relay_messages", "delivered", "sms", "twilio"] == 1
    assert found["relay_messages", "email", "resend", "sent"] == 1
    assert found["relay_message_ratio", "delivery", "sms"] == 0.5
    assert found["relay_message_ratio", "email", "open"] == 1


async def test_a_mail_that_relay_sent_carries_its_id_and_is_followed(start):
    at = await start(f"{RESEND}[emails.hi]\nto = 'ada@example.com'\nsubject = 'Hi'\ntext = 'Hello'\n")
    await at.send()
    with at.relay.bus.subscribe() as listening:
        _, made = await at.api("/api/events/1/email", "POST", json={"template": "hi"})
        async with asyncio.timeout(60):
            while not any(isinstance(signal, MessageChanged) for signal in await listening.next()):
                pass
    messages = (await at.api("/api/messages"))[1]["messages"]
    (kept,) = (at.relay.config.server.data_dir / "outbox").glob("*.eml")
    id_ = messages[0]["external_id"]
    assert f"X-Message-ID: {id_}" in kept.read_text()
    await resend(at, "opened", headers=[{"name": "X-Message-ID", "value": id_}])
    message = await show(at)
    assert (message["status"], message["event"], message["delivery"]) == ("opened", 1, made["delivery"])


async def test_the_stream_tells_of_a_message_that_moved(start):
    at = await start(TWILIO)
    await add(at, SMS, external_id="SM1")
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(at.dashboard + "/api/stream", headers=headers) as response:
        await response.content.readuntil(b"\n\n")
        await twilio(at, "delivered")
        async with asyncio.timeout(60):
            while not (frame := await response.content.readuntil(b"\n\n")).startswith(b"event: message\n"):
                pass
    assert json.loads(frame.partition(b"data: ")[2]) == {"message": 1, "event": None, "status": "delivered"}


@pytest.fixture
async def with_mail(start):
    """A relay without secrets and with one mail in its register."""
    at = await start(environ={})
    await add(at, MAIL, external_id="e-1")
    return at


@check_each(
    "body", [b"", b"[]", b"{", b"null", b'{"type": "email.sent"}', b'{"type": ["email.sent"], "data": 7}', b"\xff\xfe"]
)
async def test_rubbish_from_a_provider_is_taken_in_and_moves_nothing(with_mail, body):
    at = with_mail
    for name in ("resend", "sendgrid", "mailgun", "postmark", "twilio"):
        assert (await at.send(f"/webhooks/{name}", data=body, headers={"Content-Type": "application/json"}))[0] == 200
    assert (await show(at))["status"] == "sent"
