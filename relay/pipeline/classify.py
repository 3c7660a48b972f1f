"""Classify a request: its verdict, its names, its outcome. Pure: nothing is stored or sent."""

from dataclasses import replace
from datetime import datetime

from relay.model.delivery import matches_any_type
from relay.model.event import (
    Capture,
    CapturedEvent,
    Check,
    EventOutcome,
    NewEvent,
    SignatureScheme,
    Source,
    Verdict,
    Verification,
    VerifyMode,
)
from relay.model.message import MessageTracking
from relay.model.payload import Payload
from relay.model.request_items import Split
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.providers.catalogue import recognise_provider
from relay.providers.sender_urls import set_sender_url

LOCKED = "vault_locked"
_TYPE_LENGTH = 200


def verify(source: Source, capture: Capture, urls: tuple[str, ...], now: datetime) -> tuple[Capture, Verification]:
    """Verify the signature for each of `urls`, which the sender may have signed; pure.

    The capture is returned with the URL whose signature matches, else the first. While a secret of the source is
    in the locked vault, only requests that verify with another one are verified; none is refused, because that secret
    may be the one that matches.
    """
    capture = set_sender_url(capture, urls)
    result = _verify_urls(source, capture, urls[1:], now)
    if not source.locked_secrets or result[1].verdict in (Verdict.VERIFIED, Verdict.UNSIGNED):
        return result
    if source.verify is VerifyMode.OFF:
        return result
    named = ", ".join(source.locked_secrets)
    check = Check(name="Secret", passed=None, detail=f"{named}: the vault is locked", result="Locked")
    return capture, Verification(verdict=Verdict.UNCHECKED, reason=LOCKED, checks=(check,))


def _verify_urls(
    source: Source, capture: Capture, others: tuple[str, ...], now: datetime
) -> tuple[Capture, Verification]:
    if source.verify is VerifyMode.OFF:
        return capture, Verification(verdict=Verdict.UNCHECKED, reason="verification_off")
    if source.scheme is None:
        if source.configured:
            return capture, Verification(verdict=Verdict.UNSIGNED, reason="no_signature_expected")
        return capture, Verification(verdict=Verdict.UNCHECKED, reason="no_source")
    result = capture, Verification(verdict=Verdict.UNCHECKED, reason="secret_missing")
    if source.secrets:
        result = _verify_with_secrets(source.scheme, source.secrets, capture, others, now)
    if source.local is None or result[1].verdict is Verdict.VERIFIED:
        return result
    # A signature that relay did not make is reported as if relay had no key: only the provider's counts then.
    own = _verify_with_secrets(source.local.scheme, (source.local.secret,), capture, others, now)
    return own if own[1].verdict is Verdict.VERIFIED else result


def _verify_with_secrets(
    scheme: SignatureScheme, secrets: tuple[Secret, ...], capture: Capture, others: tuple[str, ...], now: datetime
) -> tuple[Capture, Verification]:
    first = scheme.verify(secrets, capture, now)
    if first.verdict is Verdict.INVALID:
        for url in others:
            elsewhere = capture.called_at(url)
            verification = scheme.verify(secrets, elsewhere, now)
            if verification.verdict is Verdict.VERIFIED:
                return elsewhere, verification
    return capture, first


def adopt_recognised_provider(source: Source, capture: Capture) -> Source:
    """Return an unconfigured source with the extractors and answer of the provider its headers name; pure.

    Its events are named like that provider's and stay unchecked.
    """
    provider = None if source.configured or source.scheme is not None else recognise_provider(capture)
    if provider is None:
        return source
    return replace(
        source,
        provider=provider.name,
        event_type=provider.event_type,
        items=provider.items,
        idempotency_key=provider.idempotency_key,
        summary=provider.summary,
        answer=provider.default_answer,
    )


def classify_event(source: Source, capture: Capture, verification: Verification, *, sample: bool) -> NewEvent:
    """Return the event of a request with its names and outcome; pure."""
    payload = capture.payload
    events = _split_items(source, capture, payload)
    key = source.idempotency_key(capture, payload) if source.idempotency_key else None
    summary = source.summary(capture, payload) if source.summary else None
    types = events.types if events is not None else (_name_type(source, capture, payload),)
    outcome, status, reason = _decide_outcome(source, verification, types)
    return NewEvent(
        capture=capture,
        provider=source.provider,
        type=types[0],
        idempotency_key=escape_unprintable(key, _TYPE_LENGTH) if key else None,
        claims_key=verification.may_act and outcome is not EventOutcome.REJECTED,
        deliver_duplicates=source.deliver_duplicates,
        outcome=outcome,
        verification=verification,
        reason=reason,
        status=status,
        sample=sample,
        summary=escape_unprintable(summary or "", _TYPE_LENGTH),
        events=events,
    )


def _split_items(source: Source, capture: Capture, payload: Payload) -> Split | None:
    """Return the events in a request, each with the type it would have if it were alone.

    None for a source whose requests contain one event each.
    """
    if source.items is None:
        return None
    split = source.items.split(payload)
    return split.typed(tuple([_name_type(source, capture, split.only((place,))) for place in range(len(split))]))


def _name_type(source: Source, capture: Capture, payload: Payload) -> str:
    type_ = source.event_type(capture, payload) if source.event_type else None
    return escape_unprintable(type_ or "unknown", _TYPE_LENGTH)


def _decide_outcome(
    source: Source, verification: Verification, types: tuple[str, ...]
) -> tuple[EventOutcome, int, str]:
    """Return the outcome of a request, the response status, and the reason."""
    if verification.verdict is Verdict.INVALID and source.verify is VerifyMode.ENFORCE:
        return EventOutcome.REJECTED, 401, verification.reason
    if not matches_any_type(types, source.events):
        # A request that waits for the vault has that reason: it may turn out to be a forgery.
        return (
            EventOutcome.IGNORED,
            source.answer.status,
            LOCKED if verification.reason == LOCKED else "event_not_listed",
        )
    return EventOutcome.ACCEPTED, source.answer.status, verification.reason


def classify_again(source: Source, event: CapturedEvent, verification: Verification) -> NewEvent:
    """Return the outcome of a stored event that could not be checked when received; pure.

    Its names and its response stay. It claims its key only if it verifies.
    """
    row = event.row
    outcome, _, reason = _decide_outcome(source, verification, row.types)
    return NewEvent(
        capture=event.capture,
        provider=row.provider,
        type=row.type,
        idempotency_key=row.idempotency_key,
        claims_key=verification.verdict is Verdict.VERIFIED and outcome is not EventOutcome.REJECTED,
        deliver_duplicates=source.deliver_duplicates,
        outcome=outcome,
        verification=verification,
        reason=reason,
        status=row.status,
        sample=row.sample,
        summary=row.summary,
        events=event.split,
    )


def attach_status_reports(event: NewEvent, source: Source) -> NewEvent:
    """Return the event with its message status reports; unchanged if it has none or may not act; pure.

    Reports act if the event was accepted and its sender is not in doubt; while the vault is locked that is unknown,
    and those of events that verify later act then. `source` must be the one configured for the path, never one
    that a request's own headers suggested.
    """
    if source.statuses is None or event.outcome is not EventOutcome.ACCEPTED or not event.verification.may_act:
        return event
    reports = source.statuses(event.capture, event.capture.payload)
    # No sender waits for a response to a recovered event.
    matching = replace(source.matching, unknown=200) if event.recovered else source.matching
    return replace(event, tracked=MessageTracking(reports=reports, matching=matching)) if reports else event
