"""Parses JSON, JSON lines and forms from bytes, within limits."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from urllib.parse import parse_qsl, unquote_to_bytes

from relay.model.numbers import parse_number
from relay.model.text import (
    decode_header_text,
    escape_unprintable,
    find_codec,
    format_size,
    parse_media_type,
    parse_parameters,
)
from relay.model.values import dataclass

MAX_DEPTH = 200
MAX_FIELDS = 10_000
MAX_VALUES = 300_000  # in one JSON text: 25 MB of small ones take 700 MB of memory
JSON_LINES = frozenset(
    (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/x-json-stream",
        "application/stream+json",
        "application/json-seq",
        "text/x-ndjson",
    )
)
# Possessive: backtracking over a string of 25 MB would take gigabytes.
_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]+')
_RESERVED_ESCAPES = re.compile(rb"%[fF][eEfF]")


class PayloadError(ValueError):
    """The bytes could not be parsed; `line` and `column` (from 1) give the position, if known."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


def parse_json(data: bytes | str, *, strict: bool = False, exact: bool = False, bounded: bool = True) -> object:
    """Return the value that JSON text represents.

    Raises PayloadError for text that is not JSON, is nested deeper than MAX_DEPTH levels, or holds more than MAX_VALUES
    values or a number too long to convert; never RecursionError or a bare ValueError. `strict` also refuses what two
    readers would read differently: a key twice in one object, a number past any float. `exact` gives a number with a
    fraction or an exponent as Decimal, and as its text where its exponent is past any Decimal. Without `bounded` there
    may be any number of values: in a file to import, and in a body to edit.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        if bounded:
            _check_size(text)
        value = _load_json(text, strict, exact)
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8 text at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise PayloadError(error.msg, error.lineno, error.colno) from error
    except RecursionError as error:
        raise PayloadError("nested too deeply") from error
    except PayloadError:
        raise
    except ValueError as error:
        # An integer with more digits than Python parses (4,300); its message is advice for programmers.
        raise PayloadError("a number is too large") from error
    if text.count("{") + text.count("[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise PayloadError(f"nested deeper than {MAX_DEPTH} levels")
    return value


def is_json(data: bytes | str) -> bool:
    """Return whether a text of any size is JSON."""
    try:
        parse_json(data, bounded=False)
    except PayloadError:
        return False
    return True


def _check_size(text: str, marks: str = ",[{") -> None:
    """Raise PayloadError for more than MAX_VALUES values; all but the outermost follow one of `marks`."""
    if len(text) <= MAX_VALUES or sum(map(text.count, marks)) <= MAX_VALUES:
        return
    # Each match extends to the next mark outside of strings, the last to the end; possessive, to avoid backtracking.
    pattern = rf'(?s:[^"{marks}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+(?:([{marks}])|\Z|(?s:.+))'
    if sum(islice((1 for match in re.finditer(pattern, text) if match[1]), MAX_VALUES + 1)) > MAX_VALUES:
        raise PayloadError(f"more than {MAX_VALUES:,} values")


def _load_json(text: str, strict: bool, exact: bool) -> object:
    if text.startswith("\ufeff"):
        return json.loads(text)  # which raises the error
    decoder = _make_decoder(strict, exact)
    # Most texts are a value with at most a line break after it; `decode` also skips white space before it.
    try:
        value, end = decoder.raw_decode(text)
    except json.JSONDecodeError:
        return decoder.decode(text)
    return decoder.decode(text) if text[end:].strip(" \t\r\n") else value


@lru_cache
def _make_decoder(strict: bool, exact: bool) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_constant=_refuse_constant,
        parse_float=parse_number if exact else _parse_finite if strict else None,
        object_pairs_hook=_build_unique if strict else None,
    )


def indent_json(text: str) -> Iterator[str]:
    """Yield valid JSON text as indented lines: numbers keep their spelling, and repeated keys are kept."""
    line, before, depth = "", "", 0
    for match in _TOKENS.finditer(text):
        token = match[0]
        closes = token in ("}", "]")
        depth -= closes
        if before == "," or closes != (before in ("{", "[")):
            yield line
            line = "  " * depth
        readable = json.dumps(json.loads(token), ensure_ascii=False) if "\\" in token else token
        line += {":": ": "}.get(token) or readable
        depth += token in ("{", "[")
        before = token
    yield line


def encode_json(value: object, indent: int | None = None) -> bytes:
    """Return a JSON value as most senders write it: unescaped UTF-8, compact unless indented."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def parse_json_lines(text: str, *, strict: bool = False, exact: bool = False) -> tuple[list[object], str]:
    """Return the values of JSON lines (or of a JSON text sequence, RFC 7464), and the equivalent JSON list.

    Empty lines are left out. Raises PayloadError that names the first line that is not JSON, or as `parse_json` does.
    """
    mark = "\x1e" if text.lstrip("\ufeff \r\n\t").startswith("\x1e") else "\n"
    _check_size(text, f",[{{{mark}")
    values: list[object] = []
    taken: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split(mark), start=1):
        if not line.strip():
            continue
        try:
            values.append(parse_json(line, strict=strict, exact=exact))
        except PayloadError as error:
            raise PayloadError(error.message, number, error.column or 1) from error
        taken.append(line)
    if not values:
        raise PayloadError("no line holds JSON")
    return values, f"[{','.join(taken)}]"


def parse_form(data: bytes) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a form body in order, blanks kept; bytes that are not UTF-8 survive as surrogates.

    Raises PayloadError when there are more than MAX_FIELDS fields.
    """
    if data.count(b"&") >= MAX_FIELDS:
        raise PayloadError(f"more than {MAX_FIELDS} form fields")
    if (pairs := _parse_plain_form(data)) is not None:
        return pairs
    # As browsers do: a malformed escape stays unchanged.
    text = data.decode("utf-8", "surrogateescape")
    return tuple(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))


def _parse_plain_form(data: bytes) -> tuple[tuple[str, str], ...] | None:
    """Return the pairs, unescaped by one C call; None if an escape is malformed.

    Five times as fast as a call a field: 10 KB take 60 µs. The bytes 254 and 255, which no UTF-8 has, replace the
    separators meanwhile.
    """
    if not data.isascii() or _RESERVED_ESCAPES.search(data):
        return None
    marked = data.replace(b"\\", b"\\\\").replace(b"&", b"\\xff").replace(b"=", b"\\xfe")
    marked = marked.replace(b"+", b" ").replace(b"%", b"\\x")
    try:
        text = marked.decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeDecodeError:
        return None
    cut = [field.partition("\udcfe") for field in text.split("\udcff") if field]
    return tuple([(name, value.replace("\udcfe", "=")) for name, _, value in cut])


def _refuse_constant(name: str) -> float:
    raise PayloadError(f"{name} is not JSON")


def _parse_finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise PayloadError("a number is too large")
    return number


def _build_unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise PayloadError(f"the key {escape_unprintable(twice, 60)!r} stands twice in one object")
    return value


def _deeper_than(value: object, limit: int) -> bool:
    level: list[object] = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


MAX_PARTS = 1000
MAX_PART_HEADERS = 16_384  # bytes of the headers of one part

_PERCENT_QUOTES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """A file in a form: its field, its name, its media type ("" if there is none), its size in bytes."""

    field: str
    name: str
    type: str
    size: int

    @property
    def title(self) -> str:
        """Return the file on one line: `a b.png (image/png, 10 B)`."""
        about = f"{self.type}, {format_size(self.size)}" if self.type else format_size(self.size)
        return f"{self.name or 'a file without a name'} ({about})"

    @property
    def facts(self) -> dict[str, object]:
        """Return the facts that templates and searches see in place of the file."""
        return {"filename": self.name, "type": self.type, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPart:
    """A part: a text field with its `value` in bytes, its start in the body, and its charset; or a file."""

    name: str
    start: int = 0
    value: bytes = b""
    charset: str = ""
    file: UploadedFile | None = None


def split_parts(body: bytes, boundary: str) -> tuple[tuple[FormPart, ...], bool]:
    """Return the parts of a body in order, and whether its closing boundary is present.

    An incomplete part is left out. Raises PayloadError for a body without the
    boundary, with more than MAX_PARTS parts, or with malformed part headers.
    """
    if not boundary:
        raise PayloadError("its Content-Type names no boundary")
    line = re.compile(rb"\n--" + re.escape(boundary.encode("latin-1", "replace")) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    # The first line has no line break before it.
    first = line.match(b"\n" + body[: len(boundary) + 80])
    start, closed = (first.end() - 1, bool(first[1])) if first else (-1, False)
    parts: list[FormPart] = []
    for found in line.finditer(body):
        if start >= 0 and len(parts) == MAX_PARTS:
            raise PayloadError(f"more than {MAX_PARTS} parts")
        if start >= 0:
            parts.append(_read_part(body, start, found.start()))
        start, closed = found.end(), bool(found[1])
        if closed:
            break
    if start < 0:
        raise PayloadError("the boundary of its Content-Type is nowhere in the body")
    return tuple(parts), closed


def _read_part(body: bytes, start: int, end: int) -> FormPart:
    start = body.find(b"\n", start) + 1
    end -= body[start:end].endswith(b"\r")
    window = body[start : min(end, start + MAX_PART_HEADERS)]
    gap = re.search(rb"\r?\n\r?\n", window)
    headers: dict[str, str] = {}
    for text in re.split(r"\r?\n(?![ \t])", window[: gap.start() if gap else None].decode("latin-1")):
        name, _, value = text.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    disposition, content_type = headers.get("content-disposition", ""), headers.get("content-type", "")
    params = parse_parameters(disposition)
    if parse_media_type(disposition) != "form-data" or "name" not in params:
        raise PayloadError("a part has no name")
    content = body[start + gap.end() : end] if gap else b""
    field = _decode_name(params["name"])
    if "filename" not in params and "filename*" not in params:
        charset = parse_parameters(content_type).get("charset", "")
        return FormPart(name=field, start=end - len(content), value=content, charset=charset)
    filename = _decode_extended(params["filename*"]) if "filename*" in params else _decode_name(params["filename"])
    file = UploadedFile(field=field, name=filename, type=parse_media_type(content_type), size=len(content))
    return FormPart(name=field, file=file)


def _decode_name(value: str) -> str:
    # Browsers escape a quote in a name as %22 and leave all other percent signs unchanged.
    for code, meant in _PERCENT_QUOTES.items():
        value = value.replace(code, meant)
    return decode_header_text(value)


def _decode_extended(value: str) -> str:
    """Return the value of an RFC 5987 parameter: UTF-8''a%20b.png."""
    charset, _, rest = value.partition("'")
    data = unquote_to_bytes(rest.partition("'")[2])
    return data.decode(find_codec(charset) or "utf-8", "replace")
