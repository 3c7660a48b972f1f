"""Keys and digests as text: how a configured secret becomes key bytes, and a digest a header."""

import binascii
import hmac
import re
from dataclasses import dataclass
from typing import Literal

from relay.model.secret import Secret

Encoding = Literal["hex", "base64", "base64url"]
Form = Literal["text", "base64", "base64url", "hex"]

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD = str.maketrans("-_", "+/")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """How a provider's secret is read.

    `strip` are prefixes taken off before decoding. `claims` are prefixes that only this scheme's
    secrets have; with `exclusive` nothing else is a secret of this scheme. `bare` is the form of a
    secret without a prefix, where that differs (OpenAI takes such a secret as text).
    """

    form: Form = "text"
    strip: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    exclusive: bool = False
    bare: Form | None = None

    def claimed(self, secret: Secret) -> bool:
        """Say whether the secret has a prefix that only this scheme's secrets have."""
        return bool(self.claims) and secret.reveal().startswith(self.claims)

    def read(self, secret: Secret) -> bytes | None:
        """Return the key bytes; None for an empty secret or one that cannot be decoded."""
        text = secret.reveal()
        if not text.strip() or (self.exclusive and not self.claimed(secret)):
            return None
        prefix = next((prefix for prefix in self.strip if text.startswith(prefix)), "")
        form = self.form if prefix or self.bare is None else self.bare
        return decode(text.removeprefix(prefix), form) or None


def decode(text: str, form: Form) -> bytes | None:
    """Return the bytes that a secret stands for; None when it is not of that form.

    Missing base64 padding is made good, as the Standard Webhooks libraries do.
    """
    if form == "text":
        # The environment hands undecodable bytes over as surrogates; this gives those bytes back.
        return text.encode("utf-8", "surrogateescape") if _is_encodable(text) else None
    if form == "hex":
        return bytes.fromhex(text) if _HEX.fullmatch(text) else None
    return unbase64url(text) if form == "base64url" else unbase64(text)


def unbase64url(text: str) -> bytes | None:
    """Return decoded base64 of the URL alphabet (RFC 4648, 5), padded or not; None when it is anything else."""
    return unbase64(text.translate(_TO_STANDARD)) if _BASE64URL.fullmatch(text) else None


def unbase64(text: str) -> bytes | None:
    """Return decoded standard base64, padded or not; None when it is anything else."""
    if not _BASE64.fullmatch(text):
        return None
    bare = text.rstrip("=")
    try:
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        return None


def encode(digest: bytes, encoding: Encoding) -> bytes:
    """Return a digest as lower-case hex, standard base64, or base64url without padding."""
    if encoding == "hex":
        return digest.hex().encode()
    text = binascii.b2a_base64(digest, newline=False)
    return text.translate(_TO_URL).rstrip(b"=") if encoding == "base64url" else text


def same_text(expected: bytes, received: bytes, encoding: Encoding) -> bool:
    """Compare two written digests in constant time; base64url is the same with and without its padding."""
    if encoding == "base64url":
        received = received.rstrip(b"=")
    return hmac.compare_digest(expected, received)


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
