import asyncio
import ipaddress
import socket
import ssl
import struct
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture, build_event
from relay.actions import http_client
from relay.actions.egress import EgressRules, check_syntax
from relay.actions.forward import ForwardOptions, classify_response, parse_retry_after
from relay.actions.outgoing_request import build_request_target, describe_header_changes, portable_headers
from relay.model.delivery import (
    NO_CHANGES,
    AttemptFailed,
    AttemptRetry,
    AttemptSucceeded,
    DeliveryChanges,
    DeliveryReason,
    ReceivedResponse,
    SignMode,
)
from relay.platform import SystemClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ODD = (
    ("Host", "hooks.example"),
    ("X-Dup", "1"),
    ("x-dup", "2"),
    ("X-DUP", "\xff\xfe\x80"),
    ("sTRIPE-signature", "t=1,v1=ab"),
    ("Empty", ""),
    ("Accept-Encoding", "br"),
    ("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
    ("Content-Type", "application/json; charset=utf-8"),
    ("X-Forwarded-For", "203.0.113.7"),
    ("Content-Length", "7"),
    ("Zulu", "caf\xc3\xa9\t."),
)


@pytest.fixture
def sent(forwarding, raw_server, make_event, make_delivery):
    """Forward one event to a fresh raw server; return the server and the result."""

    async def send(url="{base}/webhooks", changes=NO_CHANGES, reason=DeliveryReason.ROUTED, **capture):
        options = capture.pop("options", {})
        action = capture.pop("action", {})
        async with raw_server(capture.pop("answer", OK)) as server, forwarding(**action) as forward:
            options = ForwardOptions(url=url.format(base=server.url), **options)
            event = make_event(**capture)
            result = await forward.run(event, make_delivery(changes=changes, reason=reason), options)
        return server, result

    return send


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_forward_carries_the_same_bytes(sent):
    body = bytes(range(256)) * 4
    server, result = await sent(headers=ODD, body=body, query="a=1&a=%20\xff")
    port = str(server.port).encode()
    assert server.head == [
        b"POST /webhooks?a=1&a=%20\xff HTTP/1.1",
        b"Host: 127.0.0.1:" + port,
        b"X-Dup: 1",
        b"x-dup: 2",
        b"X-DUP: \xff\xfe\x80",
        b"sTRIPE-signature: t=1,v1=ab",
        b"Empty: ",
        b"Accept-Encoding: br",
        b"User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        b"Content-Type: application/json; charset=utf-8",
        b"X-Forwarded-For: 203.0.113.7",
        b"Content-Length: 1024",
        b"Zulu: caf\xc3\xa9\t.",
        b"X-Relay-Hop: 1",
        b"X-Relay-Event: 42",
    ]
    assert server.body == body
    assert result.outcome == AttemptSucceeded("200")
    assert result.request.body == body
    assert result.request.url == f"{server.url}/webhooks?a=1&a=%20\xff"
    assert result.response == ReceivedResponse(status=200, headers=(("Content-Length", "2"),), body=b"ok")


async def test_spaces_in_a_captured_target_are_percent_encoded_and_noted(sent):
    server, result = await sent(path="/webhooks/stripe/a b", query="text=two words\t\xe9")
    assert server.head[0] == b"POST /webhooks/a%20b?text=two%20words%09\xe9 HTTP/1.1"
    assert any("percent-encoded" in note for note in result.request.notes)


async def test_nothing_is_added_to_a_bare_request(sent):
    server, _ = await sent(method="GET", headers=(), body=b"")
    host = f"Host: 127.0.0.1:{server.port}".encode()
    assert server.head == [b"GET /webhooks HTTP/1.1", host, b"X-Relay-Hop: 1", b"X-Relay-Event: 42"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "purge", "OPTIONS", "HEAD"])
async def test_the_method_is_kept(sent, method):
    server, result = await sent(method=method, answer=status(200))
    assert server.head[0] == f"{method} /webhooks HTTP/1.1".encode()
    assert result.outcome == AttemptSucceeded("200")


async def test_a_chunked_request_goes_out_with_a_length(sent):
    headers = (("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum"), ("A", "1"))
    server, _ = await sent(headers=headers, body=b"0123456789")
    assert server.head[2:4] == [b"A: 1", b"Content-Length: 10"]
    assert server.body == b"0123456789"
    assert b"chunked" not in server.only


async def test_headers_of_one_connection_stay(sent):
    headers = (
        ("Connection", "keep-alive, X-Private, host, content-length"),
        ("Keep-Alive", "timeout=5"),
        ("x-private", "1"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Connection", "close"),
        ("X-Relay-Hop", "9"),
        ("x-relay-event", "1"),
        ("X-Relay-Replay", "1"),
        ("X-Kept", "1"),
    )
    server, _ = await sent(headers=headers)
    assert [line.partition(b":")[0] for line in server.head[1:]] == [
        b"Host",
        b"X-Kept",
        b"Content-Length",
        b"X-Relay-Hop",
        b"X-Relay-Event",
    ]
    assert b"X-Relay-Hop: 1" in server.head


async def test_two_hosts_and_two_lengths_become_one_each(sent):
    headers = (("host", "a"), ("Host", "b"), ("content-length", "9"), ("Content-Length", "8"))
    server, _ = await sent(headers=headers, body=b"xyz")
    port = str(server.port).encode()
    assert server.head[1:3] == [b"host: 127.0.0.1:" + port, b"content-length: 3"]


async def test_a_replay_says_so(sent):
    server, _ = await sent(reason=DeliveryReason.REPLAY)
    assert server.head[-1] == b"X-Relay-Replay: 1"


async def test_a_header_with_a_line_break_is_left_out_and_said_so(sent):
    headers = (("X-Good", "1"), ("X-Bad", "a\r\nX-Injected: 1"), ("X Bad", "1"), ("X:Bad", "1"), ("X-Nul", "\0"))
    server, result = await sent(headers=headers)
    assert b"Injected" not in server.only
    assert b"Bad" not in server.only
    assert result.request.notes == ("a header that HTTP does not allow was left out",)


@pytest.mark.parametrize(
    "changes",
    [DeliveryChanges(method="GET /x HTTP/1.1\r\nA: b"), DeliveryChanges(path="/a b"), DeliveryChanges(path="/\r\n")],
)
async def test_a_request_line_that_would_break_the_framing_is_never_sent(sent, changes):
    server, result = await sent(changes=changes)
    assert server.received == []
    assert result.outcome == AttemptFailed("cannot be sent: a method or path holds a space or a control character")


@pytest.mark.parametrize(
    ("target", "path", "query", "arrives"),
    [
        ("", "/webhooks/stripe", "", "/"),
        ("/", "/webhooks/stripe", "", "/"),
        ("/hooks", "/webhooks/stripe", "", "/hooks"),
        ("/hooks/", "/webhooks/stripe", "", "/hooks/"),
        ("/hooks", "/webhooks/stripe/", "", "/hooks"),
        ("/hooks", "/webhooks/stripe/extra/1", "", "/hooks/extra/1"),
        ("/hooks/", "/webhooks/stripe/extra", "", "/hooks/extra"),
        ("", "/webhooks/stripe/extra", "", "/extra"),
        ("/hooks", "/webhooks/stripe2/extra", "", "/hooks"),
        ("/hooks", "/elsewhere", "", "/hooks"),
        ("/hooks", "http://evil.example/", "", "/hooks"),
        ("/hooks", "/webhooks/stripe//evil.example/x", "", "/hooks//evil.example/x"),
        ("", "/webhooks/stripe//evil.example/x", "", "//evil.example/x"),
        ("/hooks", "/webhooks/stripe/@evil.example", "", "/hooks/@evil.example"),
        ("/hooks", "/webhooks/stripe/a%0ab%00c", "", "/hooks/a%0ab%00c"),
        ("/hooks", "/webhooks/stripe/a/../b/./c", "", "/hooks/a/../b/./c"),
        ("/hooks", "/webhooks/stripe/../../admin", "", "/hooks/admin"),
        ("/hooks", "/webhooks/stripe/a/..//../admin", "", "/hooks/admin"),
        ("/hooks", "/webhooks/stripe/%2e%2E/.%2e/admin", "", "/hooks/admin"),
        ("/hooks", "/webhooks/stripe/..", "", "/hooks"),
        ("/hooks?k=1", "/webhooks/stripe", "a=b", "/hooks?k=1&a=b"),
        ("/hooks?k=1", "/webhooks/stripe", "", "/hooks?k=1"),
        ("/hooks", "/webhooks/stripe", "a=b&a=%2F", "/hooks?a=b&a=%2F"),
        ("/hooks?k=1", "/webhooks/stripe/x", "?#", "/hooks/x?k=1&?#"),
    ],
)
async def test_an_event_goes_to_the_targets_own_path_and_below_it(sent, target, path, query, arrives):
    server, _ = await sent(url="{base}" + target, path=path, query=query)
    assert server.head[0] == f"POST {arrives} HTTP/1.1".encode()


@pytest.mark.parametrize("called", ["caf%C3%A9", "caf%c3%a9", "c%61f%C3%A9", "caf\u00c3\u00a9"])
def test_what_is_below_a_source_is_found_whatever_the_escapes_of_its_path(called):
    event = build_event(build_capture("cafe", path=f"/webhooks/{called}/extra%2f1", url=""))
    url = "http://localhost:3000/hooks"
    target, options = check_syntax(url), ForwardOptions(url=url)
    path, _, _ = build_request_target(event, NO_CHANGES, options, target, "/webhooks/caf%C3%A9")
    assert path == "/hooks/extra%2f1"


@given(st.text(st.sampled_from("/.%2eEab"), max_size=30), st.text(st.characters(max_codepoint=255), max_size=20))
def test_no_path_leads_out_of_the_targets_own(below, query):
    event = build_event(build_capture("stripe", path=f"/webhooks/stripe{below}", query=query, url=""))
    destination = check_syntax("http://localhost:3000/hooks")
    options = ForwardOptions(url="http://localhost:3000/hooks")
    path, _, _ = build_request_target(event, NO_CHANGES, options, destination, f"/webhooks/{event.capture.source}")
    assert path.startswith("/hooks")
    depth = 0
    for segment in path.split("/")[2:]:
        plain = segment.lower().replace("%2e", ".")
        depth += -1 if plain == ".." else plain not in ("", ".")
        assert depth >= 0


async def test_edits_are_what_goes_out(sent):
    changes = DeliveryChanges(
        method="PUT", path="/other//%2F", query="z=1", headers=(("B", "2"), ("a", "1")), body=b"changed"
    )
    server, result = await sent(changes=changes, query="q=1", url="{base}/hooks?k=1")
    port = str(server.port).encode()
    assert server.head[:5] == [
        b"PUT /other//%2F?z=1 HTTP/1.1",
        b"Host: 127.0.0.1:" + port,
        b"B: 2",
        b"a: 1",
        b"Content-Length: 7",
    ]
    assert server.body == b"changed"
    assert result.request.notes == (
        "method edited: POST to PUT",
        "headers edited: Content-Type removed, B added, a added",
        "body edited: 2 to 7 bytes",
        "path edited",
        "query edited",
    )


def test_a_note_names_the_headers_that_differ_and_tells_no_value():
    before = (("A", "1"), ("B", "secret"), ("C", "3"), ("D", "1"), ("D", "2"))
    after = (("a", "1"), ("B", "other"), ("D", "1"), ("E", "5"))
    assert describe_header_changes(before, after) == "B changed, C removed, D changed, E added"
    assert describe_header_changes(before, before[::-1][2:] + before[3:]) == "only their order or spelling"


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "X-Relay-Hop"])
def test_a_header_that_relay_sets_itself_is_not_said_to_be_edited(name):
    before = (("Host", "a.example"), ("Content-Length", "2"))
    assert describe_header_changes(before, (*before, (name, "5"))) == f"{name} left to relay"
    assert describe_header_changes(before, (*before, (name, "5"), ("X", "1"))).endswith("left to relay, X added")


async def test_a_target_may_set_and_remove_headers(sent):
    options = {
        "set_headers": (("X-Env", "dev"), ("CONTENT-TYPE", "text/plain"), ("Transfer-Encoding", "chunked")),
        "remove_headers": ("x-debug", "content-length"),
    }
    headers = (("Content-Type", "application/json"), ("X-Debug", "1"), ("x-debug", "2"))
    server, result = await sent(headers=headers, options=options)
    assert b"Content-Type: text/plain" in server.head
    assert b"X-Env: dev" in server.head
    assert b"Content-Length: 2" in server.head
    assert b"ebug" not in server.only
    assert b"chunked" not in server.only
    assert result.request.notes == (
        "X-Env set by the target",
        "CONTENT-TYPE set by the target",
        "x-debug removed by the target",
    )


CREDENTIALS = (("Authorization", "Bearer x"), ("cookie", "a=b"), ("X-Api", "1"))


async def test_credentials_travel_within_this_computer(sent):
    server, result = await sent(headers=CREDENTIALS)
    assert b"Authorization: Bearer x" in server.head
    assert b"cookie: a=b" in server.head
    assert result.request.notes == ()


def test_credentials_of_the_sender_do_not_leave_this_computer():
    edited = (*CREDENTIALS, ("Authorization", "Bearer mine"))
    kept, notes = portable_headers(edited, CREDENTIALS, loopback=False)
    assert kept == (("X-Api", "1"), ("Authorization", "Bearer mine"))
    assert notes == (
        "Authorization left out: the target is not on this computer",
        "cookie left out: the target is not on this computer",
    )


async def test_what_is_signed_is_what_goes_out(sent):
    asked = []

    def signer(event, capture, signing):
        asked.append((event.id, capture.method, capture.url, capture.body, signing.mode))
        headers = tuple(pair for pair in capture.headers if pair[0] != "X-Sig")
        signed = {"headers": (*headers, ("X-Sig", "new")), "body": b"signed", "query": "bodySHA256=1"}
        return replace(capture, **signed), ("signed again",)

    server, result = await sent(
        headers=(("X-Sig", "old"), ("A", "1")),
        changes=DeliveryChanges(body=b"edited", sign=SignMode.AUTO),
        path="/webhooks/stripe/x",
        query="q=1",
        action={"signer": signer},
        options={"sign": SignMode.FRESH},
    )
    assert asked == [(42, "POST", f"{server.url}/webhooks/x?q=1", b"edited", SignMode.AUTO)]
    assert server.head[0] == b"POST /webhooks/x?bodySHA256=1 HTTP/1.1"
    assert b"X-Sig: new" in server.head
    assert b"X-Sig: old" not in server.head
    assert b"Content-Length: 6" in server.head
    assert server.body == b"signed"
    assert result.request.notes == ("body edited: 2 to 6 bytes", "signed again")


def hang(_):
    return asyncio.sleep(60)


async def hang_up(writer):
    writer.close()


async def reset(writer):
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def forever(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await writer.drain()


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def break_off(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def answer_early(writer):
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)


async def answer_with_an_odd_length(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")


async def answer_with_many_headers(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n")


def status(code, *headers):
    lines = [f"HTTP/1.1 {code} Whatever", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (status(200), AttemptSucceeded("200")),
        (status(204), AttemptSucceeded("204")),
        (status(299), AttemptSucceeded("299")),
        (status(301, "Location: /x"), AttemptFailed("301 (not followed)")),
        (status(307, "Location: http://169.254.169.254/"), AttemptFailed("307 (not followed)")),
        (status(400), AttemptFailed("400")),
        (status(404), AttemptFailed("404")),
        (status(410), AttemptFailed("410 (gone: it takes no more events)")),
        (status(408), AttemptRetry("408")),
        (status(409), AttemptRetry("409")),
        (status(425), AttemptRetry("425")),
        (status(429, "Retry-After: 7"), AttemptRetry("429", after=7.0)),
        (status(500), AttemptRetry("500")),
        (status(503, "Retry-After: nonsense"), AttemptRetry("503")),
        (answer_early, AttemptSucceeded("200")),
        (hang, AttemptRetry("no answer in 0.5 s")),
        (hang_up, AttemptRetry("hung up without an answer")),
        (reset, AttemptRetry("connection reset")),
        (b"SSH-2.0-OpenSSH_9.6\r\n", AttemptRetry("not HTTP")),
        (b"\x00\x01\x02\x03garbage\r\n\r\n", AttemptRetry("not HTTP")),
        (b"HTTP/1.1 OK\r\n\r\n", AttemptRetry("not HTTP")),
        # Neither says where its body ends, so it ends with the connection.
        (answer_with_an_odd_length, AttemptSucceeded("200")),
        (answer_with_many_headers, AttemptSucceeded("200")),
    ],
)
async def test_what_comes_back_decides_the_outcome(sent, answer, outcome):
    _, result = await sent(answer=answer, options={"timeout": 0.5 if answer is hang else 60.0})
    assert result.outcome == outcome


async def test_a_redirect_is_recorded_and_not_followed(sent):
    server, result = await sent(answer=status(302, "Location: /elsewhere", "Set-Cookie: a=b"))
    assert len(server.received) == 1
    assert ("Location", "/elsewhere") in result.response.headers


async def test_a_strange_cookie_is_not_even_read(sent, caplog):
    _, result = await sent(answer=status(200, "Set-Cookie: canary canary=\x01; a", "Set-Cookie: \x7f[canary]=1"))
    assert result.outcome in (AttemptSucceeded("200"), AttemptRetry("not HTTP"))
    assert "canary" not in caplog.text


async def test_an_endless_answer_is_cut_at_64_kib(sent):
    _, result = await sent(answer=forever)
    assert result.outcome == AttemptSucceeded("200")
    assert (len(result.response.body), result.response.cut) == (64 * 1024, True)


@pytest.mark.parametrize(("size", "cut"), [(64 * 1024, False), (64 * 1024 + 1, True)])
async def test_the_limit_of_a_kept_answer_is_exact(sent, size, cut):
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size
    _, result = await sent(answer=answer)
    assert (len(result.response.body), result.response.cut) == (64 * 1024, cut)


@pytest.mark.parametrize("answer", [drip, break_off])
async def test_an_answer_whose_body_never_ends_counts_by_its_status(sent, answer):
    _, result = await sent(answer=answer, options={"timeout": 2.0})
    assert result.outcome == AttemptSucceeded("200")
    assert result.response.cut


async def test_a_compressed_answer_is_kept_as_it_came(sent):
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nX-B: \xff\r\n\r\n\x1f\x8b\x00\x00"
    _, result = await sent(answer=answer)
    assert result.response.body == b"\x1f\x8b\x00\x00"
    assert ("X-B", "\xff") in result.response.headers


async def test_a_closed_port_refuses(forwarding, make_event, make_delivery, refusing_port):
    async with forwarding() as forward:
        for host in ("127.0.0.1", "localhost"):
            options = ForwardOptions(url=f"http://{host}:{refusing_port}/")
            result = await forward.run(make_event(), make_delivery(), options)
            assert result.outcome == AttemptRetry("connection refused", unreachable=True)
            assert not await forward.reachable(options)


async def test_a_name_without_an_address_may_get_one_later(forwarding, make_event, make_delivery):
    async with forwarding() as forward:
        result = await forward.run(make_event(), make_delivery(), ForwardOptions(url="http://nowhere.invalid/"))
    assert result.outcome == AttemptRetry("cannot find the host nowhere.invalid", unreachable=True)


async def test_a_target_is_judged_anew_for_every_attempt(forwarding, raw_server, make_event, make_delivery):
    answers = [["127.0.0.1"], ["169.254.169.254"]]

    async def rebinding(host, port):
        return tuple(ipaddress.ip_address(address) for address in answers.pop(0))

    async with raw_server() as server, forwarding(resolve=rebinding) as forward:
        options = ForwardOptions(url=f"http://rebind.example:{server.port}/")
        first = await forward.run(make_event(), make_delivery(), options)
        second = await forward.run(make_event(), make_delivery(), options)
    assert first.outcome == AttemptSucceeded("200")
    assert b"Host: rebind.example:%d" % server.port in server.head
    assert second.outcome == AttemptFailed(
        "rebind.example (169.254.169.254) is not an allowed target (a cloud's metadata service)"
    )
    assert second.request is None


async def test_an_open_connection_to_an_address_that_was_not_judged_is_not_used(
    forwarding, raw_server, make_event, make_delivery
):
    answers = [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]]

    async def moving(host, port):
        return tuple(ipaddress.ip_address(address) for address in answers.pop(0))

    async with raw_server() as server, forwarding(resolve=moving) as forward:
        options = ForwardOptions(url=f"http://moving.example:{server.port}/")
        results = [await forward.run(make_event(), make_delivery(), options) for _ in range(3)]
    assert [result.outcome for result in results] == [
        AttemptSucceeded("200"),
        AttemptSucceeded("200"),
        AttemptRetry("connection refused", unreachable=True),
    ]


async def test_relay_itself_is_never_forwarded_to(forwarding, raw_server, make_event, make_delivery):
    async with raw_server() as server:
        own = frozenset({("127.0.0.1", server.port)})
        async with forwarding(rules=lambda typed: EgressRules(typed=typed, own=own)) as forward:
            result = await forward.run(make_event(), make_delivery(), ForwardOptions(url=server.url))
    assert isinstance(result.outcome, AttemptFailed)
    assert "relay itself" in result.outcome.detail
    assert server.received == []


async def test_a_typed_in_url_is_judged_by_the_stricter_rules(forwarding, make_event, make_delivery):
    async with forwarding() as forward:
        delivery = make_delivery(changes=DeliveryChanges(url="http://10.0.0.1/"), reason=DeliveryReason.REPLAY)
        result = await forward.run(make_event(), delivery, ForwardOptions(url="http://10.0.0.1/"))
    assert isinstance(result.outcome, AttemptFailed)
    assert "neither on this computer nor a configured target" in result.outcome.detail


async def test_no_proxy_of_the_environment_is_asked(sent, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _, result = await sent()
    assert result.outcome == AttemptSucceeded("200")


async def test_a_body_of_many_megabytes_arrives_whole(sent):
    body = bytes(range(256)) * 40_000
    server, result = await sent(body=body)
    assert server.body == body
    assert result.outcome == AttemptSucceeded("200")


async def test_a_target_may_answer_before_it_has_read_everything(forwarding, make_event, make_delivery):
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        try:
            await asyncio.sleep(0.2)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, forwarding() as forward:
        port = server.sockets[0].getsockname()[1]
        event = make_event(body=b"x" * 30_000_000)
        result = await forward.run(event, make_delivery(), ForwardOptions(url=f"http://127.0.0.1:{port}/"))
    assert result.outcome == AttemptFailed("413")


async def test_one_attempt_is_one_request_whatever_the_method(sent):
    for method in ("PUT", "GET", "DELETE"):
        server, result = await sent(method=method, answer=hang_up)
        assert len(server.received) == 1
        assert isinstance(result.outcome, AttemptRetry)


async def test_an_aiohttp_app_gets_many_forwards_at_once(forwarding, make_event, make_delivery):
    seen = []

    async def handle(request):
        seen.append((request.path_qs, await request.read(), request.headers["X-Relay-Event"]))
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_route("*", "/hooks{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with forwarding() as forward:
        options = ForwardOptions(url=f"http://localhost:{port}/hooks")
        runs = [
            forward.run(make_event(path=f"/webhooks/stripe/{n}", body=b"%d" % n), make_delivery(), options)
            for n in range(40)
        ]
        results = await asyncio.gather(*runs)
        assert await forward.reachable(options)
    await runner.cleanup()
    assert {result.outcome for result in results} == {AttemptSucceeded("200")}
    assert sorted(seen) == sorted((f"/hooks/{n}", b"%d" % n, "42") for n in range(40))


async def test_a_certificate_must_hold_unless_the_target_says_otherwise(
    forwarding, make_event, make_delivery, certificate
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def talk(reader, writer):
        await reader.readuntil(b"{}")
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    async with server, forwarding() as forward:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        strict = await forward.run(make_event(), make_delivery(), ForwardOptions(url=url))
        lenient = await forward.run(make_event(), make_delivery(), ForwardOptions(url=url, verify_tls=False))
    assert isinstance(strict.outcome, AttemptRetry)
    assert strict.outcome.detail.startswith("its certificate is not trusted: self")
    assert lenient.outcome == AttemptSucceeded("200")


async def test_a_plain_port_has_no_tls(forwarding, raw_server, make_event, make_delivery):
    async with raw_server() as server, forwarding() as forward:
        options = ForwardOptions(url=server.url.replace("http:", "https:"), timeout=0.3)
        result = await forward.run(make_event(), make_delivery(), options)
    assert isinstance(result.outcome, AttemptRetry)
    assert server.received == []


async def test_a_connection_that_was_reset_before_it_is_looked_at_is_open_without_an_address():
    transport: Any = SimpleNamespace(get_extra_info=lambda _: None, is_closing=lambda: False)
    connection = http_client._Connection(asyncio.get_running_loop())
    connection.connection_made(transport)
    assert (connection.is_open, connection.address) == (True, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2026 12:01:00", 60.0),
        ("-5", None),
        ("5.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        ("9" * 400, 999_999_999.0),
        ("Sun, 99 Mar 2026 12:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value, seconds):
    response = ReceivedResponse(status=503, headers=(("retry-AFTER", value),))
    assert parse_retry_after(value, NOW) == seconds
    assert classify_response(response, NOW) == AttemptRetry("503", after=seconds)


class Turned(SystemClock):
    """A clock whose time goes on by hand."""

    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        return self.seconds


async def test_this_computer_is_judged_again_after_a_moment_and_for_other_rules(forwarding, make_event, make_delivery):
    judged, rules, clock = [], EgressRules(typed=False), Turned()

    async def resolve(host, port):
        judged.append(host)
        return (ipaddress.ip_address("127.0.0.1"),)

    async with forwarding(rules=lambda typed: rules, resolve=resolve) as action:
        action.clock = clock

        async def send(url):
            await action.run(make_event(), make_delivery(), ForwardOptions(url=url, timeout=5))
            return len(judged)

        assert [await send("http://localhost:1/a") for _ in range(3)] == [1, 1, 1]
        rules = replace(rules, own=frozenset({("localhost", 2)}))
        assert await send("http://localhost:1/a") == 2
        clock.seconds = 5.1
        assert await send("http://localhost:1/a") == 3
        assert [await send("http://shop.test:1/a") for _ in range(2)] == [4, 5], "any other name is judged each time"
        for port in range(100, 170):
            await send(f"http://localhost:{port}/a")
        before = len(judged)
        assert [await send("http://localhost:1/a") for _ in range(3)] == [before + 1] * 3, "also after many others"
