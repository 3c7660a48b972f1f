"""Bulk replays: the form with its dry run, the progress, and stopping and resuming."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from relay.dashboard.filters import build_url
from relay.dashboard.render import get_target_id
from relay.dashboard.responses import (
    build_selection_query,
    format_error,
    redirect,
    render_dialog,
    render_page,
    render_part,
)
from relay.errors import RelayError, UsageError
from relay.http.params import parse_id
from relay.http.responses import get_relay
from relay.model.batch import INCLUDABLE_OUTCOMES, BatchState, NewBatch
from relay.model.delivery import SignMode
from relay.services.relay import RunningRelay

_PAGE_SIZE = 50
SIGN_MODE_LABELS = {
    SignMode.AUTO: ("As needed", "Signs again where the signature is too old."),
    SignMode.ORIGINAL: ("As received", "Sends the old signature, byte for byte."),
    SignMode.FRESH: ("Sign again", "Signs with the source's secret and the current time."),
}


async def show_replays(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /replays: those that there are. With `?q=`, or rows that were ticked: the form, and what it would do."""
    fields = request.query
    if {"q", "id", "ids"} & set(fields):
        text = build_selection_query(fields)
        if get_target_id(request) == "preview":
            return render_part(request, "replay/plan.html", **await _load_plan(request, text, fields))
        return await _build_bulk_form(request, text, fields, {})
    found = await relay.store.batches.page(_PAGE_SIZE)
    counts = await asyncio.gather(*(relay.store.batches.counts(batch) for batch in found))
    batches = list(zip(found, counts, strict=True))
    return await render_page(request, "replay/batches.html", "Bulk replays", "deliveries", batches=batches)


async def start_replay(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /replays with what the form holds: begins, and shows how far it is."""
    text = form.get("q", "")
    try:
        begun = await relay.bulk_replays.start(_parse_new_batch(text, form))
    except RelayError as error:
        errors = {"target": format_error(error)}
        if get_target_id(request) is not None:
            return render_part(request, "errors.html", 422, errors=errors)
        return await _build_bulk_form(request, text, await request.post(), errors)
    if get_target_id(request) is None:
        return redirect(f"/replays/{begun.id}")
    back = (f"/replays/{begun.id}", "Events")
    values = await _load_batch(request, begun.id)
    return await render_dialog(request, "replay/started.html", "Bulk replay", back, **values)


async def show_replay(request: web.Request, id_: int) -> web.Response:
    """GET /replays/{id}: one of them; how far it is alone for those who watch."""
    values = await _load_batch(request, id_)
    if get_target_id(request) is None:
        title = f"Bulk replay {id_}"
        return await render_page(
            request, "replay/batch_page.html", title, "deliveries", signs=SIGN_MODE_LABELS, **values
        )
    # Deliveries in flight at its end finish a moment later. Complete only now, so that the Cancel button does not
    # move before.
    is_over = values["batch"].state is not BatchState.RUNNING and not values["counts"].running
    return render_part(request, f"replay/{'ended' if is_over else 'progress'}.html", **values)


async def cancel_replay(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """POST /replays/{id}/cancel: what is not sent yet stays so."""
    await relay.bulk_replays.cancel(id_)
    return await _answer_change(request)


async def resume_replay(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """POST /replays/{id}/resume: on from where it was."""
    await relay.bulk_replays.resume(id_)
    return await _answer_change(request)


async def _answer_change(request: web.Request) -> web.Response:
    id_ = parse_id(request)
    if get_target_id(request) is None:
        return redirect(f"/replays/{id_}")
    return render_part(request, "replay/batch.html", **await _load_batch(request, id_))


async def _load_batch(request: web.Request, id_: int) -> dict[str, Any]:
    batch, counts = await get_relay(request).bulk_replays.progress(id_)
    return {"batch": batch, "counts": counts, "watched": True}


async def _build_bulk_form(
    request: web.Request, text: str, fields: MultiMapping[Any], errors: Mapping[str, str]
) -> web.Response:
    relay = get_relay(request)
    return await render_dialog(
        request,
        "replay/bulk_form.html",
        "Bulk replay",
        (build_url("/events", q="" if text.startswith("id:") else text), "Events"),
        status=422 if errors else 200,
        query=text,
        targets={"": ""} | relay.target_addresses,
        target=fields.get("target", ""),
        url=str(fields.get("url", "")),
        signs=SIGN_MODE_LABELS,
        sign=fields.get("sign", SignMode.AUTO),
        rate=str(fields.get("rate", "")),
        stop=bool(fields.get("stop")),
        errors=errors,
        **await _load_plan(request, text, fields),
    )


async def _load_plan(request: web.Request, text: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        new = _parse_new_batch(text, fields)
        return {"plan": await get_relay(request).bulk_replays.plan(new), "new": new, "outcomes": INCLUDABLE_OUTCOMES}
    except RelayError as error:
        return {"plan": None, "error": format_error(error)}


def _parse_new_batch(text: str, fields: Mapping[str, Any]) -> NewBatch:
    sign = str(fields.get("sign", "")) or SignMode.AUTO.value
    return NewBatch(
        query=text,
        target=(str(fields.get("url", "")).strip() or str(fields.get("target", "")).strip()) or None,
        sign=SignMode(sign) if sign in tuple(SignMode) else SignMode.AUTO,
        rate=_parse_rate(str(fields.get("rate", "")).strip()),
        stop_on_failure=bool(fields.get("stop")),
        include=frozenset(outcome for outcome in INCLUDABLE_OUTCOMES if fields.get(f"include_{outcome}")),
    )


def _parse_rate(text: str) -> float | None:
    try:
        rate = float(text) if text else None
    except ValueError:
        rate = 0.0
    if rate is not None and not 0.01 <= rate <= 10_000:
        raise UsageError(
            "the rate is not a number of deliveries a second",
            hint="write one such as 5, or leave it empty for no limit",
        )
    return rate
