"""The deliveries: what waits, what failed for good, what was sent, each with its attempts."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from relay.dashboard.delivery_rows import build_delivery_line, count_delivery_views
from relay.dashboard.event_list import list_event_tags
from relay.dashboard.filters import build_deliveries_url, encode_query, format_count
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import read_fields, redirect, render_page, render_part, toast_header
from relay.dashboard.widgets import NavLink
from relay.errors import NotFoundError
from relay.http.params import parse_id, parse_number, parse_whole_number
from relay.http.responses import get_relay
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import EventRow
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.services.relay import RunningRelay

_PAGE_SIZE = 50
_STATES = ("pending", "running", "succeeded", "failed", "cancelled")
_VIEWS = {"": "all", "pending": "queued", "failed": "failed", "succeeded": "sent"}
_EMPTY_TEXTS = {"pending": "Nothing waits.", "failed": "Nothing failed for good."}
_DEAD_LETTER_NOTE = (
    "Dead letters: relay has given these up, after the last try or because the target refused them for good. "
    "They stay here until they are sent again or their event is deleted."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilters:
    """Which deliveries a page shows: those in a state, to a target, of a bulk replay, of an event; all may be open."""

    state: str = ""
    target: str = ""
    batch: int | None = None
    event: int | None = None

    @property
    def scope(self) -> dict[str, object]:
        """Return the filters apart from the state, those that are set."""
        named = {"target": self.target, "batch": self.batch, "event": self.event}
        return {name: value for name, value in named.items() if value}


async def show_deliveries(request: web.Request) -> web.Response:
    """GET /deliveries?state=&target=&batch=&event=: newest first; /deliveries/{id}: one of them opened."""
    relay, filters = get_relay(request), _parse_filters(request)
    chosen = parse_id(request, "delivery") if "id" in request.match_info else None
    if chosen is not None and get_target_id(request) == f"row-{chosen}":
        return await _render_row(request, chosen, filters)
    before = parse_number(request, "before", None)
    if chosen is not None and before is None:
        before = chosen + 1
    found = await relay.store.deliveries.page(
        state=filters.state or None,
        target=filters.target or None,
        batch=filters.batch,
        event=filters.event,
        before=before,
        limit=_PAGE_SIZE,
        lab=False,  # it has pages of its own, and much of what it sends is meant to fail
    )
    if chosen is not None and all(one.id != chosen for one in found):
        found = (await relay.store.deliveries.get(chosen), *found)
    counts = await relay.store.deliveries.counts(
        target=filters.target or None, batch=filters.batch, event=filters.event, lab=False
    )
    failed = counts["failed"] if filters.state in ("", "failed") else 0
    return await render_page(
        request,
        "deliveries/page.html",
        "Deliveries",
        "deliveries",
        views=_build_view_links(filters, counts),
        narrowed=_build_filter_links(filters),
        targets=_build_target_links(relay, filters),
        rows=await _build_rows(relay, found, filters, chosen, before),
        note=_DEAD_LETTER_NOTE if filters.state == "failed" else "",
        failed=f"{failed:,}" if failed else "",
        fields=[(name, str(value)) for name, value in filters.scope.items() if name != "event"],
        stream=_stream_query(filters, found, before),
        older=_list_path(filters, before=found[-1].id) if len(found) >= _PAGE_SIZE else "",
        empty=_EMPTY_TEXTS.get(filters.state, "Nothing was sent yet.")
        if not filters.scope
        else "Nothing is left here.",
    )


async def retry_failed(request: web.Request) -> web.Response:
    """POST /deliveries/retry with `target` and `batch`: all that failed are due now."""
    form = await read_fields(request)
    batch = form.get("batch", "")
    count = await get_relay(request).replays.retry_deliveries(
        DeliveryState.FAILED,
        form.get("target") or None,
        int(batch) if batch.isascii() and batch.isdigit() and len(batch) <= 18 else None,
    )
    if get_target_id(request) is None:
        return redirect(build_deliveries_url("", target=form.get("target"), batch=batch))
    text = f"Trying {format_count(count, 'delivery', 'deliveries')} again"
    return web.Response(status=204, headers=toast_header(text))


async def retry_delivery(request: web.Request) -> web.Response:
    """POST /deliveries/{id}/retry: due now, whatever its state."""
    id_ = parse_id(request, "delivery")
    await get_relay(request).replays.retry_delivery(id_)
    return await _render_delivery(request, id_, "Trying now")


async def cancel_delivery(request: web.Request) -> web.Response:
    """POST /deliveries/{id}/cancel: no further try."""
    id_ = parse_id(request, "delivery")
    await get_relay(request).replays.cancel_delivery(id_)
    return await _render_delivery(request, id_, "Cancelled")


async def _render_delivery(request: web.Request, id_: int, done: str) -> web.Response:
    if get_target_id(request) is None:
        return redirect(f"/deliveries/{id_}")
    relay = get_relay(request)
    found = await relay.store.deliveries.get(id_)
    attempts = await relay.store.deliveries.attempts(id_)
    line = build_delivery_line(found, relay.clock.now(), attempts, held=found.target in relay.state.down)
    text = request.app[RENDERER].part("delivery.html", line=line)
    return html_response(text + make_partial("#errors", "innerHTML", ""), headers=toast_header(done))


def _parse_filters(request: web.Request) -> DeliveryFilters:
    state = request.query.get("state", "")
    return DeliveryFilters(
        state=state if state in _STATES else "",
        target=request.query.get("target", "")[:500],
        batch=parse_whole_number(request.query, "batch"),
        event=parse_whole_number(request.query, "event"),
    )


def _list_path(filters: DeliveryFilters, *, state: str | None = None, **more: object) -> str:
    return build_deliveries_url(filters.state if state is None else state, **filters.scope, **more)


def _build_view_links(filters: DeliveryFilters, counts: Mapping[str, int]) -> list[NavLink]:
    labels = count_delivery_views(counts)
    return [
        NavLink(
            name.capitalize(),
            _list_path(filters, state=state),
            current=state == filters.state,
            key=name,
            count=labels[name],
        )
        for state, name in _VIEWS.items()
    ]


def _build_filter_links(filters: DeliveryFilters) -> list[NavLink]:
    words = {"target": f"to {escape_unprintable(filters.target, 80)}", "batch": f"bulk replay {filters.batch}"}
    words |= {"event": f"event {filters.event}"}
    return [
        NavLink(
            words[name],
            build_deliveries_url(filters.state, **filters.scope | {name: None}),
            key=f"/replays/{filters.batch}" if name == "batch" else "",
        )
        for name in filters.scope
    ]


def _build_target_links(relay: RunningRelay, filters: DeliveryFilters) -> list[NavLink]:
    return [
        NavLink(
            escape_unprintable(name, 80) or "Every target",
            build_deliveries_url(filters.state, **filters.scope | {"target": name}),
            current=name == filters.target,
        )
        for name in ("", *relay.config.targets)
    ]


def _stream_query(filters: DeliveryFilters, found: tuple[Delivery, ...], before: int | None) -> str:
    # Only a page that begins with the newest can say that there are newer ones.
    newest = not filters.scope and filters.state in ("", "pending") and before is None
    fields = {"of": "deliveries", "state": filters.state}
    return encode_query(fields | ({"top": str(found[0].id if found else 0)} if newest else {}))


async def _build_rows(
    relay: RunningRelay, found: tuple[Delivery, ...], filters: DeliveryFilters, chosen: int | None, before: int | None
) -> list[dict[str, Any]]:
    events = {row.id: row for row in await relay.store.events.rows({one.event_id for one in found})}
    return [
        await _build_row(relay, one, events[one.event_id], filters, (one.id == chosen, before))
        for one in found
        if one.event_id in events
    ]


async def _build_row(
    relay: RunningRelay, one: Delivery, event: EventRow, filters: DeliveryFilters, state: tuple[bool, int | None]
) -> dict[str, Any]:
    """Return one delivery with its event; `href` opens it, or closes it where it is `open`."""
    opened, before = state
    attempts = await relay.store.deliveries.attempts(one.id) if opened else ()
    keep = {"state": filters.state, **filters.scope, "before": before}
    query = encode_query({name: str(value) for name, value in keep.items() if value})
    is_replay = one.reason is DeliveryReason.REPLAY
    place = "/deliveries" if opened else f"/deliveries/{one.id}"
    return {
        "event": event,
        "line": build_delivery_line(one, relay.clock.now(), attempts, held=one.target in relay.state.down),
        "href": f"{place}?{query}" if query else place,
        "open": opened,
        "tags": [tag for tag in list_event_tags(event, is_replayed=is_replay) if tag in ("replay", "sample")],
    }


async def _render_row(request: web.Request, id_: int, filters: DeliveryFilters) -> web.Response:
    relay = get_relay(request)
    one = await relay.store.deliveries.get(id_)
    event = await relay.store.events.row(one.event_id)
    if event is None:
        raise NotFoundError(f"no delivery {id_}", hint="the page Deliveries lists those that there are")
    state = ("closed" not in request.query, parse_number(request, "before", None))
    row = await _build_row(relay, one, event, filters, state)
    return render_part(request, "deliveries/row.html", row=row)
