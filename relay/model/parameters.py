"""Strict parsing of the API's query parameters; every error names its parameter."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from relay.errors import UsageError
from relay.model.message import CHANNELS, MessageFilter, MessageStatus
from relay.model.search import parse_moment
from relay.model.text import escape_unprintable

MAX_LIMIT = 500


def parse_number(query: Mapping[str, str], name: str, default: int | None, most: int = 2**62) -> int | None:
    """Return a number of a query string. Raises UsageError naming the parameter."""
    text = query.get(name)
    if text is None:
        return default
    if not (number := parse_digits(text)):
        raise UsageError(f"{name} is not a positive number", hint=f"write {name}=50")
    return min(number, most)


def parse_whole_number(values: Mapping[str, str], name: str) -> int | None:
    """Return a number of a query string or of headers, 0 included, or None for anything else."""
    return parse_digits(values.get(name, ""))


def parse_digits(text: str) -> int | None:
    """Return the number that a text of at most 18 digits is, or None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def parse_limit(query: Mapping[str, str]) -> int:
    """Return the maximum number of rows to list."""
    return parse_number(query, "limit", None, MAX_LIMIT) or 50


def parse_message_filter(query: Mapping[str, str], statuses: Iterable[str], now: datetime) -> MessageFilter:
    """Return the message filter of a query string, for each of its `statuses`. Raises UsageError."""
    channel, since = query.get("channel"), query.get("since")
    return MessageFilter(
        channel=check_choice("channel", channel, CHANNELS) if channel else None,
        provider=query.get("provider", "").lower() or None,
        statuses=tuple(
            MessageStatus(check_choice("status", text, tuple(MessageStatus)))
            for part in statuses
            for text in part.split(",")
            if text
        ),
        recipient=query.get("recipient") or None,
        since=_parse_since(since, now) if since else None,
        event=parse_number(query, "event", None),
    )


def _parse_since(text: str, now: datetime) -> datetime:
    since = parse_moment(text, now)
    if since is None:
        raise UsageError("since is neither an age nor a time", hint="write since=2h or since=2026-01-31")
    return since


def check_choice(name: str, text: str, allowed: tuple[str, ...]) -> str:
    """Return a word if it is allowed. Raises UsageError that lists the allowed ones."""
    if text not in allowed:
        raise UsageError(f"{name} cannot be {escape_unprintable(text, 40)!r}", hint=f"use {', '.join(allowed)}")
    return text
