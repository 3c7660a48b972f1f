import json

from hypothesis import given
from hypothesis import strategies as st

from relay.model.differences import ComparedEvent, compare_events, compare_json, is_same_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def side(content, content_type="application/json", **more):
    return ComparedEvent(**{"facts": {}, "headers": (("Content-Type", content_type),), "content": content} | more)


@given(JSON)
def test_a_document_is_the_same_as_itself_in_every_leaf(value):
    assert all(is_same_value(left, right) for _, left, right in compare_json(value, value))


@given(JSON, JSON)
def test_documents_that_differ_differ_in_a_leaf(left, right):
    alike = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    assert alike == all(is_same_value(mine, yours) for _, mine, yours in compare_json(left, right))


def test_odd_names_are_quoted_so_that_a_path_means_one_place():
    found = [path for path, *_ in compare_json({"a.b": {"x y": 1}, "a": {"b": 2}}, {})]
    assert found == ['["a.b"]', "a"]
    assert [path for path, *_ in compare_json({"a": [{"b": 1}]}, {"a": [{"b": 2}]})] == ["a[0].b"]


def test_headers_are_compared_by_name_whatever_their_case_and_repeats():
    left = side(b"", headers=(("X-Tag", "a"), ("x-tag", "b"), ("Only", "1")))
    right = side(b"", headers=(("x-tag", "a, b"),))
    found = [place for place in compare_events(left, right, json.dumps) if place.part == "header"]
    assert [(place.full, place.left, place.right) for place in found] == [
        ("header x-tag", "a, b", "a, b"),
        ("header only", "1", None),
    ]


def test_a_form_is_compared_field_by_field():
    kind = "application/x-www-form-urlencoded"
    found = [
        place for place in compare_events(side(b"a=1&b=2", kind), side(b"a=1&b=3", kind), json.dumps) if place.differs
    ]
    assert [(place.full, place.left, place.right) for place in found if place.part == "body"] == [
        ("body b", '"2"', '"3"')
    ]
