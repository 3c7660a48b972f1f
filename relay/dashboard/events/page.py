"""The Events page: list and detail side by side, the same address answering whole or in part."""

import re
import shlex
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from relay.dashboard import event_list
from relay.dashboard.delivery_rows import format_target_address
from relay.dashboard.event_list import format_event_title, parse_current_url, parse_list_query, parse_list_suffix
from relay.dashboard.events import tabs
from relay.dashboard.events.detail import build_pipeline_bar
from relay.dashboard.filters import build_query_suffix, make_avatar
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import render_page, render_part
from relay.errors import NotFoundError
from relay.http.context import get_relay
from relay.http.params import parse_id, parse_number
from relay.model.delivery import DeliveryReason
from relay.model.event import CapturedEvent
from relay.model.search import Query
from relay.providers.catalogue import PROVIDERS
from relay.providers.provider import Provider
from relay.services.relay import RunningRelay


async def show_events(request: web.Request) -> web.Response:
    """GET /events?q=&before=: the list, with the newest event beside it; the list alone for htmx."""
    if request.query.get("at"):
        return _redirect_to_time(request)
    if get_target_id(request) == "list":
        return await _render_list(request)
    relay = get_relay(request)
    query = parse_list_query(request)
    counts = await relay.store.events.counts()
    if not counts.events and not query.text:
        return await show_onboarding(request)
    return await _render_page(request, query, None, "payload")


async def show_event(request: web.Request) -> web.Response:
    """GET /events/{id} and its tabs."""
    return await render_event(request, request.match_info.get("tab", "payload"))


async def render_event(request: web.Request, name: str) -> web.Response:
    """Return an event with the tab of that name: the page, the detail alone, or the tab alone."""
    relay, target = get_relay(request), get_target_id(request)
    try:
        event = await relay.store.events.get(parse_id(request))
    except NotFoundError:
        if target in ("detail", "tab"):
            explanation = await explain_missing_event(relay, parse_id(request))
            return render_part(request, "events/missing.html", 404, gone=explanation, suffix=parse_list_suffix(request))
        return await _render_page(request, parse_list_query(request), None, name, missing=parse_id(request))
    if target == "detail":
        return render_part(request, "events/detail.html", **await build_detail(request, event, name))
    if target == "tab":
        template, tab = await tabs.build_tab(request, event, name)
        links = tabs.build_tab_links(request, event, name, len(await tabs.load_deliveries(relay, event.id)))
        renderer = request.app[RENDERER]
        row = make_partial("#tabs", "outerHTML", renderer.part("events/tabs.html", tabs=links))
        return html_response(renderer.part(template, tab=tab) + row)
    return await _render_page(request, parse_list_query(request), event, name)


async def build_detail(request: web.Request, event: CapturedEvent, name: str) -> dict[str, Any]:
    """Return what the detail of an event shows, with one of its tabs."""
    relay, row = get_relay(request), event.row
    deliveries = await tabs.load_deliveries(relay, event.id)
    addresses = {target: format_target_address(url) for target, url in relay.target_addresses.items()}
    template, tab = await tabs.build_tab(request, event, name)
    return {
        "event": row,
        "is_replayed": any(delivery.reason is DeliveryReason.REPLAY for delivery in deliveries),
        "hops": build_pipeline_bar(row, deliveries, addresses, relay.clock.now()),
        "tabs": tabs.build_tab_links(request, event, name, len(deliveries)),
        "tab": tab,
        "tab_template": template,
        "suffix": parse_list_suffix(request),
        "target": next(iter(relay.config.targets), ""),
    }


async def _render_page(
    request: web.Request, query: Query, chosen: CapturedEvent | None, name: str, missing: int | None = None
) -> web.Response:
    relay = get_relay(request)
    before = parse_number(request, "before", None)
    listing, footer, page = await event_list.load_listing(
        relay, query, before=before, selected=chosen.id if chosen else None
    )
    event = chosen
    if event is None and missing is None and page.rows:
        event = await relay.store.events.get(page.rows[0].id)
        listing = event_list.select_row(listing, event.id)
    return await render_page(
        request,
        "events/page.html",
        format_event_title(chosen.row) if chosen else "Events",
        "events",
        200 if missing is None else 404,
        views=event_list.build_saved_views(query.text, await relay.store.events.counts()),
        search=event_list.build_search_box(query, tuple(relay.sources.by_name)),
        list=listing,
        foot=footer,
        detail_shown=chosen is not None or missing is not None,
        gone=await explain_missing_event(relay, missing) if missing is not None else "",
        **(await build_detail(request, event, name) if event else {"event": None, "suffix": listing.suffix}),
    )


async def _render_list(request: web.Request) -> web.Response:
    relay, renderer = get_relay(request), request.app[RENDERER]
    query = parse_list_query(request)
    path, searched_before = parse_current_url(request)
    open_event = re.fullmatch(r"/events/(\d{1,18})(?:/\w+)?", path)
    before, selected = parse_number(request, "before", None), int(open_event[1]) if open_event else None
    listing, footer, _ = await event_list.load_listing(relay, query, before=before, selected=selected)
    reply = renderer.part("events/list.html", list=listing, foot=footer)
    is_typing = request.headers.get("HX-Source") == "form#search"
    if not is_typing or request.query.get("done"):
        # Never while somebody types: what was typed since would be lost.
        box = event_list.build_search_box(query, tuple(relay.sources.by_name))
        reply += make_partial("#tools", "outerHTML", renderer.part("events/search.html", search=box))
    views = event_list.build_saved_views(query.text, await relay.store.events.counts())
    reply += make_partial("#views", "outerHTML", renderer.part("events/views.html", views=views))
    # A search is one step back in the history, however many letters it took to type.
    history = "HX-Replace-Url" if is_typing and searched_before else "HX-Push-Url"
    address = f"{path if open_event else '/events'}{build_query_suffix(query.text)}"
    return html_response(reply, headers={history: address})


def _redirect_to_time(request: web.Request) -> web.Response:
    # The field holds this machine's wall clock; the search language wants to know which one.
    try:
        when = datetime.fromisoformat(request.query["at"]).astimezone()
    except ValueError:
        when = get_relay(request).clock.now()
    parts = [part for part in request.query.get("q", "").split() if not part.startswith("before:")]
    query = " ".join((*parts, f"before:{when.isoformat(timespec='minutes')}"))
    return web.Response(status=303, headers={"Location": f"/events?{urlencode({'q': query}, quote_via=quote)}"})


_OFFERED_PROVIDERS = ("stripe", "github", "shopify", "slack", "twilio")
_SAMPLE_TYPE = "payment_intent.succeeded"


async def show_onboarding(request: web.Request) -> web.Response:
    """Return the page shown until the first event comes: how to send one, how to connect a provider."""
    relay = get_relay(request)
    url = relay.state.public_url or relay.ingress_url
    known = [PROVIDERS[name] for name in _OFFERED_PROVIDERS if name in PROVIDERS]
    picks = [_build_provider_pick(provider, url, request.query.get("provider", known[0].name)) for provider in known]
    current = next((pick for pick in picks if pick["current"]), picks[0])
    return await render_page(
        request,
        "events/onboarding.html",
        "Waiting for the first webhook",
        "events",
        reachable=relay.state.public_url is not None,
        curl=_format_curl(f"{relay.ingress_url}/webhooks/test"),
        picks=picks,
        pick=current,
        targets=[f"{name}: {relay.target_addresses.get(name, '')}" for name in relay.config.targets],
        sample=_SAMPLE_TYPE,
    )


def _build_provider_pick(provider: Provider, url: str, chosen: str) -> dict[str, Any]:
    webhook_url = f"{url}/webhooks/{provider.name}"
    return {
        "name": provider.name,
        "mark": make_avatar(provider.name, provider.title, provider.monogram),
        "current": provider.name == chosen,
        "url": webhook_url,
        "variable": provider.secret_env[0] if provider.secret_env else "",
        "steps": provider.list_steps(webhook_url),
    }


def _format_curl(url: str) -> str:
    body = shlex.quote('{"hello": "relay"}')
    return f"curl -X POST {shlex.quote(url)} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"


async def explain_missing_event(relay: RunningRelay, id_: int) -> str:
    """Return in a sentence why there is no event of that number."""
    newest = await relay.store.pruning.newest()
    if id_ > newest:
        return f"There is no event {id_} yet{f'; the newest is {newest}' if newest else ''}."
    marks = await relay.store.pruning.removed()
    # Each rule removes upwards, so the lowest mark above a number is that of the rule which took it.
    passed = min(((mark, rule) for rule, mark in marks.items() if mark >= id_), default=None)
    if passed is None:
        return f"Event {id_} was deleted."
    return f"Event {id_} was removed by retention ({relay.config.keep.describe_rule(passed[1])})."
