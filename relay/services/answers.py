"""Answers from the store alone, as the API's JSON: for the API, and for commands without a running relay."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from relay.model.clock import format_time
from relay.model.delivery import DeliveryState
from relay.model.event import CapturedEvent, EventOutcome, Verdict
from relay.model.event_json import (
    Json,
    serialize_attempt,
    serialize_counts,
    serialize_delivery,
    serialize_event_content,
    serialize_event_row,
    serialize_history_entry,
    serialize_message,
)
from relay.model.message import CHANNELS, MESSAGE_RATE_DAYS, add_up_counts, find_first_day
from relay.model.parameters import check_choice, parse_limit, parse_message_filter, parse_number
from relay.model.search import parse_query_strictly
from relay.store.deliveries import count_states

if TYPE_CHECKING:  # a command opens it only after it knows that no relay runs
    from relay.store import Store

_SEARCH_SECONDS = 1.0  # that a search may take for a page
_MAX_DAYS = 366  # of rates

Query = Mapping[str, str]


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


def find_next_before(found: Sequence[_Numbered], limit: int) -> int | None:
    """Return the cursor of the next page; None after a page that is not full."""
    return found[-1].id if len(found) == limit else None


async def list_events(store: "Store", query: Query, now: datetime) -> Json:
    """Return a page of matching events, newest first. Raises UsageError."""
    page = await store.events.page(
        parse_query_strictly(query.get("q", ""), now),
        limit=parse_limit(query),
        before=parse_number(query, "before", None),
        after=parse_number(query, "after", None),
        patience=_SEARCH_SECONDS,
    )
    deliveries = await store.deliveries.of_events(row.id for row in page.rows)
    rows = [serialize_event_row(row, count_states(deliveries[row.id])) for row in page.rows]
    answer: Json = {"events": rows, "next_before": page.next_before}
    return answer | ({"searched_to": format_time(page.searched_to)} if page.searched_to is not None else {})


async def load_event(
    store: "Store", id_: int, find_hints: Callable[[CapturedEvent], Awaitable[list[Json] | None]]
) -> Json:
    """Return a complete event. Raises NotFoundError."""
    event = await store.events.get(id_)
    made = await store.deliveries.of_event(id_)
    serialize = partial(serialize_event_content, event, await find_hints(event), [item.id for item in made])
    content = await asyncio.to_thread(serialize) if event.capture.payload.is_heavy else serialize()
    return serialize_event_row(event.row, count_states(made)) | content


def needs_diagnosis(event: CapturedEvent) -> bool:
    """Return whether a diagnosis is useful: events that verified or need not be verified have none."""
    if event.row.reason in ("handshake", "loop", "recovered"):
        return event.row.reason == "handshake"
    refused = event.row.outcome is EventOutcome.REJECTED
    return event.row.verdict in (Verdict.INVALID, Verdict.UNCHECKED) or (refused and event.row.type == "handshake")


async def list_deliveries(store: "Store", query: Query) -> Json:
    """Return a page of deliveries, newest first. Raises UsageError."""
    limit = parse_limit(query)
    found = await store.deliveries.page(
        state=check_choice("state", state, tuple(DeliveryState)) if (state := query.get("state")) else None,
        event=parse_number(query, "event", None),
        target=query.get("target") or None,
        batch=parse_number(query, "batch", None),
        before=parse_number(query, "before", None),
        limit=limit,
    )
    return {"deliveries": list(map(serialize_delivery, found)), "next_before": find_next_before(found, limit)}


async def load_delivery(store: "Store", id_: int) -> Json:
    """Return a delivery with every attempt. Raises NotFoundError."""
    delivery = await store.deliveries.get(id_)
    attempts = await store.deliveries.attempts(delivery.id)
    return serialize_delivery(delivery) | {"attempts": list(map(serialize_attempt, attempts))}


async def list_messages(store: "Store", query: Query, statuses: Iterable[str], now: datetime) -> Json:
    """Return a page of the messages with one of `statuses` ("" for any), newest first. Raises UsageError."""
    limit = parse_limit(query)
    criteria = parse_message_filter(query, statuses, now)
    found = await store.messages.page(criteria, before=parse_number(query, "before", None), limit=limit)
    messages = [serialize_message(message, _explain_code(message.provider, message.code)) for message in found]
    return {"messages": messages, "next_before": find_next_before(found, limit)}


async def load_message(store: "Store", id_: int) -> Json:
    """Return a message with all its reported statuses. Raises NotFoundError."""
    message = await store.messages.get(id_)
    history = [
        serialize_history_entry(entry, _explain_code(message.provider, entry.code))
        for entry in await store.messages.history(id_)
    ]
    return serialize_message(message, _explain_code(message.provider, message.code)) | {"history": history}


def _explain_code(provider: str, code: str) -> Json | None:
    if not code:
        return None
    from relay.providers.message_status import explain_code  # noqa: PLC0415 - most messages have no code

    meaning = explain_code(provider, code)
    return {"words": meaning.words, "source": meaning.source} if meaning else None


async def load_store_status(store: "Store") -> Json:
    """Return the part of the status about the store."""
    outage, counts, used = await store.writer.look(), await store.events.counts(), await store.pruning.usage()
    return {
        "store": {
            "state": "failing" if outage else "ok",
            "detail": outage.message if outage else "",
            "hint": outage.hint if outage else "",
        },
        "events": {"total": counts.events, "rejected": counts.rejected, "failing": counts.failing},
        "retention": {"used": {"events": used.events, "size": used.used}, "notice": None},
    }


async def load_message_rates(store: "Store", query: Query, now: datetime) -> Json:
    """Return the counts sent, delivered, opened and clicked, by day (UTC) and channel. Raises UsageError."""
    since = find_first_day(now, parse_number(query, "days", MESSAGE_RATE_DAYS, _MAX_DAYS) or MESSAGE_RATE_DAYS)
    days = await store.messages.days(since)
    return {
        "since": since.isoformat(),
        "unmatched": await store.messages.unmatched(),
        "totals": {channel: serialize_counts(add_up_counts(days, channel), channel) for channel in CHANNELS},
        "days": [
            {"day": day.day.isoformat(), "channel": day.channel} | serialize_counts(day.counts, day.channel)
            for day in days
        ],
    }
