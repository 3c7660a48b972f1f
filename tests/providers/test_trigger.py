"""A trigger makes the request its provider would have made, and it verifies."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from builders import build_source
from cases import check_each
from relay.errors import NotFoundError, SigningError, UsageError
from relay.model.event import Verdict, VerifyMode
from relay.model.payload import Payload
from relay.model.secret import Secret
from relay.pipeline.classify import verify
from relay.providers.catalogue import PROVIDERS, recognise_provider
from relay.providers.local_keys import find_pair_scheme, make_run_secret
from relay.providers.samples import prepare_sample, sample_types

NOW = datetime.fromtimestamp(1_795_356_346, UTC)
PAIR = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="


def secret_text(provider):
    scheme = provider.schemes[0]
    if scheme.title == "Ed25519":
        return PAIR
    if scheme.title == "ECDSA-P256":
        pair = derive_private_key(7, SECP256R1())
        return pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    form = getattr(scheme, "key", None)
    return {"base64": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hex": "00ff" * 16}.get(
        getattr(form, "form", "text"), "a secret"
    )


def source_of(name, secret=None):
    provider = PROVIDERS[name]
    text = secret_text(provider) if secret is None else secret
    return build_source(name, scheme=provider.scheme, secrets=(Secret("env:TEST", text),) if text else ())


def made(name, type_, *, secret=None, **options):
    source = source_of(name, secret)
    options.setdefault("url", f"https://hooks.example/webhooks/{name}")
    return prepare_sample(source, PROVIDERS[name], type_, NOW, random=options.pop("random", Random(7)), **options)


def payload(capture):
    return Payload(capture.body, capture.content_type)


@pytest.mark.parametrize("name", ["stripe", "github", "slack", "twilio", "svix", "shopify", "gitlab", "resend-simple"])
def test_a_trigger_is_recognised_as_its_provider(name):
    types = sample_types(name)
    assert recognise_provider(made(name, types[0] if types else "event")).name == name


def test_the_same_seed_and_time_give_the_same_request():
    assert made("stripe", "invoice.paid") == made("stripe", "invoice.paid")
    assert made("stripe", "invoice.paid", random=Random(8)) != made("stripe", "invoice.paid")


def test_github_gets_its_full_set_of_headers():
    capture = made("github", "pull_request.opened")
    names = [name for name, _ in capture.headers]
    assert capture.header("X-GitHub-Event") == "pull_request"
    for name in ("X-GitHub-Delivery", "X-GitHub-Hook-ID", "X-Hub-Signature", "X-Hub-Signature-256"):
        assert names.count(name) == 1
    assert capture.header("User-Agent").startswith("GitHub-Hookshot/")


def test_shopify_gets_the_headers_its_library_asks_for():
    capture = made("shopify", "orders/create")
    assert capture.header("X-Shopify-Topic") == "orders/create"
    for name in ("X-Shopify-Shop-Domain", "X-Shopify-API-Version", "X-Shopify-Webhook-Id"):
        assert capture.header(name)


def test_set_changes_numbers_words_and_nothing():
    changes = {
        "data.object.amount_due": "500",
        "data.object.auto_advance": "true",
        "data.object.customer_email": "bea@example.com",
        "data.object.lines.data.0.quantity": "3",
        "data.object.metadata.order": "1043",
        "data.object.account_name": "null",
        "/data/object/number": "42",
    }
    invoice = payload(made("stripe", "invoice.paid", set=changes)).at("data", "object")
    assert invoice["amount_due"] == 500
    assert invoice["auto_advance"] is True
    assert invoice["customer_email"] == "bea@example.com"
    assert invoice["lines"]["data"][0]["quantity"] == 3
    assert invoice["metadata"]["order"] == 1043
    assert invoice["account_name"] is None
    assert invoice["number"] == "42"


def test_what_is_set_is_signed():
    capture = made("stripe", "invoice.paid", set={"data.object.amount_due": 500})
    result = PROVIDERS["stripe"].scheme.verify(source_of("stripe").secrets, capture, NOW)
    assert result.verdict is Verdict.VERIFIED


def test_set_names_form_fields():
    capture = made("twilio", "message.received", set={"Body": "500 & more", "NumMedia": 2})
    fields = dict(parse_qsl(capture.body.decode(), keep_blank_values=True))
    assert (fields["Body"], fields["NumMedia"], fields["ToCity"]) == ("500 & more", "2", "")


def test_set_reaches_into_the_payload_field_of_a_form():
    capture = made("slack", "block_actions", set={"actions.0.value": "1043"})
    assert capture.content_type == "application/x-www-form-urlencoded"
    assert payload(capture).at("actions", 0, "value") == "1043"


@pytest.mark.parametrize("path", ["data.object.amount_due.cents", "data.object.lines.data.7.id", "type.x"])
def test_a_path_that_leads_nowhere_is_refused(path):
    with pytest.raises(UsageError, match="cannot be set"):
        made("stripe", "invoice.paid", set={path: "1"})


def test_a_body_of_ones_own_is_sent_as_it_is():
    body = b'{ "id" : "evt_mine",\r\n "type":"my.event" }\n'
    capture = made("stripe", "my.event", body=body)
    assert capture.body == body
    result = PROVIDERS["stripe"].scheme.verify(source_of("stripe").secrets, capture, NOW)
    assert result.verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("name", "body", "content_type"),
    [
        ("twilio", b"MessageSid=SM1&Body=", "application/x-www-form-urlencoded; charset=UTF-8"),
        ("twilio", b'{"EventType":"onMessageAdded"}', "application/json"),
        ("slack", b"command=%2Fdeploy&text=", "application/x-www-form-urlencoded"),
        ("slack", b"\x00\xff", "application/json"),
    ],
)
def test_a_body_of_ones_own_gets_the_content_type_it_looks_like(name, body, content_type):
    capture = made(name, "any", body=body)
    assert capture.header("Content-Type") == content_type
    assert capture.body == body


def test_nothing_can_be_set_in_a_body_that_cannot_be_read():
    with pytest.raises(UsageError):
        made("stripe", "any", body=b"\x00", set={"a": "1"})


def test_twilio_json_carries_the_hash_of_its_body_in_the_query():
    capture = made("twilio", "onMessageAdded", url="https://hooks.example/webhooks/twilio?tenant=7")
    assert capture.query.startswith("tenant=7&bodySHA256=")
    assert capture.url.endswith(capture.query)


def test_stripe_is_laid_out_as_stripe_does_and_others_are_compact():
    assert made("stripe", "invoice.paid").body.startswith(b'{\n  "id": "evt_')
    body = made("github", "push").body
    assert body == json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()


def test_sendgrid_ends_in_the_line_break_that_sendgrid_signs():
    assert made("sendgrid", "bounce").body.endswith(b"}]\r\n")


def test_without_a_secret_it_is_unsigned_but_sendable():
    capture = made("stripe", "invoice.paid", secret="")
    assert capture.header("Stripe-Signature") is None
    assert capture.body


def test_a_secret_of_the_wrong_form_cannot_sign():
    with pytest.raises(SigningError):
        made("svix", "invoice.paid", secret="not base64!")


def test_an_unknown_type_is_named_with_what_there_is():
    with pytest.raises(NotFoundError):
        made("stripe", "nothing.like.it")


def test_a_source_without_a_provider_gets_a_plain_event():
    source = build_source("billing", provider="custom")
    capture = prepare_sample(source, None, "invoice.paid", NOW, random=Random(1), url="")
    assert payload(capture).at("type") == "invoice.paid"
    assert capture.path == "/webhooks/billing"


SIGNED_BY_SECRET = sorted(
    name
    for name in PROVIDERS
    if (source := source_of(name, "")).scheme and sample_types(name) and not find_pair_scheme(source)
)


@check_each("name", SIGNED_BY_SECRET)
def test_a_source_without_a_secret_gets_one_for_this_run(name):
    source = source_of(name, "")
    sample = made(name, sample_types(name)[0], secret="")
    local = make_run_secret(source, sample, NOW)
    signed = local.scheme.sign(local.secret, sample, NOW)
    trusting = replace(source, local=local)
    assert verify(trusting, signed, (sample.url,), NOW)[1].verdict is Verdict.VERIFIED
    assert verify(trusting, sample, (sample.url,), NOW)[1].verdict is Verdict.UNCHECKED
    assert verify(source, signed, (sample.url,), NOW)[1].verdict is Verdict.UNCHECKED
    other = make_run_secret(source, sample, NOW)
    assert other.secret.reveal() != local.secret.reveal()
    forged = local.scheme.sign(other.secret, sample, NOW)
    assert verify(trusting, forged, (sample.url,), NOW)[1].verdict is Verdict.UNCHECKED
    assert local.secret.reveal() not in local.note + repr(local)


def test_a_source_with_a_secret_gets_none_for_this_run():
    source = source_of("stripe")
    sample = made("stripe", "invoice.paid")
    assert make_run_secret(source, sample, NOW) is None
    bare = source_of("stripe", "")
    assert make_run_secret(replace(bare, locked_secrets=("vault:x",)), sample, NOW) is None
    assert make_run_secret(replace(bare, verify=VerifyMode.OFF), sample, NOW) is None
    assert make_run_secret(replace(bare, scheme=None), sample, NOW) is None
