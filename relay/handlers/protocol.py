"""The protocol of the pipes between relay and a handlers process: frames of a kind, a length, and bytes."""

import json
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from relay.handlers.event import EventMetadata
from relay.handlers.file import HandlersResult
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded, Outcome
from relay.model.event import Capture, Verdict
from relay.model.payload import parse_json
from relay.model.request_items import RequestItems

# To the process: an event (JSON, then its body), a request for its current position, and a secret
# that it asked for.
HEAD, BODY, WHERE, SECRET = b"h", b"b", b"w", b"s"
# From it: the file was loaded or not, output of a run, that the output was cut, how the run
# ended, its position, and the name of a requested secret.
READY, BROKEN, OUTPUT, CUT, DONE, HERE, ASK = b"r", b"x", b"o", b"c", b"d", b"l", b"a"

_LEAD = struct.Struct("!cI")


def encode_frame(kind: bytes, content: bytes = b"") -> bytes:
    """Return a frame as bytes."""
    return _LEAD.pack(kind, len(content)) + content


def encode_json(value: Mapping[str, object]) -> bytes:
    """Return plain values as the content of a frame."""
    return json.dumps(value).encode("ascii")


def decode_json(content: bytes) -> dict[str, Any]:
    """Return the values from the content of a frame."""
    value = parse_json(content)
    assert isinstance(value, dict)
    return value


class FrameReader:
    """Reassembles frames from received pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Add a piece and return the frames that are complete."""
        self._rest += data
        whole = []
        while len(self._rest) >= _LEAD.size:
            kind, length = _LEAD.unpack_from(self._rest)
            end = _LEAD.size + length
            if len(self._rest) < end:
                break
            whole.append((kind, bytes(self._rest[_LEAD.size : end])))
            del self._rest[:end]
        return whole


_CAPTURED = ("source", "method", "path", "query", "headers", "remote", "url")
_KNOWN = ("type", "verdict", "id", "provider", "idempotency_key")


def encode_event(capture: Capture, metadata: EventMetadata) -> bytes:
    """Return an event as two frames: its metadata, then its body."""
    request = {name: getattr(capture, name) for name in _CAPTURED} | {"received_at": capture.received_at.isoformat()}
    known = {name: getattr(metadata, name) for name in _KNOWN}
    head = encode_json({"request": request, "known": known, "batch": metadata.batch and metadata.batch.plain()})
    return encode_frame(HEAD, head) + encode_frame(BODY, capture.body)


def decode_event(content: bytes, body: bytes) -> tuple[Capture, EventMetadata]:
    """Return the event from the contents of the two frames."""
    value = decode_json(content)
    request, known, batch = value["request"], value["known"], value["batch"]
    headers = tuple((name, text) for name, text in request.pop("headers"))
    received_at = datetime.fromisoformat(request.pop("received_at"))
    verdict = Verdict(known.pop("verdict"))
    items = RequestItems.read(batch, known["type"]) if batch else None
    capture = Capture(**request, headers=headers, received_at=received_at, body=body)
    return capture, EventMetadata(**known, verdict=verdict, batch=items)


def encode_result(ran: HandlersResult) -> dict[str, object]:
    """Return the outcome of a run as plain values."""
    outcome = ran.outcome
    result: dict[str, object] = {"outcome": outcome.name, "detail": outcome.detail, "traceback": ran.traceback}
    if ran.reply is not None:
        result["reply"] = ran.reply.decode()
    if isinstance(outcome, AttemptRetry):
        result |= {"after": outcome.after, "firm": outcome.firm}
    return result


def decode_result(result: Mapping[str, Any]) -> HandlersResult:
    """Return the outcome of a run from the values of `encode_result`."""
    outcome: Outcome = AttemptSucceeded(result["detail"])
    if result["outcome"] == AttemptFailed.name:
        outcome = AttemptFailed(result["detail"])
    elif result["outcome"] == AttemptRetry.name:
        outcome = AttemptRetry(result["detail"], after=result["after"], firm=result["firm"])
    reply = result.get("reply")
    return HandlersResult(
        outcome=outcome, traceback=result["traceback"], reply=None if reply is None else reply.encode()
    )
