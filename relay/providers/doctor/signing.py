"""Hypotheses on the signing: right but written differently, or by another declaration or provider."""

import dataclasses
import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from relay.errors import SigningError
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS, find_provider, recognise_provider
from relay.providers.doctor.case import (
    KnownSecret,
    SignatureCase,
    SignatureFinding,
    VariantTester,
    build_signed_texts,
    format_secret_name,
)
from relay.providers.provider import Provider
from relay.providers.schemes.base import RefusalError
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import KeyFormat, decode_text
from relay.providers.schemes.shared_secret import Algo, Digest, Hmac
from relay.providers.schemes.signed_text import SignedText
from relay.providers.signature_options import ENCODINGS, KEY_FORMS

_KIND = "Signature written differently"
_MIN_LENGTH = 10  # characters of a signature that cannot match by chance
# Characters that quoting in a shell, YAML or a log viewer leaves around a value.
_MARKS = b"\"'<>[](){} \t"
_PREFIXES = (b"sha256=", b"sha1=", b"sha512=", b"hmac-sha256=", b"v0=", b"v1=", b"v1,")
# Headers that any client sends do not identify a provider.
_COMMON_HEADERS = frozenset({"user-agent", "accept", "accept-encoding", "content-type", "connection", "cache-control"})


class ReceivedSignature(NamedTuple):
    """A possible signature, `part`, and the whole text that contains it."""

    whole: bytes
    part: bytes


class SignatureLikeness(NamedTuple):
    """How a received signature equals the expected one: a cause, a title, what happened, and its declaration."""

    cause: str
    title: str
    sentence: str
    declare: str = ""


def try_rewritten_signature(tester: VariantTester) -> SignatureFinding | None:
    """Compare the received signature with that of each secret of the source, beyond equal texts."""
    scheme = tester.text_scheme
    if not isinstance(scheme, Hmac | Digest):
        return None
    received = tuple(_list_received(tester, scheme))
    for secret in tester.own if received else ():
        for expected in _list_expected(tester, scheme, secret):
            # If the signature is readable and right, the time next to it or another header is wrong.
            if tester.is_late() or any(_is_readable(scheme, text.whole, expected) for text in received):
                return None
            found = next((like for text in received if (like := _find_likeness(scheme, expected, text))), None)
            tester.record_trial(secret, _KIND, fits=found is not None)
            if found is not None:
                return _explain_likeness(tester.case, secret, found)
    return None


def _explain_likeness(case: SignatureCase, secret: Secret, found: SignatureLikeness) -> SignatureFinding:
    declared = bool(found.declare) and case.is_custom
    fix = f"Let {case.title}'s header through as it is: nothing between may cut or rewrite it."
    if found.declare:
        fix = f"Let nothing between rewrite it; a sender that always writes it so does not sign as {case.title} does."
    return SignatureFinding(
        cause="other_declaration" if declared and "on the way" not in found.title else found.cause,
        title=found.title,
        sentence=f"{found.sentence} It fits {format_secret_name(secret)}.",
        fix=case.correct_table if declared else fix,
        line=found.declare if declared else "",
    )


def _list_received(tester: VariantTester, scheme: SignedText) -> Iterator[ReceivedSignature]:
    """Return the received signatures, even if their header is malformed."""
    capture = tester.case.capture
    values = scheme.place.read(capture)
    for whole in values if len(values) == 1 else ():
        parts = dict.fromkeys(_split_header(whole.strip(_MARKS)))
        yield from (ReceivedSignature(whole, part) for part in parts if len(part) >= _MIN_LENGTH)


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
        except (RefusalError, SigningError):
            return


def _find_likeness(scheme: Hmac | Digest, expected: bytes, received: ReceivedSignature) -> SignatureLikeness | None:
    name, part = scheme.place.title, received.part
    if hmac.compare_digest(expected, part):
        if received.whole == part:
            return None
        return SignatureLikeness(
            "header_malformed",
            "The text in front of the signature is not the expected one: a prefix or a name is another one",
            f"{name} holds the right signature behind it.",
        )
    if scheme.encoding == "base64" and hmac.compare_digest(expected.rstrip(b"="), part.rstrip(b"=")):
        # Without + and / it may be base64url, which is mostly written without padding.
        declare = "" if {*b"+/"} & {*part} else 'encoding = "base64url"'
        sentence = f"{name} holds the right signature without the = that ends its base64."
        return SignatureLikeness("signature_encoding", "The signature lost the = at its end", sentence, declare)
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
    """Return whether the scheme finds the signature in its header."""
    try:
        return part in scheme.layout.read(whole).signatures
    except RefusalError:
        return False


def _explain_encoding(scheme: Hmac | Digest, encoding: str) -> SignatureLikeness:
    expected, name = scheme.encoding, scheme.place.title
    declare = f'encoding = "{encoding}"' if encoding in ENCODINGS else "any_case = true"
    title = f"The signature came as {encoding}, where {expected} belongs"
    if {encoding, expected} == {"base64", "base64url"}:
        marks = "+ and /" if expected == "base64" else "- and _"
        title = f"The signature came as {encoding}: its {marks} were changed on the way"
    return SignatureLikeness(
        "signature_encoding", title, f"{name} holds the right bytes, written as {encoding}.", declare
    )


def _list_encodings(raw: bytes) -> Iterator[tuple[str, bytes]]:
    if not raw:
        return
    yield "hex", raw.hex().encode()
    yield "upper-case hex", raw.hex().upper().encode()
    yield "base64", b64encode(raw)
    yield "base64url", urlsafe_b64encode(raw)
    yield "the base64 of its hex", b64encode(raw.hex().encode())


def find_other_provider(tester: VariantTester) -> SignatureFinding | None:
    """Report the provider of the headers if it is not the source's."""
    case = tester.case
    sender = _recognise_other_provider(case)
    if sender is None:
        return None
    fitting = tester.find_fitting_secret((*case.others, *(KnownSecret(secret=secret) for secret in tester.own)), sender)
    header = next((name for name in sender.own_headers if case.capture.header(name) is not None), "")
    fits = f" The signature fits {format_secret_name(fitting.secret)}." if fitting else ""
    source = fitting.source if fitting else ""
    fix = f"Paste the address{f' of source {source}' if source else ''} at {sender.title} instead:"
    line = f"{case.base}/webhooks/{source or sender.name}"
    if fitting and fitting.secret in tester.own:
        # The secret is the source's own, so the address is right: senders by Svix may use either set of headers.
        fix, line = case.choose_provider, f'provider = "{sender.name}"'
    return SignatureFinding(
        cause="other_provider",
        title=f"This looks like a {sender.title} signature",
        sentence=f"The request carries {header}, which {sender.title} sends, and this address checks for "
        f"{case.title}.{fits}",
        fix=fix,
        line=line,
    )


def _recognise_other_provider(case: SignatureCase) -> Provider | None:
    """Return the provider of the received headers, if it is clearly not the source's own."""
    sender = recognise_provider(case.capture)
    if sender is None or sender.name == case.source.provider or case.source.scheme is None:
        return None
    own = find_provider(case.source.provider)
    expected = {name.lower() for name in (*case.header_names, *(own.own_headers if own else ()))}
    present = {name.lower() for name, _ in case.capture.headers}
    # Resend signs with Svix's headers, Gitea also sends GitHub's: the source's own provider takes precedence.
    return None if any(name.lower() in expected for name in sender.own_headers if name.lower() in present) else sender


def try_other_schemes(tester: VariantTester) -> SignatureFinding | None:
    """Try all schemes of the catalogue that could have signed the request."""
    case = tester.case
    identified = _is_identified(case)
    schemes = (
        (provider, scheme)
        for provider in PROVIDERS.values()
        if provider.name != case.source.provider and (not identified or _is_related(case, provider))
        for scheme in provider.schemes
        if scheme.presented(case.capture)
    )
    for (provider, scheme), secret in ((pair, secret) for pair in schemes for secret in tester.own):
        if tester.fits(secret, "Other providers' ways to sign", scheme=scheme):
            return SignatureFinding(
                cause="other_scheme",
                title=f"Signed the way {provider.title} does, not the way {case.title} does",
                sentence=f"{format_secret_name(secret)} gives this signature by {scheme.title} "
                f"as {provider.title} uses it.",
                fix=case.choose_provider,
                line=f'provider = "{provider.name}"',
            )
    return None


def _is_identified(case: SignatureCase) -> bool:
    """Return whether other headers show that the request is from the source's own provider."""
    own = find_provider(case.source.provider)
    if own is None:
        return False
    named = {name.lower() for name in (*own.own_headers, *(name for name, _ in own.companions))}
    named -= {name.lower() for name in case.header_names} | _COMMON_HEADERS
    return any(name.lower() in named for name, _ in case.capture.headers)


def _is_related(case: SignatureCase, provider: Provider) -> bool:
    """Return whether a provider is a variant of the same one, or has its own headers in the request as well."""
    present = {name.lower() for name, _ in case.capture.headers}
    return provider.name.startswith(f"{case.source.provider}-") or any(
        name.lower() in present for name in provider.own_headers
    )


_DIGEST_NAMES: tuple[Algo, ...] = ("sha256", "sha1", "sha512")
_CONTENTS = (
    *("{body}", "{url}{body}", "{body}{url}"),
    *("{method}{url}{body}", "{method}{path}{body}", "{method}{target}{body}"),
)
_TIMED_CONTENTS = (
    *("{timestamp}.{body}", "{timestamp}{body}", "{timestamp}:{body}"),
    *("v0:{timestamp}:{body}", "{body}{timestamp}"),
)
_CONTENTS_WITH_ID = ("{id}.{timestamp}.{body}", "{id}{timestamp}{body}", "{id}.{body}")


def try_other_declarations(tester: VariantTester) -> SignatureFinding | None:
    """Try variations of a declared HMAC: digest, encoding, key and content, one or more of them."""
    case = tester.case
    schemes = case.schemes if case.is_custom else ()
    neighbours = (near for declared in schemes if isinstance(declared, Hmac) for near in _list_neighbours(declared))
    for (variant, lines), secret in ((near, secret) for near in neighbours for secret in tester.own):
        if tester.fits(secret, "Other declarations", scheme=variant):
            named = ", ".join(line.partition(" ")[0] for line in lines)
            return SignatureFinding(
                cause="other_declaration",
                title=f"The declared scheme differs from the sender's: {named}",
                sentence=f"{format_secret_name(secret)} gives this signature with {' and '.join(lines)}.",
                fix=case.correct_table,
                line="\n".join(lines),
            )
    return None


def _list_neighbours(declared: Hmac) -> Iterator[tuple[Hmac, tuple[str, ...]]]:
    """Return the variations of a declared scheme, fewest changes first, each with its lines for relay.toml."""
    written = declared.signed.text.replace("{ts}", "{timestamp}")
    whole = (written.replace("{path}", "{target}"),) if "{path}" in written else ()
    timed = _TIMED_CONTENTS if declared.time else ()
    contents = dict.fromkeys((written, *whole, *_CONTENTS, *timed, *(_CONTENTS_WITH_ID if declared.ident else ())))
    found: list[tuple[Hmac, tuple[str, ...]]] = []
    for algo, encoding, form, content in product(_DIGEST_NAMES, ENCODINGS, KEY_FORMS, contents):
        changes = {
            "digest": (algo, declared.algo),
            "encoding": (encoding, declared.encoding),
            "key": (form, declared.key.form),
            "content": (content, written),
        }
        lines = tuple(f'{name} = "{new}"' for name, (new, old) in changes.items() if new != old)
        if lines:
            signed = declared.signed if content == written else template(content)
            key = declared.key if form == declared.key.form else KeyFormat(form=form)
            found.append((dataclasses.replace(declared, algo=algo, encoding=encoding, key=key, signed=signed), lines))
    yield from sorted(found, key=lambda pair: len(pair[1]))
