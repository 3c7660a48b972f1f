"""The routes of the dashboard: pages, parts, the stream, sign-in and static files."""

from aiohttp import web

from relay.dashboard import (
    deliveries,
    errors,
    finder,
    lab,
    live,
    messages,
    metrics,
    render,
    settings,
    sources,
    targets,
    vault,
)
from relay.dashboard.assets import Assets
from relay.dashboard.events import actions, compare
from relay.dashboard.events import page as events_page
from relay.dashboard.events.tabs import BODY_CACHE, BodyCache
from relay.dashboard.replay import dialog, email
from relay.dashboard.replay import page as replay_page
from relay.http.event_stream import EventStreams
from relay.http.guard import Guard
from relay.http.responses import REFUSAL_RENDERER, RELAY
from relay.http.server import build_resources


def add_dashboard(app: web.Application, guard: Guard) -> None:
    """Add pages, parts, the stream, sign-in and static files to an app."""
    assets = Assets()
    app[REFUSAL_RENDERER] = errors.error_response_for
    app[render.RENDERER] = render.Renderer(guard.csrf, assets, app[RELAY].dashboard_url)
    app[BODY_CACHE] = BodyCache()
    app[live.PAGE_STREAMS] = EventStreams("too many pages are open")
    app.on_shutdown.append(app[live.PAGE_STREAMS].close)

    async def sign_in(request: web.Request) -> web.StreamResponse:
        return await errors.handle_login(request, guard)

    files = [web.get(assets.PATTERN, assets.serve), web.get(assets.OPEN_PATTERN, assets.serve_open)]
    app.add_routes([*files, web.get("/login", sign_in), web.post("/login", sign_in)])
    for resource in _PAGES:
        app.router.register_resource(resource)


async def _redirect_home(_: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers={"Location": "/events"})


_ID_PATTERN = "{id:[0-9]{1,18}}"
_TAB_PATTERN = "{tab:headers|verification|routing|deliveries|raw|hex|form}"
_PAGE_ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/", _redirect_home),
    web.get("/stream", live.stream_updates),
    web.get("/events", events_page.show_events),
    web.get("/events/rows", events_page.show_rows),
    web.post("/events/pin", actions.pin_selected),
    web.get("/events/export", actions.export_selected),
    web.get("/events/delete", actions.confirm_delete),
    web.post("/events/delete", actions.delete_selected),
    web.get("/compare", compare.show_comparison),
    web.get("/replays", replay_page.show_replays),
    web.post("/replays", replay_page.start_replay),
    web.get(f"/replays/{_ID_PATTERN}", replay_page.show_replay),
    web.post(f"/replays/{_ID_PATTERN}/cancel", replay_page.cancel_replay),
    web.post(f"/replays/{_ID_PATTERN}/resume", replay_page.resume_replay),
    web.get(f"/events/{_ID_PATTERN}", events_page.show_event),
    web.get(f"/events/{_ID_PATTERN}/{_TAB_PATTERN}", events_page.show_event),
    web.get(f"/events/{_ID_PATTERN}/head", events_page.show_head),
    web.get(f"/events/{_ID_PATTERN}/tree", events_page.show_tree),
    web.get(f"/events/{_ID_PATTERN}/find", events_page.show_hits),
    web.get(f"/events/{_ID_PATTERN}/body", events_page.download_body),
    web.get(f"/events/{_ID_PATTERN}/curl", events_page.show_curl),
    web.get(f"/events/{_ID_PATTERN}/replay", dialog.show_replay_form),
    web.post(f"/events/{_ID_PATTERN}/replay", dialog.replay_event),
    web.post(f"/events/{_ID_PATTERN}/replay/preview", dialog.preview_replay),
    web.get(f"/events/{_ID_PATTERN}/email", email.show_email_form),
    web.post(f"/events/{_ID_PATTERN}/email", email.send_email),
    web.get(f"/events/{_ID_PATTERN}/email/preview", email.preview_email),
    web.post(f"/events/{_ID_PATTERN}/pin", actions.pin_event),
    web.post(f"/events/{_ID_PATTERN}/note", actions.save_note),
    web.post(f"/events/{_ID_PATTERN}/delete", actions.delete_event),
    web.get("/deliveries", deliveries.show_deliveries),
    web.post("/deliveries/retry", deliveries.retry_failed),
    web.get(f"/deliveries/{_ID_PATTERN}", deliveries.show_deliveries),
    web.get(f"/deliveries/{_ID_PATTERN}/result", dialog.show_delivery_result),
    web.post(f"/deliveries/{_ID_PATTERN}/retry", deliveries.retry_delivery),
    web.post(f"/deliveries/{_ID_PATTERN}/cancel", deliveries.cancel_delivery),
    web.get("/messages", messages.show_messages),
    web.get("/messages/rates", messages.show_messages),
    web.get("/messages/live", messages.show_message_updates),
    web.get(f"/messages/{_ID_PATTERN}", messages.show_messages),
    web.get(f"/messages/{_ID_PATTERN}/preview", messages.preview_message),
    web.get("/sources", sources.show_sources),
    web.get("/sources/{name}", sources.show_sources),
    web.get("/sources/{name}/catch-up", sources.show_section),
    web.post("/sources/{name}/catch-up", sources.begin_catch_up),
    web.get("/vault", vault.show_vault_form),
    web.post("/vault/unlock", vault.unlock_vault),
    web.post("/vault/lock", vault.lock_vault),
    web.post("/vault/secrets", vault.save_secret),
    web.post("/vault/secrets/{name}/remove", vault.remove_secret),
    web.get("/targets", targets.show_targets),
    web.get("/banners", targets.show_banners),
    web.post("/tunnel/reconnect", targets.reconnect_tunnel),
    web.post("/targets/try", targets.retry_target),
    web.get("/targets/drop", targets.confirm_drop),
    web.post("/targets/drop", targets.drop_queue),
    web.get("/emails/dry-run", messages.show_dry_run),
    web.get("/emails/{name}/dry-run", messages.show_dry_run),
    web.get("/trigger", sources.show_trigger),
    web.post("/trigger", sources.trigger_sample),
    web.post("/theme", settings.switch_theme),
    web.get("/find", finder.show_finder),
    web.get("/stats", metrics.show_metrics),
    web.get("/lab", lab.show_lab),
    web.post("/lab", lab.start_run),
    web.get(f"/lab/{_ID_PATTERN}", lab.show_run),
    web.post(f"/lab/{_ID_PATTERN}/cancel", lab.cancel_run),
    web.get("/doctor", settings.show_health_check),
    web.get("/settings", settings.show_settings),
    web.post("/settings", settings.save_settings),
)
_PAGES = build_resources(
    web.route(page.method, page.path, errors.handle_page_errors(page.handler)) for page in _PAGE_ROUTES
)
