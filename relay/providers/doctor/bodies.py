"""Hypotheses on a changed body: reformatted, trimmed, re-encoded, compressed, cut short, or missing."""

import gzip
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import NamedTuple
from urllib.parse import quote, quote_plus, urlencode

from relay.model.event import Capture
from relay.model.payload import FORM, PayloadError, parse_json
from relay.model.text import escape_unprintable
from relay.providers.doctor.case import BODY_ADVICE, BYTES_ADVICE, SignatureCase, SignatureFinding, VariantTester
from relay.providers.doctor.serialization import (
    MAX_BODY,
    is_in_body,
    is_sorted,
    list_form_variants,
    list_json_variants,
    list_known_orders,
    parse_object,
    signs_bytes,
)
from relay.providers.schemes.locations import with_header
from relay.providers.schemes.vendor_schemes import Sns

_BOM = b"\xef\xbb\xbf"
_MAX_UNPACKED = 4_000_000  # bytes that a compressed body may unpack to
_MAX_PACKED = 200_000  # bytes up to which a body is compressed or escaped again
_MAX_COMPLETIONS = 8
_WAS_FORM = "Form as JSON"
# Names of the body field in envelopes of API gateways and message queues.
_ENVELOPES = ("body", "rawbody", "raw_body", "payload", "data", "message", "content", "event", "raw")
# Charsets that Java and .NET servers assume for a body without one.
_CHARSETS = ("latin-1", "cp1252", "utf-16")
_MAGIC = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_CODINGS = (*_MAGIC, "deflate", "br")


class BodyVariant(NamedTuple):
    """A body as it may have been sent: its kind for the table, what happened to it, and its bytes."""

    kind: str
    happened: str
    body: bytes


def try_body_variants(tester: VariantTester) -> SignatureFinding | None:
    """Try variants of the body as it may have been sent, with every secret of the source."""
    capture = tester.case.capture
    if not any(scheme.presented(capture) for scheme in tester.case.schemes):
        return None
    received, seen = capture.body, {capture.body}
    is_form = capture.content_type == FORM
    for variant in chain(
        _compression_variants(received, _read_coding(capture)), list_body_variants(received, is_form=is_form)
    ):
        if tester.is_late():
            return None
        if variant.body in seen:
            continue
        seen.add(variant.body)
        sent = tester.case.with_body(variant.body)
        if variant.kind == _WAS_FORM:
            sent = with_header(sent, ("Content-Type",), FORM)  # Twilio signs the fields of a form, not its bytes
        if found := tester.find_match(variant.kind, [(variant, sent)]):
            # The position only: the bytes themselves are in the Payload tab.
            shared = min(len(variant.body), len(received))
            at = next((index for index in range(shared) if variant.body[index] != received[index]), shared)
            return SignatureFinding(
                cause="body_changed",
                title=f"The body changed before it reached relay: {variant.happened}",
                sentence=f"The signature fits {found[1]} with {len(variant.body):,} bytes; "
                f"{len(received):,} arrived. They differ from byte {at + 1:,} on.",
                fix=f"{BYTES_ADVICE}: no parsed JSON, no other encoding.",
            )
    return None


def list_body_variants(body: bytes, *, is_form: bool = False) -> Iterator[BodyVariant]:
    """Return the possible originals of a body, the likeliest change first."""
    yield from (BodyVariant("Ends and line breaks", happened, changed) for happened, changed in _end_variants(body))
    yield from _packing_variants(body)
    yield from _envelope_variants(body)
    for name, form in _restore_form(body):
        yield BodyVariant(_WAS_FORM, f"its form became JSON, sent with {name}", form)
    for name, form in list_form_variants(body) if is_form else ():
        yield BodyVariant("Form re-encoded", f"form re-encoded, sent with {name}", form)
    for name, text in list_json_variants(body):
        yield BodyVariant("JSON re-serialised", f"re-serialised JSON, sent {name}", text)
    yield from _charset_variants(body)


def _end_variants(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "its trailing newline was removed", body + b"\n"
    yield "its trailing CRLF was removed", body + b"\r\n"
    stripped = body.rstrip(b"\r\n")
    if stripped != body:
        yield "a trailing newline was added", stripped
        yield "a trailing newline was added", body.removesuffix(b"\n")
        yield "its trailing CRLF became a newline", stripped + b"\r\n"
        yield "its trailing newline became CRLF", stripped + b"\n"
    if b"\n" in body:
        unix = body.replace(b"\r\n", b"\n")
        yield "line breaks changed from LF to CRLF", unix
        yield "line breaks changed from CRLF to LF", unix.replace(b"\n", b"\r\n")
    yield "a byte order mark was added", body.removeprefix(_BOM)
    yield "its byte order mark was removed", _BOM + body
    yield "spaces around it were added", body.strip()


def _packing_variants(body: bytes) -> Iterator[BodyVariant]:
    for name, window in (("gzip", 31), ("deflate", 15)):
        unpacker = zlib.decompressobj(window)
        with suppress(zlib.error):
            unpacked = unpacker.decompress(body, _MAX_UNPACKED)
            if unpacker.eof:
                yield BodyVariant("Packing", f"it was packed with {name}", unpacked)
    if len(body) <= MAX_BODY and body:
        with suppress(ValueError):
            yield BodyVariant("Packing", "it was encoded as base64", b64decode(body, validate=True))


def _envelope_variants(body: bytes) -> Iterator[BodyVariant]:
    """Return the body inside an envelope (an API gateway's event), or the envelope it was taken from."""
    kind = "Envelopes"
    if len(body) > MAX_BODY:
        return
    try:
        value = parse_json(body)
    except PayloadError:
        for inner in islice(_complete_json(body), _MAX_COMPLETIONS):
            yield BodyVariant("Body cut short", "its end was cut off", inner)
        return
    # GitHub and Slack send JSON in a form field; code that extracts it breaks the signature.
    for written in (quote_plus(body), quote(body, safe="")) if len(body) <= _MAX_PACKED else ():
        yield BodyVariant(kind, "its JSON was taken out of the form field payload", f"payload={written}".encode())
    for name, text in value.items() if isinstance(value, dict) else ():
        if name.lower() in _ENVELOPES and isinstance(text, str):
            happened = f"it was put into the field {escape_unprintable(name)} of another"
            yield BodyVariant(kind, happened, text.encode("utf-8", "surrogatepass"))
            with suppress(ValueError):
                yield BodyVariant(kind, happened, b64decode(text, validate=True))


def _restore_form(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Return the forms that a JSON object of texts may have been, each with its encoding."""
    value = parse_object(body) if body[:1] == b"{" else None
    pairs = [
        (name, text)
        for name, texts in (value or {}).items()
        for text in (texts if isinstance(texts, list) else [texts])
    ]
    if pairs and all(isinstance(text, str) for _, text in pairs):
        yield from list_form_variants(urlencode(pairs, errors="surrogatepass").encode())


# A gzip header contains the level and the system, so a body has many compressed forms.
def _compression_variants(body: bytes, coding: str) -> Iterator[BodyVariant]:
    """Return the body compressed as senders do, if only its header still says that it was."""
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


def _charset_variants(body: bytes) -> Iterator[BodyVariant]:
    if body.isascii() or len(body) > MAX_BODY:
        return
    for charset in _CHARSETS:
        with suppress(UnicodeError):
            yield BodyVariant("Charset", f"charset changed from {charset} to UTF-8", body.decode().encode(charset))
        with suppress(UnicodeError):
            yield BodyVariant("Charset", f"charset changed from UTF-8 to {charset}", body.decode(charset).encode())


def try_earlier_bodies(tester: VariantTester) -> SignatureFinding | None:
    """Try the bodies of earlier events under the headers of this one."""
    chosen = tester.chosen_scheme
    if isinstance(chosen, Sns) or is_in_body(chosen):
        # An earlier body with its own signature would match whatever the headers are.
        return None
    case = tester.case
    earlier = ((one, case.with_body(one[1])) for one in case.recent if one[1] != case.capture.body)
    found = tester.find_match("Bodies of earlier events", earlier)
    if found is None:
        return None
    (number, body), secret = found
    return _explain_damage(case, secret, number, body) or SignatureFinding(
        cause="signature_of_another_event",
        title=f"This is the signature of event {number}",
        sentence=f"The headers fit {secret} with the body of event {number}, not with this body.",
        fix="Whatever sent this put an old signature on another body: sign every request again, or use",
        line=f"relay replay {number}",
    )


def _explain_damage(case: SignatureCase, secret: str, number: int, body: bytes) -> SignatureFinding | None:
    """Return how this body was made from an earlier complete one; None if it is unrelated."""
    received, value = case.capture.body, case.capture.payload.value
    if not received:
        cause, title = "body_empty", "The body is empty"
        evidence = f"has {len(body):,} bytes; none of them arrived with this request."
        fix = f"{BODY_ADVICE}; a body can be read once only."
    elif body.startswith(received):
        cause, title = "body_cut", "The body was cut short"
        evidence = f"has {len(body):,} bytes; the first {len(received):,} of them arrived."
        fix = "Look for a limit on the size of bodies in every proxy between the provider and relay."
    elif value is not None and value == case.with_body(body).payload.value:
        cause, title = "body_changed", "The body changed before it reached relay: it was read and written again"
        evidence = "holds the same values in another order or spelling."
        fix = f"{BYTES_ADVICE}: no parsed JSON."
    else:
        return None
    sentence = f"The signature fits {secret} with the body of event {number}, which {evidence}"
    return SignatureFinding(cause=cause, title=title, sentence=sentence, fix=fix)


def find_symptoms(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Describe visible faults of the request, likeliest cause first; no signature proves them."""
    case = tester.case
    capture, title = case.capture, case.title
    has_body = bool(capture.body)
    # RFC 9110, 15.4: a client may change POST to GET on 301 and 302, and nearly all do. What Twilio and HubSpot send as
    # GET has a query.
    if capture.method in ("GET", "HEAD") and not has_body and not capture.query:
        yield SignatureFinding(
            cause="redirected",
            title=f"It came as {capture.method} without a body: a redirect does that",
            sentence="A redirect from http to https, or to a path with or without its last slash, makes a POST a GET.",
            fix=f"Give {title} the address that answers by itself, without a redirect.",
        )
    if not has_body and capture.method not in ("GET", "HEAD", "DELETE"):
        yield SignatureFinding(
            cause="body_empty",
            title="The body is empty",
            sentence="The signature covers a body, and none of it arrived: something in front of relay has read it.",
            fix=f"{BODY_ADVICE}; a body can be read once only.",
        )
    coding = _read_coding(capture)
    if coding in _CODINGS and has_body and not _is_packed(coding, capture.body):
        yield SignatureFinding(
            cause="body_unpacked",
            title=f"The body was unpacked on its way: Content-Encoding still says {escape_unprintable(coding)}",
            sentence=f"{title} signed the packed bytes, and what arrived is not packed.",
            fix=f"{BODY_ADVICE} as it is, without unpacking it.",
        )
    if cut := _describe_cut(capture):
        yield SignatureFinding(
            cause="body_cut",
            title="The body was cut short",
            sentence=f"{cut} {title} signed all of it.",
            fix="Look for a limit on the size of bodies in every proxy between the provider and relay, or for a read "
            "that took only the first part.",
        )
    if signs_bytes(tester.chosen_scheme) and is_sorted(capture.body):
        usual = [keys for order in list_known_orders(case) for keys in order.values()]
        if any(list(keys) != sorted(keys) for keys in usual):
            yield SignatureFinding(
                cause="body_reordered",
                title="The keys of the body are in alphabetical order",
                sentence=f"{title} sends them in another order: something may have parsed and serialised the JSON.",
                fix=f"{BYTES_ADVICE}.",
            )


def _read_coding(capture: Capture) -> str:
    return (capture.header("Content-Encoding") or "").strip().lower()


def _is_packed(coding: str, body: bytes) -> bool:
    if magic := _MAGIC.get(coding):
        return body.startswith(magic)
    # deflate and br have no magic number; text shows that they are unpacked.
    return not body[:64].isascii() or body[:1] == b"\x78"


def _describe_cut(capture: Capture) -> str:
    """Return the evidence that the end of the body is missing; "" if there is none."""
    size = len(capture.body)
    declared = capture.header("Content-Length") or ""
    if declared.isascii() and declared.isdigit() and (length := int(declared[:15])) > size:
        return f"Content-Length says {length:,} bytes, and {length - size:,} of them are missing."
    return f"It is JSON that stops in the middle, after {size:,} bytes." if _is_unfinished(capture.body.strip()) else ""


def _is_unfinished(body: bytes) -> bool:
    if body[:1] not in (b"{", b"["):
        return False
    if len(body) > MAX_BODY:
        return body[-1:] not in (b"}", b"]")
    try:
        parse_json(body)
    except PayloadError:
        return _open_brackets(body) is not None
    return False


def _complete_json(body: bytes) -> Iterator[bytes]:
    """Return an unfinished JSON body with closing brackets: its last bytes were cut off."""
    brackets = _open_brackets(body)
    if brackets is None:
        return
    closed = bytes(brackets)
    for start in (b"", b'"'):
        for gap in (b"", b"\n"):
            yield body + start + closed + gap
    yield body + b"\n" + closed
    for number in range(1, len(closed)):
        yield body + closed[-number:]


def _open_brackets(body: bytes) -> bytearray | None:
    """Return the closing brackets for the end of a JSON text, None if none are open."""
    stack, in_text, escaped = bytearray(), False, False
    for byte in body:
        if in_text:
            in_text = escaped or byte != ord('"')
            escaped = byte == ord("\\") and not escaped
        elif byte == ord('"'):
            in_text = True
        elif byte in b"{[":
            stack.append(byte + 2)
        elif byte in b"}]" and (not stack or stack.pop() != byte):
            return None
    return stack[::-1] if stack else None
