"""Encodings of keys and digests: from a configured secret to key bytes, and from a digest to a header."""

import binascii
import hmac
import re
from contextlib import suppress
from typing import Literal, NamedTuple

from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.schemes.base import RefusalError

Encoding = Literal["hex", "base64", "base64url"]
KeyForm = Literal["text", "base64", "base64url", "hex"]

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD = str.maketrans("-_", "+/")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFormat:
    """How a provider's secret is decoded.

    `strip` are prefixes removed before decoding. `claims` are prefixes that only this scheme's
    secrets have; with `exclusive` no other text is a secret of this scheme. `bare` is the form of a
    secret without a prefix, if that differs (OpenAI treats such a secret as text).
    """

    form: KeyForm = "text"
    strip: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    exclusive: bool = False
    bare: KeyForm | None = None

    def claimed(self, secret: Secret) -> bool:
        """Return whether the secret has a prefix that only this scheme's secrets have."""
        return bool(self.claims) and secret.reveal().startswith(self.claims)

    def read(self, secret: Secret) -> bytes | None:
        """Return the key bytes; None if the secret is empty or cannot be decoded."""
        text = secret.reveal()
        if not text or text.isspace() or (self.exclusive and not self.claimed(secret)):
            return None
        prefix = next((prefix for prefix in self.strip if text.startswith(prefix)), "") if self.strip else ""
        form = self.form if prefix or self.bare is None else self.bare
        return decode_text(text.removeprefix(prefix), form) or None


def decode_text(text: str, form: KeyForm) -> bytes | None:
    """Return the bytes that a secret encodes; None if it has another form.

    Missing base64 padding is added, as the Standard Webhooks libraries do.
    """
    if form == "text":
        if text.isascii():
            return text.encode()
        # The environment contains undecodable bytes as surrogates; this restores the bytes.
        with suppress(UnicodeEncodeError):
            return text.encode("utf-8", "surrogateescape")
        return None
    if form == "hex":
        return bytes.fromhex(text) if _HEX.fullmatch(text) else None
    return decode_base64url(text) if form == "base64url" else decode_base64(text)


def decode_base64url(text: str) -> bytes | None:
    """Return decoded base64 of the URL alphabet (RFC 4648, 5), padded or not; None when it is anything else."""
    return decode_base64(text.translate(_TO_STANDARD)) if _BASE64URL.fullmatch(text) else None


# Strict: characters outside the alphabet, which most decoders skip, would allow many texts for a signature.
def decode_base64(text: str) -> bytes | None:
    """Return decoded standard base64, padded or not; None when it is anything else."""
    if not _BASE64.fullmatch(text):
        return None
    bare = text.rstrip("=")
    try:
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        return None


# Nearly all libraries compare the text, so upper-case hex is refused.
def encode_digest(digest: bytes, encoding: Encoding) -> bytes:
    """Return a digest as lower-case hex, standard base64, or base64url without padding."""
    if encoding == "hex":
        return digest.hex().encode()
    text = binascii.b2a_base64(digest, newline=False)
    return text.translate(_TO_URL).rstrip(b"=") if encoding == "base64url" else text


# hmac.compare_digest takes constant time, so that a signature cannot be guessed byte by byte.
def is_same_text(expected: bytes, received: bytes, encoding: Encoding) -> bool:
    """Compare two written digests in constant time; base64url is the same with and without its padding."""
    if encoding == "base64url":
        received = received.rstrip(b"=")
    return hmac.compare_digest(expected, received)


class ParsedSignature(NamedTuple):
    """The signatures a request presents, any of which may match, and its timestamp if it is among them."""

    signatures: tuple[bytes, ...]
    ts: bytes = b""
    words: str = ""


# GitHub, Slack and others: without the prefix the value is not theirs, even if the digest were right.
@dataclass(frozen=True, slots=True)
class Prefix:
    """The signature alone, or after a fixed text such as `sha256=`; with `optional` the text may be missing."""

    prefix: bytes = b""
    optional: bool = False

    def read(self, text: bytes) -> ParsedSignature:
        if not text.startswith(self.prefix):
            if self.optional:
                return ParsedSignature((text,))
            raise RefusalError("header_malformed", f"does not start with {self.prefix.decode()}")
        signature = text[len(self.prefix) :]
        if self.prefix and not signature:
            raise RefusalError("header_malformed", f"has nothing after {self.prefix.decode()}")
        return ParsedSignature((signature,))

    def write(self, signature: bytes, ts: bytes) -> bytes:
        del ts
        return self.prefix + signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list such as `t=1699,v1=ab,v1=cd`: any item named `sig` may match, unknown names are skipped.

    `emit` is the pattern of a list with one signature, with `{ts}` and `{sig}`. Nothing is
    trimmed unless `trim` says so. With `bare` an item without a name is a signature too.
    """

    separator: bytes
    equals: bytes
    sig: bytes
    emit: bytes
    ts: bytes | None = None
    trim: bool = False
    bare: bool = False

    def read(self, text: bytes) -> ParsedSignature:
        signatures: list[bytes] = []
        ts: bytes | None = None
        # Stripe's and Paddle's libraries split without trimming, WorkOS's trims: hence `trim`.
        for item in text.split(self.separator):
            name, equals, value = (item.strip() if self.trim else item).partition(self.equals)
            if equals and name == self.sig:
                signatures.append(value)
            elif equals and name == self.ts and ts is None:
                ts = value
            elif self.bare and not equals and name:
                signatures.append(name)
        if self.ts is not None and ts is None:
            raise RefusalError("header_malformed", f"has no {escape_unprintable(self.ts)}")
        if not any(signatures):
            raise RefusalError("header_malformed", f"has no {escape_unprintable(self.sig)}")
        return ParsedSignature(tuple(signatures), ts or b"", self.describe(len(signatures)))

    def write(self, signature: bytes, ts: bytes) -> bytes:
        return self.emit.replace(b"{ts}", ts).replace(b"{sig}", signature)

    def describe(self, count: int) -> str:
        """Return a description of a list with that many signatures."""
        number = "one" if count == 1 else str(count)
        stamp = f"{self.ts.decode()} and " if self.ts else ""
        return f"{stamp}{number} {self.sig.decode()}"


Layout = Prefix | Items
"""How signatures are read from a text (`read` raises RefusalError) and one of them is written as such a text."""


def items(emit: str, *, trim: bool = False, bare: bool = False) -> Items:
    """Return the list layout for a pattern with one signature: `t={ts},v1={sig}`, or `v1,{sig}` parted by spaces."""
    match = re.fullmatch(r"(?:(\w+)\W\{ts\}(\W) ?)?(\w+)(\W)\{sig\}", emit)
    assert match is not None
    ts, separator, sig, equals = match.groups()
    separator = separator or ("," if equals == "=" else " ")
    return Items(
        separator=separator.encode(),
        equals=equals.encode(),
        sig=sig.encode(),
        ts=ts.encode() if ts else None,
        emit=emit.encode(),
        trim=trim,
        bare=bare,
    )
