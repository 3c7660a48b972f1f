"""The routes of the JSON API, each with the shapes of what it takes and answers."""

from aiohttp import web

from relay.api import (
    catch_up,
    deliveries,
    emails,
    events,
    explanations,
    labs,
    messages,
    replays,
    stats,
    status,
    stream,
    transfer,
    triggers,
    vault,
)
from relay.api.openapi import ApiRoute, build_document
from relay.http.context import get_relay
from relay.http.guard import Guard
from relay.http.responses import json_response

_JSON_LINES = "application/x-ndjson"
_MESSAGE_QUERY = "channel provider status recipient since event before limit"

API_ROUTES: tuple[ApiRoute, ...] = (
    ApiRoute("GET", "/healthz", status.get_health, {200: status.Liveness}),
    ApiRoute("GET", "/api/status", status.get_status, {200: status.RelayStatus}),
    ApiRoute("GET", "/api/events", events.list_events, {200: events.EventListing}, query="q limit before after"),
    ApiRoute("GET", "/api/events/{id}", events.get_event, {200: events.WholeEvent}),
    ApiRoute("DELETE", "/api/events/{id}", events.delete_event, {200: events.DeletedEvent}),
    ApiRoute("PATCH", "/api/events/{id}", events.annotate_event, {200: events.WholeEvent}, events.EventAnnotation),
    ApiRoute("GET", "/api/events/{id}/body", events.get_body, {200: "application/octet-stream"}),
    ApiRoute("POST", "/api/events/{id}/verify", explanations.verify_event, {200: explanations.EventVerification}),
    ApiRoute("GET", "/api/events/{id}/routes", explanations.explain_routes, {200: explanations.EventRoutes}),
    ApiRoute(
        "POST", "/api/events/{id}/replay", replays.replay_event, {202: replays.StartedReplay}, replays.ReplayRequest
    ),
    ApiRoute("POST", "/api/events/{id}/email", emails.email_event, {202: emails.StartedEmail}, emails.EmailRequest),
    ApiRoute(
        "POST", "/api/events/{id}/email/preview", emails.preview_email, {200: emails.RenderedMail}, emails.EmailRequest
    ),
    ApiRoute("POST", "/api/emails/dry-run", emails.run_dry_run, {200: emails.DryRunResult}, emails.DryRunEmailRequest),
    ApiRoute(
        "GET",
        "/api/deliveries",
        deliveries.list_deliveries,
        {200: deliveries.DeliveryList},
        query="state event target batch before limit",
    ),
    ApiRoute(
        "POST",
        "/api/deliveries/retry",
        deliveries.retry_deliveries,
        {202: deliveries.RetriedDeliveries},
        deliveries.RetryRequest,
    ),
    ApiRoute(
        "POST",
        "/api/deliveries/cancel",
        deliveries.cancel_deliveries,
        {200: deliveries.CancelledDeliveries},
        deliveries.CancelRequest,
    ),
    ApiRoute("GET", "/api/deliveries/{id}", deliveries.get_delivery, {200: deliveries.DeliveryDetail}),
    ApiRoute("POST", "/api/deliveries/{id}/retry", deliveries.retry_delivery, {202: deliveries.DeliverySummary}),
    ApiRoute("POST", "/api/deliveries/{id}/cancel", deliveries.cancel_delivery, {200: deliveries.DeliverySummary}),
    ApiRoute("GET", "/api/replays", replays.list_replays, {200: replays.BulkReplayList}, query="limit"),
    ApiRoute(
        "POST",
        "/api/replays",
        replays.start_replay,
        {200: replays.BulkReplayPlan, 202: replays.StartedBulkReplay},
        replays.BulkReplayRequest,
    ),
    ApiRoute("GET", "/api/replays/{id}", replays.get_replay, {200: replays.BulkReplayDetail}),
    ApiRoute("POST", "/api/replays/{id}/cancel", replays.cancel_replay, {200: replays.BulkReplayDetail}),
    ApiRoute(
        "POST",
        "/api/replays/{id}/resume",
        replays.resume_replay,
        {202: replays.BulkReplayDetail},
        replays.ResumeRequest,
    ),
    ApiRoute("GET", "/api/labs", labs.list_labs, {200: labs.LabList}, query="limit before"),
    ApiRoute("POST", "/api/labs", labs.start_lab, {200: labs.LabPlan, 202: labs.LabDetail}, labs.LabRequest),
    ApiRoute("GET", "/api/labs/{id}", labs.get_lab, {200: labs.LabDetail}),
    ApiRoute("POST", "/api/labs/{id}/cancel", labs.cancel_lab, {200: labs.LabDetail}),
    ApiRoute("POST", "/api/triggers", triggers.trigger_sample, {201: triggers.TriggeredEvent}, triggers.SampleRequest),
    ApiRoute("GET", "/api/samples", triggers.list_samples, {200: triggers.SampleList}, query="source"),
    ApiRoute("GET", "/api/messages", messages.list_messages, {200: messages.MessageList}, query=_MESSAGE_QUERY),
    ApiRoute(
        "POST",
        "/api/messages",
        messages.register_message,
        {200: messages.WholeMessage, 201: messages.WholeMessage},
        messages.NewMessageRequest,
    ),
    ApiRoute("GET", "/api/messages/rates", messages.get_rates, {200: messages.MessageRatesByDay}, query="days"),
    ApiRoute("GET", "/api/messages/{id}", messages.get_message, {200: messages.WholeMessage}),
    ApiRoute(
        "POST",
        "/api/catch-up",
        catch_up.start_catch_up,
        {200: catch_up.CatchUpDetail, 202: catch_up.CatchUpDetail},
        catch_up.CatchUpRequestBody,
    ),
    ApiRoute("GET", "/api/catch-up/{source}", catch_up.get_catch_up, {200: catch_up.CatchUpDetail}),
    ApiRoute("POST", "/api/catch-up/{source}/cancel", catch_up.cancel_catch_up, {200: catch_up.CatchUpDetail}),
    ApiRoute("POST", "/api/tunnel/reconnect", status.reconnect_tunnel, {202: status.ReconnectedTunnel}),
    ApiRoute("GET", "/api/stats", stats.get_stats, {200: stats.StatsDetail}, query="window"),
    ApiRoute("GET", "/api/doctor", status.list_findings, {200: status.HealthCheck}),
    ApiRoute("GET", "/metrics", stats.get_prometheus_metrics, {200: "text/plain"}),
    ApiRoute("GET", "/api/vault", vault.get_vault, {200: vault.VaultDetail}),
    ApiRoute(
        "POST",
        "/api/vault/unlock",
        vault.unlock_vault,
        {200: vault.VaultChange, 202: vault.VaultChange},
        vault.UnlockRequest,
    ),
    ApiRoute("POST", "/api/vault/lock", vault.lock_vault, {200: vault.VaultDetail}),
    ApiRoute(
        "PUT",
        "/api/vault/secrets/{name}",
        vault.put_secret,
        {200: vault.VaultChange, 202: vault.VaultChange},
        vault.SecretRequest,
    ),
    ApiRoute(
        "DELETE", "/api/vault/secrets/{name}", vault.remove_secret, {200: vault.VaultChange, 202: vault.VaultChange}
    ),
    ApiRoute("GET", "/api/stream", stream.stream_events, {200: "text/event-stream"}),
    ApiRoute("GET", "/api/export", transfer.export_events, {200: "*/*"}, query="q as raw"),
    ApiRoute("POST", "/api/import", transfer.import_events, {200: transfer.ImportResult}, _JSON_LINES),
)


async def get_document(request: web.Request) -> web.Response:
    """Return the API as an OpenAPI document."""
    return json_response(build_document(API_ROUTES, get_relay(request).version))


def add_api(app: web.Application, guard: Guard) -> None:
    """Add the API to an app."""
    del guard
    app[stream.API_VIEWERS] = set()
    app.on_shutdown.append(stream.close_api_streams)
    app.add_routes([web.route(route.method, route.path, route.handler) for route in API_ROUTES])
    app.router.add_get("/api/openapi.json", get_document)
