"""Bulk replays: the form with its dry run, what is under way, and a way to stop and to go on."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from relay.dashboard.filters import build_events_url, escape_html, format_count, format_moment
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import (
    build_selection_query,
    format_error,
    read_fields,
    redirect,
    render_dialog,
    render_page,
    render_part,
)
from relay.dashboard.widgets import StatusChip
from relay.errors import RelayError, UsageError
from relay.http.params import parse_id
from relay.http.responses import get_relay
from relay.model.batch import INCLUDABLE_OUTCOMES, Batch, BatchCounts, BatchPlan, BatchState, NewBatch
from relay.model.delivery import SignMode
from relay.model.event import EventOutcome
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_PAGE_SIZE = 50
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


async def show_replays(request: web.Request) -> web.Response:
    """GET /replays: those that there are. With `?q=`, or rows that were ticked: the form, and what it would do."""
    fields = request.query
    if {"q", "id", "ids"} & set(fields):
        text = build_selection_query(fields)
        if get_target_id(request) == "preview":
            planned = await _load_plan(request, text, fields)
            return render_part(request, "replay/plan.html", planned=planned)
        return await _build_bulk_form(request, text, fields, {})
    relay = get_relay(request)
    found = await relay.store.batches.page(_PAGE_SIZE)
    counts = await asyncio.gather(*(relay.store.batches.counts(batch) for batch in found))
    lines = [build_batch_values(batch, count) for batch, count in zip(found, counts, strict=True)]
    return await render_page(request, "replay/batches.html", "Bulk replays", "deliveries", lines=lines)


async def start_replay(request: web.Request) -> web.Response:
    """POST /replays with what the form holds: begins, and shows how far it is."""
    form = await read_fields(request)
    text = form.get("q", "")
    try:
        begun = await get_relay(request).bulk_replays.start(_parse_new_batch(text, form))
    except RelayError as error:
        errors = {"target": format_error(error)}
        if get_target_id(request) is not None:
            return render_part(request, "errors.html", 422, errors=errors)
        return await _build_bulk_form(request, text, await request.post(), errors)
    if get_target_id(request) is None:
        return redirect(f"/replays/{begun.id}")
    line = await _load_batch(get_relay(request), begun.id)
    back = (f"/replays/{begun.id}", "Events")
    return await render_dialog(request, "replay/started.html", "Bulk replay", back, line=line)


async def show_replay(request: web.Request) -> web.Response:
    """GET /replays/{id}: one of them; how far it is alone for those who watch."""
    id_ = parse_id(request, "replay")
    line = await _load_batch(get_relay(request), id_)
    if get_target_id(request) is not None:
        return _render_progress(request, line)
    return await render_page(request, "replay/batch_page.html", f"Bulk replay {id_}", "deliveries", line=line)


async def cancel_replay(request: web.Request) -> web.Response:
    """POST /replays/{id}/cancel: what is not sent yet stays so."""
    id_ = parse_id(request, "replay")
    await get_relay(request).bulk_replays.cancel(id_)
    return await _answer_change(request, id_)


async def resume_replay(request: web.Request) -> web.Response:
    """POST /replays/{id}/resume: on from where it was."""
    id_ = parse_id(request, "replay")
    await get_relay(request).bulk_replays.resume(id_)
    return await _answer_change(request, id_)


async def _answer_change(request: web.Request, id_: int) -> web.Response:
    if get_target_id(request) is None:
        return redirect(f"/replays/{id_}")
    line = await _load_batch(get_relay(request), id_)
    return render_part(request, "replay/batch.html", line=line)


def _render_progress(request: web.Request, line: dict[str, Any]) -> web.Response:
    renderer, progress = request.app[RENDERER], line["progress"]
    reply = renderer.part("replay/progress.html", progress=progress, watched=True)
    if progress["over"]:
        # Only now, so that a person about to press Cancel keeps it in place.
        whole = renderer.part("replay/batch.html", line=line)
        announcement = escape_html(f"Bulk replay {progress['id']}: {progress['words']}")
        reply = make_partial(f"#replay-{progress['id']}", "outerHTML", whole) + make_partial(
            "#announce", "textContent", announcement
        )
    return html_response(reply)


async def _load_batch(relay: RunningRelay, id_: int) -> dict[str, Any]:
    return build_batch_values(*await relay.bulk_replays.progress(id_))


async def _build_bulk_form(
    request: web.Request, text: str, fields: MultiMapping[Any], errors: Mapping[str, str]
) -> web.Response:
    relay = get_relay(request)
    targets = {"": ""} | {name: relay.target_addresses.get(name, "") for name in relay.config.targets}
    return await render_dialog(
        request,
        "replay/bulk_form.html",
        "Bulk replay",
        (build_events_url("" if text.startswith("id:") else text), "Events"),
        status=422 if errors else 200,
        which=describe_batch_query(text),
        query=text,
        targets=targets,
        target=fields.get("target", ""),
        url=str(fields.get("url", "")),
        signs=SIGN_MODE_LABELS,
        sign=fields.get("sign", SignMode.AUTO),
        rate=str(fields.get("rate", "")),
        stop=bool(fields.get("stop")),
        planned=await _load_plan(request, text, fields),
        errors=errors,
    )


async def _load_plan(request: web.Request, text: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        new = _parse_new_batch(text, fields)
        return build_plan_values(await get_relay(request).bulk_replays.plan(new), new)
    except RelayError as error:
        return {"error": format_error(error)}


def _parse_new_batch(text: str, fields: Mapping[str, Any]) -> NewBatch:
    sign = str(fields.get("sign", "")) or SignMode.AUTO.value
    return NewBatch(
        query=text,
        target=(str(fields.get("url", "")).strip() or str(fields.get("target", "")).strip()) or None,
        sign=SignMode(sign) if sign in tuple(SignMode) else SignMode.AUTO,
        rate=_parse_rate(str(fields.get("rate", "")).strip()),
        stop_on_failure=bool(fields.get("stop")),
        include=frozenset(outcome for outcome in INCLUDABLE_OUTCOMES if fields.get(f"include_{outcome}")),
    )


def _parse_rate(text: str) -> float | None:
    try:
        rate = float(text) if text else None
    except ValueError:
        rate = 0.0
    if rate is not None and not 0.01 <= rate <= 10_000:
        raise UsageError("the rate is not a number of deliveries a second", hint="write one such as 5, or none")
    return rate


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
