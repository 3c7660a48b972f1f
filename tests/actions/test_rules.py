"""What a target's own rules change in what it is sent: path, Host, and who called."""

from dataclasses import replace

import pytest

from relay.actions.forward import ForwardOptions
from relay.model.delivery import DeliveryChanges, SignMode

PUBLIC = "https://hooks.example/webhooks/stripe/sub?a=1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = (("Host", "hooks.example"), ("Content-Length", "2"))


@pytest.fixture
def sent(forwarding, raw_server, make_event, make_delivery):
    """Forward an event to a target with these options; return the head it got, and the attempt's notes."""

    async def send(options, changes=None, signer=None, **capture):
        capture = {"path": "/webhooks/stripe/sub", "query": "a=1", "url": PUBLIC, "headers": HEADERS} | capture
        more = {"signer": signer} if signer else {}
        async with raw_server(OK) as server, forwarding(**more) as forward:
            target = ForwardOptions(url=f"{server.url}/hooks", **options)
            result = await forward.run(
                make_event(**capture), make_delivery(changes=changes or DeliveryChanges()), target
            )
        lines = [line.decode("latin-1") for line in server.head]
        return lines[0], dict(line.split(": ", 1) for line in lines[1:] if line), result.request.notes

    return send


@pytest.mark.parametrize(("fixed", "arrives"), [(False, "/hooks/sub?a=1"), (True, "/hooks?a=1")])
async def test_a_path_is_joined_or_fixed(sent, fixed, arrives):
    line, _, _ = await sent({"fixed_path": fixed})
    assert line == f"POST {arrives} HTTP/1.1"


async def test_an_edited_path_wins_over_a_fixed_one(sent):
    line, _, _ = await sent({"fixed_path": True}, DeliveryChanges(path="/mine"))
    assert line == "POST /mine?a=1 HTTP/1.1"


async def test_the_host_that_was_called_may_be_kept(sent):
    _, headers, notes = await sent({"keep_host": True})
    assert headers["Host"] == "hooks.example"
    assert notes == ("Host kept as received",)


@pytest.mark.parametrize("host", ["evil/x", "a b", "", "x@y", "x" * 300])
async def test_a_strange_host_is_not_kept(sent, host):
    _, headers, _ = await sent({"keep_host": True}, headers=(("Host", host),))
    assert headers["Host"].startswith("127.0.0.1:")


async def test_nothing_is_forwarded_about_the_caller_unless_asked(sent):
    _, headers, _ = await sent({})
    assert not {name for name in headers if name.startswith("X-Forwarded")}


@pytest.mark.parametrize(
    ("remote", "known", "told"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        ("127.0.0.1", (("x-forwarded-for", "203.0.113.7"),), "203.0.113.7"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("198.51.100.1", (("X-Forwarded-For", "1.1.1.1"),), "1.1.1.1, 198.51.100.1"),
    ],
)
async def test_who_called_what_is_told(sent, remote, known, told):
    _, headers, notes = await sent({"forwarded": True}, remote=remote, headers=(*HEADERS, *known))
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["x-forwarded-for"] == told
    assert (lower["x-forwarded-proto"], lower["x-forwarded-host"]) == ("https", "hooks.example")
    assert notes == ("X-Forwarded-For, -Proto and -Host set",)


@pytest.mark.parametrize(
    ("options", "believed"),
    [
        ({}, "http://127.0.0.1:{port}/hooks/sub?a=1"),
        ({"keep_host": True}, "http://hooks.example/hooks/sub?a=1"),
        ({"keep_host": True, "forwarded": True}, "https://hooks.example/hooks/sub?a=1"),
    ],
)
async def test_what_is_signed_is_the_address_the_app_believes_in(sent, options, believed):
    urls = []

    def signer(_, outgoing, signing):
        urls.append((outgoing.url, signing.mode))
        return replace(outgoing), ()

    _, headers, _ = await sent(options, DeliveryChanges(sign=SignMode.FRESH), signer)
    port = headers["Host"].rpartition(":")[2]
    assert urls == [(believed.format(port=port), SignMode.FRESH)]
