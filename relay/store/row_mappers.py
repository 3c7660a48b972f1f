"""Row mappers: convert rows to values and back; no other module knows how values are stored."""

import base64
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any, NamedTuple

from relay.model.admission import Problem
from relay.model.delivery import (
    NO_CHANGES,
    Attempt,
    Delivery,
    DeliveryChanges,
    DeliveryReason,
    DeliveryState,
    HandlerOutput,
    NewDelivery,
    ReceivedResponse,
    SentRequest,
    SignMode,
)
from relay.model.event import Capture, CapturedEvent, Check, EventOutcome, EventRow, Headers, Verdict, Verification
from relay.model.request_items import RequestItems

# A dict lookup: calling the enum class takes four times as long, for each of a thousand rows.
_OUTCOMES = {one.value: one for one in EventOutcome}
_VERDICTS = {one.value: one for one in Verdict}
_REASONS = {one.value: one for one in DeliveryReason}
_STATES = {one.value: one for one in DeliveryState}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

EVENT_COLUMNS = (
    "events.id, received_at, source, provider, type, idempotency_key, outcome, verdict, reason, method, path, "
    "query, content_type, size, sha256, remote, status, duplicate_of, pinned, note, sample, summary, "
    "recovered, sent_at, types, item_count"
)
WHOLE_EVENTS = (
    f"SELECT {EVENT_COLUMNS}, url, headers, body, checks, problems, batch FROM events "
    "JOIN event_bytes ON event_id = events.id"
)
DELIVERY_COLUMNS = (
    "id, event_id, source, target, action, reason, changes, state, created_at, due_at, attempts, detail, status, took, "
    "batch, asked, spared, lab"
)
MAX_ROWS = 64  # rows of one statement


class _Table(NamedTuple):
    """How rows are inserted: `nulls` are columns for which "" means NULL, `blobs` those that may be given as text."""

    verb: str
    columns: str
    nulls: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()


_TABLES = {
    "events": _Table(
        "INSERT",
        "id, received_at, source, provider, type, idempotency_key, verdict, reason, method, path, query, content_type, "
        "size, sha256, remote, sample, summary, recovered, sent_at, status, types, item_count, outcome, duplicate_of",
        nulls=("sent_at", "types", "duplicate_of"),
        blobs=("path", "query"),
    ),
    "event_bytes": _Table("INSERT", "event_id, url, headers, body, checks, problems, batch", blobs=("url", "headers")),
    "new_keys": _Table("INSERT", "event_id, source, key"),
    "keys": _Table("REPLACE", "source, key, event_id"),
    "deliveries": _Table(
        "INSERT",
        "event_id, source, target, action, reason, changes, state, created_at, due_at, asked, batch, lab",
        nulls=("batch", "lab"),
    ),
}


def list_columns(kind: type) -> str:
    """Return the columns for the fields of a dataclass, which have the same names."""
    return ", ".join(one.name for one in fields(kind))


def insert_row(connection: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> int:
    """Insert a row, its values by column, and return its id."""
    sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({','.join('?' * len(values))})"
    return connection.execute(sql, tuple(values.values())).lastrowid or 0


def insert_rows(connection: sqlite3.Connection, table: str, values: list[Any], count: int) -> None:
    """Insert rows, given as one flat list of values, with a statement for each MAX_ROWS of them."""
    for at in range(0, count, MAX_ROWS):
        rows, width = min(count - at, MAX_ROWS), len(values) // count
        some = values[at * width : (at + rows) * width] + [0] * (round_up(rows) - rows) * width
        connection.execute(_build_insert(table, round_up(rows)), some)


def insert_delivery(connection: sqlite3.Connection, event_id: int, source: str, new: NewDelivery, due_at: int) -> int:
    """Insert a delivery and return its id; `due_at` in microseconds since 1970."""
    row = (event_id, *dump_delivery(source, new, due_at))
    return connection.execute(_build_insert("deliveries", 1), row).lastrowid or 0


@cache
def _build_insert(table: str, size: int) -> str:
    """Return a statement for up to `size` rows; rows whose first value is 0 are ignored."""
    verb, columns, nulls, blobs = _TABLES[table]
    names = columns.split(", ")
    selected = [
        f"NULLIF(column{place}, '')"
        if name in nulls
        else f"CAST(column{place} AS BLOB)"
        if name in blobs
        else f"column{place}"
        for place, name in enumerate(names, start=1)
    ]
    marks = ",".join([f"({','.join('?' * len(names))})"] * size)
    return f"{verb} INTO {table} ({columns}) SELECT {','.join(selected)} FROM (VALUES {marks}) WHERE column1 <> 0"


def round_up(rows: int) -> int:
    """Return the number of rows of a statement: only few sizes, because parsing one costs more than running it."""
    return rows if rows <= 4 else -(-rows // 8) * 8


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970 for an aware time."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC time for microseconds since 1970."""
    return _EPOCH + timedelta(0, 0, micros)


def convert(row: sqlite3.Row, **readers: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a row as a dict with the named columns converted; NULL stays None."""
    plain: dict[str, Any] = dict(row)
    return plain | {name: read(plain[name]) for name, read in readers.items() if plain[name] is not None}


def read_event_row(row: sqlite3.Row | tuple[Any, ...]) -> EventRow:
    """Return an event from a row of EVENT_COLUMNS, which are in the order of the fields."""
    (id_, received_at, *names, outcome, verdict, reason, method, path, query) = row[:12]
    (content_type, size, sha256, remote, status, duplicate_of, pinned, note, sample) = row[12:21]
    (summary, recovered, sent_at, types, item_count) = row[21:]
    head = (id_, from_micros(received_at), *names, _OUTCOMES[outcome], _VERDICTS[verdict], reason, method)
    address = (path.decode("latin-1"), query.decode("latin-1"))
    sent_at = None if sent_at is None else from_micros(sent_at)
    types = () if types is None else tuple(json.loads(types))
    tail = (duplicate_of, bool(pinned), note, bool(sample), summary, bool(recovered), sent_at, types, item_count)
    values: tuple[Any, ...] = (*head, *address, content_type, size, sha256.hex(), remote, status, *tail)
    return EventRow(*values)


def read_inserted_event(values: tuple[Any, ...], unknown: int) -> EventRow:
    """Return an event from its inserted values; `unknown` is the status it got afterwards, 0 for none."""
    table = _TABLES["events"]
    row = dict(zip(table.columns.split(", "), values, strict=True)) | {"pinned": False, "note": ""}
    row |= {name: None for name in table.nulls if row[name] == ""}
    row |= {name: row[name].encode("latin-1") for name in table.blobs if isinstance(row[name], str)}
    row |= {"events.id": row["id"]} | ({"status": unknown} if unknown else {})
    return read_event_row(tuple(row[name] for name in EVENT_COLUMNS.split(", ")))


def read_whole_event(values: sqlite3.Row | tuple[Any, ...]) -> CapturedEvent:
    """Return a complete event from a row of WHOLE_EVENTS."""
    (*narrow, url, headers, body, checks, problems, batch) = values
    row = read_event_row(tuple(narrow))
    capture = Capture(
        source=row.source,
        method=row.method,
        path=row.path,
        query=row.query,
        headers=load_headers(headers),
        body=body,
        remote=row.remote,
        received_at=row.received_at,
        url=url.decode("latin-1"),
    )
    reason = row.reason if row.verdict is not Verdict.VERIFIED else ""
    return CapturedEvent(
        row=row,
        capture=capture,
        verification=Verification(verdict=row.verdict, reason=reason, checks=load_checks(checks)),
        problems=load_problems(problems),
        batch=RequestItems.read(json.loads(batch), row.type) if batch else None,
    )


def format_headers(headers: Headers) -> str:
    """Return headers as text, one `name:value` per line."""
    return "".join([f"{name}:{value}\n" for name, value in headers])


def load_headers(data: bytes) -> Headers:
    """Return headers from the text of `format_headers`, in Latin-1."""
    pairs = [line.partition(":") for line in data.decode("latin-1").split("\n") if line]
    return tuple([(name, value) for name, _, value in pairs])


# As json.dumps encodes text, without its checks for other types.
_quote = json.encoder.encode_basestring_ascii
_CONSTANTS = {True: "true", False: "false", None: "null"}


def dump_checks(verification: Verification) -> str:
    """Return the steps of a verification as JSON."""
    steps = [
        f"[{_quote(check.name)}, {_CONSTANTS[check.passed]}, {_quote(check.detail)}, {_quote(check.result)}]"
        for check in verification.checks
    ]
    return f"[{', '.join(steps)}]"


@lru_cache(maxsize=256)
def load_checks(text: str) -> tuple[Check, ...]:
    """Return the steps from the JSON of `dump_checks`."""
    return tuple(
        Check(name=name, passed=passed, detail=detail, result=result)
        for name, passed, detail, result in json.loads(text)
    )


def dump_problems(problems: tuple[Problem, ...]) -> str:
    """Return the problems of an event as JSON."""
    return json.dumps([asdict(problem) for problem in problems]) if problems else "[]"


def load_problems(text: str) -> tuple[Problem, ...]:
    """Return the problems from the JSON of `dump_problems`."""
    return () if text == "[]" else tuple(Problem(**plain) for plain in json.loads(text))


def dump_batch(batch: RequestItems | None) -> str:
    """Return the locations of a request's events as JSON; "" if the request is one event."""
    return json.dumps(batch.plain(), separators=(",", ":")) if batch else ""


def dump_changes(changes: DeliveryChanges) -> str:
    """Return the changes of a replay as JSON; bytes as base64."""
    if changes is NO_CHANGES or changes == NO_CHANGES:
        return "{}"
    plain = {name: value for name, value in asdict(changes).items() if value not in (None, ())}
    if changes.body is not None:
        plain["body"] = base64.b64encode(changes.body).decode()
    return json.dumps(plain)


def dump_delivery(source: str, new: NewDelivery, due_at: int) -> tuple[Any, ...]:
    """Return the values of a new delivery in column order, without its event."""
    state = "pending" if new.lab is None else "running"
    what = (source, new.target, new.action, new.reason._value_, dump_changes(new.changes), state, due_at, due_at)
    return *what, int(new.asked), "" if new.batch is None else new.batch, "" if new.lab is None else new.lab


def load_changes(text: str) -> DeliveryChanges:
    """Return the changes from the JSON of `dump_changes`."""
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


def read_delivery(row: sqlite3.Row | tuple[Any, ...]) -> Delivery:
    """Return a delivery from a row of DELIVERY_COLUMNS, which are in the order of the fields."""
    (reason, changes, state, created_at, due_at) = row[5:10]
    moments = (from_micros(created_at), from_micros(due_at))
    what = (*row[:5], _REASONS[reason], load_changes(changes), _STATES[state], *moments)
    values: tuple[Any, ...] = (*what, *row[10:15], bool(row[15]), *row[16:])
    return Delivery(*values)


def dump_attempt(attempt: Attempt, *, keeps_body: bool) -> tuple[Any, ...]:
    """Return the values of an attempt in column order; with the sent body only if `keeps_body`."""
    sent, got = attempt.request, attempt.response
    return (
        attempt.delivery_id,
        attempt.number,
        to_micros(attempt.started_at),
        attempt.took,
        attempt.outcome,
        attempt.detail,
        sent and json.dumps({"method": sent.method, "url": sent.url, "headers": sent.headers, "notes": sent.notes}),
        sent.body if sent and keeps_body else None,
        got and _dump_response(got.status, got.headers, got.cut, got.notes),
        got.body if got else None,
        json.dumps(asdict(attempt.output)) if attempt.output else None,
    )


@lru_cache(maxsize=64)  # a target's answers are mostly alike
def _dump_response(status: int, headers: Headers, cut: bool, notes: tuple[str, ...]) -> str:
    return json.dumps({"status": status, "headers": headers, "cut": cut, "notes": notes})


def read_attempt(row: sqlite3.Row) -> Attempt:
    """Return an attempt from a row of the table attempts."""
    return Attempt(
        delivery_id=row["delivery_id"],
        number=row["number"],
        started_at=from_micros(row["started_at"]),
        took=row["took"],
        outcome=row["outcome"],
        detail=row["detail"],
        request=SentRequest(**_read_message(row["request"], row["sent_body"])) if row["request"] else None,
        response=ReceivedResponse(**_read_message(row["response"], row["got_body"])) if row["response"] else None,
        output=HandlerOutput(**json.loads(row["output"])) if row["output"] else None,
    )


def _read_message(text: str, body: bytes | None) -> dict[str, Any]:
    """Return the fields of a request or response: its body is one column, the others are JSON in another."""
    plain: dict[str, Any] = json.loads(text)
    lists = {"headers": _read_headers(plain["headers"]), "notes": tuple(plain.get("notes", ()))}
    return plain | lists | {"body": body or b""}


def _read_headers(plain: list[list[str]]) -> Headers:
    return tuple((name, value) for name, value in plain)
