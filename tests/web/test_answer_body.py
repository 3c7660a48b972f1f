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
