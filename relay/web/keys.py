"""What the handlers of both apps may use, handed in by the composition root."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from relay.bus import Bus
from relay.catchup.catch_ups import CatchUps
from relay.clock import Clock
from relay.delivery.bulk import Bulk
from relay.delivery.lab.runner import Lab
from relay.delivery.rehearsals import Wanted
from relay.errors import StoreError
from relay.mail.compose import Mail
from relay.metrics.meter import Meter
from relay.model.delivery import Changes, Delivery, DeliveryState, Route, SignMode, Target
from relay.model.event import Event, EventRow, LocalKey, Source
from relay.model.fact import Fact
from relay.model.finding import Finding
from relay.model.rehearsal import Rehearsal
from relay.model.signals import TunnelChanged
from relay.providers.doctor import Diagnosis
from relay.retention import Keep, Notice
from relay.routing import RouteMatch
from relay.store import Store
from relay.web.custody import Custody
from relay.web.preferences import Preferences
from relay.web.refusals import Refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What relay.toml says, resolved.

    `usual_ingress_url` is where relay listens when it runs for long: a command that opens the store for a moment
    listens elsewhere. `emails` maps a template's name to where it usually goes,
    `addresses` a target's name to the URL, mail or file it leads to; `max_body` is in bytes,
    `keep` what retention goes by, `allow_recipients` are those of [smtp].
    """

    version: str
    boot: str
    ingress_url: str
    usual_ingress_url: str
    dashboard_url: str
    data_dir: Path
    config_path: Path | None
    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    routes: tuple[Route, ...]
    emails: Mapping[str, str]
    smtp: str
    addresses: Mapping[str, str]
    max_body: int
    facts: tuple[Fact, ...]
    keep: Keep
    allow_recipients: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Live:
    """What changes while relay runs: the tunnel, each target's health, who was turned away.

    `next_try(target)` gives the seconds until one that is down is asked again. `outage` is why the store can
    keep nothing, `unkept` how many requests were answered 503 for that since the start.
    """

    tunnel: TunnelChanged
    refused: Refusals = field(default_factory=Refusals)
    down: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    next_try: Callable[[str], float] = lambda _: 0.0
    preferences: Preferences = field(default_factory=Preferences)
    broken: dict[str, str] = field(default_factory=dict)
    retention: Notice | None = None
    outage: StoreError | None = None
    unkept: int = 0
    locked: dict[str, str] = field(default_factory=dict)

    def state_of(self, target: str) -> tuple[str, str]:
        """Return whether a target is up, down, gone or waits for the vault (locked), and why."""
        known = (("locked", self.locked), ("down", self.broken), ("down", self.down), ("gone", self.gone))
        for state, reasons in known:
            if target in reasons:
                return state, reasons[target]
        return "up", ""

    @property
    def public_url(self) -> str | None:
        """Return the tunnel's address while it is up, without a trailing slash."""
        return self.tunnel.public_url if self.tunnel.state == "up" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRequest:
    """A sample event somebody wants: `set` changes fields by path, `body` replaces the sample."""

    source: str
    type: str
    set: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None
    to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbs:
    """What a person can ask for. Each raises a RelayError with a sentence when it cannot be done.

    `replay(event id, target name or URL, changes)` and `email(event id, template, recipients, force)` return
    the id of the delivery they made; `check_email` raises what `email` would; `rehearse` gives what mails would
    have gone out; `retry_all(state, target, batch)` and `cancel_all(target)` how many deliveries they changed, with
    None for every one; `samples(source)` lists the event types that can be triggered,
    `signing(event, mode)` says which signature it would go out with,
    `local_key(source)` gives the key pair of relay's own that it is signed for with.
    """

    replay: Callable[[int, str, Changes], Awaitable[int]]
    email: Callable[[int, str, tuple[str, ...], bool], Awaitable[int]]
    preview_email: Callable[[int, str, tuple[str, ...]], Awaitable[Mail]]
    check_email: Callable[[int, str, tuple[str, ...], bool], Awaitable[None]]
    rehearse: Callable[[Wanted], Awaitable[Rehearsal]]
    retry: Callable[[int], Awaitable[Delivery]]
    cancel: Callable[[int], Awaitable[Delivery]]
    retry_all: Callable[[DeliveryState, str | None, int | None], Awaitable[int]]
    cancel_all: Callable[[str | None], Awaitable[int]]
    bulk: Bulk
    catch_ups: CatchUps
    lab: Lab
    trigger: Callable[[TriggerRequest], Awaitable[EventRow]]
    local_key: Callable[[str], LocalKey | None]
    samples: Callable[[str], tuple[str, ...]]
    explain: Callable[[Event], tuple[RouteMatch, ...]]
    signing: Callable[[Event, SignMode], str]
    diagnose: Callable[[Event], Awaitable[Diagnosis]]
    reconnect: Callable[[], None]
    checkup: Callable[[], Awaitable[tuple[Finding, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything a handler may use."""

    store: Store
    bus: Bus
    clock: Clock
    setup: Setup
    live: Live
    meter: Meter
    verbs: Verbs
    custody: Custody


DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)
CSRF: web.AppKey[str] = web.AppKey("csrf", str)


def desk(request: web.Request) -> Desk:
    """Return what the handler of this request may use."""
    return request.app[DESK]
