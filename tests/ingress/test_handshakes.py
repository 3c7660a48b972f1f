import hashlib
import hmac
import json
import time
from base64 import b64encode

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
JSON = {"Content-Type": "application/json"}


def digest(secret, text):
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def slack(body, secret="slack secret"):
    now = str(int(time.time()))
    signature = f"v0={digest(secret, f'v0:{now}:'.encode() + body)}"
    return JSON | {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature}


def zoom(body, secret="zoom secret"):
    now = str(int(time.time()))
    signature = f"v0={digest(secret, f'v0:{now}:'.encode() + body)}"
    return JSON | {"x-zm-request-timestamp": now, "x-zm-signature": signature}


def discord(body, key=KEY):
    now = str(int(time.time()))
    return JSON | {"X-Signature-Ed25519": key.sign(now.encode() + body).hex(), "X-Signature-Timestamp": now}


def twitch(body, secret="twitch secret"):
    signed = b"id-12026-11-22T09:00:00Z" + body
    return JSON | {
        "Twitch-Eventsub-Message-Id": "id-1",
        "Twitch-Eventsub-Message-Timestamp": "2026-11-22T09:00:00Z",
        "Twitch-Eventsub-Message-Type": "webhook_callback_verification",
        "Twitch-Eventsub-Message-Signature": f"sha256={digest(secret, signed)}",
    }


async def ask(at, path, method="POST", **more):
    async with at.session.request(method, at.ingress + path, allow_redirects=False, **more) as response:
        return response.status, response.headers, await response.read()


async def event(at, id_=1):
    return (await at.api(f"/api/events/{id_}"))[1]


URL_VERIFICATION = json.dumps({"token": "x", "challenge": "3eZbrw1aB10", "type": "url_verification"}).encode()


@pytest.mark.parametrize("toml", ["", '[sources.slack]\nsecret = "env:SLACK_SIGNING_SECRET"\n'])
async def test_slack_is_answered_with_its_challenge_and_nothing_else(start, toml):
    at = await start(toml, {"SLACK_SIGNING_SECRET": "slack secret"})
    status, headers, body = await ask(at, "/webhooks/slack", data=URL_VERIFICATION, headers=slack(URL_VERIFICATION))
    assert (status, body) == (200, b"3eZbrw1aB10")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    kept = await event(at)
    assert (kept["type"], kept["outcome"], kept["verdict"]) == ("handshake", "accepted", "verified")
    assert kept["reason"] == "handshake"
    assert kept["summary"] == "Slack URL verification"


async def test_a_handshake_with_a_bad_signature_gets_401_and_no_answer(start):
    at = await start("", {"SLACK_SIGNING_SECRET": "slack secret"})
    status, _, body = await ask(
        at, "/webhooks/slack", data=URL_VERIFICATION, headers=slack(URL_VERIFICATION, "another")
    )
    assert status == 401
    assert b"3eZbrw1aB10" not in body
    kept = await event(at)
    assert (kept["type"], kept["outcome"], kept["reason"]) == ("handshake", "rejected", "signature_mismatch")


@pytest.mark.parametrize("mode", ["enforce", "report"])
async def test_discord_must_see_its_bad_signatures_refused_whatever_the_mode(start, mode):
    at = await start(f'[sources.discord]\nverify = "{mode}"\n', {"DISCORD_PUBLIC_KEY": PUBLIC})
    ping = b'{"id":"1","type":1}'
    status, _, body = await ask(at, "/webhooks/discord", data=ping, headers=discord(ping))
    assert (status, json.loads(body)) == (200, {"type": 1})
    forged = discord(ping, Ed25519PrivateKey.generate())
    assert (await ask(at, "/webhooks/discord", data=ping, headers=forged))[0] == 401


async def test_discord_webhook_events_ping_gets_204(start):
    at = await start("", {"DISCORD_PUBLIC_KEY": PUBLIC})
    ping = b'{"version":1,"application_id":"2","type":0}'
    status, _, body = await ask(at, "/webhooks/discord", data=ping, headers=discord(ping))
    assert (status, body) == (204, b"")


async def test_zoom_is_answered_with_the_hmac_of_its_token(start):
    at = await start("", {"ZOOM_WEBHOOK_SECRET_TOKEN": "zoom secret"})
    body = b'{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6"}}'
    status, headers, answered = await ask(at, "/webhooks/zoom", data=body, headers=zoom(body))
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert json.loads(answered) == {
        "plainToken": "qgg8vlvZRS6",
        "encryptedToken": digest("zoom secret", b"qgg8vlvZRS6"),
    }


async def test_zoom_is_answered_with_the_secret_that_signed_while_two_are_accepted(start):
    toml = '[sources.zoom]\nsecret = ["env:NEW", "env:OLD"]\n'
    at = await start(toml, {"NEW": "newer", "OLD": "older"})
    body = b'{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6"}}'
    _, _, answered = await ask(at, "/webhooks/zoom", data=body, headers=zoom(body, "older"))
    assert json.loads(answered)["encryptedToken"] == digest("older", b"qgg8vlvZRS6")


async def test_zoom_cannot_be_answered_without_a_secret(start):
    at = await start("", {})
    body = b'{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6"}}'
    assert (await ask(at, "/webhooks/zoom", data=body, headers=zoom(body)))[0] == 403
    assert (await event(at))["reason"] == "secret_missing"


META = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="


@pytest.mark.parametrize(
    ("toml", "environ", "path"),
    [
        ("", {"META_VERIFY_TOKEN": "mine"}, "meta"),
        ("", {"WHATSAPP_VERIFY_TOKEN": "mine"}, "whatsapp"),
        ("", {"META_VERIFY_TOKEN": "mine", "META_APP_SECRET": "other"}, "whatsapp"),
        ('[sources.fb]\nprovider = "meta"\nverify_token = "env:FB"\n', {"FB": "mine", "META_VERIFY_TOKEN": "no"}, "fb"),
    ],
)
async def test_meta_hears_its_challenge_where_the_verify_token_is_right(start, toml, environ, path):
    at = await start(toml, environ)
    status, headers, body = await ask(at, f"/webhooks/{path}{META}mine", "GET")
    assert (status, body) == (200, b"1158201444")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (await event(at))["verdict"] == "verified"


async def test_meta_with_a_wrong_verify_token_gets_403(start):
    at = await start("", {"META_VERIFY_TOKEN": "mine"})
    status, _, body = await ask(at, f"/webhooks/meta{META}theirs", "GET")
    assert status == 403
    assert b"1158201444" not in body
    assert (await event(at))["verdict"] == "invalid"


async def test_a_verify_token_that_is_not_set_is_told_at_the_start(start):
    at = await start('[sources.meta]\nverify_token = "env:NOPE"\n', {"META_VERIFY_TOKEN": "mine"})
    assert any("verify_token" in notice for notice in at.relay.notices)
    assert (await ask(at, f"/webhooks/meta{META}mine", "GET"))[0] == 403


async def test_twitch_hears_its_challenge(start):
    toml = '[sources.twitch]\ntolerance = "off"\n'
    at = await start(toml, {"TWITCH_EVENTSUB_SECRET": "twitch secret"})
    body = b'{"challenge":"pogchamp-kappa-360noscope-vohiyo"}'
    status, headers, answered = await ask(at, "/webhooks/twitch", data=body, headers=twitch(body))
    assert (status, answered) == (200, b"pogchamp-kappa-360noscope-vohiyo")
    assert headers["Content-Type"].startswith("text/plain")


async def test_dropbox_hears_its_challenge_though_nothing_is_signed(start):
    at = await start("", {"DROPBOX_APP_SECRET": "s"})
    status, headers, body = await ask(at, "/webhooks/dropbox?challenge=abc%3Cb%3E", "GET")
    assert (status, body) == (200, b"abc<b>")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (await event(at))["verdict"] == "unsigned"


@pytest.mark.parametrize("toml", ["", "[sources.asana]\n"])
async def test_asana_gets_its_header_back_and_its_secret_checks_what_follows(start, toml):
    at = await start(toml, {})
    status, headers, _ = await ask(at, "/webhooks/asana", data=b"", headers={"X-Hook-Secret": "hook secret"})
    assert (status, headers["X-Hook-Secret"]) == (200, "hook secret")
    assert "ASANA_WEBHOOK_SECRET" in (await event(at))["summary"]
    body = b'{"events":[]}'
    good = JSON | {"X-Hook-Signature": digest("hook secret", body)}
    assert (await ask(at, "/webhooks/asana", data=body, headers=good))[0] == 200
    assert (await event(at, 2))["verdict"] == "verified"
    bad = JSON | {"X-Hook-Signature": digest("guessed", body)}
    assert (await ask(at, "/webhooks/asana", data=body, headers=bad))[0] == 401


async def test_a_handshake_cannot_talk_a_configured_source_into_another_secret(start):
    at = await start("", {"ASANA_WEBHOOK_SECRET": "the real one"})
    status, headers, _ = await ask(at, "/webhooks/asana", data=b"", headers={"X-Hook-Secret": "forged"})
    assert (status, headers["X-Hook-Secret"]) == (200, "forged")
    body = b'{"events":[]}'
    forged = JSON | {"X-Hook-Signature": digest("forged", body)}
    assert (await ask(at, "/webhooks/asana", data=body, headers=forged))[0] == 401


@pytest.mark.parametrize("toml", ["", "[sources.notion]\n"])
async def test_notion_signs_with_the_token_it_gave(start, toml):
    at = await start(toml, {})
    first = b'{"verification_token":"secret_tMrl"}'
    assert (await ask(at, "/webhooks/notion", data=first, headers=JSON))[0] == 200
    assert "paste" in (await event(at))["summary"]
    body = b'{"type":"page.created","id":"1"}'
    signed = JSON | {"X-Notion-Signature": f"sha256={digest('secret_tMrl', body)}"}
    assert (await ask(at, "/webhooks/notion", data=body, headers=signed))[0] == 200
    assert (await event(at, 2))["verdict"] == "verified"


@pytest.mark.parametrize("name", ["trello", "mandrill", "intercom"])
async def test_head_is_answered_with_200_although_a_secret_is_set(start, name):
    environ = {"TRELLO_API_SECRET": "s", "MANDRILL_WEBHOOK_KEY": "s", "INTERCOM_CLIENT_SECRET": "s"}
    at = await start("", environ)
    assert (await ask(at, f"/webhooks/{name}", "HEAD"))[0] == 200
    assert (await event(at))["type"] == "handshake"


async def test_forms_of_an_activation_are_accepted_unsigned(start):
    at = await start("", {"WOOCOMMERCE_WEBHOOK_SECRET": "s", "MANDRILL_WEBHOOK_KEY": "s"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await ask(at, "/webhooks/woocommerce", data=b"webhook_id=5", headers=form))[0] == 200
    assert (await ask(at, "/webhooks/mandrill", data=b"mandrill_events=%5B%5D", headers=form))[0] == 200
    more = b"webhook_id=5&order=1"
    assert (await ask(at, "/webhooks/woocommerce", data=more, headers=form))[0] == 401


async def test_a_handshake_is_not_delivered_unless_the_source_says_so(start):
    seen = []

    async def take(request):
        seen.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    toml = "\n".join(
        [
            f'[targets.app]\nforward = "{url}"',
            '[sources.slack]\nsecret = "env:S"',
            '[sources.loud]\nprovider = "slack"\nsecret = "env:S"\ndeliver_handshakes = true',
            '[[routes]]\nto = ["app"]',
        ]
    )
    at = await start(toml, {"S": "slack secret"})
    for path in ("/webhooks/slack", "/webhooks/slack", "/webhooks/loud"):
        status, _, body = await ask(at, path, data=URL_VERIFICATION, headers=slack(URL_VERIFICATION))
        assert (status, body) == (200, b"3eZbrw1aB10")
    assert (await event(at, 1))["deliveries"] == {"pending": 0, "running": 0, "succeeded": 0, "failed": 0}
    assert (await event(at, 2))["outcome"] == "accepted"
    assert sum((await event(at, 3))["deliveries"].values()) == 1
    assert "answered itself" in (await at.api("/api/events/1/routes"))[1]["routes"][0]["why"]
    await runner.cleanup()


async def test_handshakes_are_found_by_search(start):
    at = await start("", {})
    await ask(at, "/webhooks/dropbox?challenge=abc", "GET")
    await ask(at, "/webhooks/other", data=b"{}")
    found = (await at.api("/api/events?q=is:handshake"))[1]["events"]
    assert [item["source"] for item in found] == ["dropbox"]


async def test_x_hears_the_hmac_of_its_token_and_of_nothing_that_could_be_an_event(start):
    at = await start("", {"TWITTER_CONSUMER_SECRET": "consumer"})
    status, headers, body = await ask(at, "/webhooks/x?crc_token=abc-_1", "GET")
    expected = b64encode(hmac.new(b"consumer", b"abc-_1", hashlib.sha256).digest()).decode()
    assert (status, json.loads(body)) == (200, {"response_token": f"sha256={expected}"})
    assert headers["Content-Type"] == "application/json"
    assert (await ask(at, "/webhooks/x?crc_token=%7B%22a%22%3A1%7D", "GET"))[0] == 403


async def test_graph_hears_its_token_decoded_as_text(start):
    at = await start("", {"GRAPH_CLIENT_STATE": "s"})
    path = "/webhooks/msgraph?validationToken=Validation%3a+Testing+%3Cb%3E"
    status, headers, body = await ask(at, path, "POST")
    assert (status, body) == (200, b"Validation: Testing <b>")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_okta_hears_json(start):
    at = await start("", {"OKTA_EVENT_HOOK_TOKEN": "t"})
    status, _, body = await ask(at, "/webhooks/okta", "GET", headers={"X-Okta-Verification-Challenge": "abc"})
    assert (status, json.loads(body)) == (200, {"verification": "abc"})


async def test_an_sns_confirmation_is_kept_and_its_link_shown_but_never_fetched(start):
    at = await start("", {})
    link = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=1"
    body = json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": link, "Token": "1"}).encode()
    headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "SubscriptionConfirmation"}
    assert (await ask(at, "/webhooks/aws-sns", data=body, headers=headers))[0] == 200
    kept = await event(at)
    assert kept["type"] == "handshake"
    assert kept["hints"][0]["line"] == link
    forged = body.replace(b"amazonaws.com", b"amazonaws.com.evil.example")
    assert (await ask(at, "/webhooks/aws-sns", data=forged, headers=headers))[0] == 200
    kept = await event(at, 2)
    assert "do not open the SubscribeURL" in kept["summary"]
    assert (kept["hints"][0]["fix"], kept["hints"][0]["line"]) == (
        "Do not open the SubscribeURL of its body, which does not lead to SNS.",
        "",
    )
