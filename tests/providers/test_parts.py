"""The parts schemes are made of: templates, keys, and values replaced in the text of a body."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cases import check_each
from relay.errors import ConfigError
from relay.model.payload import PayloadError, parse_form
from relay.providers.schemes.base import RefusalError
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import decode_text, encode_digest, is_same_text
from relay.providers.schemes.locations import set_form_value, set_json_value, set_part_value
from relay.providers.schemes.timestamps import Time


@pytest.mark.parametrize("text", ["{nope}", "{header}", "{body", "body}", "{json:}", "{form_sorted:x}"])
def test_a_template_of_unknown_tokens_is_refused(text):
    with pytest.raises(ConfigError):
        template(text)


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("c2VjcmV0", "base64", b"secret"),
        ("c2VjcmV0Cg", "base64", b"secret\n"),
        ("c2VjcmV0Cg==", "base64", b"secret\n"),
        ("c2Vj cmV0", "base64", None),
        ("_-", "base64", None),
        ("A", "base64", None),
        ("_-", "base64url", b"\xff"),
        ("_-8=", "base64url", b"\xff\xef"),
        ("/+", "base64url", None),
        ("00FFab", "hex", b"\x00\xff\xab"),
        ("0", "hex", None),
        ("zz", "hex", None),
        ("schön", "text", "schön".encode()),
        ("\udcff", "text", b"\xff"),
        ("\ud800", "text", None),
    ],
)
def test_a_key_is_decoded_strictly(text, form, expected):
    assert decode_text(text, form) == expected


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b'{"a":{"b":1},"b":2}', ("a", "b"), b'{"a":{"b":"x"},"b":2}'),
        (b'{"a":1,"a":2}', ("a",), b'{"a":1,"a":"x"}'),
        (b'{"c":[1,{"a":3}]}', ("a",), b'{"c":[1,{"a":3}],"a":"x"}'),
        (b"{}", ("a", "b"), b'{"a":{"b":"x"}}'),
        (b'{"a":1}', ("a", "b"), None),
        (b"[1]", ("a",), None),
        (b"not json", ("a",), None),
        (b"\xff", ("a",), None),
        (b"[" * 100_000, ("a",), None),
    ],
)
def test_a_json_value_is_replaced_in_the_text(body, path, expected):
    assert set_json_value(body, path, "x") == expected


def test_a_form_value_is_replaced_where_it_stood():
    assert set_form_value(b"a=1&b=2&c=", "b", "x y") == b"a=1&b=x+y&c="
    assert set_form_value(b"a=1", "b", "x") == b"a=1&b=x"
    assert set_form_value(b"", "b", "x") == b"b=x"


def test_a_field_of_a_multipart_form_is_set_where_it_stands():
    def part(name, text, more=b""):
        return b'--sep\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, more, text)

    typed, file = "multipart/form-data; boundary=sep", part(b"c", b"\xff&b=1", b'; filename="b"')
    before = part(b"b", b"old") + part(b"a", b"1") + part(b"b", b"") + file + b"--sep--\r\n"
    after = part(b"b", b"longer") + part(b"a", b"1") + part(b"b", b"longer") + file + b"--sep--\r\n"
    assert set_part_value(before, typed, "b", b"longer") == after
    assert set_part_value(before, typed, "c", b"x") is None
    assert set_part_value(b"b=1", typed, "b", b"x") is None
    assert set_part_value(before, "multipart/form-data", "b", b"x") is None


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [b"a", b"b", b"=", b"&", b"+", b"%20", b"%C3%A9", b"%", b"%zz", b"\\", b"\\x41", b"\xe9", b"%00"]
        ),
        max_size=14,
    ).map(b"".join)
)
@example(b"\\u0100=\\N{BULLET}&%26=%3D%5c")
def test_a_form_is_read_fast_as_the_parser_reads_it(body):
    text = body.decode("utf-8", "surrogateescape")
    slow = parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="surrogateescape")
    assert parse_form(body) == tuple(slow)


def test_a_form_of_too_many_fields_is_refused():
    with pytest.raises(PayloadError):
        parse_form(b"a=1&" * 10_001 + b"b")


@pytest.mark.parametrize("text", [b"1795356346", b"0001795356346"])
def test_a_time_is_strict_decimal(text, now):
    assert Time(past=300, future=300).check_age(text, now)[0] == ""


@check_each(
    "text",
    [
        b"+1795356346",
        b"-1795356346",
        b"1795356346.0",
        b"1795356346.5",
        b" 1795356346",
        b"1795356346 ",
        b"1_795_356_346",
        b"1.795356346e9",
        b"0x6b02f7fa",
        "\u0661795356346".encode(),
        b"",
        b"17953563460000000",
    ],
)
@check_each("unit", ["s", "ms"])
def test_what_other_readers_may_read_as_another_time_is_none(text, unit, now):
    with pytest.raises(RefusalError):
        Time(unit=unit, past=300, future=300).check_age(text, now)


@given(st.binary(max_size=70))
def test_base64url_is_written_without_padding_and_read_with_or_without(raw):
    text = encode_digest(raw, "base64url")
    assert set(text) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    padded = text + b"=" * (-len(text) % 4)
    assert is_same_text(text, padded, "base64url")
    assert (decode_text(padded.decode(), "base64url") or b"") == raw
