"""The app you see: one table of routes for pages, parts, API, stream and static files."""

from aiohttp import web

from relay.web import api, feed
from relay.web.guard import Guard, add_headers, guarded, login
from relay.web.keys import CSRF, DESK, Desk

MAX_BODY = 1024 * 1024  # bytes that a call may carry


def private_app(desk: Desk, guard: Guard) -> web.Application:
    """Return the dashboard with its API, guarded."""
    app = web.Application(middlewares=[guarded(guard)], client_max_size=MAX_BODY)
    app[DESK] = desk
    app[CSRF] = guard.csrf
    app[feed.VIEWERS] = set()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(feed.close)

    async def enter(request: web.Request) -> web.StreamResponse:
        return await login(request, guard)

    app.add_routes([web.get("/login", enter), *_ROUTES])
    return app


_ROUTES: tuple[web.RouteDef, ...] = (
    web.get("/healthz", api.healthz),
    web.get("/api/status", api.status),
    web.get("/api/events", api.events),
    web.get("/api/events/{id}", api.event),
    web.delete("/api/events/{id}", api.delete_event),
    web.patch("/api/events/{id}", api.annotate),
    web.get("/api/events/{id}/body", api.body),
    web.post("/api/events/{id}/replay", api.replay),
    web.post("/api/events/{id}/email", api.email),
    web.post("/api/events/{id}/email/preview", api.preview_email),
    web.get("/api/events/{id}/routes", api.routes),
    web.get("/api/deliveries", api.deliveries),
    web.get("/api/deliveries/{id}", api.delivery),
    web.post("/api/deliveries/{id}/retry", api.retry),
    web.post("/api/deliveries/{id}/cancel", api.cancel),
    web.post("/api/triggers", api.trigger),
    web.get("/api/samples", api.samples),
    web.get("/api/messages", api.messages),
    web.post("/api/messages", api.register_message),
    web.get("/api/messages/{id}", api.message),
    web.post("/api/tunnel/reconnect", api.reconnect),
    web.get("/api/stream", feed.stream),
)
