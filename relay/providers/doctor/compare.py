"""The signature as received beside the one each secret gives: for a person's eyes alone."""

from contextlib import suppress

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
    found = read_signed(bench)
    if found is None:
        return (), ()
    scheme, reading, received = found
    # A secret that is no key makes no signature that could be shown.
    secrets = [secret for secret in dict.fromkeys((*bench.own, *bench.matched)) if scheme.usable(secret)]
    compared = tuple(_compared(scheme, secret, reading, received) for secret in secrets)
    return tuple(printable(text, _SHOWN) for text in received), compared


def tail(secret: Secret) -> str:
    """Return the last four characters of a secret; "" for one too short to show any of."""
    text = secret.reveal().strip()
    return printable(text[-4:]) if len(text) >= _TAIL_FROM else ""


def read_signed(
    bench: Bench, *, any_time: bool = False
) -> tuple[SignedText, Reading, tuple[bytes, ...]] | None:
    """Return the scheme a request is checked by, its reading, and the signatures it presents; None if unreadable.

    `any_time` reads it also where its time is missing.
    """
    scheme = single_scheme(bench)
    if scheme is None:
        return None
    try:
        return scheme, *_read(scheme, bench.case.capture, any_time=any_time)
    except UnreadableError:
        return None


def single_scheme(bench: Bench) -> SignedText | None:
    """Return the one scheme that a request is checked by; None where it signs no text."""
    scheme: SignatureScheme | None = bench.case.source.scheme
    if isinstance(scheme, OneOf):
        scheme = choose(leaves(scheme), bench.case.capture, bench.own)
    return scheme if isinstance(scheme, SignedText) else None


def _read(scheme: SignedText, capture: Capture, *, any_time: bool) -> tuple[Reading, tuple[bytes, ...]]:
    payload = capture.payload
    presented = [scheme.layout.read(text) for text in scheme.place.read(capture, payload)]
    ts = next((one.ts for one in presented if one.ts), b"")
    if scheme.time is not None and scheme.time.place is not None:
        values = scheme.time.place.read(capture, payload)
        ts = next(iter(values), b"") if any_time else only(scheme.time.place, capture, payload)
    ident = only(scheme.ident, capture, payload) if scheme.ident else b""
    reading = Reading(
        capture=capture, payload=payload, ts=ts, ident=ident, hashed=scheme.body_hash is not None
    )
    reading.url = spellings(address(capture), scheme.urls)[0]
    return reading, tuple(text for one in presented for text in one.signatures)


def signed_texts(scheme: SignedText, capture: Capture, key: bytes) -> tuple[bytes, ...]:
    """Return the texts that a key may have signed, also where the signature itself cannot be read."""
    payload = capture.payload
    ts = b""
    for text in scheme.place.read(capture, payload):
        with suppress(UnreadableError):
            ts = ts or scheme.layout.read(text).ts or b""
    try:
        if scheme.time is not None and scheme.time.place is not None:
            ts = only(scheme.time.place, capture, payload)
        ident = only(scheme.ident, capture, payload) if scheme.ident else b""
        reading = Reading(
            capture=capture, payload=payload, ts=ts, ident=ident, hashed=scheme.body_hash is not None
        )
        reading.url = spellings(address(capture), ("as_given",))[0]
        return tuple(scheme.texts(key, reading))
    except UnreadableError:
        return ()


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
