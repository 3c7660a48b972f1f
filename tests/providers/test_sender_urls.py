"""Which URLs a sender may have signed: what relay knows of its addresses decides, never a Host that a caller chose."""

import dataclasses

import pytest

from builders import build_source
from relay.providers.sender_urls import OwnAddresses, build_public_url, list_sender_urls

TUNNEL = "https://quick-cat.example"
HOSTS = frozenset({"127.0.0.1:8400", "localhost:8400", "[::1]:8400"})
KNOWN = OwnAddresses(tunnel=TUNNEL, ingress_url="http://127.0.0.1:8400", ingress_hosts=HOSTS)
UNKNOWN = OwnAddresses(ingress_url="http://127.0.0.1:8400", ingress_hosts=HOSTS)
SOURCE = build_source("test", provider="twilio")
PUBLIC = build_source("test", provider="twilio", public_url="https://a.example/hook")


@pytest.fixture
def came(capture):
    def came(host, *headers, **changes):
        made = capture(**{"url": ""} | changes)
        return dataclasses.replace(made, headers=(("Host", host), *headers))

    return came


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:8400", "a.example", "quick-cat.example"])
@pytest.mark.parametrize("own", [KNOWN, UNKNOWN, None])
def test_a_public_url_counts_alone(came, host, own):
    assert list_sender_urls(PUBLIC, came(host), own) == ("https://a.example/hook",)
    stored = came(host, url="http://evil.example/webhooks/test")
    assert list_sender_urls(PUBLIC, stored, own) == ("https://a.example/hook",)


@pytest.mark.parametrize("host", ["127.0.0.1:8400", "localhost:8400", "LOCALHOST:8400", "[::1]:8400"])
@pytest.mark.parametrize("remote", ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"])
def test_a_caller_on_this_computer_may_have_signed_the_ingress_s_own_address(came, host, remote):
    found = list_sender_urls(SOURCE, came(host, remote=remote, query="a=1"), KNOWN)
    assert found == (f"http://{host}/webhooks/test?a=1", f"{TUNNEL}/webhooks/test?a=1")


def test_an_ingress_that_is_bound_to_another_address_is_called_there(came):
    own = OwnAddresses(tunnel=TUNNEL, ingress_url="http://192.0.2.1:8400", ingress_hosts=HOSTS | {"192.0.2.1:8400"})
    direct = list_sender_urls(SOURCE, came("192.0.2.1:8400", remote="192.0.2.1"), own)
    assert direct[0] == "http://192.0.2.1:8400/webhooks/test"
    for remote in ("192.0.2.10", "192.0.2.2", "", "unknown"):
        assert list_sender_urls(SOURCE, came("192.0.2.1:8400", remote=remote), own) == (f"{TUNNEL}/webhooks/test",)


@pytest.mark.parametrize(
    ("host", "headers", "remote"),
    [
        ("evil.example", (), "127.0.0.1"),
        ("quick-cat.example", (), "127.0.0.1"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1:8401", (), "127.0.0.1"),
        ("localhost:8400.evil.example", (), "127.0.0.1"),
        ("user@localhost:8400", (), "127.0.0.1"),
        ("localhost:8400", (), "203.0.113.7"),
        ("localhost:8400", (("X-Forwarded-For", "127.0.0.1"),), "127.0.0.1"),
        ("localhost:8400", (("x-forwarded-proto", "http"),), "127.0.0.1"),
        ("localhost:8400", (("X-Forwarded-Host", "localhost:8400"),), "127.0.0.1"),
        ("localhost:8400", (("Forwarded", "for=127.0.0.1"),), "127.0.0.1"),
        ("localhost:8400", (("Cf-Ray", "1"),), "127.0.0.1"),
        ("localhost:8400", (("Via", "1.1 x"),), "127.0.0.1"),
    ],
)
def test_with_a_tunnel_nobody_else_chooses_the_host(came, host, headers, remote):
    assert list_sender_urls(SOURCE, came(host, *headers, remote=remote), KNOWN) == (f"{TUNNEL}/webhooks/test",)


def test_where_nothing_is_known_the_url_is_the_request_s_own_with_the_scheme_it_came_by(came):
    assert list_sender_urls(SOURCE, came("a.example"), UNKNOWN) == ("http://a.example/webhooks/test",)
    proxied = came("a.example", ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "b.example"))
    assert list_sender_urls(SOURCE, proxied, UNKNOWN) == ("http://a.example/webhooks/test",)
    embedded = came("a.example", url="https://a.example/api/webhooks/test")
    assert list_sender_urls(SOURCE, embedded) == ("https://a.example/api/webhooks/test",)


def test_a_stored_request_may_have_come_through_an_earlier_address_of_the_tunnel_and_of_no_other_host(came):
    earlier = came("old.example", url="https://old.example/webhooks/test")
    assert list_sender_urls(SOURCE, earlier, KNOWN) == (f"{TUNNEL}/webhooks/test", earlier.url)
    assert list_sender_urls(SOURCE, earlier, UNKNOWN) == (earlier.url,)
    by_host = came("evil.example", url="http://evil.example/webhooks/test")
    assert list_sender_urls(SOURCE, by_host, KNOWN) == (f"{TUNNEL}/webhooks/test",)


@pytest.mark.parametrize(
    ("public", "path", "query", "url"),
    [
        ("https://a.example/hook", "/webhooks/test", "", "https://a.example/hook"),
        ("https://a.example/hook", "/webhooks/test/", "", "https://a.example/hook/"),
        ("https://a.example/hook/", "/webhooks/test", "", "https://a.example/hook/"),
        ("https://a.example/hook/", "/webhooks/test/sms", "", "https://a.example/hook/sms"),
        ("https://a.example/hook", "/webhooks/test/sms", "a=%20b", "https://a.example/hook/sms?a=%20b"),
        ("https://a.example/hook", "/webhooks/t%65st", "a=1", "https://a.example/hook?a=1"),
        ("https://a.example/hook", "/webhooks/t%65st/x%2fy", "", "https://a.example/hook/x%2fy"),
        ("https://a.example/hook?k=1", "/webhooks/test", "", "https://a.example/hook?k=1"),
        ("https://a.example/hook?k=1", "/webhooks/test/x", "k=2", "https://a.example/hook/x?k=2"),
        ("https://a.example", "/webhooks/test", "", "https://a.example"),
    ],
)
def test_what_lies_below_a_source_lies_below_its_public_url(public, path, query, url):
    assert build_public_url(public, "/webhooks/test", path, query) == url
