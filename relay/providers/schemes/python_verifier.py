"""A scheme that a user wrote in Python: a class whose word counts, and whose mistakes count as no."""

import inspect
import logging
import traceback
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verdict, Verification
from relay.model.secret import Secret
from relay.providers.schemes.base import build_unchecked, build_verification

log = logging.getLogger(__name__)


class Verifier(Protocol):
    """What `verifier = "verifiers:MyVerifier"` names: a class made without arguments.

    `sign(capture, secret, now)`, which returns the capture signed, is needed only for triggers and
    for replays that sign anew.
    """

    def verify(self, capture: Capture, secrets: tuple[Secret, ...], now: datetime) -> bool | Verification:
        """Judge a request: True for a good signature, False for a bad one, or a Verification that says why."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierScheme:
    """A verifier of the user's own, kept from ever failing a request; `called` is what relay.toml says."""

    verifier: Verifier
    called: str
    name: str = ""

    @property
    def title(self) -> str:
        """Return the verifier's name."""
        return self.called

    def presented(self, capture: Capture) -> bool:
        """Say that any request is for the verifier to judge."""
        del capture
        return True

    def usable(self, secret: Secret) -> bool:
        """Say that any secret is for the verifier to read, but an empty one."""
        return bool(secret.reveal().strip())

    def claims(self, secret: Secret) -> bool:
        """Say that no secret is only ever this scheme's."""
        del secret
        return False

    def tolerating(self, past: float | None, future: float | None) -> Self:
        """Return the scheme itself: the verifier minds the age."""
        del past, future
        return self

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Ask the verifier. An exception, or an answer that is none, gives INVALID and its kind."""
        if not secrets:
            return build_unchecked()
        usable = tuple(secret for secret in secrets if self.usable(secret))
        if not usable:
            return self._conclude("secret_unusable", "the secret is empty", "Unusable")
        try:
            said: object = self.verifier.verify(capture, usable, now)
        except Exception as error:  # noqa: BLE001 - code of the user's own may raise anything, and a request must be answered
            # The message may quote the request or the secret, so only the kind of error is kept.
            log.warning("the verifier %s raised %s", self.called, type(error).__name__)
            return self._conclude(
                "verifier_failed", f"raised {type(error).__name__}{self._where(error, 'verify')}", "Failed"
            )
        if isinstance(said, Verification):
            return said
        if isinstance(said, bool):
            reason, word = ("", "Match") if said else ("signature_mismatch", "No match")
            return self._conclude(reason, "says yes" if said else "says no", word)
        if inspect.iscoroutine(said):
            said.close()
        detail = f"returned {type(said).__name__} where True, False or a Verification was asked for"
        return self._conclude("verifier_failed", detail, "Failed")

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture as the verifier signs it. Raises SigningError where it cannot."""
        make = getattr(self.verifier, "sign", None)
        if make is None:
            raise SigningError(
                f"{self.called} has no sign, so relay cannot sign for this source.",
                hint="add sign(capture, secret, now), which returns the capture signed",
            )
        try:
            signed: object = make(capture, secret, now)
        except Exception as error:
            raise SigningError(
                f"{self.called}.sign raised {type(error).__name__}{self._where(error, 'sign')}."
            ) from error
        if not isinstance(signed, Capture):
            raise SigningError(f"{self.called}.sign returned {type(signed).__name__} in place of a Capture.")
        return signed

    def _where(self, error: Exception, called: str) -> str:
        """Return file and line of the verifier's own code that an exception passed last."""
        frames = traceback.extract_tb(error.__traceback__)[1:]
        if not frames and isinstance(error, TypeError):
            return self._other_arguments(called)
        try:
            own = inspect.getfile(type(self.verifier))
        except (TypeError, OSError):
            own = ""
        frame = next((frame for frame in reversed(frames) if frame.filename == own), None) or (
            frames[-1] if frames else None
        )
        return f" in {Path(frame.filename).name}, line {frame.lineno}" if frame else ""

    def _other_arguments(self, called: str) -> str:
        """Return where a method is written that does not take what relay calls it with."""
        given = {"verify": "(capture, secrets, now)", "sign": "(capture, secret, now)"}[called]
        code = getattr(getattr(type(self.verifier), called, None), "__code__", None)
        place = f" in {Path(code.co_filename).name}, line {code.co_firstlineno}" if code else ""
        return f"{place}: {called} must take {given}"

    def _conclude(self, reason: str, detail: str, result: str) -> Verification:
        passed = not reason
        verification = build_verification(
            reason, [Check(name=self.called, passed=passed, detail=detail, result=result)]
        )
        assert (verification.verdict is Verdict.VERIFIED) == passed
        return verification
