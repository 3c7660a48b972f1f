"""Find anything: pages, actions, sources, targets, and events by their number."""

import re
from collections.abc import Iterator

from aiohttp import web

from relay.model.event import EventRow
from relay.model.text import printable
from relay.web import gather, standing
from relay.web.contexts.find import FindForm, Hit
from relay.web.keys import Desk, desk
from relay.web.posted import see
from relay.web.render import RENDERER, html, wants
from relay.web.view import lists
from relay.web.view.rows import named

_MOST = 12
_LONGEST = 200
_NUMBER = re.compile(r"#?(\d{1,18})")

_PAGES = (
    Hit(name="Events", href="/events", kind="Page", icon="webhook", keys=("G", "E")),
    Hit(name="Deliveries", href="/deliveries", kind="Page", icon="send", keys=("G", "D")),
    Hit(
        name="Failed deliveries, the dead letters", href="/deliveries?state=failed", kind="Page", icon="send"
    ),
    Hit(name="Queued deliveries", href="/deliveries?state=pending", kind="Page", icon="send"),
    Hit(name="Bulk replays", href="/replays", kind="Page", icon="history"),
    Hit(name="Messages, mail and SMS", href="/messages", kind="Page", icon="mail", keys=("G", "M")),
    Hit(name="Sources", href="/sources", kind="Page", icon="log-in", keys=("G", "S")),
    Hit(name="Targets", href="/targets", kind="Page", icon="route", keys=("G", "T")),
    Hit(name="Trigger a sample", href="/trigger", kind="Action", icon="zap", keys=("T",)),
    Hit(name="Metrics", href="/stats", kind="Page", icon="chart-no-axes-column", keys=("G", "C")),
    Hit(name="Lab, try an app", href="/lab", kind="Page", icon="flask-conical"),
    Hit(name="Vault, secrets", href="/vault", kind="Page", icon="lock", dialog=True),
    Hit(name="Doctor", href="/doctor", kind="Page", icon="stethoscope"),
    Hit(name="Settings", href="/settings", kind="Page", icon="settings-2"),
    Hit(name="Failing events", href="/events?q=has%3Afailed", kind="View", icon="list-filter"),
    Hit(name="Rejected events", href="/events?q=outcome%3Arejected", kind="View", icon="list-filter"),
    Hit(name="Queued events", href="/events?q=has%3Apending", kind="View", icon="list-filter"),
    Hit(name="Pinned events", href="/events?q=is%3Apinned", kind="View", icon="list-filter"),
    Hit(
        name="Replay every event that failed",
        href="/replays?q=has%3Afailed",
        kind="Action",
        icon="rotate-cw",
        dialog=True,
    ),
)


async def find(request: web.Request) -> web.Response:
    """GET /find?find=: what that could mean, the likeliest first; `go` leads there at once."""
    text = request.query.get("find", "")[:_LONGEST].strip()
    event = _open(request)
    hits = await _found(desk(request), text, event)
    if request.query.get("go") and hits:
        return see(hits[0].href)
    if wants(request) == "found":
        return html(request.app[RENDERER].part("parts/found.html", hits=hits))
    form = FindForm(text=text, event=event, hits=hits)
    return await standing.dialog(request, form, "Find anything", "")


def _open(request: web.Request) -> str:
    shown = re.match(r"/events/(\d{1,18})(?:/|$)", gather.current_url(request)[0])
    given = request.query.get("event", "")
    return shown[1] if shown else given if _NUMBER.fullmatch(given) else ""


async def _found(here: Desk, text: str, event: str) -> tuple[Hit, ...]:
    wanted = text.lower().split()
    hits: list[Hit] = []
    number = _NUMBER.fullmatch(text)
    row = await here.store.events.row(int(number[1])) if number else None
    if row is not None:
        hits += _acts(row)
    else:
        shown = await here.store.events.row(int(event)) if event else None
        everything = [*(_acts(shown) if shown else ()), *_PAGES, *_configured(here)]
        named_ = [
            hit for hit in everything if all(word in f"{hit.kind} {hit.name}".lower() for word in wanted)
        ]
        hits += named_ if wanted else [hit for hit in named_ if hit.kind != "Sample"]
    if text:
        # Last, so that it never stands where something better was found.
        name = f"Search events for {printable(text, 60)}"
        return (*hits[: _MOST - 1], Hit(name=name, href=lists.href(text), kind="Search", icon="search"))
    return tuple(hits[:_MOST])


def _acts(row: EventRow) -> Iterator[Hit]:
    what, address = f"event {row.id}", f"/events/{row.id}"
    yield Hit(name=f"Event {row.id}, {named(row)}", href=address, kind="Event", icon="webhook")
    for verb, icon, key in (("Replay", "rotate-cw", "R"), ("Email", "mail", "E")):
        href = f"{address}/{verb.lower()}"
        yield Hit(name=f"{verb} {what}", href=href, kind="Action", icon=icon, keys=(key,), dialog=True)
    href = f"/compare?a={row.id}"
    yield Hit(name=f"Compare {what}", href=href, kind="Action", icon="git-compare", keys=("D",), dialog=True)
    yield Hit(
        name=f"Why {what} verified or not", href=f"{address}/verification", kind="Page", icon="shield-check"
    )
    yield Hit(name=f"Deliveries of {what}", href=f"{address}/deliveries", kind="Page", icon="send")


def _configured(here: Desk) -> Iterator[Hit]:
    for name in here.setup.sources:
        shown = printable(name, 60)
        yield Hit(name=f"Source {shown}", href=f"/sources/{lists.quoted(name)}", kind="Source", icon="log-in")
        yield Hit(
            name=f"Events of {shown}", href=lists.href(f"source:{name}"), kind="View", icon="list-filter"
        )
    for name in here.setup.targets:
        href = f"/deliveries?{lists.encoded({'target': name})}"
        yield Hit(name=f"Deliveries to {printable(name, 60)}", href=href, kind="Target", icon="route")
    for name in here.setup.sources:
        for type_ in here.verbs.samples(name):
            href = f"/trigger?{lists.encoded({'source': name, 'type': type_})}"
            yield Hit(name=f"Trigger {name} {type_}", href=href, kind="Sample", icon="zap")
