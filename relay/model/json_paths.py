"""Replaces or adds one value of a JSON text without changing any other byte."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from relay.model.parsing import parse_json
from relay.model.values import dataclass

Key = str | int  # text is the name of a member or, as digits, an index; a number is an index of a list
Render = Callable[[bytes | None], bytes]

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR = re.compile(rb"[^ \t\r\n,\]}]+")
_TOKEN = re.compile(_STRING.pattern + rb"|[\[\]{}]", re.DOTALL)


class PathError(ValueError):
    """A path does not exist: the value at `key` has no such location."""

    def __init__(self, key: Key) -> None:
        super().__init__(str(key))
        self.key = key


@dataclass(frozen=True, slots=True)
class Splice:
    """The bytes from `start` to `end` are replaced by `new`."""

    start: int
    end: int
    new: bytes

    def apply(self, data: bytes) -> bytes:
        """Return the data with the splice applied."""
        return data[: self.start] + self.new + data[self.end :]


@dataclass(frozen=True, slots=True)
class _JsonItem:
    """A member of an object or an element of a list: its start, and the start and end of its value.

    `key_end` is the end of a member's key; an element has none.
    """

    start: int
    key_end: int
    value: int
    end: int
    key: str = ""


def splice_json(data: bytes, keys: Sequence[Key], render: Render) -> Splice:
    """Return the splice that sets the value at `keys`; `render(old)` gives its JSON, `old` is None if it is new.

    Of equal keys the last is used, as by parsers. A new member or element is written in the style
    around it; missing objects on the path are created, and null counts as missing. Raises PayloadError if
    it is not JSON, PathError for a path that does not exist.
    """
    parse_json(data, bounded=False)
    start = _skip_space(data, len(_BOM) if data.startswith(_BOM) else 0)
    root = start
    end = _find_end(data, start)
    for place, key in enumerate(keys):
        opening = data[start : start + 1]
        if opening == b"{" and isinstance(key, str):
            items = list(_iterate_members(data, start))
            item, name = next((one for one in reversed(items) if one.key == key), None), key
        elif opening == b"[" and (position := _parse_index(key)) is not None:
            items = list(_iterate_elements(data, start))
            if position > len(items):
                raise PathError(key)
            item, name = items[position] if position < len(items) else None, None
        elif data[start:end] == b"null":
            return Splice(start, end, _write_nested(data, root, keys[place:], render))
        else:
            raise PathError(key)
        if item is None:
            new = _write_nested(data, root, keys[place + 1 :], render)
            return _splice_new(data, (start, end), items, (root, name), new)
        start, end = item.value, item.end
    return Splice(start, end, render(data[start:end]))


def write_text(text: str, data: bytes) -> bytes:
    """Return a text as JSON, with escapes beyond ASCII if `data` has them too."""
    escapes = data.isascii() and b"\\u" in data
    try:
        return json.dumps(text, ensure_ascii=escapes).encode()
    except UnicodeEncodeError:
        return json.dumps(text).encode()


def _write_nested(data: bytes, root: int, keys: Sequence[Key], render: Render) -> bytes:
    """Return the value below `keys`, with the objects and lists around it. Raises PathError as `splice_json`."""
    made, colon = render(None), _find_colon(data, root)
    for key in reversed(keys):
        if isinstance(key, str):
            made = b"{" + write_text(key, data) + colon + made + b"}"
        elif key == 0:
            made = b"[" + made + b"]"
        else:
            raise PathError(key)
    return made


def _splice_new(
    data: bytes, span: tuple[int, int], items: list[_JsonItem], named: tuple[int, str | None], new: bytes
) -> Splice:
    """Return the splice that adds a member (or an element, if it has no name) at the end of a container."""
    root, key = named
    start, end = span
    if key is not None:
        colon = data[items[-1].key_end : items[-1].value] if items else _find_colon(data, root)
        new = write_text(key, data) + colon + new
    if items:
        last = items[-1]
        if len(items) > 1:
            between = data[items[-2].end : last.start]
        else:
            lead = data[start + 1 : last.start]
            spaced = b" " if _find_colon(data, root).endswith(b" ") else b""
            between = b"," + (lead if b"\n" in lead else spaced)
        return Splice(last.end, last.end, between + new)
    if (indent := _find_indent(data, root)) is not None and start != root:
        line = data[data.rfind(b"\n", 0, start) + 1 : start]
        outer = line[: len(line) - len(line.lstrip(b" \t"))]
        newline = b"\r\n" if b"\r\n" in data else b"\n"
        new = newline + outer + indent + new + newline + outer
        return Splice(start + 1, end - 1, new)
    inner = data[start + 1 : end - 1]
    return Splice(start + 1, end - 1, inner + new + inner)


def _find_colon(data: bytes, root: int) -> bytes:
    """Return the text between key and value of the first member; `:` if there is none."""
    while data[root : root + 1] in (b"{", b"["):
        walk = _iterate_members if data[root : root + 1] == b"{" else _iterate_elements
        item = next(walk(data, root), None)
        if item is None:
            break
        if item.key_end > item.start:
            return data[item.key_end : item.value]
        root = item.value
    return b":"


def _find_indent(data: bytes, root: int) -> bytes | None:
    """Return the indent of members below the root; None if they are on one line."""
    space = data[root + 1 : _skip_space(data, root + 1)]
    return space.rpartition(b"\n")[2] if b"\n" in space else None


def _iterate_members(data: bytes, start: int) -> Iterator[_JsonItem]:
    at = _skip_space(data, start + 1)
    while data[at : at + 1] == b'"':
        key_end = _find_end(data, at)
        value = _skip_space(data, _skip_space(data, key_end) + 1)
        end = _find_end(data, value)
        key = str(parse_json(data[at:key_end]))
        yield _JsonItem(at, key_end, value, end, key)
        at = _skip_space(data, _skip_space(data, end) + 1)


def _iterate_elements(data: bytes, start: int) -> Iterator[_JsonItem]:
    at = _skip_space(data, start + 1)
    while data[at : at + 1] not in (b"]", b""):
        end = _find_end(data, at)
        yield _JsonItem(at, at, at, end)
        at = _skip_space(data, end)
        if data[at : at + 1] == b"]":
            return
        at = _skip_space(data, at + 1)


def _find_end(data: bytes, at: int) -> int:
    """Return the end of the value that starts at `at`. The data is known to be JSON."""
    opening = data[at : at + 1]
    if opening not in (b"{", b"["):
        match = (_STRING if opening == b'"' else _SCALAR).match(data, at)
        return match.end() if match else at
    depth = 0
    for token in _TOKEN.finditer(data, at):
        match token.group()[:1]:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
                if depth == 0:
                    return token.end()
    return len(data)


def _skip_space(data: bytes, at: int) -> int:
    match = _SPACE.match(data, at)
    return match.end() if match else at


_NAME = re.compile(r"[A-Za-z_$][\w$-]*")


def format_pointer(keys: Iterable[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of `keys`; "" for the whole body."""
    return "".join(append_to_pointer("", str(key)) for key in keys)


def format_dotted_path(pointer: str) -> str:
    """Return the dotted path of a JSON Pointer: `/data/items/0` is `data.items[0]`."""
    path = ""
    for key in split_pointer(pointer):
        path = append_to_path(path, key, listed=key.isdigit())
    return path


def split_pointer(pointer: str) -> tuple[str, ...]:
    """Return the keys of a JSON Pointer."""
    return tuple([part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]])


def append_to_path(path: str, key: str, *, listed: bool) -> str:
    """Return the path of a member below `path`."""
    if listed:
        return f"{path}[{key}]"
    if not _NAME.fullmatch(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def append_to_pointer(pointer: str, key: str) -> str:
    """Return the JSON Pointer of a member below `pointer`."""
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"


def find_below(value: object, keys: tuple[str | int, ...], missing: object = None) -> object:
    """Return the value at `keys` of a JSON value; `missing` if there is none."""
    for key in keys:
        if isinstance(value, dict):
            if key not in value:
                return missing
            value = value[key]
            continue
        position = _parse_index(key) if isinstance(value, list) else None
        if not isinstance(value, list) or position is None or position >= len(value):
            return missing
        value = value[position]
    return value


def _parse_index(key: str | int) -> int | None:
    if isinstance(key, int):
        return key if key >= 0 else None
    return int(key) if key.isascii() and key.isdigit() and len(key) < 10 else None
