import asyncio
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import check_each
from relay.actions.egress import (
    Destination,
    EgressRules,
    UnknownHostError,
    check_syntax,
    check_target,
    complete_url,
    probe_connection,
    resolve,
)
from relay.errors import TargetError

CONFIGURED = EgressRules()
TYPED = EgressRules(
    typed=True,
    configured=frozenset({("staging.example", 443), ("10.1.2.3", 3000)}),
    allowed=frozenset({("10.0.0.5", 3000)}),
)
OWN = EgressRules(own=frozenset({("127.0.0.1", 8400), ("127.0.0.1", 8401)}), own_names=frozenset({"team.ngrok.app"}))


def answering(*addresses: str):
    async def answer(host: str, port: int):
        return tuple(ipaddress.ip_address(address) for address in addresses)

    return answer


MALFORMED = [
    "",
    "localhost:3000",
    "ftp://localhost/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "http:/localhost",
    "http:localhost",
    "//localhost:3000/",
    "http://",
    "http:///hooks",
    "http://:3000/",
    "http://user@localhost/",
    "http://user:pw@localhost/",
    "http://127.0.0.1:3000@evil.example/",
    "http://@localhost/",
    "http://localhost:0/",
    "http://localhost:65536/",
    "http://localhost:-1/",
    "http://localhost:abc/",
    "http://127.0.0.1\0.evil/",
    "http://local\thost/",
    "http://localhost/\r\nX: y",
    "http://localhost\\@evil.example/",
    "http://local host/",
    "http://localhost/\u2028",
    "http://localhost/\udcff",
    "http://local%68ost/",
    "http://[::1",
    "http://[::1%25lo]/",
    "http://[fe80::1%eth0]/",
    "http://256.1.1.1/",
    "http://1.2.3.4.5/",
    "http://0x7g.1/",
    "http://-a.example/",
    "http://a..example/",
    f"http://{'a' * 64}.example/",
    f"http://localhost/{'x' * 5000}",
]

NEVER = [
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.1.1/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[::169.254.169.254]/",
    "http://[2001:0:a9fe:a9fe::1]/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fd20:ce::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://0.0.0.0:3000/",
    "http://0:3000/",
    "http://0.1.2.3/",
    "http://[::]:3000/",
    "http://[::ffff:0.0.0.0]/",
    "http://224.0.0.1/",
    "http://[ff02::1]/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[4000::1]/",
]


@check_each("url", MALFORMED)
def test_what_is_not_a_plain_http_url_is_refused(url):
    with pytest.raises(TargetError):
        check_syntax(url, CONFIGURED)


@check_each("url", NEVER)
def test_some_addresses_are_never_dialled_however_they_are_spelt(url):
    with pytest.raises(TargetError, match="not an allowed target"):
        check_syntax(url, CONFIGURED)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.0.1", "0.0.0.0", "224.0.0.1"])
async def test_a_name_is_refused_for_any_one_of_its_addresses(address):
    with pytest.raises(TargetError, match="not an allowed target"):
        await check_target("http://rebind.example/", CONFIGURED, answering("93.184.216.34", address))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:3000/", "127.0.0.1"),
        ("http://127.1:3000/", "127.0.0.1"),
        ("http://127.0.0.1.:3000/", "127.0.0.1"),
        ("http://2130706433:3000/", "127.0.0.1"),
        ("http://0x7f.1:3000/", "127.0.0.1"),
        ("http://0177.0.0.1:3000/", "127.0.0.1"),
        ("http://[::1]:3000/", "::1"),
        ("http://[::ffff:127.0.0.1]:3000/", "::ffff:127.0.0.1"),
        ("http://１２７.0.0.1:3000/", "127.0.0.1"),  # noqa: RUF001 - full-width digits are the case
    ],
)
async def test_a_typed_in_url_may_be_loopback_in_any_spelling(url, host):
    destination = await check_target(url, TYPED)
    assert destination.loopback
    assert ipaddress.ip_address(destination.host) == ipaddress.ip_address(host)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5:3001/",
        "http://10.0.0.6:3000/",
        "https://10.1.2.3/",
        "http://192.168.1.1/",
        "http://93.184.216.34/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fd00::1]/",
    ],
)
async def test_a_typed_in_url_may_not_be_just_any_address(url):
    with pytest.raises(TargetError, match="neither on this computer nor a configured target") as caught:
        await check_target(url, TYPED)
    assert "allow_targets" in caught.value.hint


@pytest.mark.parametrize("url", ["http://10.0.0.5:3000/x", "http://10.1.2.3:3000/", "https://staging.example/y"])
async def test_a_typed_in_url_may_be_a_configured_or_an_allowed_host_and_port(url):
    destination = await check_target(url, TYPED, answering("10.9.9.9"))
    assert destination.addresses


async def test_a_typed_in_name_needs_all_its_addresses_on_this_computer():
    with pytest.raises(TargetError, match="neither on this computer"):
        await check_target("http://mixed.example/", TYPED, answering("127.0.0.1", "10.0.0.9"))


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5:3000/",
        "http://192.168.1.1/",
        "https://100.64.0.1/",
        "http://[fd00::1]/",
        "http://abc1.fed/",
        "http://a_b.example/",
    ],
)
async def test_a_configured_target_may_be_private(url):
    assert (await check_target(url, CONFIGURED, answering("10.0.0.1"))).addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8400/hooks",
        "http://localhost:8401/",
        "http://app.localhost:8400/",
        "http://localhost.:8400/",
        "http://2130706433:8400/",
        "http://[::ffff:127.0.0.1]:8400/",
        "https://team.ngrok.app/webhooks/x",
        "https://TEAM.ngrok.app:444/",
        "https://team.ngrok.app./",
    ],
)
def test_relay_itself_is_refused_as_a_loop_before_any_lookup(url):
    with pytest.raises(TargetError, match="relay itself"):
        check_syntax(url, OWN)


async def test_a_name_that_turns_out_to_be_relay_itself_is_refused():
    with pytest.raises(TargetError, match="relay itself"):
        await check_target("http://me.example:8400/", OWN, answering("127.0.0.1"))


async def test_relay_bound_everywhere_is_found_at_every_address_of_this_computer():
    rules = EgressRules(own=frozenset({("0.0.0.0", 8400)}))
    with pytest.raises(TargetError, match="relay itself"):
        await check_target("http://me.example:8400/", rules, answering("127.0.0.2"))
    assert await check_target("http://you.example:8400/", rules, answering("192.0.2.1"))


def test_another_port_of_this_computer_is_no_loop():
    assert check_syntax("http://localhost:3000/", OWN).port == 3000


def test_the_parts_of_a_url_are_kept_apart():
    destination = check_syntax("HTTPS://App.Example:8443/a%2Fb//c?x=1&y=%20#part", CONFIGURED)
    assert destination == Destination(
        scheme="https", host="app.example", port=8443, path="/a%2Fb//c", query="x=1&y=%20"
    )
    assert destination.url() == "https://app.example:8443/a%2Fb//c?x=1&y=%20"
    assert destination.url("//evil.example/", "") == "https://app.example:8443//evil.example/"


def test_letters_outside_ascii_are_encoded_as_browsers_do():
    destination = check_syntax("http://bücher.example/ü?q=ü", CONFIGURED)
    assert destination.url() == "http://xn--bcher-kva.example/%C3%BC?q=%C3%BC"


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://localhost", "localhost"),
        ("http://localhost:80/", "localhost"),
        ("https://localhost:443/", "localhost"),
        ("https://localhost:80/", "localhost:80"),
        ("http://[::1]:3000/", "[::1]:3000"),
    ],
)
def test_the_host_header_leaves_out_the_default_port(url, authority):
    assert check_syntax(url).authority == authority


async def test_localhost_is_looked_up_for_real():
    destination = await check_target("http://localhost:3000/", TYPED)
    assert destination.loopback


async def test_a_name_without_an_address_is_an_error_of_its_own():
    with pytest.raises(UnknownHostError, match=r"cannot find the host nowhere\.invalid"):
        await check_target("http://nowhere.invalid/", CONFIGURED)
    with pytest.raises(UnknownHostError):
        await check_target("http://empty.example/", CONFIGURED, answering())


async def test_a_resolver_that_hangs_is_given_up(monkeypatch):
    async def hang(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    with pytest.raises(UnknownHostError, match=r"no answer about the name slow\.example in 0\.01 s"):
        await resolve("slow.example", 80, seconds=0.01)


@given(st.text(max_size=60))
def test_no_text_at_all_breaks_the_check(text):
    for url in (text, f"http://{text}", f"http://localhost{text}"):
        try:
            destination = check_syntax(url, TYPED)
        except TargetError:
            continue
        assert destination.url().isascii()
        assert "@" not in destination.authority


@given(st.ip_addresses())
def test_what_is_let_through_is_never_link_local_multicast_or_unspecified(address):
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        (judged,) = check_syntax(f"http://{host}/", CONFIGURED).addresses
    except TargetError:
        return
    assert not any((judged.is_link_local, judged.is_multicast, judged.is_unspecified))


async def test_a_knock_that_meets_itself_found_nobody_and_leaves_the_port_free(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    real = asyncio.open_connection

    async def from_that_port(host, port):
        # What the system does by itself when it happens to pick that port for the caller.
        return await real(host, port, local_addr=(host, port))

    monkeypatch.setattr(asyncio, "open_connection", from_that_port)
    place = await check_target(f"http://127.0.0.1:{port}/", EgressRules(typed=True))
    assert await probe_connection(map(str, place.addresses), place.port) is False
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("3000", "http://localhost:3000"),
        (":3000", "http://localhost:3000"),
        ("3000/hooks?x=1", "http://localhost:3000/hooks?x=1"),
        ("localhost", "http://localhost"),
        ("localhost:3000/x", "http://localhost:3000/x"),
        ("LOCALHOST:3000", "http://LOCALHOST:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("127.0.0.1/x", "http://127.0.0.1/x"),
        ("[::1]:3000/x", "http://[::1]:3000/x"),
        ("app.test:8000/hooks", "http://app.test:8000/hooks"),
        ("https://example.com:3000/x", "https://example.com:3000/x"),
        ("ftp://localhost:3000", "ftp://localhost:3000"),
        ("example.com/hooks", "example.com/hooks"),
        ("app", "app"),
        ("mailto:ada@example.com", "mailto:ada@example.com"),
        ("user:pass@localhost:3000", "user:pass@localhost:3000"),
    ],
)
def test_an_address_is_understood_as_people_type_it(typed, meant):
    assert complete_url(typed) == meant


def test_a_host_without_a_scheme_is_refused_with_the_address_that_was_meant():
    with pytest.raises(TargetError) as caught:
        check_syntax("example.com/hooks")
    assert caught.value.hint == "use http://example.com/hooks"
