"""What a request shows of its own state where no variant fits: cut short, unpacked, empty, sent on by a redirect."""

from collections.abc import Iterator

from relay.model.event import Capture
from relay.model.payload import PayloadError, parse_json
from relay.model.text import escape_unprintable
from relay.providers.doctor.case import SignatureCase, SignatureFinding, VariantTester
from relay.providers.doctor.serialization import is_sorted, list_known_orders

_MAGIC = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_PACKINGS = ("gzip", "x-gzip", "deflate", "br", "zstd")
_MAX_READ = 1_000_000  # bytes up to which a body is read whole
_TOO_SHORT = ("Expecting", "Unterminated", "end of")


def find_symptoms(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Say what is plainly wrong with the request, the likeliest cause first; nothing here is proven by a signature."""
    case = tester.case
    for look in (_check_redirect, _check_empty, _check_unpacked, _check_cut, _check_sorted):
        found = look(case)
        if found is not None:
            yield found


# RFC 9110, 15.4: a client may change POST to GET on 301 and 302, and nearly all do.
def _check_redirect(case: SignatureCase) -> SignatureFinding | None:
    capture = case.capture
    if capture.method not in ("GET", "HEAD") or capture.body:
        return None
    return SignatureFinding(
        cause="redirected",
        title=f"It came as {capture.method} without a body: a redirect does that",
        sentence=f"{case.title} posts its events. A redirect from http to https, or to a path with or without its last "
        "slash, turns a POST into a GET.",
        fix=f"Give {case.title} the address that answers by itself, without a redirect.",
    )


def _check_empty(case: SignatureCase) -> SignatureFinding | None:
    capture = case.capture
    if capture.body or capture.method in ("GET", "HEAD", "DELETE"):
        return None
    return SignatureFinding(
        cause="body_empty",
        title="The body is empty",
        sentence="The signature covers a body, and none of it arrived: something in front of relay has read it.",
        fix="Let every proxy between the provider and relay pass the body on; a body can be read once only.",
    )


def _check_unpacked(case: SignatureCase) -> SignatureFinding | None:
    capture = case.capture
    coding = (capture.header("Content-Encoding") or "").strip().lower()
    if coding not in _PACKINGS or not capture.body or _is_packed(coding, capture.body):
        return None
    return SignatureFinding(
        cause="body_unpacked",
        title=f"The body was unpacked on its way: Content-Encoding still says {escape_unprintable(coding)}",
        sentence=f"{case.title} signed the packed bytes, and what arrived is not packed.",
        fix="Let every proxy between the provider and relay pass the body on as it is, without unpacking it.",
    )


def _is_packed(coding: str, body: bytes) -> bool:
    magic = _MAGIC.get(coding)
    if magic is not None:
        return body.startswith(magic)
    # deflate and br have no mark of their own; text says that they are unpacked.
    return not body[:64].isascii() or body[:1] == b"\x78"


def _check_cut(case: SignatureCase) -> SignatureFinding | None:
    capture = case.capture
    size = len(capture.body)
    declared = capture.header("Content-Length") or ""
    if declared.isascii() and declared.isdigit() and int(declared[:15]) > size:
        missing = int(declared[:15]) - size
        return _explain_cut(
            case, f"Content-Length says {int(declared[:15]):,} bytes, and {missing:,} of them are missing."
        )
    if _is_unfinished(capture):
        return _explain_cut(case, f"It is JSON that stops in the middle, after {size:,} bytes.")
    return None


def _explain_cut(case: SignatureCase, evidence: str) -> SignatureFinding:
    return SignatureFinding(
        cause="body_cut",
        title="The body was cut short",
        sentence=f"{evidence} {case.title} signed all of it.",
        fix="Look for a limit on the size of bodies in every proxy between the provider and relay, or for a read "
        "that took only the first part.",
    )


def _is_unfinished(capture: Capture) -> bool:
    body = capture.body.strip()
    if body[:1] not in (b"{", b"["):
        return False
    if len(body) > _MAX_READ:
        return body[-1:] not in (b"}", b"]")
    try:
        parse_json(body)
    except PayloadError:
        return _open_brackets(body) is not None
    return False


def complete_json(body: bytes) -> Iterator[bytes]:
    """Return an unfinished JSON body with what closes it: its last bytes were cut off."""
    brackets = _open_brackets(body) if len(body) <= _MAX_READ else None
    if brackets is None:
        return
    closed = bytes(brackets)
    for start in ("", '"'):
        for gap in (b"", b"\n"):
            yield body + start.encode() + closed + gap
    yield body + b"\n" + closed
    for number in range(1, len(closed)):
        yield body + closed[-number:]


def _open_brackets(body: bytes) -> bytearray | None:
    """Return the brackets that close what is open at the end of a JSON text, None where nothing is."""
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


def _check_sorted(case: SignatureCase) -> SignatureFinding | None:
    if len(case.capture.body) > _MAX_READ or not is_sorted(case.capture.body):
        return None
    usual = [keys for order in list_known_orders(case) for keys in order.values()]
    if all(list(keys) == sorted(keys) for keys in usual):
        return None
    return SignatureFinding(
        cause="body_reordered",
        title="The keys of the body are in alphabetical order",
        sentence=f"{case.title} sends them in another order: something may have parsed and serialised the JSON.",
        fix="Let every proxy between the provider and relay pass the body on byte for byte.",
    )
