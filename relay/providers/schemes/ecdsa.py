"""Signatures made with a key pair: ECDSA on P-256 with SHA-256, DER in base64 (SendGrid)."""

from dataclasses import dataclass

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
)

from relay.errors import SigningError
from relay.model.event import Capture
from relay.model.secret import Secret
from relay.providers.schemes.keys import encode, unbase64
from relay.providers.schemes.signed import SignedText

_ARMOUR = (
    "-----BEGIN PUBLIC KEY-----",
    "-----END PUBLIC KEY-----",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
)
_MOST = 4

# OpenSSL's own errors come through for some spoiled keys.
_NO_KEY = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecdsa(SignedText):
    """An ECDSA signature, checked with the provider's public key: SPKI in base64, PEM armour or not.

    A private key (PKCS #8, likewise) is a key pair of one's own and can sign. Signatures are
    randomised: the same request signed twice differs.
    """

    @property
    def title(self) -> str:
        """Return the algorithm."""
        return "ECDSA-P256"

    def step(self, capture: Capture) -> str:
        """Return the algorithm."""
        del capture
        return self.title

    def read_key(self, secret: Secret) -> bytes | None:
        """Return the key as DER; None when it is no P-256 key."""
        text = secret.reveal()
        for line in _ARMOUR:
            text = text.replace(line, "")
        der = unbase64("".join(text.split()))
        return der if der is not None and (_public(der) or _private(der)) else None

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Check the first few signatures."""
        del capture
        private = _private(key)
        public = private.public_key() if private else _public(key)
        return public is not None and any(_fits(public, text, signature) for signature in signatures[:_MOST])

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        """Return a signature with one's own key pair. Raises SigningError for a public key."""
        del capture
        private = _private(key)
        if private is None:
            raise SigningError(
                "Only the provider can make this signature: relay holds its public key, not the private one.",
                hint="send the original signature, or configure a key pair of your own on both sides",
            )
        return encode(private.sign(text, ECDSA(SHA256())), "base64")


def _fits(public: EllipticCurvePublicKey, text: bytes, signature: bytes) -> bool:
    raw = unbase64(signature.decode("latin-1"))
    if raw is None:
        return False
    try:
        public.verify(raw, text, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _public(der: bytes) -> EllipticCurvePublicKey | None:
    try:
        key = load_der_public_key(der)
    except _NO_KEY:
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None


def _private(der: bytes) -> EllipticCurvePrivateKey | None:
    try:
        key = load_der_private_key(der, password=None)
    except _NO_KEY:
        return None
    return key if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1) else None
