"""A body as it lies on the wire: numbered lines of text, or bytes in hexadecimal, a window at a time."""

import codecs
from dataclasses import dataclass

from relay.model.text import printable, readable

RAW_WINDOW = 256 * 1024  # measured in Chromium: 256 kB of text 0.07 s, 5 MB 1.2 s
HEX_WINDOW = 4096
_WIDTH = 16
_WIDE = 400  # characters past which lines are wrapped, and numbers beside them would no longer fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A run of text; `hit` when it is what was looked for."""

    text: str
    hit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Part of a body. `next` is the offset of what follows, `previous` of what came before, if anything."""

    numbers: str
    pieces: tuple[Piece, ...]
    offset: int
    end: int
    size: int
    next: int | None
    previous: int | None
    wrapped: bool = False


def raw(body: bytes, offset: int = 0, find: str = "") -> Window:
    """Return the lines of a body from byte `offset`, on a line's border where there is one near."""
    offset = max(0, min(offset, len(body)))
    end = min(len(body), offset + RAW_WINDOW)
    if end < len(body):
        border = body.rfind(b"\n", offset, end)
        end = border + 1 if border > offset else _whole_characters(body, end)
    first = body.count(b"\n", 0, offset) + 1
    lines = [printable(line.replace("\t", "    ")) for line in _lines(body[offset:end])]
    numbers = "\n".join(str(number) for number in range(first, first + len(lines)))
    return Window(
        numbers=numbers,
        pieces=pieces("\n".join(lines), find),
        offset=offset,
        end=end,
        size=len(body),
        next=end if end < len(body) else None,
        previous=max(0, offset - RAW_WINDOW) if offset else None,
        wrapped=any(len(line) > _WIDE for line in lines),
    )


def hexadecimal(body: bytes, offset: int = 0) -> Window:
    """Return a page of a body in hexadecimal, sixteen bytes a line, with what they read as beside them."""
    offset = max(0, min(offset, len(body))) // _WIDTH * _WIDTH
    end = min(len(body), offset + HEX_WINDOW)
    starts = range(offset, end, _WIDTH)
    lines = [_hex_line(body[start : min(start + _WIDTH, end)]) for start in starts]
    return Window(
        numbers="\n".join(f"{start:08x}" for start in starts),
        pieces=(Piece(text="\n".join(lines)),),
        offset=offset,
        end=end,
        size=len(body),
        next=end if end < len(body) else None,
        previous=max(0, offset - HEX_WINDOW) if offset else None,
    )


def pieces(text: str, find: str) -> tuple[Piece, ...]:
    """Return the text cut at every place where `find` stands in it, without regard to case."""
    if not find:
        return (Piece(text=text),)
    cut: list[Piece] = []
    folded, wanted, here = text.lower(), find.lower(), 0
    if len(folded) != len(text):  # a letter such as "İ" grows when folded, and offsets would drift
        folded = text
    while (found := folded.find(wanted, here)) >= 0 and len(cut) < 2000:
        cut += [Piece(text=text[here:found]), Piece(text=text[found : found + len(wanted)], hit=True)]
        here = found + len(wanted)
    cut.append(Piece(text=text[here:]))
    return tuple(piece for piece in cut if piece.text)


def is_binary(body: bytes) -> bool:
    """Say whether a body is better read as bytes: a NUL, or text in neither UTF-8 nor anything like it."""
    sample = body[:4096]
    if b"\0" in sample:
        return True
    try:
        # An incremental decoder does not mind that a sample ends inside a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return sum(byte > 126 or byte < 9 for byte in sample) > len(sample) * 0.3
    return False


def _lines(body: bytes) -> list[str]:
    lines = readable(body).split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _whole_characters(body: bytes, end: int) -> int:
    # Continuation bytes of UTF-8 look like 10xxxxxx: never cut in front of one.
    for back in range(4):
        if end - back <= 0 or body[end - back] & 0xC0 != 0x80:
            return end - back
    return end


def _hex_line(chunk: bytes) -> str:
    left, right = chunk[:8].hex(" "), chunk[8:].hex(" ")
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in chunk)
    return f"{left:<23}  {right:<23}  {shown}"
