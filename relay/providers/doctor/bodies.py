"""The body changed on its way: laid out anew, its ends, its letters, its packing."""

import gzip
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from relay.model.payload import PayloadError, parse_json
from relay.model.text import printable
from relay.providers.doctor.bench import Bench, with_body
from relay.providers.doctor.case import Finding, name_of
from relay.providers.doctor.reserialised import LIMIT, form_bodies, json_bodies
from relay.providers.doctor.symptoms import completions

_BOM = b"\xef\xbb\xbf"
_UNPACKED = 4_000_000  # bytes that a packed body may become
_PACKED = 200_000  # bytes up to which a body is packed or escaped again
_CLOSINGS = 8
_ENVELOPES = ("body", "rawbody", "raw_body", "payload", "data", "message", "content", "event", "raw")
_CHARSETS = ("latin-1", "cp1252", "utf-16")


class Change(NamedTuple):
    """A body as it may have been sent: the kind for the table, what happened to it, and its bytes."""

    kind: str
    happened: str
    body: bytes


def changed(bench: Bench) -> Iterator[Finding]:
    """Try the body as it may have been sent, with every secret of the source."""
    received = bench.case.capture.body
    seen = {received}
    coding = (bench.case.capture.header("Content-Encoding") or "").strip().lower()
    for change in chain(_repacked(received, coding), changes(received, is_form=_is_form(bench))):
        if bench.is_late():
            return
        if change.body in seen:
            continue
        seen.add(change.body)
        for secret in bench.own:
            if bench.fits(secret, change.kind, capture=with_body(bench.case.capture, change.body)):
                yield Finding(
                    cause="body_changed",
                    title=f"The body changed before it reached relay: {change.happened}",
                    sentence=f"The signature fits {name_of(secret)} with {len(change.body):,} bytes; {len(received):,} "
                    f"arrived. {_difference(change.body, received)}",
                    fix="Let whatever stands between the provider and relay pass the body on byte for byte: no parsed "
                    "JSON, no other encoding.",
                    certain=True,
                )
                return


def changes(body: bytes, *, is_form: bool = False) -> Iterator[Change]:
    """Return a body as it may have been before something changed it, the likeliest change first."""
    yield from _ends(body)
    yield from _packing(body)
    yield from _wrapped(body)
    for name, form in form_bodies(body) if is_form else ():
        yield Change("Form re-encoded", f"form re-encoded, sent with {name}", form)
    for name, text in json_bodies(body):
        yield Change("JSON re-serialised", f"re-serialised JSON, sent {name}", text)
    yield from _letters(body)


def _ends(body: bytes) -> Iterator[Change]:
    kind = "Ends and line breaks"
    for end, name in ((b"\n", "newline"), (b"\r\n", "CRLF")):
        yield Change(kind, f"its trailing {name} was removed", body + end)
    stripped = body.rstrip(b"\r\n")
    if stripped != body:
        yield Change(kind, "a trailing newline was added", stripped)
        yield Change(kind, "a trailing newline was added", body.removesuffix(b"\n"))
        yield Change(kind, "its trailing CRLF became a newline", stripped + b"\r\n")
        yield Change(kind, "its trailing newline became CRLF", stripped + b"\n")
    if b"\n" in body:
        unix = body.replace(b"\r\n", b"\n")
        yield Change(kind, "line breaks changed from LF to CRLF", unix)
        yield Change(kind, "line breaks changed from CRLF to LF", unix.replace(b"\n", b"\r\n"))
    yield Change(kind, "a byte order mark was added", body.removeprefix(_BOM))
    yield Change(kind, "its byte order mark was removed", _BOM + body)
    yield Change(kind, "spaces around it were added", body.strip())


def _packing(body: bytes) -> Iterator[Change]:
    kind = "Packing"
    for name, window in (("gzip", 31), ("deflate", 15)):
        unpacked = _unpack(body, window)
        if unpacked is not None:
            yield Change(kind, f"it was packed with {name}", unpacked)
    if len(body) <= LIMIT and body:
        try:
            yield Change(kind, "it was encoded as base64", b64decode(body, validate=True))
        except ValueError:
            return


def _wrapped(body: bytes) -> Iterator[Change]:
    """Return the body inside an envelope (an API gateway's event), or the envelope it was taken from."""
    kind = "Envelopes"
    if len(body) > LIMIT:
        return
    try:
        value = parse_json(body)
    except PayloadError:
        for inner in islice(completions(body), _CLOSINGS):
            yield Change("Body cut short", "its end was cut off", inner)
        return
    # GitHub and Slack send JSON in a field of a form; what takes it out breaks the signature.
    for written in (quote_plus(body), quote(body, safe="")) if len(body) <= _PACKED else ():
        yield Change(kind, "its JSON was taken out of the form field payload", f"payload={written}".encode())
    for name, text in value.items() if isinstance(value, dict) else ():
        if name.lower() in _ENVELOPES and isinstance(text, str):
            yield Change(
                kind,
                f"it was put into the field {printable(name)} of another",
                text.encode("utf-8", "surrogatepass"),
            )
            with suppress(ValueError):
                yield Change(
                    kind,
                    f"it was put into the field {printable(name)} of another",
                    b64decode(text, validate=True),
                )


def _repacked(body: bytes, coding: str) -> Iterator[Change]:
    """Return the body packed as senders pack it, where only its header says still that it was."""
    if coding not in ("gzip", "x-gzip", "deflate") or len(body) > _PACKED or not body:
        return
    happened = f"it was unpacked, and Content-Encoding still says {coding}"
    for level in (6, 9, 1, *(2, 3, 4, 5, 7, 8)):
        if coding == "deflate":
            yield Change("Packing", happened, zlib.compress(body, level))
            continue
        made = gzip.compress(body, level, mtime=0)
        for system in (made[9], 255, 3, 0, 19):
            for extra in {made[8], 0, 2, 4}:
                yield Change("Packing", happened, made[:8] + bytes((extra, system)) + made[10:])


def _unpack(body: bytes, window: int) -> bytes | None:
    unpacker = zlib.decompressobj(window)
    try:
        unpacked = unpacker.decompress(body, _UNPACKED)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None


def _letters(body: bytes) -> Iterator[Change]:
    if body.isascii() or len(body) > LIMIT:
        return
    for charset in _CHARSETS:
        with suppress(UnicodeError):
            yield Change("Charset", f"charset changed from {charset} to UTF-8", body.decode().encode(charset))
        with suppress(UnicodeError):
            yield Change("Charset", f"charset changed from UTF-8 to {charset}", body.decode(charset).encode())


def _is_form(bench: Bench) -> bool:
    return bench.case.capture.content_type == "application/x-www-form-urlencoded"


def _difference(sent: bytes, received: bytes) -> str:
    # Positions only: the bytes themselves stand in the Payload tab.
    length = min(len(sent), len(received))
    at = next((index for index in range(length) if sent[index] != received[index]), length)
    return f"They differ from byte {at + 1:,} on."
