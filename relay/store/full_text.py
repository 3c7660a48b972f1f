"""The full-text index, filled after the commits: new events at once, those of an older relay gradually."""

import asyncio
import re
import sqlite3
import time
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

from relay.model.content_encoding import find_installed_decoders
from relay.model.payload import Payload
from relay.model.text import decode_header_text, decode_text
from relay.model.values import dataclass
from relay.store.readers import Readers, Repository
from relay.store.row_mappers import load_headers
from relay.store.writer import Writer

INDEX_BATCH = 200  # events indexed in one commit: about 10 ms of the writer's time
# Version of the indexed text. The index does not store it, and removing an event needs the same text,
# so a change of how it is made needs a new number here: everything is indexed again then.
_TEXT_VERSION = 2
_EMPTY = (
    "DROP TABLE words",
    "CREATE VIRTUAL TABLE words USING fts5(text, content = '', tokenize = 'unicode61', detail = none)",
)


@dataclass(frozen=True, slots=True)
class IndexedRange:
    """The range of indexed events, `low` to `high`; `low` is 1 if no older events are left."""

    low: int
    high: int


class Indexer(Repository):
    """Fills the index after the commits: inside them it would cost a third of the throughput.

    New events come first, then those before `low`, newest first.
    """

    def __init__(self, writer: Writer, readers: Readers) -> None:
        super().__init__(writer, readers)
        self._turn = asyncio.Lock()

    async def prepare(self) -> None:
        """Empty an index whose text has another version; call once before anything is indexed."""
        form = _TEXT_VERSION * 4 + 2 * ("br" in find_installed_decoders()) + ("zstd" in find_installed_decoders())
        row = await self._readers.one("SELECT value FROM counters WHERE name = 'indexed_as'")
        if row is None or row[0] != form:
            await self._writer.write(lambda connection: _restart_index(connection, form))

    async def catch_up(self, patience: float | None = None) -> IndexedRange:
        """Index the existing events, older ones for at most `patience` seconds; return the indexed range."""
        ends = None if patience is None else time.monotonic() + patience
        newest = await self._readers.number("SELECT MAX(id) FROM events")  # new events might never end
        while True:
            async with self._turn:
                reached = await self._reached()
                found = await self._new(reached) if reached.high < newest else []
                late = not found and ends is not None and time.monotonic() > ends
                if late or not await self._index(reached, found):
                    return await self._reached()

    async def step(self) -> int:
        """Index one batch and return its number of events; 0 means that nothing is left."""
        async with self._turn:
            reached = await self._reached()
            return await self._index(reached, await self._new(reached))

    async def _reached(self) -> IndexedRange:
        rows = await self._readers.all("SELECT name, value FROM counters WHERE name LIKE 'indexed_%'")
        values = {row[0]: row[1] for row in rows}
        return IndexedRange(values["indexed_from"], values["indexed_to"])

    async def _new(self, reached: IndexedRange) -> list[sqlite3.Row]:
        return await self._read("id > ? ORDER BY id", reached.high)

    async def _index(self, reached: IndexedRange, found: list[sqlite3.Row]) -> int:
        found = found or await self._read("id < ? ORDER BY id DESC", reached.low)
        if not found and reached.low > 1:
            await self._writer.write(lambda connection: _set_counter(connection, "indexed_from", 1))
        if found:
            # Decoding thousands of escapes takes long, and the event loop must not block.
            texts = await asyncio.to_thread(lambda: [(row["id"], build_searchable_text(*row[1:])) for row in found])
            # A power cut undoes the words and the mark of the range together.
            await self._writer.write(lambda connection: _insert_texts(connection, texts), is_durable=False)
        return len(found)

    async def _read(self, where: str, number: int) -> list[sqlite3.Row]:
        return await self._readers.all(
            f"SELECT id, {TEXT_COLUMNS} FROM events JOIN event_bytes ON event_id = id WHERE {where} LIMIT ?",
            (number, INDEX_BATCH),
            deadline=5.0,
        )


def _restart_index(connection: sqlite3.Connection, form: int) -> None:
    for statement in _EMPTY:
        connection.execute(statement)
    last = connection.execute("SELECT coalesce(MAX(id), 0) FROM events").fetchone()[0]
    for name, value in (("indexed_to", last), ("indexed_from", last + 1), ("indexed_as", form)):
        _set_counter(connection, name, value)


def _insert_texts(connection: sqlite3.Connection, texts: list[tuple[int, str]]) -> None:
    low, high = (
        connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0]
        for name in ("indexed_from", "indexed_to")
    )
    fresh = sorted(pair for pair in texts if not low <= pair[0] <= high)
    if fresh:
        connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", fresh)
        _set_counter(connection, "indexed_from", min(low, fresh[0][0]))
        _set_counter(connection, "indexed_to", max(high, fresh[-1][0]))


def _set_counter(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, value))


MAX_TEXT = 256 * 1024  # characters of a body whose words are found
_PACKED = 1_000_000  # bytes of a packed body that are unpacked
WORD_PATTERN = re.compile(r"[^\W_]+")

# The columns that `searchable_text` reads, the body limited to what it needs.
TEXT_COLUMNS = (
    "type, path, query, headers, substr(body, 1, CASE WHEN instr(lower(CAST(headers AS TEXT)), 'content-encoding:') "
    f"THEN {_PACKED} ELSE {MAX_TEXT} END) AS body"
)

_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.", re.DOTALL)
_SPACES = frozenset("nrtbf")
# Scripts without spaces between words: Thai to Khmer, kana, Han. The index has no words for them.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def build_searchable_text(type_: str, path: bytes, query: bytes, headers: bytes, body: bytes | None) -> str:
    """Return the searchable text of an event; it never changes for an event."""
    pairs = load_headers(headers)
    target = f"{decode_text(path)}?{decode_text(query)}" if query else decode_text(path)
    payload = Payload.of_request(pairs, body or b"", query.decode("latin-1"))  # substr() of an empty blob is NULL
    parts = [type_, target, unquote(target.replace("+", " "))] if "%" in target or "+" in target else [type_, target]
    parts += [f"{decode_header_text(name)} {decode_header_text(value)}" for name, value in pairs]
    text = "\n".join([*parts, _build_body_text(payload)[:MAX_TEXT]])
    return text.replace("\0", " ").encode("utf-8", "replace").decode()  # what SQLite can store


def contains_text(text: str, phrase: str) -> bool:
    """Return whether a text contains another, ignoring case and white space."""
    return " ".join(phrase.casefold().split()) in " ".join(text.casefold().split())


def contains_phrase(text: str, phrase: str, *, closed: bool) -> bool:
    """Return whether a phrase occurs in a text; its last word may be a prefix unless `closed`.

    Between words any characters except words may occur; JSON's quotes are ignored.
    """
    return _compile_phrase(phrase, closed).search(_fold_text(text)) is not None


def has_unindexed(text: str) -> bool:
    """Return whether the index alone cannot find a text: it has no words, or no spaces between words."""
    return not WORD_PATTERN.search(text) or _UNSPACED.search(text) is not None


@lru_cache(maxsize=64)
def _compile_phrase(phrase: str, closed: bool) -> re.Pattern[str]:
    parts = re.findall(r"[^\W_]+|[\W_]+", _fold_text(phrase).strip())
    pattern = "".join(re.escape(part) if WORD_PATTERN.match(part) else _match_signs(part) for part in parts)
    start = r"(?<![^\W_])" if WORD_PATTERN.match(parts[0]) else ""
    end = r"(?![^\W_])" if closed and WORD_PATTERN.match(parts[-1]) else ""
    return re.compile(start + pattern + end)


def _match_signs(signs: str) -> str:
    signs = "".join(signs.replace('"', " ").split())
    return r'["\s]*'.join(["", *(re.escape(sign) for sign in signs), ""]) if signs else r"[\W_]+"


def _fold_text(text: str) -> str:
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join([letter for letter in parts if not unicodedata.combining(letter)])
    return text.casefold()


def _build_body_text(payload: Payload) -> str:
    if payload.fields or payload.files:
        lines = [f"{name} {_unescape_json(value)}" for name, value in payload.fields]
        return "\n".join([*lines, *(f"{file.field} {file.name} {file.type}" for file in payload.files)])
    text = payload.readable_text
    return _unescape_json(text) if payload.media_type.endswith("json") or text.lstrip()[:1] in ("{", "[", '"') else text


def _unescape_json(text: str) -> str:
    """Return JSON text with its escapes decoded; it may be cut, JSON lines, or contain JSON as text."""
    text = _ESCAPE.sub(_decode_escape, text) if "\\" in text else text
    return _ESCAPE.sub(_decode_escape, text) if "\\u" in text else text


def _decode_escape(match: re.Match[str]) -> str:
    escape = match[0]
    if len(escape) > 2:
        return bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "replace")
    return " " if escape[1] in _SPACES else escape[1]
