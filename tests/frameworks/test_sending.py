"""`relay.send`: what is sent, how it is signed, and what comes of addresses that answer nothing."""

import asyncio
import dataclasses
import decimal
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from aiohttp import web
from pydantic import BaseModel
from standardwebhooks import Webhook

import relay
from relay.errors import (
    ConfigError,
    InvalidPayloadError,
    RelayError,
    SendError,
    SigningError,
    TargetError,
    TimedOutError,
    UnreachableError,
    UsageError,
)
from relay.frameworks.sending import send, send_async, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Note(BaseModel):
    event_id: int
    at: datetime


@dataclasses.dataclass
class Plain:
    amount: decimal.Decimal


class Receiver:
    """A real endpoint: `got` holds what came, `answer` makes what it says."""

    def __init__(self):
        self.url = ""
        self.got = []
        self.answer = lambda: web.json_response({"taken": True}, status=201)

    async def take(self, request):
        self.got.append((request.method, request.path_qs, request.headers.copy(), await request.read()))
        made = self.answer()
        return await made if asyncio.iscoroutine(made) else made


@pytest.fixture
async def receiver():
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks?x=1"
    yield receiver
    await runner.cleanup()


async def test_a_payload_is_posted_as_json_with_a_key_of_its_own(receiver):
    sent = await send_async({"name": "Zoë", "at": datetime(2026, 1, 2, tzinfo=UTC)}, receiver.url)
    [(method, path, headers, body)] = receiver.got
    assert (method, path) == ("POST", "/hooks?x=1")
    assert json.loads(body) == {"name": "Zoë", "at": "2026-01-02T00:00:00Z"}
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == sent.key
    assert len(sent.key) == 32
    assert headers["User-Agent"] == f"relay/{relay.__version__}"
    assert (sent.status, sent.ok, sent.json, "webhook-signature" in headers) == (201, True, {"taken": True}, False)


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (Note(event_id=1, at=datetime(2026, 1, 2, tzinfo=UTC)), b'{"event_id":1,"at":"2026-01-02T00:00:00Z"}'),
        (Plain(decimal.Decimal("1.50")), b'{"amount":"1.50"}'),
        ([1, None], b"[1,null]"),
        ("text", b'"text"'),
        (b"\x00 as it is", b"\x00 as it is"),
    ],
)
async def test_whatever_can_be_json_is_sent(receiver, payload, body):
    await send_async(payload, receiver.url)
    assert receiver.got[0][3] == body


@pytest.mark.parametrize("payload", [object(), {"x": float("nan")}, {"x": {1, object()}}, "\ud800"])
async def test_what_cannot_be_json_is_refused(receiver, payload):
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        await send_async(payload, receiver.url)
    assert receiver.got == []


async def test_a_key_given_is_the_key_sent_and_headers_may_be_added(receiver):
    sent = await send_async({}, receiver.url, key="k-1", headers={"content-type": "application/x", "X-Own": "ü"})
    headers = receiver.got[0][2]
    assert sent.key == headers["Idempotency-Key"] == "k-1"
    assert headers.getall("Content-Type") == ["application/x"]
    assert headers["X-Own"].encode("utf-8", "surrogateescape") == b"\xfc"
    sent = await send_async({}, receiver.url, headers={"idempotency-key": "k-2"}, secret=SECRET)
    headers = receiver.got[1][2]
    assert sent.key == headers["webhook-id"] == headers["Idempotency-Key"] == "k-2"


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"Content-Length": "1"}, {"host": "x"}, {"\u2169": "1"}])
async def test_headers_that_would_break_a_request_are_refused(receiver, headers):
    with pytest.raises(UsageError):
        await send_async({}, receiver.url, headers=headers)
    assert receiver.got == []


async def test_a_payload_that_does_not_fit_is_not_sent(receiver, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.json").write_text('{"required": ["event_id", "at"]}')
    (tmp_path / "models.py").write_text(
        "from pydantic import BaseModel\nclass Note(BaseModel): event_id: int; at: str\n"
    )
    for schema in (Note, "note.json", "models:Note"):
        with pytest.raises(InvalidPayloadError) as caught:
            await send_async({"event_id": 1}, receiver.url, schema=schema)
        assert caught.value.problems == ("at is missing",)
        assert "at is missing" in caught.value.message
        assert (await send_async({"event_id": 1, "at": "2026-01-02T00:00:00Z"}, receiver.url, schema=schema)).ok
    with pytest.raises(ConfigError, match="there is no file"):
        await send_async({}, receiver.url, schema="gone.json")
    with pytest.raises(UsageError, match="is not a model"):
        await send_async({}, receiver.url, schema=Receiver)
    assert len(receiver.got) == 3


async def test_with_a_secret_it_is_signed_as_standard_webhooks(receiver):
    sent = await send_async({"a": 1}, receiver.url, secret=SECRET)
    _, _, headers, body = receiver.got[0]
    assert Webhook(SECRET).verify(body, headers) == {"a": 1}
    assert headers["webhook-id"] == sent.key == headers["Idempotency-Key"]


async def test_a_running_relay_verifies_every_signature(start):
    at = await start(
        '[sources.github]\nsecret = "env:S"\n[sources.own]\nprovider = "custom"\nsecret = "env:S"\n'
        '[sources.own.signature]\nscheme = "hmac"\nheader = "X-Signature"\nprefix = "sha256="\n',
        environ={"S": "a secret"},
    )
    own = {"scheme": "hmac", "header": "X-Signature", "prefix": "sha256="}
    for name, signature in (("github", "github"), ("own", own)):
        sent = await send_async({"n": 1}, f"{at.ingress}/webhooks/{name}", secret="a secret", signature=signature)
        _, event = await at.api(f"/api/events/{sent.json['event']}")
        assert (sent.status, event["verdict"]) == (200, "verified")
        assert (
            await send_async({}, f"{at.ingress}/webhooks/{name}", secret="other", signature=signature)
        ).status == 401


async def test_the_same_key_twice_is_a_duplicate_at_relay(start):
    at = await start('[sources.own]\nprovider = "custom"\n')
    outcomes = [(await send_async({}, at.ingress + "/webhooks/own", key="k")).json["outcome"] for _ in range(2)]
    assert outcomes == ["accepted", "duplicate"]


async def test_signatures_and_secrets_that_make_no_sense_are_refused(receiver):
    for signature, kind in (("nobody", UsageError), ({"scheme": "hmac"}, ConfigError), ({"skeme": 1}, ConfigError)):
        with pytest.raises(kind):
            await send_async({}, receiver.url, secret="s", signature=signature)
    with pytest.raises(SigningError) as caught:
        await send_async({}, receiver.url, secret="not base64!")
    assert "not base64" not in str(caught.value)
    assert "The secret is not in the form" in caught.value.message
    assert receiver.got == []


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:0/", "http://a b/", "http://user:pw@127.0.0.1/",
     "http://169.254.169.254/latest", "http://nowhere.invalid/", "javascript:alert(1)"],
)  # fmt: skip
async def test_an_address_that_is_none_or_must_not_be_dialled_is_refused(url):
    with pytest.raises(TargetError) as caught:
        await send_async({}, url)
    assert caught.value.hint


async def test_nobody_there_no_answer_in_time_and_no_http_are_told_apart(receiver):
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9: connection refused"):
        await send_async({}, "http://127.0.0.1:9/")
    hanging = asyncio.Event()

    async def hang():
        await hanging.wait()
        return web.Response()

    receiver.answer = hang
    with pytest.raises(TimedOutError, match=r"no answer in 0\.2 s"):
        await send_async({}, receiver.url, timeout=0.2)
    hanging.set()

    async def rude(reader, writer):
        await reader.readline()
        writer.write(b"SSH-2.0-nonsense\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SendError) as caught:
            await send_async({}, f"http://127.0.0.1:{port}/")
    assert type(caught.value) is SendError
    assert issubclass(TimedOutError, RelayError)


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
async def test_any_status_is_an_answer_and_no_redirect_is_followed(receiver, status):
    receiver.answer = lambda: web.Response(status=status, headers={"Location": "/elsewhere"}, body=b"no")
    sent = await send_async({}, receiver.url)
    assert (sent.status, sent.ok, sent.body, sent.json, len(receiver.got)) == (status, False, b"no", None, 1)
    assert ("Location", "/elsewhere") in sent.headers


async def test_send_waits_in_a_thread_and_refuses_to_block_a_loop(receiver):
    sent = await asyncio.to_thread(send, {"a": 1}, receiver.url, key="k")
    assert (sent.status, sent.key) == (201, "k")
    with pytest.raises(UsageError, match="inside a running event loop") as caught:
        send({}, receiver.url)
    assert "send_async" in caught.value.hint


def test_the_public_door_has_send_and_imports_it_at_the_first_use():
    program = (
        "import sys, relay\n"
        "assert 'aiohttp' not in sys.modules and 'pydantic' not in sys.modules\n"
        "assert callable(relay.send) and callable(relay.send_async)\n"
        "from relay import send\n"
        "import relay.frameworks.sending\n"
        "assert relay.send is send\n"
        "try: relay.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'relay' has no attribute 'nothing'\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"body": "text"}, "body must be bytes | bytearray, not str"),
        ({"url": None}, "url must be str, not NoneType"),
        ({"secret": b"x"}, "secret must be str, not bytes"),
        ({"signature": 7}, "signature must be str | Mapping, not int"),
        ({"signature": {7: "x"}}, "a key of signature must be str, not int"),
        ({"method": 7}, "method must be str, not int"),
        ({"headers": 7}, "headers must be Iterable, not int"),
        ({"headers": {"A": "b"}}, "headers are pairs of name and value, each a str"),
        ({"headers": [("A", 7)]}, "headers are pairs of name and value, each a str"),
    ],
)
def test_sign_says_which_argument_is_of_another_type(wrong, said):
    with pytest.raises(TypeError) as raised:
        sign(**{"body": b"", "url": "http://localhost/", "secret": SECRET} | wrong)
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": 7}, "url must be str, not int"),
        ({"secret": 7}, "secret must be str | None, not int"),
        ({"secret": "s", "signature": None}, "signature must be str | Mapping, not NoneType"),
        ({"key": 7}, "key must be str | None, not int"),
        ({"headers": [("A", "b")]}, "headers must be Mapping | None, not list"),
        ({"headers": {"A": 7}}, "the value of 'A' must be str, not int"),
        ({"headers": {7: "A"}}, "the header 7 must be str, not int"),
        ({"timeout": "3"}, "timeout must be int | float, not str"),
        ({"schema": 7}, "7 is not a model"),
    ],
)
async def test_send_says_which_argument_is_of_another_type(receiver, wrong, said):
    with pytest.raises((TypeError, UsageError)) as raised:
        await send_async({}, **{"url": receiver.url} | wrong)
    assert str(raised.value).startswith(said)


def test_sign_makes_what_the_receiver_verifies_and_replaces_an_older_signature():
    body, old = b'{"a": 1}', [("webhook-signature", "v1,old"), ("X-Kept", "1")]
    signed = sign(body, "http://localhost/hooks", secret=SECRET, headers=old)
    assert Webhook(SECRET).verify(signed.body, dict(signed.headers)) == {"a": 1}
    assert ("X-Kept", "1") in signed.headers
    assert "v1,old" not in dict(signed.headers).values()


@pytest.mark.parametrize("signature", ["nothing", "stripe/nothing", {"scheme": "nothing"}])
def test_sign_refuses_a_signature_that_it_does_not_know(signature):
    with pytest.raises(RelayError):
        sign(b"", "http://localhost/", secret=SECRET, signature=signature)
