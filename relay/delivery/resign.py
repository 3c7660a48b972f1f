"""Signing anew: so that what is replayed verifies at the app, and says so where it cannot."""

from collections.abc import Callable

from relay.actions.outgoing import header_changes
from relay.clock import Clock
from relay.errors import SigningError
from relay.model.delivery import SignMode
from relay.model.event import Capture, Event, Source, Verdict
from relay.model.text import printable


class Resign:
    """Signs outgoing requests for the source an event came from. `source(name)` is None for one gone."""

    def __init__(self, source: Callable[[str], Source | None], clock: Clock) -> None:
        self._source = source
        self._clock = clock

    def __call__(self, event: Event, outgoing: Capture, mode: SignMode) -> tuple[Capture, tuple[str, ...]]:
        """Return the request to send, and notes in plain words on its signature.

        ORIGINAL leaves everything as received. FRESH signs what goes out with the source's newest
        secret, for `outgoing.url` and at this moment. AUTO does so only where the signature as
        received would not verify any more. What cannot be signed goes out as it is, with a note.
        """
        if mode is SignMode.ORIGINAL:
            return outgoing, ()
        source = self._source(event.row.source)
        if source is None or source.scheme is None:
            asked = mode is SignMode.FRESH
            return outgoing, (f"not signed: {event.row.source} has no signature scheme",) if asked else ()
        now = self._clock.now()
        if mode is SignMode.AUTO:
            verdict = source.scheme.verify(source.secrets, outgoing, now).verdict
            if verdict is Verdict.VERIFIED:
                return outgoing, ()
        if not source.secrets:
            missing = ", ".join(source.missing_secrets) or "none is configured"
            return outgoing, (f"original signature: {source.name} has no secret to sign with ({missing})",)
        try:
            signed = source.scheme.sign(source.secrets[0], outgoing, now)
        except SigningError as error:
            return outgoing, (f"original signature: {error.sentence}",)
        return signed, (f"signed anew for {source.name}: {_told(outgoing, signed)}",)


def _told(before: Capture, after: Capture) -> str:
    # A scheme may sign in headers, in the body, in the query, or in several of them.
    places = [name for name in ("query", "body") if getattr(before, name) != getattr(after, name)]
    headers = header_changes(before.headers, after.headers) if before.headers != after.headers else ""
    told = ", ".join([*([headers] if headers else []), *(f"{place} changed" for place in places)])
    return printable(told or "which gives the same signature", 300)
