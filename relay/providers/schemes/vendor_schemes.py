"""Schemes of single providers: Adyen's items, Contentful's requests, Amazon SNS's messages."""

import hmac
import re
from dataclasses import field
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from relay.errors import SigningError
from relay.model.event import Capture, Check
from relay.model.json_paths import find_below
from relay.model.payload import Payload
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.schemes.base import (
    HEADER_STEP,
    RefusalError,
    SignatureInput,
    SteppedScheme,
    format_reference,
    read_keys,
    to_wire_bytes,
)
from relay.providers.schemes.content import CONTENT_STEP, Template, read_target, sender_address, template
from relay.providers.schemes.encoding import KeyFormat, encode_digest
from relay.providers.schemes.key_pairs import make_certificate
from relay.providers.schemes.locations import InHeader, InJson, Location, set_json_value, with_body, with_header
from relay.providers.schemes.public_key import Rsa, RsaDigest
from relay.providers.schemes.shared_secret import Hmac
from relay.providers.schemes.signed_text import SignedText
from relay.providers.schemes.timestamps import Time

# Adyen 16.0.0 for Python: joined with colons, nothing escaped, a missing one is empty.
_ADYEN_FIELDS: tuple[tuple[str, ...], ...] = (
    ("pspReference",),
    ("originalReference",),
    ("merchantAccountCode",),
    ("merchantReference",),
    ("amount", "value"),
    ("amount", "currency"),
    ("eventCode",),
    ("success",),
)
_ADYEN_LIST, _ADYEN_ITEM = "notificationItems", "NotificationRequestItem"
_ADYEN_SIGNATURE = ("additionalData", "hmacSignature")


# https://docs.adyen.com/development-resources/webhooks/
@dataclass(frozen=True, slots=True, kw_only=True)
class AdyenItems(SteppedScheme):
    """HMAC-SHA256 in base64 inside each item; all of them must be right. The key is hex."""

    key: KeyFormat = field(default_factory=lambda: KeyFormat(form="hex"))
    place: Location = field(default_factory=lambda: InJson((_ADYEN_LIST, _ADYEN_ITEM, *_ADYEN_SIGNATURE)))
    title: ClassVar[str] = "HMAC-SHA256"

    def presented(self, capture: Capture) -> bool:
        return bool(_read_items(capture))

    def usable(self, secret: Secret) -> bool:
        return self.key.read(secret) is not None

    def check(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime, checks: list[Check]) -> str:
        del now
        items = _read_items(capture)
        if not items:
            raise RefusalError("body_malformed", f"{_ADYEN_LIST} is missing", result="Missing")
        signed = [(_build_item_text(item), _read_signature(item, number)) for number, item in enumerate(items, 1)]
        count = f"{len(signed)} item{'' if len(signed) == 1 else 's'}"
        checks.append(Check(name=HEADER_STEP, passed=True, detail=f"hmacSignature in {count}", result="Present"))
        checks.append(Check(name=CONTENT_STEP, passed=True, detail="eight fields of each item", result="Built"))
        names = ", ".join(map(format_reference, secrets))
        keys = read_keys(secrets, self.key.read, self.title, f"{names} is not an HMAC key in hex")
        for number, (text, signature) in enumerate(signed, 1):
            if not any(hmac.compare_digest(_sign_item(key, text), signature) for _, key in keys):
                detail = f"{names} gives another signature for item {number}"
                raise RefusalError("signature_mismatch", detail, result="No match", step=self.title)
        checks.append(Check(name=self.title, passed=True, detail=f"{names} fits every item", result="Match"))
        return ""

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with all items signed. Raises SigningError if there is none."""
        del now
        key = self.key.read(secret)
        items = _read_items(capture)
        if key is None or not items:
            raise SigningError(
                "The body has no notificationItems, which Adyen signs."
                if key
                else f"{secret.reference or 'The secret'} is not an HMAC key of Adyen's, which is hex.",
                hint="trigger a payments event, and copy the HMAC key of its webhook",
            )
        body: bytes | None = capture.body
        for number, item in enumerate(items):
            signature = _sign_item(key, _build_item_text(item)).decode()
            body = (
                set_json_value(body, (_ADYEN_LIST, number, _ADYEN_ITEM, *_ADYEN_SIGNATURE), signature) if body else None
            )
        if body is None:
            raise SigningError("An item of the body has no place for additionalData.hmacSignature.")
        return with_body(capture, body)


def _read_items(capture: Capture) -> list[dict[str, Any]]:
    items = capture.payload.json_at(_ADYEN_LIST)
    found = [find_below(item, (_ADYEN_ITEM,)) for item in items] if isinstance(items, list) else []
    return [item if isinstance(item, dict) else {} for item in found]


def _read_signature(item: dict[str, Any], number: int) -> bytes:
    value = find_below(item, _ADYEN_SIGNATURE)
    if not isinstance(value, str) or not value.strip():
        raise RefusalError("body_malformed", f"hmacSignature is missing in item {number}", result="Missing")
    return value.encode("utf-8", "surrogatepass")


def _build_item_text(item: dict[str, Any]) -> bytes:
    values = [find_below(item, path) for path in _ADYEN_FIELDS]
    # Booleans come as the texts true and false in Adyen's samples, numbers as numbers.
    texts = ["" if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    return ":".join(texts).encode("utf-8", "surrogatepass")


def _sign_item(key: bytes, text: bytes) -> bytes:
    return encode_digest(hmac.digest(key, text, "sha256"), "base64")


_SIGNED_HEADERS = "x-contentful-signed-headers"
_CONTENTFUL_TIME = "x-contentful-timestamp"

# encodeURI of JavaScript leaves these as they are, querystring.escape the shorter set.
_IN_URI = "-_.!~*'();/?:@&=+$,#"
_IN_SEARCH = "-_.!~*'()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contentful(Hmac):
    """Method, path, listed headers and body, a line each (apps-toolkit 3.16.1).

    The list and the time always count as listed. The library escapes the path once more than it came; a sender that
    signs it as it came is accepted too, which differs only for addresses with a query or an escape in them.
    """

    place: Location = field(default_factory=lambda: InHeader("x-contentful-signature"))
    signed: Template = field(default_factory=lambda: template("{method}\n{path}\n{body}"))
    time: Time | None = field(default_factory=lambda: Time(place=InHeader(_CONTENTFUL_TIME), unit="ms", past=30))

    def content(self, reading: SignatureInput) -> bytes:
        return _build_canonical_request(reading.capture, _escape_path(_read_signed_path(reading.capture)))

    def describe(self, reading: SignatureInput) -> str:
        capture = reading.capture
        count = len(_list_signed_headers(capture))
        return f"{capture.method}, the path, {count} listed headers and {len(capture.body):,} body bytes"

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Compare with the digest over the path as escaped by the library, and as received."""
        unescaped = _build_canonical_request(capture, _read_signed_path(capture))
        texts = dict.fromkeys((text, unescaped))
        # A dataclass with slots is a new class, which super() without arguments does not find.
        return any(Hmac.matches(self, key, text, signatures, capture) for text in texts)

    def prepare(self, capture: Capture, ts: bytes) -> Capture:
        """Return the capture with a fresh time, and a list of signed headers if it had none."""
        ready = SignedText.prepare(self, capture, ts)
        if ready.header(_SIGNED_HEADERS) is None:
            ready = with_header(ready, (_SIGNED_HEADERS,), f"{_SIGNED_HEADERS},{_CONTENTFUL_TIME}")
        return ready


def _build_canonical_request(capture: Capture, path: str) -> bytes:
    headers = ";".join(
        f"{name}:{', '.join(values)}"
        for name in _list_signed_headers(capture)
        if (values := [value.strip() for value in capture.header_values(name)])
    )
    return to_wire_bytes(f"{capture.method}\n{path}\n{headers}\n") + capture.body


def _list_signed_headers(capture: Capture) -> list[str]:
    listed = (capture.header(_SIGNED_HEADERS) or "").split(",")
    return sorted({name.strip().lower() for name in (*listed, _SIGNED_HEADERS, _CONTENTFUL_TIME) if name.strip()})


def _read_signed_path(capture: Capture) -> str:
    return read_target(to_wire_bytes(sender_address(capture))).decode("latin-1")


# As @contentful/node-apps-toolkit 3.16.1 does; a library of another language may not.
def _escape_path(path: str) -> str:
    name, mark, search = path.partition("?")
    escaped = f"{name}?{quote(to_wire_bytes(search), safe=_IN_SEARCH)}" if mark and search else name
    return quote(to_wire_bytes(escaped), safe=_IN_URI)


CERTIFICATE_STEP = "Certificate"

# sns-validator 0.3.5; the confirmations are signed over other fields than a notification.
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SNS_FIELDS = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
# The pattern of sns-validator 0.3.5: an address on another host could hand out a certificate of its owner's.
SNS_HOST = re.compile(r"sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?")
_SNS_DIGESTS: dict[str, RsaDigest] = {"1": "sha1", "2": "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sns(Rsa):
    """RSA over a message's own fields. The secret is the certificate that `SigningCertURL` leads to.

    relay fetches nothing while it checks a request, so the certificate is handed in; an address
    that is not Amazon's is refused all the same, because an application would follow it.
    """

    place: Location = field(default_factory=lambda: InJson(("Signature",)))
    signed: Template = field(default_factory=lambda: template("{body}"))
    time: Time | None = field(default_factory=lambda: Time(place=InJson(("Timestamp",)), unit="iso"))

    def public_half(self, pem: str) -> str:
        """Return a certificate, which is the content of a message's `SigningCertURL`."""
        return make_certificate(pem)

    def digest_of(self, capture: Capture) -> RsaDigest:
        """Return SHA-1 for version 1 and SHA-256 for version 2. Raises RefusalError for another."""
        version = capture.payload.json_at("SignatureVersion")
        if not isinstance(version, str) or version not in _SNS_DIGESTS:
            raise RefusalError("body_malformed", "SignatureVersion is neither 1 nor 2")
        return _SNS_DIGESTS[version]

    def describe(self, reading: SignatureInput) -> str:
        """Return which fields are signed, and with which certificate.

        Raises RefusalError for an unknown Type or a certificate from elsewhere.
        """
        names = [name for name, _ in _read_signed_fields(reading.capture.payload)]
        certificate = _check_certificate_url(reading.capture.payload.json_at("SigningCertURL"))
        # Amazon renews it about once a year: the configured one may be the previous one.
        return f"{', '.join(names)}, signed with {escape_unprintable(certificate, 80)}"

    def content(self, reading: SignatureInput) -> bytes:
        """Return each signed field's name and value, a line each. Raises RefusalError."""
        lines = (f"{name}\n{value}\n" for name, value in _read_signed_fields(reading.capture.payload))
        return "".join(lines).encode("utf-8", "surrogatepass")


def _read_signed_fields(payload: Payload) -> list[tuple[str, str]]:
    kind = payload.json_at("Type")
    if not isinstance(kind, str) or kind not in _SNS_FIELDS:
        raise RefusalError("body_malformed", "the body is not an Amazon SNS message", step=CONTENT_STEP)
    found: list[tuple[str, str]] = []
    for name in _SNS_FIELDS[kind]:
        value = payload.json_at(name)
        if isinstance(value, str):
            found.append((name, value))
        # Subject is optional, and left out of the text when it is.
        elif name != "Subject" or value is not None:
            raise RefusalError("body_malformed", f"{name} is missing", step=CONTENT_STEP)
    return found


def _check_certificate_url(address: object) -> str:
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "https" and SNS_HOST.fullmatch(parts.netloc) and parts.path.endswith(".pem"):
        return parts.path.rpartition("/")[2]
    raise RefusalError(
        "body_malformed",
        "SigningCertURL does not lead to a certificate of Amazon SNS",
        result="Refused",
        step=CERTIFICATE_STEP,
    )
