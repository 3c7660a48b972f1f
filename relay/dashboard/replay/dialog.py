"""The dialogs that replay or mail an event, with a preview of changes and the result."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web
from markupsafe import escape

from relay.dashboard.event_list import build_delivery_chip, parse_list_suffix, select_replay_targets
from relay.dashboard.filters import build_url, format_duration
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial, sandboxed_response
from relay.dashboard.replay.edits import (
    ReplayEdits,
    build_original,
    build_replay_warning,
    format_change_count,
    parse_replay_form,
    prefill_from_delivery,
)
from relay.dashboard.replay.page import SIGN_MODE_LABELS
from relay.dashboard.responses import format_error, read_values, redirect, render_dialog, render_part, toast_header
from relay.errors import RelayError, SentAlreadyError
from relay.http.responses import get_relay
from relay.model.delivery import Delivery, DeliveryState, SignMode
from relay.model.event import CapturedEvent
from relay.model.parameters import parse_number
from relay.model.signals import DeliveryChanged
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_SIGN_MODE_LABELS = SIGN_MODE_LABELS | {
    SignMode.AUTO: ("As needed", "Signs again when something changed or the signature is too old.")
}
_RESULT_TIMEOUT = 3.0  # seconds that a response waits for a delivery before the page polls
_OPEN_STATES = (DeliveryState.PENDING, DeliveryState.RUNNING)


async def show_replay_form(request: web.Request, relay: RunningRelay, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/replay: the dialog, or the same as a page; `delivery` begins with that one's edits."""
    edited_before = parse_number(request.query, "delivery", None)
    if edited_before is not None:
        form = prefill_from_delivery(event, await relay.store.deliveries.get(edited_before))
        return await _render_replay_form(request, event, form, {}, [form.get("target", "")])
    deliveries = await relay.store.deliveries.of_event(event.id)
    chosen = select_replay_targets(deliveries, relay.config.targets)
    return await _render_replay_form(request, event, {}, {}, chosen)


async def replay_event(request: web.Request, relay: RunningRelay, id_: int, form: dict[str, str]) -> web.Response:
    """POST /events/{id}/replay: a new delivery for each target chosen; shows what they answered."""
    event = await relay.store.events.get(id_)
    chosen = await read_values(request, "target")
    url = form.get("url", "").strip()
    targets = [*([url] if url else []), *chosen]  # a URL that is refused before anything is sent
    edits = parse_replay_form(event, form)
    errors = dict(edits.errors)
    if not targets:
        errors["target"] = "Choose a target, or write a URL."
    made: list[int] = []
    if not errors:
        try:
            for target in targets:
                delivery_id = await relay.replays.replay_event(event.id, target, edits.changes)
                made.append(delivery_id)
        except RelayError as error:
            sent_to = escape_unprintable(", ".join(targets[: len(made)]), 200)
            errors["target"] = format_error(error) + (f" (sent to {sent_to} already)" if made else "")
    if errors and (not made or get_target_id(request) is None):
        if get_target_id(request) is None:
            return await _render_replay_form(request, event, form, errors, chosen)
        text = request.app[RENDERER].part("errors.html", errors=errors)
        return html_response(text, 422, toast_header("; ".join(errors.values())))
    if get_target_id(request) is None:
        return redirect(f"/deliveries/{made[-1]}" if len(made) == 1 else f"/events/{event.id}/deliveries")
    sent = await asyncio.gather(*(load_result(relay, id_) for id_ in made))
    renderer = request.app[RENDERER]
    lines = "".join(renderer.part("replay/sent.html", delivery=delivery, body=body) for delivery, body in sent)
    words = [*errors.values(), *(format_result(delivery) for delivery, _ in sent)]
    return html_response(
        lines + make_partial("#errors-replay", "innerHTML", renderer.part("errors.html", errors=errors)),
        headers=toast_header("; ".join(words)),
    )


async def preview_replay(request: web.Request, event: CapturedEvent, form: dict[str, str]) -> web.Response:
    """POST /events/{id}/replay/preview: what differs so far."""
    edits = parse_replay_form(event, form)
    return render_part(request, "replay/changes.html", changes=_describe_changes(request, event, edits))


async def show_delivery_result(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """GET /deliveries/{id}/result: the result of a delivery, for the dialog that waits for it."""
    delivery, body = await load_result(relay, id_)
    return render_part(request, "replay/sent.html", delivery=delivery, body=body)


async def _render_replay_form(
    request: web.Request,
    event: CapturedEvent,
    form: Mapping[str, str],
    errors: Mapping[str, str],
    chosen: Sequence[str],
) -> web.Response:
    relay, start = get_relay(request), build_original(event)
    return await render_dialog(
        request,
        "replay/dialog.html",
        f"Replay {event.type}",
        (f"/events/{event.id}{parse_list_suffix(request)}", f"Event {event.id}"),
        status=422 if errors else 200,
        event=event.row,
        action=f"/events/{event.id}/replay",
        targets=relay.target_addresses,
        chosen=chosen,
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


async def load_result(relay: RunningRelay, id_: int) -> tuple[Delivery, bytes]:
    """Return a delivery after its attempt, or in its state after a timeout, with the body of the response."""
    with relay.bus.subscribe(DeliveryChanged) as listening:
        found = await relay.store.deliveries.get(id_)
        with suppress(TimeoutError):
            async with asyncio.timeout(_RESULT_TIMEOUT):
                while found.state in _OPEN_STATES and not found.attempts:
                    signals = await listening.next()
                    if any(isinstance(one, DeliveryChanged) and one.delivery_id == id_ for one in signals):
                        found = await relay.store.deliveries.get(id_)
    attempts = await relay.store.deliveries.attempts(id_)
    response = attempts[-1].response if attempts else None
    return found, response.body if response else b""


def format_result(delivery: Delivery) -> str:
    """Return the result of a delivery in a few words."""
    took = f", {format_duration(delivery.took)}" if delivery.took is not None else ""
    return f"{escape_unprintable(delivery.target, 120)}: {build_delivery_chip(delivery).text}{took}"


async def show_email_form(request: web.Request, relay: RunningRelay, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/email?template=&to=: the dialog with its preview, the preview alone, or both as a page."""
    if get_target_id(request) == "em-preview":
        preview = await _build_preview(relay, event, request.query)
        return render_part(request, "replay/email_preview.html", preview=preview)
    return await _render_email_form(request, event, request.query)


async def send_email(
    request: web.Request, relay: RunningRelay, event: CapturedEvent, form: dict[str, str]
) -> web.Response:
    """POST /events/{id}/email: one mail, as a delivery like any other."""
    try:
        made = await relay.replays.email_event(
            event, form.get("template", ""), _split_addresses(form.get("to", "")), bool(form.get("force"))
        )
    except RelayError as error:
        form["error"] = format_error(error)
        if get_target_id(request) is not None:
            return render_part(request, "errors.html", 422, errors={"to": form["error"]})
        return await _render_email_form(request, event, form, 422)
    if get_target_id(request) is None:
        return redirect(f"/events/{event.id}/deliveries")
    delivery, body = await load_result(relay, made)
    said = toast_header(format_result(delivery))
    return render_part(request, "replay/sent.html", headers=said, delivery=delivery, body=body)


async def preview_email(request: web.Request, relay: RunningRelay, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/email/preview: the mail itself, in a sandbox of its own."""
    to = _split_addresses(request.query.get("to", ""))
    mail = await relay.replays.email.preview(event, request.query.get("template", ""), to)
    return sandboxed_response(mail.html or f"<pre>{escape(mail.text)}</pre>")


async def _render_email_form(
    request: web.Request, event: CapturedEvent, form: Mapping[str, str], status: int = 200
) -> web.Response:
    relay = get_relay(request)
    template = _choose_template(relay, form)
    return await render_dialog(
        request,
        "replay/email.html",
        f"Email {event.type}",
        (f"/events/{event.id}{parse_list_suffix(request)}", f"Event {event.id}"),
        status=status,
        event=event.row,
        action=f"/events/{event.id}/email",
        templates=list(relay.email_recipients),
        chosen=template,
        to=form.get("to", ""),
        force=bool(form.get("force")),
        preview=await _build_preview(relay, event, form) if template else None,
        blocked=relay.vault.status.mail_blocked,
        smtp=relay.smtp_address,
        error=form.get("error", ""),
    )


def _split_addresses(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())


def _choose_template(relay: RunningRelay, form: Mapping[str, str]) -> str:
    chosen = form.get("template", "")
    return chosen if chosen in relay.email_recipients else next(iter(relay.email_recipients), "")


async def _build_preview(relay: RunningRelay, event: CapturedEvent, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the preview of the mail; `error` says why there is none or who may not get it, `notice` that it was sent.

    Its HTML is shown in a separate frame.
    """
    template, to = _choose_template(relay, form), form.get("to", "")
    preview: dict[str, Any] = {"mail": None, "notice": "", "error": ""}
    try:
        preview["mail"] = await relay.replays.email.preview(event, template, _split_addresses(to))
        preview["frame"] = build_url(f"/events/{event.id}/email/preview", template=template, to=to)
        await relay.replays.email.check(event, template, _split_addresses(to), bool(form.get("force")))
    except SentAlreadyError as problem:
        preview["notice"] = problem.message
    except RelayError as problem:
        preview["error"] = format_error(problem)
    return preview
