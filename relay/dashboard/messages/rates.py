"""The rates of messages as a chart: how many were sent, delivered, opened and clicked, by day."""

from datetime import date, timedelta
from typing import Any

from relay.dashboard.filters import format_count
from relay.dashboard.widgets import Figure
from relay.model.message import DayCounts, MessageCounts, add_up_counts, group_by_day

_CHART_HEIGHT = 100.0
_DAY_GAP = 0.2  # of a bar's width that stays empty


def build_rates(days: tuple[DayCounts, ...], first: date, span: int) -> dict[str, Any]:
    """Return what the chart of `span` days from `first` on shows: numbers, bars, the same as a sentence and a table.

    The table has the newest day first. A bar is its x, its width, a title, and its parts from the floor up.
    """
    daily = group_by_day(days)
    dates = [first + timedelta(days=number) for number in range(span)]
    counted = [daily.get(day, MessageCounts()) for day in dates]
    most = _round_up_scale(max((counts.sent for counts in counted), default=0))
    whole = add_up_counts(days)
    return {
        "span": f"last {format_count(span, 'day')}, by the day of sending (UTC)",
        "kpis": _build_rate_figures(whole, add_up_counts(days, "email")),
        "bars": [
            _build_day_bar(place, day, counts, (span, most))
            for place, (day, counts) in enumerate(zip(dates, counted, strict=True))
        ],
        "top": [f"{most * part // 4:,}" for part in (4, 3, 2, 1, 0)],
        "axis": [_format_short_day(dates[place]) for place in sorted({0, span // 2, span - 1})],
        "sentence": (
            f"Messages by day over the {format_count(span, 'day')} to {_format_short_day(dates[-1])}: "
            f"{format_count(whole.sent, 'message')} "
            f"sent, {whole.delivered:,} delivered, {whole.failed:,} failed, {whole.under_way:,} under way."
        ),
        "days": days[::-1],
    }


def _build_rate_figures(whole: MessageCounts, mail: MessageCounts) -> tuple[Figure, ...]:
    return (
        Figure(label="Sent", value=f"{whole.sent:,}", note=f"{whole.under_way:,} under way"),
        _build_rate_figure("Delivered", whole.delivery_rate, f"{whole.delivered:,} of {whole.sent:,}"),
        _build_rate_figure("Opened", mail.open_rate, f"{mail.opened:,} of {format_count(mail.delivered, 'mail')}"),
        _build_rate_figure("Clicked", mail.click_rate, f"{mail.clicked:,} of {format_count(mail.delivered, 'mail')}"),
        Figure(label="Failed", value=f"{whole.failed:,}", note=f"{whole.complained:,} complained"),
    )


def _build_rate_figure(name: str, rate: float | None, note: str) -> Figure:
    if rate is None:
        return Figure(label=name, value="–", note=note)  # noqa: RUF001 - a dash for no number
    return Figure(label=name, value=f"{rate * 100:.1f}", unit="%", note=note)


def _build_day_bar(
    place: int, day: date, counts: MessageCounts, scale: tuple[int, int]
) -> tuple[str, str, str, list[tuple[str, str, str]]]:
    span, most = scale
    width = 100.0 / span
    parts, top = [], _CHART_HEIGHT
    for name, count in (("ok", counts.delivered), ("way", counts.under_way), ("err", counts.failed)):
        height = count / most * _CHART_HEIGHT
        top -= height
        if count:
            parts.append((name, f"{top:.2f}", f"{height:.2f}"))
    title = f"{_format_short_day(day)}: {counts.sent:,} sent, {counts.delivered:,} delivered, {counts.failed:,} failed"
    return f"{(place + _DAY_GAP / 2) * width:.2f}", f"{width * (1 - _DAY_GAP):.2f}", title, parts


def _format_short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _round_up_scale(most: int) -> int:
    """Return a whole top for the axis that four steps divide."""
    step = 4
    while step < most:
        step *= 2
    return step
