"""How `relay start` tells what happens: lines for a person, objects for a program."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from relay.api import serializers
from relay.cli.output import (
    Part,
    Terminal,
    format_clock_time,
    format_count,
    format_delivery,
    format_duration,
    format_event,
    pad_part,
    strip_style,
)
from relay.model.delivery import Delivery
from relay.model.event import EventRow
from relay.model.signals import RequestRefused, TunnelChanged
from relay.store.deliveries import count_states

_MAX_WIDTHS = (16, 34, 8, 30)  # source, type, number, verdict: columns grow no further
_MAX_KINDS = 1000  # of refusals counted apart
_QUIET_TIME = 10.0  # seconds in which refusals of one kind are counted rather than told

Totals = dict[str, Any]


class RefusalThrottle:
    """Hears of refusals and lets one of a kind through, then only counts for a while."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._heard: dict[tuple[str, int], tuple[float, int]] = {}

    def hear(self, refused: RequestRefused) -> int | None:
        """Return how many of its kind were only counted since the last one told; None to count this one too."""
        key, now = (refused.source, refused.status), self._monotonic()
        since, count = self._heard.get(key, (-_QUIET_TIME, 0))
        if now - since < _QUIET_TIME:
            self._heard[key] = (since, count + 1)
            return None
        if len(self._heard) > _MAX_KINDS:
            self._heard.clear()
        self._heard[key] = (now, 0)
        return count


class LineReporter:
    """Tells a person, one line each."""

    joins = True

    def __init__(self, terminal: Terminal, monotonic: Callable[[], float]) -> None:
        self._terminal = terminal
        self._bursts = RefusalThrottle(monotonic)
        self._widths = [6, 12, 3, 8]

    def event(self, row: EventRow, made: Sequence[Delivery], told: Sequence[Delivery]) -> None:
        """Tell an event with its deliveries; those still on their way say so."""
        plain = serializers.serialize_event_row(row, count_states(made))
        columns = self._columns(format_event(plain))
        parts: list[Part] = [format_clock_time(plain["received_at"]), "  ", *columns]
        known = {delivery.id for delivery in told}
        for delivery in made:
            if delivery.id in known or not delivery.attempts:
                parts += ["  ", *format_delivery(serializers.serialize_delivery(delivery))]
        self._terminal.line(*parts)

    def delivery(self, row: EventRow, delivery: Delivery) -> None:
        """Tell how a delivery went."""
        source, type_, number, *_ = format_event(serializers.serialize_event_row(row, count_states(())))
        columns = self._columns([source, type_, number, (delivery.reason.value, "dim")])
        now = datetime.now(UTC).isoformat()
        self._terminal.line(
            format_clock_time(now), "  ", *columns, "  ", *format_delivery(serializers.serialize_delivery(delivery))
        )

    def tunnel(self, change: TunnelChanged) -> None:
        """Tell what became of the tunnel."""
        style = {"up": "green", "down": "red"}.get(change.state, "yellow")
        told = "  ".join(filter(None, (change.public_url, change.detail)))
        self._terminal.say(("tunnel ", "dim"), (change.state, style), "  ", told)

    def flood(self, count: int, last: int) -> None:
        """Tell how many events came too fast to be read."""
        self._terminal.line((f"and {format_count(count, 'event')} more, up to #{last}", "dim"))

    def refused(self, refused: RequestRefused) -> None:
        """Tell of a refusal, and of those like it only now and then."""
        before = self._bursts.hear(refused)
        if before is None:
            return
        more = f", and {before} before it" if before else ""
        self._terminal.say(f"{_describe_refusal(refused)}{more}")

    def notice(self, text: str) -> None:
        """Tell what a person should know."""
        self._terminal.say(("notice: ", "yellow"), text)

    def summary(self, tally: Totals) -> None:
        """Tell how it was, at the end."""
        parts = [f"stopped after {format_duration(tally['seconds'])}: {format_count(tally['events'], 'event')}"]
        if tally["succeeded"]:
            parts.append(f"{format_count(tally['succeeded'], 'delivery')} reached the target")
        parts += [f"{tally['failed']} failed"] if tally["failed"] else []
        parts += [f"{tally['waiting']} wait for the next start"] if tally["waiting"] else []
        self._terminal.line(", ".join(parts))

    def _columns(self, parts: Sequence[Part]) -> list[Part]:
        columns: list[Part] = []
        for place, part in enumerate(parts):
            wide = min(len(strip_style(part)), _MAX_WIDTHS[place])
            self._widths[place] = max(self._widths[place], wide)
            columns.append(pad_part(part, self._widths[place] + 2))
        return columns


class JsonReporter:
    """Tells a program, one JSON object a line, each with its `kind`."""

    joins = False

    def __init__(self, terminal: Terminal, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._bursts = RefusalThrottle(monotonic)

    def event(self, row: EventRow, made: Sequence[Delivery], told: Sequence[Delivery]) -> None:
        """Tell an event."""
        del told
        self._tell("event", serializers.serialize_event_row(row, count_states(made)))

    def delivery(self, row: EventRow, delivery: Delivery) -> None:
        """Tell how a delivery went."""
        del row
        self._tell("delivery", serializers.serialize_delivery(delivery))

    def tunnel(self, change: TunnelChanged) -> None:
        """Tell what became of the tunnel."""
        self._tell("tunnel", {"state": change.state, "public_url": change.public_url, "detail": change.detail})

    def flood(self, count: int, last: int) -> None:
        """Tell nothing: a program is told every event."""

    def refused(self, refused: RequestRefused) -> None:
        """Tell of a refusal, and how many of its kind there were that were not told."""
        before = self._bursts.hear(refused)
        if before is not None:
            text = _describe_refusal(refused)
            about = {"source": refused.source, "status": refused.status, "remote": refused.remote}
            self._tell("notice", {"text": text} | about | {"before": before})

    def notice(self, text: str) -> None:
        """Tell what a person should know."""
        self._tell("notice", {"text": text})

    def summary(self, tally: Totals) -> None:
        """Tell how it was, at the end."""
        self._tell("summary", tally)

    def ready(self, facts: Totals) -> None:
        """Tell that relay listens: the first line of all."""
        self._tell("ready", facts)

    def _tell(self, kind: str, value: Totals) -> None:
        self._terminal.json({"kind": kind} | value)


def _describe_refusal(refused: RequestRefused) -> str:
    source = f" for {refused.source}" if refused.source else ""
    return f"turned away with {refused.status}{source}: {refused.detail}"
