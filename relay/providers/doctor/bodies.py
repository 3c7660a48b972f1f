"""The body changed on its way: laid out again, its ends, its letters, its packing."""

import gzip
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from relay.model.payload import PayloadError, parse_json
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.providers.doctor.case import (
    SignatureCase,
    SignatureFinding,
    VariantTester,
    format_secret_name,
    list_schemes,
    replace_body,
)
from relay.providers.doctor.serialization import MAX_BODY, list_form_variants, list_json_variants
from relay.providers.doctor.symptoms import complete_json
from relay.providers.schemes import InEach, InForm, InJson, Sns, choose_scheme

_BOM = b"\xef\xbb\xbf"
_MAX_UNPACKED = 4_000_000  # bytes that a packed body may become
_MAX_PACKED = 200_000  # bytes up to which a body is packed or escaped again
_MAX_COMPLETIONS = 8
# Names that API gateways and message queues give the body that they carry.
_ENVELOPES = ("body", "rawbody", "raw_body", "payload", "data", "message", "content", "event", "raw")
# Java and .NET servers that read a body without a charset take it for one of these.
_CHARSETS = ("latin-1", "cp1252", "utf-16")


class BodyVariant(NamedTuple):
    """A body as it may have been sent: the kind for the table, what happened to it, and its bytes."""

    kind: str
    happened: str
    body: bytes


def try_body_variants(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try the body as it may have been sent, with every secret of the source."""
    capture = tester.case.capture
    seen = {capture.body}
    coding = (capture.header("Content-Encoding") or "").strip().lower()
    is_form = capture.content_type == "application/x-www-form-urlencoded"
    for change in chain(_compression_variants(capture.body, coding), list_body_variants(capture.body, is_form=is_form)):
        if tester.is_late():
            return
        if change.body in seen:
            continue
        seen.add(change.body)
        found = tester.find_match(change.kind, [(change, replace_body(capture, change.body))])
        if found is not None:
            yield _explain_changed_body(capture.body, *found)
            return


def _explain_changed_body(received: bytes, change: BodyVariant, secret: Secret) -> SignatureFinding:
    return SignatureFinding(
        cause="body_changed",
        title=f"The body changed before it reached relay: {change.happened}",
        sentence=f"The signature fits {format_secret_name(secret)} with {len(change.body):,} bytes; "
        f"{len(received):,} arrived. {_describe_difference(change.body, received)}",
        fix="Let every proxy between the provider and relay pass the body on byte for byte: no parsed "
        "JSON, no other encoding.",
        certain=True,
    )


def list_body_variants(body: bytes, *, is_form: bool = False) -> Iterator[BodyVariant]:
    """Return a body as it may have been before something changed it, the likeliest change first."""
    yield from _end_variants(body)
    yield from _packing_variants(body)
    yield from _envelope_variants(body)
    for name, form in list_form_variants(body) if is_form else ():
        yield BodyVariant("Form re-encoded", f"form re-encoded, sent with {name}", form)
    for name, text in list_json_variants(body):
        yield BodyVariant("JSON re-serialised", f"re-serialised JSON, sent {name}", text)
    yield from _charset_variants(body)


def _end_variants(body: bytes) -> Iterator[BodyVariant]:
    kind = "Ends and line breaks"
    for end, name in ((b"\n", "newline"), (b"\r\n", "CRLF")):
        yield BodyVariant(kind, f"its trailing {name} was removed", body + end)
    stripped = body.rstrip(b"\r\n")
    if stripped != body:
        yield BodyVariant(kind, "a trailing newline was added", stripped)
        yield BodyVariant(kind, "a trailing newline was added", body.removesuffix(b"\n"))
        yield BodyVariant(kind, "its trailing CRLF became a newline", stripped + b"\r\n")
        yield BodyVariant(kind, "its trailing newline became CRLF", stripped + b"\n")
    if b"\n" in body:
        unix = body.replace(b"\r\n", b"\n")
        yield BodyVariant(kind, "line breaks changed from LF to CRLF", unix)
        yield BodyVariant(kind, "line breaks changed from CRLF to LF", unix.replace(b"\n", b"\r\n"))
    yield BodyVariant(kind, "a byte order mark was added", body.removeprefix(_BOM))
    yield BodyVariant(kind, "its byte order mark was removed", _BOM + body)
    yield BodyVariant(kind, "spaces around it were added", body.strip())


def _packing_variants(body: bytes) -> Iterator[BodyVariant]:
    kind = "Packing"
    for name, window in (("gzip", 31), ("deflate", 15)):
        unpacked = _decompress(body, window)
        if unpacked is not None:
            yield BodyVariant(kind, f"it was packed with {name}", unpacked)
    if len(body) <= MAX_BODY and body:
        try:
            yield BodyVariant(kind, "it was encoded as base64", b64decode(body, validate=True))
        except ValueError:
            return


def _envelope_variants(body: bytes) -> Iterator[BodyVariant]:
    """Return the body inside an envelope (an API gateway's event), or the envelope it was taken from."""
    kind = "Envelopes"
    if len(body) > MAX_BODY:
        return
    try:
        value = parse_json(body)
    except PayloadError:
        for inner in islice(complete_json(body), _MAX_COMPLETIONS):
            yield BodyVariant("Body cut short", "its end was cut off", inner)
        return
    # GitHub and Slack send JSON in a field of a form; what takes it out breaks the signature.
    for written in (quote_plus(body), quote(body, safe="")) if len(body) <= _MAX_PACKED else ():
        yield BodyVariant(kind, "its JSON was taken out of the form field payload", f"payload={written}".encode())
    for name, text in value.items() if isinstance(value, dict) else ():
        if name.lower() in _ENVELOPES and isinstance(text, str):
            yield BodyVariant(
                kind,
                f"it was put into the field {escape_unprintable(name)} of another",
                text.encode("utf-8", "surrogatepass"),
            )
            with suppress(ValueError):
                yield BodyVariant(
                    kind,
                    f"it was put into the field {escape_unprintable(name)} of another",
                    b64decode(text, validate=True),
                )


# A gzip header holds the level and the system it was made on, so one body has many packed forms.
def _compression_variants(body: bytes, coding: str) -> Iterator[BodyVariant]:
    """Return the body packed as senders pack it, where only its header says still that it was."""
    if coding not in ("gzip", "x-gzip", "deflate") or len(body) > _MAX_PACKED or not body:
        return
    happened = f"it was unpacked, and Content-Encoding still says {coding}"
    for level in (6, 9, 1, *(2, 3, 4, 5, 7, 8)):
        if coding == "deflate":
            yield BodyVariant("Packing", happened, zlib.compress(body, level))
            continue
        made = gzip.compress(body, level, mtime=0)
        for system in (made[9], 255, 3, 0, 19):
            for extra in {made[8], 0, 2, 4}:
                yield BodyVariant("Packing", happened, made[:8] + bytes((extra, system)) + made[10:])


def _decompress(body: bytes, window: int) -> bytes | None:
    unpacker = zlib.decompressobj(window)
    try:
        unpacked = unpacker.decompress(body, _MAX_UNPACKED)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None


def _charset_variants(body: bytes) -> Iterator[BodyVariant]:
    if body.isascii() or len(body) > MAX_BODY:
        return
    for charset in _CHARSETS:
        with suppress(UnicodeError):
            yield BodyVariant("Charset", f"charset changed from {charset} to UTF-8", body.decode().encode(charset))
        with suppress(UnicodeError):
            yield BodyVariant("Charset", f"charset changed from UTF-8 to {charset}", body.decode(charset).encode())


def _describe_difference(sent: bytes, received: bytes) -> str:
    # Positions only: the bytes themselves are in the Payload tab.
    length = min(len(sent), len(received))
    at = next((index for index in range(length) if sent[index] != received[index]), length)
    return f"They differ from byte {at + 1:,} on."


def try_earlier_bodies(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try the bodies of earlier events under the headers of this one."""
    if _is_signature_in_body(tester):
        # An earlier body would bring its own signature along, and fit whatever the headers are.
        return
    case = tester.case
    earlier = ((one, replace_body(case.capture, one[1])) for one in case.recent if one[1] != case.capture.body)
    found = tester.find_match("Bodies of earlier events", earlier)
    if found is None:
        return
    (number, body), secret = found
    yield _explain_damage(case, secret, number, body) or SignatureFinding(
        cause="signature_of_another_event",
        title=f"This is the signature of event {number}",
        sentence=f"The headers fit {format_secret_name(secret)} with the body of event {number}, not with this body.",
        fix="Whatever sent this put an old signature on another body: sign every request again, or use",
        line=f"relay replay {number}",
        certain=True,
    )


def _is_signature_in_body(tester: VariantTester) -> bool:
    schemes = list_schemes(tester.case.source.scheme)
    chosen = choose_scheme(schemes, tester.case.capture, tester.own) if schemes else None
    return isinstance(chosen, Sns) or isinstance(getattr(chosen, "place", None), InJson | InEach | InForm)


def _explain_damage(case: SignatureCase, secret: Secret, number: int, body: bytes) -> SignatureFinding | None:
    """Return how this body came about from an earlier one that arrived whole; None where it is another one."""
    received = case.capture.body
    fits = f"The signature fits {format_secret_name(secret)} with the body of event {number}"
    if not received:
        cause, title = "body_empty", "The body is empty"
        sentence = f"{fits}, which has {len(body):,} bytes; none of them arrived with this request."
        fix = "Let every proxy between the provider and relay pass the body on; a body can be read once only."
    elif body.startswith(received):
        cause, title = "body_cut", "The body was cut short"
        sentence = f"{fits}, which has {len(body):,} bytes; the first {len(received):,} of them arrived."
        fix = "Look for a limit on the size of bodies in every proxy between the provider and relay."
    elif _is_same_content(case, body):
        cause, title = ("body_changed", "The body changed before it reached relay: it was read and written again")
        sentence = f"{fits}, which holds the same values in another order or spelling."
        fix = "Let every proxy between the provider and relay pass the body on byte for byte: no parsed JSON."
    else:
        return None
    return SignatureFinding(cause=cause, title=title, sentence=sentence, fix=fix, certain=True)


def _is_same_content(case: SignatureCase, body: bytes) -> bool:
    value = case.capture.payload.value
    return value is not None and value == replace_body(case.capture, body).payload.value
