"""The Deliveries page: pending, failed and finished deliveries with their attempts."""

from typing import Any

from aiohttp import web

from relay.dashboard.delivery_rows import parse_delivery_filters
from relay.dashboard.filters import build_url, format_count
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import answer_done, redirect, render_page, render_part, toast_header
from relay.errors import NotFoundError
from relay.http.responses import get_relay
from relay.model.delivery import DeliveryState
from relay.model.parameters import parse_number, parse_whole_number
from relay.services.relay import RunningRelay

_PAGE_SIZE = 50


async def show_deliveries(request: web.Request, relay: RunningRelay, id_: int | None = None) -> web.Response:
    """GET /deliveries?state=&target=&batch=&event=: newest first; /deliveries/{id}: one of them opened."""
    filters = parse_delivery_filters(request)
    before = parse_number(request.query, "before", None)
    if id_ is not None and get_target_id(request) == f"row-{id_}":
        return await _render_row(request, id_, {**filters, "before": before})
    if id_ is not None and before is None:
        before = id_ + 1
    # The lab has its own pages, and many of its deliveries are meant to fail.
    found = await relay.store.deliveries.page(**filters, before=before, limit=_PAGE_SIZE, lab=False)
    if id_ is not None and all(one.id != id_ for one in found):
        found = (await relay.store.deliveries.get(id_), *found)
    # Only a page that starts with the newest can announce newer ones.
    others = {name: value for name, value in filters.items() if name != "state"}
    is_newest = filters["state"] in (None, "pending") and not (any(others.values()) or before)
    newest = str(found[0].id if found else 0) if is_newest else ""
    return await render_page(
        request,
        "deliveries/page.html",
        "Deliveries",
        "deliveries",
        filters=filters,
        counts=await relay.store.deliveries.counts(**others, lab=False),
        targets=relay.config.targets,
        deliveries=found,
        events={row.id: row for row in await relay.store.events.rows({one.event_id for one in found})},
        chosen=id_,
        attempts=await relay.store.deliveries.attempts(id_) if id_ else (),
        kept={**filters, "before": before},
        stream=build_url("/stream", of="deliveries", **filters, top=newest),
        older=found[-1].id if len(found) >= _PAGE_SIZE else None,
        **_get_row_state(relay),
    )


async def retry_failed(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /deliveries/retry with `target` and `batch`: all that failed are due now."""
    target, batch = form.get("target") or None, parse_whole_number(form, "batch")
    count = await relay.replays.retry_deliveries(DeliveryState.FAILED, target, batch)
    where = build_url("/deliveries", target=target, batch=batch)
    return answer_done(request, where, f"Trying {format_count(count, 'delivery', 'deliveries')} again")


async def retry_delivery(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """POST /deliveries/{id}/retry: due now, whatever its state."""
    await relay.replays.retry_delivery(id_)
    return await _render_delivery(request, id_, "Trying now")


async def cancel_delivery(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """POST /deliveries/{id}/cancel: no further try."""
    await relay.replays.cancel_delivery(id_)
    return await _render_delivery(request, id_, "Cancelled")


async def _render_delivery(request: web.Request, id_: int, done: str) -> web.Response:
    if get_target_id(request) is None:
        return redirect(f"/deliveries/{id_}")
    relay = get_relay(request)
    found = await relay.store.deliveries.get(id_)
    attempts = await relay.store.deliveries.attempts(id_)
    values = {"delivery": found, "attempts": attempts, **_get_row_state(relay)}
    text = request.app[RENDERER].part("delivery.html", **values)
    return html_response(text + make_partial("#errors", "innerHTML", ""), headers=toast_header(done))


def _get_row_state(relay: RunningRelay) -> dict[str, Any]:
    return {"now": relay.clock.now(), "down": relay.state.down}


async def _render_row(request: web.Request, id_: int, kept: dict[str, object]) -> web.Response:
    relay = get_relay(request)
    one = await relay.store.deliveries.get(id_)
    event = await relay.store.events.row(one.event_id)
    if event is None:
        raise NotFoundError(f"no delivery {id_}", hint="the Deliveries page lists them")
    is_open = "closed" not in request.query
    return render_part(
        request,
        "deliveries/row.html",
        delivery=one,
        event=event,
        chosen=id_ if is_open else None,
        attempts=await relay.store.deliveries.attempts(id_) if is_open else (),
        kept=kept,
        **_get_row_state(relay),
    )
