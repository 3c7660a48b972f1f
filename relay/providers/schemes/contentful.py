"""Contentful: HMAC over a canonical request, with the headers that the request itself lists."""

from dataclasses import dataclass, field
from urllib.parse import quote

from relay.model.event import Capture
from relay.providers.schemes.base import Reading, octets
from relay.providers.schemes.mac import Hmac
from relay.providers.schemes.places import InHeader, Place
from relay.providers.schemes.signed import SignedText
from relay.providers.schemes.splice import with_header
from relay.providers.schemes.template import Template, template
from relay.providers.schemes.timing import Time
from relay.providers.schemes.urls import address, target_of

_LIST = "x-contentful-signed-headers"
_TIME = "x-contentful-timestamp"

# encodeURI of JavaScript leaves these as they are, querystring.escape the shorter set.
_IN_URI = "-_.!~*'();/?:@&=+$,#"
_IN_SEARCH = "-_.!~*'()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contentful(Hmac):
    """Method, path, listed headers and body, a line each (apps-toolkit 3.16.1).

    The list and the time always count as listed. The library escapes the path once more than it
    came; a sender that signs it as it came is accepted too, which differs only for addresses with
    a query or an escape in them.
    """

    place: Place = field(default_factory=lambda: InHeader("x-contentful-signature"))
    signed: Template = field(default_factory=lambda: template("{method}\n{path}\n{body}"))
    time: Time | None = field(default_factory=lambda: Time(place=InHeader(_TIME), unit="ms", past=30))

    def content(self, reading: Reading) -> bytes:
        """Return the canonical request as the library makes it."""
        return _canonical(reading.capture, _normal(_path(reading.capture)))

    def describe(self, reading: Reading) -> str:
        """Return what is signed, in words."""
        capture = reading.capture
        count = len(_listed(capture))
        return f"{capture.method}, the path, {count} listed headers and {len(capture.body):,} body bytes"

    def matches(self, key: bytes, text: bytes, signatures: tuple[bytes, ...], capture: Capture) -> bool:
        """Compare with the digest over the path as the library escapes it, and as it came."""
        given = _canonical(capture, _path(capture))
        texts = dict.fromkeys((text, given))
        # A dataclass with slots is a new class, which super() without arguments does not find.
        return any(Hmac.matches(self, key, text, signatures, capture) for text in texts)

    def prepare(self, capture: Capture, ts: bytes) -> Capture:
        """Return the capture with a fresh time, and a list of signed headers where it had none."""
        ready = SignedText.prepare(self, capture, ts)
        if ready.header(_LIST) is None:
            ready = with_header(ready, (_LIST,), f"{_LIST},{_TIME}")
        return ready


def _canonical(capture: Capture, path: str) -> bytes:
    headers = ";".join(
        f"{name}:{', '.join(values)}" for name in _listed(capture) if (values := _values(capture, name))
    )
    return octets(f"{capture.method}\n{path}\n{headers}\n") + capture.body


def _listed(capture: Capture) -> list[str]:
    listed = (capture.header(_LIST) or "").split(",")
    return sorted({name.strip().lower() for name in (*listed, _LIST, _TIME) if name.strip()})


def _values(capture: Capture, name: str) -> list[str]:
    return [value.strip() for value in capture.header_values(name)]


def _path(capture: Capture) -> str:
    path, query = target_of(octets(address(capture)))
    return (path + b"?" + query if query else path).decode("latin-1")


def _normal(path: str) -> str:
    name, mark, search = path.partition("?")
    escaped = f"{name}?{_escape(search, _IN_SEARCH)}" if mark and search else name
    return _escape(escaped, _IN_URI)


def _escape(text: str, kept: str) -> str:
    return quote(octets(text), safe=kept)
