"""The base classes of schemes, the input of a signature, and the refusal of a request."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Self, TypeVar

from relay.model.event import Capture, Check, Verdict, Verification
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

HEADER_STEP = "Signature header"
KeyT = TypeVar("KeyT")


@lru_cache(maxsize=512)
def build_check(name: str, detail: str, result: str) -> Check:
    """Return a passed step, cached for equal texts."""
    return Check(name=name, passed=True, detail=detail, result=result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme(ABC):
    """A SignatureScheme of relay's own, which also knows whether a request or a secret is of its kind.

    `name` is its name in `scheme = "..."` of a source; "" if the provider has no other.
    """

    name: str = ""

    @property
    @abstractmethod
    def title(self) -> str:
        """Return its title."""

    @abstractmethod
    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with a new signature. Raises SigningError if that is impossible."""

    @abstractmethod
    def presented(self, capture: Capture) -> bool:
        """Return whether the request carries this kind of signature, right or wrong."""

    @abstractmethod
    def usable(self, secret: Secret) -> bool:
        """Return whether the secret has the form that this scheme needs."""

    @abstractmethod
    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Verify a capture with any of `secrets`. Garbage gives INVALID, never an exception."""

    def claims_secret(self, secret: Secret) -> bool:
        """Return whether the prefix of the secret shows that it belongs to this scheme."""
        del secret
        return False

    def tolerating(self, past: float | None, future: float | None) -> Self:
        """Return the scheme with other age limits in seconds; None is no limit, and without an age nothing changes."""
        del past, future
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedScheme(Scheme):
    """A scheme that checks a request in steps; a RefusalError is the last one."""

    @abstractmethod
    def check(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime, checks: list[Check]) -> str:
        """Return the reason to refuse a capture, "" for none, and add each step to `checks`. Raises RefusalError."""

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        if not secrets:
            return build_unchecked()
        checks: list[Check] = []
        try:
            reason = self.check(secrets, capture, now, checks)
        except RefusalError as problem:
            checks.append(problem.check)
            reason = problem.reason
        return build_verification(reason, checks)


class RefusalError(Exception):
    """A step that ends a verification: its input is missing or malformed, or does not match. Internal."""

    def __init__(self, reason: str, detail: str, *, result: str = "Unreadable", step: str = HEADER_STEP) -> None:
        super().__init__(detail)
        self.reason = reason
        self.check = Check(name=step, passed=False, detail=detail, result=result)


def read_keys(
    secrets: tuple[Secret, ...], read: Callable[[Secret], KeyT | None], step: str, problem: str
) -> list[tuple[Secret, KeyT]]:
    """Return the secrets that are keys of a scheme. Raises RefusalError of `step` with the problem where none is."""
    keys = [(secret, key) for secret in secrets if (key := read(secret)) is not None]
    if not keys:
        raise RefusalError("secret_unusable", problem, result="Unusable", step=step)
    return keys


@dataclass(slots=True, kw_only=True)
class SignatureInput:
    """The input of a request's signature; `ts` and `ident` are text as received.

    `hashed` means that a hash in the signed URL already protects the body; `form` is the signed
    text of a form body with the number of its fields, made once for all spellings of the URL.
    """

    capture: Capture
    ts: bytes = b""
    ident: bytes = b""
    url: bytes = b""
    secret: bytes = b""
    hashed: bool = False
    form: tuple[bytes, int] | None = None


def to_wire_bytes(text: str) -> bytes:
    """Return captured text as the bytes on the wire; other text as UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def format_reference(secret: Secret) -> str:
    """Return the name of a secret in a verification step."""
    return escape_unprintable(secret.reference, 80) or "the secret"


def build_verification(reason: str, checks: list[Check]) -> Verification:
    """Return the verdict for a reason; no reason is VERIFIED."""
    verdict = Verdict.INVALID if reason else Verdict.VERIFIED
    return Verification(verdict=verdict, reason=reason, checks=tuple(checks))


def build_unchecked(reason: str = "secret_missing", *checks: Check) -> Verification:
    """Return the verdict of a source without a secret, or without the key it needs."""
    return Verification(verdict=Verdict.UNCHECKED, reason=reason, checks=checks)
