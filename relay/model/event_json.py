"""Events, deliveries and messages as JSON, the same in the API, the stream, exports and the terminal.

By hand, because lists and the stream write hundreds of them at a time, and a command needs no pydantic for it: through
the API's models one takes four times as long. The models are what the API's document says of them.
"""

from collections import Counter
from typing import Any

from relay.model.admission import Problem, describe_reason
from relay.model.clock import format_time
from relay.model.delivery import Attempt, Delivery, ReceivedResponse, SentRequest
from relay.model.event import CapturedEvent, Check, EventRow, Headers
from relay.model.message import OPENED_CHANNELS, HistoryEntry, Message, MessageCounts
from relay.model.payload import Payload
from relay.model.text import decode_header_text, encode_body

Json = dict[str, Any]


def serialize_event_row(row: EventRow, counts: Counter[str]) -> Json:
    """Return an event as in lists; `counts` are its deliveries by state."""
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
        "deliveries": {state: counts[state] for state in ("pending", "running", "succeeded", "failed")},
    }


def serialize_event_content(event: CapturedEvent, hints: list[Json] | None, delivery_ids: list[int]) -> Json:
    """Return the content of an event that is not in its row."""
    capture = event.capture
    return {
        "url": decode_header_text(capture.url),
        "target": decode_header_text(capture.request_target),
        "headers": _serialize_headers(capture.headers),
        "body": encode_body(capture.body),
        "checks": [serialize_check(check) for check in event.verification.checks],
        "fields": [serialize_problem(problem) for problem in event.problems],
        "hints": hints,
        "delivery_ids": delivery_ids,
        "decoded": _serialize_decoded(capture.payload),
    }


def _serialize_decoded(payload: Payload) -> Json | None:
    """Return the decoded body if it was compressed or in another charset, else None."""
    unpacked, text = payload.unpacked, payload.text
    is_plain = text is None or text.encode("utf-8", "surrogatepass") == unpacked.content
    if is_plain and not payload.problem and not unpacked.encodings:
        return None
    return {"encodings": list(unpacked.encodings), "problem": payload.problem, "text": text}


def serialize_check(check: Check) -> Json:
    """Return one step of a verification."""
    return {"name": check.name, "passed": check.passed, "detail": check.detail, "result": check.result}


def serialize_problem(problem: Problem) -> dict[str, str]:
    """Return a problem of a request; with `pointer` only if it concerns one field of the body."""
    pointed = {"pointer": problem.pointer} if problem.pointer else {}
    return {"field": problem.field, **pointed, "message": problem.message, "code": problem.rule}


def serialize_delivery(delivery: Delivery) -> Json:
    """Return a delivery as in lists."""
    return {
        "id": delivery.id,
        "event": delivery.event_id,
        "source": delivery.source,
        "target": delivery.target,
        "action": delivery.action,
        "reason": delivery.reason.value,
        "state": delivery.state.value,
        "created_at": format_time(delivery.created_at),
        "due_at": format_time(delivery.due_at),
        "attempts_made": delivery.attempts,
        "spared": delivery.spared,
        "detail": delivery.detail,
        "status": delivery.status,
        "took_ms": None if delivery.took is None else _to_milliseconds(delivery.took),
        "batch": delivery.batch,
        "lab": delivery.lab,
    }


def serialize_attempt(attempt: Attempt) -> Json:
    """Return an attempt of a delivery with its request and response."""
    output = attempt.output
    return {
        "number": attempt.number,
        "started_at": format_time(attempt.started_at),
        "took_ms": _to_milliseconds(attempt.took),
        "outcome": attempt.outcome,
        "detail": attempt.detail,
        "request": attempt.request and _serialize_request(attempt.request),
        "response": attempt.response and _serialize_response(attempt.response),
        "output": output and output.text,
        "output_cut": bool(output and output.cut),
        "traceback": (output and output.traceback) or None,
    }


def _serialize_request(request: SentRequest) -> Json:
    return {
        "method": request.method,
        "url": decode_header_text(request.url),
        "headers": _serialize_headers(request.headers),
        "body": encode_body(request.body),
        "notes": list(request.notes),
    }


def _serialize_response(response: ReceivedResponse) -> Json:
    return {
        "status": response.status,
        "headers": _serialize_headers(response.headers),
        "body": encode_body(response.body),
        "cut": response.cut,
        "notes": list(response.notes),
    }


def serialize_message(message: Message, code_meaning: Json | None) -> Json:
    """Return a message as in lists."""
    return {
        "id": message.id,
        "channel": message.channel,
        "provider": message.provider,
        "external_id": message.external_id,
        "recipient": message.recipient,
        "subject": message.subject,
        "status": message.status.value,
        "code": message.code,
        "detail": message.detail,
        "opened": message.opened,
        "clicked": message.clicked,
        "embedded_id": message.embedded_id,
        "sent_at": message.sent_at and format_time(message.sent_at),
        "created_at": format_time(message.created_at),
        "event": message.event_id,
        "delivery": message.delivery_id,
        "code_meaning": code_meaning,
    }


def serialize_history_entry(entry: HistoryEntry, code_meaning: Json | None) -> Json:
    """Return a reported status of a message."""
    return {
        "status": entry.status.value,
        "at": entry.at and format_time(entry.at),
        "received_at": format_time(entry.received_at),
        "code": entry.code,
        "code_meaning": code_meaning,
        "detail": entry.detail,
        "event": entry.event_id,
        "matched_by": entry.way and entry.way.value,
    }


def serialize_counts(counts: MessageCounts, channel: str) -> Json:
    """Return the message counts of a channel with their rates."""
    numbers = ("sent", "delivered", "failed", "under_way", "opened", "clicked", "complained")
    rates = {"delivery_rate": counts.delivery_rate, "open_rate": None, "click_rate": None}
    if channel in OPENED_CHANNELS:
        rates |= {"open_rate": counts.open_rate, "click_rate": counts.click_rate}
    return {name: getattr(counts, name) for name in numbers} | rates


def _serialize_headers(headers: Headers) -> list[list[str]]:
    return [[decode_header_text(name), decode_header_text(value)] for name, value in headers]


def _to_milliseconds(seconds: float) -> float:
    return round(seconds * 1000.0, 3)
