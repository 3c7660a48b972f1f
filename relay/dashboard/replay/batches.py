"""Bulk replays as people read them: what was asked for, how far it is, what is left."""

from collections.abc import Iterator
from typing import Any

from relay.dashboard.filters import build_events_url, format_count, format_moment
from relay.dashboard.widgets import StatusChip
from relay.model.batch import INCLUDABLE_OUTCOMES, Batch, BatchCounts, BatchPlan, BatchState, NewBatch
from relay.model.delivery import SignMode
from relay.model.event import EventOutcome
from relay.model.text import escape_unprintable

SIGN_MODE_LABELS = {
    SignMode.AUTO: ("As needed", "Signs again where the signature is too old."),
    SignMode.ORIGINAL: ("As received", "Sends the old signature, byte for byte."),
    SignMode.FRESH: ("Sign again", "Signs with the source's secret and the current time."),
}
_STATE_CHIPS = {
    BatchState.RUNNING: StatusChip("sending", "Running"),
    BatchState.DONE: StatusChip("done", "Done"),
    BatchState.CANCELLED: StatusChip("dim", "Cancelled"),
    BatchState.STOPPED: StatusChip("no", "Stopped"),
}
_OUTCOME_NOUNS = {
    EventOutcome.REJECTED: "rejected events",
    EventOutcome.DUPLICATE: "duplicates",
    EventOutcome.IGNORED: "ignored events",
}
_INCLUDED_WORDS = {
    (EventOutcome.REJECTED, True): "failed verification",
    (EventOutcome.REJECTED, False): "were rejected",
    (EventOutcome.DUPLICATE, False): "are duplicates",
    (EventOutcome.IGNORED, False): "were ignored",
}


def describe_batch_query(query: str) -> str:
    """Return what a query takes in, in words."""
    if query.startswith("id:") and " " not in query:
        return f"events {escape_unprintable(query.removeprefix('id:').replace(',', ', '), 200)}"
    return escape_unprintable(query, 200) or "every event"


def describe_batch_target(target: str | None) -> str:
    """Return where a batch sends, in words."""
    return escape_unprintable(target, 120) if target else "where their routes lead"


def build_plan_values(plan: BatchPlan, new: NewBatch) -> dict[str, Any]:
    """Return what a batch would do, with a box to tick for each kind of event that it leaves out."""
    events = len({step.event_id for step in plan.steps})
    count = format_count(len(plan.steps), "delivery", "deliveries")
    return {
        "error": "",
        "count": f"{count} of {format_count(events, 'event')}",
        "targets": plan.targets,
        "oldest": plan.oldest,
        "newest": plan.newest,
        "skipped": plan.skipped,
        "ticks": tuple(_build_include_options(plan, new)),
    }


def _build_include_options(plan: BatchPlan, new: NewBatch) -> Iterator[dict[str, Any]]:
    for outcome in INCLUDABLE_OUTCOMES:
        left = [one for one in plan.left_out if one.outcome is outcome]
        chosen = outcome in new.include
        if not left and not chosen:
            continue
        count = sum(one.count for one in left)
        forged = outcome is EventOutcome.REJECTED and all(one.is_forged for one in left)
        yield {
            "name": f"include_{outcome}",
            "text": f"Include {count:,} that {_INCLUDED_WORDS[outcome, forged]}"
            if left
            else f"Includes {_OUTCOME_NOUNS[outcome]}",
            "why": "; ".join(one.words for one in left) if len(left) > 1 else "".join(one.sentence for one in left),
            "chosen": chosen,
        }


def build_batch_values(batch: Batch, counts: BatchCounts) -> dict[str, Any]:
    """Return a batch with where its steps stand; `which` is its query in words, `href` leads to what that matches."""
    facts = [
        ("Events", describe_batch_query(batch.query)),
        ("Target", describe_batch_target(batch.target)),
        ("Signature", SIGN_MODE_LABELS[batch.sign][0]),
        ("Rate", f"{batch.rate:g} a second" if batch.rate else "as fast as targets take them"),
        ("First failure", "stops it" if batch.stop_on_failure else "changes nothing"),
        ("Started", format_moment(batch.created_at).full),
    ]
    facts += [("Ended", format_moment(batch.finished_at).full)] if batch.finished_at else []
    has_failures = batch.state is BatchState.DONE and counts.failed
    return {
        "batch": batch,
        "which": describe_batch_query(batch.query),
        "href": build_events_url(batch.query),
        "target": describe_batch_target(batch.target),
        "chip": StatusChip("no", "Failures") if has_failures else _STATE_CHIPS[batch.state],
        "progress": _build_progress(batch, counts),
        "facts": facts,
    }


def _build_progress(batch: Batch, counts: BatchCounts) -> dict[str, Any]:
    """Return how far a batch is, `12 of 40, 1 failed`; `sent` and `failed` are steps of `total`, for the bar."""
    ended = batch.state is not BatchState.RUNNING
    done = counts.succeeded + counts.failed + counts.gone
    left = batch.total - done
    words = [f"{done:,} of {batch.total:,}"]
    words += [f"{counts.failed:,} failed"] if counts.failed else []
    words += [f"{counts.gone:,} of events that are gone"] if counts.gone else []
    words += [f"{left:,} not sent"] if ended and left else []
    return {
        "id": batch.id,
        "words": ", ".join(words),
        "total": batch.total,
        "sent": counts.succeeded + counts.gone,
        "failed": counts.failed,
        # What was in flight when it was ended is over a moment later.
        "over": ended and not counts.running,
    }
