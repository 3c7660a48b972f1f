"""Bulk replays as people read them: what was asked for, how far it is, what is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo

from relay.model.batch import INCLUDABLE, Batch, BatchCounts, BatchState, NewBatch, Plan
from relay.model.delivery import SignMode
from relay.model.event import EventOutcome
from relay.model.text import printable
from relay.web.view.lists import href
from relay.web.view.rows import Chip
from relay.web.view.words import Moment, moment, plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What may be included: the name of its box, what it takes along, why it is left out."""

    name: str
    text: str
    why: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a bulk replay would do, in words; `error` where it cannot be done."""

    count: str
    targets: tuple[tuple[str, str], ...] = ()
    oldest: Moment | None = None
    newest: Moment | None = None
    skipped: str = ""
    error: str = ""
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is. `sent` and `failed` are steps of `total`, for the bar."""

    id: int
    words: str
    total: int
    sent: int
    failed: int
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """A bulk replay as lists show it. `which` is its query, where it leads to what that matches."""

    id: int
    which: str
    href: str
    target: str
    chip: Chip
    started: Moment
    progress: Progress
    facts: tuple[tuple[str, str], ...]
    detail: str
    can_cancel: bool
    can_resume: bool


SIGNING = {
    SignMode.AUTO: ("As needed", "Signs again where the signature is too old."),
    SignMode.ORIGINAL: ("As received", "Sends the old signature, byte for byte."),
    SignMode.FRESH: ("Sign again", "Signs with the source's secret and the current time."),
}
_CHIPS = {
    BatchState.RUNNING: Chip(kind="sending", text="Running"),
    BatchState.DONE: Chip(kind="done", text="Done"),
    BatchState.CANCELLED: Chip(kind="dim", text="Cancelled"),
    BatchState.STOPPED: Chip(kind="no", text="Stopped"),
}
_KINDS = {
    EventOutcome.REJECTED: "rejected events",
    EventOutcome.DUPLICATE: "duplicates",
    EventOutcome.IGNORED: "ignored events",
}
_INCLUDED = {
    (EventOutcome.REJECTED, True): "failed verification",
    (EventOutcome.REJECTED, False): "were rejected",
    (EventOutcome.DUPLICATE, False): "are duplicates",
    (EventOutcome.IGNORED, False): "were ignored",
}
_FAILED = Chip(kind="no", text="Failures")


def which(query: str) -> str:
    """Return what a query takes in, in words."""
    if query.startswith("id:") and " " not in query:
        return f"events {printable(query.removeprefix('id:').replace(',', ', '), 200)}"
    return printable(query, 200) or "every event"


def leads(target: str | None) -> str:
    """Return where a batch sends, in words."""
    return printable(target, 120) if target else "where their routes lead"


def planned(plan: Plan, new: NewBatch) -> Planned:
    """Return what a batch would do, with a box to tick for each kind of event that it leaves out."""
    events = len({step.event_id for step in plan.steps})
    count = plural(len(plan.steps), "delivery", "deliveries")
    return Planned(
        count=f"{count} of {plural(events, 'event')}",
        targets=tuple((printable(name, 120), f"{held:,}") for name, held in plan.targets.items()),
        oldest=moment(plan.oldest) if plan.oldest else None,
        newest=moment(plan.newest) if plan.newest else None,
        skipped=f"{plural(plan.skipped, 'event')} would go nowhere: no route leads from there to a target."
        if plan.skipped
        else "",
        ticks=tuple(_ticks(plan, new)),
    )


def _ticks(plan: Plan, new: NewBatch) -> Iterator[Tick]:
    for outcome in INCLUDABLE:
        left = [one for one in plan.left_out if one.outcome is outcome]
        chosen = outcome in new.include
        if not left and not chosen:
            continue
        count = sum(one.count for one in left)
        forged = outcome is EventOutcome.REJECTED and all(one.is_forged for one in left)
        yield Tick(
            name=f"include_{outcome}",
            text=f"Include {count:,} that {_INCLUDED[outcome, forged]}"
            if left
            else f"Includes {_KINDS[outcome]}",
            why="; ".join(one.words for one in left)
            if len(left) > 1
            else "".join(one.sentence for one in left),
            chosen=chosen,
        )


def progress(batch: Batch, counts: BatchCounts) -> Progress:
    """Return how far a batch is: `12 of 40, 1 failed`."""
    ended = batch.state is not BatchState.RUNNING
    done = counts.succeeded + counts.failed + counts.gone
    left = batch.total - done
    words = [f"{done:,} of {batch.total:,}"]
    words += [f"{counts.failed:,} failed"] if counts.failed else []
    words += [f"{counts.gone:,} of events that are gone"] if counts.gone else []
    words += [f"{left:,} not sent"] if ended and left else []
    return Progress(
        id=batch.id,
        words=", ".join(words),
        total=batch.total,
        sent=counts.succeeded + counts.gone,
        failed=counts.failed,
        # What was in flight when it was ended is over a moment later.
        over=ended and not counts.running,
    )


def line(batch: Batch, counts: BatchCounts, zone: tzinfo | None = None) -> BatchLine:
    """Return a batch with where its steps stand."""
    facts = [
        ("Events", which(batch.query)),
        ("Target", leads(batch.target)),
        ("Signature", SIGNING[batch.sign][0]),
        ("Rate", f"{batch.rate:g} a second" if batch.rate else "as fast as targets take them"),
        ("First failure", "stops it" if batch.stop_on_failure else "changes nothing"),
        ("Started", moment(batch.created_at, zone).full),
    ]
    facts += [("Ended", moment(batch.finished_at, zone).full)] if batch.finished_at else []
    return BatchLine(
        id=batch.id,
        which=which(batch.query),
        href=href(batch.query),
        target=leads(batch.target),
        chip=_FAILED if batch.state is BatchState.DONE and counts.failed else _CHIPS[batch.state],
        started=moment(batch.created_at, zone),
        progress=progress(batch, counts),
        facts=tuple(facts),
        detail=printable(batch.detail, 300),
        can_cancel=batch.state is BatchState.RUNNING,
        can_resume=batch.state in (BatchState.CANCELLED, BatchState.STOPPED),
    )
