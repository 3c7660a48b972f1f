"""Where variants are tried: with the age left aside, within a time that a person will wait."""

import dataclasses
from collections.abc import Callable

from relay.model.event import Capture, SignatureScheme, Verdict
from relay.model.secret import Secret
from relay.providers.doctor.case import Case, Tried
from relay.providers.schemes import OneOf, Scheme, with_tolerance

DEADLINE = 1.5  # seconds of work
_SHARE = 0.5  # of the time that is left, which one hypothesis may take
AS_RECEIVED = "As received"


class Bench:
    """Tries variants of one case until one fits or the time is up, and remembers what it tried."""

    def __init__(self, case: Case, monotonic: Callable[[], float], deadline: float = DEADLINE) -> None:
        self.case = case
        self.cut = False
        self.matched: list[Secret] = []
        self._monotonic = monotonic
        self._until = monotonic() + deadline
        self._share_until = self._until
        self._tried: dict[tuple[str, str], bool] = {}

    @property
    def own(self) -> tuple[Secret, ...]:
        """Return the secrets that the source checks with."""
        return self.case.source.secrets

    @property
    def tried(self) -> tuple[Tried, ...]:
        """Return what was tried, matches first."""
        rows = [
            Tried(secret=secret, what=what, matched=matched)
            for (secret, what), matched in self._tried.items()
        ]
        return tuple(sorted(rows, key=lambda row: not row.matched))

    def begin_share(self) -> None:
        """Give the next hypothesis its share of the time, so that a costly one leaves some for the others."""
        now = self._monotonic()
        self._share_until = min(now + (self._until - now) * _SHARE, self._until)

    def note(self, secret: Secret, what: str, *, fits: bool) -> bool:
        """Remember that a variant was tried with a secret, and return whether it fits."""
        key = (secret.reference, what)
        self._tried[key] = self._tried.get(key, False) or fits
        if fits:
            self.matched.append(secret)
        return fits

    def fits(
        self,
        secret: Secret,
        what: str,
        *,
        capture: Capture | None = None,
        scheme: SignatureScheme | None = None,
    ) -> bool:
        """Say whether a secret gives the signature of a request, however old; False when time is up."""
        scheme = scheme or self.case.source.scheme
        if scheme is None or self.is_late():
            return False
        given = self.case.capture if capture is None else capture
        ageless = with_tolerance(scheme, None, None)
        verdict = ageless.verify((secret,), given, given.received_at).verdict
        return self.note(secret, what, fits=verdict is Verdict.VERIFIED)

    def is_late(self) -> bool:
        """Say whether the time of this hypothesis is up, and remember it."""
        late = self._monotonic() > self._share_until
        self.cut = self.cut or late
        return late


def leaves(scheme: SignatureScheme | None) -> tuple[Scheme, ...]:
    """Return the single schemes that a source may be checked by."""
    if isinstance(scheme, OneOf):
        return scheme.schemes
    return () if scheme is None else (scheme,)  # type: ignore[return-value]  # all that relay makes are Schemes


def header_names(scheme: SignatureScheme | None) -> tuple[str, ...]:
    """Return the headers a scheme reads, the signature's own first."""
    names: dict[str, None] = {}
    for leaf in leaves(scheme):
        time = getattr(leaf, "time", None)
        for place in (
            getattr(leaf, "place", None),
            getattr(time, "place", None),
            getattr(leaf, "ident", None),
        ):
            named = getattr(place, "names", ())
            names.update(dict.fromkeys(name for name in named if isinstance(name, str)))
    return tuple(names)


def with_body(capture: Capture, body: bytes) -> Capture:
    """Return the request with another body."""
    return dataclasses.replace(capture, body=body)
