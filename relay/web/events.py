"""The Events page: list and detail side by side, the same address answering whole or in part."""

import re
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from aiohttp import web

from relay.errors import NotFoundError
from relay.model.delivery import Delivery, DeliveryReason
from relay.model.event import Event
from relay.model.search import Query
from relay.model.text import printable, size
from relay.web import first, gather, gone, tabs
from relay.web.asked import identity, number
from relay.web.contexts.events import Detail, EventHead, EventsPage
from relay.web.keys import desk
from relay.web.render import RENDERER, html, partial, wants
from relay.web.senders import event_mark
from relay.web.view import lists
from relay.web.view.hops import hops
from relay.web.view.rows import named, tags
from relay.web.view.words import moment


async def events(request: web.Request) -> web.Response:
    """GET /events?q=&before=: the list, with the newest event beside it; the list alone for htmx."""
    if request.query.get("at"):
        return _go_to_time(request)
    if wants(request) == "list":
        return await _list(request)
    here = desk(request)
    query = gather.query_of(request)
    counts = await here.store.events.counts()
    if not counts.events and not query.text:
        return await first.first(request)
    return await _page(request, query, None, "payload")


async def event(request: web.Request) -> web.Response:
    """GET /events/{id} and its tabs."""
    return await view(request, request.match_info.get("tab", "payload"))


async def view(request: web.Request, name: str) -> web.Response:
    """Return an event with the tab of that name: the page, the detail alone, or the tab alone."""
    query = gather.query_of(request)
    target = wants(request)
    try:
        whole = await desk(request).store.events.get(identity(request))
    except NotFoundError:
        if target in ("detail", "tab"):
            sentence = await gone.told(desk(request), identity(request))
            gone_html = request.app[RENDERER].part(
                "parts/gone.html", gone=sentence, suffix=lists.suffix(query.text)
            )
            return html(gone_html, 404)
        return await _page(request, query, None, name, missing=identity(request))
    renderer = request.app[RENDERER]
    if target == "detail":
        return html(renderer.page(await detail(request, whole, name)))
    if target == "tab":
        tab = await tabs.tab(request, whole, name)
        sent = await gather.deliveries_of(desk(request), whole.id)
        row = renderer.part("parts/tabs.html", tabs=tabs.links(request, whole, name, len(sent)))
        return html(renderer.part(tab.template, tab=tab) + partial("#tabs", "outerHTML", row))
    return await _page(request, query, whole, name)


async def detail(request: web.Request, event: Event, name: str) -> Detail:
    """Return one event with one of its tabs."""
    here = desk(request)
    sent = await gather.deliveries_of(here, event.id)
    return Detail(
        event=head(event, sent),
        hops=hops(event.row, sent, event_mark(event.row), gather.addresses(here), here.clock.now()),
        tabs=tabs.links(request, event, name, len(sent)),
        tab=await tabs.tab(request, event, name),
        suffix=lists.suffix(gather.query_of(request).text),
        target=next(iter(here.setup.targets), ""),
    )


def head(event: Event, sent: Sequence[Delivery] = ()) -> EventHead:
    """Return the title of an event; `sent` are its deliveries."""
    row = event.row
    is_replayed = any(one.reason is DeliveryReason.REPLAY for one in sent)
    return EventHead(
        id=row.id,
        type=named(row),
        mark=event_mark(row),
        time=moment(row.received_at),
        size=size(row.size),
        pinned=row.pinned,
        note=printable(row.note.replace("\n", " "), 2000),
        sent=moment(row.sent_at) if row.sent_at else None,
        tags=tuple(tag for tag in tags(row, is_replayed=is_replayed) if tag in ("replay", "sample")),
    )


async def _page(
    request: web.Request,
    query: Query,
    chosen: Event | None,
    name: str,
    missing: int | None = None,
) -> web.Response:
    here = desk(request)
    before = number(request, "before", None)
    listed, foot, page = await gather.listing(
        here, query, before=before, selected=chosen.id if chosen else None
    )
    shown = chosen
    if shown is None and missing is None and page.rows:
        shown = await here.store.events.get(page.rows[0].id)
        listed = lists.select(listed, shown.id)
    found = await detail(request, shown, name) if shown else None
    context = EventsPage(
        shell=await gather.frame(request, found.event.type if chosen and found else "Events", "events"),
        views=gather.saved_views(query.text, await here.store.events.counts()),
        search=lists.search(query, tuple(here.setup.sources)),
        list=listed,
        foot=foot,
        detail_shown=chosen is not None or missing is not None,
        detail=found,
        gone=await gone.told(here, missing) if missing is not None else "",
        suffix=listed.suffix,
    )
    return html(request.app[RENDERER].page(context), 200 if missing is None else 404)


async def _list(request: web.Request) -> web.Response:
    here, renderer = desk(request), request.app[RENDERER]
    query = gather.query_of(request)
    path, was = gather.current_url(request)
    shown = re.fullmatch(r"/events/(\d{1,18})(?:/\w+)?", path)
    listed, foot, _ = await gather.listing(
        here,
        query,
        before=number(request, "before", None),
        selected=int(shown[1]) if shown else None,
    )
    reply = renderer.part("parts/list.html", list=listed, foot=foot)
    boxed = request.headers.get("HX-Source") == "form#search"
    if not boxed or request.query.get("done"):
        # Never while somebody types: what was typed since would be lost.
        box = lists.search(query, tuple(here.setup.sources))
        reply += partial("#tools", "outerHTML", renderer.part("parts/search.html", search=box))
    views = gather.saved_views(query.text, await here.store.events.counts())
    reply += partial("#views", "outerHTML", renderer.part("parts/views.html", views=views))
    # A search is one step back in the history, however many letters it took to type.
    history = "HX-Replace-Url" if boxed and was else "HX-Push-Url"
    return html(reply, headers={history: f"{path if shown else '/events'}{lists.suffix(query.text)}"})


def _go_to_time(request: web.Request) -> web.Response:
    # The field holds this machine's wall clock; the search language wants to know which one.
    try:
        when = datetime.fromisoformat(request.query["at"]).astimezone()
    except ValueError:
        when = desk(request).clock.now()
    parts = [part for part in request.query.get("q", "").split() if not part.startswith("before:")]
    query = " ".join((*parts, f"before:{when.isoformat(timespec='minutes')}"))
    return web.Response(
        status=303, headers={"Location": f"/events?{urlencode({'q': query}, quote_via=quote)}"}
    )
