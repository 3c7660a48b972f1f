"""The composition root: a Config becomes objects, two sites, an engine and a tunnel; start and stop."""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from relay import __version__
from relay.actions.ingress_client import post_sample
from relay.actions.mail.compose import EmailOptions
from relay.actions.outgoing_request import ForwardOptions
from relay.api.routes import add_api
from relay.bus import Bus
from relay.clock import Clock, SystemClock
from relay.config import Config
from relay.config.effective import effective_facts
from relay.dashboard.routes import add_dashboard
from relay.delivery.replay import ReplayService
from relay.delivery.signing import describe_signing
from relay.errors import NotFoundError, PortError, StoreError, log_level
from relay.handlers.environment import HandlerOptions
from relay.http.guard import Guard, load_token, own_hosts
from relay.http.server import build_app, serve_app
from relay.http.sockets import open_listener
from relay.ingress.server import build_ingress_handler, serve_ingress
from relay.model.delivery import NO_CHANGES, Target
from relay.model.event import EventRow
from relay.pipeline.diagnosis import SignatureDoctor
from relay.pipeline.routing import explain_routes
from relay.providers.catalogue import find_provider
from relay.providers.samples import sample_types
from relay.providers.trigger import prepare_sample
from relay.resources import write_private
from relay.services import factories, health
from relay.services.context import ListeningPorts, RelayContext, format_address, join_host_port
from relay.services.factories import Services, build_email_dry_run
from relay.services.health_checks import run_health_checks
from relay.services.state import HandlerContext, ResolvedConfig, RuntimeState, TriggerRequest, UseCases
from relay.services.store_monitor import StoreMonitor
from relay.store import Store, build_busy_error, is_data_dir_held, open_store, prepare_data_dir
from relay.tunnel.supervisor import open_tunnel


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRelay:
    """A relay at work; events up to the id `older` came before it was started."""

    setup: ResolvedConfig
    live: RuntimeState
    bus: Bus
    store: Store
    login_url: str
    notices: tuple[str, ...]
    older: int


def build_desk(ground: RelayContext, works: Services) -> HandlerContext:
    """Return what handlers may use."""
    replays, tunnel = works.replays, works.tunnel
    verbs = UseCases(
        replay=replays.replay,
        email=replays.email,
        preview_email=replays.preview_email,
        check_email=replays.check_email,
        rehearse=build_email_dry_run(ground, replays.mails).rehearse,
        retry=replays.retry,
        cancel=replays.cancel,
        retry_all=replays.retry_all,
        cancel_all=replays.cancel_all,
        bulk=works.bulk,
        catch_ups=works.catch_ups,
        lab=works.lab,
        trigger=partial(trigger_sample, ground, replays),
        local_key=ground.local_key,
        samples=partial(list_sample_types, ground),
        explain=lambda event: explain_routes(event, ground.config.routes),
        signing=lambda event, mode: describe_signing(event, ground.table.named(event.row.source), mode),
        diagnose=build_doctor(ground),
        reconnect=tunnel.reconnect if tunnel else lambda: None,
        checkup=partial(run_health_checks, ground, works),
    )
    return HandlerContext(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        setup=build_setup(ground),
        live=ground.live,
        meter=ground.meter,
        verbs=verbs,
        custody=works.custody,
    )


def build_doctor(ground: RelayContext) -> SignatureDoctor:
    """Return what says why a signature failed."""
    return SignatureDoctor(
        store=ground.store,
        table=ground.table,
        public_url=lambda: ground.live.public_url,
        ingress_url=ground.ingress_url,
        clock=ground.clock,
        urls=ground.sender_urls,
        spare=lambda: ground.config.spare,
    )


def describe_running(ground: RelayContext, desk: HandlerContext, guard: Guard, older: int) -> RunningRelay:
    """Return this relay as the command line sees it."""
    query = f"?token={guard.token}" if guard.token else ""
    return RunningRelay(
        setup=desk.setup,
        live=ground.live,
        bus=ground.bus,
        store=ground.store,
        login_url=f"{ground.dashboard_url}/login{query}",
        notices=(*ground.ports.notices, *_folder_notice(desk.setup.data_dir), *ground.config.notices),
        older=older,
    )


def _folder_notice(data_dir: Path) -> tuple[str, ...]:
    found = health.check_data_folder(data_dir)
    return () if found.state == "ok" else (f"{found.detail}; {found.fix}",)


def build_guard(ground: RelayContext) -> Guard:
    """Return what the dashboard asks of its callers."""
    server = ground.config.server
    host, port = ground.ports.dashboard.getsockname()[:2]
    return Guard(
        token=load_token(server.data_dir) if server.auth else None,
        port=port,
        hosts=own_hosts(port, server.allowed_hosts, host),
    )


def build_setup(ground: RelayContext) -> ResolvedConfig:
    """Return what the dashboard shows of the configuration."""
    config = ground.config
    return ResolvedConfig(
        version=__version__,
        boot=secrets.token_hex(8),
        ingress_url=ground.ingress_url,
        usual_ingress_url=(
            f"http://{join_host_port(*config.server.ingress)}" if ground.ports.quiet else ground.ingress_url
        ),
        dashboard_url=ground.dashboard_url,
        data_dir=config.server.data_dir,
        config_path=config.path,
        sources=ground.table.by_name,
        targets=config.targets,
        routes=config.routes,
        emails={name: ", ".join(email.to) for name, email in config.emails.items()},
        smtp=f"{config.smtp.host}:{config.smtp.port}" if config.smtp else "",
        addresses={name: _describe_address(target) for name, target in config.targets.items()},
        allow_recipients=config.smtp.allow_recipients if config.smtp else (),
        max_body=config.server.max_body,
        facts=effective_facts(
            config,
            {"ingress": format_address(ground.ports.ingress), "dashboard": format_address(ground.ports.dashboard)},
        ),
        keep=config.keep,
    )


async def trigger_sample(ground: RelayContext, replays: ReplayService, wanted: TriggerRequest) -> EventRow:
    """Post a signed sample through the real ingress and return the event it became.

    With `to` it is sent there as well, to a target or an address typed in.
    """
    source = ground.with_key_pair(ground.source(wanted.source))
    capture = prepare_sample(
        source,
        find_provider(source.provider),
        wanted.type,
        ground.clock.now(),
        random=Random(secrets.randbits(64)),  # noqa: S311 - fills made-up ids into a sample
        set=wanted.set,
        body=wanted.body,
        url=source.public_url or ground.ingress_url + source.path,
    )
    capture = ground.sign_sample(source, capture)
    id_ = await post_sample(capture, ground.ingress_url, ground.nonce)
    row = await ground.store.events.row(id_)
    if row is None:
        raise NotFoundError(f"event {id_} is gone already", hint="trigger it again")
    if wanted.to:
        await replays.replay(id_, wanted.to, NO_CHANGES)
    return row


def list_sample_types(ground: RelayContext, name: str) -> tuple[str, ...]:
    """Return the event types that can be triggered for a source."""
    provider = find_provider(ground.source(name).provider)
    return sample_types(provider) if provider else ()


def _describe_address(target: Target) -> str:
    match target.options:
        case ForwardOptions(url=url):
            return url
        case EmailOptions(name=name):
            return f"mail {name}"
        case HandlerOptions(name=name):
            return name
    return target.action


log = logging.getLogger(__name__)

_INDEX_PAUSE = 0.05  # seconds between two batches of the index
_INDEX_PAUSE_BUSY = 0.5


@asynccontextmanager
async def run_relay(config: Config, *, quiet: bool = False, clock: Clock | None = None) -> AsyncIterator[RunningRelay]:
    """Run relay for as long as the block lasts; leaving it finishes what is in flight.

    `quiet` is for commands while no relay runs: ports that nobody knows, no tunnel, and an engine
    that leaves alone what was owed before. Raises PortError and StoreError before anything starts.
    """
    time = clock or SystemClock()
    async with AsyncExitStack() as stack:
        # Ports before the database: what cannot listen must not touch anything.
        ports = stack.enter_context(_open_ports(config, quiet=quiet))
        prepare_data_dir(config.server.data_dir)
        store = await stack.enter_async_context(open_store(config.server.data_dir))
        older = await store.events.page(limit=1)
        ground = RelayContext(config=config, ports=ports, clock=time, store=store)
        forward = await stack.enter_async_context(factories.build_forward_action(ground))
        email = factories.build_email_action(ground)
        handler = await stack.enter_async_context(factories.build_handler_action(ground))
        newest = await store.deliveries.newest() if quiet else 0
        engine = factories.build_engine(ground, (forward, email, handler), email, above=newest)
        tunnel = None if quiet else open_tunnel(config.tunnel, ground.ingress_url, clock=time)
        tasks = await stack.enter_async_context(_own_tasks())
        bulk = factories.build_bulk_replays(ground, engine, above=await store.batches.newest() if quiet else 0)
        works = Services(
            replays=factories.build_replays(ground, email),
            bulk=bulk,
            catch_ups=factories.build_catch_ups(ground),
            lab=factories.build_lab(ground, engine),
            custody=factories.build_vault_session(ground, email, engine, tunnel, checks=not quiet),
            tunnel=tunnel,
        )
        await works.lab.recover()
        desk = build_desk(ground, works)
        guard = build_guard(ground)
        await stack.enter_async_context(serve_app(ports.dashboard, build_app(desk, guard, (add_dashboard, add_api))))
        await stack.enter_async_context(serve_ingress(ports.ingress, build_ingress_handler(ground)))
        tasks("engine", engine.run())
        tasks("replays", bulk.run())
        tasks("catch-ups", works.catch_ups.run())
        tasks("counts", ground.meter.run())
        tasks("lab", works.lab.run())
        tasks("vault", works.custody.run())
        tasks("index", _index_events(store, ground.bus, time))
        if tunnel is not None:
            tasks("tunnel", tunnel.run(ground.note_tunnel_change))
            # Its first word comes at once, even if that is "connecting"; a banner should not miss it.
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await ground.tunnel_spoke.wait()
        watch = StoreMonitor(store, ground.bus, time, ground.live)
        if not quiet:
            tasks("store", watch.run())
            tasks("retention", factories.build_retention(ground).run())
            stack.enter_context(_announce(config.server.data_dir, desk.setup))
        yield describe_running(ground, desk, guard, older.rows[0].id if older.rows else 0)


@contextmanager
def _open_ports(config: Config, *, quiet: bool) -> Iterator[ListeningPorts]:
    server = config.server
    if quiet:
        with (
            open_listener(("127.0.0.1", 0), "", named=True) as one,
            open_listener(("127.0.0.1", 0), "", named=True) as two,
        ):
            yield ListeningPorts(ingress=one, dashboard=two, notices=(), quiet=True)
        return
    with ExitStack() as both:
        try:
            ingress = both.enter_context(open_listener(server.ingress, "--ingress", named=server.ingress_named))
            dashboard = both.enter_context(open_listener(server.dashboard, "--dashboard", named=server.dashboard_named))
        except PortError as error:
            # The other program may well be a relay with the same data.
            if is_data_dir_held(server.data_dir):
                raise build_busy_error(server.data_dir) from error
            raise
        pairs = (("ingress", server.ingress, ingress), ("dashboard", server.dashboard, dashboard))
        moved = [
            f"port {wanted[1]} is in use, so the {name} is on {format_address(got)}"
            for name, wanted, got in pairs
            if wanted[1] not in (0, got.getsockname()[1])
        ]
        yield ListeningPorts(ingress=ingress, dashboard=dashboard, notices=tuple(moved))


@asynccontextmanager
async def _own_tasks() -> AsyncIterator[Callable[[str, Coroutine[None, None, None]], None]]:
    # The one place that owns long tasks: they end with the block, each given the chance to finish.
    async with asyncio.TaskGroup() as group:
        begun: list[asyncio.Task[None]] = []

        def begin(name: str, work: Coroutine[None, None, None]) -> None:
            begun.append(group.create_task(work, name=name))

        try:
            yield begin
        finally:
            for task in begun:
                task.cancel()


async def _index_events(store: Store, bus: Bus, clock: Clock) -> None:
    with bus.subscribe() as listening:
        while True:
            try:
                while await store.indexer.step():
                    # What comes in has the right of way: while it does, a batch now and then.
                    await clock.sleep(_INDEX_PAUSE_BUSY if listening.waiting else _INDEX_PAUSE)
            except StoreError as error:
                # Searching can wait; the next event tries again.
                log.log(log_level(error), "could not index: %s", error.message)
            await listening.next()
            await clock.sleep(_INDEX_PAUSE)


@contextmanager
def _announce(data_dir: Path, setup: ResolvedConfig) -> Iterator[None]:
    # How other commands find this relay; the lock, not this file, says whether it is alive.
    path = data_dir / "running.json"
    plain = {"pid": os.getpid(), "ingress_url": setup.ingress_url, "dashboard_url": setup.dashboard_url}
    write_private(path, json.dumps(plain).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
