"""The dialogs: replay an event or send it as a mail, with what will differ, and the result."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from relay.dashboard.event_list import build_delivery_chip, parse_list_suffix
from relay.dashboard.filters import format_duration
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.replay.edits import (
    DeliveryResult,
    ReplayEdits,
    build_original,
    build_replay_warning,
    format_change_count,
    parse_replay_form,
    prefill_from_delivery,
)
from relay.dashboard.replay.page import SIGN_MODE_LABELS
from relay.dashboard.responses import format_error, read_values, redirect, render_dialog, render_part, toast_header
from relay.errors import RelayError
from relay.http.responses import get_relay
from relay.model.delivery import DeliveryState, SignMode
from relay.model.event import CapturedEvent
from relay.model.parameters import parse_number
from relay.model.signals import DeliveryChanged
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_SIGN_MODE_LABELS = SIGN_MODE_LABELS | {
    SignMode.AUTO: ("As needed", "Signs again when something changed or the signature is too old.")
}
_RESULT_TIMEOUT = 3.0  # seconds a reply waits for what it set off, before it asks the page to look again
_FINAL_STATES = (DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.CANCELLED)


async def show_replay_form(request: web.Request, relay: RunningRelay, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/replay: the dialog, or the same as a page; `delivery` begins with that one's edits."""
    edited_before = parse_number(request.query, "delivery", None)
    form: dict[str, str] = {}
    if edited_before is not None:
        form = prefill_from_delivery(event, await relay.store.deliveries.get(edited_before))
    chosen = (form.get("target", ""),)
    return await _render_replay_form(request, event, form, {}, chosen)


async def replay_event(request: web.Request, relay: RunningRelay, id_: int, form: dict[str, str]) -> web.Response:
    """POST /events/{id}/replay: a new delivery for each target chosen; shows what they answered."""
    event = await relay.store.events.get(id_)
    chosen = await read_values(request, "target")
    url = form.get("url", "").strip()
    targets = [*chosen, *([url] if url else [])]
    edits = parse_replay_form(event, form)
    errors = dict(edits.errors)
    if not targets:
        errors["target"] = "Choose a target, or write a URL."
    made: list[int] = []
    if not errors:
        try:
            made += [await relay.replays.replay_event(event.id, target, edits.changes) for target in targets]
        except RelayError as error:
            errors["target"] = format_error(error)
    if errors and not made:
        return await _render_refused_form(request, event, form, errors)
    if get_target_id(request) is None:
        return redirect(f"/deliveries/{made[-1]}" if len(made) == 1 else f"/events/{event.id}/deliveries")
    sent = await asyncio.gather(*(load_result(relay, id_) for id_ in made))
    renderer = request.app[RENDERER]
    lines = "".join(renderer.part("replay/sent.html", sent=one) for one in sent)
    return html_response(
        lines + make_partial("#errors-replay", "innerHTML", ""),
        headers=toast_header("; ".join(map(format_result, sent))),
    )


async def preview_replay(request: web.Request, event: CapturedEvent, form: dict[str, str]) -> web.Response:
    """POST /events/{id}/replay/preview: what differs so far."""
    edits = parse_replay_form(event, form)
    return render_part(request, "replay/changes.html", changes=_describe_changes(request, event, edits))


async def show_delivery_result(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """GET /deliveries/{id}/result: what became of a delivery, for the dialog that waits for it."""
    sent = await load_result(relay, id_)
    return render_part(request, "replay/sent.html", sent=sent)


async def _render_replay_form(
    request: web.Request,
    event: CapturedEvent,
    form: Mapping[str, str],
    errors: Mapping[str, str],
    chosen: tuple[str, ...],
) -> web.Response:
    relay, start = get_relay(request), build_original(event)
    targets = {name: relay.target_addresses.get(name, "") for name in relay.config.targets}
    return await render_dialog(
        request,
        "replay/dialog.html",
        f"Replay {event.type}",
        (f"/events/{event.id}{parse_list_suffix(request)}", f"Event {event.id}"),
        status=422 if errors else 200,
        event=event.row,
        action=f"/events/{event.id}/replay",
        targets=targets,
        chosen=chosen if form else list(targets)[:1],
        url=form.get("url", ""),
        method=form.get("method", start.method),
        path=form.get("path", ""),
        header_lines=form.get("headers", start.headers),
        body=form.get("body", start.body),
        editable=start.editable,
        header_count=start.headers.count("\n") + 1 if start.headers else 0,
        signs=_SIGN_MODE_LABELS,
        sign=form.get("sign", "auto"),
        changes=_describe_changes(request, event, parse_replay_form(event, dict(form))),
        errors=errors,
    )


def _describe_changes(request: web.Request, event: CapturedEvent, edits: ReplayEdits) -> dict[str, object]:
    source = get_relay(request).sources.by_name.get(event.row.source)
    signed = source is not None and source.scheme is not None
    return {
        "words": format_change_count(edits.differences),
        "changes": edits.differences,
        "warning": build_replay_warning(event, edits.changes, signed=signed),
    }


async def _render_refused_form(
    request: web.Request, event: CapturedEvent, form: dict[str, str], errors: dict[str, str]
) -> web.Response:
    if get_target_id(request) is not None:
        return render_part(request, "errors.html", 422, errors=errors)
    return await _render_replay_form(request, event, form, errors, tuple(await read_values(request, "target")))


async def load_result(relay: RunningRelay, id_: int) -> DeliveryResult:
    """Return a delivery once it had an attempt, or as it is after a while."""
    with relay.bus.subscribe(DeliveryChanged) as listening:
        found = await relay.store.deliveries.get(id_)
        try:
            async with asyncio.timeout(_RESULT_TIMEOUT):
                while found.state not in _FINAL_STATES and not found.attempts:
                    signals = await listening.next()
                    if any(isinstance(one, DeliveryChanged) and one.delivery_id == id_ for one in signals):
                        found = await relay.store.deliveries.get(id_)
        except TimeoutError:
            pass
    waiting = found.state not in _FINAL_STATES and not found.attempts
    attempts = await relay.store.deliveries.attempts(id_)
    response = attempts[-1].response if attempts else None
    return DeliveryResult(found, response.body if response else b"", waiting)


def format_result(sent: DeliveryResult) -> str:
    """Return in a few words what became of a delivery."""
    delivery = sent.delivery
    took = f", {format_duration(delivery.took)}" if delivery.took is not None else ""
    return f"{escape_unprintable(delivery.target, 120)}: {build_delivery_chip(delivery).text}{took}"
