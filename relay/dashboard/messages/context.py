"""Messages as people see them: a chip for where one stands, its history as steps, and rates as a chart."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import ClassVar

from relay.dashboard.event_rows import StatusChip
from relay.dashboard.filters import Avatar, DisplayTime, format_count, format_moment
from relay.dashboard.layout import PageLayout
from relay.dashboard.widgets import BAD_STATUSES, MessageLine, NavLink, format_message_status
from relay.model.message import (
    DayCounts,
    HistoryEntry,
    Message,
    MessageCounts,
    MessageStatus,
    add_up_counts,
    group_by_day,
)
from relay.model.text import escape_unprintable
from relay.providers.message_status import CodeMeaning, explain_code

_STATUS_ICONS = {
    MessageStatus.OUTBOX: "inbox",
    MessageStatus.QUEUED: "clock",
    MessageStatus.SENT: "send",
    MessageStatus.DELAYED: "clock",
    MessageStatus.DELIVERED: "circle-check",
    MessageStatus.OPENED: "eye",
    MessageStatus.CLICKED: "external-link",
    MessageStatus.COMPLAINED: "ban",
}
_CHART_HEIGHT = 100.0
_DAY_GAP = 0.2  # of a bar's place that stays empty


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStep:
    """One status of a history: its words, when it was so, and why; `kind` is ok, err or skip-step.

    `way` says how it found its message, `event` which event told it.
    """

    kind: str
    icon: str
    title: str
    time: DisplayTime
    tip: str
    code: str
    meaning: CodeMeaning | None
    detail: str
    event: int | None
    way: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFigure:
    """One number over the chart, with its unit and what it is of."""

    name: str
    value: str
    unit: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """One day of the chart, in hundredths of its size: a stack from the bottom up."""

    x: str
    width: str
    title: str
    parts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRatesRow:
    """One day of the table behind the chart."""

    day: str
    channel: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesView:
    """The rates of some days: numbers, bars, the same as a sentence, and as a table with the newest day first."""

    span: str
    kpis: tuple[RateFigure, ...]
    bars: tuple[DayBar, ...]
    top: tuple[str, ...]
    axis: tuple[str, ...]
    sentence: str
    rows: tuple[DayRatesRow, ...]


def build_history_steps(message: Message, history: Iterable[HistoryEntry]) -> tuple[HistoryStep, ...]:
    """Return a history in the order in which it happened, which need not be the order in which it was told."""
    ordered = sorted(history, key=lambda entry: (entry.at or entry.received_at, entry.status.rank))
    return tuple(_build_history_step(message, entry) for entry in ordered)


def _build_history_step(message: Message, entry: HistoryEntry) -> HistoryStep:
    good = entry.status.arrived and entry.status is not MessageStatus.COMPLAINED
    when, told = format_moment(entry.at or entry.received_at), format_moment(entry.received_at)
    return HistoryStep(
        kind="err" if entry.status in BAD_STATUSES else "ok" if good else "skip-step",
        icon=_STATUS_ICONS.get(entry.status, "circle-x"),
        title=format_message_status(entry.status),
        time=when,
        tip=f"{when.title}; told {told.title}" if entry.at and entry.way else when.title,
        code=escape_unprintable(entry.code, 80),
        meaning=explain_code(message.provider, entry.code),
        detail=escape_unprintable(entry.detail, 400),
        event=entry.event_id,
        way=entry.way.value.replace("_", " ") if entry.way else "",
    )


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
        rows=tuple(_build_day_row(day) for day in reversed(days)),
    )


def _build_rate_figures(whole: MessageCounts, mail: MessageCounts) -> tuple[RateFigure, ...]:
    return (
        RateFigure(name="Sent", value=f"{whole.sent:,}", unit="", note=f"{whole.under_way:,} under way"),
        _build_rate_figure("Delivered", whole.delivery_rate, f"{whole.delivered:,} of {whole.sent:,}"),
        _build_rate_figure("Opened", mail.open_rate, f"{mail.opened:,} of {format_count(mail.delivered, 'mail')}"),
        _build_rate_figure("Clicked", mail.click_rate, f"{mail.clicked:,} of {format_count(mail.delivered, 'mail')}"),
        RateFigure(name="Failed", value=f"{whole.failed:,}", unit="", note=f"{whole.complained:,} complained"),
    )


def _build_rate_figure(name: str, rate: float | None, note: str) -> RateFigure:
    if rate is None:
        return RateFigure(name=name, value="–", unit="", note=note)  # noqa: RUF001 - a dash for no number
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


def _build_day_row(day: DayCounts) -> DayRatesRow:
    counts = day.counts
    mail = day.channel == "email"
    return DayRatesRow(
        day=day.day.isoformat(),
        channel="Mail" if mail else "SMS",
        cells=(
            f"{counts.sent:,}",
            f"{counts.delivered:,}",
            _format_percent(counts.delivery_rate),
            _format_percent(counts.open_rate) if mail else "",
            _format_percent(counts.click_rate) if mail else "",
            f"{counts.failed:,}",
        ),
    )


def _format_percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate * 100:.1f} %"


def _format_short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _round_up_scale(most: int) -> int:
    """Return a whole top for the axis that four steps divide."""
    step = 4
    while step < most:
        step *= 2
    return step


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDetail:
    """One message in full: `facts` are names and values, `rule` is what refused a recipient, "" for none.

    `hidden` counts the oldest steps that are left out.
    """

    line: MessageLine
    facts: tuple[tuple[str, str], ...]
    steps: tuple[HistoryStep, ...]
    hidden: int
    meaning: CodeMeaning | None
    rule: str
    delivery_id: int | None
    previewable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesPage:
    """Outgoing mail and SMS, and one of them in full or the rates of all.

    `unmatched` says how many statuses wait for their message, "" for none.
    """

    template: ClassVar[str] = "pages/messages.html"
    shell: PageLayout
    views: tuple[NavLink, ...]
    lines: tuple[MessageLine, ...]
    suffix: str
    chosen: MessageDetail | None
    rates: RatesView | None
    unmatched: str
    detail_shown: bool
    live: str
    older: str
    smtp: str
    empty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunLine:
    """One mail that would have gone out, or why not. `target` is "" where a template was asked for."""

    mark: Avatar
    type: str
    event_id: int
    received: DisplayTime
    template: str
    target: str
    chip: StatusChip
    to: str
    subject: str
    why: str
    preview: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunPage:
    """A dry run of mails over events of the past; `kept` goes along with the next search."""

    template: ClassVar[str] = "pages/dryrun.html"
    shell: PageLayout
    query: str
    kept: tuple[tuple[str, str], ...]
    views: tuple[NavLink, ...]
    summary: str
    lines: tuple[DryRunLine, ...]
    older: str
    error: str
