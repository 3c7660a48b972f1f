"""Signing anew: so that what is replayed verifies at the app, and says so where it cannot."""

from collections.abc import Callable
from datetime import datetime

from relay.actions.outgoing import header_changes
from relay.clock import Clock
from relay.errors import SigningError
from relay.model.delivery import SignMode
from relay.model.event import Capture, Event, LocalKey, Source, Verdict
from relay.model.text import printable
from relay.providers.local import paired


class Resign:
    """Signs outgoing requests for the source an event came from.

    `source(name)` is None for one gone; `keyed` gives a source a key pair of relay's own where only
    its provider could sign, and raises SigningError.
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

    def __call__(self, event: Event, outgoing: Capture, mode: SignMode) -> tuple[Capture, tuple[str, ...]]:
        """Return the request to send, and notes in plain words on its signature.

        ORIGINAL leaves everything as received. FRESH signs what goes out with the source's newest
        secret, for `outgoing.url` and at this moment. AUTO does so only where the signature as
        received would not verify any more. What cannot be signed goes out as it is, with a note.
        """
        if mode is SignMode.ORIGINAL:
            return outgoing, self._sampled(event)
        source = self._source(event.row.source)
        if source is None or source.scheme is None:
            asked = mode is SignMode.FRESH
            return outgoing, (f"not signed: {event.row.source} has no signature scheme",) if asked else ()
        now = self._clock.now()
        if mode is SignMode.AUTO:
            verdict = source.scheme.verify(source.secrets, outgoing, now).verdict
            if verdict is Verdict.VERIFIED:
                return outgoing, ()
            if source.local is not None and _fits(source.local, outgoing, now):
                return outgoing, (source.local.note,)
            if not source.secrets and source.local is None and outgoing.body == event.capture.body:
                # Nobody can tell whether it still verifies; the provider's own may well.
                return outgoing, _without_secret(source)
        try:
            return self._anew(self._keyed(source), outgoing, now)
        except SigningError as error:
            return outgoing, (f"original signature: {' '.join(filter(None, (error.sentence, error.hint)))}",)

    def _anew(self, source: Source, outgoing: Capture, now: datetime) -> tuple[Capture, tuple[str, ...]]:
        if source.local is not None:
            return source.local.scheme.sign(source.local.secret, outgoing, now), (source.local.note,)
        if source.scheme is None or not source.secrets:
            return outgoing, _without_secret(source)
        signed = source.scheme.sign(source.secrets[0], outgoing, now)
        return signed, (f"signed anew for {source.name}: {_told(outgoing, signed)}",)

    def _sampled(self, event: Event) -> tuple[str, ...]:
        """Return the note for a sample that relay signed for a provider that alone could."""
        source = self._source(event.row.source) if event.row.sample else None
        if source is None or source.local is None:
            return ()
        fits = _fits(source.local, event.capture, event.capture.received_at)
        return (source.local.note,) if fits else ()


def _fits(local: LocalKey, capture: Capture, now: datetime) -> bool:
    return local.scheme.verify((local.secret,), capture, now).verdict is Verdict.VERIFIED


def _without_secret(source: Source) -> tuple[str, ...]:
    locked = [f"{reference}: the vault is locked" for reference in source.locked_secrets]
    missing = ", ".join((*source.missing_secrets, *locked)) or "none is configured"
    offer = "; a fresh signature would be made with relay's local key" if paired(source) else ""
    return (f"original signature: {source.name} has no secret to sign with ({missing}){offer}",)


def _told(before: Capture, after: Capture) -> str:
    # A scheme may sign in headers, in the body, in the query, or in several of them.
    places = [name for name in ("query", "body") if getattr(before, name) != getattr(after, name)]
    headers = header_changes(before.headers, after.headers) if before.headers != after.headers else ""
    told = ", ".join([*([headers] if headers else []), *(f"{place} changed" for place in places)])
    return printable(told or "which gives the same signature", 300)
