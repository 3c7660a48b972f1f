"""How captured text is made harmless before a person sees it."""

import re

# C0, DEL, C1, bidi controls, line and paragraph separators, lone surrogates: everything
# that could move a cursor, recolour a terminal, forge a log line or swap letters around.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]",
)

_SECRET_NAME = re.compile(
    r"authorization|cookie|api[-_]?key|token|secret|signature|password|passwd|hmac|content-mac|passcode|-sig\b|sig-hash",
    re.IGNORECASE,
)

REDACTED = "[redacted]"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def printable(text: str | bytes, limit: int | None = None) -> str:
    r"""Return `text` on one line with every control character written as `\xNN` or `\uNNNN`.

    Bytes are read as UTF-8, or as latin-1 where they are not. With `limit`, longer text is
    cut at that many characters and ends in an ellipsis.
    """
    if isinstance(text, bytes):
        text = readable(text)
    # Nearly everything is printable already, and asking costs a tenth of looking.
    shown = text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)
    if limit is not None and len(shown) > limit:
        return shown[: limit - 1] + "…"
    return shown


def readable(value: bytes) -> str:
    """Return bytes as the text they most likely are: UTF-8, else latin-1 (never an error)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def header_text(value: str) -> str:
    """Return a captured header value (latin-1, one character a byte) as readable text."""
    return readable(value.encode("latin-1"))


def is_sensitive(name: str) -> bool:
    """Say whether a header or field of that name usually holds a credential."""
    return _SECRET_NAME.search(name) is not None


def redact(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return header or field pairs with the values of sensitive names replaced."""
    return tuple((name, REDACTED if is_sensitive(name) else value) for name, value in pairs)


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, whole in (("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)):
        if count >= whole:
            return f"{count / whole:.1f} {unit}"
    return f"{count} B"
