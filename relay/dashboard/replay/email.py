"""The dialog that sends an event as a mail: which template, to whom, and how it would look."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from markupsafe import escape

from relay.dashboard.event_list import parse_list_suffix
from relay.dashboard.filters import build_url
from relay.dashboard.render import RENDERER, get_target_id, html_response, sandboxed_response
from relay.dashboard.replay.dialog import format_result, load_result
from relay.dashboard.responses import format_error, redirect, render_dialog, render_part, toast_header
from relay.errors import RelayError, SentAlreadyError
from relay.http.responses import get_relay
from relay.model.event import CapturedEvent
from relay.services.relay import RunningRelay


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
    sent = await load_result(relay, made)
    return html_response(
        request.app[RENDERER].part("replay/sent.html", sent=sent), headers=toast_header(format_result(sent))
    )


async def preview_email(request: web.Request, relay: RunningRelay, event: CapturedEvent) -> web.Response:
    """GET /events/{id}/email/preview: the mail itself, in a sandbox of its own."""
    to = _split_addresses(request.query.get("to", ""))
    mail = await relay.replays.preview_email(event, request.query.get("template", ""), to)
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
    """Return how the mail would look; `error` says why there is none or who must not get it, `notice` that it was sent.

    Its HTML is shown by a frame of its own.
    """
    template, to = _choose_template(relay, form), form.get("to", "")
    preview: dict[str, Any] = {"mail": None, "notice": "", "error": ""}
    try:
        preview["mail"] = await relay.replays.preview_email(event, template, _split_addresses(to))
        preview["frame"] = build_url(f"/events/{event.id}/email/preview", template=template, to=to)
        await relay.replays.check_email(event, template, _split_addresses(to), bool(form.get("force")))
    except SentAlreadyError as problem:
        preview["notice"] = problem.message
    except RelayError as problem:
        preview["error"] = format_error(problem)
    return preview
