"""What a search looks for words in: the text of an event as a person reads it, whatever way it was sent."""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

from relay.model.payload import Payload
from relay.model.text import header_text, readable
from relay.store.rows import load_headers

MAX_TEXT = 256 * 1024  # characters of a body whose words are found
_PACKED = 1_000_000  # bytes of a packed body that are unpacked
WORD = re.compile(r"[^\W_]+")

# Every column that `searchable_text` reads, the body no longer than it needs.
COLUMNS = (
    "type, path, query, headers, substr(body, 1, CASE WHEN instr(lower(CAST(headers AS TEXT)), 'content-encoding:') "
    f"THEN {_PACKED} ELSE {MAX_TEXT} END) AS body"
)

_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.", re.DOTALL)
_SPACES = frozenset("nrtbf")
# Scripts that put no space between words: Thai to Khmer, kana, Han. The index knows no words of theirs.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def searchable_text(type_: str, path: bytes, query: bytes, headers: bytes, body: bytes | None) -> str:
    """Return the text whose words are found for an event; the same for as long as the event is there."""
    pairs = load_headers(headers)
    target = f"{readable(path)}?{readable(query)}" if query else readable(path)
    payload = Payload.of_request(
        pairs, body or b"", query.decode("latin-1")
    )  # substr() of an empty blob is NULL
    parts = (
        [type_, target, unquote(target.replace("+", " "))]
        if "%" in target or "+" in target
        else [type_, target]
    )
    parts += [f"{header_text(name)} {header_text(value)}" for name, value in pairs]
    return _storable("\n".join([*parts, _body_text(payload)[:MAX_TEXT]]))


def text_holds(text: str, wanted: str) -> bool:
    """Say whether a text holds another letter for letter, whatever its case and the spaces in it."""
    return " ".join(wanted.casefold().split()) in " ".join(text.casefold().split())


def phrase_holds(text: str, wanted: str, *, closed: bool) -> bool:
    """Say whether words and signs stand in a text one after the other; the last word may go on unless `closed`.

    Between words alone there may be anything but words; JSON's quotes never count.
    """
    return _phrase(wanted, closed).search(_folded(text)) is not None


def has_unindexed(text: str) -> bool:
    """Say whether the index alone cannot find a text: it has no words, or words without spaces between."""
    return not WORD.search(text) or _UNSPACED.search(text) is not None


@lru_cache(maxsize=64)
def _phrase(wanted: str, closed: bool) -> re.Pattern[str]:
    parts = re.findall(r"[^\W_]+|[\W_]+", _folded(wanted).strip())
    pattern = "".join(re.escape(part) if WORD.match(part) else _between(part) for part in parts)
    start = r"(?<![^\W_])" if WORD.match(parts[0]) else ""
    end = r"(?![^\W_])" if closed and WORD.match(parts[-1]) else ""
    return re.compile(start + pattern + end)


def _between(signs: str) -> str:
    signs = "".join(signs.replace('"', " ").split())
    return r'["\s]*'.join(["", *(re.escape(sign) for sign in signs), ""]) if signs else r"[\W_]+"


def _folded(text: str) -> str:
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join([letter for letter in parts if not unicodedata.combining(letter)])
    return text.casefold()


def _body_text(payload: Payload) -> str:
    if payload.fields or payload.files:
        lines = [f"{name} {_unescaped(value)}" for name, value in payload.fields]
        return "\n".join([*lines, *(f"{file.field} {file.name} {file.type}" for file in payload.files)])
    text = payload.readable_text
    return (
        _unescaped(text)
        if payload.media_type.endswith("json") or text.lstrip()[:1] in ("{", "[", '"')
        else text
    )


def _unescaped(text: str) -> str:
    """Return JSON text with its escapes undone in place; it may be cut, JSON lines, or hold JSON as text."""
    text = _ESCAPE.sub(_undo, text) if "\\" in text else text
    return _ESCAPE.sub(_undo, text) if "\\u" in text else text


def _undo(match: re.Match[str]) -> str:
    escape = match[0]
    if len(escape) > 2:
        return bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "replace")
    return " " if escape[1] in _SPACES else escape[1]


def _storable(text: str) -> str:
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
