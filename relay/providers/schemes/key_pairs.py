"""Loads public keys and key pairs: PEM, bare base64, or a certificate."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.model.values import dataclass
from relay.providers.schemes.encoding import decode_base64

PublicKey = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey
PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
PairKind = Literal["ed25519", "p256", "rsa"]
PAIR_CLASSES: dict[PairKind, type[PublicKey]] = {
    "ed25519": Ed25519PublicKey,
    "p256": EllipticCurvePublicKey,
    "rsa": RSAPublicKey,
}

PROVIDER_ONLY = "Only the provider can make this signature: relay holds its public key, not the private one."

_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
# 1024 bits is short today but still in use; shorter keys can be factored.
_LEAST_RSA = 1024

# OpenSSL raises its own errors for some damaged keys.
_NO_KEY = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A public key, with its private half if the key pair is the user's own.

    `label` is a text given with it: the id of a JWK, or the webhook id that PayPal signs.
    """

    public: PublicKey
    private: PrivateKey | None = None
    label: str = ""


def load_private_key(pem: str) -> PrivateKey:
    """Return the private key of a PEM that relay wrote itself."""
    pair = load_key(pem)
    assert pair is not None
    assert pair.private is not None
    return pair.private


def export_spki(pem: str, encoding: Encoding = Encoding.PEM) -> bytes:
    """Return the public half of a private key as SubjectPublicKeyInfo."""
    return load_private_key(pem).public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


# PayPal and Amazon SNS publish certificates, so an app expects one from relay, too.
def make_certificate(pem: str) -> str:
    """Return a self-signed certificate (PEM) of a private RSA key; the same key always gives the same one."""
    from cryptography.x509 import CertificateBuilder, Name, NameAttribute  # noqa: PLC0415 - 15 ms of every start
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - as above

    key = load_private_key(pem)
    name = Name([NameAttribute(NameOID.COMMON_NAME, "relay local key")])
    builder = CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_valid_after=datetime(2120, 1, 1, tzinfo=UTC),
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def load_key(text: str) -> KeyPair | None:
    r"""Return the key of the first PEM block in a text, or of bare base64; None if there is none.

    It may be a SPKI, a PKCS #8 or PKCS #1 key, or a certificate. Elliptic curves other than P-256 and RSA below
    1024 bits count as none.
    """
    # SendGrid shows its key as bare base64; dashboards and .env files squeeze PEM into one line, some with \n in it.
    text = text.replace("\\n", "\n")
    block = _PEM_BLOCK.search(text)
    der = decode_base64("".join((block[2] if block else text).split())) or b""
    load_private = partial(serialization.load_der_private_key, password=None)
    for load in (serialization.load_der_public_key, load_private, _load_certificate):
        with suppress(*_NO_KEY):
            key: object = load(der)
            private = key if isinstance(key, PrivateKey) else None
            if public := _accept_key(private.public_key() if private else key):
                return KeyPair(public=public, private=private)
    return None


def _load_certificate(der: bytes) -> object:
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 - as above

    return load_der_x509_certificate(der).public_key()


def _accept_key(key: object) -> PublicKey | None:
    if isinstance(key, EllipticCurvePublicKey):
        return key if isinstance(key.curve, SECP256R1) else None
    if isinstance(key, RSAPublicKey):
        return key if key.key_size >= _LEAST_RSA else None
    return key if isinstance(key, Ed25519PublicKey) else None
