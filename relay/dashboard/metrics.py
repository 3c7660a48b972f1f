"""The Metrics page: charts of the numbers of /api/stats."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from relay.dashboard.filters import TIME_ZONE, make_avatar, source_avatar
from relay.dashboard.responses import render_page
from relay.http.params import parse_window
from relay.services.relay import RunningRelay
from relay.services.stats import WINDOWS, Stats, StatsSlot, StatsWindow, load_queues, load_stats

_BAR_GAP = 0.28  # of a bar's width
_ROUND_STEPS = (1, 2, 2.5, 4, 5, 8, 10)
_GRID_LINES = 4  # grid lines above the axis


ChartBar = tuple[str, str, str, str, str]  # its class, x, y, width and height
_MAX_SLOW = 6
_STEP_NAMES = {1: "minute", 15: "15 minutes", 120: "2 hours"}


def round_up_scale(values: Sequence[float]) -> float:
    """Return the round number at the end of a scale, at or above the maximum value."""
    most = max(values, default=0.0)
    if most <= 0:
        return float(_GRID_LINES)
    power = 10.0 ** (len(str(int(most))) - 1) if most >= 1 else 0.001
    while power * 10 < most:
        power *= 10
    return next(power * nice for nice in _ROUND_STEPS if power * nice >= most)


def build_scale_labels(top: float, unit: str = "") -> tuple[str, ...]:
    """Return the labels of a scale from the top down; only the first has the unit."""
    steps = [top * (_GRID_LINES - place) / _GRID_LINES for place in range(_GRID_LINES + 1)]
    return tuple(f"{step:,.4g}{unit if place == 0 else ''}" for place, step in enumerate(steps))


def build_bars(columns: Sequence[Sequence[tuple[str, int]]], top: float) -> tuple[ChartBar, ...]:
    """Return stacked bars: each column has its parts from the bottom up, as class and number."""
    pitch = 100 / max(len(columns), 1)
    made: list[ChartBar] = []
    for place, column in enumerate(columns):
        floor = 100.0
        for kind, number in column:
            height = number / top * 100
            if number:
                numbers = (place * pitch, floor - height, pitch * (1 - _BAR_GAP), height)
                x, y, width, tall = (f"{number:.2f}" for number in numbers)
                made.append((kind, x, y, width, tall))
            floor -= height
    return tuple(made)


def build_line(values: Sequence[float | None], top: float, height: float = 100) -> str:
    """Return the path of a line through evenly spaced values; it has gaps for missing ones."""
    last = max(len(values) - 1, 1)
    pieces: list[str] = []
    pen = "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x, y = place / last * 100, height - min(value / top, 1) * height
        pieces.append(f"{pen}{x:.2f} {y:.2f}")
        alone = pen == "M" and (place + 1 == len(values) or values[place + 1] is None)
        if alone:  # a point, drawn as a very short line with round ends
            pieces.append(f"L{x + 0.01:.2f} {y:.2f}")
        pen = "L"
    return "".join(pieces)


def build_sparkline(values: Sequence[float]) -> str:
    """Return the path of a sparkline, 24 high."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = high - low or 1.0
    return build_line([value - low for value in values], span, 22)


async def show_metrics(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /stats?window=: the window in charts; an htmx request gets the part that changes."""
    window, known = parse_window(request.query), relay.sources.by_name
    found = await load_stats(relay, window)
    slowest = await relay.store.deliveries.slowest(found.since, _MAX_SLOW)
    events = {row.id: row for row in await relay.store.events.rows({one.event_id for one in slowest})}
    return await render_page(
        request,
        "metrics/page.html",
        "Metrics",
        "stats",
        window=window,
        windows=WINDOWS.values(),
        step=_STEP_NAMES[window.step],
        stats=found,
        sparks={
            "events": build_sparkline([slot.events for slot in found.slots]),
            "invalid": build_sparkline([-slot.invalid for slot in found.slots]),
            "failed": build_sparkline([-slot.failed for slot in found.slots]),
            "speed": build_sparkline([slot.speed.p95 or 0.0 for slot in found.slots]),
        },
        queues=await load_queues(relay),
        has_down_targets=bool(relay.state.down),
        times=_format_time_axis(found.slots, window),
        volume=_build_volume_plot(found),
        latency=_build_latency_plot(found),
        avatars={
            one.name: source_avatar(source) if (source := known.get(one.name)) else make_avatar(one.name, one.name)
            for one in found.sources
        },
        addresses=relay.target_addresses,
        down=[target.name for target in found.targets if relay.state.state_of(target.name)[0] != "up"],
        slow=[(one, events[one.event_id]) for one in slowest if one.event_id in events],
    )


def _build_volume_plot(found: Stats) -> dict[str, Any]:
    columns = [
        (
            ("b-ok", max(slot.events - slot.rejected - slot.failed, 0)),
            ("b-held", slot.rejected),
            ("b-err", min(slot.failed, slot.events - slot.rejected) if slot.events else slot.failed),
        )
        for slot in found.slots
    ]
    top = round_up_scale([sum(number for _, number in column) for column in columns])
    return {"scale": build_scale_labels(top), "bars": build_bars(columns, top), "lines": ()}


def _build_latency_plot(found: Stats) -> dict[str, Any]:
    values = {
        kind: [None if (one := getattr(slot.speed, kind)) is None else one * 1000 for slot in found.slots]
        for kind in ("p99", "p95", "p50")
    }
    top = round_up_scale([one for line in values.values() for one in line if one is not None])
    lines = [(kind, build_line(line, top)) for kind, line in values.items()]
    return {"scale": build_scale_labels(top, " ms"), "bars": (), "lines": lines}


def _format_time_axis(slots: Sequence[StatsSlot], window: StatsWindow) -> tuple[str, ...]:
    places = (round((len(slots) - 1) * part / 5) for part in range(6))
    form = "%a %d" if window.minutes > 1440 else "%H:%M"
    return tuple(slots[place].at.astimezone(TIME_ZONE.get()).strftime(form) for place in places)
