"""The Compare page: two events side by side, or a choice of the second one."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from itertools import groupby

from aiohttp import web

from relay.dashboard.body_text import TextPieces, highlight_differences
from relay.dashboard.delivery_rows import HIDDEN_VALUE
from relay.dashboard.event_list import build_delivery_chip, load_rows, parse_list_suffix, select_latest_deliveries
from relay.dashboard.filters import build_url, format_duration, format_status
from relay.dashboard.responses import parse_selected_ids, redirect, render_dialog, render_page
from relay.errors import UsageError
from relay.http.responses import get_relay
from relay.model.delivery import Delivery
from relay.model.differences import COMPARED_FACTS, ComparedEvent, ComparedPlace, compare_events
from relay.model.event import CapturedEvent
from relay.model.parameters import parse_number
from relay.model.search import Query, Term
from relay.model.text import decode_header_text, escape_unprintable, is_sensitive

_MAX_PLACES = 500  # locations in a page
_MAX_LINE = 2000  # characters of one value
_MAX_CHOICES = 20  # events to choose from
_PART_TITLES = {"fact": "Event", "header": "Headers", "body": "Body"}


_write_value = partial(json.dumps, ensure_ascii=False, default=float)
ComparePair = tuple[str, TextPieces, TextPieces, bool]  # a location, the values of both sides, whether they differ


async def show_comparison(request: web.Request) -> web.Response:
    """GET /compare?a=&b=&all=: two events; with one only, a choice of the other. A selection of two leads here."""
    one, other = parse_number(request.query, "a", None), parse_number(request.query, "b", None)
    if one is None:
        numbers = parse_selected_ids(request.query)
        if len(numbers) != 2:
            raise UsageError("a comparison needs two events", hint="select exactly two, or press D on one")
        return redirect(build_url("/compare", a=min(numbers), b=max(numbers)))
    if other is None:
        return await _render_choice(request, one)
    return await _render_comparison(request, one, other)


async def _render_comparison(request: web.Request, one: int, other: int) -> web.Response:
    relay = get_relay(request)
    pair = await relay.store.events.get(one), await relay.store.events.get(other)
    deliveries = await relay.store.deliveries.of_events((one, other))
    every, reveal = bool(request.query.get("all")), bool(request.query.get("reveal"))
    sides = (_build_side(pair[0], deliveries[one]), _build_side(pair[1], deliveries[other]))
    # Two large bodies take long, and other requests should not wait for them.
    found = await asyncio.to_thread(lambda: tuple(compare_events(*sides, _write_value)))
    differing = [place for place in found if place.differs]
    listed = found if every else differing
    return await render_page(
        request,
        "events/compare.html",
        f"Compare {one} and {other}",
        "events",
        sides=[(event.row, deliveries[event.id]) for event in pair],
        count=len(differing),
        groups=await asyncio.to_thread(_build_groups, listed[:_MAX_PLACES], reveal=reveal),
        every=every,
        has_hidden=not reveal and any(_is_hidden(place) for place in listed),
        left_out=max(0, len(listed) - _MAX_PLACES),
    )


async def _render_choice(request: web.Request, id_: int) -> web.Response:
    relay = get_relay(request)
    event = await relay.store.events.get(id_)
    alike = {"source": event.row.source, "type": event.row.type}
    query = Query(text="", terms=tuple(Term(text="", key=key, value=name) for key, name in alike.items()))
    page = await relay.store.events.page(query, limit=_MAX_CHOICES + 1)
    rows = await load_rows(relay, [row for row in page.rows if row.id != id_][:_MAX_CHOICES])
    back = (f"/events/{id_}{parse_list_suffix(request)}", f"Event {id_}")
    title = f"Compare event {id_}"
    return await render_dialog(request, "events/compare_form.html", title, back, event=event.row, rows=rows)


def _build_side(event: CapturedEvent, deliveries: Sequence[Delivery]) -> ComparedEvent:
    facts = {name: getattr(event.row, name) for name in COMPARED_FACTS}
    return ComparedEvent(
        facts={
            name: decode_header_text(value) if name in ("path", "query") else str(value) if value else None
            for name, value in facts.items()
        },
        headers=tuple((decode_header_text(name), decode_header_text(value)) for name, value in event.capture.headers),
        content=event.capture.body,
        answers={
            escape_unprintable(delivery.target, 60): _format_response(delivery)
            for delivery in select_latest_deliveries(deliveries)
        },
    )


def _format_response(delivery: Delivery) -> dict[str, str]:
    response = {
        "result": format_status(delivery.status)
        if delivery.status
        else delivery.detail or build_delivery_chip(delivery).text,
        "attempts": str(delivery.attempts),
        "took": format_duration(delivery.took),
    }
    return {name: value for name, value in response.items() if value}


def _build_groups(found: Sequence[ComparedPlace], *, reveal: bool) -> list[tuple[str, list[ComparePair]]]:
    grouped = groupby(found, key=lambda place: _PART_TITLES.get(place.part, f"Delivery to {place.target}"))
    return [(title, [_build_pair(place, reveal=reveal) for place in places]) for title, places in grouped]


def _build_pair(place: ComparedPlace, *, reveal: bool) -> ComparePair:
    hide = _is_hidden(place) and not reveal
    left, right = (
        None if value is None else HIDDEN_VALUE if hide else _shorten_value(value)
        for value in (place.left, place.right)
    )
    return escape_unprintable(place.name or "value", 300), *highlight_differences(left, right), place.differs


def _shorten_value(value: str) -> str:
    return "\n".join(escape_unprintable(line, _MAX_LINE) for line in value[: 2 * _MAX_LINE].split("\n"))


def _is_hidden(place: ComparedPlace) -> bool:
    return place.part == "header" and is_sensitive(place.name)
