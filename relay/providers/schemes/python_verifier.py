"""A scheme written by the user in Python: a class whose errors count as INVALID."""

import dataclasses
import inspect
import logging
import traceback
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.secret import Secret
from relay.model.values import dataclass
from relay.providers.schemes.base import Scheme, build_unchecked, build_verification

log = logging.getLogger(__name__)


class Verifier(Protocol):
    """What `verifier = "verifiers:MyVerifier"` names: a class made without arguments.

    `sign(capture, secret, now)`, which returns the capture signed, is needed only for triggers and
    for replays that sign again.
    """

    def verify(self, capture: Capture, secrets: tuple[Secret, ...], now: datetime) -> bool | Verification:
        """Verify a request: return True or False, or a Verification with the reason."""
        ...


# For schemes that no table expresses, see docs/add-a-provider.md. Whatever happens in the user's class, the
# request gets a response.
@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierScheme(Scheme):
    """A user's verifier, guarded so that it never fails a request; `reference` is its name in relay.toml."""

    verifier: Verifier
    reference: str

    @property
    def title(self) -> str:
        return self.reference

    def presented(self, capture: Capture) -> bool:
        del capture
        return True

    def usable(self, secret: Secret) -> bool:
        return bool(secret.reveal().strip())

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Call the verifier. An exception or an invalid result gives INVALID with its type."""
        if not secrets:
            return build_unchecked()
        usable = tuple(secret for secret in secrets if self.usable(secret))
        if not usable:
            return self._conclude("secret_unusable", "the secret is empty", "Unusable")
        try:
            # A copy: changes by the class must not affect the stored and delivered request.
            verdict: object = self.verifier.verify(dataclasses.replace(capture), usable, now)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything, and a request must be answered
            # The message may quote the request or the secret, so only the type of the error is kept.
            log.warning("the verifier %s raised %s", self.reference, type(error).__name__)
            return self._conclude("verifier_failed", self._describe_error(error, "verify"), "Failed")
        if isinstance(verdict, Verification):
            return verdict
        if isinstance(verdict, bool):
            reason, word = ("", "Match") if verdict else ("signature_mismatch", "No match")
            return self._conclude(reason, "says yes" if verdict else "says no", word)
        if inspect.iscoroutine(verdict):
            verdict.close()
        detail = f"returned {type(verdict).__name__} where True, False or a Verification was asked for"
        return self._conclude("verifier_failed", detail, "Failed")

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture signed by the verifier. Raises SigningError if it cannot."""
        make = getattr(self.verifier, "sign", None)
        if make is None:
            raise SigningError(
                f"{self.reference} has no sign, so relay cannot sign for this source.",
                hint="add sign(capture, secret, now), which returns the capture signed",
            )
        try:
            signed: object = make(dataclasses.replace(capture), secret, now)
        except (Exception, SystemExit) as error:
            raise SigningError(f"{self.reference}.sign {self._describe_error(error, 'sign')}.") from error
        if not isinstance(signed, Capture):
            raise SigningError(f"{self.reference}.sign returned {type(signed).__name__} instead of a Capture.")
        return signed

    def _describe_error(self, error: BaseException, method: str) -> str:
        """Return the error with file and line of the innermost frame of the verifier's code."""
        frames = traceback.extract_tb(error.__traceback__)[1:]
        raised = f"raised {type(error).__name__}"
        if not frames and isinstance(error, TypeError):
            # The method does not accept relay's arguments.
            expected = {"verify": "(capture, secrets, now)", "sign": "(capture, secret, now)"}[method]
            code = getattr(getattr(type(self.verifier), method, None), "__code__", None)
            place = f" in {Path(code.co_filename).name}, line {code.co_firstlineno}" if code else ""
            return f"{raised}{place}: {method} must take {expected}"
        own = ""
        with suppress(TypeError, OSError):
            own = inspect.getfile(type(self.verifier))
        frame = next((frame for frame in reversed(frames) if frame.filename == own), next(reversed(frames), None))
        return f"{raised} in {Path(frame.filename).name}, line {frame.lineno}" if frame else raised

    def _conclude(self, reason: str, detail: str, result: str) -> Verification:
        return build_verification(reason, [Check(name=self.reference, passed=not reason, detail=detail, result=result)])
