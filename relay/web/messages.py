"""Messages in the JSON API: outgoing mail and SMS, what became of them, and how many arrived."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiohttp import web

from relay.errors import UsageError
from relay.model.message import (
    MAX_ID,
    HistoryEntry,
    Message,
    MessageFilter,
    MessageStatus,
    NewMessage,
    addresses,
    bare_id,
)
from relay.model.rates import OPENED_CHANNELS, DayCounts, MessageCounts, total
from relay.model.search import parse
from relay.model.text import printable
from relay.providers.codes import meaning
from relay.web import asked, shapes
from relay.web.answers import json_response
from relay.web.keys import Desk, desk

CHANNELS = ("email", "sms")
DAYS = 30  # of the rates where nobody says otherwise
_MOST_DAYS = 366
_KEYS = {"channel", "provider", "external_id", "embedded_id", "recipient", "subject", "sent_at", "status"}
# What an app may say of its own message; what comes after is the provider's to tell.
_BEGINNINGS = (MessageStatus.QUEUED, MessageStatus.SENT)


async def messages(request: web.Request) -> web.Response:
    """GET /api/messages?channel=&provider=&status=&recipient=&since=&event=&before=&limit=: newest first."""
    wanted = asked.limit(request)
    found = await desk(request).store.messages.page(
        filtered(request),
        before=asked.number(request, "before", None),
        limit=wanted,
    )
    last = found[-1].id if len(found) == wanted else None
    return json_response({"messages": [message_shape(item) for item in found], "next_before": last})


async def message(request: web.Request) -> web.Response:
    """GET /api/messages/{id}: with every status it was told, in the order received."""
    store = desk(request).store.messages
    item = await store.get(asked.identity(request, "message"))
    told = await store.history(item.id)
    return json_response(message_shape(item) | {"history": [history_shape(entry, item) for entry in told]})


async def register(request: web.Request) -> web.Response:
    """POST /api/messages: register one sent elsewhere; 201, or 200 for one that is there under its id already."""
    here = desk(request)
    given = await asked.json_body(request)
    asked.known(given, _KEYS)
    made = await here.store.messages.register(_new(given), here.clock.now())
    for moved in made.moved:
        here.bus.publish(moved)
    item = await here.store.messages.get(made.id)
    told = await here.store.messages.history(item.id)
    shape = message_shape(item) | {"history": [history_shape(entry, item) for entry in told]}
    return json_response(shape, 201 if made.created else 200)


async def rates(request: web.Request) -> web.Response:
    """GET /api/messages/rates?days=30: sent, delivered, opened and clicked, by day (UTC) and channel."""
    span = asked.number(request, "days", DAYS, _MOST_DAYS) or DAYS
    counted = await days(desk(request), span)
    channels = {channel: total(counted, channel) for channel in CHANNELS}
    return json_response(
        {
            "since": first_day(desk(request), span).isoformat(),
            "unmatched": await desk(request).store.messages.unmatched(),
            "totals": {channel: counts_shape(counts, channel) for channel, counts in channels.items()},
            "days": [
                {"day": day.day.isoformat(), "channel": day.channel} | counts_shape(day.counts, day.channel)
                for day in counted
            ],
        }
    )


async def days(here: Desk, span: int) -> tuple[DayCounts, ...]:
    """Return the counts of the last `span` days, today included."""
    return await here.store.messages.days(first_day(here, span))


def first_day(here: Desk, span: int) -> date:
    """Return the first of the last `span` days."""
    return here.clock.now().astimezone(UTC).date() - timedelta(days=span - 1)


def midnight(now: datetime) -> datetime:
    """Return when the day began, in UTC."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def filtered(request: web.Request) -> MessageFilter:
    """Return which messages the query string asks for. Raises UsageError naming what cannot be read."""
    channel = _one_of(request, "channel", CHANNELS)
    statuses = tuple(
        MessageStatus(_allowed("status", text, tuple(MessageStatus)))
        for part in request.query.getall("status", [])
        for text in part.split(",")
        if text
    )
    return MessageFilter(
        channel=channel,
        provider=request.query.get("provider") or None,
        statuses=statuses,
        recipient=request.query.get("recipient") or None,
        since=_since(request),
        event=asked.number(request, "event", None),
    )


def message_shape(item: Message) -> shapes.Json:
    """Return a message as it stands in lists."""
    return shapes.message(item) | {"code_meaning": _meaning(item.provider, item.code)}


def history_shape(entry: HistoryEntry, item: Message) -> shapes.Json:
    """Return one status of a message's history."""
    return {
        "status": entry.status.value,
        "at": entry.at and shapes.moment(entry.at),
        "received_at": shapes.moment(entry.received_at),
        "code": entry.code,
        "code_meaning": _meaning(item.provider, entry.code),
        "detail": entry.detail,
        "event": entry.event_id,
        "matched_by": entry.way and entry.way.value,
    }


def counts_shape(counts: MessageCounts, channel: str) -> shapes.Json:
    """Return counts with the rates they make.

    A rate is null where there is nothing to divide by, and where a channel does not tell.
    """
    tells = channel in OPENED_CHANNELS
    return {
        "sent": counts.sent,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "under_way": counts.under_way,
        "opened": counts.opened,
        "clicked": counts.clicked,
        "complained": counts.complained,
        "delivery_rate": counts.delivery_rate,
        "open_rate": counts.open_rate if tells else None,
        "click_rate": counts.click_rate if tells else None,
    }


def _new(given: Mapping[str, Any]) -> NewMessage:
    channel = asked.text(given, "channel")
    if channel not in CHANNELS:
        raise UsageError("channel must be email or sms", hint='send {"channel": "sms", …}')
    recipient = _required(given, "recipient", 500)
    if channel == "email" and not all("@" in address for address in addresses(recipient)):
        raise UsageError("recipient is not a mail address", hint="send one such as ada@example.com")
    status = asked.text(given, "status") or MessageStatus.SENT.value
    return NewMessage(
        channel=channel,
        provider=_required(given, "provider", 64).lower(),
        external_id=_id(given, "external_id"),
        embedded_id=_id(given, "embedded_id"),
        recipient=recipient,
        subject=printable(asked.text(given, "subject") or "", 500),
        status=MessageStatus(_allowed("status", status, _BEGINNINGS)),
        sent_at=_moment(asked.text(given, "sent_at")),
    )


def _required(given: Mapping[str, Any], name: str, most: int) -> str:
    value = (asked.text(given, name) or "").strip()
    if not value:
        raise UsageError(f"{name} is missing", hint="send channel, provider and recipient")
    if len(value) > most:
        raise UsageError(f"{name} is limited to {most} characters", hint="shorten it")
    return printable(value)


def _id(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    text = str(value) if type(value) is int else (asked.text(given, name) or "").strip()
    if len(bare_id(text)) > MAX_ID:
        raise UsageError(f"{name} is limited to {MAX_ID} characters", hint="send the provider's own id")
    return printable(text)


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"sent_at is not a time: {printable(text, 40)}", hint="send one such as 2026-01-31T12:00:00Z"
        ) from None


def _since(request: web.Request) -> datetime | None:
    text = request.query.get("since")
    if not text:
        return None
    query = parse(f'after:"{text}"', desk(request).clock.now())
    if query.problems or len(query.terms) != 1 or query.terms[0].moment is None:
        raise UsageError("since is neither an age nor a time", hint="write since=2h or since=2026-01-31")
    return query.terms[0].moment


def _one_of(request: web.Request, name: str, allowed: tuple[str, ...]) -> str | None:
    text = request.query.get(name)
    return _allowed(name, text, allowed) if text else None


def _allowed(name: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise UsageError(f"{name} cannot be {printable(text, 40)!r}", hint=f"use {', '.join(allowed)}")
    return text


def _meaning(provider: str, code: str) -> shapes.Json | None:
    known = meaning(provider, code)
    return {"words": known.words, "source": known.source} if known else None
