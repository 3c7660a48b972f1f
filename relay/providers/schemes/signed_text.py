"""The base of all schemes that sign a text: parse, check the age, build the text, compare."""

import dataclasses
import hashlib
import re
from abc import abstractmethod
from dataclasses import field
from datetime import datetime
from typing import Any, Self

from relay.errors import SigningError
from relay.model.event import Capture, Check
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.schemes.base import (
    HEADER_STEP,
    RefusalError,
    SignatureInput,
    SteppedScheme,
    build_check,
    format_reference,
    read_keys,
    to_wire_bytes,
)
from relay.providers.schemes.content import CONTENT_STEP, BodyHash, Template, UrlForm, sender_address, spell_url
from relay.providers.schemes.encoding import KeyFormat, Layout, ParsedSignature, Prefix
from relay.providers.schemes.locations import InEveryHeader, Location, read_single
from relay.providers.schemes.timestamps import Time


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedText(SteppedScheme):
    """A signature at `place`, laid out as `layout`, over the text that `signed` describes.

    `ident` is where the delivery id is when it is signed; `urls` are the spellings of the
    address that may match. `only_if` is a header and the value without which a request is of
    another version of the scheme. `expects` are headers that must fit a pattern where they are there.
    """

    signed: Template
    place: Location
    key: KeyFormat = field(default_factory=KeyFormat)
    layout: Layout = field(default_factory=Prefix)
    time: Time | None = None
    ident: Location | None = None
    urls: tuple[UrlForm, ...] = ("as_given",)
    body_hash: BodyHash | None = None
    only_if: tuple[str, str] | None = None
    expects: tuple[tuple[str, str], ...] = ()

    def step(self, capture: Capture) -> str:
        """Return the step with the algorithm of this request. Raises RefusalError."""
        del capture
        return self.title

    @abstractmethod
    def matches(self, key: Any, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Return whether any of the signatures matches, compared in constant time."""

    @abstractmethod
    def make(self, key: Any, text: bytes, capture: Capture) -> bytes:
        """Return the encoded signature. Raises SigningError."""

    def content(self, reading: SignatureInput) -> bytes:
        """Return the signed text. Raises RefusalError if a part is missing in the request."""
        return self.signed.render(reading)

    def describe(self, reading: SignatureInput) -> str:
        """Return a description of the signed text. Raises RefusalError if a part is missing in the request."""
        return self.signed.describe(reading)

    def shared_text(self, key: Any) -> bytes:
        """Return the value of `{secret}` in the signed text."""
        shared: bytes = key
        return shared

    def read_key(self, secret: Secret) -> Any:
        """Return the key of a secret, its bytes or a KeyPair; None if it has another form."""
        return self.key.read(secret)

    def usable(self, secret: Secret) -> bool:
        return self.read_key(secret) is not None

    def claims_secret(self, secret: Secret) -> bool:
        return self.key.claimed(secret)

    def presented(self, capture: Capture) -> bool:
        if self.only_if is not None and capture.header(self.only_if[0]) != self.only_if[1]:
            return False
        return any(self._reads(text) for text in self.place.read(capture))

    def tolerating(self, past: float | None, future: float | None) -> Self:
        if self.time is None:
            return self
        return dataclasses.replace(self, time=dataclasses.replace(self.time, past=past, future=future))

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with a signature made at `now`. Raises SigningError if that is impossible."""
        key = self.read_key(secret)
        if key is None:
            raise SigningError(
                f"{secret.reference or 'The secret'} is not in the form that {self.title} needs here.",
                hint="copy the secret again from the provider's page",
            )
        ts = self.time.write(now) if self.time else b""
        ready = self.prepare(capture, ts)
        url = to_wire_bytes(sender_address(ready))
        reading = SignatureInput(capture=ready, ts=ts, url=url, hashed=self.body_hash is not None)
        reading.secret = self.shared_text(key)
        try:
            reading.ident = read_single(self.ident, ready) if self.ident else b""
            text = self.content(reading)
            signature = self.make(key, text, ready)
        except RefusalError as problem:
            raise SigningError(f"The request cannot be signed: {problem.check.detail}.") from problem
        return self.finish(key, text, self.place.write(ready, self.layout.write(signature, ts)))

    def finish(self, key: Any, text: bytes, capture: Capture) -> Capture:
        """Return the signed capture with the provider's further headers of the same text."""
        del key, text
        return capture

    # The steps are in the order shown: header, age, content, comparison. A wrong signature outweighs a
    # wrong age, because an unsigned time proves nothing.
    def check(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime, checks: list[Check]) -> str:
        presented = self._present(capture)
        title = self.place.title
        detail = f"{title} with {presented.words}" if presented.words else title
        checks.append(build_check(HEADER_STEP, detail, "Present"))
        self._expect(capture)
        ts, late = presented.ts, ""
        if self.time is not None:
            ts = read_single(self.time.place, capture) if self.time.place else ts
            late, check = self.time.check_age(ts, now)
            checks.append(check)
        ident = read_single(self.ident, capture) if self.ident else b""
        reading = SignatureInput(capture=capture, ts=ts, ident=ident)
        if self.signed.uses_address:
            reading.url = to_wire_bytes(sender_address(capture))
        hashed = self.body_hash.check(reading) if self.body_hash is not None else None
        checks += [hashed] if hashed is not None else []
        checks.append(build_check(CONTENT_STEP, self.describe(reading), "Built"))
        self._compare(secrets, reading, presented.signatures, checks)
        return late if hashed is None or hashed.passed else "signature_mismatch"

    def _present(self, capture: Capture) -> ParsedSignature:
        if isinstance(self.place, InEveryHeader):
            return self._present_every(self.place.read(capture))
        text = read_single(self.place, capture)
        try:
            return self.layout.read(text)
        except RefusalError as problem:
            raise RefusalError(problem.reason, f"{self.place.title} {problem.check.detail}") from problem

    def _present_every(self, values: tuple[bytes, ...]) -> ParsedSignature:
        if not any(value.strip() for value in values):
            raise RefusalError("signature_missing", f"{self.place.title} is missing", result="Missing")
        read = [self.layout.read(value) for value in values if self._reads(value)]
        if not read:
            raise RefusalError("header_malformed", f"{self.place.title} cannot be read")
        return ParsedSignature(tuple(item for one in read for item in one.signatures), read[0].ts)

    def _expect(self, capture: Capture) -> None:
        for name, pattern in self.expects:
            for value in capture.header_values(name):
                if not re.fullmatch(pattern, value):
                    detail = f"{name} is {escape_unprintable(value, 80) or 'empty'}, which this provider does not send"
                    raise RefusalError("header_malformed", detail, step=name)

    def _reads(self, text: bytes) -> bool:
        try:
            self.layout.read(text)
        except RefusalError:
            return False
        return True

    def _compare(
        self, secrets: tuple[Secret, ...], reading: SignatureInput, signatures: tuple[bytes, ...], checks: list[Check]
    ) -> None:
        step = self.step(reading.capture)
        alone = format_reference(secrets[0]) if len(secrets) == 1 else ""
        named = alone or f"none of the {len(secrets)} secrets"
        problem = f"{named} cannot be read as a key of this scheme"
        for secret, key in read_keys(secrets, self.read_key, step, problem):
            for text in self.texts(key, reading):
                if self.matches(key, text, signatures, reading.capture):
                    checks.append(build_check(step, f"{format_reference(secret)} fits", "Match"))
                    return
        detail = f"{named} gives {'another' if alone else 'this'} signature"
        raise RefusalError("signature_mismatch", detail, result="No match", step=step)

    def texts(self, key: Any, reading: SignatureInput) -> list[bytes]:
        """Return the signed text for each spelling of the address."""
        reading.secret = self.shared_text(key)
        if not self.signed.uses_url:
            return [self.content(reading)]
        texts = []
        for url in spell_url(sender_address(reading.capture), self.urls):
            reading.url = url
            texts.append(self.content(reading))
        return texts

    def prepare(self, capture: Capture, ts: bytes) -> Capture:
        """Return the capture with a fresh time, an id and a body hash, but not the signature."""
        if self.time is not None and self.time.place is not None:
            capture = self.time.place.write(capture, ts)
            capture = self.time.copy.write(capture, ts) if self.time.copy else capture
        if self.ident is not None:
            # A replay keeps the delivery id, so that the app's own check for duplicates is exercised.
            kept = next(iter(self.ident.read(capture)), b"").strip()
            capture = self.ident.write(capture, kept or _make_id(capture, ts))
        if self.body_hash is not None:
            capture = self.body_hash.write(capture)
        return capture


# Apps drop known delivery ids, so the same request must not get a random one.
def _make_id(capture: Capture, ts: bytes) -> bytes:
    """Return an id in the format of Standard Webhooks; the same request at the same time gets the same id."""
    digest = hashlib.sha256(b"\0".join((capture.source.encode("utf-8", "replace"), ts, capture.body)))
    return b"msg_" + digest.hexdigest()[:27].encode()
