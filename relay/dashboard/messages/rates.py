"""The rates of messages as a chart: how many were sent, delivered, opened and clicked, by day."""

from dataclasses import dataclass
from datetime import date, timedelta

from relay.dashboard.filters import format_count
from relay.model.message import DayCounts, MessageCounts, add_up_counts, group_by_day

_CHART_HEIGHT = 100.0
_DAY_GAP = 0.2  # of a bar's width that stays empty


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFigure:
    """One number over the chart, with its unit and what it is of."""

    name: str
    value: str
    unit: str = ""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """One day of the chart, in hundredths of its size: a stack from the bottom up."""

    x: str
    width: str
    title: str
    parts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesView:
    """The rates of some days: numbers, bars, the same as a sentence, and as a table with the newest day first."""

    span: str
    kpis: tuple[RateFigure, ...]
    bars: tuple[DayBar, ...]
    top: tuple[str, ...]
    axis: tuple[str, ...]
    sentence: str
    days: tuple[DayCounts, ...]


def build_rates(days: tuple[DayCounts, ...], first: date, span: int) -> RatesView:
    """Return what the chart of `span` days from `first` on shows."""
    daily = group_by_day(days)
    dates = [first + timedelta(days=number) for number in range(span)]
    counted = [daily.get(day, MessageCounts()) for day in dates]
    most = _round_up_scale(max((counts.sent for counts in counted), default=0))
    whole, mail = add_up_counts(days), add_up_counts(days, "email")
    return RatesView(
        span=f"last {format_count(span, 'day')}, by the day of sending (UTC)",
        kpis=_build_rate_figures(whole, mail),
        bars=tuple(
            _build_day_bar(place, day, counts, (span, most))
            for place, (day, counts) in enumerate(zip(dates, counted, strict=True))
        ),
        top=tuple(f"{most * part // 4:,}" for part in (4, 3, 2, 1, 0)),
        axis=tuple(_format_short_day(dates[place]) for place in sorted({0, span // 2, span - 1})),
        sentence=(
            f"Messages by day over the {format_count(span, 'day')} to {_format_short_day(dates[-1])}: "
            f"{format_count(whole.sent, 'message')} "
            f"sent, {whole.delivered:,} delivered, {whole.failed:,} failed, {whole.under_way:,} under way."
        ),
        days=days[::-1],
    )


def _build_rate_figures(whole: MessageCounts, mail: MessageCounts) -> tuple[RateFigure, ...]:
    return (
        RateFigure(name="Sent", value=f"{whole.sent:,}", note=f"{whole.under_way:,} under way"),
        _build_rate_figure("Delivered", whole.delivery_rate, f"{whole.delivered:,} of {whole.sent:,}"),
        _build_rate_figure("Opened", mail.open_rate, f"{mail.opened:,} of {format_count(mail.delivered, 'mail')}"),
        _build_rate_figure("Clicked", mail.click_rate, f"{mail.clicked:,} of {format_count(mail.delivered, 'mail')}"),
        RateFigure(name="Failed", value=f"{whole.failed:,}", note=f"{whole.complained:,} complained"),
    )


def _build_rate_figure(name: str, rate: float | None, note: str) -> RateFigure:
    if rate is None:
        return RateFigure(name=name, value="–", note=note)  # noqa: RUF001 - a dash for no number
    return RateFigure(name=name, value=f"{rate * 100:.1f}", unit="%", note=note)


def _build_day_bar(place: int, day: date, counts: MessageCounts, scale: tuple[int, int]) -> DayBar:
    span, most = scale
    width = 100.0 / span
    parts, top = [], _CHART_HEIGHT
    for name, count in (("ok", counts.delivered), ("way", counts.under_way), ("err", counts.failed)):
        height = count / most * _CHART_HEIGHT
        top -= height
        if count:
            parts.append((name, f"{top:.2f}", f"{height:.2f}"))
    return DayBar(
        x=f"{(place + _DAY_GAP / 2) * width:.2f}",
        width=f"{width * (1 - _DAY_GAP):.2f}",
        title=f"{_format_short_day(day)}: {counts.sent:,} sent, {counts.delivered:,} delivered, "
        f"{counts.failed:,} failed",
        parts=tuple(parts),
    )


def _format_short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _round_up_scale(most: int) -> int:
    """Return a whole top for the axis that four steps divide."""
    step = 4
    while step < most:
        step *= 2
    return step
