"""Runs of the lab as people read them: what each experiment came to, and every send with its answer."""

from dataclasses import dataclass

from relay.model.lab import OVER, Finding, LabState, Latency, Order, Report, Result, Run, Send
from relay.model.text import printable
from relay.web.view.rows import Chip
from relay.web.view.words import Moment, moment, plural, took

SHOWN = 40  # sends of one experiment that a page shows at first
MOST = 500  # and when it is asked for all of them
_ANSWER = 80  # letters of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """One run in a list."""

    id: int
    chip: Chip
    experiments: str
    events: str
    target: str
    sends: str
    time: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class SendLine:
    """One send. `kind` is ok, err or dim; `odd`: it was answered otherwise than the first of its event."""

    place: int
    label: str
    event_id: int
    delivery_id: int | None
    chip: Chip
    took: str
    note: str
    odd: bool
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """One order of a shuffle. `kind` is ok, err or skip-step."""

    name: str
    kind: str
    icon: str
    chain: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView:
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
    orders: tuple[OrderLine, ...]
    sends: tuple[SendLine, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """A run with its results; `live` while it goes on."""

    id: int
    live: bool
    chip: Chip
    target: str
    started: Moment
    figures: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]
    detail: str
    notes: tuple[str, ...]
    results: tuple[ResultView, ...]
    command: str


def line(run: Run, finding: Finding | None = None) -> RunLine:
    """Return a run for a list; its finding is known to whoever read its report."""
    return RunLine(
        id=run.id,
        chip=state(run, finding),
        experiments=", ".join(trial.experiment for trial in run.trials),
        events=plural(len(run.events), "event"),
        target=printable(run.target, 80),
        sends=f"{run.made:,}",
        time=moment(run.created_at),
    )


def state(run: Run, finding: Finding | None) -> Chip:
    """Return where a run stands, or once it is over what it came to."""
    if run.state is LabState.RUNNING:
        return Chip(kind="sending", text="Running")
    if run.state is LabState.WAITING:
        return Chip(kind="queued", text="Waiting")
    if finding is Finding.FAILED:
        return Chip(kind="no", text="Failed")
    if run.state is not LabState.DONE:
        return Chip(kind="warn", text=run.state.value.capitalize())
    kinds = {Finding.PASSED: "done", Finding.UNCLEAR: "warn"}
    return Chip(
        kind=kinds.get(finding, "dim") if finding else "dim", text=finding.capitalize() if finding else "Done"
    )


def shown(report: Report, *, whole: bool = False) -> ReportView:
    """Return a report as a page shows it; `whole` gives every send."""
    run = report.run
    found = [result.judged.finding for result in report.results]
    counts = [(name.value, found.count(name)) for name in Finding]
    figures = (
        ("Sends", f"{run.made:,}", f"of {run.sends:,} at most" if run.state not in OVER else ""),
        *((name.capitalize(), str(count), "") for name, count in counts),
    )
    events = ", ".join(f"#{id_}" for id_ in run.events[:12]) + (" …" if len(run.events) > 12 else "")
    matched = (("Query", printable(run.query, 200)),) if run.query else ()
    return ReportView(
        id=run.id,
        live=run.state not in OVER,
        chip=state(run, report.finding),
        target=printable(run.target, 200),
        started=moment(run.created_at),
        figures=figures,
        facts=(
            ("Target", printable(run.target, 200)),
            *matched,
            ("Events", events),
            ("Seed", str(run.settings.seed)),
        ),
        detail=_sentence(run.detail),
        notes=tuple(_sentence(note) for note in run.notes),
        results=tuple(_result(result, MOST if whole else SHOWN) for result in report.results),
        command=_command(run),
    )


def _result(result: Result, most: int) -> ResultView:
    kind, icon, word = _LOOKS[result.judged.finding]
    sends = _chosen(result, most)
    return ResultView(
        name=result.trial.experiment,
        title=result.title,
        kind=kind,
        icon=icon,
        word=word,
        sentence=_sentence(result.judged.sentence),
        advice=_sentence(result.judged.advice),
        facts=tuple(_facts(result)),
        notes=(*(_sentence(note) for note in result.trial.notes), *_skipped(result)),
        orders=tuple(_order(order) for order in result.orders),
        sends=tuple(_send(send, odd=send.place in result.differing) for send in sends),
        more=len(result.sends) - len(sends),
    )


_LOOKS: dict[Finding | None, tuple[str, str, str]] = {
    Finding.PASSED: ("ok", "circle-check", "passed"),
    Finding.FAILED: ("err", "circle-x", "failed"),
    Finding.UNCLEAR: ("warn", "triangle-alert", "unclear"),
    Finding.SKIPPED: ("quiet", "ban", "skipped"),
    None: ("quiet", "clock", "not over"),
}


def _chosen(result: Result, most: int) -> tuple[Send, ...]:
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


def _facts(result: Result) -> list[tuple[str, str]]:
    facts = []
    if result.statuses:
        facts.append(("Answers", ", ".join(f"{count} x {told}" for told, count in result.statuses)))
    if result.latency is not None:
        facts.append(("Latency", _latency(result.latency)))
    if result.at_once > 1:
        facts.append(("At once", f"{result.at_once} at the most"))
    if result.differing:
        facts.append(("Otherwise than the first", plural(len(result.differing), "answer")))
    return facts


def _latency(found: Latency) -> str:
    return f"{took(found.least)} to {took(found.most)}, median {took(found.median)}, p95 {took(found.p95)}"


def _skipped(result: Result) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for event, reason in result.trial.skipped if result.trial.events else ():
        reasons.setdefault(reason, []).append(f"#{event}")
    return [f"Without {', '.join(events)}: {printable(reason, 200)}." for reason, events in reasons.items()]


def _order(order: Order) -> OrderLine:
    chain = ", ".join(f"#{event}" for event in order.events)
    name = "The order they came in" if order.original else f"Order {order.number}"
    if order.failed:
        failed = ", ".join(f"#{event}" for event in order.failed)
        return OrderLine(name=name, kind="err", icon="circle-x", chain=chain, word=f"not taken: {failed}")
    if order.over:
        return OrderLine(name=name, kind="ok", icon="circle-check", chain=chain, word="all taken")
    return OrderLine(name=name, kind="skip-step", icon="clock", chain=chain, word="under way")


def _send(send: Send, *, odd: bool) -> SendLine:
    return SendLine(
        place=send.place,
        label=send.label,
        event_id=send.event_id,
        delivery_id=send.delivery_id,
        chip=_chip(send),
        took=took(send.took),
        note=printable(send.note, 120),
        odd=odd,
        answer=printable(send.said, _ANSWER),
    )


def _chip(send: Send) -> Chip:
    if not send.over:
        return Chip(kind="sending", text="Sending")
    return Chip(kind="done" if send.good else "no", text=printable(send.told, 60))


def _sentence(text: str) -> str:
    shown_ = printable(text, 600)
    return f"{shown_[:1].upper()}{shown_[1:]}." if shown_ else ""


def _command(run: Run) -> str:
    """Return the command that does the same again."""
    names = " ".join(trial.experiment for trial in run.trials)
    what = f"--query {_quoted(run.query)}" if run.query else " ".join(str(id_) for id_ in run.events)
    settings = run.settings
    options = [f"--to {_quoted(run.target)}", f"--seed {settings.seed}"]
    options += [f"--times {settings.times}"] if settings.times else []
    options += [f"--speed {settings.speed:g}"] if settings.speed else []
    options += ["--compare status"] if settings.compare == "status" else []
    return printable(f"relay lab {names} {what} {' '.join(options)}", 2000)


def _quoted(text: str) -> str:
    plain = all(letter.isalnum() or letter in "_-./:" for letter in text)
    return text if text and plain else "'" + text.replace("'", "'\"'\"'") + "'"
