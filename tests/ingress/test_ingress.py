import asyncio
import base64
import hashlib
import hmac
import json
import time

import pytest

from cases import check_each
from relay.errors import ConfigError

SECRET = "It's a Secret to Everybody"


def github(body, secret=SECRET, **headers):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "push", **headers}


async def raw(at, data, *, wait=60):
    """Send bytes to the ingress and return everything that comes back."""
    host, port = at.ingress.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await writer.drain()
    try:
        async with asyncio.timeout(wait):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def the_event(at, id_=1):
    status, event = await at.api(f"/api/events/{id_}")
    assert status == 200
    return event


async def count(at):
    return len((await at.api("/api/events"))[1]["events"])


async def test_the_answer_names_event_and_outcome(at):
    status, body = await at.send()
    assert status == 200
    assert json.loads(body) == {"success": True, "event": 1, "outcome": "accepted"}


@check_each("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"])
async def test_any_method_is_captured(at, method):
    assert (await at.send(method=method))[0] == 200
    assert (await at.api("/api/events?limit=1"))[1]["events"][0]["method"] == method


async def test_headers_keep_order_case_and_repeats_and_the_body_its_bytes(at):
    body = b"\x00\xff\r\n\x1b[31m"
    head = (
        b"POST /webhooks/x/%0a%2F/../b//c?a=1&a=2&b HTTP/1.1\r\nHOST: h\r\nX-Dup: 1\r\nx-dup: 2\r\nX-DUP: \xff\xe9\r\n"
        b"X-Utf: \xc3\xa9\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
    )
    assert (await raw(at, head + body)).startswith(b"HTTP/1.1 200")
    event = await the_event(at)
    assert event["headers"][:5] == [["HOST", "h"], ["X-Dup", "1"], ["x-dup", "2"], ["X-DUP", "ÿé"], ["X-Utf", "é"]]
    assert (event["path"], event["query"]) == ("/webhooks/x/%0a%2F/../b//c", "a=1&a=2&b")
    assert event["sha256"] == hashlib.sha256(body).hexdigest()
    assert base64.b64decode(event["body"]["text"]) == body
    assert (await at.api("/api/events/1/body"))[1] == body


async def test_chunked_bodies_are_joined_and_compressed_ones_left_alone(at):
    data = b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 200 " in await raw(at, data + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    assert (await at.api("/api/events/1/body"))[1] == b"abcdefg"


async def test_a_query_of_a_question_mark_alone_is_kept_shown_exported_and_forwarded(start, aiohttp_server):
    lines = asyncio.Queue()

    async def talk(reader, writer):
        lines.put_nowait(await reader.readline())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        at = await start(f'[targets.app]\nforward = "http://127.0.0.1:{port}/h"\n')
        for mark in (b"", b"?", b"??", b"?a="):
            answer = await raw(at, b"POST /webhooks/x%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % mark)
            assert b" 200 " in answer
            assert await lines.get() == b"POST /h%s HTTP/1.1\r\n" % mark
    events = [await the_event(at, id_) for id_ in (1, 2, 3, 4)]
    assert [event["target"] for event in events] == ["/webhooks/x", "/webhooks/x?", "/webhooks/x??", "/webhooks/x?a="]
    assert {event["path"] for event in events} == {"/webhooks/x"}
    for form, wanted in (("curl", "/webhooks/x?'"), ("http", "/webhooks/x? HTTP"), ("jsonl", '/webhooks/x?"')):
        exported = (await at.api(f"/api/export?q=id:2&as={form}"))[1]
        text = exported.decode() if isinstance(exported, bytes) else json.dumps(exported)
        assert wanted in text, text
    assert b"/webhooks/x?</" in (await at.api("/events/2/headers"))[1]


async def test_expect_is_not_forwarded(start, aiohttp_server):
    heads = asyncio.Queue()

    async def talk(reader, writer):
        heads.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        at = await start(f'[targets.app]\nforward = "http://127.0.0.1:{server.sockets[0].getsockname()[1]}/h"\n')
        await at.send(headers={"Expect": "100-continue"}, expect100=True)
        head = await heads.get()
    assert b"expect" not in head.lower()
    assert ["Expect", "100-continue"] in (await the_event(at))["headers"]


async def test_a_body_announced_with_expect_is_asked_for(at):
    host, port = at.ingress.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


@check_each(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /api/status HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /login HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /static/css/base.css HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /webhooks HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /webhooks/ HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"POST //webhooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 404),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"TRACE /webhooks/x HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"POST /webhooks/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST /webhooks/x HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST /webhooks/x HTTP/2.0\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 505),
        (b"POST /webhooks/x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (
            b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nabcde", 400),
        (b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nExpect: nonsense\r\nContent-Length: 0\r\n\r\n", 417),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32 + b"\r\n\r\n", 400),
        (b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 400),
    ],
)
async def test_what_is_no_webhook_is_refused_and_not_stored(at, data, status):
    answer = await raw(at, data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    assert int(answer.split(b" ", 2)[1]) == status
    assert b"aiohttp" not in answer
    assert b"Traceback" not in answer
    assert await count(at) == 0


async def test_health_names_the_endpoints(start):
    at = await start("[sources.github]\n")
    status, body = await at.send("/webhooks/health", method="GET", data=None)
    health = json.loads(body)
    assert status == 200
    assert (health["status"], health["service"]) == ("healthy", "relay")
    assert health["endpoints"] == {"github": "/webhooks/github"}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413_and_not_stored(start, chunked):
    at = await start('[server]\nmax_body = "1KB"\n')

    async def pieces():
        yield b"x" * 600
        yield b"x" * 600

    data = pieces() if chunked else b"x" * 1001
    assert (await at.send(data=data))[0] == 413
    assert (await at.send(data=b"x" * 1000))[0] == 200
    assert await count(at) == 1


async def test_an_unknown_name_is_404_when_the_inbox_is_closed(start):
    at = await start("[server]\ninbox = false\n[sources.github]\n")
    assert (await at.send("/webhooks/other"))[0] == 404
    assert (await at.send("/webhooks/github", data=b"{}", headers=github(b"{}")))[0] == 200


@pytest.mark.parametrize("path", ["/webhooks/caf\u00e9", "/webhooks/caf%C3%A9"])
async def test_a_path_with_letters_is_called_as_utf_8(start, path):
    at = await start(f'[sources.github]\npath = "{path}"\n')
    assert at.relay.sources.by_name["github"].path == "/webhooks/caf%C3%A9"
    assert (await at.send("/webhooks/caf%C3%A9/eu"))[0] == 401
    assert (await at.send("/webhooks/caf%C3%A9", data=b"{}", headers=github(b"{}")))[0] == 200
    status, _ = await at.api("/api/triggers", "POST", json={"source": "github", "type": "push"})
    assert (status, (await the_event(at, 3))["verdict"]) == (201, "verified")


async def test_two_spellings_of_a_path_are_one(start):
    with pytest.raises(ConfigError, match=r"/webhooks/a%20b is the path of sources\.one already"):
        await start('[sources.one]\npath = "/webhooks/a b"\n[sources.two]\npath = "/webhooks/a%20b"\n')


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("caf%C3%A9", "caf\u00e9"),
        ("%E6%97%A5%E6%9C%AC", "\u65e5\u672c"),
        ("%F0%9F%90%9B/x", "\U0001f41b"),
        ("caf%E9", "caf\u00e9"),
        ("a%20b%3Fc", "a b?c"),
    ],
)
async def test_a_name_of_any_letters_is_captured_and_can_be_triggered(start, path, name):
    at = await start("")
    assert (await at.send(f"/webhooks/{path}"))[0] == 200
    assert (await the_event(at))["source"] == name
    assert (await at.api("/api/triggers", "POST", json={"source": name, "type": "x"}))[0] == 201
    assert (await the_event(at, 2))["source"] == name


async def test_a_verified_event_is_marked_so(at):
    assert (await at.send("/webhooks/github", b"{}", headers=github(b"{}")))[0] == 200
    event = await the_event(at)
    assert (event["verdict"], event["outcome"], event["type"], event["reason"]) == (
        "verified",
        "accepted",
        "push",
        None,
    )
    assert event["checks"]


async def test_a_forged_event_is_401_seen_and_owes_nothing(start):
    at = await start('[sources.github]\n[targets.app]\nforward = "http://127.0.0.1:9/"\n')
    forged = github(b"{}", secret="other", **{"X-GitHub-Delivery": "d1"})
    status, body = await at.send("/webhooks/github", b"{}", headers=forged)
    assert status == 401
    assert b"signature not valid" in body
    assert b"mismatch" not in body
    event = await the_event(at)
    assert (event["verdict"], event["outcome"], event["reason"]) == ("invalid", "rejected", "signature_mismatch")
    assert event["delivery_ids"] == []
    real = github(b"{}", **{"X-GitHub-Delivery": "d1"})
    assert b'"accepted"' in (await at.send("/webhooks/github", b"{}", headers=real))[1]


async def test_a_missing_signature_is_invalid_and_says_so(at):
    assert (await at.send("/webhooks/github", b"{}"))[0] == 401
    assert (await the_event(at))["reason"] == "signature_missing"


async def test_report_accepts_and_flags_but_claims_no_key(start):
    at = await start('[sources.github]\nverify = "report"\n[targets.app]\nforward = "http://127.0.0.1:9/"\n')
    headers = github(b"{}", secret="wrong", **{"X-GitHub-Delivery": "d1"})
    assert (await at.send("/webhooks/github", b"{}", headers=headers))[0] == 200
    event = await the_event(at)
    assert (event["verdict"], event["outcome"], len(event["delivery_ids"])) == ("invalid", "accepted", 1)
    real = github(b"{}", **{"X-GitHub-Delivery": "d1"})
    assert b'"accepted"' in (await at.send("/webhooks/github", b"{}", headers=real))[1]


async def test_verification_that_is_off_is_said_on_the_event(start):
    at = await start('[sources.github]\nverify = "off"\n')
    assert (await at.send("/webhooks/github", b"{}"))[0] == 200
    assert (await the_event(at))["reason"] == "verification_off"


async def test_without_a_secret_events_are_kept_unchecked(start):
    at = await start("[sources.github]\n", environ={})
    assert (await at.send("/webhooks/github", b"{}", headers=github(b"{}")))[0] == 200
    event = await the_event(at)
    assert (event["verdict"], event["reason"]) == ("unchecked", "secret_missing")


async def test_a_key_seen_before_is_a_duplicate_answered_200(at):
    headers = github(b"{}", **{"X-GitHub-Delivery": "d1"})
    await at.send("/webhooks/github", b"{}", headers=headers)
    status, body = await at.send("/webhooks/github", b"{}", headers=headers)
    assert (status, json.loads(body)["outcome"]) == (200, "duplicate")
    assert (await the_event(at, 2))["duplicate_of"] == 1


async def test_an_event_that_is_not_listed_is_ignored(start):
    at = await start('[sources.github]\nevents = ["pull_*"]\n[targets.app]\nforward = "http://127.0.0.1:9/"\n')
    status, body = await at.send("/webhooks/github", b"{}", headers=github(b"{}"))
    assert (status, json.loads(body)["outcome"]) == (200, "ignored")
    event = await the_event(at)
    assert (event["reason"], event["delivery_ids"]) == ("event_not_listed", [])


async def test_a_required_key_that_is_missing_is_400(start):
    at = await start(
        '[sources.any]\nprovider = "custom"\nrequire_idempotency_key = true\nidempotency_key = "body:/event_id"\n'
    )
    assert (await at.send("/webhooks/any", b"{}"))[0] == 400
    assert (await the_event(at))["reason"] == "idempotency_key_missing"
    assert (await at.send("/webhooks/any", b'{"event_id": 7}', headers={"Content-Type": "application/json"}))[0] == 200
    assert (await the_event(at, 2))["idempotency_key"] == "7"


async def test_a_source_answers_as_configured(start):
    at = await start("[sources.any]\nprovider = \"custom\"\nanswer = { status = 202, body = '[accepted]' }\n")
    assert await at.send("/webhooks/any") == (202, b"[accepted]")


async def test_a_forward_that_came_back_is_508_and_recorded(at):
    assert (await at.send(headers={"X-Relay-Hop": "1"}))[0] == 508
    event = await the_event(at)
    assert (event["outcome"], event["reason"]) == ("rejected", "loop")


async def test_a_store_that_cannot_commit_is_503_with_retry_after(at):
    at.relay.store.path.rename(at.relay.store.path.with_suffix(".gone"))
    async with at.session.post(at.ingress + "/webhooks/x", data=b"{}") as response:
        assert response.status == 503
        assert response.headers["Retry-After"]


async def test_the_mark_of_a_sample_cannot_be_forged(at):
    await at.send(headers={"X-Relay-Sample": "guess"})
    assert (await the_event(at))["sample"] is False


async def test_a_second_secret_verifies_while_the_first_is_rotated_in(start):
    at = await start(
        '[sources.github]\nsecret = ["env:NEW", "env:OLD"]\n', environ={"NEW": "new-secret", "OLD": SECRET}
    )
    assert (await at.send("/webhooks/github", b"{}", headers=github(b"{}")))[0] == 200
    assert (await at.send("/webhooks/github", b"[]", headers=github(b"[]", secret="new-secret")))[0] == 200
    assert (await at.send("/webhooks/github", b"1", headers=github(b"1", secret="neither")))[0] == 401


async def test_a_custom_scheme_verifies_as_declared(start):
    at = await start(
        """
[sources.billing]
secret = "env:B"
[sources.billing.signature]
scheme = "hmac"
header = "X-Signature"
encoding = "hex"
prefix = "sha256="
content = "{timestamp}.{body}"
timestamp = "header:X-Timestamp"
[sources.push]
secret = "env:B"
[sources.push.signature]
scheme = "token"
header = "X-Token"
[sources.pull]
secret = "env:USER"
[sources.pull.signature]
scheme = "basic"
""",
        environ={"B": "s3cret", "USER": "me:pä:ss"},
    )
    now = str(int(time.time()))
    good = hmac.new(b"s3cret", now.encode() + b".{}", hashlib.sha256).hexdigest()
    headers = {"X-Timestamp": now, "X-Signature": f"sha256={good}"}
    assert (await at.send("/webhooks/billing", b"{}", headers=headers))[0] == 200
    assert (await at.send("/webhooks/billing", b"{ }", headers=headers))[0] == 401
    assert (await at.send("/webhooks/push", headers={"X-Token": "s3cret"}))[0] == 200
    assert (await at.send("/webhooks/push", headers={"X-Token": "s3cre"}))[0] == 401
    basic = base64.b64encode("me:pä:ss".encode()).decode()
    assert (await at.send("/webhooks/pull", headers={"Authorization": f"bAsIc {basic}"}))[0] == 200
    assert (await at.send("/webhooks/pull"))[0] == 401


async def test_many_at_once_are_all_kept_once(at):
    answers = await asyncio.gather(*(at.send(data=b'{"n": %d}' % n) for n in range(200)))
    ids = [json.loads(body)["event"] for _, body in answers]
    assert sorted(ids) == list(range(1, 201))


async def test_a_store_that_fails_for_a_while_is_logged_once_and_recovers(at, caplog):
    path = at.relay.store.path
    path.rename(path.with_suffix(".gone"))
    for _ in range(5):
        assert (await at.send())[0] == 503
    path.with_suffix(".gone").rename(path)
    assert (await at.send())[0] == 200
    lines = [record for record in caplog.records if "no event can be kept" in record.message]
    assert len(lines) == 1
