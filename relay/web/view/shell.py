"""The frame around every page: navigation, public address, counts, banners."""

from collections.abc import Mapping
from dataclasses import dataclass

from relay.model.signals import TunnelChanged
from relay.model.text import printable
from relay.retention import Notice

THEMES = ("light", "dark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A number in the navigation; `warn` colours it."""

    text: str
    warn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """The public address and how it stands. `dot` is the class of the dot."""

    label: str
    url: str
    host: str
    dot: str
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """One line across the page. `kind` is warn, err or ""."""

    kind: str
    icon: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """The vault at the sidebar's foot: its word, "" where nobody has use for one. `title` and `waits` make a banner."""

    word: str = ""
    warn: bool = False
    title: str = ""
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Everything that is the same on every page."""

    title: str
    nav: str
    theme: str
    boot: str
    address: str
    tunnel: Tunnel
    counts: Mapping[str, Count]
    banners: tuple[Banner, ...]
    vault: Vault = Vault()
    scripts: bool = True
    keys: bool = True
    density: str = "comfortable"
    announcements: bool = True


def tunnel(changed: TunnelChanged, ingress_url: str) -> Tunnel:
    """Return how the tunnel is shown; without one the ingress on this machine stands in its place."""
    url = printable(changed.public_url or "", 200)
    host = url.partition("://")[2]
    if changed.state == "up" and url:
        return Tunnel(label="Public URL", url=url, host=host, dot="ok live")
    if changed.state in ("none", "off"):
        return Tunnel(
            label="Local only, no tunnel", url=ingress_url, host=ingress_url.partition("://")[2], dot=""
        )
    label = "Tunnel starting" if changed.state in ("starting", "connecting") else "Tunnel down"
    return Tunnel(
        label=label,
        url=url or ingress_url,
        host=host or ingress_url.partition("://")[2],
        dot="warn" if label == "Tunnel starting" else "err",
        broken=label == "Tunnel down",
    )


def vault(state: str, waits: str, problem: str, *, needed: bool) -> Vault:
    """Return how the vault is shown: what waits for it while it is locked, and why its file cannot be used."""
    if state == "unlocked":
        return Vault(word="Vault unlocked")
    if state == "none":
        return Vault(word="No vault yet", warn=True) if needed else Vault()
    title = "The vault cannot be opened." if problem else "The vault is locked."
    shown = " ".join(filter(None, (f"{printable(problem, 300)}." if problem else "", printable(waits, 300))))
    return Vault(word="Vault locked", warn=True, title=title, waits=shown)


def opened(told: str) -> Banner:
    """Return what to say of a vault that was opened a moment ago; it needs nobody."""
    return Banner(kind="", icon="lock-open", title="The vault was opened.", text=printable(told, 300))


def dropped(changed: TunnelChanged, ingress_url: str) -> Banner:
    """Return what to say of a tunnel that is down."""
    detail = printable(changed.detail, 200)
    return Banner(
        kind="err",
        icon="unplug",
        title="The tunnel dropped.",
        text=f"{detail}{'. ' if detail else ''}Providers get errors until it is back; "
        f"local sends to {ingress_url.partition('://')[2]} still work.",
    )


def broken(name: str, why: str) -> Banner:
    """Return what to say of handlers that cannot be run."""
    return Banner(
        kind="err",
        icon="circle-x",
        title=f"The handlers of {printable(name, 80)} cannot be run.",
        text=f"{printable(why, 300)}. Their events wait, and go on when that is mended.",
    )


def down(name: str, why: str) -> Banner:
    """Return what to say of a target that does not answer."""
    title = f"{printable(name, 80)} is not answering."
    return Banner(kind="warn", icon="unplug", title=title, text=printable(why, 300))


def gone(name: str, why: str) -> Banner:
    """Return what to say of a target that wants nothing more."""
    title = f"{printable(name, 80)} is gone: it answered 410."
    return Banner(kind="warn", icon="unplug", title=title, text=printable(why, 300))


def full(notice: Notice) -> Banner:
    """Return what to say of events that retention removes."""
    return Banner(kind="warn", icon="trash-2", title=notice.title, text=notice.text)
