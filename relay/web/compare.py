"""Compare: two events side by side, or the latest of a kind to choose the other one from."""

import asyncio
import json
from collections.abc import Sequence
from itertools import groupby
from urllib.parse import urlencode

from aiohttp import web

from relay.errors import UsageError
from relay.model.delivery import Delivery
from relay.model.differences import FACTS, Place, Side, places
from relay.model.event import Event, EventRow
from relay.model.search import Query, Term
from relay.model.text import header_text, is_sensitive, printable
from relay.web import events, gather, selection, standing
from relay.web.asked import number
from relay.web.contexts.compare import CompareForm, ComparePage, Pair, PairGroup
from relay.web.contexts.events import Link
from relay.web.keys import desk
from relay.web.posted import see
from relay.web.render import RENDERER, html
from relay.web.senders import event_mark
from relay.web.view import lists
from relay.web.view.deliveries import HIDDEN
from relay.web.view.marking import marked
from relay.web.view.rows import Row, latest, result, row
from relay.web.view.words import plural, status_phrase, took

_MOST = 500  # places in one page
_SHOWN = 2000  # characters of one value
_OFFERED = 20  # events to choose the other one from
_TITLES = {"fact": "Event", "header": "Headers", "body": "Body"}


async def compare(request: web.Request) -> web.Response:
    """GET /compare?a=&b=&all=: two events; with one only, a choice of the other. A selection of two leads here."""
    one, other = number(request, "a", None), number(request, "b", None)
    if one is None:
        numbers = selection.numbers(request.query)
        if len(numbers) != 2:
            raise UsageError("two events are compared", hint="select exactly two, or press D on one")
        return see(_href(min(numbers), max(numbers)))
    if other is None:
        return await _choose(request, one)
    return await _page(request, one, other)


async def _page(request: web.Request, one: int, other: int) -> web.Response:
    here = desk(request)
    pair = await here.store.events.get(one), await here.store.events.get(other)
    sent = await here.store.deliveries.of_events((one, other))
    every, reveal = bool(request.query.get("all")), bool(request.query.get("reveal"))
    sides = [_side(event, sent[event.id]) for event in pair]
    # Two large bodies take a while, and nobody else should wait meanwhile.
    found = await asyncio.to_thread(lambda: tuple(places(sides[0], sides[1], _told)))
    differing = [place for place in found if place.differs]
    shown = found if every else differing
    context = ComparePage(
        shell=await gather.frame(request, f"Compare {one} and {other}", "events"),
        sides=(_head(pair[0].row, sent[one]), _head(pair[1].row, sent[other])),
        count=plural(len(differing), "difference"),
        groups=await asyncio.to_thread(_groups, shown[:_MOST], reveal=reveal),
        views=(
            Link(name="Only differences", href=_href(one, other), current=not every),
            Link(name="Everything", href=_href(one, other, all=1), current=every),
        ),
        swap=_href(other, one, **({"all": 1} if every else {})),
        reveal=_href(one, other, reveal=1, **({"all": 1} if every else {}))
        if not reveal and any(_hidden(place) for place in shown)
        else "",
        cut=f"{len(shown) - _MOST:,} more are not shown." if len(shown) > _MOST else "",
    )
    return html(request.app[RENDERER].page(context))


async def _choose(request: web.Request, id_: int) -> web.Response:
    here = desk(request)
    event = await here.store.events.get(id_)
    found = await here.store.events.page(_alike(event.row), limit=_OFFERED + 1)
    others = [other for other in found.rows if other.id != id_][:_OFFERED]
    form = CompareForm(
        event=events.head(event),
        back=f"/events/{id_}{lists.suffix(gather.query_of(request).text)}",
        back_name=f"Event {id_}",
        rows=tuple(
            (_href(min(id_, shown.id), max(id_, shown.id)), shown)
            for shown in await gather.rows(here, others)
        ),
    )
    return await standing.dialog(request, form, f"Compare event {id_}")


def _alike(event: EventRow) -> Query:
    names = {"source": event.source, "type": event.type}
    return Query(text="", terms=tuple(Term(text="", key=key, value=name) for key, name in names.items()))


def _head(event: EventRow, sent: Sequence[Delivery]) -> Row:
    return row(event, sent, event_mark(event))


def _side(event: Event, sent: Sequence[Delivery]) -> Side:
    facts = {name: getattr(event.row, name) for name in FACTS}
    return Side(
        facts={
            name: header_text(value) if name in ("path", "query") else value and str(value)
            for name, value in facts.items()
        },
        headers=tuple((header_text(name), header_text(value)) for name, value in event.capture.headers),
        content=event.capture.body,
        answers={printable(delivery.target, 60): _answer(delivery) for delivery in latest(sent)},
    )


def _answer(delivery: Delivery) -> dict[str, str]:
    answer = {
        "result": status_phrase(delivery.status)
        if delivery.status
        else delivery.detail or result(delivery).text,
        "attempts": str(delivery.attempts),
        "took": took(delivery.took),
    }
    return {name: value for name, value in answer.items() if value}


def _told(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _groups(found: Sequence[Place], *, reveal: bool) -> tuple[PairGroup, ...]:
    grouped = groupby(found, key=lambda place: _TITLES.get(place.part, f"Delivery to {place.target}"))
    return tuple(
        PairGroup(title=title, pairs=tuple(_pair(place, reveal=reveal) for place in group))
        for title, group in grouped
    )


def _pair(place: Place, *, reveal: bool) -> Pair:
    hide = _hidden(place) and not reveal
    left, right = (
        None if value is None else HIDDEN if hide else _shown(value) for value in (place.left, place.right)
    )
    one, other = marked(left, right)
    return Pair(path=printable(place.name or "value", 300), left=one, right=other, differs=place.differs)


def _shown(value: str) -> str:
    return "\n".join(printable(line, _SHOWN) for line in value[: 2 * _SHOWN].split("\n"))


def _hidden(place: Place) -> bool:
    return place.part == "header" and is_sensitive(place.name)


def _href(one: int, other: int, **more: object) -> str:
    return f"/compare?{urlencode({'a': one, 'b': other, **more})}"
