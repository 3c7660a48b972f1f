"""Providers that sign with a key of their own: what relay triggers verifies with relay's, and the app's SDK says so."""

import asyncio
import base64
import hashlib
import json
import stat
import zlib
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicNumbers,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509 import load_pem_x509_certificate
from discord_interactions import verify_key

from relay.app import run_relay
from relay.config.build import Overrides, load

FORGED = b'{"type": 2, "id": "1"}'


def raw(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def spki(key, form):
    return key.public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo)


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwk(key):
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return json.dumps({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "plaids"})


DISCORD = raw(Ed25519PrivateKey.generate()).hex()
V1A = "whpk_" + base64.b64encode(raw(Ed25519PrivateKey.generate())).decode()
SENDGRID = base64.b64encode(spki(generate_private_key(SECP256R1()), Encoding.DER)).decode()
PLAID = jwk(generate_private_key(SECP256R1()))
RSA = spki(generate_rsa(65537, 2048), Encoding.PEM).decode()


def check_discord(public, headers, body):
    assert verify_key(body, headers["X-Signature-Ed25519"], headers["X-Signature-Timestamp"], public)


def check_v1a(public, headers, body):

    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64decode(headers["webhook-signature"].removeprefix("v1a,"))
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(signature, text)


def check_sendgrid(public, headers, body):
    # As sendgrid's EventWebhook does: convert_public_key_to_ecdsa, then verify over time and body.
    signature = base64.b64decode(headers["X-Twilio-Email-Event-Webhook-Signature"])
    text = headers["X-Twilio-Email-Event-Webhook-Timestamp"].encode() + body
    key: Any = load_der_public_key(base64.b64decode(public))
    key.verify(signature, text, ECDSA(SHA256()))


def check_plaid(public, headers, body):
    key = json.loads(public)
    head, claims, signature = headers["Plaid-Verification"].split(".")
    assert json.loads(unb64(head))["kid"] == key["kid"]
    assert json.loads(unb64(claims))["request_body_sha256"] == hashlib.sha256(body).hexdigest()
    x, y = (int.from_bytes(unb64(key[name]), "big") for name in "xy")
    r, s = (int.from_bytes(unb64(signature)[part], "big") for part in (slice(32), slice(32, 64)))
    EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key().verify(
        encode_dss_signature(r, s), f"{head}.{claims}".encode(), ECDSA(SHA256())
    )


def check_paypal(public, headers, body):
    parts = (headers["PAYPAL-TRANSMISSION-ID"], headers["PAYPAL-TRANSMISSION-TIME"], "WH-1", zlib.crc32(body))
    key: Any = load_pem_x509_certificate(public.encode()).public_key()
    signature = base64.b64decode(headers["PAYPAL-TRANSMISSION-SIG"])
    key.verify(signature, "|".join(map(str, parts)).encode(), PKCS1v15(), SHA256())


def check_sns(public, headers, body):
    message = json.loads(body)
    names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
    key: Any = load_pem_x509_certificate(public.encode()).public_key()
    key.verify(base64.b64decode(message["Signature"]), text, PKCS1v15(), SHA256())


SIGNED_BY_PROVIDERS = [
    ("discord", "DISCORD_PUBLIC_KEY", DISCORD, "command", check_discord),
    ("sendgrid", "SENDGRID_WEBHOOK_PUBLIC_KEY", SENDGRID, "delivered", check_sendgrid),
    ("standard-webhooks", "STANDARD_WEBHOOKS_SECRET", V1A, "", check_v1a),
    ("plaid", "PLAID_WEBHOOK_KEY", PLAID, "ITEM.ERROR", check_plaid),
    ("paypal", "PAYPAL_WEBHOOK_ID", f"WH-1\n{RSA}", "PAYMENT.CAPTURE.COMPLETED", check_paypal),
    ("aws-sns", "AWS_SNS_CERTIFICATE", RSA, "Notification", check_sns),
]


@pytest.fixture
async def app(aiohttp_server):
    got = []

    async def handle(request):
        got.append((request.headers, await request.read()))
        return web.Response(text="thanks")

    application = web.Application()
    application.router.add_route("*", "/hooks", handle)
    server = await aiohttp_server(application)
    server.got = got
    return server


async def settled(at, event):
    async with asyncio.timeout(60):
        while True:
            _, listed = await at.api(f"/api/deliveries?event={event}")
            if listed["deliveries"] and listed["deliveries"][0]["state"] == "succeeded":
                return (await at.api(f"/api/deliveries/{listed['deliveries'][0]['id']}"))[1]
            await asyncio.sleep(0.02)


def config(app, source):
    return f'[sources.{source}]\n[targets.app]\nforward = "{app.make_url("/hooks")}"\n'


@pytest.mark.parametrize(
    ("source", "variable", "secret", "type_", "check"), SIGNED_BY_PROVIDERS, ids=[row[0] for row in SIGNED_BY_PROVIDERS]
)
async def test_with_a_public_key_alone_a_trigger_verifies_here_and_in_the_app(
    start, app, source, variable, secret, type_, check
):
    at = await start(config(app, source), {variable: secret})
    type_ = type_ or (await at.api(f"/api/samples?source={source}"))[1]["samples"][source][0]
    code, event = await at.api("/api/triggers", "POST", json={"source": source, "type": type_})
    assert (code, event["verdict"], event["outcome"]) == (201, "verified", "accepted")
    delivery = await settled(at, event["id"])
    headers, body = app.got[-1]
    check(event["local_public_key"], headers, body)
    (note,) = delivery["attempts"][0]["request"]["notes"]
    assert note.startswith("signed with relay's local key; give your app this public key: ")
    _, status = await at.api("/api/status")
    assert status["sources"][0]["local_public_key"] == event["local_public_key"]
    assert "PRIVATE" not in json.dumps([status, event, delivery])


@pytest.mark.parametrize(
    ("environ", "judged"), [({"DISCORD_PUBLIC_KEY": DISCORD}, (401, "invalid")), ({}, (200, "unchecked"))]
)
async def test_what_others_sign_is_judged_as_if_relay_had_no_key(start, app, environ, judged):
    at = await start(config(app, "discord"), environ)
    await at.api("/api/triggers", "POST", json={"source": "discord", "type": "command"})
    signature = Ed25519PrivateKey.generate().sign(b"1" + FORGED).hex()
    for headers in ({"X-Signature-Ed25519": signature, "X-Signature-Timestamp": "1"}, {}):
        code, _ = await at.send("/webhooks/discord", FORGED, headers=headers)
        _, listed = await at.api("/api/events?limit=1")
        assert (code, listed["events"][0]["verdict"]) == judged


async def public_key(relay, session):
    headers = {"Authorization": f"Bearer {relay.login_url.rpartition('=')[2]}"}
    async with session.get(relay.dashboard_url + "/api/status", headers=headers) as response:
        return (await response.json())["sources"][0]["local_public_key"]


async def test_the_key_of_a_source_is_private_and_stays_the_same_over_restarts(tmp_path):
    (tmp_path / "relay.toml").write_text("[sources.discord]\n")
    ports: dict[str, Any] = {"ingress": "127.0.0.1:auto", "dashboard": "127.0.0.1:auto", "no_tunnel": True}
    loaded = load(tmp_path / "relay.toml", Overrides(**ports), {"DISCORD_PUBLIC_KEY": DISCORD})
    publics = []
    for _ in range(2):
        async with run_relay(loaded) as relay, aiohttp.ClientSession() as session:
            publics.append(await public_key(relay, session))
            headers = {"Authorization": f"Bearer {relay.login_url.rpartition('=')[2]}"}
            wanted = {"source": "discord", "type": "command"}
            url = relay.dashboard_url + "/api/triggers"
            async with session.post(url, headers=headers, json=wanted) as response:
                assert (await response.json())["verdict"] == "verified"
            publics.append(await public_key(relay, session))
    folder = loaded.server.data_dir / "keys"
    assert publics[0] is None
    assert publics[1] == publics[2] == publics[3] is not None
    assert stat.S_IMODE((folder / "discord.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_an_unconfigured_path_of_such_a_provider_is_signed_for_as_well(start):
    at = await start("", {})
    _, event = await at.api("/api/triggers", "POST", json={"source": "discord", "type": "command"})
    assert event["verdict"] == "verified"


@pytest.mark.parametrize(
    ("source", "environ", "verdict"),
    [
        ("stripe", {"STRIPE_WEBHOOK_SECRET": "whsec_x"}, "verified"),
        ("stripe", {}, "verified"),
        ("svix", {"SVIX_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "verified"),
        ("svix", {}, "verified"),
    ],
)
async def test_a_source_with_a_shared_secret_gets_no_key(start, app, source, environ, verdict):
    at = await start(config(app, source), environ)
    type_ = (await at.api(f"/api/samples?source={source}"))[1]["samples"][source][0]
    _, event = await at.api("/api/triggers", "POST", json={"source": source, "type": type_})
    assert (event["verdict"], event["local_public_key"]) == (verdict, None)
    assert (event["run_secret"] is None) is bool(environ)
    assert not (at.relay.config.server.data_dir / "keys").exists()


async def replayed(at, event, app, **edits):
    url = str(app.make_url("/hooks"))
    _, made = await at.api(f"/api/events/{event}/replay", "POST", json={"url": url, **edits})
    async with asyncio.timeout(60):
        while True:
            _, shape = await at.api(f"/api/deliveries/{made['delivery']}")
            if shape["state"] == "succeeded":
                return shape["attempts"][0]["request"]["notes"]
            await asyncio.sleep(0.02)


async def test_a_replay_keeps_what_the_provider_signed_until_it_no_longer_fits(start, app):
    discord = Ed25519PrivateKey.generate()
    at = await start("[sources.discord]\n", {"DISCORD_PUBLIC_KEY": raw(discord).hex()})
    signature = discord.sign(b"1" + FORGED).hex()
    headers = {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": "1"}
    assert (await at.send("/webhooks/discord", FORGED, headers=headers))[0] == 200
    assert await replayed(at, 1, app, sign="auto") == []
    assert app.got[-1][0]["X-Signature-Ed25519"] == signature
    for edits in ({"sign": "fresh"}, {"sign": "auto", "body": '{"type": 3}'}):
        notes = await replayed(at, 1, app, **edits)
        _, status = await at.api("/api/status")
        public = status["sources"][0]["local_public_key"]
        assert notes[-1].endswith(f"give your app this public key: {public}")
        check_discord(public, *app.got[-1])


async def test_without_any_key_a_replay_leaves_alone_what_may_well_verify(start, app):
    at = await start('[sources.discord]\nverify = "report"\n', {})
    await at.send("/webhooks/discord", FORGED, headers={"X-Signature-Ed25519": "ab" * 64})
    (note,) = await replayed(at, 1, app, sign="auto")
    assert note.startswith("original signature: discord has no secret to sign with")
    assert note.endswith("a fresh signature would be made with relay's local key")
    (fresh,) = await replayed(at, 1, app, sign="fresh")
    assert fresh.startswith("signed with relay's local key")


def test_these_checks_refuse_what_another_key_signed():
    headers = {"X-Signature-Ed25519": "00" * 64, "X-Signature-Timestamp": "1"}
    with pytest.raises(AssertionError):
        check_discord(DISCORD, headers, b"{}")
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(
            generate_private_key(SECP256R1()).sign(b"1{}", ECDSA(SHA256()))
        ).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": "1",
    }
    with pytest.raises(InvalidSignature):
        check_sendgrid(SENDGRID, headers, b"{}")
