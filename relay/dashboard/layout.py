"""The layout of all pages: navigation, public address, counts, banners."""

from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from relay.http.responses import get_relay
from relay.services.relay import RunningRelay
from relay.store.events import EventCounts

THEME_COOKIE = "relay_theme"


async def build_shell(request: web.Request, title: str, nav: str) -> dict[str, Any]:
    """Return the values of the layout that is common to all pages; `here` is the page's own URL."""
    relay = get_relay(request)
    theme = request.cookies.get(THEME_COOKIE, "")
    return await load_frame(relay) | {
        "title": title,
        "nav": nav,
        "theme": theme if theme in ("light", "dark") else "",
        "boot": relay.boot_id,
        "address": relay.dashboard_url.partition("://")[2],
        "counts": await load_nav_counts(relay),
        "here": request.path_qs,
        # Going back makes htmx swap the whole body: the scripts must not run again.
        "scripts": "HX-Request" not in request.headers,
        "preferences": relay.state.preferences,
    }


async def load_frame(relay: RunningRelay) -> dict[str, Any]:
    """Return the parts of the layout that may change on an open page; `unchecked` events wait for the locked vault."""
    vault = relay.vault.status
    is_awaited = vault.state == "locked" and vault.effects
    return {
        "banners": await load_banners(relay),
        "vault": vault,
        "unchecked": await relay.store.unchecked.count() if is_awaited else 0,
    }


async def load_nav_counts(relay: RunningRelay, counts: EventCounts | None = None) -> dict[str, tuple[str, bool]]:
    """Return the numbers of the navigation, each with whether it is a warning; `counts` if they are known."""
    counts = counts or await relay.store.events.counts()
    messages = await relay.store.messages.count()
    return {
        "events": (f"{counts.events:,}", False),
        "deliveries": (f"{counts.queued:,}" if counts.queued else "", bool(relay.state.down or relay.state.gone)),
        "messages": (f"{messages:,}" if messages else "", False),
    }


async def load_banners(relay: RunningRelay) -> dict[str, Any]:
    """Return the current banners: `mails` that wait with the reason, and the targets that are `down`.

    Of those: name, address, whether they keep an order, how many deliveries wait, and the seconds to the next try.
    """
    state, targets, blocked = relay.state, relay.config.targets, relay.vault.status.mail_blocked
    if blocked.startswith("the vault is locked"):  # which has its own banner
        blocked = ""
    waiting = await relay.store.deliveries.waiting() if state.down or blocked else {}
    mails = [waiting.get(name, 0) for name, target in targets.items() if blocked and target.action == "email"]
    down = []
    for name in sorted(state.down):
        target = targets.get(name)
        # Broken handlers have their own banner, not that of an unreachable target.
        if target is None or target.action != "handler":
            address = urlsplit(relay.target_addresses.get(name, "")).netloc
            in_order = target is not None and target.fifo
            down.append((name, address, in_order, waiting.get(name, 0), state.next_try(name)))
    return {
        "state": state,
        "report": relay.vault.status.report,
        "ingress_url": relay.ingress_url,
        "mails": sum(mails),
        "blocked": blocked,
        "down": down,
    }
