"""Lists: asked for page by page, and events printed a line each."""

from relay.cli.client import Api, Json
from relay.cli.options import Call
from relay.cli.terminal import Part
from relay.cli.words import day_and_time, event_parts
from relay.model.text import size

PAGE = 500  # what the API gives at most in one answer


async def pages(api: Api, query: str, limit: int | None = None, after: int | None = None) -> list[Json]:
    """Return matching events, newest first, up to `limit` and above number `after`."""
    return await listed(api, "events", limit, q=query, after=after)


async def listed(api: Api, noun: str, limit: int | None, **filters: str | int | None) -> list[Json]:
    """Return what `GET /api/<noun>` lists, newest first, up to `limit`."""
    found: list[Json] = []
    before: int | None = None
    while limit is None or len(found) < limit:
        wanted = PAGE if limit is None else min(PAGE, limit - len(found))
        answer = await api.get(f"/api/{noun}", limit=wanted, before=before, **filters)
        found += answer[noun]
        before = answer["next_before"]
        if before is None:
            break
    return found


async def newest(api: Api) -> int:
    """Return the number of the newest event; 0 when there is none."""
    found = await pages(api, "", 1)
    return int(found[0]["id"]) if found else 0


def show(call: Call, events: list[Json], widths: list[int] | None = None) -> None:
    """Print events, a line each; `widths` keeps the columns of one printing for the next."""
    if call.json:
        for event in events:
            call.terminal.json(event)
    else:
        call.terminal.table((_row(event) for event in events), widths)
    call.terminal.flush()


def _row(event: Json) -> list[Part]:
    source, type_, number, verdict = event_parts(event)
    sent = event["deliveries"]
    counts = [
        f"{sent[state]} {state}" for state in ("succeeded", "failed", "running", "pending") if sent[state]
    ]
    told = ", ".join(counts) or event["summary"] or size(event["size"])
    return [number, day_and_time(event["received_at"]), source, type_, verdict, (told, "dim")]
