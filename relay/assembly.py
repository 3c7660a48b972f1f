"""Every object of one relay, put together: who is handed what."""

import asyncio
import secrets
import socket
from dataclasses import dataclass
from functools import partial
from random import Random
from urllib.parse import urlsplit

from relay import __version__
from relay.actions.email import Email, Post
from relay.actions.forward import Forward
from relay.actions.outgoing import ForwardOptions
from relay.bus import Bus
from relay.clock import Clock
from relay.config import Config
from relay.delivery.bulk import Bulk
from relay.delivery.engine import Engine, Habits
from relay.delivery.replay import Replays
from relay.delivery.resign import Resign
from relay.delivery.targets import Targets
from relay.dial import Rules, check_syntax
from relay.errors import NotFoundError
from relay.ingest import Ingest
from relay.keys import KeyPairs
from relay.mail.compose import EmailOptions
from relay.model.delivery import NO_CHANGES, Target
from relay.model.event import EventRow, LocalKey, Source
from relay.model.signals import Refused, Signal, TunnelChanged
from relay.providers.catalogue import find
from relay.providers.local import paired, trusting
from relay.providers.samples import sample_types
from relay.routing import explain, lead
from relay.store import Store
from relay.trigger import prepare as prepare_sample
from relay.tunnel.supervisor import Supervisor
from relay.web.diagnosis import Doctor
from relay.web.guard import Guard, load_token, own_hosts
from relay.web.keys import Desk, Live, Setup, TriggerRequest, Verbs
from relay.web.post import post_sample
from relay.web.receive import Door
from relay.web.sites import address_of
from relay.web.sources import SourceTable

_REFUSED_KEPT = 50  # refusals remembered for each source


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A relay at work."""

    setup: Setup
    live: Live
    bus: Bus
    store: Store
    login_url: str
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The two listening sockets, and what to say about them."""

    ingress: socket.socket
    dashboard: socket.socket
    notices: tuple[str, ...]


class Assembly:
    """The objects of one relay while they are put together."""

    def __init__(self, *, config: Config, ports: Ports, clock: Clock, store: Store) -> None:
        self.config = config
        self.ports = ports
        self.clock = clock
        self.store = store
        self.bus = Bus()
        self.nonce = secrets.token_urlsafe(24)
        self.ingress_url = f"http://{address_of(ports.ingress)}"
        self.dashboard_url = f"http://{address_of(ports.dashboard)}"
        self.keys = KeyPairs(config.server.data_dir / "keys")
        self.table = SourceTable(config.sources, config.inbox, self._trusting)
        self.targets = Targets(config.targets, config.emails)
        self.tunnel_spoke = asyncio.Event()
        self.live = Live(tunnel=TunnelChanged("none", None, "no tunnel"))
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
        """Return a source by name. Raises NotFoundError."""
        found = self.table.named(name)
        if found is None:
            raise NotFoundError(f"no source is called {name!r}", hint="relay start lists the sources")
        return found

    def _trusting(self, source: Source) -> Source:
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
        self.tunnel_spoke.set()
        self.bus.publish(change)

    def _note(self, signal: Signal) -> None:
        if isinstance(signal, Refused):
            kept = self.live.refused.setdefault(signal.source, [])
            kept.append(signal)
            del kept[:-_REFUSED_KEPT]

    def desk(self, replays: Replays, bulk: Bulk, tunnel: Supervisor | None) -> Desk:
        """Return what handlers may use."""
        verbs = Verbs(
            replay=replays.replay,
            email=replays.email,
            preview_email=replays.preview_email,
            retry=replays.retry,
            cancel=replays.cancel,
            retry_all=replays.retry_all,
            cancel_all=replays.cancel_all,
            bulk=bulk,
            trigger=partial(self.trigger, replays),
            local_key=self.local_key,
            samples=self.samples,
            explain=lambda event: explain(event, self.config.routes),
            diagnose=self.doctor(),
            reconnect=tunnel.reconnect if tunnel else lambda: None,
        )
        return Desk(
            store=self.store, bus=self.bus, clock=self.clock, setup=self.setup(), live=self.live, verbs=verbs
        )

    def doctor(self) -> Doctor:
        """Return what says why a signature failed."""
        return Doctor(
            store=self.store,
            table=self.table,
            live=self.live,
            ingress_url=self.ingress_url,
            clock=self.clock,
            spare=self.config.spare,
        )

    def running(self, desk: Desk, guard: Guard) -> Running:
        """Return this relay as the command line sees it."""
        query = f"?token={guard.token}" if guard.token else ""
        return Running(
            setup=desk.setup,
            live=self.live,
            bus=self.bus,
            store=self.store,
            login_url=f"{self.dashboard_url}/login{query}",
            notices=(*self.ports.notices, *self.config.notices),
        )

    def forward(self) -> Forward:
        """Return the action that sends requests on."""
        return Forward(
            rules=self.rules,
            resign=Resign(self.table.named, self.clock, self.keyed),
            source_path=self._path,
            public_url=self._public_url,
            clock=self.clock,
        )

    def email(self) -> Email:
        """Return the action that sends mails."""
        return Email(
            templates=self.config.emails,
            post=Post(outbox=self.config.server.data_dir / "outbox", smtp=self.config.smtp),
            messages=self.store.messages,
            publish=self.bus.publish,
            clock=self.clock,
        )

    def engine(self, forward: Forward, email: Email, above: int) -> Engine:
        """Return what delivers; it leaves deliveries up to the id `above` alone."""
        engine = Engine(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            targets=self.targets,
            actions={forward.name: forward, email.name: email},
            habits=Habits(above=above),
        )
        self.live.down, self.live.gone = engine.ward.down, engine.ward.gone
        return engine

    def replays(self, email: Email) -> Replays:
        """Return what a person may ask of deliveries."""
        return Replays(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            targets=self.targets,
            rules=self.rules,
            email=email,
        )

    def bulk(self, engine: Engine, above: int) -> Bulk:
        """Return what replays many events; it leaves batches up to the id `above` alone."""
        routes = self.config.routes
        return Bulk(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            targets=self.targets,
            routes=routes,
            led=lambda event: lead(event, routes),
            rules=self.rules,
            in_order=engine.in_order,
            above=above,
        )

    def _path(self, name: str) -> str:
        source = self.table.named(name)
        return source.path if source else f"/webhooks/{name}"

    def _public_url(self, name: str) -> str | None:
        source = self.table.named(name)
        return source.public_url if source else None

    def door(self) -> Door:
        """Return what the ingress hands requests to."""
        ingest = Ingest(self.store, self.bus, self.clock, self.config.routes, self.config.targets)
        return Door(
            ingest=ingest,
            table=self.table,
            bus=self.bus,
            clock=self.clock,
            live=self.live,
            max_body=self.config.server.max_body,
            nonce=self.nonce,
        )

    def guard(self) -> Guard:
        """Return what the dashboard asks of its callers."""
        server = self.config.server
        host, port = self.ports.dashboard.getsockname()[:2]
        return Guard(
            token=load_token(server.data_dir) if server.auth else None,
            port=port,
            hosts=own_hosts(port, server.allowed_hosts, host),
        )

    def setup(self) -> Setup:
        """Return what the dashboard shows of the configuration."""
        config = self.config
        return Setup(
            version=__version__,
            boot=secrets.token_hex(8),
            ingress_url=self.ingress_url,
            dashboard_url=self.dashboard_url,
            data_dir=config.server.data_dir,
            config_path=config.path,
            sources=self.table.by_name,
            targets=config.targets,
            routes=config.routes,
            emails={name: ", ".join(email.to) for name, email in config.emails.items()},
            smtp=f"{config.smtp.host}:{config.smtp.port}" if config.smtp else "",
            addresses={name: _address(target) for name, target in config.targets.items()},
        )

    async def trigger(self, replays: Replays, wanted: TriggerRequest) -> EventRow:
        """Post a signed sample through the real ingress and return the event it became.

        With `to` it is sent there as well, to a target or an address typed in.
        """
        source = self.keyed(self.source(wanted.source))
        capture = prepare_sample(
            source,
            find(source.provider),
            wanted.type,
            self.clock.now(),
            random=Random(secrets.randbits(64)),  # noqa: S311 - fills made-up ids into a sample
            set=wanted.set,
            body=wanted.body,
            url=source.public_url or self.ingress_url + source.path,
        )
        id_ = await post_sample(capture, self.ingress_url, self.nonce)
        row = await self.store.events.row(id_)
        if row is None:
            raise NotFoundError(f"event {id_} is gone already", hint="trigger it again")
        if wanted.to:
            await replays.replay(id_, wanted.to, NO_CHANGES)
        return row

    def samples(self, name: str) -> tuple[str, ...]:
        """Return the event types that can be triggered for a source."""
        provider = find(self.source(name).provider)
        return sample_types(provider) if provider else ()


def _address(target: Target) -> str:
    match target.options:
        case ForwardOptions(url=url):
            return url
        case EmailOptions(name=name):
            return f"mail {name}"
    return target.action
