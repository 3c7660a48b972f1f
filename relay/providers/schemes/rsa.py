"""Signatures made with a key pair: RSA with PKCS #1 v1.5 padding (PayPal, Amazon SNS)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.secret import Secret
from relay.providers.schemes.base import unchecked
from relay.providers.schemes.keys import Encoding, decode, encode
from relay.providers.schemes.pairs import ONLY_THE_PROVIDER, PairKind, certificate, load, spki, to_der
from relay.providers.schemes.signed import SignedText

RsaDigest = Literal["sha1", "sha256", "sha512"]

_DIGESTS: dict[RsaDigest, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha512": hashes.SHA512,
}
_BEGIN = "-----BEGIN "
_MOST = 4


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
            return unchecked("certificate_missing", check)
        # A dataclass with slots is a new class, which super() without arguments does not find.
        return SignedText.verify(self, secrets, capture, now)

    def shared_text(self, key: bytes) -> bytes:
        """Return the text before the key."""
        return key.partition(b"\0")[0]

    def read_key(self, secret: Secret) -> bytes | None:
        """Return the text before the key, a zero byte, and the key as DER; None when it is no RSA key."""
        text = secret.reveal()
        label, begin, rest = text.partition(_BEGIN) if self.labelled else ("", "", text)
        der = to_der(begin + rest)
        if der is None or _public(der) is None or (self.labelled and not label.strip()):
            return None
        return label.strip().encode("utf-8", "surrogatepass") + b"\0" + der

    @property
    def pair_kind(self) -> PairKind:
        """Return the kind of key."""
        return "rsa"

    def cannot_sign(self, secret: Secret) -> bool:
        """Say whether the secret is a certificate or public key, or a label that lacks one."""
        key = self.read_key(secret)
        pair = load(key.partition(b"\0")[2]) if key is not None else None
        return (self.labelled and _is_label(secret)) if pair is None else pair.private is None

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return the key as PEM, behind the label of the first secret where the scheme has labels."""
        if not self.labelled:
            return pem
        label = secrets[0].reveal().partition(_BEGIN)[0].strip() if secrets else ""
        return f"{label or 'relay'}\n{pem}"

    def public_half(self, pem: str) -> str:
        """Return the key as PEM: a certificate where the provider hands out one."""
        return certificate(pem) if self.labelled else spki(pem).decode()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Check the first few signatures."""
        public = _public(key.partition(b"\0")[2])
        algorithm = _DIGESTS[self.digest_of(capture)]()
        return public is not None and any(
            self._fits(public, text, signature, algorithm) for signature in signatures[:_MOST]
        )

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        """Return a signature with one's own key pair. Raises SigningError for a public key."""
        pair = load(key.partition(b"\0")[2])
        if pair is None or not isinstance(pair.private, RSAPrivateKey):
            raise SigningError(
                ONLY_THE_PROVIDER,
                hint="send the original signature, or configure a key pair of your own on both sides",
            )
        algorithm = _DIGESTS[self.digest_of(capture)]()
        return encode(pair.private.sign(text, PKCS1v15(), algorithm), self.encoding)

    def _fits(
        self, public: RSAPublicKey, text: bytes, signature: bytes, algorithm: hashes.HashAlgorithm
    ) -> bool:
        raw = decode(signature.decode("latin-1"), self.encoding)
        if raw is None:
            return False
        try:
            public.verify(raw, text, PKCS1v15(), algorithm)
        except InvalidSignature:
            return False
        return True


def _is_label(secret: Secret) -> bool:
    text = secret.reveal()
    return bool(text.strip()) and _BEGIN not in text


def _public(der: bytes) -> RSAPublicKey | None:
    pair = load(der)
    return pair.public if pair and isinstance(pair.public, RSAPublicKey) else None
