"""Signatures that an app must refuse, made on purpose: too old, or by somebody who has not the secret."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from relay.actions.outgoing_request import describe_header_changes
from relay.clock import Clock
from relay.errors import SigningError
from relay.model.delivery import DeliveryChanges
from relay.model.event import Capture, CapturedEvent, SignatureScheme, Source, Verdict
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.providers.catalogue import find_provider
from relay.providers.local_keys import find_pair_scheme
from relay.providers.schemes import with_tolerance

# What a signature may be as old as, from just beyond the usual five minutes to beyond any limit that makes sense.
_AGES = (900.0, 7_200.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0, 365 * 86_400.0)
_KINDS = ("0123456789", "abcdef", "ABCDEF", "ghijklmnopqrstuvwxyz", "GHIJKLMNOPQRSTUVWXYZ")
_MOST_SWAPPED = 4  # letters of a secret that are swapped for others
_MADE_UP = (
    "whsec_bWFkZS11cC1ieS1yZWxheS1hbmQta25vd24tdG8tYWxs",
    "6d6164652d75702d62792d72656c61792d616e642d6b6e6f776e2d746f2d616c6c",
    "made-up-by-relay:and-known-to-all",
    "made-up-by-relay",
)


class SignatureForger:
    """Signs requests so that a correct check refuses them.

    `source(name)` is None for one gone; `keyed` gives a source a key pair of relay's own where only its
    provider could sign.
    """

    def __init__(
        self,
        source: Callable[[str], Source | None],
        clock: Clock,
        keyed: Callable[[Source], Source] = lambda source: source,
    ) -> None:
        self._source = source
        self._clock = clock
        self._keyed = keyed

    def __call__(
        self, event: CapturedEvent, outgoing: Capture, changes: DeliveryChanges
    ) -> tuple[Capture, tuple[str, ...]]:
        """Return the request signed as `changes` says: as long ago as `age`, or `forged`; and a note on it.

        Raises SigningError where that is impossible.
        """
        source, now = self._signer(event), self._clock.now()
        if changes.forged:
            forged, how = _forge(source, outgoing, now), "as somebody would who has not its secret"
        else:
            then = now - timedelta(seconds=changes.age or 0.0)
            forged, how = _sign(source, outgoing, then), f"as of {changes.age or 0:,.0f} s ago"
        told = describe_header_changes(outgoing.headers, forged.headers)
        return forged, (escape_unprintable(f"signed for {source.name} {how}: {told}", 300),)

    def age(self, event: CapturedEvent) -> float:
        """Return how many seconds old a signature of this event's source must be to be refused for it.

        Raises SigningError where nothing it signs ever grows stale, or where relay cannot sign for it.
        """
        source, now = self._signer(event), self._clock.now()
        if not _find_secrets(source):
            raise SigningError(_describe_missing_secret(source))
        # Its own tolerance may be off here; the app is likely to keep the provider's.
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
        raise SigningError(f"{title} signs no time, so that nothing grows stale")

    def check_forgeable(self, event: CapturedEvent) -> None:
        """Raise SigningError where no wrong signature can be made for this event's source."""
        _forge(self._signer(event), event.capture, self._clock.now())

    def signs(self, event: CapturedEvent) -> bool:
        """Say whether relay can sign for this event's source, so that a changed body still verifies."""
        source = self._source(event.row.source)
        return source is not None and source.scheme is not None and bool(_find_secrets(source))

    def signed(self, event: CapturedEvent) -> bool:
        """Say whether this event's source expects signatures at all."""
        source = self._source(event.row.source)
        return source is not None and source.scheme is not None

    def explain_unsignable(self, event: CapturedEvent) -> str:
        """Return why relay cannot sign for this event's source, which expects signatures; "" where it can."""
        source = self._source(event.row.source)
        return "" if source is None or not self.signed(event) or self.signs(event) else _describe_missing_secret(source)

    def _signer(self, event: CapturedEvent) -> Source:
        source = self._source(event.row.source)
        if source is None or source.scheme is None:
            raise SigningError(f"{event.row.source} expects no signature")
        return source if source.secrets and not find_pair_scheme(source) else self._keyed(source)


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
    missing = ", ".join(source.missing_secrets)
    return f"{source.name} has no secret to sign with" + (f" ({missing} is not set)" if missing else "")


def _is_stale_at(source: Source, capture: Capture, now: datetime, seconds: float) -> bool:
    signed = _sign(source, capture, now - timedelta(seconds=seconds))
    return _find_scheme(source).verify(_find_secrets(source), signed, now).reason == "timestamp_stale"


def _forge(source: Source, capture: Capture, now: datetime) -> Capture:
    """Return the request with a signature of the right form that does not verify, made sure of where a secret is."""
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
        # Where no other secret has the right form: the signature of another body.
        other = scheme.sign(secrets[0], replace(capture, body=capture.body + b" "), now)
        yield replace(other, body=capture.body)


def alter_secret(text: str) -> str:
    """Return another secret of the same form: some letters of its latter half swapped for others of their kind."""
    letters = list(text)
    places = [place for place, letter in enumerate(letters) if any(letter in kind for kind in _KINDS)]
    for place in places[len(places) // 2 :][:_MOST_SWAPPED]:
        kind = next(kind for kind in _KINDS if letters[place] in kind)
        letters[place] = kind[(kind.index(letters[place]) + 1) % len(kind)]
    return "".join(letters)
