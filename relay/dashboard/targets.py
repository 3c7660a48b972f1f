"""The Targets page, and actions on targets that are down: try now, drop the queue; reconnecting the tunnel."""

from aiohttp import web

from relay.dashboard.filters import build_url, format_count
from relay.dashboard.layout import load_banners
from relay.dashboard.responses import answer_done, redirect, render_dialog, render_page, render_part
from relay.errors import NotFoundError, UsageError
from relay.model.delivery import Route
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay


async def show_targets(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /targets, /targets/{name}: where events go, and how that does."""
    name = request.match_info.get("name")
    targets = tuple(target for target in relay.config.targets.values() if name in (None, target.name))
    if name is not None and not targets:
        raise NotFoundError(f"there is no target '{escape_unprintable(name, 80)}'", hint="the Targets page lists them")
    return await render_page(
        request,
        "targets/page.html",
        "Targets",
        "targets",
        targets=targets,
        addresses=relay.target_addresses,
        waiting=await relay.store.deliveries.waiting(),
        down={target.name: relay.state.state_of(target.name)[1] for target in targets},
        routes={
            target.name: "; ".join(
                _describe_route(route) for route in relay.config.routes if target.name in route.targets
            )
            for target in targets
        },
    )


async def show_banners(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /banners: only the banners, for a page that counts down."""
    return render_part(request, "banners.html", banners=await load_banners(relay))


async def reconnect_tunnel(request: web.Request, relay: RunningRelay) -> web.Response:
    """POST /tunnel/reconnect: build the tunnel again now."""
    relay.reconnect_tunnel()
    return answer_done(request, "/events", "Reconnecting")


async def retry_target(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /deliveries/try with `target`: send it what has waited longest, whether it is up or not."""
    name = _check_target_name(form.get("target", ""))
    oldest = await relay.store.deliveries.first_waiting(name)
    if oldest is None:
        return answer_done(request, "/targets", f"Nothing waits for {name}")
    await relay.replays.retry_delivery(oldest)
    return answer_done(request, f"/deliveries/{oldest}", f"Trying {name}")


async def confirm_drop(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /deliveries/drop?target=: how much would be given up, and the form that does it."""
    name = _check_target_name(request.query.get("target", ""))
    waiting = (await relay.store.deliveries.waiting()).get(name, 0)
    count = format_count(waiting, "delivery", "deliveries")
    return await render_dialog(
        request,
        "confirm.html",
        "Drop queue",
        (build_url("/deliveries", state="pending", target=name), "Deliveries"),
        nav="deliveries",
        heading=f"Drop the queue of {escape_unprintable(name, 80)}?",
        message=f"Gives up {count} that {'waits' if waiting == 1 else 'wait'} for it. The events stay, and can be "
        "replayed.",
        action="/deliveries/drop",
        fields=(("target", name),),
        button=f"Drop {count}",
    )


async def drop_queue(relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /deliveries/drop with `target`: what waits for it is given up."""
    name = _check_target_name(form.get("target", ""))
    await relay.replays.cancel_deliveries(name)
    return redirect(build_url("/deliveries", state="cancelled", target=name))


def _describe_route(route: Route) -> str:
    condition = [f"when {escape_unprintable(route.when)}"] if route.when else []
    return ", ".join((*(route.sources or ("any source",)), *route.events, *condition))


def _check_target_name(name: str) -> str:
    if not name:
        raise UsageError("no target is named", hint="the Targets page lists them")
    return name
