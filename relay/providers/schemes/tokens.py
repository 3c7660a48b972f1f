"""Schemes that sign nothing but show a shared token: in a header, a query, the body, or as HTTP basic."""

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime

from relay.errors import SigningError
from relay.model.event import Capture, Check
from relay.model.secret import Secret
from relay.providers.schemes.base import SteppedScheme, UnreadableError, format_reference
from relay.providers.schemes.encoding import KeyFormat
from relay.providers.schemes.locations import InHeader, Location, read_single

_BASIC = re.compile(rb"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedToken(SteppedScheme):
    """The secret itself at a place, perhaps after a prefix such as `Bearer `, which with `bare` may be missing.

    `refuses` are prefixes of secrets that are keys of another scheme and no tokens.
    """

    place: Location
    prefix: str = ""
    bare: bool = False
    refuses: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return "Shared token"

    def presented(self, capture: Capture) -> bool:
        values = self.place.read(capture, capture.payload)
        return any(value.strip() and self._is_kind(value) for value in values)

    def usable(self, secret: Secret) -> bool:
        """Say whether the secret is a token: not empty, and not the key of another scheme."""
        return self._read(secret) is not None

    def check(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime, checks: list[Check]) -> str:
        del now
        received = self._strip_prefix(read_single(self.place, capture, capture.payload))
        checks.append(Check(name="Token", passed=True, detail=self.place.title, result="Present"))
        tokens = [(secret, token) for secret in secrets if (token := self._read(secret)) is not None]
        if not tokens:
            detail = "no secret can be a token here"
            checks.append(Check(name=self.title, passed=False, detail=detail, result="Unusable"))
            return "secret_unusable"
        for secret, token in tokens:
            if hmac.compare_digest(token, received):
                detail = f"{format_reference(secret)} fits"
                checks.append(Check(name=self.title, passed=True, detail=detail, result="Match"))
                return ""
        checks.append(Check(name=self.title, passed=False, detail="it is another token", result="No match"))
        return "signature_mismatch"

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with the configured token in it. Raises SigningError for an empty one."""
        del now
        token = self._read(secret)
        if token is None:
            raise SigningError(
                f"{secret.reference or 'The secret'} is no token that this source could send.",
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
            raise UnreadableError("header_malformed", f"{self.place.title} does not start with {self.prefix.strip()}")
        return text.removeprefix(self.prefix.encode())

    def _write(self, token: bytes) -> bytes:
        return self.prefix.encode() + token


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic(SharedToken):
    """HTTP basic (RFC 7617): the secret is `user:password`, where the password may hold colons."""

    place: Location = field(default_factory=lambda: InHeader("Authorization"))

    @property
    def title(self) -> str:
        return "HTTP basic"

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
        raise UnreadableError("header_malformed", f"{self.place.title} is not HTTP basic")

    def _write(self, token: bytes) -> bytes:
        return b"Basic " + base64.b64encode(token)
