"""The event list: its rows by day, count line, search box and saved views, and the footer that pages on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from multidict import MultiMapping

from relay.dashboard.filters import StatusChip, build_url, format_count, format_duration, format_moment
from relay.http.responses import get_relay
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import EventOutcome, EventRow, Verdict
from relay.model.search import KEYS, Query, parse_query
from relay.model.text import escape_unprintable, format_headline, parse_media_type
from relay.services.relay import RunningRelay
from relay.store.events import EventCounts, EventPage

PAGE_SIZE = 50
MAX_ROWS = 300  # rows in a page; measured: holding down `J` still paints within 100 ms
_COUNT_LIMIT = 10_000  # matches counted before the count line says "or more"
_KNOWN_VALUES = {
    "verdict": ("verified", "invalid", "unsigned", "unchecked"),
    "outcome": ("accepted", "duplicate", "ignored", "rejected"),
    "has": ("failed", "pending", "succeeded", "note", "message"),
    "is": ("duplicate", "replay", "sample", "pinned", "recovered"),
    "status": ("2xx", "4xx", "5xx"),
    "after": ("15m", "1h", "24h", "7d"),
}
_NOTHING_SENT = {EventOutcome.DUPLICATE: "Duplicate", EventOutcome.IGNORED: "Ignored"}
_URGENCY = tuple(DeliveryState[name] for name in ("CANCELLED", "SUCCEEDED", "RUNNING", "PENDING", "FAILED"))


EventListRow = tuple[EventRow, Sequence[Delivery]]  # an event in a list, with its deliveries


def parse_list_query(request: web.Request) -> Query:
    """Return the query of a URL; several `q` are joined, because the form sends a field per token."""
    return parse_query(join_search(request.query), get_relay(request).clock.now(), lenient=True)


def join_search(fields: MultiMapping[Any], name: str = "q") -> str:
    """Return the query of a form or URL; several fields are joined."""
    return " ".join(text.strip() for text in fields.getall(name, []) if isinstance(text, str) and text.strip())


def parse_list_suffix(request: web.Request) -> str:
    """Return the query of a URL as a suffix for links."""
    return build_url("", q=parse_list_query(request).text)


def parse_current_url(request: web.Request) -> tuple[str, str]:
    """Return the path and the query of the page that sent an htmx request."""
    parts = urlsplit(request.headers.get("HX-Current-URL", ""))
    return parts.path, " ".join(parse_qs(parts.query).get("q", []))


async def load_rows(relay: RunningRelay, events: Sequence[EventRow]) -> list[EventListRow]:
    """Return events with their deliveries."""
    deliveries = await relay.store.deliveries.of_events(event.id for event in events) if events else {}
    return [(event, deliveries[event.id]) for event in events]


def is_replayed(deliveries: Sequence[Delivery]) -> bool:
    """Return whether an event was replayed."""
    return any(one.reason is DeliveryReason.REPLAY for one in deliveries)


async def load_listing(
    relay: RunningRelay, query: Query, *, before: int | None = None, selected: int | None = None
) -> dict[str, Any]:
    """Return the list for a query, newest first, ignoring terms that cannot be parsed."""
    readable = query.readable
    page = await relay.store.events.page(readable, limit=PAGE_SIZE, before=before)
    return await load_part(relay, query, page, shown=len(page.rows)) | {
        "count": await build_count_line(relay, readable, page, complete=before is None),
        "selected": selected,
        "before": before,
        "problems": (*(f"{problem}; listed without it" for problem in query.problems), *query.notes),
    }


async def load_part(
    relay: RunningRelay, query: Query, page: EventPage, *, shown: int = 0, last: datetime | None = None
) -> dict[str, Any]:
    """Return a page of rows for the list.

    `shown` counts them and those above, 0 for rows inserted above others; `last` is the time of the row above.
    """
    return {
        "query": query.text,
        "rows": await load_rows(relay, page.rows),
        "selected": None,
        "shown": shown,
        "max_rows": MAX_ROWS,
        "page": page,
        "last": last,
        "now": relay.clock.now(),
    }


async def build_count_line(
    relay: RunningRelay, query: Query, page: EventPage | None = None, *, complete: bool = True
) -> str:
    """Return the count line: `1,284 events`, `312 match, 6 ms`, `Searched back to 3 Nov`.

    A page that contains all matches needs no second query.
    """
    if not query.terms:
        total = (await relay.store.events.counts()).events
    elif page is not None and page.next_before is None and complete:
        total = len(page.rows)
    else:
        try:
            total = await relay.store.events.count(query, _COUNT_LIMIT)
        except TimeoutError:
            return "Many match"
    if not query.text.strip():
        return format_count(total, "event")
    if page and page.searched_to is not None:
        return f"Searched back to {format_moment(page.searched_to).full[:-4]}"
    number = f"{total:,} or more" if total >= _COUNT_LIMIT else f"{total:,}"
    words = f"{number} {'matches' if total == 1 else 'match'}"
    return f"{words}, {max(1, round(page.took * 1000))} ms" if page else words


def build_search_box(query: Query, sources: Iterable[str]) -> dict[str, Any]:
    """Return the search, and the available filters with their meanings and known values."""
    values: dict[str, Iterable[str]] = {"source": sources, **_KNOWN_VALUES}
    keys = [key for key in KEYS if values.get(key) or key in ("source", "type", "method")]
    return {"query": query, "groups": [(key, KEYS[key], values.get(key, ())) for key in keys]}


def list_saved_views(counts: EventCounts) -> tuple[tuple[str, str, int], ...]:
    """Return common searches by name, with their current number of events."""
    return (
        ("All", "", counts.events),
        ("Failing", "has:failed", counts.failing),
        ("Rejected", "outcome:rejected", counts.rejected),
        ("Queued", "has:pending", counts.queued),
    )


def format_event_title(event: EventRow) -> str:
    """Return the title of an event: its type, or its request line if it has none."""
    if event.type == "unknown":
        return f"{escape_unprintable(event.method, 20)} {escape_unprintable(event.path, 80)}"
    return escape_unprintable(format_headline(event.type, event.types, event.item_count), 120)


def format_event_summary(event: EventRow) -> str:
    """Return the summary of an event; if unknown, the kind or size of its body."""
    kind = parse_media_type(event.content_type).rpartition("/")[2] or format_count(event.size, "byte")
    return escape_unprintable(event.summary, 120) if event.summary else escape_unprintable(kind, 60)


def get_shield_kind(event: EventRow) -> str:
    """Return the icon of the signature check: ok, err, lock (vault locked) or none."""
    if event.verdict is Verdict.VERIFIED:
        return "ok"
    if event.verdict is Verdict.INVALID:
        return "err"
    return "lock" if event.reason == "vault_locked" else "none"


def summarize_deliveries(event: EventRow, deliveries: Sequence[Delivery]) -> StatusChip:
    """Return the result of an event: rejected, why nothing was sent, or the worst response of any target."""
    latest = select_latest_deliveries(deliveries)
    results = ", ".join(f"{escape_unprintable(one.target, 60)}: {build_delivery_chip(one).text}" for one in latest)
    if event.outcome is EventOutcome.REJECTED:
        # Also after a replay: a target's response does not make it genuine.
        return StatusChip("no", "Rejected", title=f"Replayed. {results}" if results else "")
    if event.reason == "vault_locked" and not deliveries:
        return StatusChip("warn", "Unchecked")
    if not deliveries:
        return StatusChip("dim", _NOTHING_SENT.get(event.outcome, "No target"))
    worst = max(latest, key=lambda delivery: (_URGENCY.index(delivery.state), delivery.id))
    return replace(build_delivery_chip(worst), title=results)


def select_latest_deliveries(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the newest delivery to each target, in the order the targets first appeared.

    Deliveries of the lab are left out if there are others: they say nothing about the event.
    """
    own = [delivery for delivery in deliveries if delivery.lab is None] or deliveries
    return list({delivery.target: delivery for delivery in sorted(own, key=lambda one: one.id)}.values())


def select_replay_targets(deliveries: Sequence[Delivery], targets: Iterable[str]) -> list[str]:
    """Return the default targets of a replay: those of its event except mails, else the first target."""
    known, latest = list(targets), select_latest_deliveries(deliveries)
    return [one.target for one in latest if one.target in known and one.action != "email"] or known[:1]


def build_delivery_chip(delivery: Delivery) -> StatusChip:
    """Return the state of a delivery as a short chip."""
    status = "" if delivery.status is None else str(delivery.status)
    match delivery.state:
        case DeliveryState.SUCCEEDED:
            words = status or ("Done" if delivery.action == "handler" else "Sent")
            return StatusChip("ok", words, format_duration(delivery.took))
        case DeliveryState.FAILED:
            return StatusChip("err", status or "Failed", format_duration(delivery.took))
        case DeliveryState.RUNNING:
            return StatusChip("sending", "Running" if delivery.action == "handler" else "Sending")
        case DeliveryState.CANCELLED:
            return StatusChip("dim", "Cancelled")
        case DeliveryState.PENDING if delivery.attempts:
            return StatusChip("retry", f"Try {delivery.attempts + 1}")
        case DeliveryState.PENDING:
            return StatusChip("queued", "Queued")


EVENT_FILTERS: Mapping[str, Callable[..., object]] = {
    "delivery_chip": build_delivery_chip,
    "event_chip": summarize_deliveries,
    "event_summary": format_event_summary,
    "event_title": format_event_title,
    "is_replayed": is_replayed,
    "saved_views": list_saved_views,
    "shield_kind": get_shield_kind,
}
