"""The JSON API: what the dashboard shows and does, for programs."""

import asyncio

from aiohttp import web

from relay.actions.forward import ForwardOptions
from relay.delivery.replay import warn_of_forgery
from relay.errors import UsageError
from relay.model.event import Event
from relay.model.signals import EventChanged
from relay.routing import RouteMatch, stumbled
from relay.store.deliveries import count_states
from relay.web import asked, shapes, vault
from relay.web.answers import json_response
from relay.web.bodies import decoded
from relay.web.diagnosis import ruled, wanted
from relay.web.keys import Desk, TriggerRequest, desk

_TEXT_LIMIT = 10_000


async def status(request: web.Request) -> web.Response:
    """GET /api/status: version, addresses, tunnel, store, sources, targets, queue counts."""
    here = desk(request)
    outage = await here.store.writer.look()
    setup, live = here.setup, here.live
    public = live.public_url
    counts = await here.store.events.counts()
    waiting = await here.store.deliveries.waiting()
    return json_response(
        {
            "version": setup.version,
            "boot": setup.boot,
            "ingress_url": setup.ingress_url,
            "dashboard_url": setup.dashboard_url,
            "public_url": public,
            "tunnel": {"state": live.tunnel.state, "public_url": public, "detail": live.tunnel.detail},
            "store": {
                "state": "failing" if outage else "ok",
                "detail": outage.sentence if outage else "",
                "hint": outage.hint if outage else "",
                "not_kept": live.unkept,
            },
            "sources": [
                shapes.source(item, setup.ingress_url + item.path, public and public + item.path)
                for item in setup.sources.values()
            ],
            "targets": [
                {
                    "name": target.name,
                    "action": target.action,
                    "address": setup.addresses.get(target.name, ""),
                    "state": live.state_of(target.name)[0],
                    "detail": live.state_of(target.name)[1],
                    "waiting": waiting.get(target.name, 0),
                    "concurrency": target.concurrency,
                    "order": "fifo" if target.fifo else "any",
                }
                for target in setup.targets.values()
            ],
            "queue": await here.store.deliveries.counts(),
            "events": {"total": counts.events, "rejected": counts.rejected, "failing": counts.failing},
            "refused": shapes.refusals(live.refused),
            "retention": shapes.retention(setup.keep, live.retention, await here.store.pruning.usage()),
            "vault": await vault.summary(here),
            "data_dir": str(setup.data_dir),
            "config": str(setup.config_path) if setup.config_path else None,
        },
    )


async def events(request: web.Request) -> web.Response:
    """GET /api/events?q=&limit=&before=&after=: newest first."""
    here = desk(request)
    page = await here.store.events.page(
        asked.search(request),
        limit=asked.limit(request),
        before=asked.number(request, "before", None),
        after=asked.number(request, "after", None),
        patience=1.0,
    )
    deliveries = await here.store.deliveries.of_events(row.id for row in page.rows)
    rows = [shapes.event_row(row, count_states(deliveries[row.id])) for row in page.rows]
    answer: shapes.Json = {"events": rows, "next_before": page.next_before}
    if page.searched_to is not None:
        answer["searched_to"] = shapes.moment(page.searched_to)
    return json_response(answer)


async def event(request: web.Request) -> web.Response:
    """GET /api/events/{id}: one event with headers, body, checks, hints and deliveries."""
    here = desk(request)
    whole = await here.store.events.get(asked.identity(request))
    made = (await here.store.deliveries.of_events([whole.id]))[whole.id]
    hints = shapes.hints(await here.verbs.diagnose(whole)) if wanted(whole) else []
    hints += [shapes.stumbled(match) for match in stumbled(whole, here.setup.routes)]
    shape = shapes.event(whole, count_states(made), hints)
    shape["delivery_ids"] = [item.id for item in made]
    payload = whole.capture.payload
    heavy = payload.is_heavy
    shape["decoded"] = await asyncio.to_thread(decoded, payload) if heavy else decoded(payload)
    return json_response(shape)


async def verify(request: web.Request) -> web.Response:
    """POST /api/events/{id}/verify: judge the signature again, with today's sources and secrets.

    Beside verdict, checks and hints it gives what was tried, the signature each secret gives, and what the
    source's rules of today have against the request.
    """
    here = desk(request)
    whole = await here.store.events.get(asked.identity(request))
    against = await ruled(whole, here.setup.sources.get(whole.row.source))
    return json_response(shapes.diagnosis(whole.row, await here.verbs.diagnose(whole), against))


async def body(request: web.Request) -> web.Response:
    """GET /api/events/{id}/body: the exact bytes, never as something a browser would run."""
    whole = await desk(request).store.events.get(asked.identity(request))
    return web.Response(
        body=whole.capture.body,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="event-{whole.id}.bin"',
        },
    )


async def delete_event(request: web.Request) -> web.Response:
    """DELETE /api/events/{id}."""
    here = desk(request)
    id_ = asked.identity(request)
    await here.store.events.delete(id_)
    here.bus.publish(EventChanged(id_))
    return json_response({"deleted": id_})


async def annotate(request: web.Request) -> web.Response:
    """PATCH /api/events/{id} with `{pinned, note}`."""
    here = desk(request)
    id_ = asked.identity(request)
    given = await asked.json_body(request)
    asked.known(given, {"pinned", "note"})
    pinned = given.get("pinned")
    if pinned is not None and not isinstance(pinned, bool):
        raise UsageError("pinned must be true or false", hint="")
    note = asked.text(given, "note")
    if note is not None and len(note) > _TEXT_LIMIT:
        raise UsageError(f"note is limited to {_TEXT_LIMIT} characters", hint="shorten it")
    note = None if note is None else note.encode("utf-8", "replace").decode()
    await here.store.events.annotate(id_, pinned=pinned, note=note)
    here.bus.publish(EventChanged(id_))
    return await event(request)


async def replay(request: web.Request) -> web.Response:
    """POST /api/events/{id}/replay: owe the event to a target or a URL, with edits."""
    given = await asked.json_body(request)
    asked.known(given, {"target", "url", *asked.EDITS})
    to = asked.text(given, "url") or asked.text(given, "target")
    if not to:
        raise UsageError("a replay needs a target or a url", hint='send {"target": "app"}')
    here, id_ = desk(request), asked.identity(request)
    event = await here.store.events.get(id_)
    changes = asked.changes(given, event.capture)
    made = await here.verbs.replay(id_, to, changes)
    warning = warn_of_forgery(event.row, changes.sign)
    return json_response({"delivery": made} | ({"warning": warning} if warning else {}), 202)


async def email(request: web.Request) -> web.Response:
    """POST /api/events/{id}/email with `{template, to, force}`."""
    template, to, force = await asked.letter(request)
    made = await desk(request).verbs.email(asked.identity(request), template, to, force)
    return json_response({"delivery": made}, 202)


async def preview_email(request: web.Request) -> web.Response:
    """POST /api/events/{id}/email/preview: renders and sends nothing."""
    template, to, _ = await asked.letter(request)
    return json_response(
        shapes.mail(await desk(request).verbs.preview_email(asked.identity(request), template, to))
    )


async def routes(request: web.Request) -> web.Response:
    """GET /api/events/{id}/routes: which route matched, which did not, and why."""
    here = desk(request)
    whole = await here.store.events.get(asked.identity(request))
    return json_response(
        {
            "routes": [
                {
                    "source": list(match.route.sources) or ["*"],
                    "events": list(match.route.events),
                    "when": match.route.when,
                    "to": list(match.route.targets),
                    "matched": match.matched,
                    "why": match.why,
                    "problem": match.problem,
                    "signing": _signing(here, whole, match) if match.matched else {},
                }
                for match in here.verbs.explain(whole)
            ],
        },
    )


def _signing(here: Desk, event: Event, match: RouteMatch) -> dict[str, str]:
    """Return in words which signature each forward target of a route gets."""
    found = ((name, here.setup.targets[name].options) for name in match.route.targets)
    described = (
        (name, here.verbs.signing(event, options.sign))
        for name, options in found
        if isinstance(options, ForwardOptions)
    )
    return {name: text for name, text in described if text}


async def deliveries(request: web.Request) -> web.Response:
    """GET /api/deliveries?state=&event=&target=&batch=&before=&limit=."""
    found = await desk(request).store.deliveries.page(
        state=request.query.get("state") or None,
        event=asked.number(request, "event", None),
        target=request.query.get("target") or None,
        batch=asked.number(request, "batch", None),
        before=asked.number(request, "before", None),
        limit=(wanted := asked.limit(request)),
    )
    last = found[-1].id if len(found) == wanted else None
    return json_response({"deliveries": [shapes.delivery(item) for item in found], "next_before": last})


async def delivery(request: web.Request) -> web.Response:
    """GET /api/deliveries/{id}: with every attempt."""
    store = desk(request).store
    item = await store.deliveries.get(asked.identity(request, "delivery"))
    return json_response(shapes.delivery(item, await store.deliveries.attempts(item.id)))


async def retry(request: web.Request) -> web.Response:
    """POST /api/deliveries/{id}/retry."""
    return json_response(
        shapes.delivery(await desk(request).verbs.retry(asked.identity(request, "delivery"))), 202
    )


async def cancel(request: web.Request) -> web.Response:
    """POST /api/deliveries/{id}/cancel."""
    return json_response(
        shapes.delivery(await desk(request).verbs.cancel(asked.identity(request, "delivery")))
    )


async def trigger(request: web.Request) -> web.Response:
    """POST /api/triggers: a signed sample event through the real ingress."""
    here = desk(request)
    given = await asked.json_body(request)
    asked.known(given, {"source", "type", "set", "body", "to"})
    source, type_ = asked.text(given, "source"), asked.text(given, "type")
    if not source or not type_:
        raise UsageError("a trigger needs source and type", hint="relay samples lists them")
    fields = given.get("set") or {}
    if not isinstance(fields, dict):
        raise UsageError(
            "set must be an object of paths and values", hint='write {"data.object.amount": 500}'
        )
    edited = asked.text(given, "body")
    wanted = TriggerRequest(
        source=source,
        type=type_,
        set=fields,
        body=None if edited is None else edited.encode("utf-8", "replace"),
        to=asked.text(given, "to"),
    )
    row = await here.verbs.trigger(wanted)
    made = await here.store.deliveries.of_events([row.id])
    local = here.verbs.local_key(row.source)
    shape = shapes.event_row(row, count_states(made[row.id]))
    shape["local_public_key"] = local.public or None if local else None
    shape["run_secret"] = local.secret.reveal() if local and local.is_run_secret else None
    return json_response(shape, 201)


async def samples(request: web.Request) -> web.Response:
    """GET /api/samples: what can be triggered, by source."""
    here = desk(request)
    source = request.query.get("source")
    names = [source] if source else list(here.setup.sources)
    return json_response({"samples": {name: list(here.verbs.samples(name)) for name in names}})


async def reconnect(request: web.Request) -> web.Response:
    """POST /api/tunnel/reconnect: build the tunnel again now."""
    desk(request).verbs.reconnect()
    return json_response({"tunnel": desk(request).live.tunnel.state}, 202)


async def healthz(_: web.Request) -> web.Response:
    """GET /healthz: relay is alive; asks for no token and tells nothing else."""
    return json_response({"status": "ok"})
