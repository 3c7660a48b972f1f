"""The frame around every page: navigation, public address, counts, banners."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from relay.dashboard.filters import format_count
from relay.delivery.retention import RetentionNotice
from relay.errors import StoreError
from relay.model.delivery import Target
from relay.model.signals import TunnelChanged
from relay.model.text import escape_unprintable

THEMES = ("light", "dark")
COUNTDOWN_FROM = 2.0  # seconds to the next try of a target from which on they are counted down


@dataclass(frozen=True, slots=True, kw_only=True)
class NavCount:
    """A number in the navigation; `warn` colours it."""

    text: str
    warn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelStatus:
    """The public address and how it stands. `dot` is the class of the dot."""

    label: str
    url: str
    host: str
    dot: str
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BannerAction:
    """Something to do about a banner: a form that is posted, or one that `asks` first."""

    name: str
    href: str
    icon: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """One line across the page. `kind` is warn, err or ""; one that is `counting` is asked for again every second."""

    kind: str
    icon: str
    title: str
    text: str
    acts: tuple[BannerAction, ...] = ()
    counting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultIndicator:
    """The vault at the sidebar's foot: its word, "" where none is needed. `title` and `waits` make a banner."""

    word: str = ""
    warn: bool = False
    title: str = ""
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLayout:
    """Everything that is the same on every page; `here` is its own address."""

    title: str
    nav: str
    theme: str
    boot: str
    address: str
    tunnel: TunnelStatus
    counts: Mapping[str, NavCount]
    banners: tuple[Banner, ...]
    here: str = "/"
    vault: VaultIndicator = VaultIndicator()
    scripts: bool = True
    keys: bool = True
    density: str = "comfortable"
    announcements: bool = True


def build_tunnel_status(changed: TunnelChanged, ingress_url: str) -> TunnelStatus:
    """Return how the tunnel is shown; without one the ingress on this machine is shown."""
    url = escape_unprintable(changed.public_url or "", 200)
    host = url.partition("://")[2]
    if changed.state == "up" and url:
        return TunnelStatus(label="Public URL", url=url, host=host, dot="ok live")
    if changed.state in ("none", "off"):
        return TunnelStatus(
            label="Local only, no tunnel", url=ingress_url, host=ingress_url.partition("://")[2], dot=""
        )
    label = "Tunnel starting" if changed.state in ("starting", "connecting") else "Tunnel down"
    return TunnelStatus(
        label=label,
        url=url or ingress_url,
        host=host or ingress_url.partition("://")[2],
        dot="warn" if label == "Tunnel starting" else "err",
        broken=label == "Tunnel down",
    )


def build_vault_indicator(state: str, waits: str, problem: str, *, needed: bool) -> VaultIndicator:
    """Return how the vault is shown: what waits for it while it is locked, and why its file cannot be used."""
    if state == "unlocked":
        return VaultIndicator(word="Vault unlocked")
    if state == "none":
        return VaultIndicator(word="No vault yet", warn=True) if needed else VaultIndicator()
    title = "The vault cannot be opened." if problem else "The vault is locked."
    shown = " ".join(
        filter(None, (f"{escape_unprintable(problem, 300)}." if problem else "", escape_unprintable(waits, 300)))
    )
    return VaultIndicator(word="Vault locked", warn=True, title=title, waits=shown)


def build_vault_opened_banner(told: str) -> Banner:
    """Return what to say of a vault that was opened a moment ago; it needs no action."""
    return Banner(kind="", icon="lock-open", title="The vault was opened.", text=escape_unprintable(told, 300))


def build_held_mail_banner(why: str, count: int) -> Banner:
    """Return what to say of `count` mails that wait for a credential; `why` says which."""
    return Banner(
        kind="warn",
        icon="mail",
        title=f"{format_count(count, 'mail waits', 'mails wait')}.",
        text=f"{escape_unprintable(why[:1].upper() + why[1:], 300)}.",
    )


def build_tunnel_down_banner(changed: TunnelChanged, ingress_url: str) -> Banner:
    """Return what to say of a tunnel that is down."""
    detail = escape_unprintable(changed.detail, 200)
    return Banner(
        kind="err",
        icon="unplug",
        title="The tunnel dropped.",
        text=f"{detail}{'. ' if detail else ''}Providers get errors until it is back; "
        f"local sends to {ingress_url.partition('://')[2]} still work.",
        acts=(BannerAction(name="Reconnect now", href="/tunnel/reconnect", icon="refresh-cw"),),
    )


def build_broken_handlers_banner(name: str, why: str) -> Banner:
    """Return what to say of handlers that cannot be run."""
    return Banner(
        kind="err",
        icon="circle-x",
        title=f"The handlers of {escape_unprintable(name, 80)} cannot be run.",
        text=f"{escape_unprintable(why, 300)}. Their events wait, and go on when that is corrected.",
    )


def build_target_down_banner(target: Target, address: str, waiting: int, wait: float) -> Banner:
    """Return what to say of a target that does not answer at `address`; it is asked again in `wait` seconds."""
    order = " in order" if target.fifo else ""
    count = (
        f"{format_count(waiting, 'delivery waits', 'deliveries wait')}{order}" if waiting else "Nothing waits for it"
    )
    again = f"Next try in {wait:.0f} s." if wait >= COUNTDOWN_FROM else "It is asked again every half second."
    name = escape_unprintable(target.name, 80)
    fields = (("target", target.name),)
    return Banner(
        kind="warn",
        icon="unplug",
        title=f"{name} is not answering{f' on {address}' if address else ''}.",
        text=f"{count}. {again}",
        counting=wait >= COUNTDOWN_FROM,
        acts=(
            BannerAction(name="Try now", href="/targets/try", icon="rotate-cw", fields=fields),
            BannerAction(name="Drop queue", href="/targets/drop", fields=fields, asks=True),
        )
        if waiting
        else (),
    )


def build_target_gone_banner(name: str, why: str) -> Banner:
    """Return what to say of a target that wants nothing more."""
    title = f"{escape_unprintable(name, 80)} is gone: it answered 410."
    return Banner(kind="warn", icon="unplug", title=title, text=escape_unprintable(why, 300))


def build_store_outage_banner(outage: StoreError, count: int) -> Banner:
    """Return what to say while the store can keep nothing."""
    refused = f" {count:,} were answered 503 since relay started." if count else ""
    return Banner(
        kind="err",
        icon="circle-x",
        title="No event can be kept.",
        text=escape_unprintable(
            f"{_capitalize_first(outage.message)}: {outage.hint}. Senders get 503, which asks them to try "
            f"again.{refused}",
            600,
        ),
    )


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def build_retention_banner(notice: RetentionNotice) -> Banner:
    """Return what to say of events that retention removes."""
    return Banner(kind="warn", icon="trash-2", title=notice.title, text=notice.text)


class DialogForm(Protocol):
    """What a dialog shows: its template, and where closing it leads."""

    template: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def back(self) -> str:
        """Return the address behind the dialog."""
        ...

    @property
    def back_name(self) -> str:
        """Return what it shows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmDialog:
    """One question: what will be done, to how much, and the form that does it."""

    template: ClassVar[str] = "confirm.html"
    title: str
    sentence: str
    action: str
    fields: tuple[tuple[str, str], ...]
    button: str
    back: str
    back_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneDialogPage:
    """A dialog as a page of its own, for browsers without JavaScript."""

    template: ClassVar[str] = "form_page.html"
    shell: PageLayout
    title: str
    form: DialogForm
