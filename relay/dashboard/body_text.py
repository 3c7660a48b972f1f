"""The raw body: numbered lines of text, or bytes in hexadecimal, one window at a time."""

import codecs
import difflib
import re

from relay.model.text import decode_text, escape_unprintable
from relay.model.values import dataclass

RAW_WINDOW = 256 * 1024  # measured in Chromium: 256 kB of text 0.07 s, 5 MB 1.2 s
HEX_WINDOW = 4096
_HEX_WIDTH = 16
_WRAP_FROM = 400  # characters above which lines are wrapped, so that line numbers would no longer match
_MAX_MARKS = 1000
_DIFF_TOKEN = re.compile(r"\w+|\W")
# Tokens of a value that are matched individually; above that only a common start and end are skipped.
_MAX_DIFF_TOKENS = 120
_MIN_SIMILARITY = 0.3  # below this similarity two values are marked as a whole


TextPieces = tuple[tuple[str, bool], ...]  # runs of text, each with whether it is highlighted


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyWindow:
    """Part of a body, up to `end`. `previous` is the offset of the window before, if any."""

    numbers: str
    pieces: TextPieces
    offset: int
    end: int
    size: int
    previous: int | None
    wrapped: bool = False


def build_text_window(body: bytes, offset: int = 0, find: str = "") -> BodyWindow:
    """Return the lines of a body from byte `offset`, aligned to a line break if one is near."""
    offset = max(0, min(offset, len(body)))
    end = min(len(body), offset + RAW_WINDOW)
    if end < len(body):
        border = body.rfind(b"\n", offset, end)
        end = border + 1 if border > offset else _find_character_end(body, end)
    first = body.count(b"\n", 0, offset) + 1
    lines = [escape_unprintable(line.replace("\t", "    ")) for line in _split_lines(body[offset:end])]
    numbers = "\n".join(str(number) for number in range(first, first + len(lines)))
    return BodyWindow(
        numbers=numbers,
        pieces=mark_matches("\n".join(lines), find),
        offset=offset,
        end=end,
        size=len(body),
        previous=max(0, offset - RAW_WINDOW) if offset else None,
        wrapped=any(len(line) > _WRAP_FROM for line in lines),
    )


def build_hex_window(body: bytes, offset: int = 0) -> BodyWindow:
    """Return a page of a body in hexadecimal, sixteen bytes a line, with their text."""
    offset = max(0, min(offset, len(body))) // _HEX_WIDTH * _HEX_WIDTH
    end = min(len(body), offset + HEX_WINDOW)
    starts = range(offset, end, _HEX_WIDTH)
    lines = [_format_hex_line(body[start : min(start + _HEX_WIDTH, end)]) for start in starts]
    return BodyWindow(
        numbers="\n".join(f"{start:08x}" for start in starts),
        pieces=(("\n".join(lines), False),),
        offset=offset,
        end=end,
        size=len(body),
        previous=max(0, offset - HEX_WINDOW) if offset else None,
    )


def mark_matches(text: str, find: str) -> TextPieces:
    """Return the text split at every occurrence of `find`, ignoring case."""
    if not find:
        return ((text, False),)
    parts = re.split(f"({re.escape(find)})", text, maxsplit=_MAX_MARKS, flags=re.IGNORECASE)
    return _drop_empty([(part, place % 2 == 1) for place, part in enumerate(parts)])


def is_binary(body: bytes) -> bool:
    """Return whether a body is better shown as bytes: it contains NUL, or is not mostly UTF-8."""
    sample = body[:4096]
    if b"\0" in sample:
        return True
    try:
        # An incremental decoder accepts a sample that ends inside a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return sum(byte > 126 or byte < 9 for byte in sample) > len(sample) * 0.3
    return False


def _split_lines(body: bytes) -> list[str]:
    lines = decode_text(body).split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _find_character_end(body: bytes, end: int) -> int:
    # Continuation bytes of UTF-8 are 10xxxxxx: never cut before one.
    return next((place for place in range(end, end - 4, -1) if place <= 0 or body[place] & 0xC0 != 0x80), end)


def _format_hex_line(chunk: bytes) -> str:
    left, right = chunk[:8].hex(" "), chunk[8:].hex(" ")
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in chunk)
    return f"{left:<23}  {right:<23}  {text}"


def highlight_differences(left: str | None, right: str | None) -> tuple[TextPieces, TextPieces]:
    """Return both values in pieces, marked where they differ; None gives no pieces."""
    if left is None or right is None or left == right:
        return _make_single_piece(left, hit=left != right), _make_single_piece(right, hit=left != right)
    one, other = _DIFF_TOKEN.findall(left), _DIFF_TOKEN.findall(right)
    if len(one) > _MAX_DIFF_TOKENS or len(other) > _MAX_DIFF_TOKENS:
        return _compare_ends(left, right)
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    if matcher.ratio() < _MIN_SIMILARITY:
        return _make_single_piece(left, hit=True), _make_single_piece(right, hit=True)
    codes = matcher.get_opcodes()
    return (
        _drop_empty([("".join(one[start:end]), what != "equal") for what, start, end, *_ in codes]),
        _drop_empty([("".join(other[begin:stop]), what != "equal") for what, _, _, begin, stop in codes]),
    )


def _compare_ends(left: str, right: str) -> tuple[TextPieces, TextPieces]:
    shortest = min(len(left), len(right))
    head = next((place for place in range(shortest) if left[place] != right[place]), shortest)
    tail = 0
    while tail < shortest - head and left[-1 - tail] == right[-1 - tail]:
        tail += 1
    halves = ((text[:head], text[head : len(text) - tail], text[len(text) - tail :]) for text in (left, right))
    one, other = (_drop_empty([(before, False), (middle, True), (after, False)]) for before, middle, after in halves)
    return one, other


def _make_single_piece(text: str | None, *, hit: bool) -> TextPieces:
    return () if text is None else ((text, hit),)


def _drop_empty(pieces: list[tuple[str, bool]]) -> TextPieces:
    return tuple(piece for piece in pieces if piece[0])
