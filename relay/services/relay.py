"""A running relay: its shared state, its services by name, and the use cases of dashboard, API and CLI."""

import asyncio
import secrets
import socket
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay import __version__
from relay.actions.base import AwaitedResponses
from relay.actions.egress import EgressPolicy, EgressRules, check_syntax
from relay.actions.ingress_client import post_sample
from relay.actions.mail import EmailOptions
from relay.actions.outgoing_request import ForwardOptions
from relay.config.build import Config
from relay.config.effective import effective_facts
from relay.config.reading import find_slip
from relay.delivery.targets import Targets
from relay.errors import NotFoundError
from relay.handlers.environment import HandlerOptions
from relay.model.clock import Clock
from relay.model.delivery import NO_CHANGES, Target
from relay.model.event import Capture, CapturedEvent, EventRow, LocalKey, Source
from relay.model.signals import RequestRefused, TunnelChanged
from relay.model.text import escape_unprintable, find_similar
from relay.pipeline.bus import Bus
from relay.pipeline.process import Routing
from relay.pipeline.routing import RouteMatch, explain_routes
from relay.pipeline.source_table import SourceRegistry
from relay.providers.catalogue import PROVIDERS, find_provider
from relay.providers.local_keys import LocalKeyStore, find_pair_scheme, make_run_secret, trust_own_key
from relay.providers.samples import prepare_sample, sample_types
from relay.providers.sender_urls import OwnAddresses, list_sender_urls
from relay.services.state import RuntimeState, load_preferences
from relay.services.stats import Meter
from relay.store import Store

if TYPE_CHECKING:  # imported when needed: they would take a tenth of the start-up time
    from relay.catchup.recovery import CatchUpJobs
    from relay.delivery.bulk import BulkReplays
    from relay.delivery.email_dry_run import EmailDryRun
    from relay.delivery.lab.runner import LabRunner
    from relay.delivery.replay import ReplayService
    from relay.pipeline.diagnosis import SignatureDoctor
    from relay.services.health import HealthFinding
    from relay.services.vault_session import VaultSession
    from relay.tunnel.supervisor import Supervisor

_USUAL_PORT = 8400  # of the ingress; with "auto" it is unknown before the start
HTTP_PORT = 80  # which a Host header leaves out


class RunningRelay:
    """The state and services of a relay; `quiet`: the relay of a short command, on its own ports.

    Its services are set by `relay.services.factories` before anything uses them. `config` is replaced when the vault
    is opened, locked or written to; its routes and targets stay. `login_url` leads into the dashboard,
    `newest_before` is the id of the newest event from before the start, 0 for none.
    """

    replays: "ReplayService"
    bulk_replays: "BulkReplays"
    catch_ups: "CatchUpJobs"
    lab: "LabRunner"
    email_dry_run: "EmailDryRun"
    signature_doctor: "SignatureDoctor"
    vault: "VaultSession"
    tunnel: "Supervisor | None"
    login_url: str
    newest_before: int = 0

    def __init__(
        self,
        *,
        config: Config,
        sockets: tuple[socket.socket, socket.socket],
        notices: tuple[str, ...],
        clock: Clock,
        store: Store,
        quiet: bool,
    ) -> None:
        ingress, dashboard = sockets
        self.config = config
        self.notices = notices
        self.clock = clock
        self.store = store
        self.bus = Bus()
        self.version = __version__
        self.boot_id = secrets.token_hex(8)
        self.awaited = AwaitedResponses()
        self.routing = Routing(config.routes, config.targets)
        self.nonce = secrets.token_urlsafe(24)
        self.ingress_url = f"http://{format_address(ingress)}"
        self.dashboard_url = f"http://{format_address(dashboard)}"
        # A command that opens the store briefly uses other ports than a long-running relay.
        host, port = config.server.ingress
        self.usual_ingress_url = f"http://{join_host_port(host, port or _USUAL_PORT)}" if quiet else self.ingress_url
        self.config_facts = effective_facts(
            config, {"ingress": format_address(ingress), "dashboard": format_address(dashboard)}
        )
        self._run_secrets: dict[str, LocalKey] = {}  # never stored: they end with this relay
        self._keys = LocalKeyStore(config.server.data_dir / "keys")
        self.sources = SourceRegistry(config.sources, config.inbox, self.trust_local_key)
        by_hand = config.smtp.retry if config.smtp else None
        self.targets = Targets(config.targets, config.emails, by_hand)
        self.target_addresses = {name: _describe_address(target) for name, target in config.targets.items()}
        self.email_recipients = {name: ", ".join(email.to) for name, email in config.emails.items()}
        self.smtp_address = config.smtp.address if config.smtp else ""
        self.allowed_recipients = config.smtp.allow_recipients if config.smtp else ()
        self.tunnel_spoke = asyncio.Event()
        self._tunnel_url: str | None = None  # also while the tunnel is down: it may return with the same URL
        self._ingress_hosts = _host_headers(ingress)
        self.meter = Meter(store, clock)
        self.state = RuntimeState(
            tunnel=TunnelChanged("none", None, "no tunnel"), preferences=load_preferences(config.server.data_dir)
        )
        self.bus.on(self.state.refused.note, RequestRefused)
        forwards = (target.options for target in config.targets.values() if target.action == "forward")
        places = (check_syntax(options.url) for options in forwards if isinstance(options, ForwardOptions))
        own = (
            (host, listening.getsockname()[1])
            for listening in sockets
            for host in ("127.0.0.1", "localhost", "::1", str(listening.getsockname()[0]))
        )
        configured, allowed = frozenset((place.host, place.port) for place in places), config.server.allow_targets
        self.egress_rules = EgressPolicy(EgressRules(configured=configured, allowed=allowed, own=frozenset(own)))

    async def trigger_sample(
        self,
        name: str,
        type_: str,
        *,
        changes: Mapping[str, object] = MappingProxyType({}),
        body: bytes | None = None,
        to: str | None = None,
    ) -> EventRow:
        """Post a signed sample for a source through the real ingress and return the event it became.

        `changes` are fields of the sample by path, `body` replaces it. With `to` it is sent there as well, to a target
        or an address typed in; nothing is posted where that cannot be. Raises NotFoundError, TargetError.
        """
        if to:
            to = await self.targets.resolve(to, self.egress_rules(True))
        source = self.with_key_pair(self.find_source(name))
        capture = prepare_sample(
            source,
            find_provider(source.provider),
            type_,
            self.clock.now(),
            random=Random(secrets.randbits(64)),  # noqa: S311 - fills made-up ids into a sample
            set=changes,
            body=body,
            url=source.public_url or self.ingress_url + source.path,
        )
        id_ = await post_sample(self._sign_sample(source, capture), self.ingress_url, self.nonce)
        row = await self.store.events.row(id_)
        if row is None:
            raise NotFoundError(f"event {id_} no longer exists", hint="trigger it again")
        if to:
            await self.replays.replay_event(id_, to, NO_CHANGES)
        return row

    def list_sample_types(self, name: str) -> tuple[str, ...]:
        """Return the event types that can be triggered for a source. Raises NotFoundError."""
        source = self.find_source(name)
        provider = find_provider(source.provider)
        if provider is None and not source.configured:
            near = find_similar(name, (*self.sources.by_name, *PROVIDERS))
            hint = f"did you mean {near!r}?" if near else "relay providers lists those with samples"
            raise NotFoundError(f"no source or provider is called {escape_unprintable(repr(name), 100)}", hint=hint)
        return sample_types(provider) if provider else ()

    def explain_routes(self, event: CapturedEvent) -> tuple[RouteMatch, ...]:
        """Return for each route whether it matches an event, and why."""
        return explain_routes(event, self.routing.routes)

    def reconnect_tunnel(self) -> None:
        """Open the tunnel again, if there is one."""
        if self.tunnel is not None:
            self.tunnel.reconnect()

    async def check_health(self) -> "tuple[HealthFinding, ...]":
        """Run all health checks."""
        from relay.services.health import run_health_checks  # noqa: PLC0415 - see above

        return await run_health_checks(self)

    def find_source(self, name: str) -> Source:
        """Return a source by name. Raises NotFoundError, also for a misspelled known name."""
        found = self.sources.named(name)
        if found is None or (not found.configured and find_provider(name) is None):
            near = find_slip(name, (*self.sources.by_name, *(PROVIDERS if self.config.inbox else ())))
            if near is not None or found is None:
                hint = f"did you mean {near!r}?" if near else "relay start lists the sources"
                raise NotFoundError(f"no source is called {escape_unprintable(repr(name), 100)}", hint=hint)
        return found

    def trust_local_key(self, source: Source) -> Source:
        """Return the source with relay's key pair or temporary secret for it, if any."""
        made = self._run_secrets.get(source.name)
        if made is not None and not source.secrets and not source.locked_secrets:
            return replace(source, local=made)
        scheme = find_pair_scheme(source)
        pem = self._keys.find(source.name, scheme.pair_kind) if scheme else None
        return trust_own_key(source, scheme, pem) if scheme and pem else source

    def with_key_pair(self, source: Source) -> Source:
        """Return the source with a key pair of relay's own if only its provider could sign.

        It is created when first needed, and trusted from then on. Raises SigningError.
        """
        scheme = find_pair_scheme(source)
        if scheme is None or source.local is not None:
            return source
        self._keys.make(source.name, scheme.pair_kind)
        self.sources.trust(source.name)
        return self.find_source(source.name)

    def _sign_sample(self, source: Source, sample: Capture) -> Capture:
        """Return an unsigned sample of a source without a secret, signed with a temporary one.

        It is created when first needed and trusted in addition until relay ends; a sample
        that no secret can sign is returned as it is.
        """
        now = self.clock.now()
        made = make_run_secret(source, sample, now) if source.local is None else None
        if made is None:
            return sample
        self._run_secrets[source.name] = made
        self.sources.trust(source.name)
        return made.scheme.sign(made.secret, sample, now)

    def note_tunnel_change(self, change: TunnelChanged) -> None:
        """Store the state of the tunnel and announce it."""
        self.state.tunnel = change
        self.egress_rules.set_own_names(frozenset({urlsplit(change.public_url or "").hostname or ""} - {""}))
        if change.public_url is not None or change.state == "none":
            self._tunnel_url = change.public_url
        self.tunnel_spoke.set()
        self.bus.publish(change)

    def own_addresses(self) -> OwnAddresses:
        """Return the addresses at which relay can be reached now."""
        return OwnAddresses(tunnel=self._tunnel_url, ingress_url=self.ingress_url, ingress_hosts=self._ingress_hosts)

    def list_sender_urls(self, source: Source, capture: Capture) -> tuple[str, ...]:
        """Return the URLs that the sender of a stored request may have signed."""
        return list_sender_urls(source, capture, self.own_addresses())


def _host_headers(listening: socket.socket) -> frozenset[str]:
    """Return each `host:port` of a listening socket on this computer, as in a Host header."""
    port = listening.getsockname()[1]
    names = {"127.0.0.1", "localhost", "[::1]", format_address(listening).rpartition(":")[0].lower()}
    bare = names if port == HTTP_PORT else set()
    return frozenset({*(f"{name}:{port}" for name in names), *bare})


def format_address(listening: socket.socket) -> str:
    """Return the address of a listening socket as `host:port`."""
    host, port = listening.getsockname()[:2]
    return join_host_port(host, port)


def join_host_port(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _describe_address(target: Target) -> str:
    match target.options:
        case ForwardOptions(url=url):
            return url
        case EmailOptions(name=name):
            return f"mail {name}"
        case HandlerOptions(name=name):
            return name
    return target.action
