"""Schemes that sign the address: which spellings of it may match, and a body hash inside it."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal

from relay.model.event import Capture, Check
from relay.model.payload import Payload
from relay.providers.schemes.base import Reading, UnreadableError, octets
from relay.providers.schemes.places import query_values, with_query

UrlForm = Literal["as_given", "no_port", "with_port", "unescaped"]

_STEP = "Body hash"
_URL = re.compile(rb"(https?)(://[^/?#]*)(.*)", re.DOTALL | re.IGNORECASE)
# What HubSpot decodes in an address before it signs: : / ? @ ! $ ' ( ) * , ;
_ESCAPED = re.compile(rb"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_PORT = re.compile(rb"(?<=[^:/@]):[0-9]+\Z")


def address(capture: Capture) -> str:
    """Return the URL as the sender believes it; from the Host header where nobody said better."""
    if capture.url:
        return capture.url
    query = f"?{capture.query}" if capture.query else ""
    return f"https://{capture.header('Host') or 'localhost'}{capture.path}{query}"


def target_of(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a URL as they are spelt in it, the path never empty."""
    _, scheme, rest = url.partition(b"://")
    start = re.search(rb"[/?#]", rest) if scheme else None
    target = rest[start.start() :] if start else (b"" if scheme else url)
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path or b"/", query


def spellings(url: str, forms: tuple[UrlForm, ...]) -> tuple[bytes, ...]:
    """Return the distinct spellings of a URL to try, without and with its port."""
    given = octets(url)
    return tuple(dict.fromkeys(_spell(given, form) for form in forms))


def _spell(url: bytes, form: UrlForm) -> bytes:
    match = _URL.fullmatch(url)
    if form == "unescaped":
        return _ESCAPED.sub(lambda found: bytes.fromhex(found[0][1:].decode()), url)
    if form == "as_given" or match is None:
        return url
    scheme, host, rest = match.groups()
    has_port = _PORT.search(host) is not None
    if form == "no_port":
        return scheme + _PORT.sub(b"", host) + rest
    return url if has_port else scheme + host + (b":443" if scheme.lower() == b"https" else b":80") + rest


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyHash:
    """A hash of the body in a query parameter of the signed URL (Twilio's `bodySHA256`, lower-case hex).

    A body that is a form is signed field by field instead and needs none.
    """

    query: str
    algo: str = "sha256"

    def check(self, reading: Reading) -> Check | None:
        """Return the step, None where no hash is needed. Raises UnreadableError when it is missing."""
        if reading.payload.is_form:
            return None
        url = reading.url.decode("latin-1")
        values = query_values(url.partition("#")[0].partition("?")[2], self.query)
        body = reading.capture.body
        if not values:
            if not body:
                return None
            raise UnreadableError(
                "signature_missing",
                f"{self.query} is missing from the URL, so nothing vouches for the body",
                result="Missing",
                step=_STEP,
            )
        reading.hashed = True
        passed = len(values) == 1 and hmac.compare_digest(values[0], self._digest(body))
        detail = f"{self.query} in the URL {'fits' if passed else 'does not fit'} {len(body):,} body bytes"
        return Check(name=_STEP, passed=passed, detail=detail, result="Match" if passed else "No match")

    def write(self, capture: Capture, payload: Payload) -> Capture:
        """Return the capture with the hash of its body in its query and URL, where one is needed."""
        if payload.is_form or not capture.body:
            return capture
        return with_query(capture, self.query, self._digest(capture.body).decode())

    def _digest(self, body: bytes) -> bytes:
        return hashlib.new(self.algo, body).hexdigest().encode()
