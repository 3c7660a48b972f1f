"""One value of a JSON text is set, and the rest of it stays to the byte."""

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.json_paths import PathError, splice_json
from relay.model.parsing import MAX_DEPTH, PayloadError

NEW = b'"set here"'
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


def put(data, *keys, new=NEW):
    return splice_json(data, keys, lambda _: new).apply(data)


def places(value, keys=()):
    yield keys
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*keys, key))
    if isinstance(value, list):
        for place, inner in enumerate(value):
            yield from places(inner, (*keys, place))


def set_in(value, keys):
    if not keys:
        return json.loads(NEW)
    copied = deepcopy(value)
    here = copied
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = json.loads(NEW)
    return copied


@st.composite
def texts(draw):
    value = draw(VALUES)
    indent = draw(st.sampled_from([None, 0, 2, "\t"]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=draw(st.booleans()))
    space = draw(st.sampled_from(["", " ", "\r\n"]))
    return value, (space + text + space).encode("utf-8", "surrogatepass")


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(texts(), st.randoms(use_true_random=False))
def test_every_place_can_be_set_and_nothing_else_differs(made, random):
    value, data = made
    if not is_utf8(data):
        return
    keys = random.choice(list(places(value)))
    splice = splice_json(data, keys, lambda _: NEW)
    assert json.loads(splice.apply(data)) == set_in(value, keys)
    assert splice.new == NEW
    old = json.loads(data[splice.start : splice.end])
    here = value
    for key in keys:
        here = here[key]
    assert old == here


@given(texts(), st.text(), st.randoms(use_true_random=False))
def test_a_new_member_is_added_and_every_byte_before_and_behind_it_stays(made, key, random):
    value, data = made
    objects = [keys for keys in places(value) if isinstance(at(value, keys), dict) and key not in at(value, keys)]
    if not objects or not is_utf8(data) or not is_utf8(key.encode("utf-8", "surrogatepass")):
        return
    keys = random.choice(objects)
    splice = splice_json(data, (*keys, key), lambda _: NEW)
    assert json.loads(splice.apply(data)) == set_in(value, (*keys, key))
    assert data[splice.start : splice.end].strip() == b""


def at(value, keys):
    for key in keys:
        value = value[key]
    return value


@given(st.binary(max_size=40))
def test_what_is_no_json_is_refused_and_nothing_else_is_raised(data):
    try:
        json.loads(data.decode("utf-8-sig"))
    except ValueError:
        with pytest.raises(PayloadError):
            put(data)


PRETTY = b'{\n  "a": 1,\n  "b": {\n    "c": [\n      1,\n      2\n    ]\n  },\n  "e": {}\n}\n'


@pytest.mark.parametrize(
    ("data", "keys", "made"),
    [
        (b'{"a":10.50,"b":1E5}', ("b",), b'{"a":10.50,"b":"set here"}'),
        (b'{ "a" : 1 , "b" : 2 }', ("a",), b'{ "a" : "set here" , "b" : 2 }'),
        (b'{"a":1,"a":2}', ("a",), b'{"a":1,"a":"set here"}'),
        (b'{"\\u0061":1}', ("a",), b'{"\\u0061":"set here"}'),
        (b'\xef\xbb\xbf{"a":1}', ("a",), b'\xef\xbb\xbf{"a":"set here"}'),
        (b'{"a":"}]\\"{"}', ("a",), b'{"a":"set here"}'),
        (b"[1,2]", ("1",), b'[1,"set here"]'),
        (b"[1, 2]", (2,), b'[1, 2, "set here"]'),
        (b"[]", (0,), b'["set here"]'),
        (b"{}", ("a",), b'{"a":"set here"}'),
        (b'{"a":1}', ("b",), b'{"a":1,"b":"set here"}'),
        (b'{"a": 1}', ("b",), b'{"a": 1, "b": "set here"}'),
        (b'{"a": 1,"b": 2}', ("c",), b'{"a": 1,"b": 2,"c": "set here"}'),
        (b'{"a":null}', ("a", "b"), b'{"a":{"b":"set here"}}'),
        (b'{"a": {}}', ("b", 0, "c"), b'{"a": {}, "b": [{"c": "set here"}]}'),
        (PRETTY, ("b", "d"), PRETTY.replace(b"    ]\n  }", b'    ],\n    "d": "set here"\n  }')),
        (PRETTY, ("b", "c", 2), PRETTY.replace(b"2\n", b'2,\n      "set here"\n')),
        (PRETTY, ("f",), PRETTY.replace(b"{}\n}", b'{},\n  "f": "set here"\n}')),
        (PRETTY, ("e", "x"), PRETTY.replace(b"{}", b'{\n    "x": "set here"\n  }')),
        (b'{\r\n\t"a": {}\r\n}', ("a", "b"), b'{\r\n\t"a": {\r\n\t\t"b": "set here"\r\n\t}\r\n}'),
    ],
)
def test_what_is_set_is_written_in_the_style_around_it(data, keys, made):
    assert put(data, *keys) == made


@pytest.mark.parametrize(
    ("data", "keys", "key"),
    [
        (b'{"a":1}', ("a", "b"), "b"),
        (b"[1]", ("2",), "2"),
        (b"[1]", ("x",), "x"),
        (b'{"a":1}', (0,), 0),
        (b"7", ("a",), "a"),
        (b"{}", ("a", 1), 1),
    ],
)
def test_a_path_that_leads_nowhere_names_its_step(data, keys, key):
    with pytest.raises(PathError) as raised:
        put(data, *keys)
    assert raised.value.key == key


def test_what_is_nested_too_deeply_is_refused():
    deep = MAX_DEPTH + 1
    with pytest.raises(PayloadError, match="nested"):
        put(b"[" * deep + b"]" * deep, 0)
