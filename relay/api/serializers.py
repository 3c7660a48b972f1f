"""Nouns as the JSON of the API: every name here is one that programs rely on."""

import base64
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from relay.actions.mail.compose import Mail
from relay.delivery.retention import RetentionLimits, RetentionNotice
from relay.model.admission import Problem, describe_reason
from relay.model.batch import Batch, BatchCounts, BatchPlan
from relay.model.delivery import Attempt, Delivery, DeliveryCounts, ReceivedResponse, SentRequest
from relay.model.event import CapturedEvent, EventRow, Headers, Source, Verification
from relay.model.message import Message
from relay.model.text import decode_header_text, escape_unprintable
from relay.pipeline.limits import RefusalCounts, RefusalKind
from relay.pipeline.responses import problem_as_json
from relay.pipeline.routing import RouteMatch
from relay.providers.doctor import Diagnosis
from relay.providers.sender_urls import request_target
from relay.store.pruning import StoreUsage

Json = dict[str, Any]
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def format_time(value: datetime) -> str:
    """Return a time as RFC 3339 UTC with microseconds."""
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def serialize_event_row(row: EventRow, counts: DeliveryCounts) -> Json:
    """Return an event as it stands in lists."""
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


def serialize_event(whole: CapturedEvent, counts: DeliveryCounts, hints: list[Json]) -> Json:
    """Return an event whole: with headers, body, checks and hints."""
    return serialize_event_row(whole.row, counts) | {
        "url": decode_header_text(whole.capture.url),
        "target": decode_header_text(request_target(whole.capture)),
        "headers": serialize_headers(whole.capture.headers),
        "body": serialize_body(whole.capture.body),
        "checks": serialize_checks(whole.verification),
        "fields": [problem_as_json(problem) for problem in whole.problems],
        "hints": hints,
    }


def serialize_checks(verification: Verification) -> list[Json]:
    """Return the steps of a verification."""
    return [
        {"name": check.name, "passed": check.passed, "detail": check.detail, "result": check.result}
        for check in verification.checks
    ]


def serialize_hints(found: Diagnosis) -> list[Json]:
    """Return why a signature failed, the true cause first; `line` is what to copy, "" for none."""
    return [
        {
            "cause": item.cause,
            "title": escape_unprintable(item.title),
            "sentence": escape_unprintable(item.sentence),
            "fix": escape_unprintable(item.fix),
            "line": item.line,
        }
        for item in found.findings
    ]


def serialize_condition_error(match: RouteMatch) -> Json:
    """Return, in the form of a hint, that a route's condition raised."""
    return {
        "cause": "condition_failed",
        "title": "A route's condition failed",
        "sentence": f"The route to {', '.join(match.route.targets)} was not taken: its condition "
        f"{match.route.when} raised {match.problem}.",
        "fix": "Guard what may be missing: payload.data is defined and …, or give the route a narrower type.",
        "line": "",
    }


def serialize_diagnosis(row: EventRow, found: Diagnosis, against: tuple[Problem, ...]) -> Json:
    """Return how an event verifies today, with the signatures: for the person who asks, never for an export."""
    verification = found.verification
    return {
        "id": row.id,
        "verdict": verification.verdict.value,
        "reason": verification.reason or None,
        "reason_sentence": describe_reason(verification.reason) if verification.reason else None,
        "checks": serialize_checks(verification),
        "hints": serialize_hints(found),
        "received": list(found.received),
        "expected": [
            {"secret": item.secret, "signature": item.expected, "matches": item.matches, "ends": item.tail}
            for item in found.compared
        ],
        "tried": [{"secret": item.secret, "what": item.what, "matched": item.matched} for item in found.tried],
        "complete": not found.cut,
        "fields": [problem_as_json(problem) for problem in against],
    }


def serialize_headers(pairs: Headers) -> list[list[str]]:
    """Return headers as pairs of readable text, in order."""
    return [[decode_header_text(name), decode_header_text(value)] for name, value in pairs]


def serialize_body(data: bytes) -> Json:
    """Return bytes as text where they are UTF-8, else as base64."""
    try:
        return {"encoding": "utf-8", "text": data.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "text": base64.b64encode(data).decode()}


def serialize_delivery(item: Delivery, attempts: tuple[Attempt, ...] | None = None) -> Json:
    """Return a delivery, with its attempts where they are given."""
    plain: Json = {
        "id": item.id,
        "event": item.event_id,
        "source": item.source,
        "target": item.target,
        "action": item.action,
        "reason": item.reason.value,
        "state": item.state.value,
        "created_at": format_time(item.created_at),
        "due_at": format_time(item.due_at),
        "attempts_made": item.attempts,
        "spared": item.spared,
        "detail": item.detail,
        "status": item.status,
        "took_ms": None if item.took is None else round(item.took * 1000, 3),
        "batch": item.batch,
        "lab": item.lab,
    }
    if attempts is not None:
        plain["attempts"] = [serialize_attempt(one) for one in attempts]
    return plain


def serialize_batch(item: Batch, counts: BatchCounts | None = None) -> Json:
    """Return a bulk replay, with where its steps stand where that is given."""
    plain: Json = {
        "id": item.id,
        "q": item.query,
        "target": item.target,
        "sign": item.sign.value,
        "rate": item.rate,
        "stop_on_failure": item.stop_on_failure,
        "state": item.state.value,
        "detail": item.detail,
        "created_at": format_time(item.created_at),
        "finished_at": item.finished_at and format_time(item.finished_at),
        "total": item.total,
    }
    return plain | {"counts": asdict(counts)} if counts else plain


def serialize_left_out(item: BatchPlan) -> list[Json]:
    """Return what a bulk replay leaves out, and why."""
    return [
        {
            "outcome": one.outcome.value,
            "reason": one.reason or None,
            "sentence": one.sentence,
            "words": one.words,
            "count": one.count,
        }
        for one in item.left_out
    ]


def serialize_plan(item: BatchPlan) -> Json:
    """Return what a bulk replay would do."""
    return {
        "dry_run": True,
        "count": len(item.steps),
        "events": len({step.event_id for step in item.steps}),
        "skipped": item.skipped,
        "left_out": serialize_left_out(item),
        "targets": [{"name": name, "count": count} for name, count in item.targets.items()],
        "oldest": item.oldest and format_time(item.oldest),
        "newest": item.newest and format_time(item.newest),
    }


def serialize_attempt(one: Attempt) -> Json:
    """Return an attempt with its request and response."""
    return {
        "number": one.number,
        "started_at": format_time(one.started_at),
        "took_ms": round(one.took * 1000, 3),
        "outcome": one.outcome,
        "detail": one.detail,
        "request": _serialize_sent_request(one.request),
        "response": _serialize_response(one.response),
        "output": one.output.text if one.output else None,
        "output_cut": one.output.cut if one.output else False,
        "traceback": (one.output.traceback or None) if one.output else None,
    }


def serialize_message(item: Message) -> Json:
    """Return a message."""
    return {
        "id": item.id,
        "channel": item.channel,
        "provider": item.provider,
        "external_id": item.external_id,
        "recipient": item.recipient,
        "subject": item.subject,
        "status": item.status.value,
        "code": item.code,
        "detail": item.detail,
        "opened": item.opened,
        "clicked": item.clicked,
        "embedded_id": item.embedded_id,
        "sent_at": item.sent_at and format_time(item.sent_at),
        "created_at": format_time(item.created_at),
        "event": item.event_id,
        "delivery": item.delivery_id,
    }


def serialize_mail(item: Mail) -> Json:
    """Return a mail as it would be sent; of what is attached the names and sizes."""
    return {
        "to": list(item.to),
        "cc": list(item.cc),
        "bcc": list(item.bcc),
        "reply_to": list(item.reply_to),
        "subject": item.subject,
        "html": item.html,
        "text": item.text,
        "attachments": [{"name": one.name, "type": one.type, "size": len(one.content)} for one in item.attachments],
    }


def serialize_source(item: Source, url: str, public: str | None) -> Json:
    """Return a source: its addresses and where its secrets come from, never what they are."""
    return {
        "name": item.name,
        "provider": item.provider,
        "path": item.path,
        "url": url,
        "public_url": public,
        "verify": item.verify.value,
        "secrets": [secret.reference for secret in item.secrets],
        "missing_secrets": list(item.missing_secrets),
        "locked_secrets": list(item.locked_secrets),
        "local_public_key": item.local.public or None if item.local else None,
    }


def serialize_retention(keep: RetentionLimits, notice: RetentionNotice | None, usage: StoreUsage) -> Json:
    """Return what retention goes by (seconds, events, bytes), what is used of it, and what to know of that."""
    return asdict(keep) | {
        "used": {"events": usage.events, "size": usage.used},
        "notice": f"{notice.title} {notice.text}" if notice else None,
    }


def serialize_refusals(counted: RefusalCounts) -> Json:
    """Return who was turned away at the door, by source, "" for requests to none; the latest of each kind."""
    return {name: _serialize_refusal_kinds(counted.of(name)) for name in counted}


def _serialize_refusal_kinds(kinds: tuple[RefusalKind, ...]) -> Json:
    newest = max(kinds, key=lambda kind: kind.latest.at or _EARLIEST)
    return {
        "count": sum(kind.count for kind in kinds),
        "latest": newest.latest.detail,
        "by_status": {
            str(kind.latest.status): {
                "count": kind.count,
                "latest": kind.latest.detail,
                "remote": kind.latest.remote,
                "at": kind.latest.at and format_time(kind.latest.at),
                "recent": [{"detail": one.detail, "remote": one.remote} for one in kind.recent],
            }
            for kind in kinds
        },
    }


def _serialize_sent_request(request: SentRequest | None) -> Json | None:
    if request is None:
        return None
    return {
        "method": request.method,
        "url": decode_header_text(request.url),
        "headers": serialize_headers(request.headers),
        "body": serialize_body(request.body),
        "notes": list(request.notes),
    }


def _serialize_response(response: ReceivedResponse | None) -> Json | None:
    if response is None:
        return None
    return {
        "status": response.status,
        "headers": serialize_headers(response.headers),
        "body": serialize_body(response.body),
        "cut": response.cut,
        "notes": list(response.notes),
    }
