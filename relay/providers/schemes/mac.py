"""Signatures made with a shared secret: HMAC, and the plain digest of a text that holds the secret."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from relay.errors import ConfigError
from relay.model.event import Capture
from relay.providers.schemes.base import UnreadableError
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import Encoding, Prefix, Raw, encode_digest, is_same_text
from relay.providers.schemes.locations import InHeader, with_header
from relay.providers.schemes.signed_text import SignedText

Algo = Literal["sha1", "sha256", "sha512"]


@dataclass(frozen=True, slots=True, kw_only=True)
# Twilio's shared keys, in public beta: twilio 9.13.0 for Python reads the header, the Node library not yet.
class AnnouncedAlgorithm:
    """A header that names the algorithm: `key=...,algorithm=HMAC_SHA256`; without it the default holds."""

    header: str
    item: str
    algos: tuple[tuple[str, Algo], ...]

    def read(self, capture: Capture) -> Algo | None:
        """Return the algorithm a request names, None for none. Raises UnreadableError for an unknown one."""
        values = dict.fromkeys(capture.header_values(self.header))
        named = [
            value.strip().upper()
            for text in values
            for name, _, value in (part.partition("=") for part in text.split(","))
            if name.strip() == self.item and value.strip()
        ]
        if not named:
            return None
        known = dict(self.algos)
        if len(set(named)) > 1 or named[0] not in known:
            raise UnreadableError("header_malformed", f"{self.header} names an algorithm that is not known")
        return known[named[0]]


@dataclass(frozen=True, slots=True, kw_only=True)
# GitHub's SHA-1 beside SHA-256, Gitea's and Forgejo's copies for receivers made for GitHub or Gogs.
class EchoHeader:
    """A further header with an HMAC of the same text that the provider sends and relay never trusts."""

    header: str
    algo: Algo = "sha256"
    prefix: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmac(SignedText):
    """HMAC of a text, compared as text: lower-case hex or standard base64, unless `any_case`."""

    algo: Algo = "sha256"
    encoding: Encoding = "hex"
    any_case: bool = False
    announced: AnnouncedAlgorithm | None = None
    echoes: tuple[EchoHeader, ...] = ()

    @property
    def title(self) -> str:
        return f"HMAC-{self.algo.upper()}"

    def step(self, capture: Capture) -> str:
        return f"HMAC-{self._algo(capture).upper()}"

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        expected = self.make(key, text, capture)
        received = [item.lower() for item in signatures] if self.any_case else signatures
        return any(is_same_text(expected, item, self.encoding) for item in received)

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        return encode_digest(hmac.digest(key, text, self._algo(capture)), self.encoding)

    def finish(self, key: bytes, text: bytes, capture: Capture) -> Capture:
        """Return the capture with the further signature headers renewed."""
        for echo in self.echoes:
            value = echo.prefix + encode_digest(hmac.digest(key, text, echo.algo), "hex")
            capture = with_header(capture, (echo.header,), value.decode())
        return capture

    def _algo(self, capture: Capture) -> Algo:
        return (self.announced.read(capture) if self.announced else None) or self.algo


@dataclass(frozen=True, slots=True, kw_only=True)
# The secret is part of a text that is only hashed; SHA-256 can be extended, which is why newer schemes use HMAC.
class Digest(SignedText):
    """A plain hash of a text that holds `{secret}`; HubSpot's first two versions."""

    algo: Algo = "sha256"
    encoding: Encoding = "hex"

    def __post_init__(self) -> None:
        if not self.signed.uses_secret:
            raise ConfigError("a digest of a text without {secret} proves nothing")

    @property
    def title(self) -> str:
        return self.algo.upper()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        expected = self.make(key, text, capture)
        return any(is_same_text(expected, item, self.encoding) for item in signatures)

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        del key, capture
        return encode_digest(hashlib.new(self.algo, text).digest(), self.encoding)


def body_hmac(
    *headers: str, algo: Algo = "sha256", encoding: Encoding = "hex", prefix: str = "", any_case: bool = False
) -> Hmac:
    """Return the commonest scheme of all: an HMAC of the body in one header."""
    return Hmac(
        signed=template("{body}"),
        place=InHeader(*headers),
        layout=Prefix(prefix.encode()) if prefix else Raw(),
        algo=algo,
        encoding=encoding,
        any_case=any_case,
    )
