"""Export and import over the API: streamed both ways, so that no number of events is too many."""

from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web
from multidict import MultiMapping

from relay.api.resource import Answer, ApiRoute, Resource
from relay.errors import NotFoundError, UsageError
from relay.model.search import parse_query_strictly
from relay.model.signals import EventStored
from relay.services.relay import RunningRelay
from relay.store.events import ImportedEvent
from relay.transfer.formats import FORMATS
from relay.transfer.pytest_export import ExportContext
from relay.transfer.records import parse_record, redact_event

COUNT_HEADER = "X-Relay-Count"
_BATCH_SIZE = 200  # events of an import that are committed at once
_MAX_PROBLEMS = 20  # lines of an import that could not be read, of which the answer tells
_MAX_LINE_FACTOR = 2  # times the size of the largest body: base64 and JSON around it


class UnreadLine(Resource):
    """A line of an import that could not be read, and why."""

    line: int
    problem: str


class ImportResult(Resource):
    """How many events were kept, were there already, could not be read, and are older than retention keeps them."""

    imported: int
    known: int
    refused: int
    old: int
    problems: list[UnreadLine]
    retention: list[str]


@ApiRoute("GET", "/api/export", {200: "*/*"}, query="q as raw")
async def export_events(relay: RunningRelay, query: MultiMapping[str], request: web.Request) -> web.StreamResponse:
    """Export what matches, oldest first; credentials are left out unless `raw=1`."""
    kind = FORMATS.get(query.get("as", "jsonl"))
    if kind is None:
        raise UsageError("as is not a known format", hint=f"use {', '.join(FORMATS)}")
    raw = query.get("raw", "") in ("1", "true")
    ids = [
        row.id async for row in relay.store.events.iterate(parse_query_strictly(query.get("q", ""), relay.clock.now()))
    ][::-1]
    response = web.StreamResponse(
        headers={
            "Content-Type": f"{kind.media_type}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="relay-events.{kind.suffix}"',
            COUNT_HEADER: str(len(ids)),
        }
    )
    await response.prepare(request)
    context = ExportContext(
        ingress_url=relay.usual_ingress_url,
        sources=relay.sources.by_name,
        targets=relay.config.targets,
        routes=relay.config.routes,
    )
    await response.write(kind.head(context).encode())
    between = ""
    for id_ in ids:
        try:
            event = await relay.store.events.get(id_)
        except NotFoundError:
            continue  # deleted meanwhile
        text = between + kind.one(event if raw else redact_event(event), context)
        await response.write(text.encode("utf-8", "backslashreplace"))
        between = kind.between
    await response.write(kind.tail.encode())
    await response.write_eof()
    return response


@ApiRoute("POST", "/api/import", {200: ImportResult}, "application/x-ndjson")
async def import_events(relay: RunningRelay, request: web.Request) -> Answer:
    """Import events from JSON lines: each is kept once, makes no delivery and claims no key.

    What cannot be read is reported with the number of its line and holds up nothing else.
    """
    counts = {"imported": 0, "known": 0, "refused": 0, "old": 0}
    problems: list[dict[str, object]] = []
    waiting: list[ImportedEvent] = []
    number = 0
    async for line in _read_lines(request, _MAX_LINE_FACTOR * relay.config.server.max_body + 1_000_000):
        number += 1
        try:
            if line.strip():
                waiting.append(parse_record(line))
        except UsageError as error:
            counts["refused"] += 1
            problems += [{"line": number, "problem": error.message}] if len(problems) < _MAX_PROBLEMS else []
        if len(waiting) >= _BATCH_SIZE:
            await _store_imported(relay, waiting, counts)
    await _store_imported(relay, waiting, counts)
    return counts | {"problems": problems, "retention": await _retention_notes(relay, counts)}


async def _retention_notes(relay: RunningRelay, counts: dict[str, int]) -> list[str]:
    """Describe what retention does with the import: until when it is kept, and what is removed for lack of space."""
    keep, notes = relay.config.keep, []
    if counts["old"]:
        are, they = ("event is", "it is") if counts["old"] == 1 else ("events are", "they are")
        try:
            until = f"{relay.clock.now().astimezone() + timedelta(seconds=keep.max_age):%Y-%m-%d}"
        except OverflowError:
            until = "for ever"
        notes.append(
            f"{counts['old']:,} {are} older than {keep.describe_rule('age')} (retention.max_age); {they} "
            f"kept until {until}"
        )
    usage = await relay.store.pruning.usage()
    for rule, is_over in (("events", usage.events > keep.max_events), ("size", usage.used > keep.max_size)):
        if counts["imported"] and is_over:
            notes.append(
                f"more than {keep.describe_rule(rule)} are kept now (retention.max_{rule}), so the oldest events here "
                "are removed; raise it, or pin what must stay"
            )
    return notes


async def _store_imported(relay: RunningRelay, waiting: list[ImportedEvent], counts: dict[str, int]) -> None:
    now = relay.clock.now()
    for imported, id_ in zip(waiting, await relay.store.events.add_imported(waiting, now), strict=True):
        counts["known" if id_ is None else "imported"] += 1
        if id_ is not None:
            age = (now - imported.event.capture.received_at).total_seconds()
            counts["old"] += age > relay.config.keep.max_age
            relay.bus.publish(EventStored(id_))
    waiting.clear()


async def _read_lines(request: web.Request, longest: int) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for chunk in request.content.iter_any():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield bytes(waiting) + line
            waiting.clear()
        waiting += rest
        if len(waiting) > longest:
            raise UsageError("a line is longer than any event can be", hint="import a file that relay export wrote")
    if waiting:
        yield bytes(waiting)
