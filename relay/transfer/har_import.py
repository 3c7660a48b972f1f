"""A HAR file, of a browser's tools or another inspector, as records that relay imports."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from relay.clock import format_time
from relay.errors import UsageError
from relay.model.payload import PayloadError, parse_json
from relay.model.text import escape_unprintable
from relay.transfer.records import VERSION

_SOURCE = re.compile(r"/webhooks/([A-Za-z0-9][A-Za-z0-9._-]*)")
_ELSEWHERE = "imported"  # the source of a request that was not sent to a relay


class _Har(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Pair(_Har):
    name: str
    value: str


class _PostData(_Har):
    text: str = ""
    encoding: Literal["base64"] | None = None


class _Request(_Har):
    method: str
    url: str
    headers: list[_Pair] = []
    post_data: Annotated[_PostData, Field(alias="postData")] = _PostData()


class _Entry(_Har):
    started: Annotated[AwareDatetime, Field(alias="startedDateTime")]
    request: _Request


class _Log(_Har):
    entries: list[Any]


class _File(_Har):
    log: _Log


def read_records(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield each request of a HAR file as a record. Raises UsageError for what is no HAR."""
    try:
        log = _File.model_validate(parse_json(content)).log
        for number, entry in enumerate(log.entries, start=1):
            try:
                yield _read_record(_Entry.model_validate(entry))
            except (ValidationError, ValueError) as error:
                raise UsageError(f"entry {number} of the HAR file cannot be read", hint="export it again") from error
    except (PayloadError, ValidationError) as error:
        said = error.message if isinstance(error, PayloadError) else "it has no log with entries"
        raise UsageError(f"not a HAR file: {escape_unprintable(said, 200)}", hint="save it as HAR 1.2") from error


def _read_record(entry: _Entry) -> dict[str, Any]:
    request = entry.request
    url = urlsplit(request.url)
    known = _SOURCE.match(url.path)
    body = {"encoding": request.post_data.encoding or "utf-8", "text": request.post_data.text}
    return {
        "relay_export": VERSION,
        "received_at": format_time(entry.started),
        "source": known[1] if known else _ELSEWHERE,
        "method": request.method,
        "path": _latin1_text(url.path or "/"),
        "query": _latin1_text(url.query),
        "url": _latin1_text(request.url),
        # Names that begin with a colon are HTTP/2's, and no headers.
        "headers": [[pair.name, _latin1_text(pair.value)] for pair in request.headers if not pair.name.startswith(":")],
        "body": body,
    }


def _latin1_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("latin-1")
