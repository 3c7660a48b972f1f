"""Public keys and key pairs as people paste them: PEM, bare base64, or a certificate."""

import re
from dataclasses import dataclass

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate

from relay.providers.schemes.keys import unbase64

Public = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey
Private = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey

ONLY_THE_PROVIDER = (
    "Only the provider can make this signature: relay holds its public key, not the private one."
)

_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_LEAST_RSA = 1024

# OpenSSL's own errors come through for some spoiled keys.
_NO_KEY = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A public key, and its private half where the pair is one's own."""

    public: Public
    private: Private | None = None


def to_der(text: str) -> bytes | None:
    r"""Return the DER of the first PEM block in a text, or of bare base64; None when it is neither.

    A variable that cannot hold lines may say `\n` in their place.
    """
    text = text.replace("\\n", "\n")
    block = _ARMOUR.search(text)
    return unbase64("".join((block[2] if block else text).split()))


def load(der: bytes) -> Pair | None:
    """Return the key of a SPKI, a PKCS #8 or PKCS #1 key, or a certificate; None when it is none of them.

    Elliptic curves other than P-256 and RSA below 1024 bits count as none.
    """
    return _checked(_public(der)) or _of_private(der) or _checked(_certified(der))


def _public(der: bytes) -> object:
    try:
        return load_der_public_key(der)
    except _NO_KEY:
        return None


def _certified(der: bytes) -> object:
    try:
        return load_der_x509_certificate(der).public_key()
    except _NO_KEY:
        return None


def _of_private(der: bytes) -> Pair | None:
    try:
        key = load_der_private_key(der, password=None)
    except _NO_KEY:
        return None
    if not isinstance(key, Private):
        return None
    pair = _checked(key.public_key())
    return Pair(public=pair.public, private=key) if pair else None


def _checked(key: object) -> Pair | None:
    if isinstance(key, EllipticCurvePublicKey):
        return Pair(public=key) if isinstance(key.curve, SECP256R1) else None
    if isinstance(key, RSAPublicKey):
        return Pair(public=key) if key.key_size >= _LEAST_RSA else None
    return Pair(public=key) if isinstance(key, Ed25519PublicKey) else None
