"""Messages as people see them: a chip for where one stands, its history as steps, and rates as a chart."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from relay.model.message import LOST, HistoryEntry, Message, MessageStatus
from relay.model.rates import DayCounts, MessageCounts, by_day, total
from relay.model.text import printable
from relay.providers.codes import Meaning, meaning
from relay.web.view.rows import Chip
from relay.web.view.words import Moment, moment, plural

_QUEUED = (MessageStatus.QUEUED, MessageStatus.DELAYED)
_BAD = (*LOST, MessageStatus.COMPLAINED)
_ICONS = {
    MessageStatus.OUTBOX: "inbox",
    MessageStatus.QUEUED: "clock",
    MessageStatus.SENT: "send",
    MessageStatus.DELAYED: "clock",
    MessageStatus.DELIVERED: "circle-check",
    MessageStatus.OPENED: "eye",
    MessageStatus.CLICKED: "external-link",
    MessageStatus.COMPLAINED: "ban",
}
_HEIGHT = 100.0
_GAP = 0.2  # of a bar's place that stays empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One status of a history: its words, when it was so, and why; `kind` is ok, err or skip-step.

    `way` says how it found its message, `event` which event told it.
    """

    kind: str
    icon: str
    title: str
    time: Moment
    tip: str
    code: str
    meaning: Meaning | None
    detail: str
    event: int | None
    way: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One number over the chart, with its unit and what it is of."""

    name: str
    value: str
    unit: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One day of the chart, in hundredths of its size: a stack from the bottom up."""

    x: str
    width: str
    title: str
    parts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRow:
    """One day of the table behind the chart."""

    day: str
    channel: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The rates of some days: numbers, bars, the same as a sentence, and as a table with the newest day first."""

    span: str
    kpis: tuple[Kpi, ...]
    bars: tuple[Bar, ...]
    top: tuple[str, ...]
    axis: tuple[str, ...]
    sentence: str
    rows: tuple[NumberRow, ...]


def word(status: MessageStatus) -> str:
    """Return a status as people read it."""
    return "In the outbox" if status is MessageStatus.OUTBOX else status.value.capitalize()


def chip(message: Message) -> Chip:
    """Return where a message stands; red for what needs a person, a dot for what arrived."""
    status = message.status
    kind = "done" if status.arrived else "queued" if status in _QUEUED else "dim"
    known = meaning(message.provider, message.code)
    return Chip(
        kind="no" if status in _BAD else kind,
        text=word(status),
        title=known.words if known else printable(message.code, 80),
    )


def steps(message: Message, history: Iterable[HistoryEntry]) -> tuple[Step, ...]:
    """Return a history in the order in which it happened, which need not be the order in which it was told."""
    ordered = sorted(history, key=lambda entry: (entry.at or entry.received_at, entry.status.rank))
    return tuple(_step(message, entry) for entry in ordered)


def _step(message: Message, entry: HistoryEntry) -> Step:
    good = entry.status.arrived and entry.status is not MessageStatus.COMPLAINED
    when, told = moment(entry.at or entry.received_at), moment(entry.received_at)
    return Step(
        kind="err" if entry.status in _BAD else "ok" if good else "skip-step",
        icon=_ICONS.get(entry.status, "circle-x"),
        title=word(entry.status),
        time=when,
        tip=f"{when.title}; told {told.title}" if entry.at and entry.way else when.title,
        code=printable(entry.code, 80),
        meaning=meaning(message.provider, entry.code),
        detail=printable(entry.detail, 400),
        event=entry.event_id,
        way=entry.way.value.replace("_", " ") if entry.way else "",
    )


def rates(days: tuple[DayCounts, ...], first: date, span: int) -> Rates:
    """Return what the chart of `span` days from `first` on shows."""
    daily = by_day(days)
    dates = [first + timedelta(days=number) for number in range(span)]
    counted = [daily.get(day, MessageCounts()) for day in dates]
    most = _round_up(max((counts.sent for counts in counted), default=0))
    whole, mail = total(days), total(days, "email")
    return Rates(
        span=f"last {plural(span, 'day')}, by the day of sending (UTC)",
        kpis=_kpis(whole, mail),
        bars=tuple(
            _bar(place, day, counts, (span, most))
            for place, (day, counts) in enumerate(zip(dates, counted, strict=True))
        ),
        top=tuple(f"{most * part // 4:,}" for part in (4, 3, 2, 1, 0)),
        axis=tuple(_short(dates[place]) for place in sorted({0, span // 2, span - 1})),
        sentence=(
            f"Messages by day over the {plural(span, 'day')} to {_short(dates[-1])}: {plural(whole.sent, 'message')} "
            f"sent, {whole.delivered:,} delivered, {whole.failed:,} failed, {whole.under_way:,} under way."
        ),
        rows=tuple(_row(day) for day in reversed(days)),
    )


def _kpis(whole: MessageCounts, mail: MessageCounts) -> tuple[Kpi, ...]:
    return (
        Kpi(name="Sent", value=f"{whole.sent:,}", unit="", note=f"{whole.under_way:,} under way"),
        _share("Delivered", whole.delivery_rate, f"{whole.delivered:,} of {whole.sent:,}"),
        _share("Opened", mail.open_rate, f"{mail.opened:,} of {plural(mail.delivered, 'mail')}"),
        _share("Clicked", mail.click_rate, f"{mail.clicked:,} of {plural(mail.delivered, 'mail')}"),
        Kpi(name="Failed", value=f"{whole.failed:,}", unit="", note=f"{whole.complained:,} complained"),
    )


def _share(name: str, rate: float | None, note: str) -> Kpi:
    if rate is None:
        return Kpi(name=name, value="–", unit="", note=note)  # noqa: RUF001 - a dash for no number
    return Kpi(name=name, value=f"{rate * 100:.1f}", unit="%", note=note)


def _bar(place: int, day: date, counts: MessageCounts, scale: tuple[int, int]) -> Bar:
    span, most = scale
    width = 100.0 / span
    parts, top = [], _HEIGHT
    for name, count in (("ok", counts.delivered), ("way", counts.under_way), ("err", counts.failed)):
        height = count / most * _HEIGHT
        top -= height
        if count:
            parts.append((name, f"{top:.2f}", f"{height:.2f}"))
    return Bar(
        x=f"{(place + _GAP / 2) * width:.2f}",
        width=f"{width * (1 - _GAP):.2f}",
        title=f"{_short(day)}: {counts.sent:,} sent, {counts.delivered:,} delivered, {counts.failed:,} failed",
        parts=tuple(parts),
    )


def _row(day: DayCounts) -> NumberRow:
    counts = day.counts
    mail = day.channel == "email"
    return NumberRow(
        day=day.day.isoformat(),
        channel="Mail" if mail else "SMS",
        cells=(
            f"{counts.sent:,}",
            f"{counts.delivered:,}",
            _percent(counts.delivery_rate),
            _percent(counts.open_rate) if mail else "",
            _percent(counts.click_rate) if mail else "",
            f"{counts.failed:,}",
        ),
    )


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate * 100:.1f} %"


def _short(day: date) -> str:
    return f"{day.day} {day:%b}"


def _round_up(most: int) -> int:
    """Return a whole top for the axis that four steps divide."""
    step = 4
    while step < most:
        step *= 2
    return step
