"""What every scheme is made of: the protocol, the reading of one request, and a way to refuse it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from relay.model.event import Capture, Check, Verdict, Verification
from relay.model.payload import Payload
from relay.model.secret import Secret

HEADER_STEP = "Signature header"


@runtime_checkable
class Scheme(Protocol):
    """A SignatureScheme that can also say whether a request or a secret is of its kind."""

    @property
    def name(self) -> str:
        """Return what `scheme = "..."` of a source calls it; "" where the provider has no other."""
        ...

    @property
    def title(self) -> str:
        """Return what a person calls it."""
        ...

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Judge a capture against any of `secrets`."""
        ...

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture signed again. Raises SigningError where that is impossible."""
        ...

    def presented(self, capture: Capture) -> bool:
        """Say whether the request carries this kind of signature, right or wrong."""
        ...

    def usable(self, secret: Secret) -> bool:
        """Say whether the secret is in the form this scheme takes."""
        ...

    def claims(self, secret: Secret) -> bool:
        """Say whether the secret can only be this scheme's, by its prefix."""
        ...

    def tolerating(self, past: float | None, future: float | None) -> "Scheme":
        """Return the scheme with other age limits in seconds; None is no limit."""
        ...


class UnreadableError(Exception):
    """A request lacks, or garbles, what its signature is made of; never leaves this room."""

    def __init__(self, reason: str, detail: str, *, result: str = "Unreadable", step: str = HEADER_STEP) -> None:
        super().__init__(detail)
        self.reason = reason
        self.check = Check(name=step, passed=False, detail=detail, result=result)


@dataclass(slots=True, kw_only=True)
class SignatureInput:
    """One request as its signature sees it; `ts` and `ident` are text as received.

    `hashed` says that a hash in the signed URL already vouches for the body; `form` is the signed
    text of a form body with the number of its fields, made once for all spellings of the URL.
    """

    capture: Capture
    payload: Payload
    ts: bytes = b""
    ident: bytes = b""
    url: bytes = b""
    secret: bytes = b""
    hashed: bool = False
    form: tuple[bytes, int] | None = None


def to_wire_bytes(text: str) -> bytes:
    """Return captured text as the bytes of the wire; text that was never captured as UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def build_verification(reason: str, checks: list[Check]) -> Verification:
    """Return the verdict that a reason means; none is VERIFIED."""
    verdict = Verdict.INVALID if reason else Verdict.VERIFIED
    return Verification(verdict=verdict, reason=reason, checks=tuple(checks))


def build_unchecked(reason: str = "secret_missing", *checks: Check) -> Verification:
    """Return the verdict of a source that has no secret at all, or not the key it would take."""
    return Verification(verdict=Verdict.UNCHECKED, reason=reason, checks=checks)
