"""Hypotheses on the head: signature missing, renamed or malformed, another id, or another address."""

import dataclasses
import re
from collections.abc import Iterator
from itertools import islice, product
from urllib.parse import unquote, urlsplit

from relay.model.event import Capture, Check, Verification
from relay.model.text import escape_unprintable
from relay.providers.doctor.case import SignatureCase, SignatureFinding, VariantTester, format_secret_name
from relay.providers.schemes.base import HEADER_STEP
from relay.providers.schemes.content import sender_address
from relay.providers.schemes.encoding import Prefix
from relay.providers.schemes.locations import with_header
from relay.providers.schemes.shared_secret import header_hmac
from relay.providers.schemes.timestamps import TIMESTAMP_STEP
from relay.providers.schemes.vendor_schemes import Sns

_SHA1 = "the SHA-1 signature"
_MAX_HEADERS = 60
_MIN_SIGNATURE, _MAX_SIGNATURE = 16, 1000  # characters of a header that may be a signature
# Older, weaker headers by the current one: old servers send only them. HubSpot's older header is valid if
# another header names its version.
_LEGACY = {
    "x-hub-signature-256": ("X-Hub-Signature", _SHA1, "X-Hub-Signature-256"),
    "x-hubspot-signature-v3": ("X-HubSpot-Signature", "an older signature", "X-HubSpot-Signature-Version"),
    "webhook-signature": ("X-Gitlab-Token", "the plain token", "webhook-signature"),
}
_VARIANT_KIND = "Signature header corrected"
_MAX_ADDRESSES = 600
# Headers with the original path from proxies that rewrite it: nginx, Traefik, Envoy and IIS.
_ORIGINAL_URL_HEADERS = (
    "X-Original-URI",  # nginx, in the usual setup of auth_request
    "X-Forwarded-Uri",  # Traefik
    "X-Envoy-Original-Path",  # Envoy, and so Istio
    "X-Original-URL",  # IIS with URL Rewrite
    "X-Rewrite-URL",  # ISAPI rewriters of IIS
)


def find_legacy_signature(tester: VariantTester) -> SignatureFinding | None:
    """Report if only the provider's older signature was received, and whether it is right."""
    case, name = tester.case, _find_missing_header(tester.case)
    old, kind, lost = _LEGACY.get(name.lower(), ("", "", ""))
    if not old or case.capture.header(old) is None:
        return None
    older = header_hmac(old, layout=Prefix(b"sha1="), algo="sha1") if kind == _SHA1 else None
    fits = next((secret for secret in tester.own if older and tester.fits(secret, kind, scheme=older)), None)
    fit = f" It fits {format_secret_name(fits)}, so the secret is right." if fits else ""
    return SignatureFinding(
        cause="signature_missing",
        title=f"Only {kind} came: {lost} is missing",
        sentence=f"Only {old} came, which does not count alone.{fit} An old server sends nothing else, or something "
        f"removed {lost}.",
        fix=f"Update the server that sends this to one that signs with {name} as well, or let {lost} through.",
    )


def try_other_headers(tester: VariantTester) -> SignatureFinding | None:
    """Try all other headers as the signature, if that is missing."""
    case, name = tester.case, _find_missing_header(tester.case)
    moved = (
        (other, with_header(case.capture, (name,), text))
        for other, value in case.capture.headers[:_MAX_HEADERS]
        if name and _MIN_SIGNATURE <= len(value) <= _MAX_SIGNATURE
        for text in (value, *(changed for changed, _ in list_header_variants(value)))
    )
    found = tester.find_match("Other headers", moved)
    if found is None:
        return None
    other = escape_unprintable(found[0], 60)
    return SignatureFinding(
        cause="header_renamed",
        title=f"The signature came as {other} instead of {name}",
        sentence=f"Its value fits {found[1]}: the sender, or something between it and relay, uses another header.",
        fix=case.correct_table if case.is_custom else f"Let the signature come as {name}.",
        line=f'header = "{other}"' if case.is_custom else "",
    )


def try_similar_headers(tester: VariantTester) -> SignatureFinding | None:
    """Try a header with a similar name, if the signature header is missing."""
    case, name = tester.case, _find_missing_header(tester.case)
    similar = ((other, value) for other, value in case.capture.headers if name and _is_similar(name, other))
    found = tester.find_match(
        "Header of a similar name", ((other, with_header(case.capture, (name,), value)) for other, value in similar)
    )
    if found is None:
        return None
    return SignatureFinding(
        cause="header_renamed",
        title=f"The signature came as {escape_unprintable(found[0], 60)} instead of {name}",
        sentence=f"Its value fits {found[1]}: something between {case.title} and relay renames headers.",
        fix=f"Let every proxy pass the header {name} on under its own name.",
    )


def try_repeated_headers(tester: VariantTester) -> SignatureFinding | None:
    """Try each value of a signature header that is repeated or joined."""
    case = tester.case
    name = case.signature_header
    values = case.capture.header_values(name) if name else ()
    if len(values) < 2 and "," not in "".join(values):
        return None
    parts = dict.fromkeys(part.strip() for value in values for part in (value, *value.split(","), *value.split(", ")))
    found = tester.find_match(_VARIANT_KIND, ((part, with_header(case.capture, (name,), part)) for part in parts))
    if found is None:
        return None
    return SignatureFinding(
        cause="header_repeated",
        title=f"{name} came more than once, with different values",
        sentence=f"One of them fits {found[1]}. relay takes a request only where they agree, "
        "for the app may read another one.",
        fix=f"Let {name} be sent once: something between {case.title} and relay adds one of its own.",
    )


def try_header_variants(tester: VariantTester) -> SignatureFinding | None:
    """Try variants of the signature header."""
    case = tester.case
    name = case.signature_header
    value = (case.capture.header(name) or "") if name else ""
    variants = ((happened, changed) for changed, happened in list_header_variants(value) if changed != value)
    changed = ((happened, with_header(case.capture, (name,), text)) for happened, text in variants)
    found = tester.find_match(_VARIANT_KIND, changed) if value else None
    if found is None:
        return None
    return SignatureFinding(
        cause="header_malformed",
        title=f"The signature header was changed: {found[0]}",
        sentence=f"{name} fits {found[1]} once that is undone.",
        fix=f"Send {name} exactly as {case.title} writes it, and let nothing between rewrite it.",
    )


def list_header_variants(value: str) -> Iterator[tuple[str, str]]:
    """Return possible originals of a header value, the likeliest change first, each with the change."""
    yield re.sub(r"(?<!\s)\s*([,;=])\s*", r"\1", value.strip()), "spaces were put in"
    yield value.strip("\"' "), "quotes were put around it"
    yield unquote(value), "it was percent-encoded"
    yield value.lower(), "its hex is in upper case"
    yield value.replace("-", "+").replace("_", "/"), "its base64 is in the URL form"
    yield value.replace(" ", "+"), "its plus signs became spaces"
    yield value.replace("\\", ""), "backslashes were put in"
    for prefix in ("sha256=", "sha1=", "v0=", "v1=", "v1,"):
        if value.startswith(prefix):
            yield value.removeprefix(prefix), f"{prefix} was put in front"
        else:
            yield prefix + value, f"{prefix} in front is missing"


def try_other_ids(tester: VariantTester) -> SignatureFinding | None:
    """Try other ids of the request, if the signature covers one."""
    case = tester.case
    named = [(name, value) for name, value in case.capture.headers[:_MAX_HEADERS] if "id" in name.lower() and value]
    for place in [place for leaf in case.schemes if (place := getattr(leaf, "ident", None))]:
        changed = ((name, place.write(case.capture, value.encode("latin-1"))) for name, value in named)
        if found := tester.find_match("Other ids", changed):
            name, secret = escape_unprintable(found[0], 60), found[1]
            return SignatureFinding(
                cause="id_replaced",
                title=f"{place.title} is not the id that was signed",
                sentence=f"The signature fits {secret} with the id in {name}.",
                fix=f"Let {place.title} through as {case.title} sends it.",
            )
    return None


def find_raw_delivery(tester: VariantTester) -> SignatureFinding | None:
    """Report if Amazon SNS sent a raw message, which it does not sign."""
    raw = (tester.case.capture.header("x-amz-sns-rawdelivery") or "").strip().lower() == "true"
    if not (raw and isinstance(tester.chosen_scheme, Sns)):
        return None
    return SignatureFinding(
        cause="raw_delivery",
        title="Raw message delivery is on",
        sentence="x-amz-sns-rawdelivery says that Amazon SNS sent the message alone, without its signature.",
        fix='Turn raw message delivery off for the subscription, or set verify = "off" and take it in unchecked.',
    )


def explain_missing_signature(case: SignatureCase, verification: Verification) -> SignatureFinding | None:
    """Report that there is no signature, and what was received instead."""
    if verification.reason != "signature_missing":
        return None
    step = find_failed_check(verification)
    name = case.signature_header or "the signature"
    what = step.detail if step else f"{name} is missing"
    title, sentence = "Part of what is signed is missing", f"{what}: something removed it, or this is not {case.title}."
    advice = f"Compare the headers of the event with {case.title}'s documentation."
    value = case.capture.header(name)
    if value is None:
        title, advice = "No signature header", f"{advice} Some providers sign only once a secret is set there."
    elif not value.strip():
        title, sentence = "The signature header is empty", f"{name} came without a value."
        advice = "Look for what sets it: a sender without a secret, or a proxy with a variable that is not set."
    return SignatureFinding(cause="signature_missing", title=title, sentence=sentence, fix=advice)


def explain_malformed_signature(tester: VariantTester, verification: Verification) -> SignatureFinding | None:
    """Describe which part of the signature cannot be parsed."""
    if verification.reason not in ("header_malformed", "body_malformed"):
        return None
    case, step = tester.case, find_failed_check(verification)
    in_body = verification.reason == "body_malformed"
    detail = step.detail if step else "it is not in the form this provider uses"
    name = getattr(getattr(tester.chosen_scheme, "place", None), "title", "")
    time = getattr(getattr(tester.chosen_scheme, "time", None), "place", None)
    # A time or an algorithm may be in a separate header, which the step quotes.
    unread = step.name if step else HEADER_STEP
    if unread == TIMESTAMP_STEP:
        unread = time.title if time else HEADER_STEP
    elif unread == HEADER_STEP and not detail.startswith(name):
        unread = detail.partition(" ")[0]
    has_outline = unread == HEADER_STEP and not in_body and case.capture.header(name) is not None
    outline = f" It came as: {_outline_header(case.capture, name)}." if has_outline else ""
    return SignatureFinding(
        cause=verification.reason,
        title="The body lacks what is signed" if in_body else f"{unread} cannot be read",
        sentence=f"{detail}.{outline}",
        fix=f"Compare it with what {case.title} sends; something between may have cut or rewritten it.",
    )


def find_failed_check(verification: Verification) -> Check | None:
    """Return the step at which a verification failed."""
    return next((check for check in verification.checks if check.passed is False), None)


def _find_missing_header(case: SignatureCase) -> str:
    """Return the signature header if it is missing; "" if it was received."""
    name = case.signature_header
    return name if name and case.capture.header(name) is None else ""


def _is_similar(name: str, other: str) -> bool:
    expected, found = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (name, other))
    return name.lower() != other.lower() and (expected in found or expected.removeprefix("x") == found)


def _outline_header(capture: Capture, name: str) -> str:
    # Only the outline: the values may be signatures that are still valid.
    value = capture.header(name) or ""
    outline = re.sub(r"(?<![^=,; ])([\w+/.-]{5,}=*)(?![^,; ])", lambda match: f"{match[1][:2]}…", value)
    return escape_unprintable(outline, 100) or "nothing"


def try_other_addresses(tester: VariantTester) -> SignatureFinding | None:
    """Try the addresses that the sender may have called, if the scheme signs the address."""
    case = tester.case
    if not is_address_signed(case):
        return None
    checked = sender_address(case.capture)
    urls = (url for url in islice(_list_addresses(case), _MAX_ADDRESSES) if url != checked)
    found = tester.find_match("Other addresses", ((url, dataclasses.replace(case.capture, url=url)) for url in urls))
    if found is None:
        return None
    address = _strip_below(case, found[0])
    # Only the query differs, and the received one counts, regardless of public_url.
    is_query = bool(case.capture.query) and address == _strip_below(case, checked)
    return SignatureFinding(
        cause="url_differs",
        title=f"Signed for another URL: {_describe_difference(found[0], checked)}",
        sentence=f"The signature fits {found[1]} for {escape_unprintable(found[0], 300)}, and "
        f"relay checked {escape_unprintable(checked, 300)}.",
        fix="Let every proxy between pass the query on as it came."
        if is_query
        else f"Say under {case.header} which address {case.title} calls, or paste relay's own address there:",
        line="" if is_query else f'public_url = "{escape_unprintable(address, 300)}"',
    )


def _list_addresses(case: SignatureCase) -> Iterator[str]:
    """Return the addresses a sender may have called, the likeliest first."""
    yield from case.urls
    called = urlsplit(sender_address(case.capture))
    named = [case.capture.header(name) or "" for name in ("X-Forwarded-Host", "X-Original-Host", "Host")]
    known = [urlsplit(url).netloc for url in (case.base, case.source.public_url or "", *case.urls)]
    hosts = (called.netloc, *(host.partition(",")[0].strip() for host in (*named, *known)))
    ported = dict.fromkeys(name for host in hosts if host for name in _list_ports(host, called.scheme))
    paths = dict.fromkeys((called.path, *_list_paths(case, called.path)))
    queries = dict.fromkeys((called.query, case.capture.query, "", unquote(called.query)))
    schemes = dict.fromkeys((called.scheme, "https", "http"))
    for path, query, scheme, host in product(paths, queries, schemes, ported):
        yield f"{scheme}://{host}{path}{f'?{query}' if query else ''}"


# Twilio's products differ in whether they write the default port.
def _list_ports(host: str, scheme: str) -> tuple[str, ...]:
    bare, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        return (host, f"{host}:{443 if scheme == 'https' else 80}")
    return (host, bare)


# Routers drop a trailing slash, and proxies rewrite paths or strip prefixes.
def _list_paths(case: SignatureCase, path: str) -> tuple[str, ...]:
    """Return the path with and without its slash, its escapes, and a proxy's prefix."""
    toggled = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    forwarded = case.capture.header("X-Forwarded-Prefix") or ""
    rest = path.removeprefix("/webhooks")
    name = f"/{path.rstrip('/').rpartition('/')[2]}"
    called = (case.capture.header(header) or "" for header in _ORIGINAL_URL_HEADERS)
    rewritten = (urlsplit(url).path for url in called if url.startswith(("/", "http")))
    prefixed, proxied = forwarded + path, f"/webhook{rest}"
    return (toggled, *rewritten, case.capture.path, prefixed, unquote(path), rest, name, proxied, "/", "")


def is_address_signed(case: SignatureCase) -> bool:
    """Return whether a signature of the source covers the address that was called."""
    signed = (getattr(leaf, "signed", None) for leaf in case.schemes)
    return any(getattr(text, "uses_address", False) for text in signed)


def _strip_below(case: SignatureCase, signed: str) -> str:
    """Return the address of the source itself if the signed one is below it."""
    bare, root = signed.partition("?")[0], case.source.path.rstrip("/")
    below = case.capture.path.removeprefix(root) if case.capture.path.startswith(root + "/") else ""
    return bare.removesuffix(below) if below != "/" else bare


def _describe_difference(signed: str, checked: str) -> str:
    one, other = urlsplit(signed), urlsplit(checked)
    parts = (
        ("the protocol", one.scheme, other.scheme),
        ("the host", (one.hostname or ""), (other.hostname or "")),
        ("the port", one.netloc.rpartition(":")[2], other.netloc.rpartition(":")[2]),
        ("the trailing slash", one.path.endswith("/"), other.path.endswith("/")),
        ("the path", one.path.rstrip("/"), other.path.rstrip("/")),
        ("the query", one.query, other.query),
    )
    found = [name for name, a, b in parts if a != b]
    if "the host" in found and "the port" in found:
        found.remove("the port")
    return f"{' and '.join(found) or 'the spelling'} {'differ' if len(found) > 1 else 'differs'}"
