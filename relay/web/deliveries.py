"""The deliveries: what waits, what failed for good, what was sent, each with its attempts."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from relay.errors import NotFoundError
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import EventRow
from relay.model.text import printable
from relay.web import gather
from relay.web.asked import identity, number
from relay.web.contexts.deliveries import DeliveriesPage, DeliveryRow
from relay.web.contexts.events import Link
from relay.web.keys import Desk, desk
from relay.web.posted import fields, see, toast
from relay.web.render import RENDERER, html, wants
from relay.web.senders import event_mark
from relay.web.view import lists
from relay.web.view.deliveries import Line, held, line
from relay.web.view.rows import named, shield, tags
from relay.web.view.words import moment, plural

_PAGE = 50
_STATES = ("pending", "running", "succeeded", "failed", "cancelled")
_VIEWS = {"": "all", "pending": "queued", "failed": "failed", "succeeded": "sent"}
_EMPTY = {"pending": "Nothing waits.", "failed": "Nothing failed for good."}
_DEAD = (
    "Dead letters: relay has given these up, after the last try or because the target refused them for good. "
    "They stay here until they are sent again or their event is deleted."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which deliveries a page shows: those in a state, to a target, of a bulk replay, of an event; all may be open."""

    state: str = ""
    target: str = ""
    batch: int | None = None
    event: int | None = None

    @property
    def scope(self) -> dict[str, object]:
        """Return the filters apart from the state, those that are set."""
        named_ = {"target": self.target, "batch": self.batch, "event": self.event}
        return {name: value for name, value in named_.items() if value}


async def deliveries(request: web.Request) -> web.Response:
    """GET /deliveries?state=&target=&batch=&event=: newest first; /deliveries/{id}: one of them opened."""
    here, filters = desk(request), _filters(request)
    chosen = identity(request, "delivery") if "id" in request.match_info else None
    if chosen is not None and wants(request) == f"row-{chosen}":
        return await _row_alone(request, chosen, filters)
    before = number(request, "before", None)
    if chosen is not None and before is None:
        before = chosen + 1
    found = await here.store.deliveries.page(
        state=filters.state or None,
        target=filters.target or None,
        batch=filters.batch,
        event=filters.event,
        before=before,
        limit=_PAGE,
        lab=False,  # it has pages of its own, and much of what it sends is meant to fail
    )
    if chosen is not None and all(one.id != chosen for one in found):
        found = (await here.store.deliveries.get(chosen), *found)
    counts = await here.store.deliveries.counts(
        target=filters.target or None, batch=filters.batch, event=filters.event, lab=False
    )
    failed = counts["failed"] if filters.state in ("", "failed") else 0
    context = DeliveriesPage(
        shell=await gather.frame(request, "Deliveries", "deliveries"),
        views=_views(filters, counts),
        narrowed=_narrowed(filters),
        targets=_targets(here, filters),
        rows=await _rows(here, found, filters, chosen, before),
        note=_DEAD if filters.state == "failed" else "",
        failed=f"{failed:,}" if failed else "",
        fields=tuple((name, str(value)) for name, value in filters.scope.items() if name != "event"),
        stream=_stream(filters, found, before),
        older=_href(filters, before=found[-1].id) if len(found) >= _PAGE else "",
        empty=_EMPTY.get(filters.state, "Nothing was sent yet.")
        if not filters.scope
        else "Nothing is left here.",
    )
    return html(request.app[RENDERER].page(context))


async def retry_all(request: web.Request) -> web.Response:
    """POST /deliveries/retry with `target` and `batch`: all that failed are due now."""
    form = await fields(request)
    batch = form.get("batch", "")
    count = await desk(request).verbs.retry_all(
        DeliveryState.FAILED,
        form.get("target") or None,
        int(batch) if batch.isascii() and batch.isdigit() and len(batch) <= 18 else None,
    )
    if wants(request) is None:
        return see(lists.deliveries("", target=form.get("target"), batch=batch))
    said = f"Trying {plural(count, 'delivery', 'deliveries')} again"
    return web.Response(status=204, headers=toast(said))


async def delivery(here: Desk, id_: int) -> Line:
    """Return one delivery with its attempts. Raises NotFoundError."""
    found = await here.store.deliveries.get(id_)
    attempts = await here.store.deliveries.attempts(id_)
    return line(found, here.clock.now(), attempts, held=found.target in here.live.down)


def _filters(request: web.Request) -> Filters:
    state = request.query.get("state", "")
    return Filters(
        state=state if state in _STATES else "",
        target=request.query.get("target", "")[:500],
        batch=gather.whole(request, "batch"),
        event=gather.whole(request, "event"),
    )


def _href(filters: Filters, *, state: str | None = None, **more: object) -> str:
    return lists.deliveries(filters.state if state is None else state, **filters.scope, **more)


def _views(filters: Filters, counts: Mapping[str, int]) -> tuple[Link, ...]:
    shown = held(counts)
    return tuple(
        Link(
            name=name.capitalize(),
            href=_href(filters, state=state),
            current=state == filters.state,
            key=name,
            count=shown[name],
        )
        for state, name in _VIEWS.items()
    )


def _narrowed(filters: Filters) -> tuple[Link, ...]:
    words = {"target": f"to {printable(filters.target, 80)}", "batch": f"bulk replay {filters.batch}"}
    words |= {"event": f"event {filters.event}"}
    return tuple(
        Link(
            name=words[name],
            key=f"/replays/{filters.batch}" if name == "batch" else "",
            href=lists.deliveries(
                filters.state, **{key: value for key, value in filters.scope.items() if key != name}
            ),
        )
        for name in filters.scope
    )


def _targets(here: Desk, filters: Filters) -> tuple[Link, ...]:
    scope = {name: value for name, value in filters.scope.items() if name != "target"}
    every = [
        Link(name="Every target", href=lists.deliveries(filters.state, **scope), current=not filters.target)
    ]
    every += [
        Link(
            name=printable(name, 80),
            href=lists.deliveries(filters.state, **scope, target=name),
            current=name == filters.target,
        )
        for name in here.setup.targets
    ]
    return tuple(every)


def _stream(filters: Filters, found: tuple[Delivery, ...], before: int | None) -> str:
    # Only a page that begins with the newest can say that there are newer ones.
    newest = not filters.scope and filters.state in ("", "pending") and before is None
    asked = {"of": "deliveries", "state": filters.state}
    return lists.encoded(asked | ({"top": str(found[0].id if found else 0)} if newest else {}))


async def _rows(
    here: Desk, found: tuple[Delivery, ...], filters: Filters, chosen: int | None, before: int | None
) -> tuple[DeliveryRow, ...]:
    events = {row.id: row for row in await here.store.events.rows({one.event_id for one in found})}
    return tuple(
        [
            await _row(here, one, events[one.event_id], filters, (one.id == chosen, before))
            for one in found
            if one.event_id in events
        ]
    )


async def _row(
    here: Desk, one: Delivery, event: EventRow, filters: Filters, shown: tuple[bool, int | None]
) -> DeliveryRow:
    opened, before = shown
    attempts = await here.store.deliveries.attempts(one.id) if opened else ()
    keep = {"state": filters.state, **filters.scope, "before": before}
    query = lists.encoded({name: str(value) for name, value in keep.items() if value})
    is_replay = one.reason is DeliveryReason.REPLAY
    place = "/deliveries" if opened else f"/deliveries/{one.id}"
    return DeliveryRow(
        mark=event_mark(event),
        type=named(event),
        summary=printable(event.summary, 80),
        received=moment(event.received_at),
        line=line(one, here.clock.now(), attempts, held=one.target in here.live.down),
        href=f"{place}?{query}" if query else place,
        open=opened,
        tags=tuple(tag for tag in tags(event, is_replayed=is_replay) if tag in ("replay", "sample")),
        shield=shield(event),
    )


async def _row_alone(request: web.Request, id_: int, filters: Filters) -> web.Response:
    here = desk(request)
    one = await here.store.deliveries.get(id_)
    event = await here.store.events.row(one.event_id)
    if event is None:
        raise NotFoundError(f"no delivery {id_}", hint="the page Deliveries lists those that there are")
    shown = ("closed" not in request.query, number(request, "before", None))
    row = await _row(here, one, event, filters, shown)
    return html(request.app[RENDERER].part(row.template, row=row))
