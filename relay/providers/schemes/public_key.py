"""Signatures made with a key pair: Ed25519 (Discord, Standard Webhooks v1a), ECDSA (SendGrid) and RSA (PayPal)."""

import dataclasses
from abc import abstractmethod
from datetime import datetime
from typing import Any, ClassVar, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding as DerEncoding

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.secret import Secret
from relay.model.values import dataclass
from relay.providers.schemes.base import build_unchecked
from relay.providers.schemes.encoding import Encoding, decode_base64, decode_text, encode_digest
from relay.providers.schemes.key_pairs import (
    PAIR_CLASSES,
    PROVIDER_ONLY,
    KeyPair,
    PairKind,
    export_spki,
    load_key,
    make_certificate,
)
from relay.providers.schemes.signed_text import SignedText

PRIVATE_PREFIX = "whsk_"  # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

_PEM_MARKER = "-----BEGIN "
_MAX_SIGNATURES = 4  # each check hashes the whole body again, and a header of 8 kB may have ninety signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPairScheme(SignedText):
    """A signature checked with the provider's public key. The user's own key pair in its place can also sign."""

    encoding: Encoding = "base64"
    pair_kind: ClassVar[PairKind]
    pair_form: ClassVar[str] = ""

    def list_arguments(self, capture: Capture) -> tuple[Any, ...]:
        """Return the further arguments of the key's `verify` and `sign`. Raises RefusalError."""
        del capture
        return ()

    def load_pair(self, text: str) -> KeyPair | None:
        """Return the keys in a text; None if they are of another kind."""
        pair = load_key(text)
        return pair if pair and isinstance(pair.public, PAIR_CLASSES[self.pair_kind]) else None

    def read_key(self, secret: Secret) -> KeyPair | None:
        return self.load_pair(secret.reveal())

    def shared_text(self, key: KeyPair) -> bytes:
        return key.label.encode("utf-8", "surrogatepass")

    def cannot_sign(self, secret: Secret) -> bool:
        """Return whether the secret is valid but only the provider can sign."""
        key = self.read_key(secret)
        return key is not None and key.private is None

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return a private key as a secret of this scheme, with the labels of `secrets`."""
        del secrets
        return pem

    @abstractmethod
    def public_half(self, pem: str) -> str:
        """Return the public half of a private key in the format that applications configure."""

    def matches(self, key: KeyPair, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        return any(self._fits(key.public, text, signature, capture) for signature in signatures[:_MAX_SIGNATURES])

    def make(self, key: KeyPair, text: bytes, capture: Capture) -> bytes:
        """Return a signature made with an own key pair. Raises SigningError for a public key."""
        if key.private is None:
            own = f"a key pair of your own{self.pair_form}"
            raise SigningError(PROVIDER_ONLY, hint=f"send the original signature, or configure {own} on both sides")
        private: Any = key.private
        return encode_digest(private.sign(text, *self.list_arguments(capture)), self.encoding)

    def _fits(self, public: Any, text: bytes, signature: bytes, capture: Capture) -> bool:
        # Hex may be of either case, as every library decodes it.
        raw = decode_text(signature.decode("latin-1"), self.encoding)
        if raw is None:
            return False
        try:
            public.verify(raw, text, *self.list_arguments(capture))
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519(KeyPairScheme):
    """An Ed25519 signature, checked with the provider's public key.

    The key is raw, in the form that `key` says, or PEM. A secret `whsk_<base64 of seed and public
    key>` (Standard Webhooks' form) or a private key in PEM is a key pair of one's own: it checks
    with its public half and, unlike a public key, can sign.
    """

    encoding: Encoding = "hex"
    pair_kind: ClassVar[PairKind] = "ed25519"
    pair_form: ClassVar[str] = " (whsk_...)"
    title: ClassVar[str] = "Ed25519"

    def read_key(self, secret: Secret) -> KeyPair | None:
        """Return the pair of the 32 bytes of a public key, the 64 of a key pair, or a PEM."""
        text = secret.reveal()
        if text.startswith(PRIVATE_PREFIX):
            raw, size = decode_base64(text.removeprefix(PRIVATE_PREFIX)), 64
        elif _PEM_MARKER in text:
            return self.load_pair(text)
        else:
            raw, size = self.key.read(secret), 32
        if raw is None or len(raw) != size:
            return None
        private = Ed25519PrivateKey.from_private_bytes(raw[:32]) if size == 64 else None
        return KeyPair(public=Ed25519PublicKey.from_public_bytes(raw[-32:]), private=private)

    def claims_secret(self, secret: Secret) -> bool:
        return self.key.claimed(secret) or secret.reveal().startswith(PRIVATE_PREFIX)

    def public_half(self, pem: str) -> str:
        """Return the raw key in hex or base64, with the prefix such keys have (`whpk_`), or PEM."""
        if self.key.form == "text":
            return export_spki(pem).decode()
        raw = export_spki(pem, DerEncoding.DER)[-32:]
        return next(iter(self.key.strip), "") + encode_digest(raw, self.key.form).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecdsa(KeyPairScheme):
    """An ECDSA signature in DER, checked with the provider's public key: PEM, SPKI in base64, a certificate.

    A private key (PKCS #8, likewise) is a key pair of one's own and can sign. Signatures are
    randomised: the same request signed twice differs.
    """

    pair_kind: ClassVar[PairKind] = "p256"
    title: ClassVar[str] = "ECDSA-P256"

    def public_half(self, pem: str) -> str:
        # SPKI in base64, as SendGrid shows its own key:
        # https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
        return encode_digest(export_spki(pem, DerEncoding.DER), "base64").decode()

    def list_arguments(self, capture: Capture) -> tuple[Any, ...]:
        del capture
        return (ECDSA(hashes.SHA256()),)


RsaDigest = Literal["sha1", "sha256", "sha512"]

# SHA-1 is only for version 1 of Amazon SNS, which its older topics still use.
_DIGESTS: dict[RsaDigest, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha512": hashes.SHA512,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rsa(KeyPairScheme):
    """An RSA signature, checked with a certificate or public key: PEM, or its DER in base64.

    A private key is a key pair of one's own and can sign. With `labelled` a secret holds a text
    before the key, which `{secret}` in the signed text is: PayPal's webhook id.
    """

    digest: RsaDigest = "sha256"
    labelled: bool = False
    pair_kind: ClassVar[PairKind] = "rsa"

    @property
    def title(self) -> str:
        return f"RSA-{self.digest.upper()}"

    def step(self, capture: Capture) -> str:
        return f"RSA-{self.digest_of(capture).upper()}"

    def digest_of(self, capture: Capture) -> RsaDigest:
        """Return the hash that a request is signed with. Raises RefusalError."""
        del capture
        return self.digest

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Verify a capture. Without a certificate, with labels only, the verdict is UNCHECKED."""
        if self.labelled and secrets and all(map(_is_label, secrets)) and self.presented(capture):
            detail = "the secret has no certificate behind the id"
            check = Check(name=self.title, passed=None, detail=detail, result="Not checked")
            return build_unchecked("certificate_missing", check)
        # A dataclass with slots is a new class, which super() without arguments does not find.
        return SignedText.verify(self, secrets, capture, now)

    def read_key(self, secret: Secret) -> KeyPair | None:
        """Return the key, labelled with the text before it; None when it is no RSA key or lacks that text."""
        text = secret.reveal().replace("\\n", "\n")
        label, begin, rest = text.partition(_PEM_MARKER) if self.labelled else ("", "", text)
        label, pair = label.strip(), self.load_pair(begin + rest)
        return None if pair is None or (self.labelled and not label) else dataclasses.replace(pair, label=label)

    def cannot_sign(self, secret: Secret) -> bool:
        """Return whether the secret is a certificate or public key, or a label without one."""
        return KeyPairScheme.cannot_sign(self, secret) or (self.labelled and _is_label(secret))

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return the key as PEM, after the label of the first secret if the scheme has labels."""
        if not self.labelled:
            return pem
        label = secrets[0].reveal().partition(_PEM_MARKER)[0].strip() if secrets else ""
        return f"{label or 'relay'}\n{pem}"

    def public_half(self, pem: str) -> str:
        """Return the key as PEM: a certificate if the provider publishes one."""
        return make_certificate(pem) if self.labelled else export_spki(pem).decode()

    def list_arguments(self, capture: Capture) -> tuple[Any, ...]:
        return PKCS1v15(), _DIGESTS[self.digest_of(capture)]()


def _is_label(secret: Secret) -> bool:
    text = secret.reveal()
    return bool(text.strip()) and _PEM_MARKER not in text
