"""Signatures made with a key pair: ECDSA on P-256 with SHA-256, in DER (SendGrid)."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding as Form

from relay.errors import SigningError
from relay.model.event import Capture
from relay.model.secret import Secret
from relay.providers.schemes.keys import Encoding, decode, encode
from relay.providers.schemes.pairs import ONLY_THE_PROVIDER, PairKind, load, spki, to_der
from relay.providers.schemes.signed import SignedText

# Each check hashes the whole body anew, and a header of 8 kB holds dozens of signatures.
_MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecdsa(SignedText):
    """An ECDSA signature in DER, checked with the provider's public key: PEM, SPKI in base64, a certificate.

    A private key (PKCS #8, likewise) is a key pair of one's own and can sign. Signatures are
    randomised: the same request signed twice differs.
    """

    encoding: Encoding = "base64"

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
        der = to_der(secret.reveal())
        return der if der is not None and _public(der) else None

    @property
    def pair_kind(self) -> PairKind:
        """Return the kind of key."""
        return "p256"

    def cannot_sign(self, secret: Secret) -> bool:
        """Say whether the secret is a public key."""
        key = self.read_key(secret)
        pair = load(key) if key is not None else None
        return pair is not None and pair.private is None

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return the key as it is: PEM is one of the forms."""
        del secrets
        return pem

    def public_half(self, pem: str) -> str:
        """Return the key as SendGrid shows its own: SPKI in base64."""
        return encode(spki(pem, Form.DER), "base64").decode()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Check the first few signatures."""
        del capture
        public = _public(key)
        return public is not None and any(self._fits(public, text, item) for item in signatures[:_MOST])

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        """Return a signature with one's own key pair. Raises SigningError for a public key."""
        del capture
        pair = load(key)
        if pair is None or not isinstance(pair.private, EllipticCurvePrivateKey):
            raise SigningError(
                ONLY_THE_PROVIDER,
                hint="send the original signature, or configure a key pair of your own on both sides",
            )
        return encode(pair.private.sign(text, ECDSA(SHA256())), self.encoding)

    def _fits(self, public: EllipticCurvePublicKey, text: bytes, signature: bytes) -> bool:
        raw = decode(signature.decode("latin-1"), self.encoding)
        if raw is None:
            return False
        try:
            public.verify(raw, text, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def _public(der: bytes) -> EllipticCurvePublicKey | None:
    pair = load(der)
    return pair.public if pair and isinstance(pair.public, EllipticCurvePublicKey) else None
