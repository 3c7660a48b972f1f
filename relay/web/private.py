"""The app you see: one table of routes for pages, parts, API, stream and static files."""

from aiohttp import web

from relay.web import (
    api,
    bulk,
    catch_up,
    compare,
    deeds,
    deliveries,
    doctor,
    events,
    faults,
    feed,
    finder,
    forms,
    frames,
    lab_pages,
    labs,
    message_pages,
    messages,
    metrics,
    outages,
    pages,
    parts,
    render,
    replays,
    selection,
    settings,
    stats,
    stream,
    theme,
    transfer,
    vault,
    vault_forms,
)
from relay.web.assets import Assets
from relay.web.bodies import BODIES, Bodies
from relay.web.guard import Guard, add_headers, guarded, login
from relay.web.keys import CSRF, DESK, Desk
from relay.web.rehearsals import dry_run, dry_run_page

MAX_BODY = 1024 * 1024  # bytes that a call may carry


def private_app(desk: Desk, guard: Guard) -> web.Application:
    """Return the dashboard with its API, guarded."""
    app = web.Application(middlewares=[guarded(guard)], client_max_size=MAX_BODY)
    app[DESK] = desk
    app[CSRF] = guard.csrf
    app[feed.VIEWERS] = set()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(feed.close)
    _furnish(app, guard)

    async def enter(request: web.Request) -> web.StreamResponse:
        return await login(request, guard)

    app.add_routes([web.get("/login", enter), web.post("/login", enter), *_ROUTES])
    return app


def _furnish(app: web.Application, guard: Guard) -> None:
    assets = Assets()
    app[render.ASSETS] = assets
    app[render.RENDERER] = render.Renderer(guard.csrf, assets, app[DESK].setup.dashboard_url)
    app[BODIES] = Bodies()
    app[frames.DRAWINGS] = frames.Drawings()
    app[stream.VIEWERS] = {}
    app.on_shutdown.append(stream.close)
    pages_ = [web.route(page.method, page.path, faults.shown(page.handler), **page.kwargs) for page in _PAGES]
    files = [web.get(assets.PATTERN, assets.serve), web.get(assets.OPEN_PATTERN, assets.serve_open)]
    app.add_routes([*files, *pages_])


async def _home(_: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers={"Location": "/events"})


_ID = "{id:[0-9]+}"
_TABS = "{tab:headers|verification|routing|deliveries|raw|hex|form}"
_PAGES: tuple[web.RouteDef, ...] = (
    web.get("/", _home),
    web.get("/stream", stream.stream),
    web.get("/events", events.events),
    web.get("/events/rows", parts.rows),
    web.post("/events/pin", selection.pin),
    web.get("/events/export", selection.export),
    web.get("/events/delete", selection.ask_delete),
    web.post("/events/delete", selection.delete),
    web.get("/compare", compare.compare),
    web.get("/replays", replays.replays),
    web.post("/replays", replays.start),
    web.get(f"/replays/{_ID}", replays.replay),
    web.post(f"/replays/{_ID}/cancel", replays.cancel),
    web.post(f"/replays/{_ID}/resume", replays.resume),
    web.get(f"/events/{_ID}", events.event),
    web.get(f"/events/{_ID}/{_TABS}", events.event),
    web.get(f"/events/{_ID}/head", parts.head),
    web.get(f"/events/{_ID}/tree", parts.tree),
    web.get(f"/events/{_ID}/find", parts.find),
    web.get(f"/events/{_ID}/body", parts.body),
    web.get(f"/events/{_ID}/curl", parts.curl),
    web.get(f"/events/{_ID}/replay", forms.replay_form),
    web.post(f"/events/{_ID}/replay", forms.replay),
    web.post(f"/events/{_ID}/replay/preview", forms.replay_preview),
    web.get(f"/events/{_ID}/email", forms.email_form),
    web.post(f"/events/{_ID}/email", forms.email),
    web.get(f"/events/{_ID}/email/preview", forms.email_preview),
    web.post(f"/events/{_ID}/pin", deeds.pin),
    web.post(f"/events/{_ID}/note", deeds.note),
    web.post(f"/events/{_ID}/delete", deeds.delete),
    web.get("/deliveries", deliveries.deliveries),
    web.post("/deliveries/retry", deliveries.retry_all),
    web.get(f"/deliveries/{_ID}", deliveries.deliveries),
    web.get(f"/deliveries/{_ID}/result", forms.result),
    web.post(f"/deliveries/{_ID}/retry", deeds.retry),
    web.post(f"/deliveries/{_ID}/cancel", deeds.cancel),
    web.get("/messages", message_pages.messages),
    web.get("/messages/rates", message_pages.messages),
    web.get("/messages/live", message_pages.live),
    web.get(f"/messages/{_ID}", message_pages.messages),
    web.get(f"/messages/{_ID}/preview", message_pages.preview),
    web.get("/sources", pages.sources),
    web.get("/sources/{name}", pages.sources),
    web.get("/sources/{name}/catch-up", catch_up.part),
    web.post("/sources/{name}/catch-up", catch_up.begin),
    web.get("/vault", vault_forms.dialog),
    web.post("/vault/unlock", vault_forms.unlock),
    web.post("/vault/lock", vault_forms.lock),
    web.post("/vault/secrets", vault_forms.keep),
    web.post("/vault/secrets/{name}/remove", vault_forms.remove),
    web.get("/targets", pages.targets),
    web.get("/banners", outages.shown),
    web.post("/tunnel/reconnect", outages.reconnect),
    web.post("/targets/try", outages.try_now),
    web.get("/targets/drop", outages.ask_drop),
    web.post("/targets/drop", outages.drop),
    web.get("/emails/dry-run", dry_run_page),
    web.get("/emails/{name}/dry-run", dry_run_page),
    web.get("/trigger", pages.trigger),
    web.post("/trigger", deeds.trigger),
    web.post("/theme", theme.switch),
    web.get("/find", finder.find),
    web.get("/stats", metrics.page),
    web.get("/lab", lab_pages.lab),
    web.post("/lab", lab_pages.start),
    web.get(f"/lab/{_ID}", lab_pages.run),
    web.post(f"/lab/{_ID}/cancel", lab_pages.cancel),
    web.get("/doctor", doctor.page),
    web.get("/settings", settings.page),
    web.post("/settings", settings.save),
)

_ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/healthz", api.healthz),
    web.get("/api/status", api.status),
    web.get("/api/events", api.events),
    web.get("/api/events/{id}", api.event),
    web.delete("/api/events/{id}", api.delete_event),
    web.patch("/api/events/{id}", api.annotate),
    web.get("/api/events/{id}/body", api.body),
    web.post("/api/events/{id}/replay", api.replay),
    web.post("/api/events/{id}/verify", api.verify),
    web.post("/api/events/{id}/email", api.email),
    web.post("/api/events/{id}/email/preview", api.preview_email),
    web.get("/api/events/{id}/routes", api.routes),
    web.get("/api/deliveries", api.deliveries),
    web.post("/api/deliveries/retry", bulk.retry),
    web.post("/api/deliveries/cancel", bulk.cancel),
    web.get("/api/replays", bulk.replays),
    web.post("/api/replays", bulk.start),
    web.get("/api/replays/{id}", bulk.replay),
    web.post("/api/replays/{id}/cancel", bulk.stop),
    web.post("/api/replays/{id}/resume", bulk.resume),
    web.get("/api/labs", labs.labs),
    web.post("/api/labs", labs.start),
    web.get("/api/labs/{id}", labs.lab),
    web.post("/api/labs/{id}/cancel", labs.cancel),
    web.get("/api/deliveries/{id}", api.delivery),
    web.post("/api/deliveries/{id}/retry", api.retry),
    web.post("/api/deliveries/{id}/cancel", api.cancel),
    web.post("/api/triggers", api.trigger),
    web.get("/api/samples", api.samples),
    web.get("/api/messages", messages.messages),
    web.post("/api/messages", messages.register),
    web.get("/api/messages/rates", messages.rates),
    web.get("/api/messages/{id}", messages.message),
    web.post("/api/catch-up", catch_up.start),
    web.get("/api/catch-up/{source}", catch_up.state),
    web.post("/api/catch-up/{source}/cancel", catch_up.cancel),
    web.post("/api/emails/dry-run", dry_run),
    web.post("/api/tunnel/reconnect", api.reconnect),
    web.get("/api/stats", stats.stats),
    web.get("/api/doctor", doctor.findings),
    web.get("/metrics", stats.metrics),
    web.get("/api/vault", vault.standing),
    web.post("/api/vault/unlock", vault.unlock),
    web.post("/api/vault/lock", vault.lock),
    web.put("/api/vault/secrets/{name}", vault.put),
    web.delete("/api/vault/secrets/{name}", vault.remove),
    web.get("/api/stream", feed.stream),
    web.get("/api/export", transfer.export),
    web.post("/api/import", transfer.import_),
)
