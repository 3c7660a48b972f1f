"""multipart/form-data (RFC 7578) taken apart, within limits: text fields, and files by name, type and size."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from relay.model.charsets import codec, media_type, parameters
from relay.model.text import size

MAX_PARTS = 1000
MAX_PART_HEADERS = 16_384  # bytes of the headers of one part

_PERCENT_QUOTES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """A file in a form: the field it came in, its name, its media type ("" where none is told), its size in bytes."""

    field: str
    name: str
    type: str
    size: int

    @property
    def title(self) -> str:
        """Return the file on one line: `a b.png (image/png, 10 B)`."""
        about = f"{self.type}, {size(self.size)}" if self.type else size(self.size)
        return f"{self.name or 'a file without a name'} ({about})"

    @property
    def facts(self) -> dict[str, object]:
        """Return what templates and searches find in place of the file."""
        return {"filename": self.name, "type": self.type, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: a text field, its `value` in bytes and its charset, or a file."""

    name: str
    value: bytes = b""
    charset: str = ""
    file: UploadedFile | None = None


class MultipartError(ValueError):
    """The bytes are no multipart/form-data; `sentence` says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def split_parts(body: bytes, boundary: str) -> tuple[tuple[Part, ...], bool]:
    """Return the parts of a body in order, and whether its closing line is there.

    What was cut off in the middle of a part is left out. Raises MultipartError for a body without the
    boundary, one with more than MAX_PARTS parts, and a part whose headers cannot be read.
    """
    if not boundary:
        raise MultipartError("its Content-Type names no boundary")
    line = re.compile(
        rb"\n--" + re.escape(boundary.encode("latin-1", "replace")) + rb"(--)?[ \t]*(?=\r?\n|\Z)"
    )
    # The first line has no line break before it.
    first = line.match(b"\n" + body[: len(boundary) + 80])
    start, closed = (first.end() - 1, bool(first[1])) if first else (-1, False)
    parts: list[Part] = []
    for found in line.finditer(body):
        if start >= 0 and len(parts) == MAX_PARTS:
            raise MultipartError(f"more than {MAX_PARTS} parts")
        if start >= 0:
            parts.append(_read_part(body, start, found.start()))
        start, closed = found.end(), bool(found[1])
        if closed:
            break
    if start < 0:
        raise MultipartError("the boundary of its Content-Type is nowhere in the body")
    return tuple(parts), closed


def _read_part(body: bytes, start: int, end: int) -> Part:
    start = body.find(b"\n", start) + 1
    end -= body[start:end].endswith(b"\r")
    window = body[start : min(end, start + MAX_PART_HEADERS)]
    gap = re.search(rb"\r?\n\r?\n", window)
    headers: dict[str, str] = {}
    for text in re.split(r"\r?\n(?![ \t])", window[: gap.start() if gap else None].decode("latin-1")):
        name, _, value = text.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    disposition, content_type = headers.get("content-disposition", ""), headers.get("content-type", "")
    told = parameters(disposition)
    if media_type(disposition) != "form-data" or "name" not in told:
        raise MultipartError("a part has no name")
    content = body[start + gap.end() : end] if gap else b""
    field = _text(told["name"])
    if "filename" not in told and "filename*" not in told:
        return Part(name=field, value=content, charset=parameters(content_type).get("charset", ""))
    filename = _extended(told["filename*"]) if "filename*" in told else _text(told["filename"])
    file = UploadedFile(field=field, name=filename, type=media_type(content_type), size=len(content))
    return Part(name=field, file=file)


def _text(value: str) -> str:
    # Browsers write a quote in a name as %22 and leave every other percent sign alone.
    for code, meant in _PERCENT_QUOTES.items():
        value = value.replace(code, meant)
    data = value.encode("latin-1")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _extended(value: str) -> str:
    """Return a parameter as RFC 5987 writes it: UTF-8''a%20b.png."""
    charset, _, rest = value.partition("'")
    data = unquote_to_bytes(rest.partition("'")[2])
    return data.decode(codec(charset) or "utf-8", "replace")
