"""Setup handshakes: recognise them, decide whether and how to answer, and what the user still has to do."""

import hmac
import re
from dataclasses import replace
from datetime import datetime

from relay.model.event import Capture, Check, EventOutcome, NewEvent, Source, Verdict, Verification
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.catalogue import find_provider
from relay.providers.generic_challenges import GENERIC_CHALLENGES, WITHOUT_PROVIDER, Challenge, ChallengeReply, Proof

HANDSHAKE_STEP = "Handshake"
HANDSHAKE_TYPE = "handshake"
_SUMMARY_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeOutcome:
    """The outcome of a setup handshake. `reply` None refuses it with `status`."""

    name: str
    verification: Verification
    status: int
    reply: ChallengeReply | None = None


def find_challenge(provider: str, capture: Capture) -> tuple[Challenge, str] | None:
    """Return the handshake of a request with its challenge; None for an ordinary request."""
    entry = find_provider(provider)
    known = GENERIC_CHALLENGES if provider in WITHOUT_PROVIDER else entry.challenges if entry else ()
    for challenge in known:
        value = challenge.read(capture)
        if value is not None:
            return challenge, value
    return None


def find_offered_secret(provider: str, capture: Capture) -> str:
    """Return the secret that a handshake offered; "" if it offered none."""
    found = find_challenge(provider, capture)
    reply = found[0].reply(found[1], None) if found else None
    return reply.offered if reply else ""


def answer_challenge(
    source: Source, capture: Capture, verification: Verification, now: datetime
) -> ChallengeOutcome | None:
    """Return the outcome of a handshake of the source's provider; None for any other request.

    `verification` is that of the signature; if a handshake is proven by a
    verify token, or needs no proof and has none, the returned one says so instead. Pure.
    """
    found = find_challenge(source.provider, capture)
    if found is None:
        return None
    challenge, value = found
    by_token = challenge.proof is Proof.TOKEN
    if by_token:
        verification = _check_verify_token(source.verify_tokens, challenge.token(capture), source.locked_tokens)
    elif challenge.proof is Proof.NONE and verification.verdict is not Verdict.VERIFIED:
        verification = Verification(verdict=Verdict.UNSIGNED, reason="handshake")
    if verification.verdict is Verdict.INVALID or (by_token and verification.verdict is Verdict.UNCHECKED):
        # Meta wants 403 for a wrong verify token; a wrong signature is 401 as for events.
        return ChallengeOutcome(name=challenge.name, verification=verification, status=403 if by_token else 401)
    # The challenge is answered with the secret that signed it, in case two are accepted.
    reply = challenge.reply(value, _find_signing_secret(source, capture, now))
    if reply is None:
        verification = _explain_unanswerable(source, challenge, verification)
        return ChallengeOutcome(name=challenge.name, verification=verification, status=403)
    answered = Check(name=HANDSHAKE_STEP, passed=True, detail=f"{challenge.name}, answered", result=str(reply.status))
    verification = replace(verification, checks=(*verification.checks, answered))
    return ChallengeOutcome(name=challenge.name, verification=verification, status=reply.status, reply=reply)


def build_challenge_event(source: Source, capture: Capture, handshake: ChallengeOutcome) -> NewEvent:
    """Return a handshake as an event without an idempotency key; pure."""
    verification, reply = handshake.verification, handshake.reply
    variable = default_secret_variable(source)
    todo = f": {reply.todo.format(variable=variable)}" if reply and reply.todo else ""
    answered = EventOutcome.REJECTED if reply is None else EventOutcome.ACCEPTED
    delivers = reply is None or source.deliver_handshakes
    status = source.answer.status if reply and reply.body is None else handshake.status
    return NewEvent(
        capture=capture,
        provider=source.provider,
        type=HANDSHAKE_TYPE,
        idempotency_key=None,
        claims_key=False,
        deliver_duplicates=False,
        outcome=answered,
        verification=verification,
        reason=verification.reason if delivers else "handshake",
        status=status,
        summary=escape_unprintable(handshake.name + todo, _SUMMARY_LENGTH),
    )


def default_secret_variable(source: Source) -> str:
    """Return the usual variable of a source's secret."""
    provider = find_provider(source.provider)
    if provider is not None:
        return provider.secret_variable
    return f"{re.sub(r'[^A-Z0-9]+', '_', source.name.upper())}_SECRET"


def _check_verify_token(tokens: tuple[Secret, ...], presented: str, locked: tuple[str, ...]) -> Verification:
    if not tokens and not locked:
        check = Check(name="Verify token", passed=False, detail="no verify token is configured", result="Unknown")
        return Verification(verdict=Verdict.UNCHECKED, reason="secret_missing", checks=(check,))
    for token in tokens:
        if hmac.compare_digest(token.reveal().encode("utf-8", "replace"), presented.encode("utf-8", "replace")):
            check = Check(name="Verify token", passed=True, detail=f"{token.reference} fits", result="Match")
            return Verification(verdict=Verdict.VERIFIED, checks=(check,))
    if locked:
        named = f"{', '.join(locked)}: the vault is locked"
        check = Check(name="Verify token", passed=None, detail=named, result="Locked")
        return Verification(verdict=Verdict.UNCHECKED, reason="vault_locked", checks=(check,))
    check = Check(name="Verify token", passed=False, detail="it is another token", result="No match")
    return Verification(verdict=Verdict.INVALID, reason="signature_mismatch", checks=(check,))


def _find_signing_secret(source: Source, capture: Capture, now: datetime) -> Secret | None:
    """Return the secret that signed the request if two are accepted, else the newest."""
    if source.scheme is not None and len(source.secrets) > 1:
        for secret in source.secrets:
            if source.scheme.verify((secret,), capture, now).verdict is Verdict.VERIFIED:
                return secret
    return source.secrets[0] if source.secrets else None


def _explain_unanswerable(source: Source, challenge: Challenge, verification: Verification) -> Verification:
    if source.locked_secrets:
        reason, why = "vault_locked", "it cannot be answered while the vault is locked"
    elif source.secrets:
        reason, why = "body_malformed", "what it asks for is not what this provider sends"
    else:
        reason, why = "secret_missing", "it cannot be answered without the secret"
    check = Check(name=HANDSHAKE_STEP, passed=False, detail=f"{challenge.name}: {why}", result="Not answered")
    return Verification(verdict=Verdict.UNCHECKED, reason=reason, checks=(*verification.checks, check))
