"""Export and import over the API: streamed both ways, so that no number of events is too many."""

from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web

from relay.errors import NotFoundError, UsageError
from relay.model.signals import EventStored
from relay.store.imports import Parcel
from relay.transfer.context import ExportContext
from relay.transfer.formats import FORMATS
from relay.transfer.record import parcel, redacted
from relay.web import asked
from relay.web.answers import json_response
from relay.web.keys import Desk, desk

COUNT_HEADER = "X-Relay-Count"
_TOGETHER = 200  # events of an import that are committed at once
_TOLD = 20  # lines of an import that could not be read, of which the answer tells
_LONGEST = 2  # times the size of the largest body: base64 and JSON around it


async def export(request: web.Request) -> web.StreamResponse:
    """GET /api/export?q=&as=&raw=: what matches, oldest first; credentials are left out unless `raw=1`."""
    here = desk(request)
    kind = FORMATS.get(request.query.get("as", "jsonl"))
    if kind is None:
        raise UsageError("as names no format", hint=f"use {', '.join(FORMATS)}")
    raw = request.query.get("raw", "") in ("1", "true")
    ids = (await here.store.events.ids(asked.search(request)))[::-1]
    response = web.StreamResponse(
        headers={
            "Content-Type": f"{kind.media_type}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="relay-events.{kind.suffix}"',
            COUNT_HEADER: str(len(ids)),
        }
    )
    await response.prepare(request)
    context = ExportContext(
        ingress_url=here.setup.usual_ingress_url,
        sources=here.setup.sources,
        targets=here.setup.targets,
        routes=here.setup.routes,
    )
    await response.write(kind.head(context).encode())
    between = ""
    for id_ in ids:
        try:
            event = await here.store.events.get(id_)
        except NotFoundError:
            continue  # deleted meanwhile
        text = between + kind.one(event if raw else redacted(event), context)
        await response.write(text.encode("utf-8", "backslashreplace"))
        between = kind.between
    await response.write(kind.tail.encode())
    await response.write_eof()
    return response


async def import_(request: web.Request) -> web.Response:
    """POST /api/import with JSON lines: keep each event once; it owes nothing and claims no key.

    What cannot be read is told with the number of its line and holds up nothing else.
    """
    here = desk(request)
    counts = {"imported": 0, "known": 0, "refused": 0, "old": 0}
    problems: list[dict[str, object]] = []
    waiting: list[Parcel] = []
    number = 0
    async for line in _lines(request, _LONGEST * here.setup.max_body + 1_000_000):
        number += 1
        try:
            if line.strip():
                waiting.append(parcel(line))
        except UsageError as error:
            counts["refused"] += 1
            problems += [{"line": number, "problem": error.sentence}] if len(problems) < _TOLD else []
        if len(waiting) >= _TOGETHER:
            await _keep(here, waiting, counts)
    await _keep(here, waiting, counts)
    return json_response(counts | {"problems": problems, "retention": await _retention_notes(here, counts)})


async def _retention_notes(here: Desk, counts: dict[str, int]) -> list[str]:
    """Say what retention makes of what was imported: until when it is kept, and what goes for want of room."""
    keep, notes = here.setup.keep, []
    if counts["old"]:
        are, they = ("event is", "it is") if counts["old"] == 1 else ("events are", "they are")
        try:
            until = f"{here.clock.now().astimezone() + timedelta(seconds=keep.max_age):%Y-%m-%d}"
        except OverflowError:
            until = "for ever"
        notes.append(
            f"{counts['old']:,} {are} older than {keep.says('age')} (retention.max_age); {they} kept until {until}"
        )
    usage = await here.store.pruning.usage()
    for rule, is_over in (("events", usage.events > keep.max_events), ("size", usage.used > keep.max_size)):
        if counts["imported"] and is_over:
            notes.append(
                f"more than {keep.says(rule)} are kept now (retention.max_{rule}), so the oldest events here are "
                "removed; raise it, or pin what must stay"
            )
    return notes


async def _keep(here: Desk, waiting: list[Parcel], counts: dict[str, int]) -> None:
    now = here.clock.now()
    for parcel_, id_ in zip(waiting, await here.store.imports.add(waiting, now), strict=True):
        counts["known" if id_ is None else "imported"] += 1
        if id_ is not None:
            age = (now - parcel_.event.capture.received_at).total_seconds()
            counts["old"] += age > here.setup.keep.max_age
            here.bus.publish(EventStored(id_))
    waiting.clear()


async def _lines(request: web.Request, longest: int) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for chunk in request.content.iter_any():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield bytes(waiting) + line
            waiting.clear()
        waiting += rest
        if len(waiting) > longest:
            raise UsageError(
                "a line is longer than any event could be", hint="is it what relay export wrote?"
            )
    if waiting:
        yield bytes(waiting)
