"""Picks give one safe text or nothing, whatever the request holds."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture
from relay.errors import ConfigError
from relay.model.payload import Payload
from relay.model.text import escape_unprintable
from relay.providers.catalogue import PROVIDERS
from relay.providers.derived_extractors import format_amount, lookup, short_id, strip_prefix, text_if
from relay.providers.extractors import add_prefix, body, constant, first_of, form, header, join, parse_extractor, query

FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


@pytest.fixture
def pick(capture):
    def pick(chosen, content=b"{}", headers=(), **changes):
        made = capture(content, headers, **changes)
        return chosen(made, Payload(made.body, made.content_type))

    return pick


def test_a_header_is_read_in_any_case_and_as_text(pick):
    assert pick(header("x-id"), headers=(("X-ID", "a1"), ("X-Id", "b2"))) == "a1"
    assert pick(header("X-Id"), headers=(("X-Id", "Zo\xc3\xab"),)) == "Zoë"
    assert pick(header("X-Id"), headers=(("X-Id", "  "),)) is None
    assert pick(header("X-Id")) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"text"', "text"),
        ("7", "7"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("false", "false"),
        ("null", None),
        ('""', None),
        ("{}", None),
        ("[1]", None),
        ('"\\ud800"', "\\ud800"),
        ('"a\\u0000\\u202eb"', "a\\x00\\u202eb"),
    ],
)
def test_a_value_of_the_body_becomes_safe_text(value, expected, pick):
    assert pick(body("a", "b"), f'{{"a":{{"b":{value}}}}}'.encode()) == expected


def test_a_body_that_is_no_json_gives_nothing(pick):
    assert pick(body("a"), b"\xff") is None
    assert pick(body(0, "a"), b'[{"a":"x"}]') == "x"


def test_a_long_text_is_cut_but_stays_apart_from_its_like(pick):
    one, two = (pick(header("X"), headers=(("X", "k" * 500 + end),)) for end in "ab")
    assert len(one) == len(two) == 200
    assert one != two
    assert one[:100] == "k" * 100


def test_forms_and_queries_are_decoded(pick):
    assert pick(form("Body"), b"Body=a%20b+c&Body=x", FORM) == "a b c"
    assert pick(form("Body"), b"Body=", FORM) is None
    assert pick(form("Body"), b"Body=%ED%A0%80", FORM) == "\\udced\\udca0\\udc80"
    assert pick(query("id"), query="x=1&id=%C3%A9") == "é"
    assert pick(query("id"), query="id") is None


def test_picks_combine(pick):
    content = b'{"a":"1","c":"refs/heads/main"}'
    assert pick(first_of(body("x"), body("a")), content) == "1"
    assert pick(first_of(body("x"), body("y")), content) is None
    assert pick(join(".", body("a"), body("x"), body("c")), content) == "1.refs/heads/main"
    assert pick(join(".", body("a"), body("x"), whole=True), content) is None
    assert pick(join(".", body("x")), content) is None
    assert pick(add_prefix("#", body("a")), content) == "#1"
    assert pick(add_prefix("#", body("x")), content) is None
    assert pick(strip_prefix(body("c"), "refs/heads/"), content) == "main"
    assert pick(lookup(body("a"), "1 ping"), content) == "ping"
    assert pick(lookup(body("c"), "1 ping"), content) == "refs/heads/main"
    assert pick(text_if(body("a"), "yes"), content) == "yes"
    assert pick(text_if(body("x"), "yes"), content) is None
    assert pick(constant("k"), content) == "k"


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        ("pi_3Rk2Qe8LmN0p", "pi_3Rk2"),
        ("cs_test_a1B2c3D4", "cs_test_a1B2"),
        ("SM8f0a", "SM8f"),
        ("ab", "ab"),
        ("_", None),
    ],
)
def test_an_id_is_cut_to_its_kind_and_four_characters(id_, expected, pick):
    assert pick(short_id(body("id")), f'{{"id":"{id_}"}}'.encode()) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "minor", "expected"),
    [
        ("4800", "eur", True, "€48.00"),
        ("1234567", "USD", True, "$12,345.67"),
        ("500", "jpy", True, "¥500"),
        ("-1200", "chf", True, "-12.00 CHF"),
        ("1200", "xpf", True, "1,200 XPF"),
        ('"86.40"', "EUR", False, "€86.40"),
        ('"abc"', "EUR", True, None),
        ("1e30", "EUR", True, None),
        ("null", "EUR", True, None),
    ],
)
def test_money_is_written_as_people_do(amount, currency, minor, expected, pick):
    content = f'{{"amount":{amount},"currency":"{currency}"}}'.encode()
    assert pick(format_amount(body("amount"), body("currency"), minor=minor), content) == expected


def test_the_three_forms_of_relay_toml(pick):
    content = b'{"data":{"a/b":["x"]}}'
    assert pick(parse_extractor("body:/data/a~1b/0"), content) == "x"
    assert pick(parse_extractor("header:Idempotency-Key"), headers=(("idempotency-key", "k1"),)) == "k1"
    assert pick(parse_extractor("query:id"), query="id=7") == "7"


@pytest.mark.parametrize(
    "text", ["", "header", "header:", "body:data.id", "body:", "body:/a~2", "cookie:id", "Header:X", "query: "]
)
def test_another_form_is_refused(text):
    with pytest.raises(ConfigError, match=r"neither where to look nor for what|is not a JSON Pointer"):
        parse_extractor(text)


@given(
    content=st.binary(max_size=80) | st.from_regex(rb'\{"(type|id|event|data|object)":[0-9"a-z\[\]{}:,]*\}'),
    is_form=st.booleans(),
    text=st.text(st.characters(max_codepoint=255), max_size=40),
)
def test_wild_requests_give_safe_text_or_nothing(content, is_form, text):
    made = _capture(content, is_form, text)
    payload = Payload(made.body, made.content_type)
    for entry in PROVIDERS.values():
        for chosen in filter(None, (entry.event_type, entry.idempotency_key, entry.summary)):
            found = chosen(made, payload)
            assert found is None or (found.strip() and escape_unprintable(found) == found and len(found) <= 200)


def _capture(content, is_form, text):
    names = ("X-GitHub-Event", "X-Shopify-Topic", "svix-id", "X-Event-Key", "X-Gitlab-Event")
    return build_capture(
        "wild",
        path="/",
        query=text,
        headers=(FORM if is_form else ()) + tuple((name, text) for name in names),
        body=content,
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "content", [b'{"a": {"b": "x"}}', b'{"b": "y"}', b'{"a": null, "b": 3}', b'["x", {"b": 1}]', b"z", b""]
)
def test_the_first_of_several_finds_what_each_of_them_would(content):
    several = (
        strip_prefix(body("a", "b"), "q"),
        join("-", body("b"), body("a"), whole=True),
        join("-", constant("k"), body("b"), whole=True),
        body("0"),
        join(" ", body("c"), constant("none")),
    )
    capture = build_capture("any", body=content)
    one_by_one = [text for each in several if (text := each(capture, capture.payload)) is not None]
    assert first_of(*several)(capture, capture.payload) == one_by_one[0]


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("auth0", [{"data": {"type": "s", "user_name": "me"}}], ("s", "me")),
        ("auth0", {"data": {"type": "s", "user_name": "me"}}, ("s", "me")),
        ("postmark", {"RecordType": "Open", "Recipient": "a@example.com"}, ("Open", "a@example.com")),
        ("postmark", {"From": "a@example.com", "FromFull": {"Email": "a@example.com"}}, ("Inbound", "a@example.com")),
    ],
)
def test_every_shape_that_a_provider_sends_has_a_type_and_a_summary(capture, name, body, expected):
    made, entry = capture(json.dumps(body).encode()), PROVIDERS[name]
    assert tuple(extract(made, made.payload) for extract in (entry.event_type, entry.summary)) == expected
