"""What goes over the pipes between relay and the process of a handlers file: a kind, a length, and bytes."""

import json
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from relay.handlers.event import EventMetadata
from relay.model.event import Capture, Verdict
from relay.model.payload import parse_json
from relay.model.request_items import RequestItems

# To the process: an event (JSON, then its body), the question where the run is at this moment, and a secret
# that it asked for.
HEAD, BODY, WHERE, SECRET = b"h", b"b", b"w", b"s"
# From it: the file was loaded or not, what a run printed, that it printed more than is kept, how it
# ended, where it is, and the name of a secret that it asks for.
READY, BROKEN, OUTPUT, CUT, DONE, HERE, ASK = b"r", b"x", b"o", b"c", b"d", b"l", b"a"

_LEAD = struct.Struct("!cI")


def encode_frame(kind: bytes, content: bytes = b"") -> bytes:
    """Return one frame as bytes."""
    return _LEAD.pack(kind, len(content)) + content


def encode_json(value: Mapping[str, object]) -> bytes:
    """Return plain values as the content of a frame."""
    return json.dumps(value).encode("ascii")


def decode_json(content: bytes) -> dict[str, Any]:
    """Return what `plain` was given."""
    value = parse_json(content)
    assert isinstance(value, dict)
    return value


class FrameReader:
    """Frames put together again from whatever pieces they arrive in."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Take in a piece and return the frames that are whole by now."""
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


def encode_event(capture: Capture, judgement: EventMetadata) -> bytes:
    """Return an event without its body as the content of a frame."""
    return encode_json(
        {
            "source": capture.source,
            "method": capture.method,
            "path": capture.path,
            "query": capture.query,
            "headers": capture.headers,
            "remote": capture.remote,
            "received_at": capture.received_at.isoformat(),
            "url": capture.url,
            "type": judgement.type,
            "verdict": judgement.verdict,
            "id": judgement.id,
            "provider": judgement.provider,
            "key": judgement.idempotency_key,
            "batch": judgement.batch and judgement.batch.plain(),
        }
    )


def decode_event(content: bytes, body: bytes) -> tuple[Capture, EventMetadata]:
    """Return the event that `head` and its body represent."""
    value = decode_json(content)
    capture = Capture(
        source=value["source"],
        method=value["method"],
        path=value["path"],
        query=value["query"],
        headers=tuple((name, text) for name, text in value["headers"]),
        body=body,
        remote=value["remote"],
        received_at=datetime.fromisoformat(value["received_at"]),
        url=value["url"],
    )
    judgement = EventMetadata(
        type=value["type"],
        verdict=Verdict(value["verdict"]),
        id=value["id"],
        provider=value["provider"],
        idempotency_key=value["key"],
        batch=RequestItems.read(value["batch"], value["type"]) if value["batch"] else None,
    )
    return capture, judgement
