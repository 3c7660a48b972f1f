"""Schemes that sign nothing but show a shared token: in a header, a query, the body, or as HTTP basic."""

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.providers.schemes.base import UnreadableError, build_unchecked, build_verification
from relay.providers.schemes.encoding import KeyFormat
from relay.providers.schemes.locations import InHeader, Location, read_single

_BASIC = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedToken:
    """The secret itself at a place, perhaps after a prefix such as `Bearer `, which with `bare` may be missing.

    `refuses` are prefixes of secrets that are keys of another scheme and no tokens.
    """

    place: Location
    prefix: str = ""
    bare: bool = False
    refuses: tuple[str, ...] = ()
    name: str = ""

    @property
    def title(self) -> str:
        """Return what a person calls it."""
        return "Shared token"

    def presented(self, capture: Capture) -> bool:
        """Say whether the request carries a token, right or wrong."""
        values = self.place.read(capture, capture.payload)
        return any(value.strip() and self._is_kind(value) for value in values)

    def usable(self, secret: Secret) -> bool:
        """Say whether the secret is a token: not empty, and not the key of another scheme."""
        return self._read(secret) is not None

    def claims(self, secret: Secret) -> bool:
        """Say that any text may be a token: no secret is only ever one."""
        del secret
        return False

    def tolerating(self, past: float | None, future: float | None) -> Self:
        """Return the scheme itself: a token has no age."""
        del past, future
        return self

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Judge a capture against any of `secrets`. Garbage gives INVALID, never an exception."""
        del now
        if not secrets:
            return build_unchecked()
        try:
            shown = self._shown(read_single(self.place, capture, capture.payload))
        except UnreadableError as problem:
            return build_verification(problem.reason, [problem.check])
        present = Check(name="Token", passed=True, detail=self.place.title, result="Present")
        tokens = [(secret, token) for secret in secrets if (token := self._read(secret)) is not None]
        if not tokens:
            unusable = Check(name=self.title, passed=False, detail="no secret can be a token here", result="Unusable")
            return build_verification("secret_unusable", [present, unusable])
        for secret, token in tokens:
            if hmac.compare_digest(token, shown):
                detail = f"{escape_unprintable(secret.reference, 80) or 'the secret'} fits"
                fits = Check(name=self.title, passed=True, detail=detail, result="Match")
                return build_verification("", [present, fits])
        differs = Check(name=self.title, passed=False, detail="it is another token", result="No match")
        return build_verification("signature_mismatch", [present, differs])

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with the configured token in it. Raises SigningError for an empty one."""
        del now
        token = self._read(secret)
        if token is None:
            raise SigningError(
                f"{secret.reference or 'The secret'} is no token that this source could send.",
                hint="set it to the token you gave the provider",
            )
        return self.place.write(capture, self._written(token))

    def _read(self, secret: Secret) -> bytes | None:
        if self.refuses and secret.reveal().startswith(self.refuses):
            return None
        return KeyFormat().read(secret)

    def _is_kind(self, text: bytes) -> bool:
        return self.bare or text.startswith(self.prefix.encode())

    def _shown(self, text: bytes) -> bytes:
        prefix = self.prefix.encode()
        if not text.startswith(prefix):
            if self.bare:
                return text
            raise UnreadableError("header_malformed", f"{self.place.title} does not start with {self.prefix.strip()}")
        return text[len(prefix) :]

    def _written(self, token: bytes) -> bytes:
        return self.prefix.encode() + token


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic(SharedToken):
    """HTTP basic: the secret is `user:password`, where the password may hold colons."""

    place: Location = field(default_factory=lambda: InHeader("Authorization"))

    @property
    def title(self) -> str:
        """Return what a person calls it."""
        return "HTTP basic"

    def _is_kind(self, text: bytes) -> bool:
        return text[:6].lower() == b"basic "

    def _read(self, secret: Secret) -> bytes | None:
        return KeyFormat().read(secret) if ":" in secret.reveal() else None

    def _shown(self, text: bytes) -> bytes:
        match = _BASIC.fullmatch(text)
        try:
            return binascii.a2b_base64(match[1], strict_mode=True) if match else self._refuse()
        except binascii.Error:
            return self._refuse()

    def _refuse(self) -> bytes:
        raise UnreadableError("header_malformed", f"{self.place.title} is not HTTP basic")

    def _written(self, token: bytes) -> bytes:
        return b"Basic " + base64.b64encode(token)
