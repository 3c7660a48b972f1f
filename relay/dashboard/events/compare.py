"""Compare: two events side by side, or the latest of a kind to choose the other one from."""

import asyncio
import json
from collections.abc import Sequence
from itertools import groupby
from urllib.parse import urlencode

from aiohttp import web

from relay.dashboard import page_data, responses
from relay.dashboard.body_text import highlight_differences
from relay.dashboard.delivery_rows import HIDDEN_VALUE
from relay.dashboard.event_rows import EventListRow, build_delivery_chip, build_event_row, select_latest_deliveries
from relay.dashboard.events import actions, page
from relay.dashboard.events.context import CompareForm, CompareGroup, ComparePage, ComparePair
from relay.dashboard.filters import event_avatar, format_count, format_duration, format_status
from relay.dashboard.render import RENDERER, html_response
from relay.dashboard.responses import redirect
from relay.dashboard.urls import build_query_suffix
from relay.dashboard.widgets import NavLink
from relay.errors import UsageError
from relay.http.context import get_relay
from relay.http.params import parse_number
from relay.model.delivery import Delivery
from relay.model.differences import COMPARED_FACTS, ComparedEvent, ComparedPlace, compare_events
from relay.model.event import CapturedEvent, EventRow
from relay.model.search import Query, Term
from relay.model.text import decode_header_text, escape_unprintable, is_sensitive

_MAX_PLACES = 500  # places in one page
_MAX_LINE = 2000  # characters of one value
_MAX_CHOICES = 20  # events to choose the other one from
_PART_TITLES = {"fact": "Event", "header": "Headers", "body": "Body"}


async def show_comparison(request: web.Request) -> web.Response:
    """GET /compare?a=&b=&all=: two events; with one only, a choice of the other. A selection of two leads here."""
    one, other = parse_number(request, "a", None), parse_number(request, "b", None)
    if one is None:
        numbers = actions.parse_selected_ids(request.query)
        if len(numbers) != 2:
            raise UsageError("two events are compared", hint="select exactly two, or press D on one")
        return redirect(_comparison_path(min(numbers), max(numbers)))
    if other is None:
        return await _render_choice(request, one)
    return await _render_comparison(request, one, other)


async def _render_comparison(request: web.Request, one: int, other: int) -> web.Response:
    relay = get_relay(request)
    pair = await relay.store.events.get(one), await relay.store.events.get(other)
    sent = await relay.store.deliveries.of_events((one, other))
    every, reveal = bool(request.query.get("all")), bool(request.query.get("reveal"))
    sides = [_build_side(event, sent[event.id]) for event in pair]
    # Two large bodies take a while, and nobody else should wait meanwhile.
    found = await asyncio.to_thread(lambda: tuple(compare_events(sides[0], sides[1], _format_value)))
    differing = [place for place in found if place.differs]
    shown = found if every else differing
    context = ComparePage(
        shell=await page_data.build_shell(request, f"Compare {one} and {other}", "events"),
        sides=(_build_side_head(pair[0].row, sent[one]), _build_side_head(pair[1].row, sent[other])),
        count=format_count(len(differing), "difference"),
        groups=await asyncio.to_thread(_build_groups, shown[:_MAX_PLACES], reveal=reveal),
        views=(
            NavLink(name="Only differences", href=_comparison_path(one, other), current=not every),
            NavLink(name="Everything", href=_comparison_path(one, other, all=1), current=every),
        ),
        swap=_comparison_path(other, one, **({"all": 1} if every else {})),
        reveal=_comparison_path(one, other, reveal=1, **({"all": 1} if every else {}))
        if not reveal and any(_is_hidden(place) for place in shown)
        else "",
        cut=f"{len(shown) - _MAX_PLACES:,} more are not shown." if len(shown) > _MAX_PLACES else "",
    )
    return html_response(request.app[RENDERER].page(context))


async def _render_choice(request: web.Request, id_: int) -> web.Response:
    relay = get_relay(request)
    event = await relay.store.events.get(id_)
    found = await relay.store.events.page(_build_similar_query(event.row), limit=_MAX_CHOICES + 1)
    others = [other for other in found.rows if other.id != id_][:_MAX_CHOICES]
    form = CompareForm(
        event=page.build_event_head(event),
        back=f"/events/{id_}{build_query_suffix(page_data.parse_list_query(request).text)}",
        back_name=f"Event {id_}",
        rows=tuple(
            (_comparison_path(min(id_, shown.id), max(id_, shown.id)), shown)
            for shown in await page_data.load_rows(relay, others)
        ),
    )
    return await responses.render_dialog_form(request, form, f"Compare event {id_}")


def _build_similar_query(event: EventRow) -> Query:
    names = {"source": event.source, "type": event.type}
    return Query(text="", terms=tuple(Term(text="", key=key, value=name) for key, name in names.items()))


def _build_side_head(event: EventRow, sent: Sequence[Delivery]) -> EventListRow:
    return build_event_row(event, sent, event_avatar(event))


def _build_side(event: CapturedEvent, sent: Sequence[Delivery]) -> ComparedEvent:
    facts = {name: getattr(event.row, name) for name in COMPARED_FACTS}
    return ComparedEvent(
        facts={
            name: decode_header_text(value) if name in ("path", "query") else value and str(value)
            for name, value in facts.items()
        },
        headers=tuple((decode_header_text(name), decode_header_text(value)) for name, value in event.capture.headers),
        content=event.capture.body,
        answers={
            escape_unprintable(delivery.target, 60): _format_response(delivery)
            for delivery in select_latest_deliveries(sent)
        },
    )


def _format_response(delivery: Delivery) -> dict[str, str]:
    answer = {
        "result": format_status(delivery.status)
        if delivery.status
        else delivery.detail or build_delivery_chip(delivery).text,
        "attempts": str(delivery.attempts),
        "took": format_duration(delivery.took),
    }
    return {name: value for name, value in answer.items() if value}


def _format_value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _build_groups(found: Sequence[ComparedPlace], *, reveal: bool) -> tuple[CompareGroup, ...]:
    grouped = groupby(found, key=lambda place: _PART_TITLES.get(place.part, f"Delivery to {place.target}"))
    return tuple(
        CompareGroup(title=title, pairs=tuple(_build_pair(place, reveal=reveal) for place in group))
        for title, group in grouped
    )


def _build_pair(place: ComparedPlace, *, reveal: bool) -> ComparePair:
    hide = _is_hidden(place) and not reveal
    left, right = (
        None if value is None else HIDDEN_VALUE if hide else _shorten_value(value)
        for value in (place.left, place.right)
    )
    one, other = highlight_differences(left, right)
    return ComparePair(
        path=escape_unprintable(place.name or "value", 300), left=one, right=other, differs=place.differs
    )


def _shorten_value(value: str) -> str:
    return "\n".join(escape_unprintable(line, _MAX_LINE) for line in value[: 2 * _MAX_LINE].split("\n"))


def _is_hidden(place: ComparedPlace) -> bool:
    return place.part == "header" and is_sensitive(place.name)


def _comparison_path(one: int, other: int, **more: object) -> str:
    return f"/compare?{urlencode({'a': one, 'b': other, **more})}"
