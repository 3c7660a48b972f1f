"""How `relay start` tells what happens: lines for a person, objects for a program."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from relay.cli.terminal import Part, Terminal, padded, text_of
from relay.cli.words import clock_time, counted, delivery_parts, duration, event_parts
from relay.model.delivery import Delivery
from relay.model.event import EventRow
from relay.model.signals import Refused, TunnelChanged
from relay.store.deliveries import count_states
from relay.web import shapes

_WIDEST = (16, 34, 8, 30)  # source, type, number, verdict: columns grow no further
_KINDS = 1000  # of refusals counted apart
_QUIET = 10.0  # seconds in which refusals of one kind are counted rather than told

Tally = dict[str, Any]


class Bursts:
    """Hears of refusals and lets one of a kind through, then only counts for a while."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._heard: dict[tuple[str, int], tuple[float, int]] = {}

    def hear(self, refused: Refused) -> int | None:
        """Return how many of its kind were only counted since the last one told; None to count this one too."""
        key, now = (refused.source, refused.status), self._monotonic()
        since, count = self._heard.get(key, (-_QUIET, 0))
        if now - since < _QUIET:
            self._heard[key] = (since, count + 1)
            return None
        if len(self._heard) > _KINDS:
            self._heard.clear()
        self._heard[key] = (now, 0)
        return count


class Lines:
    """Tells a person, one line each."""

    joins = True

    def __init__(self, terminal: Terminal, monotonic: Callable[[], float]) -> None:
        self._terminal = terminal
        self._bursts = Bursts(monotonic)
        self._widths = [6, 12, 3, 8]

    def event(self, row: EventRow, made: Sequence[Delivery], told: Sequence[Delivery]) -> None:
        """Tell an event with its deliveries; those still on their way say so."""
        plain = shapes.event_row(row, count_states(made))
        columns = self._columns(event_parts(plain))
        parts: list[Part] = [clock_time(plain["received_at"]), "  ", *columns]
        known = {delivery.id for delivery in told}
        for delivery in made:
            if delivery.id in known or not delivery.attempts:
                parts += ["  ", *delivery_parts(shapes.delivery(delivery))]
        self._terminal.line(*parts)

    def delivery(self, row: EventRow, delivery: Delivery) -> None:
        """Tell how a delivery went."""
        source, type_, number, *_ = event_parts(shapes.event_row(row, count_states(())))
        columns = self._columns([source, type_, number, (delivery.reason.value, "dim")])
        now = datetime.now(UTC).isoformat()
        self._terminal.line(clock_time(now), "  ", *columns, "  ", *delivery_parts(shapes.delivery(delivery)))

    def tunnel(self, change: TunnelChanged) -> None:
        """Tell what became of the tunnel."""
        style = {"up": "green", "down": "red"}.get(change.state, "yellow")
        told = "  ".join(filter(None, (change.public_url, change.detail)))
        self._terminal.say(("tunnel ", "dim"), (change.state, style), "  ", told)

    def flood(self, count: int, last: int) -> None:
        """Tell how many events came too fast to be read."""
        self._terminal.line((f"and {counted(count, 'event')} more, up to #{last}", "dim"))

    def refused(self, refused: Refused) -> None:
        """Tell of a refusal, and of those like it only now and then."""
        before = self._bursts.hear(refused)
        if before is None:
            return
        more = f", and {before} before it" if before else ""
        self._terminal.say(f"{_refusal(refused)}{more}")

    def notice(self, text: str) -> None:
        """Tell what a person should know."""
        self._terminal.say(("notice: ", "yellow"), text)

    def summary(self, tally: Tally) -> None:
        """Tell how it was, at the end."""
        parts = [f"stopped after {duration(tally['seconds'])}: {counted(tally['events'], 'event')}"]
        if tally["succeeded"]:
            parts.append(f"{counted(tally['succeeded'], 'delivery')} reached the target")
        parts += [f"{tally['failed']} failed"] if tally["failed"] else []
        parts += [f"{tally['waiting']} wait for the next start"] if tally["waiting"] else []
        self._terminal.line(", ".join(parts))

    def _columns(self, parts: Sequence[Part]) -> list[Part]:
        columns: list[Part] = []
        for place, part in enumerate(parts):
            wide = min(len(text_of(part)), _WIDEST[place])
            self._widths[place] = max(self._widths[place], wide)
            columns.append(padded(part, self._widths[place] + 2))
        return columns


class Objects:
    """Tells a program, one JSON object a line, each with its `kind`."""

    joins = False

    def __init__(self, terminal: Terminal, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._bursts = Bursts(monotonic)

    def event(self, row: EventRow, made: Sequence[Delivery], told: Sequence[Delivery]) -> None:
        """Tell an event."""
        del told
        self._tell("event", shapes.event_row(row, count_states(made)))

    def delivery(self, row: EventRow, delivery: Delivery) -> None:
        """Tell how a delivery went."""
        del row
        self._tell("delivery", shapes.delivery(delivery))

    def tunnel(self, change: TunnelChanged) -> None:
        """Tell what became of the tunnel."""
        self._tell(
            "tunnel", {"state": change.state, "public_url": change.public_url, "detail": change.detail}
        )

    def flood(self, count: int, last: int) -> None:
        """Tell nothing: a program is told every event."""

    def refused(self, refused: Refused) -> None:
        """Tell of a refusal, and how many of its kind there were that were not told."""
        before = self._bursts.hear(refused)
        if before is not None:
            text = _refusal(refused)
            about = {"source": refused.source, "status": refused.status, "remote": refused.remote}
            self._tell("notice", {"text": text} | about | {"before": before})

    def notice(self, text: str) -> None:
        """Tell what a person should know."""
        self._tell("notice", {"text": text})

    def summary(self, tally: Tally) -> None:
        """Tell how it was, at the end."""
        self._tell("summary", tally)

    def ready(self, facts: Tally) -> None:
        """Tell that relay listens: the first line of all."""
        self._tell("ready", facts)

    def _tell(self, kind: str, value: Tally) -> None:
        self._terminal.json({"kind": kind} | value)


def _refusal(refused: Refused) -> str:
    source = f" for {refused.source}" if refused.source else ""
    return f"turned away with {refused.status}{source}: {refused.detail}"
