"""The signature of an outgoing request: the original one, a new one, or one that an app must refuse."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from relay.actions.outgoing_request import Signing, describe_header_changes
from relay.errors import SigningError
from relay.model.clock import Clock
from relay.model.delivery import DeliveryChanges, SignMode
from relay.model.event import Capture, CapturedEvent, LocalKey, SignatureScheme, Source, Verdict, Verification
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.catalogue import find_provider
from relay.providers.local_keys import find_pair_scheme
from relay.providers.schemes.one_of import with_tolerance

_MARGIN = timedelta(seconds=2)  # seconds between this check and the app's: a signature must stay valid that long
_JUST_RECEIVED = timedelta(minutes=1)
_UNITS = (("days", 86_400, 172_800), ("h", 3_600, 7_200), ("min", 60, 120))  # name, seconds, used from
_AGED = frozenset({"timestamp_stale", "timestamp_future"})


@dataclass(frozen=True, slots=True)
class _SourceKeys:
    """The keys that sign for the source of an event.

    `source(name)` is None for a removed one; `keyed` gives a source a key pair of relay's own if only
    its provider could sign, and raises SigningError.
    """

    source: Callable[[str], Source | None]
    clock: Clock
    keyed: Callable[[Source], Source] = lambda source: source


class RequestSigner(_SourceKeys):
    """Signs outgoing requests for the source of an event."""

    def __call__(self, event: CapturedEvent, outgoing: Capture, signing: Signing) -> tuple[Capture, tuple[str, ...]]:
        """Return the request to send, and notes on its signature.

        ORIGINAL leaves everything as received. FRESH signs the request with the source's newest
        secret, for `outgoing.url` and the current time. AUTO does so only if the signature as
        received would no longer verify, and only for an event that is known to be genuine. A forged
        event is signed only if the user requests FRESH. A request that cannot be signed is unchanged, with
        a note.
        """
        if signing.mode is SignMode.ORIGINAL:
            return outgoing, self._describe_sample(event)
        source = self.source(event.row.source)
        if source is None or source.scheme is None:
            asked = signing.mode is SignMode.FRESH
            return outgoing, (f"not signed: {event.row.source} has no signature scheme",) if asked else ()
        now = self.clock.now()
        if signing.mode is SignMode.AUTO:
            return self._choose_signature(event, source, outgoing, signing, now)
        if not signing.requested and _is_forged(event, source):
            return outgoing, (f"original signature: {_NOT_GENUINE}",)
        return self._sign(source, outgoing, now, "")

    def _choose_signature(
        self, event: CapturedEvent, source: Source, outgoing: Capture, signing: Signing, now: datetime
    ) -> tuple[Capture, tuple[str, ...]]:
        verdicts = [_verify_as_app(source, capture, now) for capture in (*signing.list_received(), outgoing)]
        if any(one.verdict is Verdict.VERIFIED for one in verdicts):
            return outgoing, ()
        if source.local is not None and _verifies_with_local_key(source.local, outgoing, now):
            return outgoing, (source.local.note,)
        is_edited = outgoing.body != event.capture.body or bool(signing.edited_headers)
        if not source.secrets and source.local is None and not is_edited:
            # Whether it still verifies is unknown; the provider's own signature may well.
            is_news = signing.requested or now - event.row.received_at > _JUST_RECEIVED
            return outgoing, _no_secret_note(source) if is_news else ()
        if not _is_genuine(event, source):
            return outgoing, (f"original signature: {_NOT_GENUINE}",)
        reason = _describe_reason(event, verdicts[0], is_edited=is_edited)
        if find_pair_scheme(source) is not None and source.local is None and not is_edited:
            only = f"original signature: only the provider has the key to sign ({reason})"
            return outgoing, (f"{only}; a fresh signature would be made with relay's local key",)
        return self._sign(source, outgoing, now, reason)

    def _sign(self, source: Source, outgoing: Capture, now: datetime, reason: str) -> tuple[Capture, tuple[str, ...]]:
        try:
            source = self.keyed(source)
            if not _find_secrets(source):
                return outgoing, _no_secret_note(source)
            signed = _sign(source, outgoing, now)
        except SigningError as error:
            return outgoing, (f"original signature: {' '.join(filter(None, (error.message, error.hint)))}",)
        if source.local is not None:
            return signed, (source.local.note,)
        changed = _describe_changes(outgoing, signed)
        note = f"signed again: {reason} ({changed})" if reason else f"signed again for {source.name}: {changed}"
        return signed, (note,)

    def _describe_sample(self, event: CapturedEvent) -> tuple[str, ...]:
        """Return the note for a sample that relay signed in place of a provider with its own key."""
        source = self.source(event.row.source) if event.row.sample else None
        if source is None or source.local is None:
            return ()
        fits = _verifies_with_local_key(source.local, event.capture, event.capture.received_at)
        return (source.local.note,) if fits else ()


def describe_signing(event: CapturedEvent, source: Source | None, mode: SignMode) -> str:
    """Return a description of the signature an event is sent with; "" if its source expects none."""
    if source is None or source.scheme is None:
        return ""
    if mode is SignMode.ORIGINAL:
        return "the signature as received"
    if _is_forged(event, source) or (mode is SignMode.AUTO and not _is_genuine(event, source)):
        return f"the signature as received: {_NOT_GENUINE}"
    if not source.secrets and source.local is None:
        return "the signature as received: there is no secret to sign with"
    if mode is SignMode.FRESH:
        return "a fresh signature at each attempt"
    return "the signature as received while it still verifies, else a fresh one, judged at each attempt"


_NOT_GENUINE = "relay did not find this event genuine, and signs it only when sign = fresh is asked for"


def _verify_as_app(source: Source, capture: Capture, now: datetime) -> Verification:
    """Verify a signature as the app will: by the source's age limit and the provider's usual one.

    The app's library has the usual limit (5 minutes at Stripe, Slack and Svix), regardless of `tolerance`.
    """
    assert source.scheme is not None
    provider = find_provider(source.provider)
    usual: SignatureScheme | None = provider.scheme if provider else None
    if usual == source.scheme:
        return source.scheme.verify(source.secrets, capture, now + _MARGIN)
    verification = source.scheme.verify(source.secrets, capture, now)
    if usual is None or verification.verdict is not Verdict.VERIFIED:
        return verification
    by_library = usual.verify(source.secrets, capture, now + _MARGIN)
    # Another verdict has nothing to do with age: the source declares its own scheme.
    return by_library if by_library.reason in _AGED else verification


def _is_genuine(event: CapturedEvent, source: Source) -> bool:
    """Return whether the event is genuine: it verified, verifies by current secrets, or relay made or fetched it."""
    row = event.row
    if row.verdict is Verdict.VERIFIED:
        return True
    if row.verdict is not Verdict.INVALID and (row.sample or row.recovered):
        return True
    return _verifies(source, event.capture)


def _is_forged(event: CapturedEvent, source: Source) -> bool:
    return event.row.verdict is Verdict.INVALID and not _verifies(source, event.capture)


def _verifies(source: Source, capture: Capture) -> bool:
    """Return whether a request verifies by current secrets, at the time it was received."""
    if source.scheme is None:
        return False
    moment = capture.received_at
    if source.scheme.verify(source.secrets, capture, moment).verdict is Verdict.VERIFIED:
        return True
    return source.local is not None and _verifies_with_local_key(source.local, capture, moment)


def _verifies_with_local_key(local: LocalKey, capture: Capture, now: datetime) -> bool:
    return local.scheme.verify((local.secret,), capture, now).verdict is Verdict.VERIFIED


def _describe_reason(event: CapturedEvent, verification: Verification, *, is_edited: bool) -> str:
    """Return why the original signature is no longer usable."""
    if verification.reason in _AGED:
        age = next((check.age for check in verification.checks if check.age is not None), None)
        if age is None:
            return "the original signature is too old"
        old = "old" if age >= 0 else "ahead of this clock"
        return f"the original signature was {_format_duration(abs(age))} {old}"
    if event.row.recovered:
        return "this event was fetched from the provider's API"
    if is_edited:
        return "the request was edited"
    if verification.reason == "signature_missing":
        return "it came without a signature"
    return "the original signature does not verify any more"


def _format_duration(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size, least in _UNITS if seconds >= least), ("s", 1))
    return f"{seconds / size:,.0f} {unit}"


def _no_secret_note(source: Source) -> tuple[str, ...]:
    locked = [f"{reference}: the vault is locked" for reference in source.locked_secrets]
    missing = ", ".join((*source.missing_secrets, *locked)) or "none is configured"
    offer = "; a fresh signature would be made with relay's local key" if find_pair_scheme(source) else ""
    return (f"original signature: {source.name} has no secret to sign with ({missing}){offer}",)


def _describe_changes(before: Capture, after: Capture) -> str:
    # A scheme may sign in headers, in the body, in the query, or in several of them.
    changed = [f"{name} changed" for name in ("query", "body") if getattr(before, name) != getattr(after, name)]
    if before.headers != after.headers:
        changed.insert(0, describe_header_changes(before.headers, after.headers))
    return escape_unprintable(", ".join(changed) or "which gives the same signature", 300)


# Ages of stale signatures, from just beyond the usual five minutes to beyond any sensible limit.
_AGES = (900.0, 7_200.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0, 365 * 86_400.0)
CHARACTER_CLASSES = ("0123456789", "abcdef", "ABCDEF", "ghijklmnopqrstuvwxyz", "GHIJKLMNOPQRSTUVWXYZ")
_MOST_SWAPPED = 4  # letters of a secret that are replaced
_MADE_UP = (
    "whsec_bWFkZS11cC1ieS1yZWxheS1hbmQta25vd24tdG8tYWxs",
    "6d6164652d75702d62792d72656c61792d616e642d6b6e6f776e2d746f2d616c6c",
    "made-up-by-relay:and-known-to-all",
    "made-up-by-relay",
)


class SignatureForger(_SourceKeys):
    """Signs requests so that a correct check refuses them: with an old time or another secret."""

    def __call__(
        self, event: CapturedEvent, outgoing: Capture, changes: DeliveryChanges
    ) -> tuple[Capture, tuple[str, ...]]:
        """Return the request signed as `changes` says: as long ago as `age`, or `forged`; and a note on it.

        Raises SigningError if that is impossible.
        """
        source, now = self._signer(event), self.clock.now()
        if changes.forged:
            forged, how = _forge(source, outgoing, now), "with another secret"
        else:
            then = now - timedelta(seconds=changes.age or 0.0)
            forged, how = _sign(source, outgoing, then), f"as of {changes.age or 0:,.0f} s ago"
        changes_made = describe_header_changes(outgoing.headers, forged.headers)
        return forged, (escape_unprintable(f"signed for {source.name} {how}: {changes_made}", 300),)

    def age(self, event: CapturedEvent) -> float:
        """Return the age in seconds at which a signature of this event's source is refused.

        Raises SigningError if its signatures never expire, or if relay cannot sign for it.
        """
        source, now = self._signer(event), self.clock.now()
        if not _find_secrets(source):
            raise SigningError(_describe_missing_secret(source))
        # Its tolerance may be off here; the app probably uses the provider's default.
        known = find_provider(source.provider)
        usual = replace(source, scheme=known.scheme, local=None) if known and known.scheme else source
        for judge in (source, usual) if source.local is None else (source,):
            for seconds in _AGES:
                if _is_stale_at(judge, event.capture, now, seconds):
                    return seconds
        title = source.title or source.provider
        strict = replace(source, scheme=with_tolerance(_find_scheme(source), 60.0, None), local=None)
        if source.local is None and _is_stale_at(strict, event.capture, now, _AGES[2]):
            raise SigningError(f"{title} signs a time, but sets no limit to its age")
        raise SigningError(f"{title} does not sign a time, so no signature becomes stale")

    def check_forgeable(self, event: CapturedEvent) -> None:
        """Raise SigningError if no wrong signature can be made for this event's source."""
        _forge(self._signer(event), event.capture, self.clock.now())

    def expects_signature(self, event: CapturedEvent) -> bool:
        """Return whether this event's source expects signatures at all."""
        source = self.source(event.row.source)
        return source is not None and source.scheme is not None

    def explain_unsignable(self, event: CapturedEvent) -> str:
        """Return why relay cannot sign for this event's source; "" if it can, or no signature is expected."""
        source = self.source(event.row.source)
        if source is None or source.scheme is None or _find_secrets(source):
            return ""
        return _describe_missing_secret(source)

    def _signer(self, event: CapturedEvent) -> Source:
        source = self.source(event.row.source)
        if source is None or source.scheme is None:
            raise SigningError(f"{event.row.source} expects no signature")
        return source if source.secrets and not find_pair_scheme(source) else self.keyed(source)


def _find_scheme(source: Source) -> SignatureScheme:
    scheme = source.local.scheme if source.local else source.scheme
    assert scheme is not None
    return scheme


def _find_secrets(source: Source) -> tuple[Secret, ...]:
    return (source.local.secret,) if source.local else source.secrets


def _sign(source: Source, capture: Capture, when: datetime) -> Capture:
    secrets = _find_secrets(source)
    if not secrets:
        raise SigningError(_describe_missing_secret(source))
    return _find_scheme(source).sign(secrets[0], capture, when)


def _describe_missing_secret(source: Source) -> str:
    why = [f"{reference} is not set" for reference in source.missing_secrets]
    why += [f"{reference}: the vault is locked" for reference in source.locked_secrets]
    return f"{source.name} has no secret to sign with" + (f" ({', '.join(why)})" if why else "")


def _is_stale_at(source: Source, capture: Capture, now: datetime, seconds: float) -> bool:
    signed = _sign(source, capture, now - timedelta(seconds=seconds))
    return _find_scheme(source).verify(_find_secrets(source), signed, now).reason == "timestamp_stale"


def _forge(source: Source, capture: Capture, now: datetime) -> Capture:
    """Return the request with a well-formed signature that does not verify, checked if a secret is known."""
    scheme, secrets = _find_scheme(source), _find_secrets(source)
    for forged in _iterate_forgeries(scheme, secrets, capture, now):
        if not secrets or scheme.verify(secrets, forged, now).verdict is Verdict.INVALID:
            return forged
    raise SigningError(f"relay knows no wrong signature for {source.title or source.provider}")


def _iterate_forgeries(
    scheme: SignatureScheme, secrets: tuple[Secret, ...], capture: Capture, now: datetime
) -> Iterator[Capture]:
    for text in (alter_secret(secrets[0].reveal()),) if secrets else _MADE_UP:
        try:
            yield scheme.sign(Secret("made up", text), capture, now)
        except SigningError:
            continue
    if secrets:
        # If no other secret has the right form: the signature of another body.
        other = scheme.sign(secrets[0], replace(capture, body=capture.body + b" "), now)
        yield replace(other, body=capture.body)


def alter_secret(text: str) -> str:
    """Return another secret of the same form: some letters in its second half are replaced by others."""
    letters = list(text)
    places = [place for place, letter in enumerate(letters) if any(letter in kind for kind in CHARACTER_CLASSES)]
    for place in places[len(places) // 2 :][:_MOST_SWAPPED]:
        kind = next(kind for kind in CHARACTER_CLASSES if letters[place] in kind)
        letters[place] = kind[(kind.index(letters[place]) + 1) % len(kind)]
    return "".join(letters)
