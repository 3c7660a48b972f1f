"""Signatures made with a key pair: Ed25519 (Discord, Standard Webhooks v1a)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding as Form

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.secret import Secret
from relay.providers.schemes.base import build_unchecked
from relay.providers.schemes.encoding import Encoding, decode_base64, decode_text, encode_digest
from relay.providers.schemes.key_pairs import (
    ONLY_THE_PROVIDER,
    PairKind,
    export_spki,
    load_key,
    make_certificate,
    parse_der,
)
from relay.providers.schemes.signed_text import SignedText

PRIVATE_PREFIX = "whsk_"

_PEM_MARKER = "-----BEGIN "

# Each check hashes the whole body anew, and a header of 8 kB holds ninety signatures.
_MAX_ED25519_SIGNATURES = 4


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
            pair = decode_base64(text.removeprefix(PRIVATE_PREFIX))
            return pair if pair is not None and len(pair) == 64 else None
        if _PEM_MARKER in text:
            return _load_ed25519_pem(text)
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
            return export_spki(pem).decode()
        raw = export_spki(pem, Form.DER)[-32:]
        return next(iter(self.key.strip), "") + encode_digest(raw, self.key.form).decode()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Check the first few; hex may be of either case, as every library decodes it."""
        del capture
        return any(self._fits(key, text, signature) for signature in signatures[:_MAX_ED25519_SIGNATURES])

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        """Return a signature with one's own key pair. Raises SigningError for a public key."""
        del capture
        if len(key) != 64:
            raise SigningError(
                ONLY_THE_PROVIDER,
                hint="send the original signature, or configure a key pair of your own (whsk_...) on both sides",
            )
        return encode_digest(Ed25519PrivateKey.from_private_bytes(key[:32]).sign(text), self.encoding)

    def _fits(self, key: bytes, text: bytes, signature: bytes) -> bool:
        raw = decode_text(signature.decode("latin-1"), self.encoding)
        if raw is None or len(raw) != 64:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(key[-32:]).verify(raw, text)
        except (InvalidSignature, ValueError):
            return False
        return True


def _load_ed25519_pem(text: str) -> bytes | None:
    der = parse_der(text)
    pair = load_key(der) if der is not None else None
    if pair is None or not isinstance(pair.public, Ed25519PublicKey):
        return None
    seed = pair.private.private_bytes_raw() if isinstance(pair.private, Ed25519PrivateKey) else b""
    return seed + pair.public.public_bytes_raw()


# Each check hashes the whole body anew, and a header of 8 kB holds dozens of signatures.
_MAX_ECDSA_SIGNATURES = 4


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
        der = parse_der(secret.reveal())
        return der if der is not None and _load_p256_public(der) else None

    @property
    def pair_kind(self) -> PairKind:
        """Return the kind of key."""
        return "p256"

    def cannot_sign(self, secret: Secret) -> bool:
        """Say whether the secret is a public key."""
        key = self.read_key(secret)
        pair = load_key(key) if key is not None else None
        return pair is not None and pair.private is None

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return the key as it is: PEM is one of the forms."""
        del secrets
        return pem

    def public_half(self, pem: str) -> str:
        """Return the key as SendGrid shows its own: SPKI in base64."""
        return encode_digest(export_spki(pem, Form.DER), "base64").decode()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Check the first few signatures."""
        del capture
        public = _load_p256_public(key)
        return public is not None and any(self._fits(public, text, item) for item in signatures[:_MAX_ECDSA_SIGNATURES])

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        """Return a signature with one's own key pair. Raises SigningError for a public key."""
        del capture
        pair = load_key(key)
        if pair is None or not isinstance(pair.private, EllipticCurvePrivateKey):
            raise SigningError(
                ONLY_THE_PROVIDER, hint="send the original signature, or configure a key pair of your own on both sides"
            )
        return encode_digest(pair.private.sign(text, ECDSA(SHA256())), self.encoding)

    def _fits(self, public: EllipticCurvePublicKey, text: bytes, signature: bytes) -> bool:
        raw = decode_text(signature.decode("latin-1"), self.encoding)
        if raw is None:
            return False
        try:
            public.verify(raw, text, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def _load_p256_public(der: bytes) -> EllipticCurvePublicKey | None:
    pair = load_key(der)
    return pair.public if pair and isinstance(pair.public, EllipticCurvePublicKey) else None


RsaDigest = Literal["sha1", "sha256", "sha512"]

_DIGESTS: dict[RsaDigest, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha512": hashes.SHA512,
}
_LABEL_END = "-----BEGIN "
_MAX_RSA_SIGNATURES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rsa(SignedText):
    """An RSA signature, checked with a certificate or public key: PEM, or its DER in base64.

    A private key is a key pair of one's own and can sign. With `labelled` a secret holds a text
    before the key, which `{secret}` in the signed text stands for: PayPal's webhook id.
    """

    digest: RsaDigest = "sha256"
    encoding: Encoding = "base64"
    labelled: bool = False

    @property
    def title(self) -> str:
        """Return the algorithm, such as `RSA-SHA256`."""
        return f"RSA-{self.digest.upper()}"

    def step(self, capture: Capture) -> str:
        """Return the algorithm of this request."""
        return f"RSA-{self.digest_of(capture).upper()}"

    def digest_of(self, capture: Capture) -> RsaDigest:
        """Return the hash that a request is signed with. Raises UnreadableError."""
        del capture
        return self.digest

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Judge a capture. Labels alone check nothing: without a certificate the verdict is UNCHECKED."""
        if self.labelled and secrets and all(_is_label(secret) for secret in secrets):
            detail = "the secret has no certificate behind the id"
            check = Check(name=self.title, passed=None, detail=detail, result="Not checked")
            return build_unchecked("certificate_missing", check)
        # A dataclass with slots is a new class, which super() without arguments does not find.
        return SignedText.verify(self, secrets, capture, now)

    def shared_text(self, key: bytes) -> bytes:
        """Return the text before the key."""
        return key.partition(b"\0")[0]

    def read_key(self, secret: Secret) -> bytes | None:
        """Return the text before the key, a zero byte, and the key as DER; None when it is no RSA key."""
        text = secret.reveal()
        label, begin, rest = text.partition(_LABEL_END) if self.labelled else ("", "", text)
        der = parse_der(begin + rest)
        if der is None or _load_rsa_public(der) is None or (self.labelled and not label.strip()):
            return None
        return label.strip().encode("utf-8", "surrogatepass") + b"\0" + der

    @property
    def pair_kind(self) -> PairKind:
        """Return the kind of key."""
        return "rsa"

    def cannot_sign(self, secret: Secret) -> bool:
        """Say whether the secret is a certificate or public key, or a label that lacks one."""
        key = self.read_key(secret)
        pair = load_key(key.partition(b"\0")[2]) if key is not None else None
        return (self.labelled and _is_label(secret)) if pair is None else pair.private is None

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return the key as PEM, behind the label of the first secret where the scheme has labels."""
        if not self.labelled:
            return pem
        label = secrets[0].reveal().partition(_LABEL_END)[0].strip() if secrets else ""
        return f"{label or 'relay'}\n{pem}"

    def public_half(self, pem: str) -> str:
        """Return the key as PEM: a certificate where the provider hands out one."""
        return make_certificate(pem) if self.labelled else export_spki(pem).decode()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Check the first few signatures."""
        public = _load_rsa_public(key.partition(b"\0")[2])
        algorithm = _DIGESTS[self.digest_of(capture)]()
        return public is not None and any(
            self._fits(public, text, signature, algorithm) for signature in signatures[:_MAX_RSA_SIGNATURES]
        )

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        """Return a signature with one's own key pair. Raises SigningError for a public key."""
        pair = load_key(key.partition(b"\0")[2])
        if pair is None or not isinstance(pair.private, RSAPrivateKey):
            raise SigningError(
                ONLY_THE_PROVIDER, hint="send the original signature, or configure a key pair of your own on both sides"
            )
        algorithm = _DIGESTS[self.digest_of(capture)]()
        return encode_digest(pair.private.sign(text, PKCS1v15(), algorithm), self.encoding)

    def _fits(self, public: RSAPublicKey, text: bytes, signature: bytes, algorithm: hashes.HashAlgorithm) -> bool:
        raw = decode_text(signature.decode("latin-1"), self.encoding)
        if raw is None:
            return False
        try:
            public.verify(raw, text, PKCS1v15(), algorithm)
        except InvalidSignature:
            return False
        return True


def _is_label(secret: Secret) -> bool:
    text = secret.reveal()
    return bool(text.strip()) and _LABEL_END not in text


def _load_rsa_public(der: bytes) -> RSAPublicKey | None:
    pair = load_key(der)
    return pair.public if pair and isinstance(pair.public, RSAPublicKey) else None
