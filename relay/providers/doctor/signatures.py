"""The signature is right and written differently: another encoding, cut short, or letters and marks changed."""

import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import NamedTuple

from relay.errors import SigningError
from relay.model.secret import Secret
from relay.providers.doctor.case import (
    SignatureCase,
    SignatureFinding,
    VariantTester,
    build_signed_texts,
    find_text_scheme,
    format_secret_name,
)
from relay.providers.schemes import Digest, Hmac, SignedText
from relay.providers.schemes.base import UnreadableError
from relay.providers.schemes.encoding import decode_text

_KIND = "Signature written differently"
_MIN_LENGTH = 10  # characters of a signature that cannot be there by chance
# What quoting in a shell, in YAML or in a log viewer leaves around a value.
_MARKS = b"\"'<>[](){} \t"
_PREFIXES = (b"sha256=", b"sha1=", b"sha512=", b"hmac-sha256=", b"v0=", b"v1=", b"v1,")


class SignatureLikeness(NamedTuple):
    """How a signature received is the expected one: a cause, a title, what happened, and how a scheme declares it."""

    cause: str
    title: str
    sentence: str
    declare: str = ""


def try_rewritten_signature(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Compare what came with the signature that each secret of the source gives, beyond equal texts."""
    scheme = find_text_scheme(tester)
    if not isinstance(scheme, Hmac | Digest):
        return
    received = tuple(_list_received(tester, scheme))
    if not received:
        return
    for secret in tester.own:
        for expected in _list_expected(tester, scheme, secret):
            if tester.is_late():
                return
            found = next((like for text in received if (like := _find_likeness(scheme, expected, text))), None)
            tester.record_trial(secret, _KIND, fits=found is not None)
            if found is not None:
                yield _build_finding(tester.case, secret, found)
                return


def _build_finding(case: SignatureCase, secret: Secret, found: SignatureLikeness) -> SignatureFinding:
    custom = found.declare and case.source.provider == "custom"
    fix = f"Let {case.title}'s header through as it is: nothing between may cut or rewrite it."
    if found.declare:
        fix = f"Let nothing between rewrite it; a sender that always writes it so does not sign as {case.title} does."
    differs = custom and "on the way" not in found.title
    return SignatureFinding(
        cause="other_declaration" if differs else found.cause,
        title=found.title,
        sentence=f"{found.sentence} It fits {format_secret_name(secret)}.",
        fix=f"Correct [sources.{case.source.name}.signature], and restart relay:" if custom else fix,
        line=found.declare if custom else "",
        certain=True,
    )


class ReceivedSignature(NamedTuple):
    """A signature as it may have been meant, `part`, and the whole text that it is a part of."""

    whole: bytes
    part: bytes


def _list_received(tester: VariantTester, scheme: SignedText) -> Iterator[ReceivedSignature]:
    """Return the signatures that came, also where their header cannot be read as it should be."""
    capture = tester.case.capture
    values = scheme.place.read(capture, capture.payload)
    for whole in values if len(values) == 1 else ():
        bare = whole.strip(_MARKS)
        yield from (
            ReceivedSignature(whole, part) for part in dict.fromkeys(_split_header(bare)) if len(part) >= _MIN_LENGTH
        )


def _split_header(text: bytes) -> Iterator[bytes]:
    for prefix in _PREFIXES:
        if text.lower().startswith(prefix):
            yield text[len(prefix) :]
    yield text
    for part in text.replace(b";", b",").replace(b" ", b",").split(b","):
        name, equals, value = part.partition(b"=")
        if equals and value.strip(b"=") and len(name) < _MIN_LENGTH:
            yield value
        yield part


def _list_expected(tester: VariantTester, scheme: Hmac | Digest, secret: Secret) -> Iterator[bytes]:
    key = scheme.read_key(secret)
    if key is None:
        return
    for text in build_signed_texts(scheme, tester.case.capture, key):
        try:
            yield scheme.make(key, text, tester.case.capture)
        except SigningError:
            return


def _find_likeness(scheme: Hmac | Digest, expected: bytes, came: ReceivedSignature) -> SignatureLikeness | None:
    name, part = scheme.place.title, came.part
    if hmac.compare_digest(expected, part):
        if came.whole == part or _is_readable(scheme, came.whole, part):
            return None
        return SignatureLikeness(
            "header_malformed",
            "The text in front of the signature is not the expected one: a prefix or a name is another one",
            f"{name} holds the right signature behind it.",
        )
    for encoding, text in _list_encodings(decode_text(expected.decode(), scheme.encoding) or b""):
        if hmac.compare_digest(text.rstrip(b"="), part.rstrip(b"=")):
            return _explain_encoding(scheme, encoding)
    if part.lower() == expected.lower():
        sentence = f"{name} differs from the right signature in the case of its letters alone."
        return SignatureLikeness("signature_case", "The letters of the signature changed their case", sentence)
    if len(part) < len(expected) and (expected.startswith(part) or expected.endswith(part)):
        end = "end" if expected.startswith(part) else "beginning"
        missing = len(expected) - len(part)
        return SignatureLikeness(
            "signature_cut",
            f"The signature was cut short: {missing} of {len(expected)} characters are missing at its {end}",
            f"What came in {name} is the {'first' if end == 'end' else 'last'} part of the right signature.",
        )
    if len(part) > len(expected) and expected in part:
        sentence = f"{name} holds the right signature with {len(part) - len(expected)} more characters around it."
        return SignatureLikeness("header_malformed", "Something was added to the signature", sentence)
    return None


def _is_readable(scheme: SignedText, whole: bytes, part: bytes) -> bool:
    """Say whether the scheme finds the signature in its header by itself."""
    try:
        return part in scheme.layout.read(whole).signatures
    except UnreadableError:
        return False


def _explain_encoding(scheme: Hmac | Digest, encoding: str) -> SignatureLikeness:
    wanted = {"hex": "hex", "base64": "base64", "base64url": "base64url"}[scheme.encoding]
    name = scheme.place.title
    came = {"base64 of the hex": "the base64 of its hex", "upper-case hex": "upper-case hex"}.get(encoding, encoding)
    declared = encoding if encoding in ("hex", "base64", "base64url") else ""
    title = f"The signature came as {came}, where {wanted} belongs"
    if {encoding, scheme.encoding} == {"base64", "base64url"}:
        title = f"The signature came as {came}: its + and / were changed on the way"
        if scheme.encoding == "base64url":
            title = f"The signature came as {came}: its - and _ were changed on the way"
    sentence = f"{name} holds the right bytes, written as {came}."
    return SignatureLikeness(
        "signature_encoding", title, sentence, f'encoding = "{declared}"' if declared else "any_case = true"
    )


def _list_encodings(raw: bytes) -> Iterator[tuple[str, bytes]]:
    if not raw:
        return
    yield "hex", raw.hex().encode()
    yield "upper-case hex", raw.hex().upper().encode()
    yield "base64", b64encode(raw)
    yield "base64url", urlsafe_b64encode(raw)
    yield "base64 of the hex", b64encode(raw.hex().encode())
