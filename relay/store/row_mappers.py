"""Rows to values and back: the one place that knows how a value lies in a table."""

import base64
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.model.admission import Problem
from relay.model.delivery import (
    NO_CHANGES,
    Attempt,
    Delivery,
    DeliveryChanges,
    DeliveryReason,
    DeliveryState,
    HandlerOutput,
    ReceivedResponse,
    SentRequest,
    SignMode,
)
from relay.model.event import Capture, CapturedEvent, Check, EventOutcome, EventRow, Headers, Verdict, Verification
from relay.model.message import HistoryEntry, MatchWay, Message, MessageStatus
from relay.model.request_items import RequestItems

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

EVENT_COLUMNS = (
    "events.id, received_at, source, provider, type, idempotency_key, outcome, verdict, reason, method, path, "
    "query, content_type, size, sha256, remote, status, duplicate_of, pinned, note, sample, summary, "
    "recovered, sent_at, types, item_count"
)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970 for an aware time."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC time for microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def read_event_row(row: sqlite3.Row | tuple[Any, ...]) -> EventRow:
    """Read one row of EVENT_COLUMNS."""
    (id_, received_at, source, provider, type_, key, outcome, verdict, reason, method, path, *rest) = row
    (query, content_type, size, sha256, remote, status, duplicate_of, pinned, note, sample, *rest) = rest
    (summary, recovered, sent_at, types, item_count) = rest
    return EventRow(
        id=id_,
        received_at=from_micros(received_at),
        source=source,
        provider=provider,
        type=type_,
        idempotency_key=key,
        outcome=EventOutcome(outcome),
        verdict=Verdict(verdict),
        reason=reason,
        method=method,
        path=path.decode("latin-1"),
        query=query.decode("latin-1"),
        content_type=content_type,
        size=size,
        sha256=sha256.hex(),
        remote=remote,
        status=status,
        duplicate_of=duplicate_of,
        pinned=bool(pinned),
        note=note,
        sample=bool(sample),
        summary=summary,
        recovered=bool(recovered),
        sent_at=None if sent_at is None else from_micros(sent_at),
        types=() if types is None else tuple(json.loads(types)),
        item_count=item_count,
    )


def read_event(row: EventRow, stored: sqlite3.Row) -> CapturedEvent:
    """Join a narrow row with its row of event_bytes."""
    capture = Capture(
        source=row.source,
        method=row.method,
        path=row.path,
        query=row.query,
        headers=load_headers(stored["headers"]),
        body=stored["body"],
        remote=row.remote,
        received_at=row.received_at,
        url=stored["url"].decode("latin-1"),
    )
    checks = load_checks(stored["checks"])
    reason = row.reason if row.verdict is not Verdict.VERIFIED else ""
    verification = Verification(verdict=row.verdict, reason=reason, checks=checks)
    problems = load_problems(stored["problems"])
    batch = RequestItems.read(json.loads(stored["batch"]), row.type) if stored["batch"] else None
    return CapturedEvent(row=row, capture=capture, verification=verification, problems=problems, batch=batch)


def dump_headers(headers: Headers) -> bytes:
    """Return headers as they stood on the wire, `name:value` a line."""
    return "".join([f"{name}:{value}\n" for name, value in headers]).encode("latin-1")


def load_headers(data: bytes) -> Headers:
    """Read what `dump_headers` wrote."""
    pairs = (line.partition(":") for line in data.decode("latin-1").split("\n") if line)
    return tuple((name, value) for name, _, value in pairs)


def dump_checks(verification: Verification) -> str:
    """Return the steps of a verification as JSON."""
    return json.dumps([(check.name, check.passed, check.detail, check.result) for check in verification.checks])


def load_checks(text: str) -> tuple[Check, ...]:
    """Read what `dump_checks` wrote."""
    return tuple(
        Check(name=name, passed=passed, detail=detail, result=result)
        for name, passed, detail, result in json.loads(text)
    )


def dump_problems(problems: tuple[Problem, ...]) -> str:
    """Return what is wrong with an event as JSON."""
    return json.dumps([asdict(problem) for problem in problems]) if problems else "[]"


def load_problems(text: str) -> tuple[Problem, ...]:
    """Read what `dump_problems` wrote."""
    return () if text == "[]" else tuple(Problem(**plain) for plain in json.loads(text))


def dump_batch(batch: RequestItems | None) -> str:
    """Return where the events of a request are as JSON; "" where it is one event itself."""
    return json.dumps(batch.plain(), separators=(",", ":")) if batch else ""


def dump_changes(changes: DeliveryChanges) -> str:
    """Return what differs as JSON; bytes as base64."""
    if changes == NO_CHANGES:
        return "{}"
    plain = {name: value for name, value in asdict(changes).items() if value not in (None, ())}
    if changes.body is not None:
        plain["body"] = base64.b64encode(changes.body).decode()
    return json.dumps(plain)


def load_changes(text: str) -> DeliveryChanges:
    """Read what `dump_changes` wrote."""
    if text == "{}":
        return NO_CHANGES
    plain: dict[str, Any] = json.loads(text)
    if "sign" in plain:
        plain["sign"] = SignMode(plain["sign"])
    if "body" in plain:
        plain["body"] = base64.b64decode(plain["body"])
    if "headers" in plain:
        plain["headers"] = _read_headers(plain["headers"])
    plain["to"] = tuple(plain.get("to", ()))
    return DeliveryChanges(**plain)


def read_delivery(row: sqlite3.Row) -> Delivery:
    """Read one row of the table deliveries."""
    plain: dict[str, Any] = dict(row)
    return Delivery(
        **plain
        | {
            "reason": DeliveryReason(row["reason"]),
            "changes": load_changes(row["changes"]),
            "state": DeliveryState(row["state"]),
            "created_at": from_micros(row["created_at"]),
            "due_at": from_micros(row["due_at"]),
            "asked": bool(row["asked"]),
        }
    )


def dump_attempt(attempt: Attempt) -> tuple[Any, ...]:
    """Return an attempt in the order of the table's columns."""
    sent, got = attempt.request, attempt.response
    return (
        attempt.delivery_id,
        attempt.number,
        to_micros(attempt.started_at),
        attempt.took,
        attempt.outcome,
        attempt.detail,
        sent and json.dumps({"method": sent.method, "url": sent.url, "headers": sent.headers, "notes": sent.notes}),
        sent.body if sent else None,
        got and json.dumps({"status": got.status, "headers": got.headers, "cut": got.cut, "notes": got.notes}),
        got.body if got else None,
        json.dumps(asdict(attempt.output)) if attempt.output else None,
    )


def read_attempt(row: sqlite3.Row) -> Attempt:
    """Read one row of the table attempts."""
    return Attempt(
        delivery_id=row["delivery_id"],
        number=row["number"],
        started_at=from_micros(row["started_at"]),
        took=row["took"],
        outcome=row["outcome"],
        detail=row["detail"],
        request=_read_sent_request(row),
        response=_read_received_response(row),
        output=HandlerOutput(**json.loads(row["output"])) if row["output"] else None,
    )


def read_message(row: sqlite3.Row) -> Message:
    """Read one row of the table messages, without its source."""
    plain: Mapping[str, Any] = {name: row[name] for name in row.keys() if name != "source"}  # noqa: SIM118 - a sqlite3.Row iterates over values
    return Message(
        **{
            **plain,
            "status": MessageStatus(row["status"]),
            "created_at": from_micros(row["created_at"]),
            "sent_at": from_micros(row["sent_at"]),
            "opened": bool(row["opened"]),
            "clicked": bool(row["clicked"]),
        }
    )


def read_history_entry(row: sqlite3.Row) -> HistoryEntry:
    """Read one row of the table history."""
    return HistoryEntry(
        status=MessageStatus(row["status"]),
        at=None if row["at"] is None else from_micros(row["at"]),
        received_at=from_micros(row["received_at"]),
        code=row["code"],
        detail=row["detail"],
        event_id=row["event_id"],
        way=MatchWay(row["way"]) if row["way"] else None,
    )


def _read_sent_request(row: sqlite3.Row) -> SentRequest | None:
    if row["request"] is None:
        return None
    plain = json.loads(row["request"])
    return SentRequest(
        method=plain["method"],
        url=plain["url"],
        headers=_read_headers(plain["headers"]),
        body=row["sent_body"] or b"",
        notes=tuple(plain["notes"]),
    )


def _read_received_response(row: sqlite3.Row) -> ReceivedResponse | None:
    if row["response"] is None:
        return None
    plain = json.loads(row["response"])
    return ReceivedResponse(
        status=plain["status"],
        headers=_read_headers(plain["headers"]),
        body=row["got_body"] or b"",
        cut=plain["cut"],
        notes=tuple(plain.get("notes", ())),
    )


def _read_headers(plain: list[list[str]]) -> Headers:
    return tuple((name, value) for name, value in plain)
