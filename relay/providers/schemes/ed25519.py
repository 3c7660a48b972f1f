"""Signatures made with a key pair: Ed25519 (Discord, Standard Webhooks v1a)."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding as Form

from relay.errors import SigningError
from relay.model.event import Capture
from relay.model.secret import Secret
from relay.providers.schemes.keys import Encoding, decode, encode, unbase64
from relay.providers.schemes.pairs import ONLY_THE_PROVIDER, PairKind, load, spki, to_der
from relay.providers.schemes.signed import SignedText

PRIVATE_PREFIX = "whsk_"

_BEGIN = "-----BEGIN "

# Each check hashes the whole body anew, and a header of 8 kB holds ninety signatures.
_MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519(SignedText):
    """An Ed25519 signature, checked with the provider's public key.

    The key is raw, in the form that `key` says, or PEM. A secret `whsk_<base64 of seed and public
    key>` (Standard Webhooks' form) or a private key in PEM is a key pair of one's own: it checks
    with its public half and, unlike a public key, can sign.
    """

    encoding: Encoding = "hex"

    @property
    def title(self) -> str:
        """Return the algorithm."""
        return "Ed25519"

    def step(self, capture: Capture) -> str:
        """Return the algorithm."""
        del capture
        return self.title

    def read_key(self, secret: Secret) -> bytes | None:
        """Return the 32 bytes of a public key, or the 64 of a key pair."""
        text = secret.reveal()
        if text.startswith(PRIVATE_PREFIX):
            pair = unbase64(text.removeprefix(PRIVATE_PREFIX))
            return pair if pair is not None and len(pair) == 64 else None
        if _BEGIN in text:
            return _of_pem(text)
        key = self.key.read(secret)
        return key if key is not None and len(key) == 32 else None

    def claims(self, secret: Secret) -> bool:
        """Say whether the secret can only be a key of this scheme."""
        return self.key.claimed(secret) or secret.reveal().startswith(PRIVATE_PREFIX)

    @property
    def pair_kind(self) -> PairKind:
        """Return the kind of key."""
        return "ed25519"

    def cannot_sign(self, secret: Secret) -> bool:
        """Say whether the secret is a public key."""
        key = self.read_key(secret)
        return key is not None and len(key) == 32

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return the key as it is: PEM is one of the forms."""
        del secrets
        return pem

    def public_half(self, pem: str) -> str:
        """Return the raw key in hex or base64, with the prefix such keys have (`whpk_`), or PEM."""
        if self.key.form == "text":
            return spki(pem).decode()
        raw = spki(pem, Form.DER)[-32:]
        return next(iter(self.key.strip), "") + encode(raw, self.key.form).decode()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Check the first few; hex may be of either case, as every library decodes it."""
        del capture
        return any(self._fits(key, text, signature) for signature in signatures[:_MOST])

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        """Return a signature with one's own key pair. Raises SigningError for a public key."""
        del capture
        if len(key) != 64:
            raise SigningError(
                ONLY_THE_PROVIDER,
                hint="send the original signature, or configure a key pair of your own (whsk_...) on both sides",
            )
        return encode(Ed25519PrivateKey.from_private_bytes(key[:32]).sign(text), self.encoding)

    def _fits(self, key: bytes, text: bytes, signature: bytes) -> bool:
        raw = decode(signature.decode("latin-1"), self.encoding)
        if raw is None or len(raw) != 64:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(key[-32:]).verify(raw, text)
        except (InvalidSignature, ValueError):
            return False
        return True


def _of_pem(text: str) -> bytes | None:
    der = to_der(text)
    pair = load(der) if der is not None else None
    if pair is None or not isinstance(pair.public, Ed25519PublicKey):
        return None
    seed = pair.private.private_bytes_raw() if isinstance(pair.private, Ed25519PrivateKey) else b""
    return seed + pair.public.public_bytes_raw()
