"""Amazon SNS: its message signs itself, field by field, with a certificate that the message names."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from relay.model.event import Capture
from relay.model.payload import Payload
from relay.model.text import printable
from relay.providers.schemes.base import Reading, UnreadableError
from relay.providers.schemes.pairs import certificate
from relay.providers.schemes.places import InJson, Place
from relay.providers.schemes.rsa import Rsa, RsaDigest
from relay.providers.schemes.template import STEP, Template, template
from relay.providers.schemes.timing import Time

CERTIFICATE_STEP = "Certificate"

# sns-validator 0.3.5; the confirmations are signed over other fields than a notification.
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_FIELDS = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_HOST = re.compile(r"sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?")
_VERSIONS: dict[str, RsaDigest] = {"1": "sha1", "2": "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sns(Rsa):
    """RSA over a message's own fields. The secret is the certificate that `SigningCertURL` leads to.

    relay fetches nothing while it checks a request, so the certificate is handed in; an address
    that is not Amazon's is refused all the same, because an application would follow it.
    """

    place: Place = field(default_factory=lambda: InJson(("Signature",)))
    signed: Template = field(default_factory=lambda: template("{body}"))
    time: Time | None = field(default_factory=lambda: Time(place=InJson(("Timestamp",)), unit="iso"))

    def public_half(self, pem: str) -> str:
        """Return a certificate, which is what stands at a message's `SigningCertURL`."""
        return certificate(pem)

    def digest_of(self, capture: Capture) -> RsaDigest:
        """Return SHA-1 for version 1 and SHA-256 for version 2. Raises UnreadableError for another."""
        version = capture.payload.json_at("SignatureVersion")
        if not isinstance(version, str) or version not in _VERSIONS:
            raise UnreadableError("body_malformed", "SignatureVersion is neither 1 nor 2")
        return _VERSIONS[version]

    def describe(self, reading: Reading) -> str:
        """Return which fields are signed, and with which certificate.

        Raises UnreadableError for an unknown Type or a certificate from elsewhere.
        """
        names = [name for name, _ in _signed(reading.payload)]
        certificate = _certificate(reading.payload.json_at("SigningCertURL"))
        # Amazon renews it about once a year: the one handed in may be the one before.
        return f"{', '.join(names)}, signed with {printable(certificate, 80)}"

    def content(self, reading: Reading) -> bytes:
        """Return each signed field's name and value, a line each. Raises UnreadableError."""
        lines = (f"{name}\n{value}\n" for name, value in _signed(reading.payload))
        return "".join(lines).encode("utf-8", "surrogatepass")


def _signed(payload: Payload) -> list[tuple[str, str]]:
    kind = payload.json_at("Type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise UnreadableError("body_malformed", "the body is no message of Amazon SNS", step=STEP)
    found: list[tuple[str, str]] = []
    for name in _FIELDS[kind]:
        value = payload.json_at(name)
        if isinstance(value, str):
            found.append((name, value))
        elif name != "Subject" or value is not None:
            raise UnreadableError("body_malformed", f"{name} is missing", step=STEP)
    return found


def _certificate(address: object) -> str:
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "https" and _HOST.fullmatch(parts.netloc) and parts.path.endswith(".pem"):
        return parts.path.rpartition("/")[2]
    raise UnreadableError(
        "body_malformed",
        "SigningCertURL does not lead to a certificate of Amazon SNS",
        result="Refused",
        step=CERTIFICATE_STEP,
    )
