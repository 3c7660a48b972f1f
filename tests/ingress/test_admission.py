"""Who and what comes in, through a real relay: addresses, rate, size, and what an event must be like."""

import asyncio
import hashlib
import hmac
import io
import json

import pytest

from cases import check_each
from relay.model.admission import Rate
from relay.pipeline import large_bodies
from relay.platform import SystemClock

TUNNEL = '[tunnel]\nprovider = "static"\npublic_url = "https://hooks.example.dev"\n'
GATED = '[sources.shop]\nprovider = "custom"\nallow_ips = ["198.51.100.0/24", "2001:db8::/32"]\n'
MODEL = """
from datetime import datetime
from pydantic import BaseModel

class Note(BaseModel):
    event_id: int
    timestamp: datetime
    event_type: str
    description: str
"""
NOTE = {"event_id": 1, "timestamp": "2026-01-02T03:04:05Z", "event_type": "a.b", "description": "c"}
SECRET = "It's a Secret to Everybody"


def signed(body, secret=SECRET):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "push", "Content-Type": "application/json"}


async def post(at, value, path="/webhooks/shop", **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): said for name, said in headers.items()}
    status, answer = await at.send(path, body, headers=headers)
    return status, json.loads(answer)


async def stored(at):
    return (await at.api("/api/events"))[1]["events"]


async def refused(at):
    return (await at.api("/api/status"))[1]["refused"]


@pytest.fixture
def shop(start, tmp_path):
    """Start a relay whose source `shop` has the rules given."""

    async def go(rules, more="", *, clock=None, **files):
        for name, text in files.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(text)
        return await start(f'[sources.shop]\nprovider = "custom"\n{rules}\n{more}', clock=clock)

    return go


class Stood(SystemClock):
    """A clock whose seconds are moved by hand."""

    at = 100.0

    def monotonic(self):
        return self.at


# ---- addresses ----


async def test_an_address_that_is_not_listed_is_403_counted_and_not_stored(start):
    at = await start(GATED)
    status, answer = await post(at, {})
    assert (status, answer["error"]["code"]) == (403, "address_not_allowed")
    assert await stored(at) == []
    told = (await refused(at))["shop"]["by_status"]["403"]
    assert (told["count"], told["remote"], told["latest"]) == (1, "127.0.0.1", "127.0.0.1 is not in allow_ips")


async def test_this_computer_comes_in_where_it_is_listed(shop):
    at = await shop('allow_ips = ["127.0.0.0/8"]')
    assert (await post(at, {}))[0] == 200
    assert (await stored(at))[0]["remote"] == "127.0.0.1"


SPOOFED = [
    ({"X-Forwarded-For": "198.51.100.7"}, 200, 403),
    ({"X-Forwarded-For": "2001:db8::7"}, 200, 403),
    ({"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}, 200, 403),
    ({"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}, 403, 403),
    ({"X-Forwarded-For": "198.51.100.7,"}, 403, 403),
    ({"X-Forwarded-For": "garbage"}, 403, 403),
    ({"X-Forwarded-For": ""}, 403, 403),
    ({"x-forwarded-for": "198.51.100.7, 127.0.0.1"}, 403, 403),
    ({"Forwarded": "for=198.51.100.7"}, 403, 403),
    ({"X-Real-IP": "198.51.100.7"}, 403, 403),
    ({"X-Client-IP": "198.51.100.7", "True-Client-IP": "198.51.100.7"}, 403, 403),
    ({"CF-Connecting-IP": "198.51.100.7"}, 403, 403),
    ({"X-Forwarded-For ": "198.51.100.7"}, 400, 400),
    ({"X-Relay-Sample": "198.51.100.7"}, 403, 403),
    ({}, 403, 403),
]


@pytest.fixture
async def with_tunnel(start):
    return await start(TUNNEL + GATED, no_tunnel=False)


@check_each(("headers", "through_tunnel", "without"), SPOOFED)
async def test_no_header_talks_its_way_past_the_list(with_tunnel, headers, through_tunnel, without):
    state = with_tunnel.relay.state
    assert state.public_url
    assert await raw_status(with_tunnel, headers) == through_tunnel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "tunnel", type(state.tunnel)("down", None, "gone"))
        assert await raw_status(with_tunnel, headers) == without


async def raw_status(at, headers):
    host, port = at.ingress.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST /webhooks/shop HTTP/1.1\r\nHost: h\r\n{head}Content-Length: 0\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


async def test_of_several_headers_the_last_entry_of_all_counts(start):
    at = await start(TUNNEL + GATED, no_tunnel=False)
    for values, status in ((("198.51.100.7", "203.0.113.9"), 403), (("203.0.113.9", "198.51.100.7"), 200)):
        headers = [("X-Forwarded-For", value) for value in values]
        assert (await at.send("/webhooks/shop", headers=headers))[0] == status


async def test_the_event_shows_who_called_the_tunnel(start):
    at = await start(TUNNEL, no_tunnel=False)
    await at.send(headers={"X-Forwarded-For": "10.0.0.1, 198.51.100.7:4711"})
    await at.send(headers={"X-Forwarded-For": "nobody"})
    await at.send()
    assert [event["remote"] for event in await stored(at)] == ["127.0.0.1", "unknown", "198.51.100.7"]


async def test_without_a_tunnel_nobody_is_believed(at):
    await at.send(headers={"X-Forwarded-For": "198.51.100.7"})
    assert (await stored(at))[0]["remote"] == "127.0.0.1"


async def test_a_tunnel_that_names_nobody_is_not_believed(start):
    at = await start(TUNNEL + "forwarded_for = false\n" + GATED, no_tunnel=False)
    assert await raw_status(at, {"X-Forwarded-For": "198.51.100.7"}) == 403


async def test_a_sample_of_relays_own_is_let_in_whatever_the_list_and_the_rate(start):
    at = await start(
        "[sources.github]\nallow_ips = ['198.51.100.7']\nrate_limit = { requests_per_minute = 1, burst = 1 }"
    )
    for _ in range(3):
        status, event = await at.api("/api/triggers", "POST", json={"source": "github", "type": "push"})
        assert (status, event["verdict"]) == (201, "verified")


# ---- rate ----


async def test_too_fast_is_429_with_retry_after_counted_and_not_stored(shop):
    at = await shop("rate_limit = { requests_per_minute = 1, burst = 3 }", clock=Stood())
    answers = [await at.send("/webhooks/shop") for _ in range(5)]
    assert [status for status, _ in answers] == [200, 200, 200, 429, 429]
    async with at.session.post(at.ingress + "/webhooks/shop", data=b"{}") as response:
        assert response.status == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert len(await stored(at)) == 3
    assert (await refused(at))["shop"]["by_status"]["429"]["count"] == 3
    assert (await at.send("/webhooks/other"))[0] == 200


async def test_counts_are_true_far_beyond_what_is_remembered(shop):
    at = await shop("rate_limit = { requests_per_minute = 1, burst = 1 }", clock=Stood())
    for _ in range(8):
        await asyncio.gather(*(at.send("/webhooks/shop") for _ in range(40)))
    assert (await refused(at))["shop"]["count"] == 319


# ---- size ----


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_source_has_a_limit_of_its_own(shop, chunked):
    at = await shop(
        'max_body = "1KB"', "[sources.large]\nprovider = 'custom'\nmax_body = '2KB'\n[server]\nmax_body = '1KB'\n"
    )

    async def pieces(count):
        yield b"x" * count

    for path, count, status in (("shop", 1000, 200), ("shop", 1001, 413), ("large", 2000, 200), ("large", 2001, 413)):
        data = pieces(count) if chunked else b"x" * count
        assert (await at.send(f"/webhooks/{path}", data))[0] == status
    assert (await refused(at))["shop"]["by_status"]["413"]["count"] == 1


# ---- what an event must be like ----


async def test_a_body_that_does_not_fit_is_400_with_every_field_stored_and_rejected(shop):
    at = await shop('schema = "models:Note"', '[targets.app]\nforward = "http://127.0.0.1:9/"\n', models_py=MODEL)
    status, answer = await post(at, {"event_id": "x", "timestamp": "soon"})
    assert status == 400
    error = answer["error"]
    assert error["code"] == "schema"
    assert [field["field"] for field in error["fields"]] == ["event_id", "timestamp", "event_type", "description"]
    assert error["fields"][2] == {
        "field": "event_type", "pointer": "/event_type", "message": "is missing", "code": "schema",
    }  # fmt: skip
    assert all(field["field"] in error["message"] for field in error["fields"])
    _, event = await at.api("/api/events/1")
    assert (event["outcome"], event["reason"], event["status"], event["delivery_ids"]) == (
        "rejected",
        "schema",
        400,
        [],
    )
    assert event["fields"] == error["fields"]
    assert event["summary"].startswith("event_id should be a valid integer")
    assert event["summary"].endswith(", and 3 more")
    assert (await post(at, NOTE))[0] == 200


async def test_every_rule_is_told_at_once(shop):
    rules = (
        'schema = "s.json"\ncontent_types = ["application/json"]\nrequire_idempotency_key = true\n'
        'idempotency_key = "header:Idempotency-Key"\nemail_field = "user.email"'
    )
    at = await shop(rules, s_json='{"required": ["id"]}')
    status, answer = await post(at, {"user": {"email": "nobody"}}, Content_Type="text/plain")
    assert (status, answer["error"]["code"]) == (400, "content_type")
    assert [(field["code"], field["field"]) for field in answer["error"]["fields"]] == [
        ("content_type", "Content-Type"),
        ("schema", "id"),
        ("idempotency_key_missing", "Idempotency-Key"),
        ("invalid_recipient", "user.email"),
    ]
    good = {"id": 1, "user": {"email": "ada@example.com"}}
    assert (await post(at, good, Idempotency_Key="k1"))[0] == 200


ALONE = """
import threading
from pydantic import BaseModel, model_validator
inside = threading.Semaphore(1)
second = threading.Event()
class Note(BaseModel):
    text: str
    @model_validator(mode="after")
    def wait_for_another(self):
        if not inside.acquire(blocking=False):
            second.set()
            raise ValueError("is read beside another one")
        second.wait(0.2)
        inside.release()
        return self
"""


async def test_large_bodies_are_read_one_after_the_other(shop):
    at = await shop('schema = "models:Note"', models_py=ALONE)
    body, headers = json.dumps({"text": "x" * 1_100_000}).encode(), {"Content-Type": "application/json"}
    answers = await asyncio.gather(*(at.send("/webhooks/shop", io.BytesIO(body), headers=headers) for _ in range(3)))
    assert [status for status, _ in answers] == [200, 200, 200]


STUCK = """
import threading
from pydantic import BaseModel, model_validator
first, second = threading.Semaphore(1), threading.Event()
class Note(BaseModel):
    text: str
    @model_validator(mode="after")
    def wait_for_another(self):
        if first.acquire(blocking=False):
            assert second.wait(20)
        second.set()
        return self
"""


async def test_a_model_that_does_not_end_holds_up_no_other_large_body(shop, monkeypatch):
    monkeypatch.setattr(large_bodies, "_LONGEST_WAIT", 0.05)
    at = await shop('schema = "models:Note"', models_py=STUCK)
    body, headers = json.dumps({"text": "x" * 1_100_000}).encode(), {"Content-Type": "application/json"}
    answers = await asyncio.gather(*(at.send("/webhooks/shop", io.BytesIO(body), headers=headers) for _ in range(2)))
    assert [status for status, _ in answers] == [200, 200]


async def test_an_invalid_recipient_is_a_400_to_the_sender(shop):
    at = await shop('email_field = "email"')
    status, answer = await post(at, {"email": "ada@"})
    assert (status, answer["error"]["code"]) == (400, "invalid_recipient")
    assert (await at.api("/api/events/1"))[1]["reason"] == "invalid_recipient"
    assert (await post(at, {"email": "ada@example.com"}))[0] == 200


async def test_a_rejected_event_claims_no_key(shop):
    at = await shop('schema = "s.json"\nidempotency_key = "body:/id"', s_json='{"required": ["a"]}')
    assert (await post(at, {"id": "k"}))[0] == 400
    status, answer = await post(at, {"id": "k", "a": 1})
    assert (status, answer["outcome"]) == (200, "accepted")


async def test_a_forger_learns_nothing_of_the_schema(start, tmp_path):
    (tmp_path / "s.json").write_text('{"required": ["very_private_field"]}')
    at = await start('[sources.github]\nschema = "s.json"\n')
    status, answer = await at.send("/webhooks/github", b"{}", headers=signed(b"{}", "wrong"))
    assert status == 401
    assert b"private" not in answer
    assert (await at.api("/api/events/1"))[1]["fields"] == []
    status, answer = await at.send("/webhooks/github", b"{}", headers=signed(b"{}"))
    assert status == 400
    assert b"very_private_field is missing" in answer


async def test_whom_a_source_only_reports_is_refused_without_a_reason(start, tmp_path):
    (tmp_path / "s.json").write_text('{"required": ["very_private_field"]}')
    at = await start('[sources.github]\nverify = "report"\nschema = "s.json"\n')
    status, answer = await at.send("/webhooks/github", b"{}", headers=signed(b"{}", "wrong"))
    assert status == 400
    assert b"private" not in answer
    assert (await at.api("/api/events/1"))[1]["fields"][0]["field"] == "very_private_field"


async def test_an_event_that_is_not_listed_need_not_fit(shop):
    at = await shop(
        'schema = "s.json"\nevents = ["paid"]\nrequire_idempotency_key = true', s_json='{"required": ["a"]}'
    )
    status, answer = await post(at, {"type": "ping"})
    assert (status, answer["outcome"]) == (200, "ignored")
    assert (await post(at, {"type": "paid"}))[0] == 400


async def test_handshakes_are_shaken_before_a_schema_is_asked(start, tmp_path):
    (tmp_path / "s.json").write_text('{"required": ["a"]}')
    at = await start('[sources.slack]\nverify = "off"\nschema = "s.json"\n')
    body = b'{"type": "url_verification", "challenge": "c", "token": "t"}'
    status, _ = await at.send("/webhooks/slack", body, headers={"Content-Type": "application/json"})
    assert status == 200


@pytest.fixture(params=["s.json", "models:Note"])
async def demanding(shop, request):
    """A shop whose schema, of either kind, demands a value."""
    return await shop(f'schema = "{request.param}"', s_json='{"type": "object", "required": ["b"]}', models_py=MODEL)


@check_each(
    "body",
    [b"", b"\xff", b"{", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}",
     b'{"a": 1, "a": 2}', b"null", b'"\\ud800"', b"\x00", b'{"\\u0000": 1}'],
)  # fmt: skip
async def test_hostile_bodies_get_a_clean_400(demanding, body):
    at = demanding
    status, answer = await post(at, body)
    assert (status, answer["error"]["code"]) == (400, "schema")
    newest = (await at.api("/api/events?limit=1"))[1]["events"][0]
    assert (newest["outcome"], newest["size"]) == ("rejected", len(body))
    assert (await at.api(f"/events/{newest['id']}/verification", headers={"Accept": "text/html"}))[0] == 200


@pytest.mark.slow
async def test_a_large_body_is_judged_without_holding_others_up(shop):
    at = await shop(
        'schema = "s.json"',
        s_json='{"items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}}',
    )
    body = json.dumps([{"a": n} for n in range(30_000)]).encode()
    large = asyncio.ensure_future(post(at, body))
    meanwhile = 0
    while not large.done():
        assert (await at.send("/webhooks/other"))[0] == 200
        meanwhile += not large.done()
    assert (await large)[0] == 200
    assert meanwhile


# ---- where it shows ----


async def page(at, path):
    status, html = await at.api(path, headers={"Accept": "text/html"})
    assert status == 200
    return html.decode()


async def test_the_sources_page_shows_rules_and_who_was_turned_away(shop):
    rules = (
        'allow_ips = ["127.0.0.1", "10.0.0.0/8"]\nrate_limit = { requests_per_minute = 1, burst = 2 }\n'
        'max_body = "1KB"\ncontent_types = ["application/json"]\nschema = "s.json"\n'
        'require_idempotency_key = true\nemail_field = "user.email"'
    )
    at = await shop(rules, GATED.replace("shop", "gated"), s_json="{}")
    await at.send("/webhooks/shop", b"x" * 1001)
    for _ in range(13):
        await at.send("/webhooks/shop")
    await at.send("/webhooks/gated")
    html = await page(at, "/sources/shop")
    for said in (
        "127.0.0.1, 10.0.0.0/8", "1 a minute, 2 at once", "1 KB", "application/json", "s.json",
        "required: Idempotency-Key or webhook-id or svix-id", "user.email must hold one",
        "12 too fast, 1 too large", "12 requests came too fast (limit 1 a minute, 2 at once). The latest: ",
        "1 request was too large (limit 1 KB). The latest: ", "from 127.0.0.1",
    ):  # fmt: skip
        assert said in html, said
    assert "1 request came from an address that is not allowed. The latest: " in await page(at, "/sources/gated")


async def test_a_hostile_address_of_a_tunnel_is_shown_as_text(start):
    at = await start(TUNNEL + GATED, no_tunnel=False)
    await at.send("/webhooks/shop", headers={"X-Forwarded-For": "<script>alert(1)</script>"})
    html = await page(at, "/sources/shop")
    assert "<script>alert" not in html
    assert "from unknown" in html


async def test_requests_for_no_source_are_shown_too(start):
    at = await start("[server]\ninbox = false\n[sources.github]\n")
    await at.send("/webhooks/nobody")
    assert "1 request was for no source. The latest: " in await page(at, "/sources")


async def test_a_rejected_event_says_why_in_list_hop_line_and_tab(shop):
    at = await shop('schema = "s.json"', s_json='{"properties": {"data": {"required": ["amount"]}}}')
    await post(at, {"data": {}})
    html = await page(at, "/events/1")
    assert "Schema: data.amount is missing" in html
    assert html.count("data.amount is missing") >= 2
    tab = await page(at, "/events/1/verification")
    assert "Refused: the body does not fit the schema" in tab
    assert "/data/amount" in tab
    assert "Forward it anyway" in tab


async def test_checked_again_an_event_is_held_against_the_rules_of_today(shop):
    at = await shop('schema = "s.json"', s_json='{"required": ["a"]}')
    await post(at, {})
    await post(at, {"a": 1})
    said = [(await at.api(f"/api/events/{id_}/verify", "POST", json={}))[1]["fields"] for id_ in (1, 2)]
    assert [[field["field"] for field in fields] for fields in said] == [["a"], []]


async def test_rates_hold_by_the_clock_that_is_handed_in(start):
    clock = Stood()
    at = await start(
        '[sources.shop]\nprovider = "custom"\nrate_limit = { requests_per_minute = 6, burst = 1 }\n', clock=clock
    )
    assert at.relay.sources.by_name["shop"].admission.rate == Rate(per_minute=6, burst=1)
    assert [(await at.send("/webhooks/shop"))[0] for _ in range(2)] == [200, 429]
    clock.at += 10.0
    assert [(await at.send("/webhooks/shop"))[0] for _ in range(2)] == [200, 429]
