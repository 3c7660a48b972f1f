"""The frame around every page: navigation, public address, counts, banners."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from relay.dashboard.filters import capitalize_first, format_count
from relay.errors import StoreError
from relay.http.responses import get_relay
from relay.model.delivery import Target
from relay.model.signals import TunnelChanged
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.services.relay import RunningRelay
from relay.store.events import EventCounts

THEMES = ("light", "dark")
COUNTDOWN_FROM = 2.0  # seconds to the next try of a target from which on they are counted down


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelStatus:
    """The public address and how it stands. `dot` is the class of the dot."""

    label: str
    url: str
    dot: str
    broken: bool = False

    @property
    def host(self) -> str:
        """Return the address without its scheme."""
        return self.url.partition("://")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class BannerAction:
    """Something to do about a banner: a form that is posted, or one that `asks` first."""

    name: str
    href: str
    icon: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Banner:
    """One line across the page. `kind` is warn, err or ""; one that is `counting` is asked for again every second."""

    kind: str
    icon: str
    title: str
    text: str
    acts: tuple[BannerAction, ...] = ()
    counting: bool = False


@dataclass(frozen=True, slots=True)
class VaultIndicator:
    """The vault at the sidebar's foot: its word, "" where none is needed. `title` and `waits` make a banner."""

    word: str = ""
    warn: bool = False
    title: str = ""
    waits: str = ""


async def build_shell(request: web.Request, title: str, nav: str) -> dict[str, Any]:
    """Return what stands around a page: everything that is the same on every page; `here` is its own address."""
    relay = get_relay(request)
    theme = request.cookies.get("relay_theme", "")
    return await load_frame(relay) | {
        "title": escape_unprintable(title, 120),
        "nav": nav,
        "theme": theme if theme in THEMES else "",
        "boot": relay.boot_id,
        "address": relay.dashboard_url.partition("://")[2],
        "counts": await load_nav_counts(relay),
        "here": request.path_qs,
        # Going back makes htmx swap the whole body: the scripts must not run a second time then.
        "scripts": "HX-Request" not in request.headers,
        "preferences": relay.state.preferences,
    }


async def load_frame(relay: RunningRelay) -> dict[str, Any]:
    """Return what may change in the frame of a page that is open: tunnel, banners and vault."""
    return {
        "tunnel": build_tunnel_status(relay.state.tunnel, relay.ingress_url),
        "banners": await load_banners(relay),
        "vault": await _load_vault_indicator(relay),
    }


async def load_nav_counts(relay: RunningRelay, counts: EventCounts | None = None) -> dict[str, tuple[str, bool]]:
    """Return the numbers of the navigation, each with whether it is a warning; `counts` where they are known."""
    counts = counts or await relay.store.events.counts()
    messages = await relay.store.messages.count()
    return {
        "events": (f"{counts.events:,}", False),
        "deliveries": (f"{counts.queued:,}" if counts.queued else "", bool(relay.state.down or relay.state.gone)),
        "messages": (f"{messages:,}" if messages else "", False),
    }


def build_tunnel_status(changed: TunnelChanged, ingress_url: str) -> TunnelStatus:
    """Return how the tunnel is shown; without one the ingress on this machine is shown."""
    url = escape_unprintable(changed.public_url or "", 200)
    if changed.state == "up" and url:
        return TunnelStatus(label="Public URL", url=url, dot="ok live")
    if changed.state in ("none", "off"):
        return TunnelStatus(label="Local only, no tunnel", url=ingress_url, dot="")
    if changed.state in ("starting", "connecting"):
        return TunnelStatus(label="Tunnel starting", url=url or ingress_url, dot="warn")
    return TunnelStatus(label="Tunnel down", url=url or ingress_url, dot="err", broken=True)


async def _load_vault_indicator(relay: RunningRelay) -> VaultIndicator:
    """Return how the vault is shown: what waits for it while it is locked, and why its file cannot be used."""
    vault = relay.vault.status
    if vault.state == "unlocked":
        return VaultIndicator("Vault unlocked")
    if vault.state == "none":
        return VaultIndicator("No vault yet", warn=True) if vault.needs else VaultIndicator()
    count = await relay.store.unchecked.count() if vault.effects else 0
    waits = " ".join(vault.effects)
    if count:
        waits += f" {format_count(count, 'event')} {'waits' if count == 1 else 'wait'} to be checked."
    title = "The vault cannot be opened." if vault.problem else "The vault is locked."
    problem = f"{escape_unprintable(vault.problem, 300)}. " if vault.problem else ""
    return VaultIndicator("Vault locked", True, title, f"{problem}{escape_unprintable(waits, 300)}".strip())


async def load_banners(relay: RunningRelay) -> list[Banner]:
    """Return the banners as they stand at this moment."""
    notice = relay.state.retention
    retention = [Banner("warn", "trash-2", notice.title, notice.text)] if notice else []
    return [*_list_relay_banners(relay), *[one async for one in _load_target_banners(relay)], *retention]


def _list_relay_banners(relay: RunningRelay) -> Iterator[Banner]:
    state, report = relay.state, relay.vault.status.report
    if state.outage:
        yield _build_outage_banner(state.outage, state.unkept)
    if report:
        yield Banner("", "lock-open", "The vault was opened.", escape_unprintable(report, 300))
    if build_tunnel_status(state.tunnel, relay.ingress_url).broken:
        yield _build_tunnel_banner(state.tunnel, relay.ingress_url)
    for name, why in sorted(state.broken.items()):
        title = f"The handlers of {escape_unprintable(name, 80)} cannot be run."
        text = f"{escape_unprintable(why, 300)}. Their events wait, and go on when that is corrected."
        yield Banner("err", "circle-x", title, text)


async def _load_target_banners(relay: RunningRelay) -> AsyncIterator[Banner]:
    state, targets, blocked = relay.state, relay.config.targets, relay.vault.status.mail_blocked
    if blocked.startswith("the vault is locked"):  # which has a banner of its own
        blocked = ""
    waiting = await relay.store.deliveries.waiting() if state.down or blocked else {}
    held = sum(waiting.get(name, 0) for name, target in targets.items() if target.action == "email")
    if held and blocked:
        title = f"{format_count(held, 'mail waits', 'mails wait')}."
        yield Banner("warn", "mail", title, f"{escape_unprintable(capitalize_first(blocked), 300)}.")
    for name in sorted(state.down):
        target = targets.get(name) or Target(name=name, action="", options=None)
        # Handlers that are broken are listed as that, not as a target that does not answer.
        if target.action != "handler":
            yield _build_down_banner(relay, target, waiting.get(name, 0))
    for name, why in sorted(state.gone.items()):
        title = f"{escape_unprintable(name, 80)} is gone: it answered 410."
        yield Banner("warn", "unplug", title, escape_unprintable(why, 300))


def _build_outage_banner(outage: StoreError, unkept: int) -> Banner:
    refused = f" {unkept:,} were answered 503 since relay started." if unkept else ""
    text = f"{capitalize_first(outage.message)}: {outage.hint}. Senders get 503, which asks them to try again.{refused}"
    return Banner("err", "circle-x", "No event can be kept.", escape_unprintable(text, 600))


def _build_tunnel_banner(changed: TunnelChanged, ingress_url: str) -> Banner:
    detail = escape_unprintable(changed.detail, 200)
    text = (
        f"{detail}{'. ' if detail else ''}Providers get errors until it is back; "
        f"local sends to {ingress_url.partition('://')[2]} still work."
    )
    action = BannerAction(name="Reconnect now", href="/tunnel/reconnect", icon="refresh-cw")
    return Banner("err", "unplug", "The tunnel dropped.", text, (action,))


def _build_down_banner(relay: RunningRelay, target: Target, waiting: int) -> Banner:
    """Return what to say of a target that does not answer, and when it is asked again."""
    wait = relay.state.next_try(target.name)
    address = escape_unprintable(urlsplit(relay.target_addresses.get(target.name, "")).netloc, 80)
    order = " in order" if target.fifo else ""
    count = (
        f"{format_count(waiting, 'delivery waits', 'deliveries wait')}{order}" if waiting else "Nothing waits for it"
    )
    again = f"Next try in {wait:.0f} s." if wait >= COUNTDOWN_FROM else "It is asked again every half second."
    title = f"{escape_unprintable(target.name, 80)} is not answering{f' on {address}' if address else ''}."
    fields = (("target", target.name),)
    actions = (
        BannerAction(name="Try now", href="/targets/try", icon="rotate-cw", fields=fields),
        BannerAction(name="Drop queue", href="/targets/drop", fields=fields, asks=True),
    )
    return Banner("warn", "unplug", title, f"{count}. {again}", actions if waiting else (), wait >= COUNTDOWN_FROM)
