"""The dialogs: replay an event or send it as a mail, with what will differ, and what came of it."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from relay.errors import RelayError
from relay.model.delivery import DeliveryState, SignMode
from relay.model.event import Event
from relay.model.signals import DeliveryChanged
from relay.model.text import printable
from relay.web import events, gather, letters
from relay.web.asked import identity, number
from relay.web.contexts.dialogs import Changed, DialogPage, EmailForm, Field, ReplayForm, Sent
from relay.web.keys import Desk, desk
from relay.web.posted import every, fields, see, sentence, toast
from relay.web.render import RENDERER, html, partial, sandboxed, wants
from relay.web.view import lists
from relay.web.view.deliveries import address, line
from relay.web.view.edits import Edited, again, edited, original, warning, words

_PATIENCE = 3.0  # seconds a reply waits for what it set off, before it asks the page to look again
_DONE = (DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.CANCELLED)


async def replay_form(request: web.Request) -> web.Response:
    """GET /events/{id}/replay: the dialog, or the same as a page; `delivery` begins with that one's edits."""
    here = desk(request)
    event = await here.store.events.get(identity(request))
    edited_before = number(request, "delivery", None)
    form: dict[str, str] = {}
    if edited_before is not None:
        form = again(event, await here.store.deliveries.get(edited_before))
    chosen = (form.get("target", ""),)
    return await _dialog(request, _replay(request, event, form, chosen=chosen), f"Replay {event.type}")


async def replay(request: web.Request) -> web.Response:
    """POST /events/{id}/replay: a new delivery for each target chosen; shows what they answered."""
    here = desk(request)
    event = await here.store.events.get(identity(request))
    form = await fields(request)
    chosen = await every(request, "target")
    url = form.get("url", "").strip()
    targets = [*chosen, *([url] if url else [])]
    asked = edited(event, form)
    errors = dict(asked.errors)
    if not targets:
        errors["target"] = "Choose a target, or write a URL."
    made: list[int] = []
    if not errors:
        try:
            made += [await here.verbs.replay(event.id, target, asked.changes) for target in targets]
        except RelayError as error:
            errors["target"] = sentence(error)
    if errors and not made:
        return await _refused(request, event, form, errors)
    if wants(request) is None:
        return see(f"/deliveries/{made[-1]}" if len(made) == 1 else f"/events/{event.id}/deliveries")
    sent = await asyncio.gather(*(_sent(here, id_) for id_ in made))
    renderer = request.app[RENDERER]
    shown = "".join(renderer.part("parts/sent.html", sent=one) for one in sent)
    return html(
        shown + partial("#errors-replay", "innerHTML", ""), headers=toast("; ".join(map(_said, sent)))
    )


async def replay_preview(request: web.Request) -> web.Response:
    """POST /events/{id}/replay/preview: what differs so far."""
    event = await desk(request).store.events.get(identity(request))
    asked = edited(event, await fields(request))
    return html(request.app[RENDERER].part("parts/changed.html", changes=_changed(request, event, asked)))


async def result(request: web.Request) -> web.Response:
    """GET /deliveries/{id}/result: what became of a delivery, for the dialog that waits for it."""
    sent = await _sent(desk(request), identity(request, "delivery"))
    return html(request.app[RENDERER].part("parts/sent.html", sent=sent))


async def email_form(request: web.Request) -> web.Response:
    """GET /events/{id}/email?template=&to=: the dialog with its preview, the preview alone, or both as a page."""
    event = await desk(request).store.events.get(identity(request))
    if wants(request) == "em-preview":
        shown = await letters.preview(desk(request), event, request.query)
        return html(request.app[RENDERER].part("parts/preview.html", preview=shown))
    return await _dialog(request, await _email(request, event, request.query), f"Email {event.type}")


async def email(request: web.Request) -> web.Response:
    """POST /events/{id}/email: one mail, as a delivery like any other."""
    here = desk(request)
    event = await here.store.events.get(identity(request))
    form = await fields(request)
    try:
        made = await here.verbs.email(*letters.asked(event, form))
    except RelayError as error:
        form["error"] = sentence(error)
        if wants(request) is not None:
            return html(_errors(request, {"to": form["error"]}), 422)
        page = await _email(request, event, form)
        return await _dialog(request, page, f"Email {event.type}", 422)
    if wants(request) is None:
        return see(f"/events/{event.id}/deliveries")
    sent = await _sent(here, made)
    return html(request.app[RENDERER].part("parts/sent.html", sent=sent), headers=toast(_said(sent)))


async def email_preview(request: web.Request) -> web.Response:
    """GET /events/{id}/email/preview: the mail itself, in a sandbox of its own."""
    here = desk(request)
    to = letters.addresses(request.query.get("to", ""))
    shown = await here.verbs.preview_email(identity(request), request.query.get("template", ""), to)
    return sandboxed(shown.html or f"<pre>{lists.escaped(shown.text)}</pre>")


def _replay(
    request: web.Request,
    event: Event,
    form: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    chosen: tuple[str, ...] = (),
) -> ReplayForm:
    here, start = desk(request), original(event)
    asked = edited(event, dict(form))
    names = list(here.setup.targets)
    return ReplayForm(
        event=events.head(event),
        action=f"/events/{event.id}/replay",
        back=f"/events/{event.id}{lists.suffix(gather.query_of(request).text)}",
        targets=tuple(
            Field(
                value=name,
                name=name,
                help=address(here.setup.addresses.get(name, "")),
                chosen=name in chosen if form else name == names[0],
            )
            for name in names
        ),
        url=form.get("url", ""),
        method=form.get("method", start.method),
        path=form.get("path", ""),
        headers=form.get("headers", start.headers),
        body=form.get("body", start.body),
        editable=start.editable,
        header_count=start.headers.count("\n") + 1 if start.headers else 0,
        signs=_signs(form.get("sign", "auto")),
        changes=_changed(request, event, asked),
        errors=errors or {},
    )


def _signs(chosen: str) -> tuple[Field, ...]:
    said = {
        SignMode.AUTO: ("As needed", "Signs again when something changed or the signature is too old."),
        SignMode.ORIGINAL: ("As received", "Sends the old signature, byte for byte."),
        SignMode.FRESH: ("Sign again", "Signs with the source's secret and the current time."),
    }
    return tuple(
        Field(value=mode.value, name=name, help=text, chosen=mode.value == chosen)
        for mode, (name, text) in said.items()
    )


def _changed(request: web.Request, event: Event, asked: Edited) -> Changed:
    source = desk(request).setup.sources.get(event.row.source)
    signed = source is not None and source.scheme is not None
    return Changed(
        words=words(asked.differences),
        changes=asked.differences,
        warning=warning(event, asked.changes, signed=signed),
    )


async def _refused(
    request: web.Request, event: Event, form: dict[str, str], errors: dict[str, str]
) -> web.Response:
    if wants(request) is not None:
        return html(_errors(request, errors), 422)
    chosen = tuple(await every(request, "target"))
    return await _dialog(request, _replay(request, event, form, errors, chosen), f"Replay {event.type}", 422)


def _errors(request: web.Request, errors: Mapping[str, str]) -> str:
    return request.app[RENDERER].part("parts/errors.html", errors=errors)


async def _email(request: web.Request, event: Event, form: Mapping[str, str]) -> EmailForm:
    here = desk(request)
    template = letters.chosen(here, form)
    return EmailForm(
        event=events.head(event),
        action=f"/events/{event.id}/email",
        back=f"/events/{event.id}{lists.suffix(gather.query_of(request).text)}",
        templates=tuple(
            Field(
                value=name, name=name, help=printable(here.setup.emails[name], 120), chosen=name == template
            )
            for name in here.setup.emails
        ),
        to=form.get("to", ""),
        force=bool(form.get("force")),
        preview=await letters.preview(here, event, form) if template else None,
        note=_note(here),
        error=form.get("error", ""),
    )


def _note(here: Desk) -> str:
    if blocked := here.custody.standing.mail_blocked:
        if blocked.startswith("the vault is locked"):
            return "The vault is locked: the mail waits until it is open."
        return f"{blocked[:1].upper()}{blocked[1:]}. It waits until then."
    if here.setup.smtp:
        return f"Sent by {printable(here.setup.smtp, 120)}."
    return "No [smtp]: it stays in the outbox."


async def _dialog(
    request: web.Request, form: ReplayForm | EmailForm, title: str, status: int = 200
) -> web.Response:
    renderer = request.app[RENDERER]
    if wants(request) is not None:
        return html(renderer.part(form.template, form=form, standing=False), status)
    page = DialogPage(
        shell=await gather.frame(request, title, "events"), title=printable(title, 120), form=form
    )
    return html(renderer.page(page), status)


async def _sent(here: Desk, id_: int) -> Sent:
    with here.bus.subscribed() as listening:
        found = await here.store.deliveries.get(id_)
        try:
            async with asyncio.timeout(_PATIENCE):
                while found.state not in _DONE and not found.attempts:
                    signals = await listening.next()
                    if any(isinstance(one, DeliveryChanged) and one.delivery_id == id_ for one in signals):
                        found = await here.store.deliveries.get(id_)
        except TimeoutError:
            pass
    waiting = found.state not in _DONE and not found.attempts
    shown = line(found, here.clock.now(), await here.store.deliveries.attempts(id_))
    last = shown.tries[-1] if shown.tries else None
    return Sent(
        chip=shown.chip,
        target=shown.target,
        took=shown.took,
        body=last.response.body if last and last.response else "",
        detail=shown.detail,
        href=f"/deliveries/{id_}",
        again=f"/deliveries/{id_}/result" if waiting else "",
    )


def _said(sent: Sent) -> str:
    return f"{sent.target}: {sent.chip.text}{f', {sent.took}' if sent.took else ''}"
