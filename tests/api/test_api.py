import asyncio
import io
import json
from typing import Any

import pytest
from aiohttp import web

from cases import check_each
from relay.model.signals import EventStored, MessageChanged
from relay.pipeline.bus import MAX_LAG


@pytest.fixture
async def app(aiohttp_server):
    """A target that keeps what it got and answers as it is told."""
    got = []

    async def handle(request):
        got.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return web.Response(status=handler.status, text="thanks")

    handler: Any = web.Application()
    handler.router.add_route("*", "/{tail:.*}", handle)
    return await aiohttp_server(_with(handler, got))


def _with(application, got):
    application.status = 200
    application.got = got
    return application


async def settled(at, delivery):
    async with asyncio.timeout(60):
        while True:
            _, shape = await at.api(f"/api/deliveries/{delivery}")
            if shape["state"] not in ("pending", "running"):
                return shape
            await asyncio.sleep(0.02)


async def test_status_tells_addresses_sources_targets_and_queue(start):
    at = await start('[sources.stripe]\n[targets.app]\nforward = "http://127.0.0.1:9/x"\n')
    _, status = await at.api("/api/status")
    assert status["ingress_url"] == at.ingress
    assert status["public_url"] is None
    assert status["tunnel"]["state"] == "none"
    assert status["sources"][0]["secrets"] == ["env:STRIPE_WEBHOOK_SECRET"]
    assert status["targets"][0]["address"] == "http://127.0.0.1:9/x"
    assert status["queue"]["pending"] == 0
    assert "whsec_test" not in json.dumps(status)


async def test_events_are_listed_newest_first_in_pages(at):
    for n in range(5):
        await at.send(data=b'{"n": %d}' % n)
    _, first = await at.api("/api/events?limit=2")
    assert [event["id"] for event in first["events"]] == [5, 4]
    _, second = await at.api(f"/api/events?limit=2&before={first['next_before']}")
    assert [event["id"] for event in second["events"]] == [3, 2]
    _, last = await at.api(f"/api/events?limit=2&before={second['next_before']}")
    assert ([event["id"] for event in last["events"]], last["next_before"]) == ([1], None)


async def test_a_search_finds_words_of_the_newest_event_at_once(at):
    await at.send(data=b'{"customer": "Ada Lovelace"}')
    _, found = await at.api("/api/events", params={"q": "lovelace"})
    assert [event["id"] for event in found["events"]] == [1]


@check_each(
    ("path", "status"),
    [
        ("/api/events?limit=-1", 400),
        ("/api/events?limit=abc", 400),
        ("/api/events?limit=1" + "0" * 20, 400),
        ("/api/events?before=x", 400),
        ("/api/events?q=after:soon", 400),
        ("/api/events/abc", 404),
        ("/api/events/0", 404),
        ("/api/events/" + "9" * 40, 404),
        ("/api/events/99", 404),
        ("/api/events/99/body", 404),
        ("/api/deliveries/99", 404),
        ("/api/messages/99", 404),
        ("/api/nothing", 404),
    ],
)
async def test_a_call_that_makes_no_sense_gets_a_sentence(at, path, status):
    got, body = await at.api(path)
    assert got == status
    assert body["error"]["message"]


async def test_what_is_no_number_is_named_and_said_how_to_write(at):
    paths = {"events": "event", "deliveries": "delivery", "messages": "message", "replays": "replay", "labs": "lab run"}
    for path, noun in paths.items():
        _, body = await at.api(f"/api/{path}/abc")
        error = body["error"]
        assert (error["message"], error["hint"]) == (f"no such {noun}", "use its number, such as 42")


@check_each(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"surce": "x"}', 400),
        (b'{"source": 7, "type": "x"}', 400),
        (b'{"source": "stripe"}', 400),
        (b'{"source": "stripe", "type": "no.such"}', 404),
        (b'{"source": "a/b", "type": "x"}', 404),
        (b"[" * 100_000, 400),
        (b'{"source": "' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
async def test_a_trigger_that_makes_no_sense_gets_a_sentence(at, body, status):
    got, answer = await at.api(
        "/api/triggers", "POST", data=io.BytesIO(body), headers={"Content-Type": "application/json"}
    )
    assert got == status
    assert answer["error"]["message"]


@pytest.mark.parametrize("source", ["stripe", "github", "slack", "twilio", "resend"])
async def test_every_sample_of_a_provider_arrives_verified(at, source):
    _, listed = await at.api(f"/api/samples?source={source}")
    types = listed["samples"][source]
    assert len(types) >= 4
    for type_ in types:
        status, event = await at.api("/api/triggers", "POST", json={"source": source, "type": type_})
        assert (status, event["verdict"], event["sample"]) == (201, "verified", True), type_


async def test_a_trigger_changes_fields_before_it_signs(at):
    wanted = {"source": "stripe", "type": "payment_intent.succeeded", "set": {"data.object.amount": 777}}
    _, event = await at.api("/api/triggers", "POST", json=wanted)
    _, whole = await at.api(f"/api/events/{event['id']}")
    assert json.loads(whole["body"]["text"])["data"]["object"]["amount"] == 777
    assert whole["verdict"] == "verified"


async def test_a_trigger_may_be_sent_to_an_address_as_well(at, app):
    wanted = {"source": "github", "type": "push", "to": str(app.make_url("/there"))}
    _, event = await at.api("/api/triggers", "POST", json=wanted)
    _, made = await at.api(f"/api/deliveries?event={event['id']}")
    assert (await settled(at, made["deliveries"][0]["id"]))["state"] == "succeeded"
    assert app.app.got[0][1] == "/there"
    assert app.app.got[0][2]["X-GitHub-Event"] == "push"


@check_each(
    ("source", "type_", "body"),
    [
        ("mailgun", "clicked", {"signature": {"timestamp": "1", "token": "a", "signature": 7}, "event-data": {}}),
        ("aws-sns", "Notification", {"Type": "Notification", "Timestamp": -1, "SignatureVersion": "2"}),
    ],
)
async def test_a_trigger_whose_body_has_another_kind_where_it_is_signed_is_no_fault(at, source, type_, body):
    call = {"source": source, "type": type_, "body": json.dumps(body)}
    status, answer = await at.api("/api/triggers", "POST", json=call)
    assert (status, answer.get("error", {}).get("code")) in ((201, None), (422, "signing"))


@check_each(
    ("sent", "problem"),
    [('{"q": 1e400}', "a number is too large"), ('{"q": "", "q": "x"}', "the key 'q' stands twice in one object")],
)
async def test_a_call_that_two_readers_would_read_differently_is_refused(at, sent, problem):
    headers = {"Content-Type": "application/json"}
    status, answer = await at.api("/api/replays", "POST", data=sent.encode(), headers=headers)
    assert (status, answer["error"]["message"]) == (400, f"the body is not JSON: {problem}")


@pytest.mark.parametrize(("to", "status"), [("nowhere", 404), ("http://169.254.169.254/", 422), ("ftp://x", 422)])
async def test_a_trigger_to_what_cannot_be_makes_no_event(at, to, status):
    wanted = {"source": "github", "type": "push", "to": to}
    assert (await at.api("/api/triggers", "POST", json=wanted))[0] == status
    assert (await at.api("/api/events"))[1]["events"] == []


async def test_a_state_that_no_delivery_has_is_refused(at):
    status, answer = await at.api("/api/deliveries?state=faild")
    assert (status, answer["error"]["message"]) == (400, "state cannot be 'faild'")
    assert answer["error"]["hint"] == "use pending, running, succeeded, failed, cancelled"
    assert (await at.api("/api/deliveries?state="))[0] == 200


async def test_a_replay_has_one_place_to_go(at, app):
    await at.send()
    call = {"target": "app", "url": str(app.make_url("/there"))}
    status, answer = await at.api("/api/events/1/replay", "POST", json=call)
    assert (status, answer["error"]["message"]) == (400, "target and url cannot be combined")


async def test_a_vault_that_is_not_there_is_not_said_to_be_locked(at):
    for path, method, body in (
        ("lock", "POST", None),
        ("secrets/a", "PUT", {"value": "x"}),
        ("secrets/a", "DELETE", None),
    ):
        status, answer = await at.api(f"/api/vault/{path}", method, json=body)
        assert (status, answer["error"]["code"]) == (404, "not_found"), path
        assert answer["error"]["message"].startswith("there is no vault at ")


async def test_an_event_is_pinned_annotated_and_deleted(at):
    await at.send()
    _, event = await at.api("/api/events/1", "PATCH", json={"pinned": True, "note": "look <b>here</b>"})
    assert (event["pinned"], event["note"]) == (True, "look <b>here</b>")
    assert (await at.api("/api/events", params={"q": "is:pinned"}))[1]["events"][0]["id"] == 1
    assert (await at.api("/api/events/1", "DELETE"))[0] == 200
    assert (await at.api("/api/events/1", "DELETE"))[0] == 404


async def test_an_event_is_forwarded_as_it_came_and_its_attempt_recorded(start, app):
    at = await start(f'[targets.app]\nforward = "{app.make_url("/hooks")}"\n')
    await at.send("/webhooks/test/below?x=1", b'{"a":1}', headers={"X-Dup": "1", "Content-Type": "application/json"})
    shape = await settled(at, 1)
    assert (shape["state"], shape["status"], shape["event"]) == ("succeeded", 200, 1)
    [attempt] = shape["attempts"]
    assert attempt["response"]["body"]["text"] == "thanks"
    assert attempt["took_ms"] > 0
    [(method, path, headers, body)] = app.app.got
    assert (method, path, body) == ("POST", "/hooks/below?x=1", b'{"a":1}')
    assert headers["X-Dup"] == "1"
    _, event = await at.api("/api/events/1")
    assert event["deliveries"] == {"pending": 0, "running": 0, "succeeded": 1, "failed": 0}


async def test_a_replay_goes_to_a_target_or_a_loopback_url_with_edits(start, app):
    routes = '[[routes]]\nevents = "x"\nto = "app"\n'
    at = await start(f'[targets.app]\nforward = "{app.make_url("/hooks")}"\n{routes}')
    await at.send(data=b'{"a": 1}')
    status, made = await at.api("/api/events/1/replay", "POST", json={"target": "app", "sign": "original"})
    assert status == 202
    assert (await settled(at, made["delivery"]))["reason"] == "replay"
    edits = {"url": str(app.make_url("/other")), "method": "PUT", "headers": [["X-A", "b"]], "body": '{"a": 2}'}
    _, made = await at.api("/api/events/1/replay", "POST", json=edits)
    await settled(at, made["delivery"])
    method, path, headers, body = app.app.got[-1]
    assert (method, path, headers["X-A"], body) == ("PUT", "/other", "b", b'{"a": 2}')
    assert headers["X-Relay-Replay"] == "1"
    _, event = await at.api("/api/events/1")
    assert event["body"]["text"] == '{"a": 1}'


@check_each(
    ("body", "status"),
    [
        ({}, 400),
        ({"target": "nowhere"}, 404),
        ({"url": "ftp://x"}, 422),
        ({"url": "http://169.254.169.254/"}, 422),
        ({"url": "http://10.1.2.3/"}, 422),
        ({"url": "http://user:pw@127.0.0.1:1/"}, 422),
        ({"url": "{ingress}/webhooks/x"}, 422),
        ({"url": "{dashboard}/api/status"}, 422),
        ({"url": "http://127.0.0.1:9/", "sign": "maybe"}, 400),
        ({"url": "http://127.0.0.1:9/", "headers": "x"}, 400),
        ({"url": "http://127.0.0.1:9/", "headers": [["a\r\nb", "c"]]}, 400),
        ({"url": "http://127.0.0.1:9/", "method": "GET / HTTP"}, 400),
        ({"target": "x" * 100_000}, 404),
    ],
)
async def test_a_replay_to_somewhere_it_must_not_go_is_refused(at, body, status):
    await at.send()
    places = {"{ingress}": at.ingress, "{dashboard}": at.dashboard}
    if "url" in body:
        for mark, url in places.items():
            body = {**body, "url": body["url"].replace(mark, url)}
    got, answer = await at.api("/api/events/1/replay", "POST", json=body)
    assert got == status
    assert answer["error"]["message"]
    assert (await at.api("/api/deliveries"))[1]["deliveries"] == []


EDITED = {
    "set": {"items[0].id": "b"},
    "set_headers": {"X-Env": "dev"},
    "remove_headers": ["x-gone"],
    "path": "/other?x=1",
    "target": "app",
}


async def test_a_replay_changes_what_is_named_and_no_other_byte(start, aiohttp_server):
    got = asyncio.Queue()

    async def handle(request):
        got.put_nowait((request.path_qs, request.headers, await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    server = await aiohttp_server(app)
    at = await start(f'[targets.app]\nforward = "{server.make_url("/hooks")}"\n')
    body = b'{ "amount":10.50, "items":[{"id":"a"}] }'
    await at.send(data=body, headers={"Content-Type": "application/json", "X-Gone": "1", "X-Env": "old"})
    await got.get()
    assert (await at.api("/api/events/1/replay", "POST", json=EDITED))[0] == 202
    path, headers, sent = await got.get()
    assert (path, sent) == ("/other?x=1", body.replace(b'"a"', b'"b"'))
    assert (headers["X-Env"], "X-Gone" in headers) == ("dev", False)
    binary = {"target": "app", "body_base64": "AP97fQ=="}
    assert (await at.api("/api/events/1/replay", "POST", json=binary))[0] == 202
    assert (await got.get())[2] == b"\x00\xff{}"


@pytest.fixture
async def with_target(start, unused_tcp_port):
    """A relay with a target that does not answer and an event."""
    at = await start(f'[targets.app]\nforward = "http://127.0.0.1:{unused_tcp_port}/"\n')
    await at.send(data=b'{"a": 1}', headers={"Content-Type": "application/json"})
    return at


@check_each(
    ("edits", "said"),
    [
        ({"set": {"a.b.c": 1}}, "cannot be set"),
        ({"set": ["a"]}, "set must map paths"),
        ({"remove_headers": "X"}, "remove_headers must be a list"),
        ({"body": "x", "body_base64": "eA=="}, "cannot be combined"),
        ({"body_base64": "?"}, "not base64"),
    ],
)
async def test_edits_that_make_no_sense_are_named(with_target, edits, said):
    status, answer = await with_target.api("/api/events/1/replay", "POST", json={"target": "app", **edits})
    assert (status, said in answer["error"]["message"]) == (400, True)


async def test_routes_are_explained_one_by_one(start):
    at = await start(
        '[targets.app]\nforward = "http://127.0.0.1:9/"\n[sources.any]\nprovider = "custom"\n'
        '[sources.other]\nprovider = "custom"\n'
        '[[routes]]\nsource = "any"\nwhen = "payload.n > 1"\nto = "app"\n'
        '[[routes]]\nsource = "any"\nwhen = "payload.missing.deeper"\nto = "app"\n'
        '[[routes]]\nsource = "any"\nevents = ["a.*"]\nto = "app"\n'
        '[[routes]]\nsource = "other"\nto = "app"\n'
    )
    await at.send("/webhooks/any", b'{"n": 2, "type": "b"}', headers={"Content-Type": "application/json"})
    _, told = await at.api("/api/events/1/routes")
    assert [route["matched"] for route in told["routes"]] == [True, False, False, False]
    assert "cannot be judged" in told["routes"][1]["why"]
    assert len((await at.api("/api/deliveries?event=1"))[1]["deliveries"]) == 1


async def test_a_mail_is_previewed_and_kept_in_the_outbox_without_smtp(start):
    at = await start(
        '[emails.hi]\nto = "ada@example.com"\nsubject = "Hello {{ payload.name }}"\ntext = "n is {{ payload.n }}"\n'
    )
    await at.send(data=b'{"name": "Ada", "n": 1}', headers={"Content-Type": "application/json"})
    _, shown = await at.api("/api/events/1/email/preview", "POST", json={"template": "hi"})
    assert (shown["to"], shown["subject"]) == (["ada@example.com"], "Hello Ada")
    assert "n is 1" in shown["text"]
    assert (await at.api("/api/messages"))[1]["messages"] == []
    status, made = await at.api("/api/events/1/email", "POST", json={"template": "hi"})
    assert status == 202
    assert (await settled(at, made["delivery"]))["state"] == "succeeded"
    [message] = (await at.api("/api/messages"))[1]["messages"]
    assert (message["status"], message["recipient"], message["event"]) == ("outbox", "ada@example.com", 1)
    assert list((at.relay.config.server.data_dir / "outbox").glob("*.eml"))
    assert (await at.api("/api/events/1/email", "POST", json={"template": "no"}))[0] == 404


async def test_a_mail_goes_out_once_unless_it_is_forced(start):
    at = await start('[emails.hi]\nto = "ada@example.com"\nsubject = "Hi"\ntext = "Hi"\n')
    await at.send()
    _, made = await at.api("/api/events/1/email", "POST", json={"template": "hi"})
    assert (await settled(at, made["delivery"]))["state"] == "succeeded"
    status, refused = await at.api("/api/events/1/email", "POST", json={"template": "hi", "to": "b@example.com"})
    assert (status, refused["error"]["code"]) == (409, "sent_already")
    assert refused["error"]["message"].startswith("#1 was kept in the outbox with hi already: ")
    assert refused["error"]["message"].endswith(" UTC to ada@example.com")
    assert "--force" in refused["error"]["hint"]
    assert (await at.api(f"/api/deliveries/{made['delivery']}/retry", "POST"))[0] == 409
    status, made = await at.api("/api/events/1/email", "POST", json={"template": "hi", "force": True})
    assert status == 202
    assert (await settled(at, made["delivery"]))["detail"] == "kept in the outbox"
    assert len((await at.api("/api/messages"))[1]["messages"]) == 2


async def test_a_preview_tells_everything_of_a_mail(start):
    at = await start(
        '[emails.hi]\nto = "ada@example.com"\ncc = "{{ payload.boss }}"\nbcc = ["c@example.com"]\n'
        'reply_to = "r@example.com"\nsubject = "Hi"\ntext = "Hi"\nattach = "payload"\n'
    )
    await at.send(data=b'{"boss": "b@example.com"}', headers={"Content-Type": "application/json"})
    _, shown = await at.api("/api/events/1/email/preview", "POST", json={"template": "hi"})
    assert shown == {
        "to": ["ada@example.com"],
        "cc": ["b@example.com"],
        "bcc": ["c@example.com"],
        "reply_to": ["r@example.com"],
        "subject": "Hi",
        "html": "",
        "text": "Hi",
        "attachments": [{"name": "event-1.json", "type": "application/json", "size": 30}],
    }


@pytest.fixture
async def with_mail(start):
    """A relay with a mail template and an event."""
    at = await start(
        '[emails.hi]\nto = "ada@example.com"\nsubject = "Hi"\ntext = "Hi"\n[smtp]\nhost = "127.0.0.1"\nport = 1\n'
        'security = "none"\nsender = "relay@example.com"\nallow_recipients = ["*@example.com"]\n'
    )
    await at.send()
    return at


@check_each(
    ("letter", "status", "words"),
    [
        ({}, 400, "template is missing"),
        ({"template": "hi", "to": 7}, 400, "to must be an address or a list of addresses"),
        ({"template": "hi", "to": ["a@example.com", 7]}, 400, "to must be an address or a list of addresses"),
        ({"template": "hi", "force": "yes"}, 400, "force must be true or false"),
        ({"template": "hi", "cc": "x@example.com"}, 400, "unknown key 'cc'"),
        ({"template": "hi", "to": "a@example.com, b@example.com"}, 422, "is not one mail address"),
        ({"template": "hi", "to": "a@example.com\r\nBcc: b@example.com"}, 422, "is not one mail address"),
        ({"template": "hi", "to": "\ud800@example.com"}, 422, "is not one mail address"),
        ({"template": "hi", "to": ["eve@evil.org"]}, 422, "eve@evil.org is not among the allowed recipients"),
        ({"template": "hi", "to": ["a@example.com"] * 51}, 202, ""),
        ({"template": "hi", "to": [f"a{n}@example.com" for n in range(51)]}, 422, "needs 1 to 50 recipients"),
    ],
)
async def test_a_mail_that_makes_no_sense_is_refused_with_a_sentence(with_mail, letter, status, words):
    got, answer = await with_mail.api("/api/events/1/email", "POST", json=letter)
    assert (got, words in answer.get("error", {}).get("message", "")) == (status, True), answer


async def test_a_message_sent_elsewhere_is_registered(at):
    new = {"channel": "sms", "provider": "twilio", "external_id": "SM1", "recipient": "+15551234"}
    status, message = await at.api("/api/messages", "POST", json=new)
    assert (status, message["status"]) == (201, "sent")
    assert (await at.api("/api/messages", "POST", json={"channel": "fax"}))[0] == 400


async def test_the_stream_tells_events_and_resumes(at):
    await at.send(data=b'{"n": "\\r\\ndata: forged\\n\\n"}')
    headers = {"Authorization": f"Bearer {at.token}", "Last-Event-ID": "0"}
    async with at.session.get(at.dashboard + "/api/stream", headers=headers) as response:
        assert response.content_type == "text/event-stream"
        assert (await response.content.readuntil(b"\n\n")).startswith(b"event: status\n")
        missed = await response.content.readuntil(b"\n\n")
        assert missed.startswith(b"id: 1\nevent: event\n")
        await at.send()
        async with asyncio.timeout(60):
            assert (await response.content.readuntil(b"\n\n")).startswith(b"id: 2\n")


async def read_event_ids(response, count):
    """Return the numbers of the next `count` events of a stream."""
    ids = []
    async with asyncio.timeout(60):
        while len(ids) < count:
            message = await response.content.readuntil(b"\n\n")
            if message.startswith(b"id: "):
                ids.append(int(message.split()[1]))
    return ids


async def import_events(at, numbers):
    lines = (
        {"relay_export": 1, "received_at": "2026-01-01T00:00:00Z", "method": "POST", "path": f"/webhooks/{number}"}
        | {"source": "s", "headers": [], "body": {"encoding": "utf-8", "text": "{}"}}
        for number in numbers
    )
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    status, answer = await at.api("/api/import", "POST", data=body, headers={"Content-Type": "application/x-ndjson"})
    assert (status, answer["imported"]) == (200, len(numbers)), answer


async def test_the_stream_resumes_with_every_event_however_many_were_missed(at):
    await import_events(at, range(1100))
    await at.api("/api/events/600", "DELETE")
    headers = {"Authorization": f"Bearer {at.token}", "Last-Event-ID": "10"}
    async with at.session.get(at.dashboard + "/api/stream", headers=headers) as response:
        assert await read_event_ids(response, 1089) == [*range(11, 600), *range(601, 1101)]
        await at.send()
        assert await read_event_ids(response, 1) == [1101]


async def test_the_stream_gives_the_events_too_that_its_queue_has_lost(at):
    def flood(_):
        for _ in range(MAX_LAG):
            at.relay.bus.publish(MessageChanged(1, 1, "sent"))

    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(at.dashboard + "/api/stream", headers=headers) as response:
        assert (await response.content.readuntil(b"\n\n")).startswith(b"event: status\n")
        at.relay.bus.on(flood, EventStored)
        await at.send()
        await at.send()
        assert await read_event_ids(response, 2) == [1, 2]


async def test_the_stream_goes_on_after_a_number_that_there_is_not_yet(at):
    headers = {"Authorization": f"Bearer {at.token}", "Last-Event-ID": "1000"}
    async with at.session.get(at.dashboard + "/api/stream", headers=headers) as response:
        assert (await response.content.readuntil(b"\n\n")).startswith(b"event: status\n")
        await at.send()
        assert await read_event_ids(response, 1) == [1]


HALF = "\ud800"


@check_each(
    ("path", "method", "body"),
    [
        ("/api/deliveries/retry", "POST", {"target": HALF}),
        ("/api/deliveries/cancel", "POST", {"target": HALF}),
        ("/api/replays", "POST", {"q": HALF, "target": "app"}),
        ("/api/replays", "POST", {"q": "", "target": HALF}),
        ("/api/labs", "POST", {"target": HALF}),
        ("/api/labs", "POST", {"target": "app", "q": HALF}),
        ("/api/messages", "POST", {"id": HALF, "channel": "email", "recipient": "a@b.example", "provider": "resend"}),
        ("/api/messages", "POST", {"id": "1", "channel": "email", "recipient": HALF, "provider": "resend"}),
        ("/api/emails/dry-run", "POST", {"q": HALF}),
        ("/api/emails/dry-run", "POST", {"q": "", "template": HALF}),
        ("/api/catch-up", "POST", {"source": HALF}),
        ("/api/triggers", "POST", {"source": HALF, "type": "x"}),
        ("/api/triggers", "POST", {"source": "stripe", "type": HALF}),
        ("/api/events/1/replay", "POST", {"url": f"http://127.0.0.1:9/{HALF}"}),
        ("/api/events/1/replay", "POST", {"target": HALF}),
        ("/api/events/1/replay", "POST", {"target": "app", "path": f"/{HALF}"}),
        ("/api/events/1/replay", "POST", {"target": "app", "body": HALF}),
        ("/api/events/1/email", "POST", {"template": HALF}),
        ("/api/events/1", "PATCH", {"note": HALF}),
    ],
)
async def test_half_a_surrogate_pair_is_refused_with_a_sentence(with_target, path, method, body):
    at = with_target
    status, answer = await at.api(path, method, json=body)
    assert (status, answer["error"]["code"]) in {(400, "bad_request"), (404, "not_found")}, answer
    assert answer["error"]["message"].isprintable()
