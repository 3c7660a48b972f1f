"""The signature header: missing, under another name, or written so that it cannot be read."""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from relay.model.event import Capture, Check, Verification
from relay.model.text import escape_unprintable
from relay.providers.doctor.case import (
    SignatureCase,
    SignatureFinding,
    VariantTester,
    format_secret_name,
    list_header_names,
    list_schemes,
)
from relay.providers.schemes import body_hmac
from relay.providers.schemes.locations import with_header

_SHA1 = "SHA-1"
_MAX_HEADERS = 60
_MIN_SIGNATURE, _MAX_SIGNATURE = 16, 1000  # characters of a header that may be a signature
# Older headers that prove less, by the one that counts: each comes alone from an old server.
_LEGACY = {
    "x-hub-signature-256": ("X-Hub-Signature", _SHA1),
    "x-hubspot-signature-v3": ("X-HubSpot-Signature", "the first versions"),
    "webhook-signature": ("X-Gitlab-Token", "a plain token"),
}
_VARIANT_KIND = "Signature header corrected"


class HeaderVariant(NamedTuple):
    """A header value as it may have been sent, and what happened to it."""

    value: str
    happened: str


def find_legacy_signature(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Say when only the older signature of the provider came, and whether it is right."""
    case = tester.case
    for name in _missing_headers(case):
        old, kind = _LEGACY.get(name.lower(), ("", ""))
        value = case.capture.header(old) if old else None
        if value is None:
            continue
        older = body_hmac(old, algo="sha1", prefix="sha1=") if kind == _SHA1 else None
        fits = next((secret for secret in tester.own if older and tester.fits(secret, kind, scheme=older)), None)
        fit = f" It fits {format_secret_name(fits)}, so the secret is right." if fits else ""
        yield SignatureFinding(
            cause="signature_missing",
            title=f"Only the {kind} signature came: {name} is missing",
            sentence=f"Only {old} came, which is {kind} and does not count.{fit} An old server sends nothing else, or "
            f"something removed {name}.",
            fix=f"Update the server that sends this to one that signs with {name} as well, or let {name} through.",
            certain=True,
        )
        return


def try_other_headers(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try every other header as the signature's, where that one is missing."""
    case = tester.case
    for name in _missing_headers(case):
        moved = (
            (other, with_header(case.capture, (name,), variant.value))
            for other, value in case.capture.headers[:_MAX_HEADERS]
            if _MIN_SIGNATURE <= len(value) <= _MAX_SIGNATURE
            for variant in (HeaderVariant(value, ""), *list_header_variants(value))
        )
        found = tester.find_match("Other headers", moved)
        if found is not None:
            yield _explain_moved_signature(case, name, found[0], format_secret_name(found[1]))


def try_repeated_headers(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try each value of a signature header that came more than once, or was joined of several."""
    case = tester.case
    name = next(iter(list_header_names(case.source.scheme)), "")
    values = case.capture.header_values(name) if name else ()
    if len(values) < 2 and "," not in "".join(values):
        return
    parts = dict.fromkeys(part.strip() for value in values for part in (value, *value.split(","), *value.split(", ")))
    found = tester.find_match(_VARIANT_KIND, ((part, with_header(case.capture, (name,), part)) for part in parts))
    if found is not None:
        yield SignatureFinding(
            cause="header_repeated",
            title=f"{name} came more than once, with different values",
            sentence=f"One of them fits {format_secret_name(found[1])}. relay takes a request only where they agree, "
            "for the app may read another one.",
            fix=f"Let {name} be sent once: something between {case.title} and relay adds one of its own.",
            certain=True,
        )


def try_other_ids(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try other ids of the request, where the signature covers one."""
    case = tester.case
    named = [(name, value) for name, value in case.capture.headers[:_MAX_HEADERS] if "id" in name.lower() and value]
    for place in [place for leaf in list_schemes(case.source.scheme) if (place := getattr(leaf, "ident", None))]:
        changed = ((name, place.write(case.capture, value.encode("latin-1"))) for name, value in named)
        found = tester.find_match("Other ids", changed)
        if found is not None:
            name, secret = found
            yield SignatureFinding(
                cause="id_replaced",
                title=f"{place.title} is not the id that was signed",
                sentence=f"The signature fits {format_secret_name(secret)} with the id in "
                f"{escape_unprintable(name, 60)}.",
                fix=f"Let {place.title} through as {case.title} sends it.",
                certain=True,
            )
            return


def _explain_moved_signature(case: SignatureCase, name: str, other: str, secret: str) -> SignatureFinding:
    return SignatureFinding(
        cause="header_renamed",
        title=f"The signature came as {escape_unprintable(other, 60)} instead of {name}",
        sentence=f"Its value fits {secret}: the sender, or something between it and relay, uses another header.",
        fix=f"Let the signature come as {name}."
        if case.source.provider != "custom"
        else f"Correct [sources.{case.source.name}.signature], and restart relay:",
        line=f'header = "{escape_unprintable(other, 60)}"' if case.source.provider == "custom" else "",
        certain=True,
    )


def try_similar_headers(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try a header of nearly the same name, where the signature's own is missing."""
    case = tester.case
    for name in _missing_headers(case):
        similar = [(other, value) for other, value in case.capture.headers if _is_similar(name, other)]
        renamed = ((other, with_header(case.capture, (name,), value)) for other, value in similar)
        found = tester.find_match("Header of a similar name", renamed)
        if found is not None:
            other, secret = found
            yield SignatureFinding(
                cause="header_renamed",
                title=f"The signature came as {escape_unprintable(other, 60)} instead of {name}",
                sentence=f"Its value fits {format_secret_name(secret)}: something between {case.title} and relay "
                "renames headers.",
                fix=f"Let every proxy pass the header {name} on under its own name.",
                certain=True,
            )


def explain_missing_signature(case: SignatureCase, verification: Verification) -> Iterator[SignatureFinding]:
    """Say that there is no signature, and what came instead."""
    if verification.reason != "signature_missing":
        return
    step = _find_failed_check(verification)
    names = list_header_names(case.source.scheme)
    name = next(iter(names), "the signature")
    what = step.detail if step else f"{name} is missing"
    yield SignatureFinding(
        cause="signature_missing",
        title="No signature header" if case.capture.header(name) is None else "Part of what is signed is missing",
        sentence=f"{what}: something removed it, or this is not {case.title}.",
        fix=f"Look at the Headers tab for what came, and set the secret at {case.title} if it signs only with one.",
    )


def try_header_variants(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try the signature header as it may have been written."""
    case = tester.case
    name = next(iter(list_header_names(case.source.scheme)), "")
    value = case.capture.header(name) if name else None
    if value is None:
        return
    variants = (variant for variant in list_header_variants(value) if variant.value != value)
    changed = ((variant, with_header(case.capture, (name,), variant.value)) for variant in variants)
    found = tester.find_match(_VARIANT_KIND, changed)
    if found is not None:
        variant, secret = found
        yield SignatureFinding(
            cause="header_malformed",
            title=f"The signature header was changed: {variant.happened}",
            sentence=f"{name} fits {format_secret_name(secret)} once that is undone.",
            fix=f"Send {name} exactly as {case.title} writes it, and let nothing between rewrite it.",
            certain=True,
        )


def explain_malformed_signature(case: SignatureCase, verification: Verification) -> Iterator[SignatureFinding]:
    """Say which part of the signature cannot be read."""
    if verification.reason not in ("header_malformed", "body_malformed"):
        return
    step = _find_failed_check(verification)
    in_body = verification.reason == "body_malformed"
    name = next(iter(list_header_names(case.source.scheme)), "")
    shown = "" if in_body or not name else f" It came as: {_outline_header(case.capture, name)}."
    detail = step.detail if step else "it is not in the form this provider uses"
    yield SignatureFinding(
        cause=verification.reason,
        title="The body lacks what is signed" if in_body else "Signature header cannot be read",
        sentence=f"{detail}.{shown}",
        fix=f"Compare it with what {case.title} sends; something between may have cut or rewritten it.",
    )


def list_header_variants(value: str) -> Iterator[HeaderVariant]:
    """Return a header value as it may have been sent, the likeliest change first."""
    yield HeaderVariant(re.sub(r"(?<!\s)\s*([,;=])\s*", r"\1", value.strip()), "spaces were put in")
    yield HeaderVariant(value.strip("\"' "), "quotes were put around it")
    yield HeaderVariant(unquote(value), "it was percent-encoded")
    yield HeaderVariant(value.lower(), "its hex is in upper case")
    yield HeaderVariant(value.replace("-", "+").replace("_", "/"), "its base64 is in the URL form")
    yield HeaderVariant(value.replace(" ", "+"), "its plus signs became spaces")
    yield HeaderVariant(value.replace("\\", ""), "backslashes were put in")
    for prefix in ("sha256=", "sha1=", "v0=", "v1=", "v1,"):
        if value.startswith(prefix):
            yield HeaderVariant(value.removeprefix(prefix), f"{prefix} was put in front")
        else:
            yield HeaderVariant(prefix + value, f"{prefix} in front is missing")


def _missing_headers(case: SignatureCase) -> tuple[str, ...]:
    return tuple(name for name in list_header_names(case.source.scheme)[:1] if case.capture.header(name) is None)


def _is_similar(name: str, other: str) -> bool:
    wanted, found = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (name, other))
    return name.lower() != other.lower() and (wanted in found or wanted.removeprefix("x") == found)


def _find_failed_check(verification: Verification) -> Check | None:
    return next((check for check in verification.checks if check.passed is False), None)


def _outline_header(capture: Capture, name: str) -> str:
    # The outline alone: what follows each name may be a signature that is still good.
    value = capture.header(name) or ""
    outline = re.sub(r"(?<![^=,; ])([\w+/.-]{5,}=*)(?![^,; ])", lambda match: f"{match[1][:2]}…", value)
    return escape_unprintable(outline, 100) or "nothing"
