"""The composition root: builds one RunningRelay, starts its servers, engine and tunnel, and stops them."""

import asyncio
import importlib
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from socket import socket

from relay.config.build import Config
from relay.errors import PortError, StoreError, log_level
from relay.http.guard import Guard, own_hosts
from relay.http.listening import open_listener
from relay.http.server import build_app, serve_app
from relay.http.token import load_token
from relay.ingress.server import build_ingress_handler, serve_ingress
from relay.model.clock import Clock
from relay.model.signals import EventChanged, EventStored, Signal
from relay.pipeline.bus import Bus, Subscription
from relay.platform import SystemClock, is_data_dir_held, list_limits, write_private
from relay.services.relay import RunningRelay, format_address
from relay.services.state import StoreMonitor
from relay.store import Store, build_busy_error, open_store, prepare_data_dir

log = logging.getLogger(__name__)

_INDEX_PAUSE = 0.05  # seconds between two batches of the index
_INDEX_PAUSE_BUSY = 0.5
_FLOOD = 500  # signals during such a pause that count as a flood
_PAUSES_IN_FLOOD = 10


@asynccontextmanager
async def run_relay(
    config: Config, *, quiet: bool = False, clock: Clock | None = None, listen: Callable[[Signal], None] | None = None
) -> AsyncIterator[RunningRelay]:
    """Run relay until the block ends; attempts in flight are finished.

    `quiet` is for commands without a running relay: random ports, no tunnel, and an engine that leaves earlier
    deliveries alone. `listen` gets all signals from the first one on. Raises PortError and StoreError before
    anything starts.
    """
    clock = clock or SystemClock()
    data_dir = config.server.data_dir
    async with AsyncExitStack() as stack:
        # Ports before the database: a relay that cannot listen must not change anything.
        ingress, dashboard, port_notices = stack.enter_context(_open_ports(config, quiet=quiet))
        prepare_data_dir(data_dir)
        store = await stack.enter_async_context(open_store(data_dir))
        relay = RunningRelay(
            config=config,
            sockets=(ingress, dashboard),
            notices=(*port_notices, *config.notices),
            clock=clock,
            store=store,
            quiet=quiet,
        )
        if listen is not None:
            relay.bus.on(listen)
        relay.newest_before = next((row.id for row in (await store.events.page(limit=1)).rows), 0)
        newest = (await store.deliveries.newest(), await store.batches.newest()) if quiet else (0, 0)
        guard = _build_guard(config, dashboard)
        relay.login_url = f"{relay.dashboard_url}/login{f'?token={guard.token}' if guard.token else ''}"
        capture = await stack.enter_async_context(AsyncExitStack())
        await capture.enter_async_context(serve_ingress(ingress, build_ingress_handler(relay)))
        # Capture waits neither for later services nor for the pages.
        await asyncio.to_thread(_import_late_modules, has_pages=not quiet)
        await _start_services(relay, stack, newest, quiet=quiet)
        await _serve_dashboard(relay, stack, dashboard, guard, quiet=quiet)
        stack.push_async_callback(capture.aclose)  # first: events may already wait for their delivery
        if not quiet:
            stack.enter_context(_announce(data_dir, relay))
        yield relay


def _import_late_modules(*, has_pages: bool) -> None:
    pages = ("relay.dashboard.routes",) if has_pages else ()
    for name in ("relay.services.factories", "relay.api.routes", *pages):
        importlib.import_module(name)


async def _start_services(relay: RunningRelay, stack: AsyncExitStack, newest: tuple[int, int], *, quiet: bool) -> None:
    """Start the engine and the background services; deliveries and batches up to the `newest` ids are left alone."""
    from relay.services import factories  # noqa: PLC0415 - see run_relay
    from relay.tunnel.supervisor import Supervisor, choose_tunnel  # noqa: PLC0415 - see run_relay

    config, store, clock = relay.config, relay.store, relay.clock
    relay.notices = (*_list_folder_notices(config.server.data_dir), *relay.notices)
    forward = await stack.enter_async_context(factories.build_forward_action(relay))
    email = factories.build_email_action(relay)
    handler = await stack.enter_async_context(factories.build_handler_action(relay))
    engine = factories.build_engine(relay, (forward, email, handler), email, above=newest[0])
    tunnel = None
    if not quiet:
        tunnel = Supervisor(choose_tunnel(config.tunnel, relay.ingress_url), config.tunnel.data_dir, clock=clock)
    start_task = await stack.enter_async_context(_own_tasks())
    factories.connect_services(relay, email, engine, tunnel, newest_batch=newest[1], quiet=quiet)
    await relay.lab.recover()
    start_task("engine", engine.run())
    start_task("replays", relay.bulk_replays.run())
    start_task("catch-ups", relay.catch_ups.run())
    start_task("counts", relay.meter.run())
    start_task("lab", relay.lab.run())
    start_task("vault", relay.vault.run())
    start_task("index", _index_events(store, relay.bus, clock))
    monitor = StoreMonitor(store, relay.bus, clock, relay.state)
    if not quiet:
        start_task("store", monitor.run())
        start_task("retention", factories.build_retention(relay).run())
    if tunnel is not None:
        start_task("tunnel", tunnel.run(relay.note_tunnel_change))
        # Its first word comes at once, even if that is "connecting"; a banner should not miss it.
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await relay.tunnel_spoke.wait()


async def _serve_dashboard(
    relay: RunningRelay, stack: AsyncExitStack, dashboard: socket, guard: Guard, *, quiet: bool
) -> None:
    """Serve the API, and the pages unless it is for a command that needs none."""
    from relay.api.routes import add_api  # noqa: PLC0415 - see run_relay

    if quiet:
        app = build_app(relay, guard, [add_api])
    else:
        from relay.dashboard.routes import add_dashboard  # noqa: PLC0415 - see run_relay

        app = build_app(relay, guard, [add_dashboard, add_api])
    await stack.enter_async_context(serve_app(dashboard, app))


def _list_folder_notices(data_dir: Path) -> tuple[str, ...]:
    from relay.services.health import check_data_folder  # noqa: PLC0415 - see run_relay

    found = check_data_folder(data_dir)
    return (*list_limits(), *(() if found.state == "ok" else (f"{found.detail}; {found.fix}",)))


def _build_guard(config: Config, dashboard: socket) -> Guard:
    server = config.server
    host, port = dashboard.getsockname()[:2]
    return Guard(
        token=load_token(server.data_dir) if server.auth else None,
        port=port,
        hosts=own_hosts(port, server.allowed_hosts, host),
    )


@contextmanager
def _open_ports(config: Config, *, quiet: bool) -> Iterator[tuple[socket, socket, tuple[str, ...]]]:
    server = config.server
    wanted = {
        "ingress": (server.ingress, server.ingress_named),
        "dashboard": (server.dashboard, server.dashboard_named),
    }
    if quiet:
        wanted = dict.fromkeys(wanted, (("127.0.0.1", 0), True))
    with ExitStack() as both:
        try:
            sockets = {
                name: both.enter_context(open_listener(address, f"--{name}", named=named))
                for name, (address, named) in wanted.items()
            }
        except PortError as error:
            # The other program may be a relay with the same data.
            if is_data_dir_held(server.data_dir):
                raise build_busy_error(server.data_dir) from error
            raise
        moved = tuple(
            f"port {port} is in use, so the {name} is on {format_address(sockets[name])}"
            for name, ((_, port), _) in wanted.items()
            if port not in (0, sockets[name].getsockname()[1])
        )
        yield sockets["ingress"], sockets["dashboard"], moved


@asynccontextmanager
async def _own_tasks() -> AsyncIterator[Callable[[str, Coroutine[None, None, None]], None]]:
    # Owns all long tasks: they end with the block, after they could finish.
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
    with bus.subscribe(EventStored, EventChanged, max_lag=_FLOOD) as listening:
        while True:
            try:
                while await store.work_behind_commits():
                    await _pause_indexing(listening, clock)
            except StoreError as error:
                # Indexing can wait; the next event tries again.
                log.log(log_level(error), "could not index: %s", error.message)
            await listening.next()
            await clock.sleep(_INDEX_PAUSE)


async def _pause_indexing(listening: Subscription, clock: Clock) -> None:
    # Requests have priority: while they arrive, batches are rare. Requests that arrive during a batch
    # wait for its 20 ms, so in a flood there are hardly any.
    pause = _INDEX_PAUSE_BUSY if listening.waiting else _INDEX_PAUSE
    for _ in range(_PAUSES_IN_FLOOD):
        await clock.sleep(pause)
        if not listening.waiting or len(await listening.next()) < _FLOOD:
            return


@contextmanager
def _announce(data_dir: Path, relay: RunningRelay) -> Iterator[None]:
    # Other commands find this relay by this file; the lock, not the file, shows whether it is alive.
    path = data_dir / "running.json"
    plain = {"pid": os.getpid(), "ingress_url": relay.ingress_url, "dashboard_url": relay.dashboard_url}
    try:
        write_private(path, json.dumps(plain).encode())
    except OSError as error:
        hint = "free some space, or give this user the right to write there"
        raise StoreError(f"cannot write {path}: {error.strerror}", hint=hint) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
