"""Schemes with a shared secret: HMAC, a digest of a text with the secret, and the secret itself as a token."""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import field
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.schemes.base import (
    HEADER_STEP,
    RefusalError,
    SteppedScheme,
    build_check,
    build_verification,
    format_reference,
    read_keys,
    to_wire_bytes,
)
from relay.providers.schemes.content import CONTENT_STEP, SHOWN_LITERAL, describe_body, template
from relay.providers.schemes.encoding import Encoding, Items, KeyFormat, Layout, Prefix, encode_digest, is_same_text
from relay.providers.schemes.locations import InHeader, Location, read_single, with_header
from relay.providers.schemes.signed_text import SignedText

Algo = Literal["sha1", "sha256", "sha512"]
_ALONE = Prefix()

# Twilio's shared keys, in public beta: twilio 9.13.0 for Python reads the header, the Node library not yet.
_ANNOUNCED: dict[str, Algo] = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


# GitHub's SHA-1 beside SHA-256, Gitea's and Forgejo's copies for receivers made for GitHub or Gogs.
@dataclass(frozen=True, slots=True, kw_only=True)
class EchoHeader:
    """A further header with an HMAC of the same text, which the provider sends and relay never trusts."""

    header: str
    algo: Algo = "sha256"
    prefix: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmac(SignedText):
    """HMAC of a text, compared as text: lower-case hex or standard base64, unless `any_case`.

    `announced` is a header that may name the algorithm: `key=...,algorithm=HMAC_SHA256`.
    """

    algo: Algo = "sha256"
    encoding: Encoding = "hex"
    any_case: bool = False
    announced: str = ""
    echoes: tuple[EchoHeader, ...] = ()
    # The usual form of signing, None if this scheme has another.
    _usual: "_UsualForm | None" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_usual", _compile_usual_form(self) if type(self) is Hmac else None)

    @property
    def title(self) -> str:
        return f"HMAC-{self.algo.upper()}"

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Verify a capture with any of `secrets`.

        If it has exactly the signature that signing gives, it is genuine; all others are checked step by step.
        """
        usual = self._usual
        found = None if usual is None else self._verify_usual(usual, secrets, capture, now)
        return found or SignedText.verify(self, secrets, capture, now)

    def _verify_usual(
        self, usual: "_UsualForm", secrets: tuple[Secret, ...], capture: Capture, now: datetime
    ) -> Verification | None:
        received = _read_header(self.place, capture)
        if received is None:
            return None
        checks, signed, ts = [usual.presented], usual.signed, b""
        if self.time is not None:
            place = self.time.place
            ts = usual.find_time(received) if place is None else _read_header(place, capture) or b""
            age = self.time.check_usual_age(ts, now)
            if age is None:
                return None
            checks.append(age)
            signed = signed.replace(b"{ts}", ts)
        if self.ident is not None:
            ident = _read_header(self.ident, capture)
            if ident is None or not ident.strip():
                return None
            signed = signed.replace(b"{id}", ident)
        for secret in secrets:
            key = self.read_key(secret)
            if key is not None and hmac.compare_digest(
                self.layout.write(self.make(key, signed + capture.body, capture), ts), received
            ):
                checks.append(_build_content_check(signed, len(capture.body)))
                checks.append(build_check(usual.title, f"{format_reference(secret)} fits", "Match"))
                return build_verification("", checks)
        return None

    def step(self, capture: Capture) -> str:
        return f"HMAC-{self._algo(capture).upper()}"

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        expected = self.make(key, text, capture)
        for item in signatures:
            if is_same_text(expected, item.lower() if self.any_case else item, self.encoding):
                return True
        return False

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        return encode_digest(hmac.digest(key, text, self._algo(capture)), self.encoding)

    def finish(self, key: bytes, text: bytes, capture: Capture) -> Capture:
        """Return the capture with the further signature headers renewed."""
        for echo in self.echoes:
            value = echo.prefix + encode_digest(hmac.digest(key, text, echo.algo), "hex")
            capture = with_header(capture, (echo.header,), value.decode())
        return capture

    def _algo(self, capture: Capture) -> Algo:
        if not self.announced:
            return self.algo
        named = {
            value.strip().upper()
            for text in capture.header_values(self.announced)
            for name, _, value in (part.partition("=") for part in text.split(","))
            if name.strip() == "algorithm" and value.strip()
        }
        if len(named) > 1 or not named <= _ANNOUNCED.keys():
            detail = f"{self.announced} names an algorithm that is not known"
            raise RefusalError("header_malformed", detail, step=self.announced)
        return _ANNOUNCED[named.pop()] if named else self.algo


class _UsualForm(NamedTuple):
    """A text before the body, with `{ts}` and `{id}`, and a header with one signature: `before`, time, `between`."""

    title: str
    signed: bytes
    before: bytes
    between: bytes
    presented: Check

    def find_time(self, received: bytes) -> bytes:
        """Return the time in a header's text, or the text in its position."""
        start = len(self.before)
        return received[start : received.find(self.between, start)]


def _compile_usual_form(scheme: Hmac) -> _UsualForm | None:
    """Return the usual form of a scheme that signs only a fixed text, a time, an id and the body."""
    text = scheme.signed.text.replace("{timestamp}", "{ts}")
    signed, _, rest = text.partition("{body}")
    places = [scheme.place, scheme.ident, scheme.time.place if scheme.time else None]
    if (
        rest
        or text == signed
        or "{" in signed.replace("{ts}", "", 1).replace("{id}", "", 1)
        or any(type(place) is not InHeader for place in places if place is not None)
        or any((scheme.body_hash, scheme.only_if, scheme.expects, scheme.announced))
        or (scheme.time is None and "{ts}" in text)
        or (scheme.ident is None and "{id}" in text)
    ):
        return None
    words, before, between = "", b"", b""
    if isinstance(scheme.layout, Items):
        words = scheme.layout.describe(1)
        before, _, rest_of_emit = scheme.layout.emit.partition(b"{ts}")
        between = rest_of_emit.partition(b"{sig}")[0]
    if scheme.time is not None and scheme.time.place is None and not between:
        return None
    title = scheme.place.title
    presented = build_check(HEADER_STEP, f"{title} with {words}" if words else title, "Present")
    return _UsualForm(scheme.title, signed.encode(), before, between, presented)


def _read_header(place: Location, capture: Capture) -> bytes | None:
    """Return the value of the first present header of a location, None if there is none or several."""
    for name in getattr(place, "names", ()):
        if values := capture.header_values(name):
            return to_wire_bytes(values[0]) if len(values) == 1 else None
    return None


def _build_content_check(signed: bytes, size: int) -> Check:
    content = describe_body(size)
    if not signed:
        return build_check(CONTENT_STEP, content, "Built")
    # Not cached: no two requests have the same time and id.
    detail = f"{escape_unprintable(signed, SHOWN_LITERAL)} and {content}"
    return Check(name=CONTENT_STEP, passed=True, detail=detail, result="Built")


# The secret is part of a hashed text; SHA-256 allows length extension, so newer schemes use HMAC.
@dataclass(frozen=True, slots=True, kw_only=True)
class Digest(SignedText):
    """A plain hash of a text that holds `{secret}`; HubSpot's first two versions."""

    algo: Algo = "sha256"
    encoding: Encoding = "hex"

    @property
    def title(self) -> str:
        return self.algo.upper()

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        expected = self.make(key, text, capture)
        return any(is_same_text(expected, item, self.encoding) for item in signatures)

    def make(self, key: bytes, text: bytes, capture: Capture) -> bytes:
        del key, capture
        return encode_digest(hashlib.new(self.algo, text).digest(), self.encoding)


def header_hmac(place: str | Location, signed: str = "{body}", layout: Layout = _ALONE, **parts: Any) -> Hmac:
    """Return an HMAC in a header, of the body unless `signed` is given; `parts` are further fields of Hmac."""
    spot = InHeader(place) if isinstance(place, str) else place
    return Hmac(signed=template(signed), place=spot, layout=layout, **parts)


_BASIC = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedToken(SteppedScheme):
    """The secret itself at a location, after an optional prefix such as `Bearer `, which with `bare` may be missing.

    `refuses` are prefixes of secrets that are keys of another scheme and no tokens.
    """

    place: Location
    prefix: str = ""
    bare: bool = False
    refuses: tuple[str, ...] = ()
    title: ClassVar[str] = "Shared token"

    def presented(self, capture: Capture) -> bool:
        values = self.place.read(capture)
        return any(value.strip() and self._is_kind(value) for value in values)

    def usable(self, secret: Secret) -> bool:
        """Return whether the secret is a token: not empty, and not a key of another scheme."""
        return self._read(secret) is not None

    def check(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime, checks: list[Check]) -> str:
        del now
        received = self._strip_prefix(read_single(self.place, capture))
        checks.append(Check(name="Token", passed=True, detail=self.place.title, result="Present"))
        for secret, token in read_keys(secrets, self._read, self.title, "no secret can be a token here"):
            if hmac.compare_digest(token, received):
                detail = f"{format_reference(secret)} fits"
                checks.append(Check(name=self.title, passed=True, detail=detail, result="Match"))
                return ""
        raise RefusalError("signature_mismatch", "it is another token", result="No match", step=self.title)

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with the configured token. Raises SigningError for an empty one."""
        del now
        token = self._read(secret)
        if token is None:
            raise SigningError(
                f"{secret.reference or 'The secret'} is not a token that this source could send.",
                hint="set it to the token you gave the provider",
            )
        return self.place.write(capture, self._write(token))

    def _read(self, secret: Secret) -> bytes | None:
        if self.refuses and secret.reveal().startswith(self.refuses):
            return None
        return KeyFormat().read(secret)

    def _is_kind(self, text: bytes) -> bool:
        return self.bare or text.startswith(self.prefix.encode())

    def _strip_prefix(self, text: bytes) -> bytes:
        if not self._is_kind(text):
            raise RefusalError("header_malformed", f"{self.place.title} does not start with {self.prefix.strip()}")
        return text.removeprefix(self.prefix.encode())

    def _write(self, token: bytes) -> bytes:
        return self.prefix.encode() + token


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic(SharedToken):
    """HTTP basic (RFC 7617): the secret is `user:password`; the password may contain colons."""

    place: Location = field(default_factory=lambda: InHeader("Authorization"))
    title: ClassVar[str] = "HTTP basic"

    def _is_kind(self, text: bytes) -> bool:
        return text[:6].lower() == b"basic "

    def _read(self, secret: Secret) -> bytes | None:
        return KeyFormat().read(secret) if ":" in secret.reveal() else None

    def _strip_prefix(self, text: bytes) -> bytes:
        match = _BASIC.fullmatch(text)
        try:
            if match:
                return binascii.a2b_base64(match[1], strict_mode=True)
        except binascii.Error:
            pass
        raise RefusalError("header_malformed", f"{self.place.title} is not HTTP basic")

    def _write(self, token: bytes) -> bytes:
        return b"Basic " + base64.b64encode(token)
