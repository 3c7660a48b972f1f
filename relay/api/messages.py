"""Messages in the JSON API: outgoing mail and SMS, what became of them, and how many arrived."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from relay.api import serializers
from relay.errors import UsageError
from relay.http import params
from relay.http.context import get_relay
from relay.http.responses import json_response
from relay.model.message import (
    CHANNELS,
    MAX_ID,
    OPENED_CHANNELS,
    HistoryEntry,
    Message,
    MessageCounts,
    MessageStatus,
    NewMessage,
    add_up_counts,
    normalize_id,
    parse_addresses,
)
from relay.model.text import escape_unprintable
from relay.providers.message_status import explain_code
from relay.services.stats import MESSAGE_RATE_DAYS, find_first_day, load_day_counts

_MAX_DAYS = 366
_REQUEST_KEYS = {"channel", "provider", "external_id", "embedded_id", "recipient", "subject", "sent_at", "status"}
# What an app may say of its own message; what comes after is the provider's to tell.
_INITIAL_STATUSES = (MessageStatus.QUEUED, MessageStatus.SENT)


async def list_messages(request: web.Request) -> web.Response:
    """GET /api/messages?channel=&provider=&status=&recipient=&since=&event=&before=&limit=: newest first."""
    wanted = params.parse_limit(request)
    found = await get_relay(request).store.messages.page(
        params.parse_message_filter(request), before=params.parse_number(request, "before", None), limit=wanted
    )
    last = found[-1].id if len(found) == wanted else None
    return json_response({"messages": [serialize_message_row(item) for item in found], "next_before": last})


async def get_message(request: web.Request) -> web.Response:
    """GET /api/messages/{id}: with every status it was told, in the order received."""
    store = get_relay(request).store.messages
    item = await store.get(params.parse_id(request, "message"))
    told = await store.history(item.id)
    return json_response(
        serialize_message_row(item) | {"history": [serialize_history_entry(entry, item) for entry in told]}
    )


async def register_message(request: web.Request) -> web.Response:
    """POST /api/messages: register one sent elsewhere; 201, or 200 for one that is there under its id already."""
    relay = get_relay(request)
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, _REQUEST_KEYS)
    made = await relay.store.messages.register(_parse_new_message(given), relay.clock.now())
    for moved in made.moved:
        relay.bus.publish(moved)
    item = await relay.store.messages.get(made.id)
    told = await relay.store.messages.history(item.id)
    shape = serialize_message_row(item) | {"history": [serialize_history_entry(entry, item) for entry in told]}
    return json_response(shape, 201 if made.created else 200)


async def get_rates(request: web.Request) -> web.Response:
    """GET /api/messages/rates?days=30: sent, delivered, opened and clicked, by day (UTC) and channel."""
    span = params.parse_number(request, "days", MESSAGE_RATE_DAYS, _MAX_DAYS) or MESSAGE_RATE_DAYS
    counted = await load_day_counts(get_relay(request), span)
    channels = {channel: add_up_counts(counted, channel) for channel in CHANNELS}
    return json_response(
        {
            "since": find_first_day(get_relay(request), span).isoformat(),
            "unmatched": await get_relay(request).store.messages.unmatched(),
            "totals": {channel: serialize_counts(counts, channel) for channel, counts in channels.items()},
            "days": [
                {"day": day.day.isoformat(), "channel": day.channel} | serialize_counts(day.counts, day.channel)
                for day in counted
            ],
        }
    )


def serialize_message_row(item: Message) -> serializers.Json:
    """Return a message as it stands in lists."""
    return serializers.serialize_message(item) | {"code_meaning": _find_code_meaning(item.provider, item.code)}


def serialize_history_entry(entry: HistoryEntry, item: Message) -> serializers.Json:
    """Return one status of a message's history."""
    return {
        "status": entry.status.value,
        "at": entry.at and serializers.format_time(entry.at),
        "received_at": serializers.format_time(entry.received_at),
        "code": entry.code,
        "code_meaning": _find_code_meaning(item.provider, entry.code),
        "detail": entry.detail,
        "event": entry.event_id,
        "matched_by": entry.way and entry.way.value,
    }


def serialize_counts(counts: MessageCounts, channel: str) -> serializers.Json:
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


def _parse_new_message(given: Mapping[str, Any]) -> NewMessage:
    channel = params.get_text(given, "channel")
    if channel not in CHANNELS:
        raise UsageError("channel must be email or sms", hint='send {"channel": "sms", …}')
    recipient = _get_required_text(given, "recipient", 500)
    if channel == "email" and not all("@" in address for address in parse_addresses(recipient)):
        raise UsageError("recipient is not a mail address", hint="send one such as ada@example.com")
    status = params.get_text(given, "status") or MessageStatus.SENT.value
    return NewMessage(
        channel=channel,
        provider=_get_required_text(given, "provider", 64).lower(),
        external_id=_parse_message_id(given, "external_id"),
        embedded_id=_parse_message_id(given, "embedded_id"),
        recipient=recipient,
        subject=escape_unprintable(params.get_text(given, "subject") or "", 500),
        status=MessageStatus(params.check_choice("status", status, _INITIAL_STATUSES)),
        sent_at=_parse_time(params.get_text(given, "sent_at")),
    )


def _get_required_text(given: Mapping[str, Any], name: str, most: int) -> str:
    value = (params.get_text(given, name) or "").strip()
    if not value:
        raise UsageError(f"{name} is missing", hint="send channel, provider and recipient")
    if len(value) > most:
        raise UsageError(f"{name} is limited to {most} characters", hint="shorten it")
    return escape_unprintable(value)


def _parse_message_id(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    text = str(value) if type(value) is int else (params.get_text(given, name) or "").strip()
    if len(normalize_id(text)) > MAX_ID:
        raise UsageError(f"{name} is limited to {MAX_ID} characters", hint="send the provider's own id")
    return escape_unprintable(text)


def _parse_time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"sent_at is not a time: {escape_unprintable(text, 40)}", hint="send one such as 2026-01-31T12:00:00Z"
        ) from None


def _find_code_meaning(provider: str, code: str) -> serializers.Json | None:
    known = explain_code(provider, code)
    return {"words": known.words, "source": known.source} if known else None
