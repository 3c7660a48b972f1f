"""What a person does about a target that is down: try it now, drop its queue; and about a tunnel that dropped."""

from aiohttp import web

from relay.errors import UsageError
from relay.model.text import printable
from relay.web import standing
from relay.web.banners import banners
from relay.web.contexts.asking import Ask
from relay.web.keys import desk
from relay.web.posted import fields, see, toast
from relay.web.render import RENDERER, html, wants
from relay.web.view.lists import encoded
from relay.web.view.words import plural


async def shown(request: web.Request) -> web.Response:
    """GET /banners: the banners alone, for a page that counts down."""
    part = request.app[RENDERER].part("parts/banners.html", banners=await banners(desk(request)))
    return html(part)


async def reconnect(request: web.Request) -> web.Response:
    """POST /tunnel/reconnect: build the tunnel again now."""
    desk(request).verbs.reconnect()
    return _done(request, "/events", "Reconnecting")


async def try_now(request: web.Request) -> web.Response:
    """POST /targets/try with `target`: send it what has waited longest, whether it is up or not."""
    here, name = desk(request), await _named(request)
    oldest = await here.store.deliveries.first_waiting(name)
    if oldest is None:
        return _done(request, "/targets", f"Nothing waits for {name}")
    await here.verbs.retry(oldest)
    return _done(request, f"/deliveries/{oldest}", f"Trying {name}")


async def ask_drop(request: web.Request) -> web.Response:
    """GET /targets/drop?target=: how much would be given up, and the form that does it."""
    here, name = desk(request), _checked(request.query.get("target", ""))
    waiting = (await here.store.deliveries.waiting()).get(name, 0)
    count = plural(waiting, "delivery", "deliveries")
    back = f"/deliveries?{encoded({'state': 'pending', 'target': name})}"
    ask = Ask(
        title=f"Drop the queue of {printable(name, 80)}?",
        sentence=f"Gives up {count} that {'waits' if waiting == 1 else 'wait'} for it. The events stay, and can be "
        "replayed.",
        action="/targets/drop",
        fields=(("target", name),),
        button=f"Drop {count}",
        back=back,
        back_name="Deliveries",
    )
    return await standing.dialog(request, ask, "Drop queue", "deliveries")


async def drop(request: web.Request) -> web.Response:
    """POST /targets/drop with `target`: what waits for it is given up."""
    name = await _named(request)
    await desk(request).verbs.cancel_all(name)
    return see(f"/deliveries?{encoded({'state': 'cancelled', 'target': name})}")


async def _named(request: web.Request) -> str:
    return _checked((await fields(request)).get("target", ""))


def _checked(name: str) -> str:
    if not name:
        raise UsageError("no target is named", hint="the page Targets lists them")
    return name


def _done(request: web.Request, where: str, said: str) -> web.Response:
    if wants(request) is None:
        return see(where)
    return web.Response(status=204, headers=toast(said))
