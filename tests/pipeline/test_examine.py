"""A request held against the rules of its source: every field that is wrong, and why."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from builders import build_new_event
from cases import check_each
from relay.actions.mail.addresses import parse_address
from relay.config.build import load
from relay.model.event import EventOutcome, Verdict, Verification
from relay.model.json_paths import format_dotted_path
from relay.pipeline.validate import MOST_PROBLEMS, find_problems, validate_event

SCHEMA = {
    "type": "object",
    "required": ["id", "at", "data"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "at": {"type": "string", "format": "date-time"},
        "mail": {"type": "string", "format": "email"},
        "link": {"format": "uri"},
        "kind": {"enum": ["a", "b"]},
        "version": {"const": 2},
        "token": {"const": "s3cret"},
        "api_key": {"enum": ["k1", "k2"]},
        "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "maxItems": 2, "contains": {}},
        "data": {"type": "object", "required": ["amount", "currency"], "additionalProperties": False,
                 "properties": {"amount": {"type": ["number", "null"]}, "currency": {"type": "string"}},
                 "patternProperties": {"^x_": {}}},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "shape": {"oneOf": [{"required": ["radius"]}, {"required": ["side"]}]},
        "even": {"multipleOf": 2},
        "never": False,
        "named": {"propertyNames": {"pattern": "^[a-z]$"}},
        "propertyNames": {"type": "integer"},
        "node": {"$ref": "#/$defs/node"},
    },
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
}  # fmt: skip
GOOD = {"id": 1, "at": "2026-01-02T03:04:05Z", "data": {"amount": 1, "currency": "eur"}}

KEYS = [*SCHEMA["properties"], "a/b~c", "x_1", "radius", "side", "amount", "currency", "next"]
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=9)


def nested(inner):
    objects = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    return st.lists(inner, max_size=3) | objects


VALUES = st.recursive(PLAIN, nested, max_leaves=25)


@pytest.fixture
def shop(source):
    return source('schema = "shop.json"', shop=json.dumps(SCHEMA))


def told(source, capture):
    return [problem.sentence for problem in find_problems(source, capture)]


def test_a_body_that_fits_has_no_problems(shop, capture):
    assert told(shop, capture(json.dumps(GOOD).encode())) == []


@check_each(
    ("changes", "sentences"),
    [
        ({"id": "1"}, ["id must be a whole number, got text"]),
        ({"id": True}, ["id must be a whole number, got true or false"]),
        ({"id": 1.5}, ["id must be a whole number, got a number"]),
        ({"id": 0}, ["id must be at least 1"]),
        ({"at": "yesterday"}, ["at is not a date-time"]),
        ({"at": "2026-02-30T00:00:00Z"}, ["at is not a date-time"]),
        ({"at": "2026-01-02 03:04:05"}, ["at is not a date-time"]),
        ({"mail": "a@b"}, ["mail is not an email"]),
        ({"link": "not a uri"}, ["link is not a uri"]),
        ({"kind": "c"}, ['kind must be one of "a", "b"']),
        ({"version": 1}, ["version must be 2"]),
        ({"token": "guess"}, ["token is not what the schema asks for"]),
        ({"api_key": "guess"}, ["api_key is not what the schema asks for"]),
        ({"name": "A"}, ["name must have at least 2 characters", "name does not match the pattern ^[a-z]+$"]),
        ({"name": "abcde"}, ["name must have at most 4 characters"]),
        ({"tags": ["a", 1]}, ["tags[1] must be text, got a number"]),
        ({"tags": ["a", "a"]}, ["tags holds the same item twice"]),
        ({"tags": []}, ["tags holds no item, or too many, of the kind that is asked for"]),
        ({"data": {}}, ["data.amount is missing", "data.currency is missing"]),
        ({"data": {"amount": "1", "currency": "eur", "x_ok": 1, "more": 1, "\x1b[31m": 2}},
         ["data.more is not allowed here", 'data["\\u001b[31m"] is not allowed here',
          "data.amount must be a number or null, got text"]),
        ({"data": 1}, ["data must be an object, got a number"]),
        ({"either": 1}, ["either must be text or null, got a number"]),
        ({"shape": {}}, ["shape fits none of 2 alternatives; in one, shape.radius is missing"]),
        ({"shape": {"radius": 1, "side": 1}}, ["shape fits more than one alternative of the schema"]),
        ({"even": 3}, ["even must be a multiple of 2"]),
        ({"never": 1}, ["never is not allowed here"]),
        ({"named": {"AB": 1}}, ["named has a key that its schema does not allow"]),
        ({"propertyNames": "x"}, ["propertyNames must be a whole number, got text"]),
        ({"node": {"next": {"next": 1}}}, ["node.next.next must be an object, got a number"]),
    ],
)  # fmt: skip
def test_each_field_is_named_with_what_is_wrong(shop, capture, changes, sentences):
    assert told(shop, capture(json.dumps(GOOD | changes).encode())) == sentences


@pytest.mark.parametrize(
    ("step", "number", "fits"),
    [
        ("0.01", "0.29", True),
        ("0.01", "19.99", True),
        ("0.01", "0.295", False),
        ("0.1", "1e300", True),
        ("3", "1e22", False),
        ("1e-9", "123456789.123456789", True),
        ("2", "9007199254740993", False),
        ("0.5", "true", True),
    ],
)
def test_a_decimal_is_a_multiple_as_it_is_written(source, capture, step, number, fits):
    shop = source('schema = "m.json"', m=f'{{"properties": {{"price": {{"multipleOf": {step}}}}}}}')
    sentences = told(shop, capture(f'{{"price": {number}}}'.encode()))
    assert sentences == ([] if fits else [f"price must be a multiple of {step}"])


def test_every_problem_is_told_at_once_with_its_pointer(shop, capture):
    found = find_problems(shop, capture(b'{"id": "x", "kind": "z", "data": {"amount": 1, "a/b": 1}}'))
    assert [one.pointer for one in found] == ["/at", "/id", "/kind", "/data/currency", "/data/a~1b"]
    assert {one.rule for one in found} == {"schema"}
    assert found[-1].field == 'data["a/b"]'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is empty"),
        (b"{", "the body cannot be read: Expecting property name enclosed in double quotes (line 1, column 2)"),
        (b"\xff", "the body cannot be read: not UTF-8 text at byte 0"),
        (b'{"id": NaN}', "the body cannot be read: NaN is not JSON"),
        (b'{"id": -Infinity}', "the body cannot be read: -Infinity is not JSON"),
        (b'{"id": 1e999}', "the body cannot be read: a number is too large"),
        (b'{"id": 1, "id": 2}', "the body cannot be read: the key 'id' stands twice in one object"),
        (b'[[{"\\u0061": 1, "a": 2}]]', "the body cannot be read: the key 'a' stands twice in one object"),
        (b"[" * 300 + b"]" * 300, "the body cannot be read: nested deeper than 200 levels"),
        (b"[" * 100_000, "the body cannot be read: nested too deeply"),
    ],
)  # fmt: skip
def test_what_no_two_readers_would_read_alike_is_refused_in_words(shop, capture, body, sentence):
    assert told(shop, capture(body)) == [sentence]


def test_a_number_too_long_to_convert_is_refused_in_words(shop, capture):
    refused = told(shop, capture(b'{"id": ' + b"9" * 5000 + b"}"))
    assert refused == ["the body cannot be read: a number is too large"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/json", b"[" + b"1," * 300_000 + b"1]"), ("application/x-ndjson", b'{"a":1}\n' * 150_001)],
)
def test_a_body_of_more_values_than_memory_is_spent_on_is_not_read(shop, capture, content_type, body):
    refused = told(shop, capture(body, content_type))
    assert refused == ["the body cannot be read: more than 300,000 values"]


def test_marks_inside_a_text_are_no_values(capture):
    text = '",[{\\' * 100_000
    assert capture(json.dumps([text]).encode()).payload.json == [text]


def test_a_body_nested_deeper_than_its_schema_can_follow_is_refused(shop, capture):
    deep = b'{"next":' * 190 + b"1" + b"}" * 190
    body = b'{"id": 1, "at": "2026-01-02T03:04:05Z", "data": {"amount": 1, "currency": "e"}, "node": ' + deep + b"}"
    assert len(told(shop, capture(body))) == 1


def test_only_so_many_problems_are_told(shop, capture):
    body = GOOD | {"tags": list(range(1000))}
    found = told(shop, capture(json.dumps(body).encode()))
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == f"the body has more than {MOST_PROBLEMS} problems"


def test_long_and_odd_keys_are_cut_and_made_harmless(shop, capture):
    body = GOOD | {"data": {"amount": 1, "currency": "e", "\u202e\x07" + "k" * 5000: 1}}
    [problem] = find_problems(shop, capture(json.dumps(body).encode()))
    assert len(problem.field) <= 200
    assert problem.sentence.isprintable()


@given(VALUES)
def test_a_body_has_problems_exactly_when_the_library_finds_some(shop, capture, value):
    body = json.dumps(value).encode()
    found = find_problems(shop, capture(body))
    judge = Draft202012Validator(SCHEMA, format_checker=shop.admission.schema.validator.format_checker)
    assert bool(found) != judge.is_valid(value)
    assert all(one.sentence.isprintable() for one in found)
    assert all(
        one.field == format_dotted_path(one.pointer)
        for one in found
        if len(one.pointer) < 100 and "\\" not in one.pointer  # an escaped character is not in the pointer itself
    )


@given(
    st.binary(max_size=300), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/x", ""])
)
def test_no_body_whatsoever_raises(shop, source, capture, body, kind):
    found = find_problems(shop, capture(body, kind))
    assert found
    assert json.dumps([one.sentence for one in found])


FORM = "application/x-www-form-urlencoded"


def test_a_form_is_held_against_the_schema_field_by_field(source, capture):
    shop = source('schema = "form.json"', form='{"required": ["a"], "properties": {"a": {"enum": ["1"]}}}')
    assert told(shop, capture(b"a=1", FORM)) == []
    assert told(shop, capture(b"a=2&b=1", FORM)) == ['a must be "1"']
    assert told(shop, capture(b"payload=%7B%22a%22%3A%221%22%7D", FORM)) == []
    assert told(shop, capture(b"payload=%7B", FORM))[0].startswith("the body cannot be read")


def test_a_model_names_every_field(source, capture):
    shop = source('schema = "models:WebhookPayload"')
    assert (
        told(
            shop, capture(b'{"event_id": 1, "timestamp": "2026-01-02T03:04:05Z", "event_type": "a", "description": ""}')
        )
        == []
    )
    assert told(shop, capture(b'{"event_id": "x", "timestamp": "soon"}')) == [
        "event_id should be a valid integer, unable to parse string as an integer",
        "timestamp should be a valid datetime or date, input is too short",
        "event_type is missing",
        "description is missing",
    ]  # fmt: skip
    assert told(shop, capture(b"[]")) == ["the body should be an object"]
    assert told(shop, capture(b'{"event_id": 1, "event_id": 2}')) == [
        "the body cannot be read: the key 'event_id' stands twice in one object"
    ]


def test_a_strict_model_reads_times_as_json_has_them(source, capture):
    shop = source('schema = "models:Strict"')
    assert told(shop, capture(b'{"when": "2026-01-02T03:04:05Z"}')) == []
    assert told(shop, capture(b'{"when": "2026-01-02T03:04:05Z", "count": "1", "more": 1}')) == [
        "count should be a valid integer",
        "more is not allowed here",
    ]


def test_a_model_that_raises_refuses_and_gives_nothing_away(source, capture, caplog):
    shop = source('schema = "models:Odd"')
    assert told(shop, capture(b'{"word": "value"}')) == ["word is not accepted: must not be that"]
    assert told(shop, capture(b'{"word": "exit"}')) == ["the body could not be judged: the model raised LookupError"]
    assert told(shop, capture(b'{"word": "leave"}')) == ["the body could not be judged: the model raised SystemExit"]
    assert told(shop, capture(b'{"word": "deep"}')) == ["the body could not be judged: the model raised RecursionError"]
    assert "s3cret" not in caplog.text
    assert "LookupError in line" in caplog.text


def test_unions_are_told_by_the_field_and_not_by_the_branch(source, capture):
    shop = source('schema = "models:Paid"')
    assert told(shop, capture(b'{"by": {"kind": "card", "number": "x"}}')) == [
        "by.number should be a valid integer, unable to parse string as an integer"
    ]
    assert told(shop, capture(b'{"by": {"kind": "cow"}}')) == ["by names no alternative that the model knows"]
    found = find_problems(shop, capture(b'{"by": {"kind": "cash", "coins": [1, "x"]}, "either": {"kind": "cash"}}'))
    assert {"/by/coins/1", "/either/coins"} <= {one.pointer for one in found}
    assert told(shop, capture(b'{"by": {"kind": "cash", "coins": []}, "mail": "x", "token": "guess"}')) == [
        "mail is not accepted: value is not a valid email address: An email address must have an @-sign.",
        "token is not what the model asks for",
    ]


@pytest.mark.parametrize("name", ["Plain", "AnyOf"])
def test_any_type_that_pydantic_validates_will_do(source, capture, name):
    shop = source(f'schema = "models:{name}"')
    assert told(shop, capture(b'{"event_id": 1, "kind": "card", "number": 1}')) == []
    assert told(shop, capture(b"{}"))


@pytest.fixture
def with_models(source):
    return [source(f'schema = "models:{name}"') for name in ("WebhookPayload", "Paid", "Odd")]


@given(VALUES)
def test_no_value_makes_a_model_raise(with_models, capture, value):
    for source in with_models:
        found = find_problems(source, capture(json.dumps(value).encode()))
        assert found
        assert all(one.sentence.isprintable() for one in found)


@pytest.mark.parametrize(
    ("kinds", "kind", "sentences"),
    [
        ('["application/json"]', "application/json; charset=utf-8", []),
        ('["application/json"]', "Application/JSON", []),
        ('["Application/JSON"]', "application/json", []),
        ('["application/*"]', "application/cloudevents+json", []),
        ('["a/json", "text/*"]', "image/png", ["Content-Type must be a/json or text/*, got image/png"]),
        ('["application/json"]', "", ["Content-Type is missing"]),
        ('["application/json"]', "\x1b[31m", ["Content-Type must be application/json, got \\x1b[31m"]),
        ('"application/json"', "text/plain", ["Content-Type must be application/json, got text/plain"]),
    ],
)  # fmt: skip
def test_content_types_are_compared_without_their_parameters(source, capture, kinds, kind, sentences):
    assert told(source(f"content_types = {kinds}"), capture(b"x", kind)) == sentences


@pytest.mark.parametrize(
    ("pick", "sentence"),
    [
        ("header:Idempotency-Key", "Idempotency-Key"),
        ("body:/data/id", "data.id"),
        ("query:id", "id"),
        (None, "Idempotency-Key or webhook-id or svix-id"),
    ],
)
def test_a_key_that_is_required_is_named_by_where_it_should_stand(source, capture, pick, sentence):
    shop = source("require_idempotency_key = true\n" + (f'idempotency_key = "{pick}"' if pick else ""))
    assert told(shop, capture()) == [f"{sentence} is missing, and the source requires an idempotency key"]
    assert told(shop, capture(b'{"data": {"id": 7}}', query="id=7", Idempotency_Key="7")) == []


ADDRESS = "is not one mail address"


@pytest.mark.parametrize(
    ("field", "capture_", "wrong"),
    [
        ("email", {"body": b'{"email": "ada@example.com"}'}, ""),
        ("user.email", {"body": b'{"user": {"email": "ada+x@example.com"}}'}, ""),
        ("body:/user/0", {"body": b'{"user": ["ada@example.com"]}'}, ""),
        ("header:X-Mail", {"X_Mail": "ada@example.com"}, ""),
        ("query:to", {"query": "to=ada%40example.com"}, ""),
        ("email", {"body": b"email=ada%40example.com", "kind": FORM}, ""),
        ("email", {"body": b'{"email": "%s@example.com"}' % (b"a" * 64)}, ""),
        ("email", {"body": b'{"email": "%s"}' % b"ada@example.com, eve@example.com"}, f"email {ADDRESS}"),
        ("email", {"body": b'{"email": "ada@example.com\\r\\nBcc: eve@example.com"}'}, f"email {ADDRESS}"),
        ("email", {"body": b'{"email": "Ada <ada@example.com>"}'}, ""),
        ("email", {"body": b'{"email": "ada@localhost"}'}, ""),
        ("email", {"body": b'{"email": "ada@example"}'}, f"email {ADDRESS}"),
        ("email", {"body": b'{"email": "Ada <ada@example.com> (home)"}'}, f"email {ADDRESS}"),
        ("email", {"body": b'{"email": "not one"}'}, f"email {ADDRESS}"),
        ("email", {"body": b'{"email": ""}'}, f"email {ADDRESS}"),
        ("email", {"body": b'{"email": "\\ud800@example.com"}'}, f"email {ADDRESS}"),
        ("email", {"body": b'{"email": ["ada@example.com"]}'}, "email must be text, one mail address"),
        ("email", {"body": b'{"email": null}'}, "email is missing"),
        ("user.email", {"body": b'{"user": 1}'}, "user.email is missing"),
        ("email", {"body": b"not json"}, "email is missing"),
        ("header:X-Mail", {}, "X-Mail is missing"),
        ("header:X-Mail", {"X_Mail": "\xff"}, f"X-Mail {ADDRESS}"),
        ("query:to", {"query": "to=%FF"}, f"to {ADDRESS}"),
    ],
)
def test_the_address_that_mail_goes_to_is_one(source, capture, field, capture_, wrong):
    found = find_problems(source(f'email_field = "{field}"'), capture(**capture_))
    assert [one.sentence[: len(wrong)] for one in found] == ([wrong] if wrong else [])
    assert all(one.rule == "invalid_recipient" and one.sentence.isprintable() for one in found)


@given(st.text() | st.emails() | st.tuples(st.text(), st.emails()).map(lambda one: f"{one[0]} <{one[1]}>"))
def test_no_text_is_taken_for_an_address_that_could_break_a_header(source, capture, text):
    body = json.dumps({"email": text}).encode()
    if not find_problems(source('email_field = "email"'), capture(body)):
        address = parse_address(text)
        assert address.count("@") == 1
        assert address.isprintable()
        assert not set(address) & set(' ,;:<>"()[]\\')


def test_a_field_is_named_once_although_two_rules_are_about_it(source, capture):
    shop = source('schema = "s.json"\nemail_field = "email"', s='{"required": ["email"]}')
    assert told(shop, capture(b"{}")) == ["email is missing"]


def event(capture, **more):
    facts = {"provider": "custom", "type": "a", "idempotency_key": "k", "claims_key": True, "summary": "before"}
    return build_new_event(capture, **facts | {"verification": Verification(verdict=Verdict.UNSIGNED)} | more)


def test_an_event_that_breaks_rules_is_rejected_and_claims_no_key(shop, capture):
    bad = validate_event(shop, event(capture(b"{}")))
    assert (bad.outcome, bad.status, bad.reason, bad.claims_key) == (EventOutcome.REJECTED, 400, "schema", False)
    assert bad.summary == "id is missing, and 2 more"
    assert len(bad.problems) == 3


def test_an_event_that_fits_stays_as_it_is(shop, capture):
    good = event(capture(json.dumps(GOOD).encode()))
    assert validate_event(shop, good) is good


@pytest.mark.parametrize("outcome", [EventOutcome.IGNORED, EventOutcome.REJECTED])
def test_what_is_decided_already_is_not_examined(shop, capture, outcome):
    decided = event(capture(b"{}"), outcome=outcome)
    assert validate_event(shop, decided) is decided


def test_a_schema_in_another_draft_is_judged_by_it(source, capture):
    draft = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"n": {"maximum": 3, "exclusiveMaximum": True}},
    }
    shop = source('schema = "s.json"', s=json.dumps(draft))
    assert told(shop, capture(b'{"n": 3}')) == ["n must be at most 3"]
    third = {"$schema": "http://json-schema.org/draft-03/schema#", "properties": {"n": {"required": True}}}
    shop = source('schema = "s.json"', s=json.dumps(third))
    assert len(told(shop, capture(b"{}"))) == 1


def test_schemas_refer_to_files_beside_them(source, capture, tmp_path):
    folder = tmp_path / "schemas"
    folder.mkdir()
    (folder / "a b.json").write_text(
        '{"$id": "https://example.com/s/a.json", "properties": {"n": {"$ref": "common.json#/$defs/n"}, "m": {"$ref": "https://example.com/s/common.json#m"}}}'
    )
    (folder / "common.json").write_text(
        '{"$defs": {"n": {"type": "integer"}, "m": {"$anchor": "m", "type": "string"}}}'
    )
    (tmp_path / "relay.toml").write_text('[sources.any]\nprovider = "custom"\nschema = "schemas/a b.json"\n')
    shop = load(tmp_path / "relay.toml", environ={}).sources[0]
    assert told(shop, capture(b'{"n": "x", "m": 1}')) == [
        "n must be a whole number, got text",
        "m must be text, got a number",
    ]  # fmt: skip


def test_a_schema_that_never_ends_is_answered(source, capture):
    shop = source('schema = "s.json"', s='{"$ref": "#"}')
    assert told(shop, capture(b"1")) == ["the body is nested too deeply for its schema"]


def test_a_report_only_source_examines_what_it_lets_in(shop, capture):
    forged = event(capture(b"{}"), verification=Verification(verdict=Verdict.INVALID, reason="signature_mismatch"))
    assert validate_event(replace(shop), forged).status == 400
