"""The Metrics page: the same numbers as /api/stats, drawn."""

from collections.abc import Sequence
from datetime import datetime

from aiohttp import web

from relay.metrics.stats import WINDOWS, Slot, Stats, Window
from relay.model.delivery import Delivery, DeliveryState
from relay.model.reasons import sentence
from relay.model.text import printable
from relay.web import gather
from relay.web.contexts.events import Link
from relay.web.contexts.stats import Kpi, Number, ReasonBar, SlowLine, SourceBar, StatsPage, TargetBar
from relay.web.keys import Desk, desk
from relay.web.render import RENDERER, html
from relay.web.senders import event_mark, named_mark
from relay.web.stats import measured, waiting, window_of
from relay.web.view import charts
from relay.web.view.deliveries import address
from relay.web.view.words import ZONE, moment, plural, took

_SOURCES = 8
_SLOW = 6
_STEPS = {1: "minute", 15: "15 minutes", 120: "2 hours"}


async def page(request: web.Request) -> web.Response:
    """GET /stats?window=: the window in charts; an htmx request gets the part that changes."""
    here, window = desk(request), window_of(request)
    found = await measured(here, window)
    context = StatsPage(
        shell=await gather.frame(request, "Metrics", "stats"),
        window=window.name,
        windows=tuple(
            Link(name=each.title, href=f"/stats?window={each.name}", current=each == window, count="")
            for each in WINDOWS.values()
        ),
        step=_STEPS[window.step],
        kpis=(*_kpis(found), await _queued(here)),
        volume=_volume(found),
        latency=_latency(found),
        sources=_sources(here, found),
        targets=_targets(here, found),
        slow=await _slow(here, found.since),
        reasons=_reasons(found),
        numbers=tuple(_number(slot) for slot in found.slots if slot.events or slot.attempts),
    )
    return html(request.app[RENDERER].page(context))


def _kpis(found: Stats) -> tuple[Kpi, ...]:
    slots = found.slots
    checked = found.verdicts.get("verified", 0) + found.verdicts.get("invalid", 0)
    unfit, later = found.verdicts.get("invalid", 0), found.first - found.first_succeeded
    return (
        Kpi(
            label="Events",
            value=f"{found.events:,}",
            unit="",
            note=f"{found.events / found.window.minutes:.3g} per min{_change(found)}",
            path=charts.spark([slot.events for slot in slots]),
        ),
        Kpi(
            label="Verified",
            value=_percent(checked - unfit, checked),
            unit="%" if checked else "",
            note=f"{unfit:,} of {checked:,} failed" if checked else "nothing was checked",
            path=charts.spark([-slot.invalid for slot in slots]),
            bad=bool(unfit),
        ),
        Kpi(
            label="Delivered first try",
            value=_percent(found.first_succeeded, found.first),
            unit="%" if found.first else "",
            note=f"{later:,} needed a retry or failed" if found.first else "nothing was sent",
            path=charts.spark([-slot.failed for slot in slots]),
            bad=bool(later),
        ),
        Kpi(
            label="Latency, p95",
            value=_value(found.speed.p95),
            unit=_unit(found.speed.p95),
            note=f"median {took(found.speed.p50)}" if found.speed.p50 is not None else "nothing was sent",
            path=charts.spark([slot.speed.p95 or 0.0 for slot in slots]),
        ),
    )


async def _queued(here: Desk) -> Kpi:
    queues = await waiting(here)
    count = sum(number for number, _ in queues.values())
    name, (_, age) = max(queues.items(), key=lambda item: item[1][1], default=("", (0, 0.0)))
    return Kpi(
        label="Queued now",
        value=f"{count:,}",
        unit="",
        note=f"oldest {_age(age)}, {printable(name, 40)}" if count and age else "nothing waits",
        path="",
        dot="warn" if here.live.down else "",
    )


def _volume(found: Stats) -> charts.Plot:
    columns = [
        (
            ("b-ok", max(slot.events - slot.rejected - slot.failed, 0)),
            ("b-held", slot.rejected),
            ("b-err", min(slot.failed, slot.events - slot.rejected) if slot.events else slot.failed),
        )
        for slot in found.slots
    ]
    top = charts.top_of([sum(number for _, number in column) for column in columns])
    rejected, failed = (sum(getattr(slot, name) for slot in found.slots) for name in ("rejected", "failed"))
    return charts.Plot(
        words=f"Events per {_STEPS[found.window.step]} over {found.window.words}. {found.events:,} in total, "
        f"{rejected:,} rejected, {failed:,} failed at the first try.",
        ys=charts.scale(top),
        xs=_times(found.slots, found.window),
        bars=charts.bars(columns, top),
    )


def _latency(found: Stats) -> charts.Plot:
    kinds = ("p99", "p95", "p50")
    values = {
        kind: [None if (one := getattr(slot.speed, kind)) is None else one * 1000 for slot in found.slots]
        for kind in kinds
    }
    top = charts.top_of([one for line in values.values() for one in line if one is not None])
    words = f"Delivery latency over {found.window.words}. "
    if found.speed.p50 is None:
        words += "Nothing was sent."
    else:
        words += f"Median {took(found.speed.p50)}, 95th percentile {took(found.speed.p95)}."
    return charts.Plot(
        words=words,
        ys=charts.scale(top, " ms"),
        xs=_times(found.slots, found.window),
        lines=tuple(charts.line(kind, values[kind], top) for kind in kinds),
    )


def _times(slots: Sequence[Slot], window: Window) -> tuple[str, ...]:
    places = (round((len(slots) - 1) * part / 5) for part in range(6))
    form = "%a %d" if window.minutes > 1440 else "%H:%M"
    return tuple(slots[place].at.astimezone(ZONE.get()).strftime(form) for place in places)


def _sources(here: Desk, found: Stats) -> tuple[SourceBar, ...]:
    most = max((source.events for source in found.sources), default=1)
    return tuple(
        SourceBar(
            name=printable(source.name, 60),
            mark=named_mark(source.name, here.setup.sources.get(source.name)),
            share=f"{source.events / most * 100:.1f}",
            events=f"{source.events:,}",
            verified=f"{_percent(source.verified, source.checked)}%" if source.checked else "not checked",
            bad=source.verified < source.checked,
            p95=took(source.p95),
        )
        for source in found.sources[:_SOURCES]
    )


def _targets(here: Desk, found: Stats) -> tuple[TargetBar, ...]:
    shown = []
    for target in found.targets:
        good = target.succeeded / target.attempts * 100 if target.attempts else 100.0
        shown.append(
            TargetBar(
                name=printable(target.name, 60),
                address=printable(address(here.setup.addresses.get(target.name, "")), 60),
                dot="err" if here.live.state_of(target.name)[0] != "up" else "ok" if good == 100 else "warn",
                share=f"{good:.1f}",
                success=f"{_percent(target.succeeded, target.attempts)}%",
                kind="f" if good == 100 else "w",
                p95=took(target.speed.p95),
            )
        )
    return tuple(shown)


async def _slow(here: Desk, since: datetime) -> tuple[SlowLine, ...]:
    found = await here.store.deliveries.slowest(since, _SLOW)
    events = {row.id: row for row in await here.store.events.rows({one.event_id for one in found})}
    return tuple(
        SlowLine(
            mark=event_mark(events[one.event_id]),
            type=printable(events[one.event_id].type, 80),
            href=f"/events/{one.event_id}/deliveries",
            target=printable(one.target, 60),
            result=_result(one),
            bad=one.state is not DeliveryState.SUCCEEDED,
            took=took(one.took),
            at=moment(one.created_at),
        )
        for one in found
        if one.event_id in events
    )


def _result(delivery: Delivery) -> str:
    if delivery.status is not None:
        return str(delivery.status)
    return printable(delivery.detail, 40) or delivery.state.value


def _reasons(found: Stats) -> tuple[ReasonBar, ...]:
    most = max(found.reasons.values(), default=1)
    return tuple(
        ReasonBar(
            sentence=sentence(reason).partition(":")[0].rstrip(".") if reason else "No reason given",
            href=f"/events?q=reason:{reason}" if reason else "/events?q=outcome:rejected",
            share=f"{count / most * 100:.1f}",
            count=f"{count:,}",
        )
        for reason, count in found.reasons.items()
    )


def _number(slot: Slot) -> Number:
    return Number(
        at=moment(slot.at),
        events=f"{slot.events:,}",
        rejected=f"{slot.rejected:,}",
        failed=f"{slot.failed:,}",
        p50=took(slot.speed.p50),
        p95=took(slot.speed.p95),
        p99=took(slot.speed.p99),
    )


def _change(found: Stats) -> str:
    if not found.before:
        return ""
    change = round((found.events - found.before) / found.before * 100)
    return f", {'up' if change > 0 else 'down'} {abs(change):,}%" if change else ", as before"


def _percent(part: int, whole: int) -> str:
    if not whole:
        return "none"
    share = part / whole * 100
    # What is not whole never reads as 100.
    return f"{min(share, 99.9):.1f}" if part < whole else "100"


def _value(seconds: float | None) -> str:
    return took(seconds).partition(" ")[0] or "none"


def _unit(seconds: float | None) -> str:
    return took(seconds).partition(" ")[2]


def _age(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else plural(round(seconds / 3600), "hour")
