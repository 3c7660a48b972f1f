"""An event as JSON, the same in the API, the stream and the terminal."""

from typing import Any

from relay.clock import format_time
from relay.model.admission import describe_reason
from relay.model.delivery import DeliveryCounts
from relay.model.event import EventRow
from relay.model.text import decode_header_text


def serialize_event_row(row: EventRow, counts: DeliveryCounts) -> dict[str, Any]:
    """Return an event as the API's `EventSummary` has it.

    By hand, because the list and the stream write hundreds of them at a time, and a command needs no pydantic for it:
    through the model one takes four times as long. A test holds the two to each other.
    """
    return {
        "id": row.id,
        "received_at": format_time(row.received_at),
        "source": row.source,
        "provider": row.provider,
        "type": row.type,
        "types": list(row.types),
        "item_count": row.item_count,
        "idempotency_key": row.idempotency_key,
        "outcome": row.outcome.value,
        "verdict": row.verdict.value,
        "reason": row.reason or None,
        "reason_sentence": describe_reason(row.reason) if row.reason else None,
        "method": row.method,
        "path": decode_header_text(row.path),
        "query": decode_header_text(row.query),
        "content_type": decode_header_text(row.content_type),
        "size": row.size,
        "sha256": row.sha256,
        "remote": row.remote,
        "status": row.status or None,
        "duplicate_of": row.duplicate_of,
        "pinned": row.pinned,
        "note": row.note,
        "sample": row.sample,
        "summary": row.summary,
        "recovered": row.recovered,
        "sent_at": row.sent_at and format_time(row.sent_at),
        "deliveries": {
            "pending": counts.pending,
            "running": counts.running,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
        },
    }
