"""The parts schemes are made of: templates, keys, and values replaced in the text of a body."""

import pytest

from relay.errors import ConfigError
from relay.providers.schemes import template
from relay.providers.schemes.keys import decode
from relay.providers.schemes.splice import form_value, json_value


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
        ("00FFab", "hex", b"\x00\xff\xab"),
        ("0", "hex", None),
        ("zz", "hex", None),
        ("schön", "text", "schön".encode()),
        ("\udcff", "text", b"\xff"),
        ("\ud800", "text", None),
    ],
)
def test_a_key_is_decoded_strictly(text, form, expected):
    assert decode(text, form) == expected


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
    assert json_value(body, path, "x") == expected


def test_a_form_value_is_replaced_where_it_stood():
    assert form_value(b"a=1&b=2&c=", "b", "x y") == b"a=1&b=x+y&c="
    assert form_value(b"a=1", "b", "x") == b"a=1&b=x"
    assert form_value(b"", "b", "x") == b"b=x"
