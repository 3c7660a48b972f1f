"""The signature as received beside the one each secret gives: for a person's eyes alone."""

from relay.errors import SigningError
from relay.model.event import Capture, SignatureScheme
from relay.model.secret import Secret
from relay.model.text import printable
from relay.providers.doctor.bench import Bench, leaves
from relay.providers.doctor.case import Compared, name_of
from relay.providers.schemes import OneOf, SignedText, choose
from relay.providers.schemes.base import Reading, UnreadableError
from relay.providers.schemes.places import only
from relay.providers.schemes.urls import address, spellings

_TAIL_FROM = 16  # characters a secret has before its last four may be shown
_SHOWN = 600


def compare(bench: Bench) -> tuple[tuple[str, ...], tuple[Compared, ...]]:
    """Return the signatures received, and the one that each secret of the source gives."""
    scheme = _single(bench)
    if scheme is None:
        return (), ()
    try:
        reading, received = _read(scheme, bench.case.capture)
    except UnreadableError:
        return (), ()
    secrets = dict.fromkeys((*bench.own, *bench.matched))
    compared = tuple(_compared(scheme, secret, reading, received) for secret in secrets)
    return tuple(printable(text, _SHOWN) for text in received), compared


def tail(secret: Secret) -> str:
    """Return the last four characters of a secret; "" for one too short to show any of."""
    text = secret.reveal().strip()
    return printable(text[-4:]) if len(text) >= _TAIL_FROM else ""


def _single(bench: Bench) -> SignedText | None:
    scheme: SignatureScheme | None = bench.case.source.scheme
    if isinstance(scheme, OneOf):
        scheme = choose(leaves(scheme), bench.case.capture, bench.own)
    return scheme if isinstance(scheme, SignedText) else None


def _read(scheme: SignedText, capture: Capture) -> tuple[Reading, tuple[bytes, ...]]:
    payload = capture.payload
    presented = [scheme.layout.read(text) for text in scheme.place.read(capture, payload)]
    ts = next((one.ts for one in presented if one.ts), b"")
    if scheme.time is not None and scheme.time.place is not None:
        ts = only(scheme.time.place, capture, payload)
    ident = only(scheme.ident, capture, payload) if scheme.ident else b""
    reading = Reading(
        capture=capture, payload=payload, ts=ts, ident=ident, hashed=scheme.body_hash is not None
    )
    reading.url = spellings(address(capture), scheme.urls)[0]
    return reading, tuple(text for one in presented for text in one.signatures)


def _compared(scheme: SignedText, secret: Secret, reading: Reading, received: tuple[bytes, ...]) -> Compared:
    key = scheme.read_key(secret)
    expected: str | None = None
    matches = False
    if key is not None:
        reading.secret = scheme.shared_text(key)
        try:
            text = scheme.content(reading)
            matches = scheme.matches(key, text, received, reading.capture)
            expected = scheme.make(key, text, reading.capture).decode("latin-1")
        except (UnreadableError, SigningError):
            expected = None
    return Compared(secret=name_of(secret), expected=expected, matches=matches, tail=tail(secret))
