"""The input, the variants and the results of the signature doctor."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from relay.errors import SigningError
from relay.model.event import Capture, SignatureScheme, Source, Verdict, Verification
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.provider import Provider
from relay.providers.schemes.base import RefusalError, Scheme, SignatureInput
from relay.providers.schemes.content import sender_address, spell_url
from relay.providers.schemes.locations import read_single
from relay.providers.schemes.one_of import OneOf, choose_scheme, with_tolerance
from relay.providers.schemes.signed_text import SignedText

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of a source in relay.toml


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSecret:
    """A known secret that the source does not use.

    `source` is the one that uses it; "" means that it is only in the environment.
    """

    secret: Secret
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCase:
    """A stored request, with everything that may explain its signature.

    `sender` is the provider of the event. `urls` are further addresses that the sender may
    have called, `base` is the start of its address (`https://hooks.example.dev`). `recent` are
    numbers and bodies of earlier events of the source, newest first.
    """

    capture: Capture
    source: Source
    reason: str = ""
    sender: Provider | None = None
    others: tuple[KnownSecret, ...] = ()
    urls: tuple[str, ...] = ()
    base: str = ""
    recent: tuple[tuple[int, bytes], ...] = ()

    @property
    def title(self) -> str:
        """Return the title of the source's provider."""
        return self.source.title or self.source.name

    @property
    def is_custom(self) -> bool:
        """Return whether the scheme is declared in relay.toml, so that it can be corrected there."""
        return self.source.provider == "custom"

    @property
    def header(self) -> str:
        """Return the table of the source in relay.toml."""
        name = self.source.name
        if not _BARE.fullmatch(name):
            name = json.dumps(name, ensure_ascii=False)
        return f"[sources.{name}]"

    @property
    def new_table(self) -> str:
        """Return the table to add to relay.toml for a path that no source is configured for."""
        if _NAME.fullmatch(self.source.name):
            return self.header
        return f'[sources.new]\npath = "{escape_unprintable(self.source.path)}"'

    @property
    def correct_table(self) -> str:
        """Return the advice to correct the declared scheme, before the line that does."""
        return f"Correct [sources.{self.source.name}.signature], and restart relay:"

    @property
    def choose_provider(self) -> str:
        """Return the advice to name another provider, before the line that does."""
        return f"If that is what sends here, say so under {self.header}, and restart relay:"

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Return the individual schemes of the source."""
        scheme = self.source.scheme
        if isinstance(scheme, OneOf):
            return scheme.schemes
        return () if scheme is None else (scheme,)  # type: ignore[return-value]  # all that relay makes are Schemes

    @property
    def header_names(self) -> tuple[str, ...]:
        """Return the headers that its schemes read, the signature's own first."""
        names: dict[str, None] = {}
        for leaf in self.schemes:
            time = getattr(leaf, "time", None)
            for place in (getattr(leaf, "place", None), getattr(time, "place", None), getattr(leaf, "ident", None)):
                names.update(dict.fromkeys(getattr(place, "names", ())))
        return tuple(names)

    @property
    def signature_header(self) -> str:
        """Return the header of the signature; "" if it is not in a header."""
        return next(iter(self.header_names), "")

    def with_body(self, body: bytes) -> Capture:
        """Return the request with another body."""
        return dataclasses.replace(self.capture, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFinding:
    """A cause: a code, a title, the evidence as a sentence, what to do, and the line to copy."""

    cause: str
    title: str
    sentence: str
    fix: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedVariant:
    """A secret with a kind of variant, and whether any of that kind matched."""

    secret: str
    what: str
    matched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSignature:
    """The signature made with a secret; None if only the provider could make it.

    `tail` is the end of the secret, for comparing with the provider's dashboard; "" for a short one.
    """

    secret: str
    expected: str | None
    matches: bool
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why a signature is as it is, by the current configuration: the proven cause first.

    `received` and `compared` contain signatures: for the user of the dashboard or the terminal,
    never for a log or an export. `cut`: the time ran out before everything was tried.
    """

    verification: Verification
    findings: tuple[SignatureFinding, ...] = ()
    tried: tuple[TriedVariant, ...] = ()
    received: tuple[str, ...] = ()
    compared: tuple[ComparedSignature, ...] = ()
    cut: bool = False


def format_secret_name(secret: Secret) -> str:
    """Return the name of a secret in messages: only the variable if it is in the environment."""
    return secret.reference.removeprefix("env:") or "the secret"


def describe_secret_place(secret: Secret) -> str:
    """Return where a secret can be changed."""
    places = {"env": ".env or the environment", "vault": "the vault"}
    return places.get(secret.reference.partition(":")[0], "its place")


# Measured as CPU time of the thread, so that a busy computer does not find less.
_DEADLINE = 1.5  # seconds of work
_HYPOTHESIS_SHARE = 0.5  # share of the remaining time that a hypothesis may take
AS_RECEIVED = "As received"

Variant = TypeVar("Variant")


class VariantTester:
    """Tries variants of a case until one matches or the time is up, and records what it tried."""

    def __init__(self, case: SignatureCase, monotonic: Callable[[], float]) -> None:
        self.case = case
        self.cut = False
        self.matched: list[Secret] = []
        self._monotonic = monotonic
        self._until = monotonic() + _DEADLINE
        self._share_until = self._until
        self._tried: dict[tuple[str, str], bool] = {}

    @property
    def own(self) -> tuple[Secret, ...]:
        """Return the secrets of the source."""
        return self.case.source.secrets

    @property
    def tried(self) -> tuple[TriedVariant, ...]:
        """Return the tried variants, matches first."""
        rows = (TriedVariant(secret=name, what=what, matched=matched) for (name, what), matched in self._tried.items())
        return tuple(sorted(rows, key=lambda row: not row.matched))

    def begin_share(self) -> None:
        """Start the share of time of the next hypothesis, so that an expensive one leaves some for the others."""
        now = self._monotonic()
        self._share_until = min(now + (self._until - now) * _HYPOTHESIS_SHARE, self._until)

    def record_trial(self, secret: Secret, what: str, *, fits: bool) -> bool:
        """Record that a variant was tried with a secret, and return whether it matches."""
        key = (secret.reference, what)
        self._tried[key] = self._tried.get(key, False) or fits
        if fits:
            self.matched.append(secret)
        return fits

    def fits(
        self, secret: Secret, what: str, *, capture: Capture | None = None, scheme: SignatureScheme | None = None
    ) -> bool:
        """Return whether a secret gives the signature of a request of any age; False if the time is up."""
        scheme = scheme or self.case.source.scheme
        if scheme is None or self.is_late():
            return False
        capture = self.case.capture if capture is None else capture
        verdict = with_tolerance(scheme, None, None).verify((secret,), capture, capture.received_at).verdict
        return self.record_trial(secret, what, fits=verdict is Verdict.VERIFIED)

    def find_match(self, what: str, variants: Iterable[tuple[Variant, Capture]]) -> tuple[Variant, str] | None:
        """Return the first variant whose request matches a secret of the source, with the name of that secret."""
        for variant, capture in variants:
            for secret in self.own:
                if self.fits(secret, what, capture=capture):
                    return variant, format_secret_name(secret)
        return None

    def find_fitting_secret(self, known: Iterable[KnownSecret], sender: Provider) -> KnownSecret | None:
        """Return the first secret that gives the signature by one of a provider's schemes."""
        for item in known:
            for scheme in sender.schemes:
                if self.fits(item.secret, f"As {sender.title} signs", scheme=scheme):
                    return item
        return None

    @property
    def chosen_scheme(self) -> SignatureScheme | None:
        """Return the scheme that the request is checked by; of several the one chosen by its headers."""
        scheme: SignatureScheme | None = self.case.source.scheme
        return choose_scheme(scheme.schemes, self.case.capture, self.own) if isinstance(scheme, OneOf) else scheme

    @property
    def text_scheme(self) -> SignedText | None:
        """Return the scheme that the request is checked by; None if it does not sign a text."""
        scheme = self.chosen_scheme
        return scheme if isinstance(scheme, SignedText) else None

    def read_signature(self, *, any_time: bool = False) -> tuple[SignedText, SignatureInput, tuple[bytes, ...]] | None:
        """Return the scheme of the request, its reading, and the signatures it presents; None if unreadable.

        `any_time` reads it even if its time is missing.
        """
        scheme = self.text_scheme
        try:
            return (scheme, *_read_input(scheme, self.case.capture, any_time=any_time)) if scheme else None
        except RefusalError:
            return None

    def is_late(self) -> bool:
        """Return whether the time of this hypothesis is up, and record it."""
        late = self._monotonic() > self._share_until
        self.cut = self.cut or late
        return late


BODY_ADVICE = "Let every proxy between the provider and relay pass the body on"
BYTES_ADVICE = f"{BODY_ADVICE} byte for byte"
_MIN_TAIL_LENGTH = 16  # minimum length of a secret whose last four characters may be shown
_MAX_SHOWN = 600


def compare_signatures(tester: VariantTester) -> tuple[tuple[str, ...], tuple[ComparedSignature, ...]]:
    """Return the received signatures, and the one made with each secret of the source."""
    found = tester.read_signature()
    if found is None:
        return (), ()
    scheme, signed, received = found
    # A secret that is not a key makes no signature.
    secrets = [secret for secret in dict.fromkeys((*tester.own, *tester.matched)) if scheme.usable(secret)]
    compared: tuple[ComparedSignature, ...] = ()
    # A request that lacks a signed part has no expected signature.
    with suppress(RefusalError):
        compared = tuple(_compare_secret(scheme, secret, signed, received, tester.own) for secret in secrets)
    return tuple(escape_unprintable(text, _MAX_SHOWN) for text in received), compared


def secret_tail(secret: Secret) -> str:
    """Return the last four characters of a secret; "" if it is too short."""
    text = secret.reveal().strip()
    return escape_unprintable(text[-4:]) if len(text) >= _MIN_TAIL_LENGTH else ""


def _read_input(
    scheme: SignedText, capture: Capture, *, any_time: bool = False, lenient: bool = False
) -> tuple[SignatureInput, tuple[bytes, ...]]:
    """Return the input of a request's signature; `lenient` ignores signatures that cannot be parsed."""
    presented = []
    for text in scheme.place.read(capture):
        try:
            presented.append(scheme.layout.read(text))
        except RefusalError:
            if not lenient:
                raise
    ts = next((one.ts for one in presented if one.ts), b"")
    if scheme.time is not None and scheme.time.place is not None:
        values = scheme.time.place.read(capture)
        ts = next(iter(values), b"") if any_time else read_single(scheme.time.place, capture)
    ident = read_single(scheme.ident, capture) if scheme.ident else b""
    signed = SignatureInput(capture=capture, ts=ts, ident=ident, hashed=scheme.body_hash is not None)
    signed.url = spell_url(sender_address(capture), scheme.urls)[0]
    return signed, tuple(text for one in presented for text in one.signatures)


def build_signed_texts(scheme: SignedText, capture: Capture, key: bytes) -> tuple[bytes, ...]:
    """Return the texts that a key may have signed, even if the signature itself cannot be parsed."""
    try:
        return tuple(scheme.texts(key, _read_input(scheme, capture, lenient=True)[0]))
    except RefusalError:
        return ()


def _compare_secret(
    scheme: SignedText, secret: Secret, signed: SignatureInput, received: tuple[bytes, ...], own: tuple[Secret, ...]
) -> ComparedSignature:
    is_changed = secret not in own and any(secret.reference == saved.reference for saved in own)
    name = f"{format_secret_name(secret)}{' (changed)' if is_changed else ''}"
    key, expected, matches = scheme.read_key(secret), None, False
    if key is not None:
        signed.secret = scheme.shared_text(key)
        with suppress(SigningError):
            text = scheme.content(signed)
            matches = scheme.matches(key, text, received, signed.capture)
            expected = scheme.make(key, text, signed.capture).decode("latin-1")
    # How it ends is for comparing with what the provider shows, which is no changed one.
    tail = "" if is_changed else secret_tail(secret)
    return ComparedSignature(secret=name, expected=expected, matches=matches, tail=tail)
