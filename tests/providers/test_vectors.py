"""The values that providers publish, or that their SDKs' own tests hold, verify here."""

from datetime import UTC, datetime

import pytest

from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
STANDARD_HEADERS = (("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330"))
STANDARD_BODY = b'{"test": 2432232314}'
TWILIO_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
TWILIO_FORM = b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309"
FORM = (("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),)
JSON = (("Content-Type", "application/json"),)


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC)


def judge(name, secret, capture, now):
    return PROVIDERS[name].scheme.verify((Secret("env:TEST", secret),), capture, now)


def test_github_documentation(capture, now):
    headers = (("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),)
    made = capture(b"Hello, World!", headers)
    assert judge("github", "It's a Secret to Everybody", made, now).verdict is Verdict.VERIFIED


def test_slack_documentation(capture):
    headers = (
        ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ("X-Slack-Request-Timestamp", "1531420618"),
    )
    made = capture(SLACK_BODY, headers)
    result = judge("slack", "8f742231b10e8888abcd99yyyzzz85a5", made, at(1531420618))
    assert result.verdict is Verdict.VERIFIED


@pytest.mark.parametrize("name", ["standard-webhooks", "svix", "openai", "gitlab"])
def test_standard_webhooks_specification(name, capture):
    signature = ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    made = capture(STANDARD_BODY, (*STANDARD_HEADERS, signature))
    result = judge(name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", made, at(1614265330))
    assert result.verdict is Verdict.VERIFIED


V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="


@pytest.mark.parametrize("secret", [PUBLIC, PRIVATE])
def test_standard_webhooks_specification_with_a_key_pair(secret, capture):
    made = capture(STANDARD_BODY, (*STANDARD_HEADERS, ("webhook-signature", V1A)))
    assert judge("standard-webhooks", secret, made, at(1614265330)).verdict is Verdict.VERIFIED


def test_a_key_pair_makes_the_specification_signature(capture):
    made = capture(STANDARD_BODY, STANDARD_HEADERS)
    signed = PROVIDERS["standard-webhooks"].scheme.sign(Secret("vault:pair", PRIVATE), made, at(1614265330))
    assert signed.header("webhook-signature") == V1A


@pytest.mark.parametrize(
    ("url", "body", "signature"),
    [
        (TWILIO_URL, TWILIO_FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (TWILIO_URL, TWILIO_FORM, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (TWILIO_URL.replace(".com", ".com:443"), TWILIO_FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (TWILIO_URL.replace("https", "http"), TWILIO_FORM, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        (TWILIO_URL, b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234", "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
    ],
)
def test_twilio_forms(url, body, signature, capture, now):
    made = capture(body, url=url, headers=(*FORM, ("X-Twilio-Signature", signature)))
    assert judge("twilio", "12345", made, now).verdict is Verdict.VERIFIED


def test_twilio_json(capture, now):
    url = f"{TWILIO_URL}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    headers = (*JSON, ("X-Twilio-Signature", "a9nBmqA0ju/hNViExpshrM61xv4="))
    made = capture(b'{"property": "value", "boolean": true}', url=url, headers=headers)
    assert judge("twilio", "12345", made, now).verdict is Verdict.VERIFIED


BODY_VECTORS = [
    (
        "jira",
        "It's a Secret to Everybody",
        b"Hello World!",
        "X-Hub-Signature",
        "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
    ),
    (
        "circleci",
        "another-secret",
        b"lalala",
        "circleci-signature",
        "v1=daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00",
    ),
    (
        "circleci",
        "hunter123",
        b"an-important-request-payload",
        "circleci-signature",
        "v2=00,v1=9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa",
    ),
]


@pytest.mark.parametrize("vector", BODY_VECTORS)
def test_body_hmacs(vector, capture, now):
    name, secret, body, header, value = vector
    assert judge(name, secret, capture(body, ((header, value),)), now).verdict is Verdict.VERIFIED


def test_paddle_library(capture):
    secret = "pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh"
    digest = "d96299976a6eb066f484d7fde011ac56fc32b38fc9940bc419d6e537fdc6ef02"
    for value in (f"ts=1696195954;h1={digest}", f"ts=1696195954;h1=00;h1={digest};h2=x"):
        made = capture(b"hello-world", (("Paddle-Signature", value),))
        assert judge("paddle", secret, made, at(1696195954)).verdict is Verdict.VERIFIED
        assert judge("paddle", secret, made, at(1696195960)).reason == "timestamp_stale"
        assert judge("paddle", secret, made, at(1696195948)).reason == "timestamp_future"


def test_square_library(capture, now):
    headers = (("x-square-hmacsha256-signature", "Cxt7+aTi4rKgcA0bC4g9EHdVtLSDWdqccmL5MvihU4U="),)
    body = b'{"data":{"type":"webhooks","id":">id<"}}'
    made = capture(body, headers, url="https://webhook.site/webhooks")
    assert judge("square", "signature-key", made, now).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        (
            "hubspot",
            (
                ("X-HubSpot-Signature", "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750"),
                ("X-HubSpot-Signature-Version", "v1"),
            ),
        ),
        (
            "hubspot",
            (
                ("X-HubSpot-Signature", "4fe4e3a7d3cf09db53be39d0a58130e2aaba074ec123a9e355b876a689a1c383"),
                ("X-HubSpot-Signature-Version", "v2"),
            ),
        ),
        (
            "hubspot",
            (
                ("X-HubSpot-Signature-v3", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
                ("X-HubSpot-Request-Timestamp", "1693657560000"),
            ),
        ),
    ],
)
def test_hubspot_libraries(name, headers, capture):
    body = b"{'example_field':'example_value'}"
    made = capture(body, headers, url="https://www.example.com/webhook_uri")
    result = judge(name, "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy", made, at(1693657560))
    assert result.verdict is Verdict.VERIFIED


def test_sendgrid_library(capture, now):
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNN"
        "RaINXvVpiglSI8eNEc6wEA3F+g=="
    )
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )
    signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    headers = (
        ("X-Twilio-Email-Event-Webhook-Signature", signature),
        ("X-Twilio-Email-Event-Webhook-Timestamp", "1600112502"),
    )
    assert judge("sendgrid", key, capture(body, headers), now).verdict is Verdict.VERIFIED
    for other in (body.rstrip(), body.replace(b"dropped", b"bounced")):
        assert judge("sendgrid", key, capture(other, headers), now).reason == "signature_mismatch"
