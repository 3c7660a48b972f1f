"""A provider that insists on a body gets it, unless the source says otherwise."""

import pytest

REPORT = '[sources.adyen]\nverify = "report"\n'


@pytest.mark.parametrize(
    ("toml", "status", "body"),
    [
        (REPORT, 200, b"[accepted]"),
        ("", 200, b"[accepted]"),
        (f'{REPORT}answer = {{ mode = "wait", timeout = "1s" }}\n', 200, b"[accepted]"),
        (f'{REPORT}answer = {{ body = "mine" }}\n', 200, b"mine"),
        (f"{REPORT}answer = {{ status = 204 }}\n", 204, b""),
    ],
)
async def test_adyen_is_answered_accepted(start, toml, status, body):
    at = await start(toml, {})
    assert await at.send("/webhooks/adyen", b'{"notificationItems": []}') == (status, body)


async def test_who_insists_on_nothing_gets_the_usual(at):
    assert (await at.send("/webhooks/test"))[1].startswith(b'{"success": true')


async def test_a_forgery_is_not_accepted(start):
    at = await start("[sources.adyen]\n", {"ADYEN_HMAC_KEY": "ab" * 32})
    status, body = await at.send("/webhooks/adyen", b'{"notificationItems": []}')
    assert status == 401
    assert b"[accepted]" not in body


TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
REJECT = b"<Response><Reject/></Response>"
XML = "text/xml; charset=utf-8"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OFF = 'verify = "off"\n'


async def answered(at, path, data, headers):
    async with at.session.post(at.ingress + path, data=data, headers=headers) as response:
        return response.status, response.headers.get("Content-Type", ""), await response.read()


@pytest.mark.parametrize(
    ("source", "status", "kind", "body"),
    [
        ("", 200, XML, TWIML),
        ("answer = { status = 202 }\n", 202, XML, TWIML),
        ('answer = { mode = "wait", timeout = "1s" }\n', 200, XML, TWIML),
        ("answer = { body = '<Response><Reject/></Response>' }\n", 200, XML, REJECT),
        ('answer = { body = "", content_type = "text/html" }\n', 200, "text/html", b""),
        ("answer = { body = '[1]', content_type = 'a/vnd.x+json' }\n", 200, "a/vnd.x+json", b"[1]"),
    ],
)  # fmt: skip
async def test_twilio_gets_twiml_unless_the_source_says_otherwise(start, source, status, kind, body):
    at = await start(f"[sources.twilio]\n{OFF}{source}", {})
    got = await answered(at, "/webhooks/twilio", b"MessageSid=SM1&SmsStatus=received&Body=hi", FORM)
    assert got == (status, kind, body)


async def test_twilio_is_known_by_its_headers_where_nothing_is_configured(start):
    at = await start("", {})
    headers = FORM | {"X-Twilio-Signature": "x", "I-Twilio-Idempotency-Token": "t"}
    assert (await answered(at, "/webhooks/sms", b"MessageSid=SM1", headers))[2] == TWIML


async def test_a_slack_command_is_answered_with_nothing_to_show_and_its_events_as_usual(start):
    at = await start(f"[sources.slack]\n{OFF}", {})
    status, _, body = await answered(at, "/webhooks/slack", b"command=%2Fdeploy&trigger_id=1.2", FORM)
    assert (status, body) == (200, b"")
    event = b'{"type": "event_callback", "event_id": "Ev1", "event": {"type": "message"}}'
    _, kind, body = await answered(at, "/webhooks/slack", event, {"Content-Type": "application/json"})
    assert (kind, body.startswith(b'{"success": true')) == ("application/json", True)


@pytest.mark.parametrize("kind", ["nonsense", "a/b\\nX: 1", ""])
async def test_a_content_type_that_is_none_is_a_mistake(start, kind):
    with pytest.raises(Exception, match=r"sources\.x\.answer\.content_type"):
        await start(f'[sources.x]\nprovider = "custom"\nanswer = {{ content_type = "{kind}" }}\n')
