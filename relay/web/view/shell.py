"""The frame around every page: navigation, public address, counts, banners."""

from collections.abc import Mapping
from dataclasses import dataclass

from relay.errors import StoreError
from relay.model.delivery import Target
from relay.model.signals import TunnelChanged
from relay.model.text import printable
from relay.retention import Notice
from relay.web.view.words import plural

THEMES = ("light", "dark")
COUNTED = 2.0  # seconds to the next try of a target from which on they are counted down


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
class Act:
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
    acts: tuple[Act, ...] = ()
    counting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """The vault at the sidebar's foot: its word, "" where nobody has use for one. `title` and `waits` make a banner."""

    word: str = ""
    warn: bool = False
    title: str = ""
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Everything that is the same on every page; `here` is its own address."""

    title: str
    nav: str
    theme: str
    boot: str
    address: str
    tunnel: Tunnel
    counts: Mapping[str, Count]
    banners: tuple[Banner, ...]
    here: str = "/"
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


def held_mail(why: str, count: int) -> Banner:
    """Return what to say of `count` mails that wait for a credential; `why` says which."""
    return Banner(
        kind="warn",
        icon="mail",
        title=f"{plural(count, 'mail waits', 'mails wait')}.",
        text=f"{printable(why[:1].upper() + why[1:], 300)}.",
    )


def dropped(changed: TunnelChanged, ingress_url: str) -> Banner:
    """Return what to say of a tunnel that is down."""
    detail = printable(changed.detail, 200)
    return Banner(
        kind="err",
        icon="unplug",
        title="The tunnel dropped.",
        text=f"{detail}{'. ' if detail else ''}Providers get errors until it is back; "
        f"local sends to {ingress_url.partition('://')[2]} still work.",
        acts=(Act(name="Reconnect now", href="/tunnel/reconnect", icon="refresh-cw"),),
    )


def broken(name: str, why: str) -> Banner:
    """Return what to say of handlers that cannot be run."""
    return Banner(
        kind="err",
        icon="circle-x",
        title=f"The handlers of {printable(name, 80)} cannot be run.",
        text=f"{printable(why, 300)}. Their events wait, and go on when that is mended.",
    )


def down(target: Target, address: str, waiting: int, wait: float) -> Banner:
    """Return what to say of a target that does not answer at `address`; it is asked again in `wait` seconds."""
    order = " in order" if target.fifo else ""
    count = (
        f"{plural(waiting, 'delivery waits', 'deliveries wait')}{order}"
        if waiting
        else "Nothing waits for it"
    )
    again = f"Next try in {wait:.0f} s." if wait >= COUNTED else "It is asked again every half second."
    name = printable(target.name, 80)
    fields = (("target", target.name),)
    return Banner(
        kind="warn",
        icon="unplug",
        title=f"{name} is not answering{f' on {address}' if address else ''}.",
        text=f"{count}. {again}",
        counting=wait >= COUNTED,
        acts=(
            Act(name="Try now", href="/targets/try", icon="rotate-cw", fields=fields),
            Act(name="Drop queue", href="/targets/drop", fields=fields, asks=True),
        )
        if waiting
        else (),
    )


def gone(name: str, why: str) -> Banner:
    """Return what to say of a target that wants nothing more."""
    title = f"{printable(name, 80)} is gone: it answered 410."
    return Banner(kind="warn", icon="unplug", title=title, text=printable(why, 300))


def unkept(outage: StoreError, count: int) -> Banner:
    """Return what to say while the store can keep nothing."""
    refused = f" {count:,} were answered 503 since relay started." if count else ""
    return Banner(
        kind="err",
        icon="circle-x",
        title="No event can be kept.",
        text=printable(
            f"{_capital(outage.sentence)}: {outage.hint}. Senders get 503, which asks them to try again.{refused}",
            600,
        ),
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def full(notice: Notice) -> Banner:
    """Return what to say of events that retention removes."""
    return Banner(kind="warn", icon="trash-2", title=notice.title, text=notice.text)
