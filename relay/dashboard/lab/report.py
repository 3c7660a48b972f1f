"""Runs of the lab as people read them: what each experiment came to, and every send with its answer."""

from dataclasses import dataclass
from typing import ClassVar

from relay.dashboard.event_rows import StatusChip
from relay.dashboard.filters import DisplayTime, format_count, format_duration, format_moment
from relay.dashboard.layout import PageLayout
from relay.dashboard.widgets import FormOption
from relay.model.lab import (
    ENDED_STATES,
    LabFinding,
    LabReport,
    LabRun,
    LabSend,
    LabState,
    Latency,
    ShuffledOrder,
    TrialResult,
)
from relay.model.text import escape_unprintable

SENDS_SHOWN = 40  # sends of one experiment that a page shows at first
MAX_SENDS_SHOWN = 500  # and when it is asked for all of them
_MAX_ANSWER_LENGTH = 80  # letters of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRunLine:
    """One run in a list."""

    id: int
    chip: StatusChip
    experiments: str
    events: str
    target: str
    sends: str
    time: DisplayTime


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSendLine:
    """One send. `kind` is ok, err or dim; `odd`: it was answered otherwise than the first of its event."""

    place: int
    label: str
    event_id: int
    delivery_id: int | None
    chip: StatusChip
    took: str
    note: str
    odd: bool
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleOrderLine:
    """One order of a shuffle. `kind` is ok, err or skip-step."""

    name: str
    kind: str
    icon: str
    chain: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResultView:
    """One experiment. `kind` is ok, err, warn or quiet, `icon` what stands for it."""

    name: str
    title: str
    kind: str
    icon: str
    word: str
    sentence: str
    advice: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    orders: tuple[ShuffleOrderLine, ...]
    sends: tuple[LabSendLine, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabReportView:
    """A run with its results; `live` while it goes on."""

    id: int
    live: bool
    chip: StatusChip
    target: str
    started: DisplayTime
    figures: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]
    detail: str
    notes: tuple[str, ...]
    results: tuple[ExperimentResultView, ...]
    command: str


def build_run_line(run: LabRun, finding: LabFinding | None = None) -> LabRunLine:
    """Return a run for a list; its finding is known to whoever read its report."""
    return LabRunLine(
        id=run.id,
        chip=build_run_chip(run, finding),
        experiments=", ".join(trial.experiment for trial in run.trials),
        events=format_count(len(run.events), "event"),
        target=escape_unprintable(run.target, 80),
        sends=f"{run.made:,}",
        time=format_moment(run.created_at),
    )


def build_run_chip(run: LabRun, finding: LabFinding | None) -> StatusChip:
    """Return where a run stands, or once it is over what it came to."""
    if run.state is LabState.RUNNING:
        return StatusChip(kind="sending", text="Running")
    if run.state is LabState.WAITING:
        return StatusChip(kind="queued", text="Waiting")
    if finding is LabFinding.FAILED:
        return StatusChip(kind="no", text="Failed")
    if run.state is not LabState.DONE:
        return StatusChip(kind="warn", text=run.state.value.capitalize())
    kinds = {LabFinding.PASSED: "done", LabFinding.UNCLEAR: "warn"}
    return StatusChip(
        kind=kinds.get(finding, "dim") if finding else "dim", text=finding.capitalize() if finding else "Done"
    )


def build_report_view(report: LabReport, *, whole: bool = False) -> LabReportView:
    """Return a report as a page shows it; `whole` gives every send."""
    run = report.run
    found = [result.judged.finding for result in report.results]
    counts = [(name.value, found.count(name)) for name in LabFinding]
    figures = (
        ("Sends", f"{run.made:,}", f"of {run.sends:,} at most" if run.state not in ENDED_STATES else ""),
        *((name.capitalize(), str(count), "") for name, count in counts),
    )
    events = ", ".join(f"#{id_}" for id_ in run.events[:12]) + (" …" if len(run.events) > 12 else "")
    matched = (("Query", escape_unprintable(run.query, 200)),) if run.query else ()
    return LabReportView(
        id=run.id,
        live=run.state not in ENDED_STATES,
        chip=build_run_chip(run, report.finding),
        target=escape_unprintable(run.target, 200),
        started=format_moment(run.created_at),
        figures=figures,
        facts=(
            ("Target", escape_unprintable(run.target, 200)),
            *matched,
            ("Events", events),
            ("Seed", str(run.settings.seed)),
        ),
        detail=_format_sentence(run.detail),
        notes=tuple(_format_sentence(note) for note in run.notes),
        results=tuple(
            _build_result_view(result, MAX_SENDS_SHOWN if whole else SENDS_SHOWN) for result in report.results
        ),
        command=_format_command(run),
    )


def _build_result_view(result: TrialResult, most: int) -> ExperimentResultView:
    kind, icon, word = _FINDING_STYLES[result.judged.finding]
    sends = _select_sends(result, most)
    return ExperimentResultView(
        name=result.trial.experiment,
        title=result.title,
        kind=kind,
        icon=icon,
        word=word,
        sentence=_format_sentence(result.judged.sentence),
        advice=_format_sentence(result.judged.advice),
        facts=tuple(_list_result_facts(result)),
        notes=(*(_format_sentence(note) for note in result.trial.notes), *_format_skipped_events(result)),
        orders=tuple(_build_order_line(order) for order in result.orders),
        sends=tuple(_build_send_line(send, odd=send.place in result.differing) for send in sends),
        more=len(result.sends) - len(sends),
    )


_FINDING_STYLES: dict[LabFinding | None, tuple[str, str, str]] = {
    LabFinding.PASSED: ("ok", "circle-check", "passed"),
    LabFinding.FAILED: ("err", "circle-x", "failed"),
    LabFinding.UNCLEAR: ("warn", "triangle-alert", "unclear"),
    LabFinding.SKIPPED: ("quiet", "ban", "skipped"),
    None: ("quiet", "clock", "not over"),
}


def _select_sends(result: TrialResult, most: int) -> tuple[LabSend, ...]:
    """Return so many sends: what stands out before what does not, in the order they were made."""
    if len(result.sends) <= most:
        return result.sends
    usual = result.statuses[0][0] if result.statuses else ""
    odd = [send for send in result.sends if send.place in result.differing or send.told != usual or send.note]
    places = {send.place for send in odd[:most]}
    for send in result.sends:
        if len(places) < most:
            places.add(send.place)
    return tuple(send for send in result.sends if send.place in places)


def _list_result_facts(result: TrialResult) -> list[tuple[str, str]]:
    facts = []
    if result.statuses:
        facts.append(("Answers", ", ".join(f"{count} x {told}" for told, count in result.statuses)))
    if result.latency is not None:
        facts.append(("Latency", _format_latency(result.latency)))
    if result.at_once > 1:
        facts.append(("At once", f"{result.at_once} at the most"))
    if result.differing:
        facts.append(("Otherwise than the first", format_count(len(result.differing), "answer")))
    return facts


def _format_latency(found: Latency) -> str:
    return (
        f"{format_duration(found.least)} to {format_duration(found.most)}, median "
        f"{format_duration(found.median)}, p95 {format_duration(found.p95)}"
    )


def _format_skipped_events(result: TrialResult) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for event, reason in result.trial.skipped if result.trial.events else ():
        reasons.setdefault(reason, []).append(f"#{event}")
    return [f"Without {', '.join(events)}: {escape_unprintable(reason, 200)}." for reason, events in reasons.items()]


def _build_order_line(order: ShuffledOrder) -> ShuffleOrderLine:
    chain = ", ".join(f"#{event}" for event in order.events)
    name = "The order they came in" if order.original else f"Order {order.number}"
    if order.failed:
        failed = ", ".join(f"#{event}" for event in order.failed)
        return ShuffleOrderLine(name=name, kind="err", icon="circle-x", chain=chain, word=f"not taken: {failed}")
    if order.over:
        return ShuffleOrderLine(name=name, kind="ok", icon="circle-check", chain=chain, word="all taken")
    return ShuffleOrderLine(name=name, kind="skip-step", icon="clock", chain=chain, word="under way")


def _build_send_line(send: LabSend, *, odd: bool) -> LabSendLine:
    return LabSendLine(
        place=send.place,
        label=send.label,
        event_id=send.event_id,
        delivery_id=send.delivery_id,
        chip=_build_send_chip(send),
        took=format_duration(send.took),
        note=escape_unprintable(send.note, 120),
        odd=odd,
        answer=escape_unprintable(send.said, _MAX_ANSWER_LENGTH),
    )


def _build_send_chip(send: LabSend) -> StatusChip:
    if not send.over:
        return StatusChip(kind="sending", text="Sending")
    return StatusChip(kind="done" if send.good else "no", text=escape_unprintable(send.told, 60))


def _format_sentence(text: str) -> str:
    shown_ = escape_unprintable(text, 600)
    return f"{shown_[:1].upper()}{shown_[1:]}." if shown_ else ""


def _format_command(run: LabRun) -> str:
    """Return the command that does the same again."""
    names = " ".join(trial.experiment for trial in run.trials)
    what = f"--query {_quote_argument(run.query)}" if run.query else " ".join(str(id_) for id_ in run.events)
    settings = run.settings
    options = [f"--to {_quote_argument(run.target)}", f"--seed {settings.seed}"]
    options += [f"--times {settings.times}"] if settings.times else []
    options += [f"--speed {settings.speed:g}"] if settings.speed else []
    options += ["--compare status"] if settings.compare == "status" else []
    return escape_unprintable(f"relay lab {names} {what} {' '.join(options)}", 2000)


def _quote_argument(text: str) -> str:
    plain = all(letter.isalnum() or letter in "_-./:" for letter in text)
    return text if text and plain else "'" + text.replace("'", "'\"'\"'") + "'"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabForm:
    """A run as filled in so far. `what` is event numbers or a search."""

    what: str
    targets: tuple[FormOption, ...]
    url: str
    experiments: tuple[FormOption, ...]
    times: str
    seed: str
    delay: str
    speed: str
    compare: tuple[FormOption, ...]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPage:
    """The form, and the runs there were; `place` is where these may be asked for again."""

    template: ClassVar[str] = "pages/lab.html"
    shell: PageLayout
    form: LabForm
    lines: tuple[LabRunLine, ...]
    older: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRunPage:
    """One run with its report; `again` are the fields of the form that begins the same once more."""

    template: ClassVar[str] = "pages/lab_run.html"
    shell: PageLayout
    report: LabReportView
    again: tuple[tuple[str, str], ...]
    whole: bool
