"""Converts events to records of a JSON Lines file and back, byte for byte, and HAR requests to records."""

import hashlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlencode, urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from relay.errors import UsageError
from relay.model.clock import format_time
from relay.model.event import Capture, CapturedEvent, Check, EventOutcome, NewEvent, Verdict, Verification
from relay.model.event_json import serialize_check
from relay.model.payload import PayloadError, parse_json
from relay.model.request_items import MAX_ITEMS, RequestItems
from relay.model.text import REDACTED, encode_body, escape_unprintable, is_sensitive, redact_pairs
from relay.pipeline.source_table import WEBHOOK_PREFIX
from relay.store.events import ImportedEvent

VERSION = 1
_MAX_MESSAGE = 300
_HINT = "import what relay export --as jsonl wrote"


def redact_event(event: CapturedEvent) -> CapturedEvent:
    """Return the event without usual credentials: values of headers and query fields by name."""
    capture = event.capture
    query = _redact_query(capture.query)
    address, mark, rest = capture.url.partition("?")
    url = address + mark + _redact_query(rest)
    changed = replace(capture, headers=redact_pairs(capture.headers), query=query, url=url)
    return replace(event, capture=changed, row=replace(event.row, query=query))


def _redact_query(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(name + mark + (REDACTED if mark and is_sensitive(name) else value) for name, mark, value in pairs)


def event_to_record(event: CapturedEvent) -> dict[str, Any]:
    """Return an event as JSON. Path, query, URL and headers are latin-1 text: one character is one byte."""
    row, capture = event.row, event.capture
    return {
        "relay_export": VERSION,
        "id": row.id,
        "received_at": format_time(row.received_at),
        "source": row.source,
        "provider": row.provider,
        "type": row.type,
        "types": list(row.types),
        "item_count": row.item_count,
        "batch": event.batch and event.batch.plain(),
        "idempotency_key": row.idempotency_key,
        "outcome": row.outcome.value,
        "verdict": row.verdict.value,
        "reason": row.reason,
        "status": row.status,
        "summary": row.summary,
        "sample": row.sample,
        "recovered": row.recovered,
        "sent_at": row.sent_at and format_time(row.sent_at),
        "pinned": row.pinned,
        "note": row.note,
        "method": capture.method,
        "path": capture.path,
        "query": capture.query,
        "url": capture.url,
        "remote": capture.remote,
        "headers": [[name, value] for name, value in capture.headers],
        "body": encode_body(capture.body),
        "checks": list(map(serialize_check, event.verification.checks)),
    }


# A line on the wire: latin-1 text, one character per byte.
_Line = Annotated[str, StringConstraints(pattern=r"^[^\x00\r\n\u0100-\U0010ffff]*$")]
_Token = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f/]{1,200}$")]
_Label = Annotated[str, StringConstraints(max_length=200)]


class _Body(BaseModel):
    encoding: Literal["utf-8", "base64"] = "utf-8"
    text: str

    def content(self) -> bytes:
        return b64decode(self.text, validate=True) if self.encoding == "base64" else self.text.encode()


class VerificationStep(BaseModel):
    """One step of a verification, in an export and in the API; `passed` is null for one that was not reached."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    passed: bool | None = None
    detail: str = ""
    result: str = ""


class _Batch(BaseModel):
    at: list[list[str | None]]
    form: str = ""
    n: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    types: list[_Label] = []
    of: list[Annotated[int, Field(ge=0)]] = []

    @model_validator(mode="after")
    def _fits(self) -> "_Batch":
        if len(self.of or [0] * self.n) != self.n or max(self.of, default=0) >= max(len(self.types), 1):
            raise ValueError("an event in the request has no type")
        return self


class _Record(BaseModel):
    relay_export: Literal[1]
    id: int = 0
    received_at: AwareDatetime
    source: _Name
    provider: _Label = "unknown"
    type: _Label = "unknown"
    batch: _Batch | None = None
    idempotency_key: _Label | None = None
    outcome: EventOutcome = EventOutcome.ACCEPTED
    verdict: Verdict = Verdict.UNCHECKED
    reason: _Label = ""
    status: Annotated[int, Field(ge=0, le=999)] = 200
    summary: _Label = ""
    sample: bool = False
    recovered: bool = False
    sent_at: AwareDatetime | None = None
    pinned: bool = False
    note: Annotated[str, StringConstraints(max_length=10_000)] = ""
    method: _Token
    path: _Line
    query: _Line = ""
    url: _Line = ""
    remote: _Label = ""
    headers: list[tuple[_Token, _Line]] = []
    body: _Body = _Body(text="")
    checks: list[VerificationStep] = []


def parse_record(line: bytes) -> ImportedEvent:
    """Parse a line of an export. Raises UsageError with the problem, never quoting the whole line."""
    try:
        value = parse_json(line)
        parsed = _Record.model_validate(value)
        body = parsed.body.content()
    except PayloadError as error:
        raise UsageError(f"not JSON: {error.message}", hint=_HINT) from error
    except ValidationError as error:
        raise UsageError(_describe_mistake(error), hint=_HINT) from error
    except (Base64Error, UnicodeEncodeError) as error:
        raise UsageError("the body cannot be read", hint=_HINT) from error
    return _build_event(parsed, body)


def _describe_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the line"
    what = "Input should be an object" if first["type"] == "model_type" else first["msg"]  # msg names the class
    return escape_unprintable(f"{where}: {what[:1].lower()}{what[1:]}", _MAX_MESSAGE)


def _build_event(parsed: _Record, body: bytes) -> ImportedEvent:
    capture = Capture(
        source=escape_unprintable(parsed.source),
        method=parsed.method,
        path=parsed.path,
        query=parsed.query,
        headers=tuple(parsed.headers),
        body=body,
        remote=escape_unprintable(parsed.remote),
        received_at=parsed.received_at,
        url=parsed.url,
    )
    imported = Check(name="Imported", passed=None, detail="what follows was checked by the relay that exported it")
    steps = (Check(**step.model_dump()) for step in parsed.checks)
    batch = RequestItems.read(parsed.batch.model_dump(), escape_unprintable(parsed.type)) if parsed.batch else None
    event = NewEvent(
        capture=capture,
        provider=escape_unprintable(parsed.provider),
        type=escape_unprintable(parsed.type),
        idempotency_key=escape_unprintable(parsed.idempotency_key) if parsed.idempotency_key else None,
        claims_key=False,  # an import must not make real events duplicates
        deliver_duplicates=False,
        outcome=parsed.outcome,
        verification=Verification(verdict=parsed.verdict, reason=parsed.reason, checks=(imported, *steps)),
        reason=escape_unprintable(parsed.reason),
        status=parsed.status,
        sample=parsed.sample,
        recovered=parsed.recovered,
        sent_at=parsed.sent_at,
        summary=escape_unprintable(parsed.summary),
        events=batch.split(capture.payload) if batch else None,
    )
    return ImportedEvent(
        event=event,
        original_id=max(parsed.id, 0),
        digest=_body_digest(capture),
        pinned=parsed.pinned,
        note=parsed.note.encode("utf-8", "replace").decode(),
    )


def _body_digest(capture: Capture) -> bytes:
    parts = [capture.source, format_time(capture.received_at), capture.method, capture.path, capture.query]
    parts += [f"{name}:{value}" for name, value in capture.headers]
    return hashlib.sha256("\n".join(parts).encode() + b"\n\n" + capture.body).digest()


_ELSEWHERE = "imported"  # the source of a request that was not sent to a relay


class _Pair(BaseModel):
    name: str
    value: str


class _Param(BaseModel):
    name: str
    value: str | None = None


class _PostData(BaseModel):
    text: str | None = None
    encoding: str | None = None
    params: list[_Param] | None = None
    mime_type: Annotated[str | None, Field(alias="mimeType")] = None

    def record(self) -> dict[str, str]:
        """Return the body as in an export; HAR may contain only the fields of a form."""
        text = self.text or ""
        if not text and self.params and (self.mime_type or "").startswith("application/x-www-form-urlencoded"):
            text = urlencode([(one.name, one.value or "") for one in self.params])
        return {"encoding": "base64" if self.encoding == "base64" else "utf-8", "text": text}


class _Request(BaseModel):
    method: str
    url: str
    headers: list[_Pair] = []
    post_data: Annotated[_PostData | None, Field(alias="postData")] = None


class _Origin(BaseModel):
    id: int
    source: str


class _Entry(BaseModel):
    started: Annotated[AwareDatetime, Field(alias="startedDateTime")]
    request: _Request
    origin: Annotated[_Origin | None, Field(alias="_relay")] = None  # of a file that relay wrote


def read_records(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield each request of a HAR file as a record. Raises UsageError if it is not HAR."""
    try:
        value = parse_json(content, bounded=False)
    except PayloadError as error:
        raise _no_har_error(error.message) from error
    match value:
        case {"log": {"entries": list(entries)}}:
            for number, entry in enumerate(entries, start=1):
                try:
                    yield _read_record(_Entry.model_validate(entry))
                except ValueError as error:
                    why = _describe_mistake(error) if isinstance(error, ValidationError) else "its url cannot be read"
                    raise UsageError(f"entry {number} of the HAR file: {why}", hint="save it as HAR 1.2") from error
        case _:
            raise _no_har_error("it has no log with entries")


def _no_har_error(why: str) -> UsageError:
    return UsageError(f"not a HAR file: {escape_unprintable(why, 200)}", hint="save it as HAR 1.2")


def _read_record(entry: _Entry) -> dict[str, Any]:
    request = entry.request
    url = urlsplit(request.url)
    origin = entry.origin or _Origin(id=0, source=_find_source(url.path))
    return {
        "relay_export": VERSION,
        "id": origin.id,
        "received_at": format_time(entry.started),
        "source": origin.source,
        "method": request.method,
        "path": _latin1_text(url.path or "/"),
        "query": _latin1_text(url.query),
        "url": _latin1_text(request.url),
        # Names that start with a colon are HTTP/2 pseudo-headers.
        "headers": [[pair.name, _latin1_text(pair.value)] for pair in request.headers if not pair.name.startswith(":")],
        "body": (request.post_data or _PostData()).record(),
    }


def _find_source(path: str) -> str:
    name = unquote(path.removeprefix(WEBHOOK_PREFIX).partition("/")[0]) if path.startswith(WEBHOOK_PREFIX) else ""
    return name if name.isprintable() and 0 < len(name) <= 64 and "/" not in name else _ELSEWHERE


def _latin1_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("latin-1")
