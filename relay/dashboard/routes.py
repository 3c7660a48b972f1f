"""The routes of the dashboard: pages, parts, the stream, sign-in and static files."""

from functools import partial

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
from relay.dashboard.errors import PageHandler
from relay.dashboard.events import actions, compare
from relay.dashboard.events import page as events_page
from relay.dashboard.events.tabs import BODY_CACHE, BodyCache
from relay.dashboard.replay import dialog
from relay.dashboard.replay import page as replay_page
from relay.dashboard.responses import redirect
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

    sign_in = partial(errors.handle_login, guard=guard)
    files = [web.get(assets.PATTERN, assets.serve), web.get(assets.OPEN_PATTERN, assets.serve_open)]
    app.add_routes([*files, web.get("/login", sign_in), web.post("/login", sign_in)])
    for resource in _PAGES:
        app.router.register_resource(resource)


async def _redirect_home() -> web.StreamResponse:
    return redirect("/events")


_ID_PATTERN = "{id:[0-9]{1,18}}"
_TAB_PATTERN = "{tab:headers|verification|routing|deliveries|raw|hex|form}"
_PAGE_ROUTES: tuple[tuple[str, str, PageHandler], ...] = (
    ("GET", "/", _redirect_home),
    ("GET", "/stream", live.stream_updates),
    ("GET", "/events", events_page.show_events),
    ("GET", "/events/rows", events_page.show_rows),
    ("POST", "/events/pin", actions.pin_selected),
    ("GET", "/events/export", actions.export_selected),
    ("GET", "/events/delete", actions.confirm_delete),
    ("POST", "/events/delete", actions.delete_selected),
    ("GET", "/compare", compare.show_comparison),
    ("GET", "/replays", replay_page.show_replays),
    ("POST", "/replays", replay_page.start_replay),
    ("GET", f"/replays/{_ID_PATTERN}", replay_page.show_replay),
    ("POST", f"/replays/{_ID_PATTERN}/cancel", replay_page.cancel_replay),
    ("POST", f"/replays/{_ID_PATTERN}/resume", replay_page.resume_replay),
    ("GET", f"/events/{_ID_PATTERN}", events_page.show_event),
    ("GET", f"/events/{_ID_PATTERN}/{_TAB_PATTERN}", events_page.show_event),
    ("GET", f"/events/{_ID_PATTERN}/head", events_page.show_head),
    ("GET", f"/events/{_ID_PATTERN}/tree", events_page.show_tree),
    ("GET", f"/events/{_ID_PATTERN}/find", events_page.show_hits),
    ("GET", f"/events/{_ID_PATTERN}/body", events_page.download_body),
    ("GET", f"/events/{_ID_PATTERN}/curl", events_page.show_curl),
    ("GET", f"/events/{_ID_PATTERN}/replay", dialog.show_replay_form),
    ("POST", f"/events/{_ID_PATTERN}/replay", dialog.replay_event),
    ("POST", f"/events/{_ID_PATTERN}/replay/preview", dialog.preview_replay),
    ("GET", f"/events/{_ID_PATTERN}/email", dialog.show_email_form),
    ("POST", f"/events/{_ID_PATTERN}/email", dialog.send_email),
    ("GET", f"/events/{_ID_PATTERN}/email/preview", dialog.preview_email),
    ("POST", f"/events/{_ID_PATTERN}/pin", actions.pin_event),
    ("POST", f"/events/{_ID_PATTERN}/note", actions.save_note),
    ("POST", f"/events/{_ID_PATTERN}/delete", actions.delete_event),
    ("GET", "/deliveries", deliveries.show_deliveries),
    ("POST", "/deliveries/retry", deliveries.retry_failed),
    ("POST", "/deliveries/try", targets.retry_target),
    ("GET", "/deliveries/drop", targets.confirm_drop),
    ("POST", "/deliveries/drop", targets.drop_queue),
    ("GET", f"/deliveries/{_ID_PATTERN}", deliveries.show_deliveries),
    ("GET", f"/deliveries/{_ID_PATTERN}/result", dialog.show_delivery_result),
    ("POST", f"/deliveries/{_ID_PATTERN}/retry", deliveries.retry_delivery),
    ("POST", f"/deliveries/{_ID_PATTERN}/cancel", deliveries.cancel_delivery),
    ("GET", "/messages", messages.show_messages),
    ("GET", "/messages/rates", messages.show_messages),
    ("GET", "/messages/live", messages.show_message_updates),
    ("GET", f"/messages/{_ID_PATTERN}", messages.show_messages),
    ("GET", f"/messages/{_ID_PATTERN}/preview", messages.preview_message),
    ("GET", "/sources", sources.show_sources),
    ("GET", "/sources/{name}", sources.show_sources),
    ("GET", "/sources/{name}/catch-up", sources.show_section),
    ("POST", "/sources/{name}/catch-up", sources.begin_catch_up),
    ("GET", "/vault", vault.show_vault_form),
    ("POST", "/vault/unlock", vault.unlock_vault),
    ("POST", "/vault/lock", vault.lock_vault),
    ("POST", "/vault/secrets", vault.save_secret),
    ("POST", "/vault/secrets/{name}/remove", vault.remove_secret),
    ("GET", "/targets", targets.show_targets),
    ("GET", "/banners", targets.show_banners),
    ("POST", "/tunnel/reconnect", targets.reconnect_tunnel),
    ("GET", "/targets/{name}", targets.show_targets),
    ("GET", "/emails/dry-run", messages.show_dry_run),
    ("GET", "/emails/{name}/dry-run", messages.show_dry_run),
    ("GET", "/trigger", sources.show_trigger),
    ("POST", "/trigger", sources.trigger_sample),
    ("POST", "/theme", settings.switch_theme),
    ("GET", "/find", finder.show_finder),
    ("GET", "/stats", metrics.show_metrics),
    ("GET", "/lab", lab.show_lab),
    ("POST", "/lab", lab.start_run),
    ("GET", f"/lab/{_ID_PATTERN}", lab.show_run),
    ("POST", f"/lab/{_ID_PATTERN}/cancel", lab.cancel_run),
    ("GET", "/doctor", settings.show_health_check),
    ("GET", "/settings", settings.show_settings),
    ("POST", "/settings", settings.save_settings),
)
_PAGES = build_resources(
    web.route(method, path, errors.handle_page_errors(handler)) for method, path, handler in _PAGE_ROUTES
)
