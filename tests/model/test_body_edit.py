"""Fields of bodies are set by path; what was not named stays to the byte."""

import json
from urllib.parse import parse_qsl, quote_plus

import pytest

from relay.errors import UsageError
from relay.model.body_edit import edit_body, parse_path
from relay.model.parsing import MAX_VALUES

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
ODD = b'{ "amount":10.50, "rate":1E5,\t"name":"caf\\u00e9", "twice":1, "twice":2, "list":[{"n":1.10}] }'


@pytest.mark.parametrize(
    ("path", "value", "was", "became"),
    [
        ("list.0.n", "2", b"1.10", b"2"),
        ("list[0].n", "3.50", b"1.10", b"3.50"),
        ("/list/0/n", "1E9", b"1.10", b"1E9"),
        ("$.list[0].n", "null", b"1.10", b"null"),
        ("twice", "3", b'"twice":2', b'"twice":3'),
        ("name", "J\u00f6rg", b'"caf\\u00e9"', b'"J\\u00f6rg"'),
        ("name", "7", b'"caf\\u00e9"', b'"7"'),
        ("amount", '{"a": 1.0}', b"10.50", b'{"a": 1.0}'),
        ("new", "x", b"}] }", b'}], "new":"x" }'),
        ("amount", 5, b"10.50", b"5"),
        ("amount", ["\u00e9"], b"10.50", b'["\\u00e9"]'),
    ],
)
def test_only_the_value_at_the_path_differs(path, value, was, became):
    assert ODD.count(was) == 1
    assert edit_body(ODD, JSON, {path: value}) == ODD.replace(was, became)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("a", ("a",)),
        ("data.object.amount", ("data", "object", "amount")),
        ("items[0].id", ("items", 0, "id")),
        ("[0][1]", (0, 1)),
        ('metadata["a.b"].c', ("metadata", "a.b", "c")),
        ("metadata['a.b']", ("metadata", "a.b")),
        ("a[b]", ("a", "b")),
        ("/a~1b/~0/0", ("a/b", "~", "0")),
        ("/", ("",)),
        ("list.0", ("list", "0")),
    ],
)
def test_a_path_is_dotted_or_a_json_pointer(path, keys):
    assert parse_path(path) == keys


@pytest.mark.parametrize("path", ["a..b", ".a", "a.", "a[", "a[0", "a]b", "a[0]b", 'a["x]', "[]", "$."])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(UsageError, match="is not a path"):
        parse_path(path)


INNER = b'{"ref": "refs/heads/a", "n": 10.50}'
GITHUB = b"a=%7e&payload=" + quote_plus(INNER).encode() + b"&z=%2F"


@pytest.mark.parametrize("path", ["ref", "payload.ref", "/payload/ref", "/ref"])
def test_json_in_the_field_payload_is_changed_in_place(path):
    made = edit_body(GITHUB, FORM, {path: "refs/heads/b"})
    assert made == GITHUB.replace(b"heads%2Fa", b"heads%2Fb")


def test_a_new_key_goes_into_the_field_payload_and_beside_nothing():
    fields = dict(parse_qsl(edit_body(GITHUB, FORM, {"new": "1"}).decode()))
    assert json.loads(fields["payload"]) == {"ref": "refs/heads/a", "n": 10.5, "new": 1}
    assert set(fields) == {"a", "payload", "z"}


@pytest.mark.parametrize(
    ("body", "path", "value", "made"),
    [
        (b"a=1&b=%7e+x&c", "a", "2 & 3", b"a=2+%26+3&b=%7e+x&c"),
        (b"a=%20&b=1", "b", "x y", b"a=%20&b=x%20y"),
        (b"a=1&a=2", "a", "3", b"a=1&a=3"),
        (b"a&b=1", "a", "3", b"a=3&b=1"),
        (b"a=1", "b", "\u00e9", b"a=1&b=%C3%A9"),
        (b"", "b", "1", b"b=1"),
        (b"user[name]=x&b=1", "user[name]", "y", b"user[name]=y&b=1"),
        (
            b"mandrill_events=%5B%7B%22event%22%3A%22open%22%7D%5D",
            "mandrill_events[0].event",
            "click",
            b"mandrill_events=%5B%7B%22event%22%3A%22click%22%7D%5D",
        ),
        (b"a=1\n", "b", 2, b"a=1&b=2\n"),
        (b"a=%ff&b=1", "b", "2", b"a=%ff&b=2"),
    ],
)
def test_of_a_form_one_field_changes_and_the_others_keep_their_bytes(body, path, value, made):
    assert edit_body(body, FORM, {path: value}) == made


@pytest.mark.parametrize(
    ("body", "content_type", "path", "said"),
    [
        (b"<a/>", "application/xml", "a", "neither JSON nor a form"),
        (b"\x1f\x8b\x08", JSON, "a", "compressed"),
        (b"--x\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", "a", "multipart/form-data"),
        (b'{"a": "\xe9"}', "application/json; charset=iso-8859-1", "a", "not UTF-8 text"),
        (b'{"a": 1}', JSON, "a.b", "nothing in the body at 'b'"),
        (b"a=1", FORM, "a.b", "the field 'a' holds no JSON"),
        (b"", JSON, "a", "neither JSON nor a form"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(body, content_type, path, said):
    with pytest.raises(UsageError, match="cannot be set") as raised:
        edit_body(body, content_type, {path: "1"})
    assert said in raised.value.message


def test_json_of_any_number_of_values_is_edited_as_json():
    body = b'{"a":"x=1","b":[' + b"1," * MAX_VALUES + b"1]}"
    assert edit_body(body, JSON, {"a": "y"}) == body.replace(b"x=1", b"y")
