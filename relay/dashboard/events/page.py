"""The Events page: list and detail side by side, the same address answering whole or in part."""

import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from aiohttp import web

from relay.dashboard import page_data
from relay.dashboard.event_rows import format_event_title, list_event_tags
from relay.dashboard.events import list_view, tabs
from relay.dashboard.events.context import EventDetail, EventsPage, OnboardingPage, ProviderChoice
from relay.dashboard.events.detail import build_pipeline_bar
from relay.dashboard.filters import event_avatar, format_moment, make_avatar
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.urls import build_query_suffix
from relay.dashboard.widgets import EventHeader
from relay.errors import NotFoundError
from relay.http.context import get_relay
from relay.http.params import parse_id, parse_number
from relay.model.delivery import Delivery, DeliveryReason
from relay.model.event import CapturedEvent
from relay.model.search import Query
from relay.model.text import escape_unprintable, format_size
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
    query = page_data.parse_list_query(request)
    counts = await relay.store.events.counts()
    if not counts.events and not query.text:
        return await show_onboarding(request)
    return await _render_page(request, query, None, "payload")


async def show_event(request: web.Request) -> web.Response:
    """GET /events/{id} and its tabs."""
    return await render_event(request, request.match_info.get("tab", "payload"))


async def render_event(request: web.Request, name: str) -> web.Response:
    """Return an event with the tab of that name: the page, the detail alone, or the tab alone."""
    query = page_data.parse_list_query(request)
    target = get_target_id(request)
    try:
        whole = await get_relay(request).store.events.get(parse_id(request))
    except NotFoundError:
        if target in ("detail", "tab"):
            sentence = await explain_missing_event(get_relay(request), parse_id(request))
            gone_html = request.app[RENDERER].part(
                "events/missing.html", gone=sentence, suffix=build_query_suffix(query.text)
            )
            return html_response(gone_html, 404)
        return await _render_page(request, query, None, name, missing=parse_id(request))
    renderer = request.app[RENDERER]
    if target == "detail":
        return html_response(renderer.page(await build_detail(request, whole, name)))
    if target == "tab":
        tab = await tabs.build_tab(request, whole, name)
        sent = await page_data.load_deliveries(get_relay(request), whole.id)
        row = renderer.part("events/tabs.html", tabs=tabs.build_tab_links(request, whole, name, len(sent)))
        return html_response(renderer.part(tab.template, tab=tab) + make_partial("#tabs", "outerHTML", row))
    return await _render_page(request, query, whole, name)


async def build_detail(request: web.Request, event: CapturedEvent, name: str) -> EventDetail:
    """Return one event with one of its tabs."""
    relay = get_relay(request)
    sent = await page_data.load_deliveries(relay, event.id)
    return EventDetail(
        event=build_event_head(event, sent),
        hops=build_pipeline_bar(
            event.row, sent, event_avatar(event.row), page_data.format_addresses(relay), relay.clock.now()
        ),
        tabs=tabs.build_tab_links(request, event, name, len(sent)),
        tab=await tabs.build_tab(request, event, name),
        suffix=build_query_suffix(page_data.parse_list_query(request).text),
        target=next(iter(relay.config.targets), ""),
    )


def build_event_head(event: CapturedEvent, sent: Sequence[Delivery] = ()) -> EventHeader:
    """Return the title of an event; `sent` are its deliveries."""
    row = event.row
    is_replayed = any(one.reason is DeliveryReason.REPLAY for one in sent)
    return EventHeader(
        id=row.id,
        type=format_event_title(row),
        mark=event_avatar(row),
        time=format_moment(row.received_at),
        size=format_size(row.size),
        pinned=row.pinned,
        note=escape_unprintable(row.note.replace("\n", " "), 2000),
        sent=format_moment(row.sent_at) if row.sent_at else None,
        tags=tuple(tag for tag in list_event_tags(row, is_replayed=is_replayed) if tag in ("replay", "sample")),
    )


async def _render_page(
    request: web.Request, query: Query, chosen: CapturedEvent | None, name: str, missing: int | None = None
) -> web.Response:
    relay = get_relay(request)
    before = parse_number(request, "before", None)
    listed, foot, page = await page_data.load_listing(
        relay, query, before=before, selected=chosen.id if chosen else None
    )
    shown = chosen
    if shown is None and missing is None and page.rows:
        shown = await relay.store.events.get(page.rows[0].id)
        listed = list_view.select_row(listed, shown.id)
    found = await build_detail(request, shown, name) if shown else None
    context = EventsPage(
        shell=await page_data.build_shell(request, found.event.type if chosen and found else "Events", "events"),
        views=page_data.build_saved_views(query.text, await relay.store.events.counts()),
        search=list_view.build_search_box(query, tuple(relay.sources.by_name)),
        list=listed,
        foot=foot,
        detail_shown=chosen is not None or missing is not None,
        detail=found,
        gone=await explain_missing_event(relay, missing) if missing is not None else "",
        suffix=listed.suffix,
    )
    return html_response(request.app[RENDERER].page(context), 200 if missing is None else 404)


async def _render_list(request: web.Request) -> web.Response:
    relay, renderer = get_relay(request), request.app[RENDERER]
    query = page_data.parse_list_query(request)
    path, was = page_data.parse_current_url(request)
    shown = re.fullmatch(r"/events/(\d{1,18})(?:/\w+)?", path)
    listed, foot, _ = await page_data.load_listing(
        relay, query, before=parse_number(request, "before", None), selected=int(shown[1]) if shown else None
    )
    reply = renderer.part("events/list.html", list=listed, foot=foot)
    boxed = request.headers.get("HX-Source") == "form#search"
    if not boxed or request.query.get("done"):
        # Never while somebody types: what was typed since would be lost.
        box = list_view.build_search_box(query, tuple(relay.sources.by_name))
        reply += make_partial("#tools", "outerHTML", renderer.part("events/search.html", search=box))
    views = page_data.build_saved_views(query.text, await relay.store.events.counts())
    reply += make_partial("#views", "outerHTML", renderer.part("events/views.html", views=views))
    # A search is one step back in the history, however many letters it took to type.
    history = "HX-Replace-Url" if boxed and was else "HX-Push-Url"
    return html_response(reply, headers={history: f"{path if shown else '/events'}{build_query_suffix(query.text)}"})


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
    """Return the page that stands in for the list until the first event comes."""
    relay = get_relay(request)
    url = relay.state.public_url or relay.ingress_url
    known = [PROVIDERS[name] for name in _OFFERED_PROVIDERS if name in PROVIDERS]
    picks = [_build_provider_pick(provider, url, request.query.get("provider", known[0].name)) for provider in known]
    current = next((pick for pick in picks if pick.current), picks[0])
    context = OnboardingPage(
        shell=await page_data.build_shell(request, "Waiting for the first webhook", "events"),
        reachable=relay.state.public_url is not None,
        curl=_format_curl(f"{relay.ingress_url}/webhooks/test"),
        picks=tuple(picks),
        pick=current,
        targets=_list_targets(relay),
        sample=_SAMPLE_TYPE,
    )
    return html_response(request.app[RENDERER].page(context))


def _build_provider_pick(provider: Provider, url: str, chosen: str) -> ProviderChoice:
    there = f"{url}/webhooks/{provider.name}"
    return ProviderChoice(
        name=provider.name,
        mark=make_avatar(provider.name, provider.title, provider.monogram),
        current=provider.name == chosen,
        url=there,
        variable=provider.secret_variable,
        steps=provider.list_steps(there),
    )


def _format_curl(url: str) -> str:
    body = shlex.quote('{"hello": "relay"}')
    return f"curl -X POST {shlex.quote(url)} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"


def _list_targets(relay: RunningRelay) -> tuple[str, ...]:
    return tuple(f"{name}: {relay.target_addresses.get(name, '')}" for name in relay.config.targets)


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
