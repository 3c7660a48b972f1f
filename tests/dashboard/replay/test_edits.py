import json

import pytest

from relay.dashboard.delivery_rows import HIDDEN_VALUE
from relay.dashboard.replay.edits import build_original, build_replay_warning, format_change_count, parse_replay_form
from relay.model.delivery import SignMode

HEADERS = (
    ("Content-Type", "application/json"),
    ("Stripe-Signature", "t=1,v1=abc"),
    ("X-Name", "caf\xc3\xa9"),
    ("Host", "localhost"),
)
BODY = b'{\n  "amount": 4800,\n  "currency": "eur"\n}'


@pytest.fixture
def event(event_of):
    return event_of(BODY, HEADERS)


def test_a_form_sent_back_as_it_was_changes_nothing(event):
    start = build_original(event)
    form = {"method": start.method, "path": "", "headers": start.headers, "body": start.body, "sign": "auto"}
    asked = parse_replay_form(event, {name: value.replace("\n", "\r\n") for name, value in form.items()})
    assert (asked.changes.method, asked.changes.path, asked.changes.headers, asked.changes.body) == (None,) * 4
    assert format_change_count(asked.differences) == "No changes"


def test_credentials_are_dots_that_stand_for_the_real_value(event):
    start = build_original(event)
    assert "v1=abc" not in start.headers
    asked = parse_replay_form(event, {"headers": start.headers + "\nX-More: 1"})
    assert dict(asked.changes.headers)["Stripe-Signature"] == "t=1,v1=abc"
    assert dict(asked.changes.headers)["X-Name"] == "caf\xc3\xa9"
    assert list(asked.differences) == [("X-More", "", "1")]


def test_changed_values_are_listed_by_path(event):
    edit = json.dumps({"amount": 125000, "currency": "usd", "new": [1]}, indent=2)
    asked = parse_replay_form(event, {"body": edit})
    assert list(asked.differences) == [("amount", "4800", "125000"), ("currency", '"eur"', '"usd"'), ("new", "", "[1]")]
    assert format_change_count(asked.differences) == "3 changes"
    assert asked.changes.body == edit.encode()


def test_an_edited_body_keeps_its_kind_of_line_breaks(event_of):
    event = event_of(b'{\r\n"a": 1\r\n}')
    assert parse_replay_form(event, {"body": '{\r\n"a": 2\r\n}'}).changes.body == b'{\r\n"a": 2\r\n}'
    assert parse_replay_form(event_of(b'{\n"a": 1\n}'), {"body": '{\r\n"a": 2\r\n}'}).changes.body == b'{\n"a": 2\n}'


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"method": "PO ST"}, "method"),
        ({"path": "no-slash"}, "path"),
        ({"path": "/a b"}, "path"),
        ({"headers": "no colon"}, "headers"),
        ({"headers": "Bad Name: x"}, "headers"),
    ],
)
def test_what_cannot_be_sent_is_said_by_field(event, form, field):
    assert list(parse_replay_form(event, form).errors) == [field]


def test_a_body_that_is_no_text_is_not_offered(event_of):
    assert not build_original(event_of(b"\x89PNG\0\0")).editable
    assert not build_original(event_of(b"caf\xe9 au lait")).editable
    assert parse_replay_form(event_of(b"\0"), {"body": "x"}).changes.body is None


def test_an_old_signature_over_a_new_body_is_warned_of(event):
    asked = parse_replay_form(event, {"body": "{}", "sign": "original"})
    assert asked.changes.sign is SignMode.ORIGINAL
    assert "will fail" in build_replay_warning(event, asked.changes, signed=True)
    assert build_replay_warning(event, asked.changes, signed=False) == ""
    assert build_replay_warning(event, parse_replay_form(event, {"body": "{}"}).changes, signed=True) == ""


def test_dots_never_become_a_value(event):
    asked = parse_replay_form(event, {"headers": f"X-Made-Up: {HIDDEN_VALUE}"})
    assert asked.changes.headers == (("X-Made-Up", ""),)
