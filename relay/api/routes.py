"""The routes of the JSON API."""

from aiohttp import web

from relay.api import catch_up, events, labs, messages, replays, stats, stream, transfer, vault
from relay.api.emails import run_dry_run
from relay.http.guard import Guard

API_ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/healthz", events.get_health),
    web.get("/api/status", events.get_status),
    web.get("/api/events", events.list_events),
    web.get("/api/events/{id}", events.get_event),
    web.delete("/api/events/{id}", events.delete_event),
    web.patch("/api/events/{id}", events.annotate_event),
    web.get("/api/events/{id}/body", events.get_body),
    web.post("/api/events/{id}/replay", events.replay_event),
    web.post("/api/events/{id}/verify", events.verify_event),
    web.post("/api/events/{id}/email", events.email_event),
    web.post("/api/events/{id}/email/preview", events.preview_email),
    web.get("/api/events/{id}/routes", events.explain_routes),
    web.get("/api/deliveries", events.list_deliveries),
    web.post("/api/deliveries/retry", replays.retry_deliveries),
    web.post("/api/deliveries/cancel", replays.cancel_deliveries),
    web.get("/api/replays", replays.list_replays),
    web.post("/api/replays", replays.start_replay),
    web.get("/api/replays/{id}", replays.get_replay),
    web.post("/api/replays/{id}/cancel", replays.cancel_replay),
    web.post("/api/replays/{id}/resume", replays.resume_replay),
    web.get("/api/labs", labs.list_labs),
    web.post("/api/labs", labs.start_lab),
    web.get("/api/labs/{id}", labs.get_lab),
    web.post("/api/labs/{id}/cancel", labs.cancel_lab),
    web.get("/api/deliveries/{id}", events.get_delivery),
    web.post("/api/deliveries/{id}/retry", events.retry_delivery),
    web.post("/api/deliveries/{id}/cancel", events.cancel_delivery),
    web.post("/api/triggers", events.trigger_sample),
    web.get("/api/samples", events.list_samples),
    web.get("/api/messages", messages.list_messages),
    web.post("/api/messages", messages.register_message),
    web.get("/api/messages/rates", messages.get_rates),
    web.get("/api/messages/{id}", messages.get_message),
    web.post("/api/catch-up", catch_up.start_catch_up),
    web.get("/api/catch-up/{source}", catch_up.get_catch_up),
    web.post("/api/catch-up/{source}/cancel", catch_up.cancel_catch_up),
    web.post("/api/emails/dry-run", run_dry_run),
    web.post("/api/tunnel/reconnect", events.reconnect_tunnel),
    web.get("/api/stats", stats.get_stats),
    web.get("/api/doctor", events.list_findings),
    web.get("/metrics", stats.get_prometheus_metrics),
    web.get("/api/vault", vault.get_vault),
    web.post("/api/vault/unlock", vault.unlock_vault),
    web.post("/api/vault/lock", vault.lock_vault),
    web.put("/api/vault/secrets/{name}", vault.put_secret),
    web.delete("/api/vault/secrets/{name}", vault.remove_secret),
    web.get("/api/stream", stream.stream_events),
    web.get("/api/export", transfer.export_events),
    web.post("/api/import", transfer.import_events),
)


def add_api(app: web.Application, guard: Guard) -> None:
    """Add the API to an app."""
    del guard
    app[stream.API_VIEWERS] = set()
    app.on_shutdown.append(stream.close_api_streams)
    app.add_routes(API_ROUTES)
