"""Decodes Content-Encodings within limits, so that a compressed body can be read; received bytes stay unchanged."""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

from relay.model.text import escape_unprintable, format_size
from relay.model.values import dataclass

MAX_UNPACKED = 10_000_000  # bytes of an unpacked body
MAX_RATIO = 100  # times the size of the received body
MIN_LIMIT = 64_000  # bytes that any body may unpack to: small repetitive bodies compress well
MAX_LAYERS = 4
MAX_MEMBERS = 1000  # gzip files in a row

_GZIP = b"\x1f\x8b"
_NEEDS = {
    "br": ": that needs the Python package brotli 1.2",
    "zstd": ": that needs Python 3.14, or the package backports.zstd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A body without its Content-Encodings.

    `encodings` are the decoded ones, the outermost first. `problem` is a clause on what did not go as
    declared. `readable` is False if `content` is not the intended body: still packed, or cut.
    """

    content: bytes
    encodings: tuple[str, ...] = ()
    problem: str = ""
    readable: bool = True


class _StoppedError(Exception):
    """Unpacking ended before the body did; `content` is the part that was unpacked."""

    def __init__(self, clause: str, content: bytes) -> None:
        super().__init__(clause)
        self.clause = clause
        self.content = content


class _NotPackedError(Exception):
    """The bytes do not have the encoding that the header names."""


def unpack(body: bytes, declared: str) -> Unpacked:
    """Return a body without the encodings that its Content-Encoding header lists; never raises.

    Unpacking stops at LIMIT bytes, and at RATIO times the size of the body if that is more than FLOOR.
    """
    names = [name.strip().lower() for name in declared.split(",")]
    names = [name for name in reversed(names) if name and name != "identity"]
    if not names or not body:
        return Unpacked(content=body)
    if len(names) > MAX_LAYERS:
        return Unpacked(content=body, problem=f"it has more than {MAX_LAYERS} encodings", readable=False)
    limit = min(MAX_UNPACKED, max(MIN_LIMIT, MAX_RATIO * len(body)))
    content = body
    undone: list[str] = []
    for name in names:
        try:
            content = _decode_layer(name, content, limit)
        except _NotPackedError:
            # Many proxies unpack a body and leave the header.
            return Unpacked(
                content=content, encodings=tuple(undone), problem=f"its Content-Encoding says {name}, which it is not"
            )
        except _StoppedError as stopped:
            if stopped.content is not content:
                undone.append(name)
            return Unpacked(content=stopped.content, encodings=tuple(undone), problem=stopped.clause, readable=False)
        undone.append(name)
    return Unpacked(content=content, encodings=tuple(undone))


def find_installed_decoders() -> tuple[str, ...]:
    """Return the encodings that are supported because a package for them is installed."""
    return tuple(name for name, opener in _DECODERS.items() if opener() is not None)


def _decode_layer(name: str, data: bytes, limit: int) -> bytes:
    if name in ("gzip", "x-gzip"):
        return _decode_gzip(data, limit)
    if name == "deflate":
        return _decode_deflate(data, limit)
    opener = _DECODERS.get(name)
    start = opener() if opener else None
    if start is None:
        raise _StoppedError(
            f"its encoding {escape_unprintable(name, 40)} cannot be read here{_NEEDS.get(name, '')}", data
        )
    return _decode_with(name, start, data, limit)


def _decode_gzip(data: bytes, limit: int) -> bytes:
    if not data.startswith(_GZIP):
        raise _NotPackedError
    content, start = bytearray(), 0
    # Several members in a row are one body (RFC 1952, 2.2).
    for _ in range(MAX_MEMBERS):
        start = _inflate_into(content, 31, data, start, limit)
        if not data.startswith(_GZIP, start):
            return bytes(content)
    raise _StoppedError(f"its gzip has more than {MAX_MEMBERS} parts", bytes(content))


def _decode_deflate(data: bytes, limit: int) -> bytes:
    try:
        zlib.decompressobj(15).decompress(data[:256], 1)
        window = 15
    except zlib.error:
        window = -15  # RFC 9110 means zlib's format; some senders omit its header
    content = bytearray()
    _inflate_into(content, window, data, 0, limit)
    return bytes(content)


def _inflate_into(content: bytearray, window: int, data: bytes, start: int, limit: int) -> int:
    """Unpack `data` from `start`, and return the end position."""
    name = "gzip" if window > 15 else "deflate"
    unpacker = zlib.decompressobj(window)
    step = max(16, len(data) // 1000)  # at most this many bytes before a damaged position are lost
    try:
        while not unpacker.eof and start < len(data):
            piece = data[start : start + step]
            start += len(piece)
            while piece and not unpacker.eof:
                content += unpacker.decompress(piece, limit + 1 - len(content))
                piece = unpacker.unconsumed_tail
                if len(content) > limit:
                    raise _size_error(name, bytes(content[:limit]), limit)
    except zlib.error as error:
        if window < 0 and not content:
            raise _NotPackedError from error
        raise _StoppedError(f"its {name} is damaged", bytes(content)) from error
    if not unpacker.eof:
        raise _StoppedError(f"its {name} ends too early", bytes(content))
    return start - len(unpacker.unused_data)


def _decode_with(name: str, start: Callable[[bytes, int], tuple[bytes, bool]], data: bytes, limit: int) -> bytes:
    try:
        content, done = start(data, limit + 1)
    except Exception as error:
        # Each package raises its own errors.
        raise _NotPackedError from error
    if len(content) > limit:
        raise _size_error(name, content[:limit], limit)
    if not done:
        raise _StoppedError(f"its {name} ends too early", content)
    return content


@lru_cache(maxsize=1)
def _find_brotli() -> Callable[[bytes, int], tuple[bytes, bool]] | None:
    module = _first_module("brotli", "brotlicffi")
    # Releases before 1.2 cannot limit the output size.
    if module is None or [int(part) for part in re.findall(r"\d+", module.__version__)] < [1, 2]:
        return None

    def read(data: bytes, most: int) -> tuple[bytes, bool]:
        unpacker = module.Decompressor()
        content = unpacker.process(data, output_buffer_limit=most)
        while len(content) < most and not unpacker.is_finished():
            more = unpacker.process(b"", output_buffer_limit=most - len(content))
            if not more:
                break
            content += more
        return content, unpacker.is_finished()

    return read


@lru_cache(maxsize=1)
def _find_zstd() -> Callable[[bytes, int], tuple[bytes, bool]] | None:
    module = _first_module("compression.zstd", "backports.zstd")
    if module is None:
        return None

    def read(data: bytes, most: int) -> tuple[bytes, bool]:
        unpacker = module.ZstdDecompressor()
        content = unpacker.decompress(data, most)
        return content, unpacker.eof

    return read


_DECODERS = {"br": _find_brotli, "zstd": _find_zstd}


def _first_module(*names: str) -> Any:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _size_error(name: str, content: bytes, limit: int) -> _StoppedError:
    why = f"more than {format_size(MAX_UNPACKED)}" if limit >= MAX_UNPACKED else f"more than {MAX_RATIO} times its size"
    return _StoppedError(f"its {name} unpacks to {why}: reading stopped at {format_size(limit)}", content)
