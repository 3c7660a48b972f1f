"""Bytes as text, by the charset that a request declares; odd and dangerous names are left alone."""

import codecs
import json
import re
from functools import lru_cache

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


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type header alone, lower-case."""
    return content_type.partition(";")[0].strip().lower()


def parameters(header: str) -> dict[str, str]:
    """Return the parameters of a header such as Content-Type by their lower-case names, quotes undone."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        found.setdefault(name.lower(), text)
    return found


@lru_cache(maxsize=64)
def codec(charset: str) -> str | None:
    """Return the name of the codec that reads a charset; None for one that is unknown here."""
    try:
        found = codecs.lookup(charset.strip().strip("'\"")[:40])
    except (LookupError, ValueError):
        return None
    # bytes.decode() refuses the codecs that do not give text, and says so by LookupError alone.
    if found.name in _NO_CHARSETS or not getattr(found, "_is_text_encoding", True):
        return None
    return found.name


def decode(data: bytes, charset: str = "", errors: str = "strict") -> str:
    """Return the text that bytes stand for: by their byte order mark, else the charset, else UTF-8.

    Unmarked JSON in UTF-16 and UTF-32 is recognised by its zero bytes (RFC 4627, 3). A charset that is
    unknown here reads as UTF-8. Raises UnicodeDecodeError.
    """
    for mark, marked in _BOMS:
        if data.startswith(mark):
            return data.decode(marked, errors)
    name = codec(charset) if charset else None
    if name is None and b"\0" in data[:4]:
        name = json.detect_encoding(data)
    return data.decode(name or UTF_8, errors)


def decode_field(text: str, charset: str = "") -> str:
    """Return a form's text, its bytes so far read as UTF-8 with surrogates for what is none, by its charset."""
    name = codec(charset) if charset else None
    if name is None:
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode(name)
    except UnicodeError:
        return text


def is_whole(text: str) -> bool:
    """Say whether the bytes that a form's text was read from were UTF-8."""
    return not _SURROGATE.search(text)
