"""What pages ask of the store, turned into what they show."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from aiohttp import web

from relay.dashboard import layout
from relay.dashboard.filters import format_count
from relay.http.context import get_relay
from relay.model.delivery import Delivery, Target
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay
from relay.store.events import EventCounts

COUNT_LIMIT = 10_000  # matches counted before the count line says "or more"


async def build_shell(request: web.Request, title: str, nav: str) -> layout.PageLayout:
    """Return what stands around a page."""
    relay = get_relay(request)
    theme = request.cookies.get("relay_theme", "")
    return layout.PageLayout(
        title=escape_unprintable(title, 120),
        nav=nav,
        theme=theme if theme in layout.THEMES else "",
        boot=relay.boot_id,
        address=relay.dashboard_url.partition("://")[2],
        tunnel=layout.build_tunnel_status(relay.state.tunnel, relay.ingress_url),
        counts=await load_nav_counts(relay),
        banners=await load_banners(relay),
        vault=await build_vault_status(relay),
        here=request.path_qs,
        # Going back makes htmx swap the whole body: the scripts must not run a second time then.
        scripts="HX-Request" not in request.headers,
        keys=relay.state.preferences.keys,
        density=relay.state.preferences.density,
        announcements=relay.state.preferences.announcements,
    )


async def build_vault_status(relay: RunningRelay) -> layout.VaultIndicator:
    """Return how the vault is shown, with how many events wait for it."""
    now = relay.vault.status
    count = await relay.store.unchecked.count() if now.effects else 0
    waiting = (f"{format_count(count, 'event')} {'waits' if count == 1 else 'wait'} to be checked.",) if count else ()
    return layout.build_vault_indicator(
        now.state, " ".join((*now.effects, *waiting)), now.problem, needed=bool(now.needs)
    )


async def load_nav_counts(relay: RunningRelay, counts: EventCounts | None = None) -> dict[str, layout.NavCount]:
    """Return the numbers of the navigation; `counts` where they are known already."""
    counts = counts or await relay.store.events.counts()
    messages = await relay.store.messages.count()
    queued = f"{counts.queued:,}" if counts.queued else ""
    return {
        "events": layout.NavCount(text=f"{counts.events:,}"),
        "deliveries": layout.NavCount(text=queued, warn=bool(relay.state.down or relay.state.gone)),
        "messages": layout.NavCount(text=f"{messages:,}" if messages else ""),
    }


def parse_whole_number(request: web.Request, name: str) -> int | None:
    """Return a number of the address, 0 included, or None for anything else."""
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def parse_seconds(text: str | None) -> datetime | None:
    """Return a moment given as whole seconds since 1970, or None for anything else."""
    if not text or not text.isdigit() or len(text) > 11:
        return None
    return datetime.fromtimestamp(int(text), UTC)


async def load_deliveries(relay: RunningRelay, id_: int) -> tuple[Delivery, ...]:
    """Return the deliveries of one event, oldest first."""
    return (await relay.store.deliveries.of_events([id_]))[id_]


async def load_banners(relay: RunningRelay) -> tuple[layout.Banner, ...]:
    """Return the banners as they stand at this moment."""
    live, ingress = relay.state, relay.ingress_url
    told = relay.vault.status.report
    return (
        *((layout.build_store_outage_banner(live.outage, live.unkept),) if live.outage else ()),
        *((layout.build_vault_opened_banner(told),) if told else ()),
        *(
            (layout.build_tunnel_down_banner(live.tunnel, ingress),)
            if layout.build_tunnel_status(live.tunnel, ingress).broken
            else ()
        ),
        *(layout.build_broken_handlers_banner(name, why) for name, why in sorted(live.broken.items())),
        *(await _load_blocked_mail_banners(relay)),
        *(await _load_down_banners(relay)),
        *(layout.build_target_gone_banner(name, why) for name, why in sorted(live.gone.items())),
        *((layout.build_retention_banner(live.retention),) if live.retention else ()),
    )


async def _load_blocked_mail_banners(relay: RunningRelay) -> tuple[layout.Banner, ...]:
    """Return what waits for a missing credential; a locked vault has a banner of its own."""
    why = relay.vault.status.mail_blocked
    if not why or why.startswith("the vault is locked"):
        return ()
    waiting = await relay.store.deliveries.waiting()
    count = sum(waiting.get(name, 0) for name, target in relay.config.targets.items() if target.action == "email")
    return (layout.build_held_mail_banner(why, count),) if count else ()


async def _load_down_banners(relay: RunningRelay) -> list[layout.Banner]:
    state = relay.state
    waiting = await relay.store.deliveries.waiting() if state.down else {}
    shown: list[layout.Banner] = []
    for name in sorted(state.down):
        target = relay.config.targets.get(name) or Target(name=name, action="", options=None)
        address = escape_unprintable(urlsplit(relay.target_addresses.get(name, "")).netloc, 80)
        # Handlers that are broken are told as that, not as a target that does not answer.
        if target.action != "handler":
            shown.append(layout.build_target_down_banner(target, address, waiting.get(name, 0), state.next_try(name)))
    return shown
