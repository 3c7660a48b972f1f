"""What everything of one relay stands on: its store, bus, clock, sources, targets and what may be dialled."""

import asyncio
import secrets
import socket
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from relay.actions.awaited import AwaitedAnswers
from relay.actions.outgoing import ForwardOptions
from relay.bus import Bus
from relay.clock import Clock
from relay.config import Config
from relay.config.mistakes import find_slip
from relay.delivery.targets import Targets
from relay.dial import Rules, check_syntax
from relay.errors import NotFoundError
from relay.keys import KeyPairs
from relay.metrics.meter import Meter
from relay.model.event import Capture, LocalKey, Source
from relay.model.signals import Refused, Signal, TunnelChanged
from relay.model.text import printable
from relay.providers.catalogue import PROVIDERS, find
from relay.providers.local import make_run_secret, paired, trusting
from relay.providers.sender_urls import OwnAddresses, sender_urls
from relay.store import Store
from relay.web.keys import Live
from relay.web.preferences import load_preferences
from relay.web.sites import address_of
from relay.web.sources import SourceTable

HTTP_PORT = 80  # which a Host header leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The two listening sockets, and what to say about them; `quiet`: of a command that soon ends."""

    ingress: socket.socket
    dashboard: socket.socket
    notices: tuple[str, ...]
    quiet: bool = False


class Ground:
    """The objects that every part of one relay is handed, and what they know of each other."""

    def __init__(self, *, config: Config, ports: Ports, clock: Clock, store: Store) -> None:
        self.config = config
        self.ports = ports
        self.clock = clock
        self.store = store
        self.bus = Bus()
        self.awaited = AwaitedAnswers()
        self.nonce = secrets.token_urlsafe(24)
        self.ingress_url = f"http://{address_of(ports.ingress)}"
        self.dashboard_url = f"http://{address_of(ports.dashboard)}"
        self._run_secrets: dict[str, LocalKey] = {}  # never written down: they end with this relay
        self.keys = KeyPairs(config.server.data_dir / "keys")
        self.table = SourceTable(config.sources, config.inbox, self.trusting)
        by_hand = config.smtp.retry if config.smtp else None
        self.targets = Targets(config.targets, config.emails, by_hand)
        self.tunnel_spoke = asyncio.Event()
        self._tunnel_url: str | None = None  # also while the tunnel is down: it may come back with it
        self._ingress_hosts = _hosts(ports.ingress)
        self.meter = Meter(store, self.bus, clock)
        self.live = Live(
            tunnel=TunnelChanged("none", None, "no tunnel"),
            preferences=load_preferences(config.server.data_dir),
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
        if found is None or (not found.configured and find(name) is None):
            near = find_slip(name, (*self.table.by_name, *(PROVIDERS if self.config.inbox else ())))
            if near is not None or found is None:
                hint = f"did you mean {near!r}?" if near else "relay start lists the sources"
                raise NotFoundError(f"no source is called {printable(repr(name), 100)}", hint=hint)
        return found

    def trusting(self, source: Source) -> Source:
        """Return the source with the key pair, or the secret for this run, that relay has for it, if any."""
        made = self._run_secrets.get(source.name)
        if made is not None and not source.secrets and not source.locked_secrets:
            return replace(source, local=made)
        scheme = paired(source)
        pem = self.keys.find(source.name, scheme.pair_kind) if scheme else None
        return trusting(source, scheme, pem) if scheme and pem else source

    def keyed(self, source: Source) -> Source:
        """Return the source with a key pair of relay's own where only its provider could sign.

        It is made at the first need, and trusted from then on. Raises SigningError.
        """
        scheme = paired(source)
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

    def rules(self, typed: bool) -> Rules:
        """Return what may be dialled at this moment."""
        public = self.live.tunnel.public_url
        return Rules(
            typed=typed,
            configured=self._configured,
            allowed=self.config.server.allow_targets,
            own=self._own,
            own_names=frozenset({urlsplit(public).hostname or ""}) if public else frozenset(),
        )

    def tunnel_changed(self, change: TunnelChanged) -> None:
        """Remember how the tunnel is and say so."""
        self.live.tunnel = change
        if change.public_url is not None or change.state == "none":
            self._tunnel_url = change.public_url
        self.tunnel_spoke.set()
        self.bus.publish(change)

    def own_addresses(self) -> OwnAddresses:
        """Return the addresses at which relay is reached at this moment."""
        return OwnAddresses(
            tunnel=self._tunnel_url, ingress_url=self.ingress_url, ingress_hosts=self._ingress_hosts
        )

    def sender_urls(self, source: Source, capture: Capture) -> tuple[str, ...]:
        """Return the URLs that the sender of a stored request may have signed."""
        return sender_urls(source, capture, self.own_addresses())

    def _note(self, signal: Signal) -> None:
        if isinstance(signal, Refused):
            self.live.refused.note(signal)

    def path_of(self, name: str) -> str:
        """Return where a source answers, also one that nobody configured."""
        source = self.table.named(name)
        return source.path if source else f"/webhooks/{name}"

    def public_url_of(self, name: str) -> str | None:
        """Return the address a source is called at from outside, where relay.toml says."""
        source = self.table.named(name)
        return source.public_url if source else None


def _hosts(listening: socket.socket) -> frozenset[str]:
    """Return every `host:port` that names a listening socket on this computer, as in a Host header."""
    port = listening.getsockname()[1]
    names = {"127.0.0.1", "localhost", "[::1]", address_of(listening).rpartition(":")[0].lower()}
    bare = names if port == HTTP_PORT else set()
    return frozenset({*(f"{name}:{port}" for name in names), *bare})
