"""What a person does to an event or a delivery: pin, note, delete, retry, cancel, trigger."""

from aiohttp import web

from relay.errors import RelayError
from relay.model.signals import EventChanged
from relay.web import deliveries, events, gather, pages
from relay.web.asked import identity
from relay.web.keys import TriggerRequest, desk
from relay.web.posted import fields, see, sentence, toast
from relay.web.render import RENDERER, html, partial, wants
from relay.web.view import lists

_NOTE = 2000  # characters of a note


async def pin(request: web.Request) -> web.Response:
    """POST /events/{id}/pin with `pinned`: empty unpins."""
    form = await fields(request)
    return await _annotated(request, pinned=bool(form.get("pinned")))


async def note(request: web.Request) -> web.Response:
    """POST /events/{id}/note."""
    form = await fields(request)
    return await _annotated(request, note=form.get("note", "")[:_NOTE].replace("\r\n", "\n").strip())


async def delete(request: web.Request) -> web.Response:
    """POST /events/{id}/delete: the event goes with its deliveries."""
    here = desk(request)
    id_ = identity(request)
    await here.store.events.delete(id_)
    here.bus.publish(EventChanged(id_))
    suffix = lists.suffix(gather.query_of(request).text)
    if wants(request) is None:
        return see(f"/events{suffix}")
    gone = request.app[RENDERER].part("parts/gone.html", gone=f"Event {id_} was deleted.", suffix=suffix)
    return html(gone + partial(f"#e-{id_}", "delete", ""), headers=toast(f"Deleted event {id_}"))


async def retry(request: web.Request) -> web.Response:
    """POST /deliveries/{id}/retry: due now, whatever its state."""
    id_ = identity(request, "delivery")
    await desk(request).verbs.retry(id_)
    return await _delivery(request, id_, "Trying now")


async def cancel(request: web.Request) -> web.Response:
    """POST /deliveries/{id}/cancel: no further try."""
    id_ = identity(request, "delivery")
    await desk(request).verbs.cancel(id_)
    return await _delivery(request, id_, "Cancelled")


async def trigger(request: web.Request) -> web.Response:
    """POST /trigger: a signed sample through the real ingress, then the event it made."""
    form = await fields(request)
    body = form.get("body", "").replace("\r\n", "\n").strip()
    wanted = TriggerRequest(
        source=form.get("source", ""),
        type=form.get("type", "").strip(),
        body=body.encode("utf-8", "replace") if body else None,
    )
    try:
        row = await desk(request).verbs.trigger(wanted)
    except RelayError as error:
        return await pages.trigger(request, error=sentence(error), typed=wanted.type, body=body)
    return see(f"/events/{row.id}")


async def _annotated(
    request: web.Request, *, pinned: bool | None = None, note: str | None = None
) -> web.Response:
    here = desk(request)
    id_ = identity(request)
    await here.store.events.annotate(id_, pinned=pinned, note=note)
    here.bus.publish(EventChanged(id_))
    if wants(request) is None:
        return see(f"/events/{id_}{lists.suffix(gather.query_of(request).text)}")
    event = await here.store.events.get(id_)
    return html(request.app[RENDERER].page(await events.detail(request, event, "payload")))


async def _delivery(request: web.Request, id_: int, done: str) -> web.Response:
    if wants(request) is None:
        return see(f"/deliveries/{id_}")
    shown = await deliveries.delivery(desk(request), id_)
    text = request.app[RENDERER].part("parts/delivery.html", line=shown)
    return html(text + partial("#errors", "innerHTML", ""), headers=toast(done))
