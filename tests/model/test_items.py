"""Requests that hold several events: found where a provider puts them, and reduced to some of them."""

import json
from typing import Any

import pytest

from relay.model.payload import Payload
from relay.model.request_items import LIST, MAX_ITEMS, ItemPaths, RequestItems, Split
from relay.model.text import format_headline

META = ItemPaths((("entry", None, "changes", None), ("entry", None, "messaging", None)))
ADYEN = ItemPaths((("notificationItems", None),))


def payload(value, content_type="application/json"):
    return Payload(json.dumps(value).encode(), content_type)


def test_the_elements_of_a_list_are_its_events():
    split = LIST.split(payload([{"a": 1}, 7, {"a": 2}]))
    assert split.values == ({"a": 1}, {"a": 2})
    assert [split.only((place,)).json for place in range(len(split))] == [[{"a": 1}], [{"a": 2}]]
    assert split.only((0, 1)).json == [{"a": 1}, 7, {"a": 2}]


def test_events_are_found_at_any_depth_and_the_rest_of_the_request_stays():
    body = {
        "object": "page",
        "entry": [
            {"id": "1", "changes": [{"field": "feed"}, {"field": "name"}]},
            {"id": "2", "messaging": [{"sender": {"id": "3"}}]},
        ],
    }
    split = META.split(payload(body))
    assert split.values == ({"field": "feed"}, {"field": "name"}, {"sender": {"id": "3"}})
    assert split.only((1,)).json == {"object": "page", "entry": [{"id": "1", "changes": [{"field": "name"}]}]}
    assert split.only((0, 2)).json == {
        "object": "page",
        "entry": [{"id": "1", "changes": [{"field": "feed"}]}, {"id": "2", "messaging": [{"sender": {"id": "3"}}]}],
    }


@pytest.mark.parametrize(
    "value", [{}, [], {"notificationItems": {}}, {"notificationItems": [1, "x", []]}, "x", 3, None]
)
def test_a_request_of_another_shape_is_one_event_itself(value):
    split = ADYEN.split(payload(value))
    assert (len(split), split.only((0,)).json) == (1, value)
    assert split.values == (() if value is None else (value,))
    assert RequestItems.of(split) is None


def test_events_may_lie_in_a_form_s_field():
    items = ItemPaths(((None,),), form="events")
    body = Payload(b"events=%5B%7B%22event%22%3A%22open%22%7D%5D&x=1", "application/x-www-form-urlencoded")
    split = items.split(body)
    assert split.values == ({"event": "open"},)
    assert split.only((0,)).json == [{"event": "open"}]
    value: Any = split.value((0,))
    assert value["x"] == "1"
    assert len(items.split(Payload(b"events=%5B", "application/x-www-form-urlencoded"))) == 1


def test_a_list_beside_a_type_is_no_batch_where_that_is_said():
    items = ItemPaths((("events", None),), unless=("type",))
    assert len(items.split(payload({"events": [{}, {}]}))) == 2
    assert len(items.split(payload({"events": [{}, {}], "type": "x"}))) == 1


def test_a_batch_without_end_is_cut():
    assert len(LIST.split(payload([{}] * (MAX_ITEMS + 5)))) == MAX_ITEMS


@pytest.mark.parametrize("types", [("a", "b", "a"), ("a", "a", "a")])
def test_what_is_stored_gives_the_same_events_again(types):
    body = payload([{"n": 1}, {"n": 2}, {"n": 3}])
    split = LIST.split(body)
    batch = RequestItems.of(Split(split.payload, split.items, split.root, split.found, types))
    assert batch.types == tuple(dict.fromkeys(types))
    again = RequestItems.read(json.loads(json.dumps(batch.plain())), types[0])
    assert again == batch
    assert (again.split(body).types, again.split(body).values) == (types, split.values)
    # A body that is not the stored one, such as an edited copy, is one event.
    assert len(again.split(payload({}))) == 1


@pytest.mark.parametrize(
    ("types", "count", "told"),
    [
        (("a",), 1, "a"),
        (("a", "b"), 3, "3 events: a, b"),
        (("a",), 2, "2 events: a"),
        (("a", "b", "c", "d"), 9, "9 events: a, b, c, d"),
        (("a", "b", "c", "d", "e"), 9, "9 events: a, b, c and 2 more"),
        (("unknown",), 2, "unknown"),
    ],
)
def test_a_request_is_called_by_the_events_in_it(types, count, told):
    assert format_headline(types[0], types, count) == told
