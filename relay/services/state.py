"""What the handlers of both apps may use, handed in by the composition root."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from relay.actions.mail.compose import Mail
from relay.bus import Bus
from relay.catchup.jobs import CatchUpJobs
from relay.clock import Clock
from relay.config.effective import ConfigFact
from relay.config.preferences import Preferences
from relay.delivery.bulk import BulkReplays
from relay.delivery.email_dry_run import DryRunRequest
from relay.delivery.lab.runner import LabRunner
from relay.delivery.retention import RetentionLimits, RetentionNotice
from relay.errors import StoreError
from relay.model.delivery import Delivery, DeliveryChanges, DeliveryState, Route, SignMode, Target
from relay.model.event import CapturedEvent, EventRow, LocalKey, Source
from relay.model.mail import Rehearsal
from relay.model.secret import Secret
from relay.model.signals import TunnelChanged
from relay.pipeline.refusals import RefusalCounts
from relay.pipeline.reverify import ReverifyResult
from relay.pipeline.routing import RouteMatch
from relay.providers.doctor import Diagnosis
from relay.services.health import HealthFinding
from relay.services.meter import Meter
from relay.store import Store
from relay.vault import SecretNeed


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultStatus:
    """How the vault stands: `state` is none, locked or unlocked.

    `effects` says what waits while it is locked, `missing` which secrets it lacks, `problem` why its file
    cannot be used; each is a sentence for people. `paused` is in seconds, `left` counts wrong passwords
    before a pause, `told` is what the latest check came to, for a while. `mail_blocked` says which credential mail
    waits for, "" for none.
    """

    state: str
    path: str
    names: tuple[str, ...]
    needs: tuple[SecretNeed, ...]
    effects: tuple[str, ...]
    missing: tuple[str, ...]
    problem: str
    paused: float
    left: int
    told: str
    mail_blocked: str


class VaultSessionProtocol(Protocol):
    """The vault of a running relay. What cannot be done raises a RelayError with a sentence."""

    @property
    def standing(self) -> VaultStatus:
        """Return how it stands."""
        ...

    def secret(self, name: str) -> Secret | None:
        """Return a secret while the vault is open: for its last four characters, never to show."""
        ...

    async def unlock(self, password: Secret) -> ReverifyResult | None:
        """Open it, and return what was checked; None while that goes on."""
        ...

    async def lock(self) -> None:
        """Forget every secret."""
        ...

    async def put(self, name: str, value: str) -> ReverifyResult | None:
        """Keep a secret under a name."""
        ...

    async def remove(self, name: str) -> ReverifyResult | None:
        """Forget one secret."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedConfig:
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
    facts: tuple[ConfigFact, ...]
    keep: RetentionLimits
    allow_recipients: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class RuntimeState:
    """What changes while relay runs: the tunnel, each target's health, who was turned away.

    `next_try(target)` gives the seconds until one that is down is asked again. `outage` is why the store can
    keep nothing, `unkept` how many requests were answered 503 for that since the start.
    """

    tunnel: TunnelChanged
    refused: RefusalCounts = field(default_factory=RefusalCounts)
    down: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    next_try: Callable[[str], float] = lambda _: 0.0
    preferences: Preferences = field(default_factory=Preferences)
    broken: dict[str, str] = field(default_factory=dict)
    retention: RetentionNotice | None = None
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
class UseCases:
    """What a person can ask for. Each raises a RelayError with a sentence when it cannot be done.

    `replay(event id, target name or URL, changes)` and `email(event id, template, recipients, force)` return
    the id of the delivery they made; `check_email` raises what `email` would; `rehearse` gives what mails would
    have gone out; `retry_all(state, target, batch)` and `cancel_all(target)` how many deliveries they changed, with
    None for every one; `samples(source)` lists the event types that can be triggered,
    `signing(event, mode)` says which signature it would go out with,
    `local_key(source)` gives the key pair of relay's own that it is signed for with.
    """

    replay: Callable[[int, str, DeliveryChanges], Awaitable[int]]
    email: Callable[[int, str, tuple[str, ...], bool], Awaitable[int]]
    preview_email: Callable[[int, str, tuple[str, ...]], Awaitable[Mail]]
    check_email: Callable[[int, str, tuple[str, ...], bool], Awaitable[None]]
    rehearse: Callable[[DryRunRequest], Awaitable[Rehearsal]]
    retry: Callable[[int], Awaitable[Delivery]]
    cancel: Callable[[int], Awaitable[Delivery]]
    retry_all: Callable[[DeliveryState, str | None, int | None], Awaitable[int]]
    cancel_all: Callable[[str | None], Awaitable[int]]
    bulk: BulkReplays
    catch_ups: CatchUpJobs
    lab: LabRunner
    trigger: Callable[[TriggerRequest], Awaitable[EventRow]]
    local_key: Callable[[str], LocalKey | None]
    samples: Callable[[str], tuple[str, ...]]
    explain: Callable[[CapturedEvent], tuple[RouteMatch, ...]]
    signing: Callable[[CapturedEvent, SignMode], str]
    diagnose: Callable[[CapturedEvent], Awaitable[Diagnosis]]
    reconnect: Callable[[], None]
    checkup: Callable[[], Awaitable[tuple[HealthFinding, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerContext:
    """Everything a handler may use."""

    store: Store
    bus: Bus
    clock: Clock
    setup: ResolvedConfig
    live: RuntimeState
    meter: Meter
    verbs: UseCases
    custody: VaultSessionProtocol
