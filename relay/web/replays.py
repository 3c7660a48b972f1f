"""Bulk replays: the form with its dry run, what is under way, and a way to stop and to go on."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from relay.errors import RelayError, UsageError
from relay.model.batch import INCLUDABLE, NewBatch
from relay.model.delivery import SignMode
from relay.web import gather, selection, standing
from relay.web.asked import identity
from relay.web.contexts.dialogs import Field
from relay.web.contexts.replays import BatchDialog, BatchesPage, BatchPage, BulkForm
from relay.web.keys import Desk, desk
from relay.web.posted import fields, see, sentence
from relay.web.render import RENDERER, html, partial, wants
from relay.web.view import batches, lists
from relay.web.view.batches import BatchLine, Planned
from relay.web.view.deliveries import address

_LISTED = 50


async def replays(request: web.Request) -> web.Response:
    """GET /replays: those that there are. With `?q=`, or rows that were ticked: the form, and what it would do."""
    asked = request.query
    if {"q", "id", "ids"} & set(asked):
        text = selection.query(asked)
        if wants(request) == "preview":
            planned = await _planned(request, text, asked)
            return html(request.app[RENDERER].part("parts/planned.html", planned=planned))
        return await _form(request, text, asked, {})
    here = desk(request)
    found = await here.store.batches.page(_LISTED)
    counts = await asyncio.gather(*(here.store.batches.counts(batch) for batch in found))
    page = BatchesPage(
        shell=await gather.frame(request, "Bulk replays", "deliveries"),
        lines=tuple(batches.line(batch, held) for batch, held in zip(found, counts, strict=True)),
    )
    return html(request.app[RENDERER].page(page))


async def start(request: web.Request) -> web.Response:
    """POST /replays with what the form holds: begins, and shows how far it is."""
    form = await fields(request)
    text = form.get("q", "")
    try:
        begun = await desk(request).verbs.bulk.start(_wanted(text, form))
    except RelayError as error:
        errors = {"target": sentence(error)}
        if wants(request) is not None:
            return html(request.app[RENDERER].part("parts/errors.html", errors=errors), 422)
        return await _form(request, text, await request.post(), errors)
    if wants(request) is None:
        return see(f"/replays/{begun.id}")
    dialog = BatchDialog(batch=await _line(desk(request), begun.id), back=f"/replays/{begun.id}")
    return await standing.dialog(request, dialog, "Bulk replay")


async def replay(request: web.Request) -> web.Response:
    """GET /replays/{id}: one of them; how far it is alone for whoever watches."""
    id_ = identity(request, "replay")
    batch = await _line(desk(request), id_)
    if wants(request) is not None:
        return _watched(request, batch)
    title = f"Bulk replay {id_}"
    page = BatchPage(shell=await gather.frame(request, title, "deliveries"), batch=batch)
    return html(request.app[RENDERER].page(page))


async def cancel(request: web.Request) -> web.Response:
    """POST /replays/{id}/cancel: what is not sent yet stays so."""
    id_ = identity(request, "replay")
    await desk(request).verbs.bulk.cancel(id_)
    return await _changed(request, id_)


async def resume(request: web.Request) -> web.Response:
    """POST /replays/{id}/resume: on from where it was."""
    id_ = identity(request, "replay")
    await desk(request).verbs.bulk.resume(id_)
    return await _changed(request, id_)


async def _changed(request: web.Request, id_: int) -> web.Response:
    if wants(request) is None:
        return see(f"/replays/{id_}")
    batch = await _line(desk(request), id_)
    return html(request.app[RENDERER].part("parts/batch.html", batch=batch))


def _watched(request: web.Request, batch: BatchLine) -> web.Response:
    renderer = request.app[RENDERER]
    reply = renderer.part("parts/progress.html", progress=batch.progress, watched=True)
    if batch.progress.over:
        # Only now, so that whoever is about to press Cancel keeps it under the finger.
        whole = renderer.part("parts/batch.html", batch=batch)
        said = lists.escaped(f"Bulk replay {batch.id}: {batch.progress.words}")
        reply = partial(f"#replay-{batch.id}", "outerHTML", whole) + partial("#announce", "textContent", said)
    return html(reply)


async def _line(here: Desk, id_: int) -> BatchLine:
    return batches.line(*await here.verbs.bulk.progress(id_))


async def _form(
    request: web.Request, text: str, asked: MultiMapping[Any], errors: Mapping[str, str]
) -> web.Response:
    here = desk(request)
    target, sign = asked.get("target", ""), asked.get("sign", SignMode.AUTO.value)
    ways = [("", "Where their routes lead", "")]
    ways += [(name, name, address(here.setup.addresses.get(name, ""))) for name in here.setup.targets]
    form = BulkForm(
        which=batches.which(text),
        query=text,
        targets=tuple(
            Field(value=value, name=name, help=where, chosen=value == target) for value, name, where in ways
        ),
        url=str(asked.get("url", "")),
        signs=tuple(
            Field(value=mode.value, name=name, help=said, chosen=mode.value == sign)
            for mode, (name, said) in batches.SIGNING.items()
        ),
        rate=str(asked.get("rate", "")),
        stop=bool(asked.get("stop")),
        planned=await _planned(request, text, asked),
        back=lists.href("" if text.startswith("id:") else text),
        errors=errors,
    )
    return await standing.dialog(request, form, "Bulk replay", status=422 if errors else 200)


async def _planned(request: web.Request, text: str, asked: Mapping[str, Any]) -> Planned:
    try:
        new = _wanted(text, asked)
        return batches.planned(await desk(request).verbs.bulk.plan(new), new)
    except RelayError as error:
        return Planned(count="Nothing", error=sentence(error))


def _wanted(text: str, asked: Mapping[str, Any]) -> NewBatch:
    sign = str(asked.get("sign", "")) or SignMode.AUTO.value
    return NewBatch(
        query=text,
        target=(str(asked.get("url", "")).strip() or str(asked.get("target", "")).strip()) or None,
        sign=SignMode(sign) if sign in tuple(SignMode) else SignMode.AUTO,
        rate=_rate(str(asked.get("rate", "")).strip()),
        stop_on_failure=bool(asked.get("stop")),
        include=frozenset(outcome for outcome in INCLUDABLE if asked.get(f"include_{outcome}")),
    )


def _rate(text: str) -> float | None:
    try:
        rate = float(text) if text else None
    except ValueError:
        rate = 0.0
    if rate is not None and not 0.01 <= rate <= 10_000:
        raise UsageError(
            "the rate is not a number of deliveries a second", hint="write one such as 5, or none"
        )
    return rate
