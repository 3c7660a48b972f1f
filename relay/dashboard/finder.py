"""Find anything: pages, actions, sources, targets, and events by their number."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from relay.dashboard.event_list import format_event_title, parse_current_url
from relay.dashboard.filters import build_events_url, encode_query, quote_path_part
from relay.dashboard.render import get_target_id
from relay.dashboard.responses import redirect, render_dialog, render_part
from relay.http.context import get_relay
from relay.model.event import EventRow
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_MAX_HITS = 12
_MAX_TEXT = 200
_EVENT_NUMBER = re.compile(r"#?(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinderHit:
    """One thing that was found. `keys` open it without looking, `dialog` says that it opens over the page."""

    name: str
    href: str
    kind: str
    icon: str
    keys: tuple[str, ...] = ()
    dialog: bool = False


_PAGE_HITS = (
    FinderHit(name="Events", href="/events", kind="Page", icon="webhook", keys=("G", "E")),
    FinderHit(name="Deliveries", href="/deliveries", kind="Page", icon="send", keys=("G", "D")),
    FinderHit(name="Failed deliveries, the dead letters", href="/deliveries?state=failed", kind="Page", icon="send"),
    FinderHit(name="Queued deliveries", href="/deliveries?state=pending", kind="Page", icon="send"),
    FinderHit(name="Bulk replays", href="/replays", kind="Page", icon="history"),
    FinderHit(name="Messages, mail and SMS", href="/messages", kind="Page", icon="mail", keys=("G", "M")),
    FinderHit(name="Sources", href="/sources", kind="Page", icon="log-in", keys=("G", "S")),
    FinderHit(name="Targets", href="/targets", kind="Page", icon="route", keys=("G", "T")),
    FinderHit(name="Trigger a sample", href="/trigger", kind="Action", icon="zap", keys=("T",)),
    FinderHit(name="Metrics", href="/stats", kind="Page", icon="chart-no-axes-column", keys=("G", "C")),
    FinderHit(name="Lab, try an app", href="/lab", kind="Page", icon="flask-conical"),
    FinderHit(name="Vault, secrets", href="/vault", kind="Page", icon="lock", dialog=True),
    FinderHit(name="Doctor", href="/doctor", kind="Page", icon="stethoscope"),
    FinderHit(name="Settings", href="/settings", kind="Page", icon="settings-2"),
    FinderHit(name="Failing events", href="/events?q=has%3Afailed", kind="View", icon="list-filter"),
    FinderHit(name="Rejected events", href="/events?q=outcome%3Arejected", kind="View", icon="list-filter"),
    FinderHit(name="Queued events", href="/events?q=has%3Apending", kind="View", icon="list-filter"),
    FinderHit(name="Pinned events", href="/events?q=is%3Apinned", kind="View", icon="list-filter"),
    FinderHit(
        name="Replay every event that failed",
        href="/replays?q=has%3Afailed",
        kind="Action",
        icon="rotate-cw",
        dialog=True,
    ),
)


async def show_finder(request: web.Request) -> web.Response:
    """GET /find?find=: what that could mean, the likeliest first; `go` leads there at once."""
    text = request.query.get("find", "")[:_MAX_TEXT].strip()
    event = _find_direct_path(request)
    hits = await _collect_hits(get_relay(request), text, event)
    if request.query.get("go") and hits:
        return redirect(hits[0].href)
    if get_target_id(request) == "found":
        return render_part(request, "finder_hits.html", hits=hits)
    values: dict[str, Any] = {"text": text, "event": event, "hits": hits}
    return await render_dialog(request, "finder.html", "Find anything", ("/events", "Events"), nav="", **values)


def _find_direct_path(request: web.Request) -> str:
    shown = re.match(r"/events/(\d{1,18})(?:/|$)", parse_current_url(request)[0])
    given = request.query.get("event", "")
    return shown[1] if shown else given if _EVENT_NUMBER.fullmatch(given) else ""


async def _collect_hits(relay: RunningRelay, text: str, event: str) -> tuple[FinderHit, ...]:
    words = text.lower().split()
    hits: list[FinderHit] = []
    number = _EVENT_NUMBER.fullmatch(text)
    row = await relay.store.events.row(int(number[1])) if number else None
    if row is not None:
        hits += _build_event_hits(row)
    else:
        shown = await relay.store.events.row(int(event)) if event else None
        everything = [*(_build_event_hits(shown) if shown else ()), *_PAGE_HITS, *_list_configured_hits(relay)]
        found = [hit for hit in everything if all(word in f"{hit.kind} {hit.name}".lower() for word in words)]
        hits += found if words else [hit for hit in found if hit.kind != "Sample"]
    if text:
        # Last, so that it never stands where something better was found.
        name = f"Search events for {escape_unprintable(text, 60)}"
        return (*hits[: _MAX_HITS - 1], FinderHit(name=name, href=build_events_url(text), kind="Search", icon="search"))
    return tuple(hits[:_MAX_HITS])


def _build_event_hits(row: EventRow) -> Iterator[FinderHit]:
    what, address = f"event {row.id}", f"/events/{row.id}"
    yield FinderHit(name=f"Event {row.id}, {format_event_title(row)}", href=address, kind="Event", icon="webhook")
    for verb, icon, key in (("Replay", "rotate-cw", "R"), ("Email", "mail", "E")):
        href = f"{address}/{verb.lower()}"
        yield FinderHit(name=f"{verb} {what}", href=href, kind="Action", icon=icon, keys=(key,), dialog=True)
    href = f"/compare?a={row.id}"
    yield FinderHit(name=f"Compare {what}", href=href, kind="Action", icon="git-compare", keys=("D",), dialog=True)
    yield FinderHit(
        name=f"Why {what} verified or not", href=f"{address}/verification", kind="Page", icon="shield-check"
    )
    yield FinderHit(name=f"Deliveries of {what}", href=f"{address}/deliveries", kind="Page", icon="send")


def _list_configured_hits(relay: RunningRelay) -> Iterator[FinderHit]:
    for name in relay.sources.by_name:
        shown = escape_unprintable(name, 60)
        yield FinderHit(name=f"Source {shown}", href=f"/sources/{quote_path_part(name)}", kind="Source", icon="log-in")
        yield FinderHit(
            name=f"Events of {shown}", href=build_events_url(f"source:{name}"), kind="View", icon="list-filter"
        )
    for name in relay.config.targets:
        href = f"/deliveries?{encode_query({'target': name})}"
        yield FinderHit(name=f"Deliveries to {escape_unprintable(name, 60)}", href=href, kind="Target", icon="route")
    for name in relay.sources.by_name:
        for type_ in relay.list_sample_types(name):
            href = f"/trigger?{encode_query({'source': name, 'type': type_})}"
            yield FinderHit(name=f"Trigger {name} {type_}", href=href, kind="Sample", icon="zap")
