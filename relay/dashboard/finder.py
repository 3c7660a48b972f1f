"""The finder: pages, actions, sources, targets, and events by number."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from aiohttp import web

from relay.dashboard.event_list import format_event_title, parse_current_url
from relay.dashboard.filters import build_url
from relay.dashboard.render import get_target_id
from relay.dashboard.responses import redirect, render_dialog, render_part
from relay.model.event import EventRow
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.services.relay import RunningRelay

_MAX_HITS = 12
_MAX_TEXT = 200
_EVENT_NUMBER = re.compile(r"#?(\d{1,18})")


@dataclass(frozen=True, slots=True)
class FinderHit:
    """A hit. `keys` are its keyboard shortcut, `dialog` means that it opens in a dialog."""

    name: str
    href: str
    kind: str
    icon: str
    keys: tuple[str, ...] = ()
    dialog: bool = False


_PAGE_HITS = (
    FinderHit("Events", "/events", "Page", "webhook", keys=("G", "E")),
    FinderHit("Deliveries", "/deliveries", "Page", "send", keys=("G", "D")),
    FinderHit("Failed deliveries, the dead letters", "/deliveries?state=failed", "Page", "send"),
    FinderHit("Queued deliveries", "/deliveries?state=pending", "Page", "send"),
    FinderHit("Bulk replays", "/replays", "Page", "history"),
    FinderHit("Messages, mail and SMS", "/messages", "Page", "mail", keys=("G", "M")),
    FinderHit("Sources", "/sources", "Page", "log-in", keys=("G", "S")),
    FinderHit("Targets", "/targets", "Page", "route", keys=("G", "T")),
    FinderHit("Trigger a sample", "/trigger", "Action", "zap", keys=("T",)),
    FinderHit("Metrics", "/stats", "Page", "chart-no-axes-column", keys=("G", "C")),
    FinderHit("Lab, try an app", "/lab", "Page", "flask-conical"),
    FinderHit("Vault, secrets", "/vault", "Page", "lock", dialog=True),
    FinderHit("Doctor", "/doctor", "Page", "stethoscope"),
    FinderHit("Settings", "/settings", "Page", "settings-2"),
    FinderHit("Failing events", "/events?q=has%3Afailed", "View", "list-filter"),
    FinderHit("Rejected events", "/events?q=outcome%3Arejected", "View", "list-filter"),
    FinderHit("Queued events", "/events?q=has%3Apending", "View", "list-filter"),
    FinderHit("Pinned events", "/events?q=is%3Apinned", "View", "list-filter"),
    FinderHit("Replay every event that failed", "/replays?q=has%3Afailed", "Action", "rotate-cw", dialog=True),
)


async def show_finder(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /find?find=: what that could mean, the likeliest first; `go` leads there at once."""
    text = request.query.get("find", "")[:_MAX_TEXT].strip()
    event = _find_current_event(request)
    hits = await _collect_hits(relay, text, event)
    if request.query.get("go") and hits:
        return redirect(hits[0].href)
    if get_target_id(request) == "found":
        return render_part(request, "finder_hits.html", hits=hits)
    title, back = "Find anything", ("/events", "Events")
    return await render_dialog(request, "finder.html", title, back, nav="", text=text, event=event, hits=hits)


def _find_current_event(request: web.Request) -> str:
    current = re.match(r"/events/(\d{1,18})(?:/|$)", parse_current_url(request)[0])
    text = request.query.get("event", "")
    return current[1] if current else text if _EVENT_NUMBER.fullmatch(text) else ""


async def _collect_hits(relay: RunningRelay, text: str, event: str) -> tuple[FinderHit, ...]:
    words = text.lower().split()
    hits: list[FinderHit] = []
    number = _EVENT_NUMBER.fullmatch(text)
    row = await relay.store.events.row(int(number[1])) if number else None
    if row is not None:
        hits += _build_event_hits(row)
    else:
        current = await relay.store.events.row(int(event)) if event else None
        everything = [*(_build_event_hits(current) if current else ()), *_PAGE_HITS, *_list_configured_hits(relay)]
        found = [hit for hit in everything if all(word in f"{hit.kind} {hit.name}".lower() for word in words)]
        hits += found if words else [hit for hit in found if hit.kind != "Sample"]
    if text:
        # Last, so that better hits come first.
        name = f"Search events for {escape_unprintable(text, 60)}"
        return (*hits[: _MAX_HITS - 1], FinderHit(name, build_url("/events", q=text), "Search", "search"))
    return tuple(hits[:_MAX_HITS])


def _build_event_hits(row: EventRow) -> Iterator[FinderHit]:
    what, address = f"event {row.id}", f"/events/{row.id}"
    yield FinderHit(f"Event {row.id}, {format_event_title(row)}", address, "Event", "webhook")
    for verb, icon, key in (("Replay", "rotate-cw", "R"), ("Email", "mail", "E")):
        href = f"{address}/{verb.lower()}"
        yield FinderHit(f"{verb} {what}", href, "Action", icon, keys=(key,), dialog=True)
    href = f"/compare?a={row.id}"
    yield FinderHit(f"Compare {what}", href, "Action", "git-compare", keys=("D",), dialog=True)
    yield FinderHit(f"Why {what} verified or not", f"{address}/verification", "Page", "shield-check")
    yield FinderHit(f"Deliveries of {what}", f"{address}/deliveries", "Page", "send")


def _list_configured_hits(relay: RunningRelay) -> Iterator[FinderHit]:
    for name in relay.sources.by_name:
        title = escape_unprintable(name, 60)
        yield FinderHit(f"Source {title}", f"/sources/{quote(name, safe='')}", "Source", "log-in")
        yield FinderHit(f"Events of {title}", build_url("/events", q=f"source:{name}"), "View", "list-filter")
    for name in relay.config.targets:
        href = build_url("/deliveries", target=name)
        yield FinderHit(f"Deliveries to {escape_unprintable(name, 60)}", href, "Target", "route")
    for name in relay.sources.by_name:
        for type_ in relay.list_sample_types(name):
            href = build_url("/trigger", source=name, type=type_)
            yield FinderHit(f"Trigger {name} {type_}", href, "Sample", "zap")
