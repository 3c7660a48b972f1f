"""The composition root: a Config becomes objects, two sites, an engine and a tunnel; start and stop."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from relay.assembly import front, parts
from relay.assembly.front import Running
from relay.assembly.ground import Ground, Ports
from relay.assembly.parts import Works
from relay.assembly.store_watch import StoreWatch
from relay.bus import Bus
from relay.clock import Clock, SystemClock
from relay.config import Config
from relay.errors import PortError, StoreError, log_level
from relay.files import write_private
from relay.store import Store, busy_error, held, open_store, prepare
from relay.tunnel.opening import open_tunnel
from relay.web.keys import Setup
from relay.web.sites import address_of, listen, private_site, public_site

log = logging.getLogger(__name__)

_INDEX_PAUSE = 0.05  # seconds between two batches of the index
_INDEX_PAUSE_BUSY = 0.5


@asynccontextmanager
async def running(
    config: Config, *, quiet: bool = False, clock: Clock | None = None
) -> AsyncIterator[Running]:
    """Run relay for as long as the block lasts; leaving it finishes what is in flight.

    `quiet` is for commands while no relay runs: ports that nobody knows, no tunnel, and an engine
    that leaves alone what was owed before. Raises PortError and StoreError before anything starts.
    """
    time = clock or SystemClock()
    async with AsyncExitStack() as stack:
        # Ports before the database: what cannot listen must not touch anything.
        ports = stack.enter_context(_ports(config, quiet=quiet))
        prepare(config.server.data_dir)
        store = await stack.enter_async_context(open_store(config.server.data_dir))
        older = await store.events.page(limit=1)
        ground = Ground(config=config, ports=ports, clock=time, store=store)
        forward = await stack.enter_async_context(parts.forward(ground))
        email = parts.email(ground)
        handler = await stack.enter_async_context(parts.handler(ground))
        newest = await store.deliveries.newest() if quiet else 0
        engine = parts.engine(ground, (forward, email, handler), email, above=newest)
        tunnel = None if quiet else open_tunnel(config.tunnel, ground.ingress_url, clock=time)
        tasks = await stack.enter_async_context(_tasks())
        bulk = parts.bulk(ground, engine, above=await store.batches.newest() if quiet else 0)
        works = Works(
            replays=parts.replays(ground, email),
            bulk=bulk,
            catch_ups=parts.catch_ups(ground),
            lab=parts.lab(ground, engine),
            custody=parts.custody(ground, email, engine, tunnel, checks=not quiet),
            tunnel=tunnel,
        )
        await works.lab.recover()
        desk = front.desk(ground, works)
        guard = front.guard(ground)
        await stack.enter_async_context(private_site(ports.dashboard, desk, guard))
        await stack.enter_async_context(public_site(ports.ingress, parts.door(ground)))
        tasks("engine", engine.run())
        tasks("replays", bulk.run())
        tasks("catch-ups", works.catch_ups.run())
        tasks("counts", ground.meter.run())
        tasks("lab", works.lab.run())
        tasks("vault", works.custody.run())
        tasks("index", _index(store, ground.bus, time))
        if tunnel is not None:
            tasks("tunnel", tunnel.run(ground.tunnel_changed))
            # Its first word comes at once, even if that is "connecting"; a banner should not miss it.
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await ground.tunnel_spoke.wait()
        watch = StoreWatch(store, ground.bus, time, ground.live)
        if not quiet:
            tasks("store", watch.run())
            tasks("retention", parts.retention(ground).run())
            stack.enter_context(_announced(config.server.data_dir, desk.setup))
        yield front.running(ground, desk, guard, older.rows[0].id if older.rows else 0)


@contextmanager
def _ports(config: Config, *, quiet: bool) -> Iterator[Ports]:
    server = config.server
    if quiet:
        with listen(("127.0.0.1", 0), "", named=True) as one, listen(("127.0.0.1", 0), "", named=True) as two:
            yield Ports(ingress=one, dashboard=two, notices=(), quiet=True)
        return
    with ExitStack() as both:
        try:
            ingress = both.enter_context(listen(server.ingress, "--ingress", named=server.ingress_named))
            dashboard = both.enter_context(
                listen(server.dashboard, "--dashboard", named=server.dashboard_named)
            )
        except PortError as error:
            # The other program may well be a relay with the same data.
            if held(server.data_dir):
                raise busy_error(server.data_dir) from error
            raise
        pairs = (("ingress", server.ingress, ingress), ("dashboard", server.dashboard, dashboard))
        moved = [
            f"port {wanted[1]} is in use, so the {name} is on {address_of(got)}"
            for name, wanted, got in pairs
            if wanted[1] not in (0, got.getsockname()[1])
        ]
        yield Ports(ingress=ingress, dashboard=dashboard, notices=tuple(moved))


@asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[[str, Coroutine[None, None, None]], None]]:
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


async def _index(store: Store, bus: Bus, clock: Clock) -> None:
    with bus.subscribed() as listening:
        while True:
            try:
                while await store.indexer.step():
                    # What comes in has the right of way: while it does, a batch now and then.
                    await clock.sleep(_INDEX_PAUSE_BUSY if listening.waiting else _INDEX_PAUSE)
            except StoreError as error:
                # Searching can wait; the next event tries again.
                log.log(log_level(error), "could not index: %s", error.sentence)
            await listening.next()
            await clock.sleep(_INDEX_PAUSE)


@contextmanager
def _announced(data_dir: Path, setup: Setup) -> Iterator[None]:
    # How other commands find this relay; the lock, not this file, says whether it is alive.
    path = data_dir / "running.json"
    plain = {"pid": os.getpid(), "ingress_url": setup.ingress_url, "dashboard_url": setup.dashboard_url}
    write_private(path, json.dumps(plain).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
