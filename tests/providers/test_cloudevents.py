"""CloudEvents are named by their type, and known by source and id, in each mode of the HTTP binding."""

import json

import pytest

from relay.config.sources import make_inbox
from relay.providers.derived_extractors import default_event_type, default_idempotency_key

EVENT = {"specversion": "1.0", "type": "user.created", "source": "/users", "id": "A-1"}
BATCH = (("Content-Type", "application/cloudevents-batch+json"),)
BINARY = (("ce-specversion", "1.0"), ("CE-Type", "user.cr%C3%A9ated"), ("ce-source", "/users"), ("Ce-Id", "A-1"))


@pytest.fixture
def named(capture):
    def named(body=b"{}", headers=()):
        made = capture(body, headers)
        return default_event_type(made, made.payload), default_idempotency_key(made, made.payload)

    return named


def test_binary_mode_names_the_event_in_headers(named):
    assert named(b'{"type": "other"}', BINARY) == ("user.créated", "/users A-1")


def test_structured_mode_names_it_in_the_body_whatever_the_content_type(named):
    assert named(json.dumps(EVENT).encode()) == ("user.created", "/users A-1")
    assert named(json.dumps(EVENT | {"specversion": None}).encode()) == ("user.created", None)


def test_a_batch_is_known_by_all_of_its_events(named):
    items = [{"type": "a", "source": "/x", "id": 1}, {"type": "b", "source": "/x", "id": "2"}]
    assert named(json.dumps(items).encode(), BATCH) == ("a", "/x-1-/x-2")
    assert named(b"[]", BATCH) == (None, None)


def test_an_id_without_its_source_is_no_key(named):
    assert named(headers=BINARY[:2] + BINARY[3:]) == ("user.créated", None)
    assert named(headers=(("Idempotency-Key", "k"), BINARY[3])) == (None, "k")


def test_the_inbox_knows_them_too_and_takes_no_other_key(capture):
    source = make_inbox({})("orders")
    made = capture(b"{}", BINARY)
    assert source.idempotency_key(made, made.payload) == "/users A-1"
    other = capture(b"{}", (("Idempotency-Key", "k"),))
    assert source.idempotency_key(other, other.payload) is None
