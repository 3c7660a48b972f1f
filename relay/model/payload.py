"""The payload of a request: the only module that parses captured bytes, as JSON, fields or text."""

from collections.abc import Iterable
from contextlib import nullcontext, suppress
from functools import lru_cache
from typing import NamedTuple

from relay.model.content_encoding import Unpacked, unpack
from relay.model.json_paths import find_below, split_pointer
from relay.model.parsing import (
    JSON_LINES,
    PayloadError,
    UploadedFile,
    indent_json,
    parse_form,
    parse_json,
    parse_json_lines,
    split_parts,
)
from relay.model.text import (
    decode_bytes,
    decode_field,
    escape_unprintable,
    find_codec,
    is_utf8_text,
    parse_media_type,
    parse_parameters,
)
from relay.model.values import dataclass

__all__ = ["Payload", "PayloadError", "parse_form", "parse_json"]

LIGHT = 64 * 1024  # bytes of a body that are parsed in about a millisecond
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_LINES_TOO = frozenset(("", "application/json", "text/json", "text/plain", "application/octet-stream"))  # may be too


class _Document(NamedTuple):
    value: object = None
    text: str | None = None
    error: PayloadError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    pairs: tuple[tuple[str, str], ...] = ()
    files: tuple[UploadedFile, ...] = ()
    problem: str = ""


class Payload:
    """The payload of a request, parsed at most once and when first needed; its bytes stay unchanged.

    `content_type` and `encoding` are headers; `query` is the URL's, as latin-1 text: the payload of a request
    that has no body. `exact` gives numbers with a fraction or an exponent as Decimal, to compare them.
    """

    # Manual caching: functools.cached_property of Python 3.11 takes a lock on every first read.
    __slots__ = (
        "_body",
        "_content_type",
        "_document",
        "_encoding",
        "_exact",
        "_fields",
        "_query",
        "_strict",
        "_unpacked",
        "is_form",
        "media_type",
    )

    def __init__(
        self, body: bytes, content_type: str = "", *, encoding: str = "", query: str = "", exact: bool = False
    ) -> None:
        self._body = body
        self._exact = exact
        self._content_type = content_type
        self._encoding = encoding
        self._query = query
        self._unpacked: Unpacked | None = None
        self._fields: _Fields | None = None
        self._document: _Document | None = None
        self._strict: _Document | None = None
        self.media_type = parse_media_type(content_type)
        self.is_form = self.media_type == FORM

    @classmethod
    def of_request(
        cls, headers: Iterable[tuple[str, str]], body: bytes, query: str = "", *, exact: bool = False
    ) -> "Payload":
        """Return the payload of a request from its header pairs, its body, and its query as latin-1 text."""
        content_type, encodings = None, []
        for name, value in headers:
            # Comparing lengths first avoids nearly every lower().
            length = len(name)
            if length == 12 and content_type is None and name.lower() == "content-type":
                content_type = value
            elif length == 16 and name.lower() == "content-encoding":
                encodings.append(value)
        return cls(body, content_type or "", encoding=", ".join(encodings), query=query, exact=exact)

    @classmethod
    def of(cls, value: object) -> "Payload":
        """Return a payload whose JSON is known already, such as one item of a batch."""
        made = cls(b"")
        made._document = _Document(value=value, text="")
        return made

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to parse: no body and no query parameters."""
        return not self._body and not self._query

    @property
    def is_heavy(self) -> bool:
        """Return whether parsing takes more than about a millisecond: then call `load` in a thread."""
        return len(self._body) > LIGHT or bool(self._encoding)

    def load(self, *, strict: bool = False) -> None:
        """Parse everything now, so that nothing is parsed later; `strict` for validation by a schema."""
        if strict:
            self._read_strictly()
        self._read_document()

    @property
    def unpacked(self) -> Unpacked:
        """Return the body without its Content-Encodings, and their problem."""
        if self._unpacked is None:
            self._unpacked = unpack(self._body, self._encoding)
        return self._unpacked

    @property
    def problem(self) -> str:
        """Return a clause on why the body does not match its headers; "" if it does."""
        charset = self._charset
        if self.unpacked.problem:
            return self.unpacked.problem
        if charset and find_codec(charset) is None:
            return f"its charset {escape_unprintable(charset, 40)} is unknown here: read as UTF-8"
        return self._read_fields().problem

    @property
    def text(self) -> str | None:
        """Return the unpacked body as text in its charset; None if it is not text."""
        try:
            return decode_bytes(self.unpacked.content, self._charset)
        except UnicodeDecodeError:
            return None

    @property
    def readable_text(self) -> str:
        """Return the unpacked body as text with its most likely charset; invalid bytes are replaced."""
        text = self.text
        return decode_bytes(self.unpacked.content, self._charset, "replace") if text is None else text

    @property
    def form(self) -> tuple[tuple[str, str], ...]:
        """Return the text fields of a form body in order; empty if the body is not a form."""
        return self._read_fields().pairs if self._body else ()

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Return the text fields of a form body, or the query parameters if there is no body."""
        return self._read_fields().pairs

    @property
    def files(self) -> tuple[UploadedFile, ...]:
        """Return the files of a multipart/form-data body."""
        return self._read_fields().files

    @property
    def json(self) -> object:
        """Return the body as JSON, or the JSON object or list in a form's `payload` (GitHub, Slack), else None."""
        found = self._read_document()
        return None if found.text is None else found.value

    @property
    def value(self) -> object:
        """Return the `payload` of templates: the JSON, or fields by name (the last one wins), else None.

        JSON lines are a list; a file of a form is an object with its filename, type and size.
        """
        return (self._document or self._read_document()).value

    @property
    def error(self) -> PayloadError | None:
        """Return why the body has no value; None if it has one."""
        return self._read_document().error

    def strict_document(self) -> tuple[object, str | None]:
        """Return the value, and the JSON text it was read from; None for the text of fields.

        Raises PayloadError for a body without a value, or an ambiguous one.
        """
        found = self._read_strictly()
        if found.error is not None:
            raise found.error
        return found.value, found.text

    def lines(self) -> Iterable[str]:
        """Yield the body as lines for display: indented JSON, fields and files one per line, else unchanged."""
        if self.json is not None:
            return indent_json(self._read_document().text or "")
        found = self._read_fields()
        if found.pairs or found.files:
            files = (f"{one.field} = {one.title}" for one in found.files)
            return [*(f"{name} = {value}" for name, value in found.pairs), *files]
        text = self.text
        if text is None:
            text = self.unpacked.content.decode("utf-8", "backslashreplace")
        return text.expandtabs(4).splitlines()

    def at(self, *keys: str | int, missing: object = None) -> object:
        """Return the part of the value at `keys`; `missing` if there is none."""
        return find_below(self.value, keys, missing)

    def json_at(self, *keys: str | int) -> object:
        """Return the part of the JSON at `keys`, never a form field or a query parameter."""
        return find_below(self.json, keys)

    def pointer(self, path: str) -> object:
        """Return the part of the value at a JSON Pointer (RFC 6901), such as `/data/object/id`."""
        if path in ("", "/"):
            return self.value
        return self.at(*split_pointer(path))

    @property
    def _charset(self) -> str:
        return _find_charset(self._content_type) if ";" in self._content_type else ""

    def _decoded(self) -> str:
        try:
            content = self.unpacked.content if self._encoding else self._body
            return decode_bytes(content, self._charset)
        except UnicodeDecodeError as error:
            called = "UTF-8" if error.encoding in ("utf-8", "utf_8") else error.encoding
            raise PayloadError(f"not {called} text at byte {error.start}") from error

    def _read_document(self) -> _Document:
        if self._document is None:
            self._document = self._parse_document(strict=False)
        return self._document

    def _read_strictly(self) -> _Document:
        if self._strict is None:
            self._strict = self._parse_document(strict=True)
            if self._strict.error is None and self._document is None:
                self._document = self._strict  # parsed in one way only, so there is no second parse
        return self._strict

    def _parse_document(self, *, strict: bool) -> _Document:
        try:
            return _Document(*self._parse(strict))
        except PayloadError as error:
            return _Document(error=error)

    def _parse(self, strict: bool) -> tuple[object, str | None]:
        if not self._body and self._query:
            return dict(self.fields), None
        if self._encoding and not self.unpacked.readable:
            raise PayloadError(self.unpacked.problem)
        if self.is_form or self.media_type == MULTIPART:
            return self._form_document(strict)
        text = self._decoded()
        if self.media_type in JSON_LINES:
            return parse_json_lines(text, strict=strict, exact=self._exact)
        try:
            return parse_json(text, strict=strict, exact=self._exact), text
        except PayloadError as error:
            if strict or error.line < 2 or text[:1] not in "{[" or self.media_type not in _LINES_TOO:
                raise
            with suppress(PayloadError):
                return parse_json_lines(text, exact=self._exact)
            raise

    def _form_document(self, strict: bool) -> tuple[object, str | None]:
        found = self._read_fields()
        texts = [value for name, value in found.pairs if name == "payload"][:1]
        if self.is_form and self.unpacked.content[:80].lstrip()[:1] in (b"{", b"["):
            texts = [self.text or ""]  # JSON with the content type of a form, as curl -d sends it by default
        for text in texts:
            if text.lstrip()[:1] in ("{", "["):
                with nullcontext() if strict else suppress(PayloadError):
                    return parse_json(text, strict=strict, exact=self._exact), text
        if found.problem and not found.pairs and not found.files:
            raise PayloadError(found.problem)
        return {file.field: file.facts for file in found.files} | dict(found.pairs), None

    def _read_fields(self) -> _Fields:
        if self._fields is None:
            try:
                self._fields = self._parsed_fields()
            except PayloadError as error:
                self._fields = _Fields(problem=error.message)
        return self._fields

    def _parsed_fields(self) -> _Fields:
        if not self._body:
            return _Fields(pairs=parse_form(self._query.encode("latin-1", "replace")) if self._query else ())
        if not self.unpacked.readable:
            return _Fields()
        if self.is_form:
            return _Fields(pairs=_by_charset(parse_form(self.unpacked.content), self._charset, {}))
        if self.media_type != MULTIPART:
            return _Fields()
        parts, whole = split_parts(self.unpacked.content, parse_parameters(self._content_type).get("boundary", ""))
        texts = tuple((one.name, one.value.decode("utf-8", "surrogateescape")) for one in parts if not one.file)
        return _Fields(
            pairs=_by_charset(texts, self._charset, {one.name: one.charset for one in parts if one.charset}),
            files=tuple(one.file for one in parts if one.file),
            problem="" if whole else "the body ends in the middle of a part",
        )


@lru_cache(maxsize=64)
def _find_charset(content_type: str) -> str:
    return parse_parameters(content_type).get("charset", "")


def _by_charset(
    pairs: tuple[tuple[str, str], ...], charset: str, declared: dict[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a form, decoded by the charset of each field, of the form, or named in its fields.

    `_charset_` is HTML's field and `charset` PayPal's; SendGrid's `charsets` is JSON, a charset for each field.
    """
    if all(name.isascii() and value.isascii() for name, value in pairs):
        return pairs
    fields = dict(pairs)
    named: object = None
    with suppress(PayloadError):
        named = parse_json(fields.get("charsets", ""))
    hints = named if isinstance(named, dict) else {}
    general = charset or fields.get("_charset_") or fields.get("charset") or ""

    def read(text: str, sure: str, likely: object) -> str:
        if sure or is_utf8_text(text):
            return decode_field(text, sure)
        return decode_field(text, likely if isinstance(likely, str) else general)

    return tuple(
        (read(name, charset, general), read(value, declared.get(name, charset), hints.get(name)))
        for name, value in pairs
    )
