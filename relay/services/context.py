"""What everything of one relay stands on: its store, bus, clock, sources, targets and what may be dialled."""

import asyncio
import secrets
import socket
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from relay.actions.base import AwaitedResponses
from relay.actions.egress import EgressRules, check_syntax
from relay.actions.outgoing_request import ForwardOptions
from relay.bus import Bus
from relay.clock import Clock
from relay.config import Config
from relay.config.preferences import load_preferences
from relay.config.reading import find_slip
from relay.delivery.targets import Targets
from relay.errors import NotFoundError
from relay.model.event import Capture, LocalKey, Source
from relay.model.signals import RequestRefused, Signal, TunnelChanged
from relay.model.text import escape_unprintable
from relay.pipeline.process import Routing
from relay.pipeline.source_table import SourceRegistry
from relay.providers.catalogue import PROVIDERS, find_provider
from relay.providers.local_keys import LocalKeyStore, find_pair_scheme, make_run_secret, trust_own_key
from relay.providers.sender_urls import OwnAddresses, list_sender_urls
from relay.services.meter import Meter
from relay.services.state import RuntimeState
from relay.store import Store

HTTP_PORT = 80  # which a Host header leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningPorts:
    """The two listening sockets, and what to say about them; `quiet`: of a command that soon ends."""

    ingress: socket.socket
    dashboard: socket.socket
    notices: tuple[str, ...]
    quiet: bool = False


class RelayContext:
    """The objects that every part of one relay is handed, and what they know of each other."""

    def __init__(self, *, config: Config, ports: ListeningPorts, clock: Clock, store: Store) -> None:
        self.config = config
        self.ports = ports
        self.clock = clock
        self.store = store
        self.bus = Bus()
        self.awaited = AwaitedResponses()
        self.routing = Routing(config.routes, config.targets)
        self.nonce = secrets.token_urlsafe(24)
        self.ingress_url = f"http://{format_address(ports.ingress)}"
        self.dashboard_url = f"http://{format_address(ports.dashboard)}"
        self._run_secrets: dict[str, LocalKey] = {}  # never written down: they end with this relay
        self.keys = LocalKeyStore(config.server.data_dir / "keys")
        self.table = SourceRegistry(config.sources, config.inbox, self.trusting)
        by_hand = config.smtp.retry if config.smtp else None
        self.targets = Targets(config.targets, config.emails, by_hand)
        self.tunnel_spoke = asyncio.Event()
        self._tunnel_url: str | None = None  # also while the tunnel is down: it may come back with it
        self._ingress_hosts = _host_headers(ports.ingress)
        self.meter = Meter(store, self.bus, clock)
        self.live = RuntimeState(
            tunnel=TunnelChanged("none", None, "no tunnel"), preferences=load_preferences(config.server.data_dir)
        )
        self.bus.on(self._note)
        forwards = (target.options for target in config.targets.values() if target.action == "forward")
        places = (check_syntax(options.url) for options in forwards if isinstance(options, ForwardOptions))
        self._configured = frozenset((place.host, place.port) for place in places)
        self._own = frozenset(
            (host, listening.getsockname()[1])
            for listening in (ports.ingress, ports.dashboard)
            for host in ("127.0.0.1", "localhost", "::1", str(listening.getsockname()[0]))
        )

    def source(self, name: str) -> Source:
        """Return a source by name. Raises NotFoundError, also for a slip in the name of one that is known."""
        found = self.table.named(name)
        if found is None or (not found.configured and find_provider(name) is None):
            near = find_slip(name, (*self.table.by_name, *(PROVIDERS if self.config.inbox else ())))
            if near is not None or found is None:
                hint = f"did you mean {near!r}?" if near else "relay start lists the sources"
                raise NotFoundError(f"no source is called {escape_unprintable(repr(name), 100)}", hint=hint)
        return found

    def trusting(self, source: Source) -> Source:
        """Return the source with the key pair, or the secret for this run, that relay has for it, if any."""
        made = self._run_secrets.get(source.name)
        if made is not None and not source.secrets and not source.locked_secrets:
            return replace(source, local=made)
        scheme = find_pair_scheme(source)
        pem = self.keys.find(source.name, scheme.pair_kind) if scheme else None
        return trust_own_key(source, scheme, pem) if scheme and pem else source

    def with_key_pair(self, source: Source) -> Source:
        """Return the source with a key pair of relay's own where only its provider could sign.

        It is made at the first need, and trusted from then on. Raises SigningError.
        """
        scheme = find_pair_scheme(source)
        if scheme is None or source.local is not None:
            return source
        self.keys.make(source.name, scheme.pair_kind)
        self.table.trust(source.name)
        return self.source(source.name)

    def sign_sample(self, source: Source, sample: Capture) -> Capture:
        """Return an unsigned sample for a source without a secret, signed with one made for this run.

        It is made at the first need and trusted besides what the source takes anyway, until relay ends; a sample
        that no secret can sign is returned as it is.
        """
        now = self.clock.now()
        if source.local is None:
            made = make_run_secret(source, sample, now)
            if made is None:
                return sample
            self._run_secrets[source.name] = made
            self.table.trust(source.name)
            return made.scheme.sign(made.secret, sample, now)
        return sample

    def local_key(self, name: str) -> LocalKey | None:
        """Return the key pair of relay's own that a source is signed for with, if any."""
        source = self.table.named(name)
        return source.local if source else None

    def rules(self, typed: bool) -> EgressRules:
        """Return what may be dialled at this moment."""
        public = self.live.tunnel.public_url
        return EgressRules(
            typed=typed,
            configured=self._configured,
            allowed=self.config.server.allow_targets,
            own=self._own,
            own_names=frozenset({urlsplit(public).hostname or ""}) if public else frozenset(),
        )

    def note_tunnel_change(self, change: TunnelChanged) -> None:
        """Remember how the tunnel is and say so."""
        self.live.tunnel = change
        if change.public_url is not None or change.state == "none":
            self._tunnel_url = change.public_url
        self.tunnel_spoke.set()
        self.bus.publish(change)

    def own_addresses(self) -> OwnAddresses:
        """Return the addresses at which relay is reached at this moment."""
        return OwnAddresses(tunnel=self._tunnel_url, ingress_url=self.ingress_url, ingress_hosts=self._ingress_hosts)

    def sender_urls(self, source: Source, capture: Capture) -> tuple[str, ...]:
        """Return the URLs that the sender of a stored request may have signed."""
        return list_sender_urls(source, capture, self.own_addresses())

    def _note(self, signal: Signal) -> None:
        if isinstance(signal, RequestRefused):
            self.live.refused.note(signal)

    def path_of(self, name: str) -> str:
        """Return where a source answers, also one that nobody configured."""
        source = self.table.named(name)
        return source.path if source else f"/webhooks/{name}"

    def public_url_of(self, name: str) -> str | None:
        """Return the address a source is called at from outside, where relay.toml says."""
        source = self.table.named(name)
        return source.public_url if source else None


def _host_headers(listening: socket.socket) -> frozenset[str]:
    """Return every `host:port` that names a listening socket on this computer, as in a Host header."""
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
