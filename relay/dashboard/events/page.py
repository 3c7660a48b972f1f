"""The Events page: list and detail side by side, and the parts that it loads later."""

import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from markupsafe import escape

from relay.dashboard import event_list
from relay.dashboard.delivery_rows import format_target_address
from relay.dashboard.events import tabs
from relay.dashboard.events.detail import build_pipeline_bar
from relay.dashboard.filters import TIME_ZONE, build_url
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import redirect, render_page, render_part
from relay.errors import NotFoundError
from relay.http.params import parse_id
from relay.http.responses import get_relay
from relay.model.event import CapturedEvent
from relay.model.parameters import parse_number, parse_whole_number
from relay.model.search import Query
from relay.model.text import is_sensitive
from relay.providers.catalogue import PROVIDERS
from relay.services.relay import RunningRelay
from relay.transfer.formats import format_curl

_OFFERED_PROVIDERS = ("stripe", "github", "shopify", "slack", "twilio")
_CURL_OPTIONS = "  -H 'Content-Type: application/json' \\\n  -d '{\"hello\": \"relay\"}'"
_SAMPLE_TYPE = "payment_intent.succeeded"
_MAX_NEW_ROWS = 50  # new rows inserted individually; if there are more the list is rendered again
_MAX_SECONDS = 10**11  # of a row's time since 1970; a later value did not come from a row


async def show_events(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /events?q=&before=: the list, with the newest event beside it; the list alone for htmx."""
    if request.query.get("at"):
        return _redirect_to_time(request)
    if get_target_id(request) == "list":
        return await _render_list(request)
    query = event_list.parse_list_query(request)
    counts = await relay.store.events.counts()
    if not counts.events and not query.text:
        return await show_onboarding(request)
    return await _render_page(request, query, None, "payload")


async def show_event(request: web.Request) -> web.Response:
    """GET /events/{id} and its tabs."""
    return await render_event(request, request.match_info.get("tab", "payload"))


async def render_event(request: web.Request, name: str) -> web.Response:
    """Return an event with the tab of that name: as a page, as the detail, or as the tab only."""
    relay, target = get_relay(request), get_target_id(request)
    try:
        event = await relay.store.events.get(parse_id(request))
    except NotFoundError:
        if target in ("detail", "tab"):
            explanation = await explain_missing_event(relay, parse_id(request))
            return render_part(
                request, "events/missing.html", 404, gone=explanation, suffix=event_list.parse_list_suffix(request)
            )
        return await _render_page(request, event_list.parse_list_query(request), None, name, missing=parse_id(request))
    if target == "detail":
        return render_part(request, "events/detail.html", **await build_detail(request, event, name))
    if target == "tab":
        renderer, values = request.app[RENDERER], await build_detail(request, event, name)
        row = make_partial("#tabs", "outerHTML", renderer.part("events/tabs.html", **values))
        return html_response(renderer.part(values["tab_template"], **values) + row)
    return await _render_page(request, event_list.parse_list_query(request), event, name)


async def build_detail(request: web.Request, event: CapturedEvent, name: str) -> dict[str, Any]:
    """Return the view model of an event's detail with one of its tabs."""
    relay, row = get_relay(request), event.row
    deliveries = await relay.store.deliveries.of_event(event.id)
    addresses = {target: format_target_address(url) for target, url in relay.target_addresses.items()}
    routes = [route for route in relay.routing.routes if route.matches(row.source, row.types)]
    template, tab = await tabs.build_tab(request, event, name)
    return {
        "event": row,
        "is_replayed": event_list.is_replayed(deliveries),
        "hops": build_pipeline_bar(
            row, deliveries, addresses, [name for route in routes for name in route.targets], relay.clock.now()
        ),
        "tab_names": tabs.TAB_NAMES,
        "tab_name": name if name in tabs.TAB_NAMES else "payload",
        "header_count": len(event.capture.headers),
        "delivery_count": len(deliveries),
        "tab": tab,
        "tab_template": template,
        "suffix": event_list.parse_list_suffix(request),
        "targets": event_list.select_replay_targets(deliveries, relay.config.targets),
    }


async def _render_page(
    request: web.Request, query: Query, chosen: CapturedEvent | None, name: str, missing: int | None = None
) -> web.Response:
    relay = get_relay(request)
    listing = await event_list.load_listing(
        relay, query, before=parse_number(request.query, "before", None), selected=chosen.id if chosen else None
    )
    event = chosen
    if event is None and missing is None and listing["rows"]:
        event = await relay.store.events.get(listing["page"].rows[0].id)
        listing["selected"] = event.id
    return await render_page(
        request,
        "events/page.html",
        event_list.format_event_title(chosen.row) if chosen else "Events",
        "events",
        200 if missing is None else 404,
        counts=await relay.store.events.counts(),
        search=event_list.build_search_box(query, tuple(relay.sources.by_name)),
        list=listing,
        detail_shown=chosen is not None or missing is not None,
        gone=await explain_missing_event(relay, missing) if missing is not None else "",
        **(
            await build_detail(request, event, name)
            if event
            else {"event": None, "suffix": build_url("", q=query.text)}
        ),
    )


async def _render_list(request: web.Request) -> web.Response:
    relay, renderer = get_relay(request), request.app[RENDERER]
    query = event_list.parse_list_query(request)
    path, searched_before = event_list.parse_current_url(request)
    is_typing = request.headers.get("HX-Source") == "form#search"
    search = event_list.build_search_box(query, tuple(relay.sources.by_name))
    tools = make_partial("#tools", "outerHTML", renderer.part("events/search.html", search=search))
    # Never while the user types: text typed since would be lost.
    tools = "" if is_typing and not request.query.get("done") else tools
    if query.problems:
        notes = renderer.part("events/problems.html", list={"problems": query.problems})
        kept = make_partial("#problems", "innerHTML", notes) + tools
        return html_response(kept, headers={"HX-Reswap": "none", "HX-Push-Url": "false"})
    open_event = re.fullmatch(r"/events/(\d{1,18})(?:/\w+)?", path)
    before, selected = parse_number(request.query, "before", None), int(open_event[1]) if open_event else None
    values = {
        "list": await event_list.load_listing(relay, query, before=before, selected=selected),
        "search": search,
        "counts": await relay.store.events.counts(),
    }
    reply = renderer.part("events/list.html", **values) + tools
    reply += make_partial("#views", "outerHTML", renderer.part("events/views.html", **values))
    # A search is one entry of the history, however many letters were typed.
    history = "HX-Replace-Url" if is_typing and searched_before else "HX-Push-Url"
    address = f"{path if open_event else '/events'}{build_url('', q=query.text)}"
    return html_response(reply, headers={history: address})


def _redirect_to_time(request: web.Request) -> web.Response:
    # The field has a time in the page's zone; the search language would read it as local.
    try:
        when = datetime.fromisoformat(request.query["at"])
        when = when.replace(tzinfo=TIME_ZONE.get()) if TIME_ZONE.get() else when.astimezone()
    except (ValueError, OverflowError):
        when = get_relay(request).clock.now()
    parts = [part for part in request.query.get("q", "").split() if not part.startswith("before:")]
    query = " ".join((*parts, f"before:{when.isoformat(timespec='minutes')}"))
    return redirect(build_url("/events", q=query))


async def show_onboarding(request: web.Request) -> web.Response:
    """Return the page shown before the first event: how to send one, how to connect a provider."""
    relay = get_relay(request)
    known = [PROVIDERS[name] for name in _OFFERED_PROVIDERS if name in PROVIDERS]
    chosen = request.query.get("provider")
    return await render_page(
        request,
        "events/onboarding.html",
        "Waiting for the first webhook",
        "events",
        reachable=relay.state.public_url is not None,
        curl=f"curl -X POST {shlex.quote(f'{relay.ingress_url}/webhooks/test')} \\\n{_CURL_OPTIONS}",
        providers=known,
        provider=next((provider for provider in known if provider.name == chosen), known[0]),
        url=relay.state.public_url or relay.ingress_url,
        targets=[f"{name}: {address}" for name, address in relay.target_addresses.items()],
        sample=_SAMPLE_TYPE,
    )


async def explain_missing_event(relay: RunningRelay, id_: int) -> str:
    """Return a sentence on why there is no event of that id."""
    newest = await relay.store.pruning.newest()
    if id_ > newest:
        return f"There is no event {id_} yet{f'; the newest is {newest}' if newest else ''}."
    marks = await relay.store.pruning.removed()
    # Each rule removes the oldest first, so the lowest mark above an id belongs to the rule that removed it.
    passed = min(((mark, rule) for rule, mark in marks.items() if mark >= id_), default=None)
    if passed is None:
        return f"Event {id_} was deleted."
    return f"Event {id_} was removed by retention ({relay.config.keep.describe_rule(passed[1])})."


async def show_rows(request: web.Request) -> web.Response:
    """GET /events/rows: older rows (`before`) with the foot below them, or newer ones (`after`) with the count."""
    after = parse_whole_number(request.query, "after")
    return await _render_older_rows(request) if after is None else await _render_newer_rows(request, after)


async def _render_older_rows(request: web.Request) -> web.Response:
    relay, renderer = get_relay(request), request.app[RENDERER]
    query = event_list.parse_list_query(request)
    shown = min(parse_whole_number(request.query, "shown") or 0, event_list.MAX_ROWS)
    page = await relay.store.events.page(
        query.readable, limit=event_list.PAGE_SIZE, before=parse_number(request.query, "before", None)
    )
    seconds = parse_whole_number(request.query, "last")
    last = datetime.fromtimestamp(seconds, UTC) if seconds and seconds < _MAX_SECONDS else None
    listed = await event_list.load_part(relay, query, page, shown=shown + len(page.rows), last=last)
    return html_response(
        renderer.part("events/rows.html", list=listed) + renderer.part("events/footer.html", list=listed)
    )


async def _render_newer_rows(request: web.Request, after: int) -> web.Response:
    relay, renderer = get_relay(request), request.app[RENDERER]
    query = event_list.parse_list_query(request)
    page = await relay.store.events.page(query.readable, limit=_MAX_NEW_ROWS, after=after)
    if not page.rows:
        return web.Response(status=204)
    if not after or (page.next_before is not None and page.next_before > after):
        text = renderer.part("events/list.html", list=await event_list.load_listing(relay, query))
        return html_response(make_partial("#list", "outerHTML", text))
    text = renderer.part("events/rows.html", list=await event_list.load_part(relay, query, page))
    count = escape(await event_list.build_count_line(relay, query.readable))
    return html_response(make_partial("#rows", "afterbegin", text) + make_partial("#count", "textContent", count))


async def show_head(request: web.Request, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/head: the pipeline bar and the counts of the tabs, and `tab` again where it is named."""
    renderer = request.app[RENDERER]
    name = request.query.get("tab", "")
    detail = await build_detail(request, event, name if name in tabs.TAB_NAMES else "routing")
    reply = make_partial("#hops", "outerHTML", renderer.part("events/pipeline_bar.html", **detail))
    reply += make_partial("#marks", "innerHTML", renderer.part("events/tags.html", **detail))
    reply += make_partial("#tab-deliveries", "textContent", str(detail["delivery_count"]))
    if name == "deliveries":
        reply += make_partial("#tab", "innerHTML", renderer.part(detail["tab_template"], tab=detail["tab"]))
    return html_response(reply)


async def show_tree(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """GET /events/{id}/tree?ptr=&from=: what belongs below a folded node."""
    if get_target_id(request) != "" or "ptr" not in request.query:
        return await render_event(request, "tree")
    event = await relay.store.events.get(id_)
    body = await request.app[tabs.BODY_CACHE].read(event)
    nodes = tabs.build_subtree(body.value, request)
    return render_part(request, "events/tree.html", nodes=nodes, base=f"/events/{id_}")


async def show_hits(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """GET /events/{id}/find?find=: the payload with every hit marked, standing on one of them."""
    if get_target_id(request) != "payload":
        return await render_event(request, "payload")
    renderer = request.app[RENDERER]
    event = await relay.store.events.get(id_)
    tab = await tabs.build_payload_tab(request, event, "payload")
    hits = make_partial("#hits", "innerHTML", renderer.part("events/hits.html", tab=tab))
    return html_response(renderer.part("events/body.html", tab=tab) + hits)


async def download_body(request: web.Request, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/body: the exact bytes, as a download; `inline` shows a picture and nothing else."""
    kind = event.capture.content_type
    inline = "inline" in request.query and kind in tabs.IMAGE_TYPES
    name = f"event-{event.id}{'.json' if 'json' in kind else '.bin'}"
    return web.Response(
        body=event.capture.body,
        headers={
            "Content-Type": kind if inline else "application/octet-stream",
            "Content-Disposition": "inline" if inline else f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


async def show_curl(relay: RunningRelay, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/curl: a command that sends the event again; headers with credentials are left out."""
    headers = tuple(
        (name, value) for name, value in event.capture.headers if not is_sensitive(name) or "signature" in name.lower()
    )
    sent = replace(event, capture=replace(event.capture, headers=headers))
    return web.Response(text=format_curl(sent, shlex.quote(relay.ingress_url)))
