"""User actions on events: pin, note, export, delete."""

from typing import Any

from aiohttp import web
from multidict import MultiMapping

from relay.dashboard.event_list import join_search, parse_list_suffix
from relay.dashboard.events import page as events_page
from relay.dashboard.filters import build_url, format_count
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import (
    answer_done,
    build_selection_query,
    redirect,
    render_dialog,
    render_part,
    toast_header,
)
from relay.errors import UsageError
from relay.http.params import parse_id
from relay.http.responses import get_relay
from relay.model.parameters import parse_digits
from relay.model.search import parse_query_strictly
from relay.model.signals import EventChanged
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_MAX_NOTE = 2000  # characters of a note
_DELETE_LIMIT = 100_000  # events that are pinned or deleted together
_MAX_PUBLISHED = 200  # changes published individually if many change at once


async def pin_event(request: web.Request, form: dict[str, str]) -> web.Response:
    """POST /events/{id}/pin with `pinned`: empty unpins."""
    return await _render_annotated(request, pinned=bool(form.get("pinned")))


async def save_note(request: web.Request, form: dict[str, str]) -> web.Response:
    """POST /events/{id}/note."""
    return await _render_annotated(request, note=form.get("note", "")[:_MAX_NOTE].replace("\r\n", "\n").strip())


async def delete_event(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """POST /events/{id}/delete: the event goes with its deliveries."""
    await relay.store.events.delete(id_)
    relay.bus.publish(EventChanged(id_))
    suffix = parse_list_suffix(request)
    if get_target_id(request) is None:
        return redirect(f"/events{suffix}")
    gone = request.app[RENDERER].part("events/missing.html", gone=f"Event {id_} was deleted.", suffix=suffix)
    return html_response(gone + make_partial(f"#e-{id_}", "delete", ""), headers=toast_header(f"Deleted event {id_}"))


async def _render_annotated(
    request: web.Request, *, pinned: bool | None = None, note: str | None = None
) -> web.Response:
    relay = get_relay(request)
    id_ = parse_id(request)
    await relay.store.events.annotate(id_, pinned=pinned, note=note)
    relay.bus.publish(EventChanged(id_))
    if get_target_id(request) is None:
        return redirect(f"/events/{id_}{parse_list_suffix(request)}")
    event = await relay.store.events.get(id_)
    return render_part(request, "events/detail.html", **await events_page.build_detail(request, event, "payload"))


def _list_path(fields: MultiMapping[Any], name: str = "q") -> str:
    return build_url("/events", q=join_search(fields, name))


async def pin_selected(request: web.Request, relay: RunningRelay) -> web.Response:
    """POST /events/pin: pin what was selected."""
    fields = await request.post()
    found = await _find_matching(relay, build_selection_query(fields), None)
    await relay.store.events.annotate_all(found, pinned=True)
    _publish_changes(relay, found)
    return answer_done(request, _list_path(fields), f"Pinned {format_count(len(found), 'event')}")


async def export_selected(request: web.Request) -> web.Response:
    """GET /events/export: on to the file that holds what was selected."""
    return redirect(build_url("/api/export", q=build_selection_query(request.query), **{"as": "jsonl"}))


async def confirm_delete(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /events/delete: how much would go, and the form that does it."""
    text = build_selection_query(request.query)
    found = await _find_matching(relay, text, None)
    count = format_count(len(found), "event")
    return await render_dialog(
        request,
        "confirm.html",
        "Delete events",
        (_list_path(request.query), "Events"),
        heading=f"Delete {count}?",
        message=f"{_describe_selection(text)} with their deliveries. This cannot be undone.",
        action="/events/delete",
        # Events that arrive while the dialog is open are not included.
        fields=(("q", text), ("upto", str(found[0] if found else 0)), ("shown", join_search(request.query))),
        button=f"Delete {count}",
    )


async def delete_selected(request: web.Request, relay: RunningRelay) -> web.Response:
    """POST /events/delete with `q` and `upto`: what matched when it was asked goes with its deliveries."""
    fields = await request.post()
    upto = parse_digits(str(fields.get("upto")))
    if upto is None:
        raise UsageError("a deletion must be confirmed", hint="select events and press Delete")
    found = await _find_matching(relay, build_selection_query(fields), upto + 1)
    await relay.store.events.delete_all(found)
    _publish_changes(relay, found)
    return redirect(_list_path(fields, "shown"))


def _describe_selection(text: str) -> str:
    if text.startswith("id:"):
        return "The selected events go,"
    return f"The events that match {escape_unprintable(text, 200)} go," if text else "Every event goes,"


async def _find_matching(relay: RunningRelay, text: str, before: int | None) -> tuple[int, ...]:
    search = parse_query_strictly(text, relay.clock.now())
    rows = relay.store.events.iterate(search, before=before, most=_DELETE_LIMIT + 1)
    found = tuple([row.id async for row in rows])
    if len(found) > _DELETE_LIMIT:
        raise UsageError(
            f"more than {_DELETE_LIMIT:,} events match", hint="narrow the search, for example with before:"
        )
    return found


def _publish_changes(relay: RunningRelay, changed: tuple[int, ...]) -> None:
    # The newest are visible; a thousand signals at once would only displace others.
    for id_ in changed[:_MAX_PUBLISHED]:
        relay.bus.publish(EventChanged(id_))
