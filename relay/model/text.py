"""Escapes captured text before it is shown."""

import base64
import codecs
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

# C0, DEL, C1, bidi controls, line and paragraph separators, lone surrogates: everything
# that could move a cursor, recolour a terminal, forge a log line or swap letters around.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]"
)

_SECRET_NAME = re.compile(
    r"authorization|cookie|api[-_]?key|token|secret|signature|password|passwd|hmac|content-mac|passcode|-sig\b|sig-hash",
    re.IGNORECASE,
)

REDACTED = "[redacted]"

_PATH_SIGNS = "/!$&'()*+,;:=@"  # characters that a path may contain unescaped besides letters and digits, RFC 3986


def quote_path(path: str) -> str:
    """Return a path percent-encoded as UTF-8."""
    return quote(path, safe=_PATH_SIGNS, errors="surrogateescape")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def escape_unprintable(text: str | bytes, limit: int | None = None) -> str:
    r"""Return `text` on one line with every control character written as `\xNN` or `\uNNNN`.

    Bytes are decoded as UTF-8, else as latin-1. With `limit`, longer text is
    cut at that many characters and ends in an ellipsis.
    """
    if isinstance(text, bytes):
        text = decode_text(text)
    # Nearly everything is printable already, and asking costs a tenth of looking.
    shown = text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)
    if limit is not None and len(shown) > limit:
        return shown[: limit - 1] + "…"
    return shown


def escape_lines(text: str) -> str:
    """Return `text` with every control character escaped but line feeds and tabs."""
    return re.sub(r"[^\n\t]+", lambda run: escape_unprintable(run[0]), text)


def decode_text(value: bytes) -> str:
    """Return bytes as the text they most likely are: UTF-8, else latin-1 (never an error)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def decode_utf8(value: bytes) -> str | None:
    """Return bytes as text where they are UTF-8, else None."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def decode_header_text(value: str) -> str:
    """Return a captured header value (latin-1, one character a byte) as readable text."""
    return value if value.isascii() else decode_text(value.encode("latin-1"))


def encode_body(data: bytes) -> dict[str, str]:
    """Return bytes as JSON has them: text where they are UTF-8, else base64."""
    text = decode_utf8(data)
    if text is None:
        return {"encoding": "base64", "text": base64.b64encode(data).decode()}
    return {"encoding": UTF_8, "text": text}


def is_sensitive(name: str) -> bool:
    """Return whether a header or field of that name usually holds a credential."""
    return _SECRET_NAME.search(name) is not None


def redact_pairs(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return header or field pairs with the values of sensitive names replaced."""
    return tuple((name, REDACTED if is_sensitive(name) else value) for name, value in pairs)


def format_size(count: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, whole in (("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)):
        if count >= whole:
            return f"{count / whole:.1f} {unit}"
    return f"{count} B"


UTF_8 = "utf-8"

_PARAMETER = re.compile(r";\s*([^\s=;]+)\s*=\s*(\"(?:\\.|[^\"\\])*\"|[^;\s]*)")
# Python codecs that are no charset: they run escapes, or take more than linear time.
_NO_CHARSETS = frozenset(
    ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "mbcs", "oem")
)
_SURROGATE = re.compile("[\udc80-\udcff]")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def parse_media_type(content_type: str) -> str:
    """Return the media type of a Content-Type header alone, lower-case."""
    return content_type.partition(";")[0].strip().lower()


def parse_parameters(header: str) -> dict[str, str]:
    """Return the parameters of a header such as Content-Type by their lower-case names, quotes undone."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        found.setdefault(name.lower(), text)
    return found


@lru_cache(maxsize=64)
def find_codec(charset: str) -> str | None:
    """Return the name of the codec that reads a charset; None for one that is unknown here."""
    try:
        found = codecs.lookup(charset.strip().strip("'\"")[:40])
    except (LookupError, ValueError):
        return None
    # bytes.decode() refuses the codecs that do not give text, and says so by LookupError alone.
    if found.name in _NO_CHARSETS or not getattr(found, "_is_text_encoding", True):
        return None
    return found.name


def decode_bytes(data: bytes, charset: str = "", errors: str = "strict") -> str:
    """Return the text that bytes represent: by their byte order mark, else the charset, else UTF-8.

    Unmarked JSON in UTF-16 and UTF-32 is recognised by its zero bytes (RFC 4627, 3). A charset that is
    unknown here is read as UTF-8. Raises UnicodeDecodeError.
    """
    if not charset and (start := data[:4]).isascii() and b"\0" not in start:
        return data.decode(UTF_8, errors)
    for mark, marked in _BOMS:
        if data.startswith(mark):
            return data.decode(marked, errors)
    name = find_codec(charset) if charset else None
    if name is None and b"\0" in data[:4]:
        name = json.detect_encoding(data)
    return data.decode(name or UTF_8, errors)


def decode_field(text: str, charset: str = "") -> str:
    """Return a form's text, its bytes so far read as UTF-8 with surrogates for what is none, by its charset."""
    name = find_codec(charset) if charset else None
    if name is None:
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode(name)
    except UnicodeError:
        return text


def is_utf8_text(text: str) -> bool:
    """Return whether the bytes that a form's text was read from were UTF-8."""
    return not _SURROGATE.search(text)


_NAMED = 4  # types that are named in a headline


def format_headline(type_: str, types: tuple[str, ...], count: int) -> str:
    """Return what an event is called: its type, or for several "3 events: delivered, bounce"."""
    if count < 2 or types == ("unknown",):
        return type_
    shown = types if len(types) <= _NAMED else types[: _NAMED - 1]
    more = f" and {len(types) - len(shown)} more" if len(shown) < len(types) else ""
    return f"{count} events: {', '.join(shown)}{more}"


def find_similar(word: str, choices: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the choice that a word was most likely meant to be, "" where none is near; `cutoff` 1.0 is the same."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it, and every command starts faster

    return next(iter(get_close_matches(word, list(choices), n=1, cutoff=cutoff)), "")
