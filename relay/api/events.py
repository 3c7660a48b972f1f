"""The JSON API: what the dashboard shows and does, for programs."""

import asyncio
from dataclasses import asdict

from aiohttp import web

from relay.actions.forward import ForwardOptions
from relay.api import serializers, vault
from relay.dashboard.events.bodies import describe_decoding
from relay.delivery.replay import warn_of_forgery
from relay.errors import UsageError
from relay.http import params
from relay.http.context import get_relay
from relay.http.responses import json_response
from relay.model.event import CapturedEvent
from relay.model.signals import EventChanged
from relay.pipeline.diagnosis import find_rule_problems, needs_diagnosis
from relay.pipeline.routing import RouteMatch, find_failed_routes
from relay.services.relay import RunningRelay, TriggerRequest
from relay.store.deliveries import count_states

_MAX_NOTE = 10_000


async def get_status(request: web.Request) -> web.Response:
    """GET /api/status: version, addresses, tunnel, store, sources, targets, queue counts."""
    relay = get_relay(request)
    outage = await relay.store.writer.look()
    state = relay.state
    public = state.public_url
    counts = await relay.store.events.counts()
    waiting = await relay.store.deliveries.waiting()
    return json_response(
        {
            "version": relay.version,
            "boot": relay.boot_id,
            "ingress_url": relay.ingress_url,
            "dashboard_url": relay.dashboard_url,
            "public_url": public,
            "tunnel": {"state": state.tunnel.state, "public_url": public, "detail": state.tunnel.detail},
            "store": {
                "state": "failing" if outage else "ok",
                "detail": outage.message if outage else "",
                "hint": outage.hint if outage else "",
                "not_kept": state.unkept,
            },
            "sources": [
                serializers.serialize_source(item, relay.ingress_url + item.path, public and public + item.path)
                for item in relay.sources.by_name.values()
            ],
            "targets": [
                {
                    "name": target.name,
                    "action": target.action,
                    "address": relay.target_addresses.get(target.name, ""),
                    "state": state.state_of(target.name)[0],
                    "detail": state.state_of(target.name)[1],
                    "waiting": waiting.get(target.name, 0),
                    "concurrency": target.concurrency,
                    "order": "fifo" if target.fifo else "any",
                }
                for target in relay.config.targets.values()
            ],
            "queue": await relay.store.deliveries.counts(),
            "events": {"total": counts.events, "rejected": counts.rejected, "failing": counts.failing},
            "refused": serializers.serialize_refusals(state.refused),
            "retention": serializers.serialize_retention(
                relay.config.keep, state.retention, await relay.store.pruning.usage()
            ),
            "vault": await vault.load_vault_summary(relay),
            "data_dir": str(relay.config.server.data_dir),
            "config": str(relay.config.path) if relay.config.path else None,
        }
    )


async def list_events(request: web.Request) -> web.Response:
    """GET /api/events?q=&limit=&before=&after=: newest first."""
    relay = get_relay(request)
    page = await relay.store.events.page(
        params.parse_query(request),
        limit=params.parse_limit(request),
        before=params.parse_number(request, "before", None),
        after=params.parse_number(request, "after", None),
        patience=1.0,
    )
    deliveries = await relay.store.deliveries.of_events(row.id for row in page.rows)
    rows = [serializers.serialize_event_row(row, count_states(deliveries[row.id])) for row in page.rows]
    answer: serializers.Json = {"events": rows, "next_before": page.next_before}
    if page.searched_to is not None:
        answer["searched_to"] = serializers.format_time(page.searched_to)
    return json_response(answer)


async def get_event(request: web.Request) -> web.Response:
    """GET /api/events/{id}: one event with headers, body, checks, hints and deliveries."""
    relay = get_relay(request)
    whole = await relay.store.events.get(params.parse_id(request))
    made = (await relay.store.deliveries.of_events([whole.id]))[whole.id]
    hints = serializers.serialize_hints(await relay.signature_doctor.diagnose(whole)) if needs_diagnosis(whole) else []
    hints += [serializers.serialize_condition_error(match) for match in find_failed_routes(whole, relay.config.routes)]
    shape = serializers.serialize_event(whole, count_states(made), hints)
    shape["delivery_ids"] = [item.id for item in made]
    payload = whole.capture.payload
    heavy = payload.is_heavy
    shape["decoded"] = await asyncio.to_thread(describe_decoding, payload) if heavy else describe_decoding(payload)
    return json_response(shape)


async def verify_event(request: web.Request) -> web.Response:
    """POST /api/events/{id}/verify: judge the signature again, with today's sources and secrets.

    Beside verdict, checks and hints it gives what was tried, the signature each secret gives, and what the
    source's rules of today have against the request.
    """
    relay = get_relay(request)
    whole = await relay.store.events.get(params.parse_id(request))
    against = await find_rule_problems(whole, relay.sources.by_name.get(whole.row.source))
    return json_response(
        serializers.serialize_diagnosis(whole.row, await relay.signature_doctor.diagnose(whole), against)
    )


async def get_body(request: web.Request) -> web.Response:
    """GET /api/events/{id}/body: the exact bytes, never as something a browser would run."""
    whole = await get_relay(request).store.events.get(params.parse_id(request))
    return web.Response(
        body=whole.capture.body,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="event-{whole.id}.bin"',
        },
    )


async def delete_event(request: web.Request) -> web.Response:
    """DELETE /api/events/{id}."""
    relay = get_relay(request)
    id_ = params.parse_id(request)
    await relay.store.events.delete(id_)
    relay.bus.publish(EventChanged(id_))
    return json_response({"deleted": id_})


async def annotate_event(request: web.Request) -> web.Response:
    """PATCH /api/events/{id} with `{pinned, note}`."""
    relay = get_relay(request)
    id_ = params.parse_id(request)
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"pinned", "note"})
    pinned = given.get("pinned")
    if pinned is not None and not isinstance(pinned, bool):
        raise UsageError("pinned must be true or false", hint="")
    note = params.get_text(given, "note")
    if note is not None and len(note) > _MAX_NOTE:
        raise UsageError(f"note is limited to {_MAX_NOTE} characters", hint="shorten it")
    note = None if note is None else note.encode("utf-8", "replace").decode()
    await relay.store.events.annotate(id_, pinned=pinned, note=note)
    relay.bus.publish(EventChanged(id_))
    return await get_event(request)


async def replay_event(request: web.Request) -> web.Response:
    """POST /api/events/{id}/replay: owe the event to a target or a URL, with edits."""
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"target", "url", *params.EDIT_KEYS})
    to = params.get_text(given, "url") or params.get_text(given, "target")
    if not to:
        raise UsageError("a replay needs a target or a url", hint='send {"target": "app"}')
    relay, id_ = get_relay(request), params.parse_id(request)
    event = await relay.store.events.get(id_)
    changes = params.read_changes(given, event.capture)
    made = await relay.replays.replay_event(id_, to, changes)
    warning = warn_of_forgery(event.row, changes.sign)
    return json_response({"delivery": made} | ({"warning": warning} if warning else {}), 202)


async def email_event(request: web.Request) -> web.Response:
    """POST /api/events/{id}/email with `{template, to, force}`."""
    template, to, force = await params.read_email_request(request)
    relay = get_relay(request)
    event = await relay.store.events.get(params.parse_id(request))
    made = await relay.replays.email_event(event, template, to, force)
    return json_response({"delivery": made}, 202)


async def preview_email(request: web.Request) -> web.Response:
    """POST /api/events/{id}/email/preview: renders and sends nothing."""
    template, to, _ = await params.read_email_request(request)
    relay = get_relay(request)
    event = await relay.store.events.get(params.parse_id(request))
    return json_response(serializers.serialize_mail(await relay.replays.preview_email(event, template, to)))


async def explain_routes(request: web.Request) -> web.Response:
    """GET /api/events/{id}/routes: which route matched, which did not, and why."""
    relay = get_relay(request)
    whole = await relay.store.events.get(params.parse_id(request))
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
                    "signing": _describe_signing(relay, whole, match) if match.matched else {},
                }
                for match in relay.explain_routes(whole)
            ]
        }
    )


def _describe_signing(relay: RunningRelay, event: CapturedEvent, match: RouteMatch) -> dict[str, str]:
    """Return in words which signature each forward target of a route gets."""
    found = ((name, relay.config.targets[name].options) for name in match.route.targets)
    described = (
        (name, relay.describe_signing(event, options.sign))
        for name, options in found
        if isinstance(options, ForwardOptions)
    )
    return {name: text for name, text in described if text}


async def list_deliveries(request: web.Request) -> web.Response:
    """GET /api/deliveries?state=&event=&target=&batch=&before=&limit=."""
    found = await get_relay(request).store.deliveries.page(
        state=request.query.get("state") or None,
        event=params.parse_number(request, "event", None),
        target=request.query.get("target") or None,
        batch=params.parse_number(request, "batch", None),
        before=params.parse_number(request, "before", None),
        limit=(wanted := params.parse_limit(request)),
    )
    last = found[-1].id if len(found) == wanted else None
    return json_response({"deliveries": [serializers.serialize_delivery(item) for item in found], "next_before": last})


async def get_delivery(request: web.Request) -> web.Response:
    """GET /api/deliveries/{id}: with every attempt."""
    store = get_relay(request).store
    item = await store.deliveries.get(params.parse_id(request, "delivery"))
    return json_response(serializers.serialize_delivery(item, await store.deliveries.attempts(item.id)))


async def retry_delivery(request: web.Request) -> web.Response:
    """POST /api/deliveries/{id}/retry."""
    return json_response(
        serializers.serialize_delivery(
            await get_relay(request).replays.retry_delivery(params.parse_id(request, "delivery"))
        ),
        202,
    )


async def cancel_delivery(request: web.Request) -> web.Response:
    """POST /api/deliveries/{id}/cancel."""
    return json_response(
        serializers.serialize_delivery(
            await get_relay(request).replays.cancel_delivery(params.parse_id(request, "delivery"))
        )
    )


async def trigger_sample(request: web.Request) -> web.Response:
    """POST /api/triggers: a signed sample event through the real ingress."""
    relay = get_relay(request)
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"source", "type", "set", "body", "to"})
    source, type_ = params.get_text(given, "source"), params.get_text(given, "type")
    if not source or not type_:
        raise UsageError("a trigger needs source and type", hint="relay samples lists them")
    fields = given.get("set") or {}
    if not isinstance(fields, dict):
        raise UsageError("set must be an object of paths and values", hint='write {"data.object.amount": 500}')
    edited = params.get_text(given, "body")
    wanted = TriggerRequest(
        source=source,
        type=type_,
        set=fields,
        body=None if edited is None else edited.encode("utf-8", "replace"),
        to=params.get_text(given, "to"),
    )
    row = await relay.trigger_sample(wanted)
    made = await relay.store.deliveries.of_events([row.id])
    local = relay.find_local_key(row.source)
    shape = serializers.serialize_event_row(row, count_states(made[row.id]))
    shape["local_public_key"] = local.public or None if local else None
    shape["run_secret"] = local.secret.reveal() if local and local.is_run_secret else None
    return json_response(shape, 201)


async def list_samples(request: web.Request) -> web.Response:
    """GET /api/samples: what can be triggered, by source."""
    relay = get_relay(request)
    source = request.query.get("source")
    names = [source] if source else list(relay.sources.by_name)
    return json_response({"samples": {name: list(relay.list_sample_types(name)) for name in names}})


async def reconnect_tunnel(request: web.Request) -> web.Response:
    """POST /api/tunnel/reconnect: build the tunnel again now."""
    get_relay(request).reconnect_tunnel()
    return json_response({"tunnel": get_relay(request).state.tunnel.state}, 202)


async def get_health(_: web.Request) -> web.Response:
    """GET /healthz: relay is alive; asks for no token and tells nothing else."""
    return json_response({"status": "ok"})


async def list_findings(request: web.Request) -> web.Response:
    """GET /api/doctor: everything relay needs, looked at now."""
    return json_response({"findings": [asdict(one) for one in await get_relay(request).check_health()]})
