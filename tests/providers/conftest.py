"""A request to sign and to verify, the time it is, and a secret for every kind of scheme."""

import base64
import dataclasses
import functools
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from builders import build_capture
from relay.model.secret import Secret
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.public_key import Ecdsa, Ed25519, Rsa
from relay.providers.schemes.shared_secret import Basic, SharedToken

NOW = datetime.fromtimestamp(1_795_356_346, UTC)


def make_capture(body=b'{"id":"evt_1","type":"test"}', headers=(), **changes):
    typed = () if "Content-Type" in dict(headers) else (("Content-Type", "application/json"),)
    capture = build_capture(
        "test",
        headers=(("Host", "relay.example"), *typed, *headers),
        body=body,
        received_at=NOW,
        url="https://relay.example/webhooks/test",
    )
    return dataclasses.replace(capture, **changes)


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def capture():
    return make_capture


@pytest.fixture
def flip():
    def flip(capture):
        """Return the capture with one bit of its last body byte changed."""
        body = capture.body
        return dataclasses.replace(capture, body=body[:-1] + bytes([body[-1] ^ 1]))

    return flip


@pytest.fixture(scope="session")
def secret_for():
    """Give a function that makes a secret a scheme takes and can sign with, another for each number."""

    def secret_for(scheme, number=1):
        return Secret(f"env:KEY{number}", secret_text(scheme, number))

    return secret_for


def secret_text(scheme, number):
    if isinstance(scheme, Ed25519):
        pair = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        return f"whsk_{b64(bytes([number]) * 32 + pair.public_key().public_bytes_raw())}"
    if isinstance(scheme, Ecdsa):
        curve_pair = derive_private_key(number, SECP256R1())
        return b64(curve_pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    if isinstance(scheme, Jwt):
        return jwk(number)
    if isinstance(scheme, Rsa):
        return f"WH-{number}\n{rsa_pem(number)}" if scheme.labelled else rsa_pem(number)
    if isinstance(scheme, SharedToken):
        return f"user{number}:pass:word" if isinstance(scheme, Basic) else f"t{number}"
    raw = bytes(range(number, number + 24))
    text = {"text": f"secret number {number}", "hex": raw.hex(), "base64": b64(raw)}[scheme.key.form]
    return (scheme.key.strip[0] if scheme.key.strip else "") + text


@functools.cache
def rsa_pem(number):
    # 1024 bits, the least that counts: what is tested is not the strength of RSA.
    pair = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk(number):
    numbers = derive_private_key(number, SECP256R1()).private_numbers()
    point = numbers.public_numbers
    fields = {"x": point.x, "y": point.y, "d": numbers.private_value}
    coded = {name: url64(value.to_bytes(32, "big")) for name, value in fields.items()}
    return json.dumps({"kty": "EC", "crv": "P-256", "kid": f"key-{number}", "alg": "ES256", **coded})


def url64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def b64(raw):
    return base64.b64encode(raw).decode()
