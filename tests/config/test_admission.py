"""The rules of admission in relay.toml: every mistake at start, with its key, the file and the place."""

import json
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.build import load
from relay.config.source_rules import build_admission, tunnel_names_callers
from relay.config.source_tables import SourceTable
from relay.config.tables import TunnelTable
from relay.errors import ConfigError
from relay.model.admission import NO_RULES, EmailField, Rate


def config(tmp_path, lines, **files):
    for name, text in files.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
    (tmp_path / "relay.toml").write_text(f'[sources.any]\nprovider = "custom"\n{lines}\n')
    return load(tmp_path / "relay.toml", environ={})


def problems(tmp_path, lines, **files):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, lines, **files)
    return caught.value.problems


def rules(tmp_path, lines, **files):
    return config(tmp_path, lines, **files).sources[0].admission


def test_without_rules_a_source_is_open(tmp_path):
    assert rules(tmp_path, "") == NO_RULES


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.168.1.1", "192.168.1.1/32"),
        ("10.0.0.0/24", "10.0.0.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_addresses_and_networks_of_both_families(tmp_path, text, network):
    assert rules(tmp_path, f'allow_ips = ["{text}"]').networks == (ip_network(network),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("300.1.1.1/99", "is not an address or a network"),
        ("10.0.0.0/33", "is not an address or a network"),
        ("10.0.0.7/24", "has bits beyond its mask; write 10.0.0.0/24"),
        ("2001:db8::1/32", "has bits beyond its mask; write 2001:db8::/32"),
        ("10.0.0.0/255.255.255.0", "write 192.0.2.1, 10.0.0.0/24 or 2001:db8::/32"),
        ("localhost", "is not an address or a network; write"),
        ("010.0.0.1", "is not an address or a network"),
        ("", "is not an address or a network; write"),
        ("10.0.0.1 ", "is not an address or a network; write"),
    ],
)
def test_what_is_no_network_is_told_with_its_place(tmp_path, text, said):
    [problem] = problems(tmp_path, f'allow_ips = ["10.0.0.1", "{text}"]')
    assert problem.startswith(f"sources.any.allow_ips.1: '{text}' ")
    assert said in problem


@given(st.lists(st.text(max_size=30) | st.ip_addresses().map(str), max_size=4))
def test_any_list_gives_networks_or_sentences(tmp_path, texts):
    wrong = []
    found = build_admission(SourceTable(allow_ips=texts), tmp_path, wrong)
    assert all(problem.startswith("allow_ips.") and problem.isprintable() for problem in wrong)
    assert len(found.networks) + len(wrong) == len(texts)


def test_a_rate_has_a_burst(tmp_path):
    rate = "rate_limit = { requests_per_minute = 60"
    assert rules(tmp_path, rate + ", burst = 3 }").rate == Rate(per_minute=60, burst=3)
    assert rules(tmp_path, rate + " }").rate == Rate(per_minute=60, burst=10)
    assert problems(tmp_path, "rate_limit = { burst = 3 }") == (
        "sources.any.rate_limit.requests_per_minute: is missing",
    )
    assert "requests_per_minute: 0" in problems(tmp_path, "rate_limit = { requests_per_minute = 0 }")[0]


def test_a_source_has_a_size_of_its_own(tmp_path):
    assert rules(tmp_path, 'max_body = "64KB"').max_body == 64_000
    assert "is not a size" in problems(tmp_path, 'max_body = "64"')[0]


def test_content_types_are_media_types(tmp_path):
    assert rules(tmp_path, 'content_types = ["Application/JSON", "text/*"]').content_types == (
        "application/json",
        "text/*",
    )
    [problem] = problems(tmp_path, 'answer = { content_type = "json" }')
    assert problem == "sources.any.answer.content_type: 'json' is not a media type; write one such as application/json"
    [problem] = problems(tmp_path, 'content_types = ["json"]')
    assert problem == "sources.any.content_types.0: 'json' is not a media type; write application/json or application/*"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("email", EmailField(kind="body", name="/email")),
        ("user.email", EmailField(kind="body", name="/user/email")),
        ("$.user.email", EmailField(kind="body", name="/user/email")),
        ("body:/a~1b/0", EmailField(kind="body", name="/a~1b/0")),
        ("header:X-Email", EmailField(kind="header", name="X-Email")),
        ("query:to", EmailField(kind="query", name="to")),
    ],
)
def test_a_mail_address_stands_in_one_of_three_places(tmp_path, text, field):
    assert rules(tmp_path, f'email_field = "{text}"').email == field


@pytest.mark.parametrize("text", ["", "body:", "body:email", "body:/", "header:", "cookie:x", "a b", "$", "$..a", ".a"])
def test_what_names_no_place_is_told_with_the_forms(tmp_path, text):
    [problem] = problems(tmp_path, f'email_field = "{text}"')
    assert problem.startswith(f"sources.any.email_field: '{text}' ")
    assert "write user.email, body:/user/email, header:X-Email or query:email" in problem


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ('{"type": "objekt"}', "s.json is not a JSON Schema: at /type, 'objekt' is not valid"),
        ('{"properties": {"a": {"minLength": "3"}}}', "at /properties/a/minLength, '3' is not of type 'integer'"),
        ('{"properties": {"a": {"pattern": "("}}}', "at /properties/a/pattern, '(' is not a 'regex'"),
        ('{"patternProperties": {"(": {}}}', "s.json is not a JSON Schema: at /patternProperties"),
        ('{"type": "object"', "s.json is not JSON: Expecting ',' delimiter, line 1, column 18"),
        ('{"type": "object", "type": "array"}', "the key 'type' stands twice"),
        ("[]", "s.json is not a JSON Schema"),
        ("3", "s.json is not a JSON Schema"),
        ('{"$schema": "https://example.com/my"}', "names a $schema that relay does not know: 'https://example.com/my'"),
        ('{"$schema": 3}', "names a $schema that relay does not know: 3"),
        ('{"$ref": "https://a.example/x"}', "refers to https://a.example/x, which is a network address"),
        ('{"items": {"$ref": "gone.json"}}', "refers to gone.json, which there is no file"),
        ('{"$ref": "#/$defs/gone"}', "refers to #/$defs/gone, which leads nowhere"),
        ('{"$ref": "#gone"}', "refers to #gone, which leads nowhere"),
        ('{"$ref": "broken.json"}', "refers to broken.json, which broken.json is not a JSON Schema: at /type"),
        ('{"$ref": "ftp://example.com/x"}', "is a network address"),
        ('{"$id": "https://a.example/s/s.json", "$ref": "https://a.example/o/x"}', "is a network address"),
    ],
)  # fmt: skip
def test_a_broken_schema_is_told_with_its_place(tmp_path, document, said):
    [problem] = problems(tmp_path, 'schema = "s.json"', s=document, broken='{"type": 3}')
    assert problem.startswith("sources.any.schema: ")
    assert said in problem


def test_a_schema_that_is_not_there_is_told_with_its_path(tmp_path):
    [problem] = problems(tmp_path, 'schema = "schemas/payment.json"')
    assert problem == f"sources.any.schema: there is no file {tmp_path / 'schemas/payment.json'}"
    [problem] = problems(tmp_path, 'schema = "models.WebhookPayload"')
    assert 'a model is named like "models:WebhookPayload"' in problem
    assert "cannot read" in problems(tmp_path, 'schema = "."')[0]


def test_references_in_what_is_no_schema_are_left_alone(tmp_path):
    document = {"properties": {"$ref": {"type": "string"}}, "const": {"$ref": "https://example.com"}, "enum": []}
    assert rules(tmp_path, 'schema = "s.json"', s=document).schema.name == "s.json"


def test_a_format_that_nothing_checks_is_said(tmp_path):
    document = {"properties": {"a": {"format": "duration"}, "b": {"format": "date-time"}, "c": {"format": "money"}}}
    notices = config(tmp_path, 'schema = "s.json"', s=document).notices
    assert "sources.any.schema: nothing checks the format duration, money in s.json" in notices


def test_no_rule_is_said_not_to_be_applied(tmp_path):
    lines = 'schema = "s.json"\nallow_ips = ["::1"]\nrate_limit = { requests_per_minute = 1 }\nemail_field = "a"'
    assert [notice for notice in config(tmp_path, lines, s="{}").notices if "yet" in notice] == []


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (None, "M", "there is no file"),
        ("class M:\n  x: int = 'a' +", "M", "cannot be run: SyntaxError"),
        ("raise OSError('gone\\x1b')", "M", "cannot be run: OSError: gone\\x1b"),
        ("from pydantic import BaseModel\nclass Other(BaseModel): x: int", "M", "has no model M; it has Other"),
        ("M = 3", "M", "has no model M; write class WebhookPayload(BaseModel)"),
        ("def M(x): return x", "M", "has no model M"),
        ("class M: pass", "M", "M in"),
        ("from pydantic import BaseModel\nclass M(BaseModel): x: 'Gone'", "M", "cannot be used as a model"),
    ],
)
def test_a_broken_model_is_told_with_its_file(tmp_path, text, name, said):
    if text is not None:
        (tmp_path / "models.py").write_text(text)
    [problem] = problems(tmp_path, f'schema = "models:{name}"')
    assert problem.startswith("sources.any.schema: ")
    assert said in problem
    assert str(tmp_path / "models.py") in problem
    assert problem.isprintable()


def test_models_may_lie_in_a_folder_and_import_their_neighbours(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "events.py").write_text("from shop_parts_of_a_test import Base\nclass Event(Base): y: int\n")
    (tmp_path / "shop_parts_of_a_test.py").write_text("from pydantic import BaseModel\nclass Base(BaseModel): x: int\n")
    assert rules(tmp_path, 'schema = "shop.events:Event"').schema.name == "shop.events:Event"


def test_every_mistake_of_a_source_is_told_at_once(tmp_path):
    lines = 'allow_ips = ["x"]\ncontent_types = ["x"]\nschema = "gone.json"\nemail_field = "?"'
    found = problems(tmp_path, lines)
    assert [problem.split(":")[0] for problem in found] == [
        "sources.any.allow_ips.0",
        "sources.any.content_types.0",
        "sources.any.schema",
        "sources.any.email_field",
    ]


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ({}, True),
        ({"provider": "command", "command": "cloudflared tunnel --url {ingress_url}"}, True),
        ({"provider": "command", "command": "ssh -R 80:localhost:8400 example.com"}, False),
        ({"provider": "command", "command": "/usr/bin/ssh -R 80:localhost:8400 example.com"}, False),
        ({"provider": "command", "command": "ssh -R x", "forwarded_for": True}, True),
        ({"provider": "static", "public_url": "https://a.example", "forwarded_for": False}, False),
    ],
)
def test_a_tunnel_that_carries_bytes_alone_names_no_callers(table, names):
    assert tunnel_names_callers(TunnelTable(**table)) is names
