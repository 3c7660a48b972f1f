"""Bulk replays: the form with its dry run, what is under way, and a way to stop and to go on."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from relay.dashboard.delivery_rows import format_target_address
from relay.dashboard.events import actions
from relay.dashboard.filters import build_events_url, escape_html
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.replay import batches
from relay.dashboard.replay.batches import BatchLine, BatchPlanView
from relay.dashboard.responses import format_error, read_fields, redirect, render_dialog, render_page
from relay.dashboard.widgets import FormOption
from relay.errors import RelayError, UsageError
from relay.http.context import get_relay
from relay.http.params import parse_id
from relay.model.batch import INCLUDABLE_OUTCOMES, NewBatch
from relay.model.delivery import SignMode
from relay.services.relay import RunningRelay

_PAGE_SIZE = 50


async def show_replays(request: web.Request) -> web.Response:
    """GET /replays: those that there are. With `?q=`, or rows that were ticked: the form, and what it would do."""
    asked = request.query
    if {"q", "id", "ids"} & set(asked):
        text = actions.build_selection_query(asked)
        if get_target_id(request) == "preview":
            planned = await _load_plan(request, text, asked)
            return html_response(request.app[RENDERER].part("replay/plan.html", planned=planned))
        return await _build_bulk_form(request, text, asked, {})
    relay = get_relay(request)
    found = await relay.store.batches.page(_PAGE_SIZE)
    counts = await asyncio.gather(*(relay.store.batches.counts(batch) for batch in found))
    lines = [batches.build_batch_line(batch, count) for batch, count in zip(found, counts, strict=True)]
    return await render_page(request, "replay/batches.html", "Bulk replays", "deliveries", lines=lines)


async def start_replay(request: web.Request) -> web.Response:
    """POST /replays with what the form holds: begins, and shows how far it is."""
    form = await read_fields(request)
    text = form.get("q", "")
    try:
        begun = await get_relay(request).bulk_replays.start(_parse_new_batch(text, form))
    except RelayError as error:
        errors = {"target": format_error(error)}
        if get_target_id(request) is not None:
            return html_response(request.app[RENDERER].part("errors.html", errors=errors), 422)
        return await _build_bulk_form(request, text, await request.post(), errors)
    if get_target_id(request) is None:
        return redirect(f"/replays/{begun.id}")
    batch = await _load_batch_line(get_relay(request), begun.id)
    back = (f"/replays/{begun.id}", "Events")
    return await render_dialog(request, "replay/started.html", "Bulk replay", back, batch=batch)


async def show_replay(request: web.Request) -> web.Response:
    """GET /replays/{id}: one of them; how far it is alone for those who watch."""
    id_ = parse_id(request, "replay")
    batch = await _load_batch_line(get_relay(request), id_)
    if get_target_id(request) is not None:
        return _render_progress(request, batch)
    return await render_page(request, "replay/batch_page.html", f"Bulk replay {id_}", "deliveries", batch=batch)


async def cancel_replay(request: web.Request) -> web.Response:
    """POST /replays/{id}/cancel: what is not sent yet stays so."""
    id_ = parse_id(request, "replay")
    await get_relay(request).bulk_replays.cancel(id_)
    return await _answer_change(request, id_)


async def resume_replay(request: web.Request) -> web.Response:
    """POST /replays/{id}/resume: on from where it was."""
    id_ = parse_id(request, "replay")
    await get_relay(request).bulk_replays.resume(id_)
    return await _answer_change(request, id_)


async def _answer_change(request: web.Request, id_: int) -> web.Response:
    if get_target_id(request) is None:
        return redirect(f"/replays/{id_}")
    batch = await _load_batch_line(get_relay(request), id_)
    return html_response(request.app[RENDERER].part("replay/batch.html", batch=batch))


def _render_progress(request: web.Request, batch: BatchLine) -> web.Response:
    renderer = request.app[RENDERER]
    reply = renderer.part("replay/progress.html", progress=batch.progress, watched=True)
    if batch.progress.over:
        # Only now, so that a person about to press Cancel keeps it in place.
        whole = renderer.part("replay/batch.html", batch=batch)
        said = escape_html(f"Bulk replay {batch.id}: {batch.progress.words}")
        reply = make_partial(f"#replay-{batch.id}", "outerHTML", whole) + make_partial("#announce", "textContent", said)
    return html_response(reply)


async def _load_batch_line(relay: RunningRelay, id_: int) -> BatchLine:
    return batches.build_batch_line(*await relay.bulk_replays.progress(id_))


async def _build_bulk_form(
    request: web.Request, text: str, asked: MultiMapping[Any], errors: Mapping[str, str]
) -> web.Response:
    relay = get_relay(request)
    target, sign = asked.get("target", ""), asked.get("sign", SignMode.AUTO.value)
    ways = [("", "Where their routes lead", "")]
    ways += [(name, name, format_target_address(relay.target_addresses.get(name, ""))) for name in relay.config.targets]
    return await render_dialog(
        request,
        "replay/bulk_form.html",
        "Bulk replay",
        (build_events_url("" if text.startswith("id:") else text), "Events"),
        status=422 if errors else 200,
        which=batches.describe_batch_query(text),
        query=text,
        targets=tuple(
            FormOption(value=value, name=name, help=where, chosen=value == target) for value, name, where in ways
        ),
        url=str(asked.get("url", "")),
        signs=tuple(
            FormOption(value=mode.value, name=name, help=explanation, chosen=mode.value == sign)
            for mode, (name, explanation) in batches.SIGN_MODE_LABELS.items()
        ),
        rate=str(asked.get("rate", "")),
        stop=bool(asked.get("stop")),
        planned=await _load_plan(request, text, asked),
        errors=errors,
    )


async def _load_plan(request: web.Request, text: str, asked: Mapping[str, Any]) -> BatchPlanView:
    try:
        new = _parse_new_batch(text, asked)
        return batches.build_plan_view(await get_relay(request).bulk_replays.plan(new), new)
    except RelayError as error:
        return BatchPlanView(count="Nothing", error=format_error(error))


def _parse_new_batch(text: str, asked: Mapping[str, Any]) -> NewBatch:
    sign = str(asked.get("sign", "")) or SignMode.AUTO.value
    return NewBatch(
        query=text,
        target=(str(asked.get("url", "")).strip() or str(asked.get("target", "")).strip()) or None,
        sign=SignMode(sign) if sign in tuple(SignMode) else SignMode.AUTO,
        rate=_parse_rate(str(asked.get("rate", "")).strip()),
        stop_on_failure=bool(asked.get("stop")),
        include=frozenset(outcome for outcome in INCLUDABLE_OUTCOMES if asked.get(f"include_{outcome}")),
    )


def _parse_rate(text: str) -> float | None:
    try:
        rate = float(text) if text else None
    except ValueError:
        rate = 0.0
    if rate is not None and not 0.01 <= rate <= 10_000:
        raise UsageError("the rate is not a number of deliveries a second", hint="write one such as 5, or none")
    return rate
