import hashlib
import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.challenge_answers import find_challenge
from relay.providers.challenges import find_subscription_link

CHALLENGES = {name: entry.challenges for name, entry in PROVIDERS.items() if entry.challenges}
SECRET = Secret("env:TEST", "a secret")
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


def answered(provider, capture, secret=SECRET):
    challenge, asked = find_challenge(provider, capture)
    return challenge.reply(asked, secret)


def post(capture, value, *headers):
    return capture(json.dumps(value).encode(), headers)


def get(capture, query, *headers):
    return capture(b"", headers, method="GET", query=query)


def test_slack_hears_its_challenge_as_plain_text(capture):
    reply = answered("slack", post(capture, {"type": "url_verification", "challenge": "3eZbrw1aB10"}))
    assert (reply.status, reply.body, reply.content_type) == (200, b"3eZbrw1aB10", "text/plain; charset=utf-8")


def test_zoom_hears_its_token_and_the_hmac_of_it(capture):
    asked = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    reply = answered("zoom", post(capture, asked))
    digest = hmac.new(b"a secret", b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert json.loads(reply.body) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": digest}
    assert reply.content_type == "application/json"


def test_x_hears_the_hmac_of_its_token(capture):
    reply = answered("x", get(capture, "crc_token=abc123&nonce=1"))
    digest = b64encode(hmac.new(b"a secret", b"abc123", hashlib.sha256).digest()).decode()
    assert json.loads(reply.body) == {"response_token": f"sha256={digest}"}


def test_nobody_has_a_forged_event_signed_by_asking_for_its_hmac(capture):
    assert answered("x", get(capture, "crc_token=%7B%22follow_events%22%3A%5B%5D%7D")) is None
    asked = {"event": "endpoint.url_validation", "payload": {"plainToken": 'v0:1795356346:{"event":"x"}'}}
    assert answered("zoom", post(capture, asked)) is None


@pytest.mark.parametrize("provider", ["zoom", "x"])
def test_an_hmac_cannot_be_answered_without_the_secret(provider, capture):
    asked = {"event": "endpoint.url_validation", "payload": {"plainToken": "abc"}}
    request = post(capture, asked) if provider == "zoom" else get(capture, "crc_token=abc")
    assert answered(provider, request, None) is None


@pytest.mark.parametrize(
    ("provider", "query"),
    [
        ("meta", "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=mine"),
        ("whatsapp", "hub.mode=subscribe&hub.verify_token=mine&hub.challenge=1158201444"),
        ("dropbox", "challenge=1158201444"),
    ],
)
def test_a_query_is_echoed(provider, query, capture):
    assert answered(provider, get(capture, query)).body == b"1158201444"


def test_meta_shows_its_verify_token(capture):
    request = get(capture, "hub.mode=subscribe&hub.challenge=1&hub.verify_token=mi%20ne")
    challenge, _ = find_challenge("meta", request)
    assert challenge.token(request) == "mi ne"


def test_graph_hears_its_token_decoded(capture):
    request = capture(b"", method="POST", query="validationToken=Validation%3a+Testing+client+reachability")
    assert answered("msgraph", request).body == b"Validation: Testing client reachability"


def test_okta_hears_json(capture):
    reply = answered("okta", get(capture, "", ("X-Okta-Verification-Challenge", "abc")))
    assert json.loads(reply.body) == {"verification": "abc"}


def test_asana_gets_its_header_back_and_its_secret_is_offered(capture):
    reply = answered("asana", post(capture, {}, ("X-Hook-Secret", "b537207f20cbfa02357cf448134da559e8bd39d6")))
    assert reply.headers == (("X-Hook-Secret", "b537207f20cbfa02357cf448134da559e8bd39d6"),)
    assert reply.offered == "b537207f20cbfa02357cf448134da559e8bd39d6"
    assert "{variable}" in reply.todo


def test_discord_pings_are_answered_each_in_its_way(capture):
    interaction = answered("discord", post(capture, {"type": 1, "id": "1", "application_id": "2"}))
    assert (interaction.status, interaction.body) == (200, b'{"type":1}')
    webhook = answered("discord", post(capture, {"version": 1, "application_id": "2", "type": 0}))
    assert (webhook.status, webhook.body) == (204, b"")


@pytest.mark.parametrize(
    "body", [{"type": 2}, {"type": True}, {"type": "1"}, {"type": 1, "event": {"type": "ENTITLEMENT_CREATE"}}, [1]]
)
def test_other_discord_events_are_no_handshake(body, capture):
    assert find_challenge("discord", post(capture, body)) is None


def test_twitch_hears_its_challenge(capture):
    headers = ("Twitch-Eventsub-Message-Type", "webhook_callback_verification")
    assert answered("twitch", post(capture, {"challenge": "pogchamp"}, headers)).body == b"pogchamp"
    notification = ("Twitch-Eventsub-Message-Type", "notification")
    assert find_challenge("twitch", post(capture, {"challenge": "pogchamp"}, notification)) is None


def test_notion_offers_the_key_it_signs_with(capture):
    reply = answered("notion", post(capture, {"verification_token": "secret_tMrlL1qK5vuQAh1b6cZGhFChZT"}))
    assert reply.offered.startswith("secret_tMrlL1q")
    assert reply.body is None


def test_an_sns_confirmation_names_a_link_of_sns_alone(capture):
    link = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=1"
    request = post(capture, {"Type": "SubscriptionConfirmation", "SubscribeURL": link})
    assert answered("aws-sns", request).body is None
    assert find_subscription_link(request) == link
    for forged in ("https://sns.us-east-1.amazonaws.com.evil.example/", "http://sns.us-east-1.amazonaws.com/", 7):
        assert find_subscription_link(post(capture, {"SubscribeURL": forged})) is None


def test_forms_and_heads_get_the_ordinary_answer(capture):
    assert answered("woocommerce", capture(b"webhook_id=12", FORM)).body is None
    assert answered("mandrill", capture(b"mandrill_events=%5B%5D", FORM)).body is None
    for provider in ("trello", "mandrill", "intercom"):
        assert answered(provider, capture(b"", method="HEAD")).status == 200


@pytest.mark.parametrize(
    ("provider", "headers"),
    [
        ("asana", (("X-Hook-Signature", "ab"), ("X-Hook-Secret", "cd"))),
        ("notion", (("X-Notion-Signature", "sha256=ab"),)),
    ],
)
def test_what_carries_a_signature_is_an_event(provider, headers, capture):
    assert find_challenge(provider, capture(b'{"verification_token":"a"}', headers)) is None


def test_a_verify_token_belongs_to_a_handshake():
    assert {name for name, entry in PROVIDERS.items() if entry.verify_token_env} <= set(CHALLENGES)


@pytest.mark.parametrize("provider", sorted(CHALLENGES))
def test_ordinary_events_are_no_handshake(provider, capture):
    assert find_challenge(provider, capture()) is None
    assert find_challenge(provider, capture(b"", method="GET", query="a=1")) is None


@given(
    provider=st.sampled_from(sorted(CHALLENGES)),
    body=st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b'{"type":1', b'"url_verification"', b"SubscriptionConfirmation", b"verification_token"]),
    ),
    query=st.sampled_from(["", "challenge=%ff", "crc_token=%0d%0a", "validationToken=%00", "hub.mode=subscribe"]),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
)
def test_wild_requests_are_handshakes_or_none_but_never_errors(provider, body, query, method):
    request = build_capture(
        "x",
        method=method,
        path="/",
        query=query,
        headers=(("X-Hook-Secret", "\xff"), ("Content-Type", "application/json")),
        body=body,
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    found = find_challenge(provider, request)
    if found is not None:
        reply = found[0].reply(found[1], SECRET)
        assert reply is None or all("\r" not in value and "\n" not in value for _, value in reply.headers)
