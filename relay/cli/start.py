"""`relay start`: capture, verify, show and send on, until Ctrl-C."""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import click

from relay import __version__
from relay.app import running
from relay.assembly.front import Running
from relay.cli import logs
from relay.cli.banner import banner
from relay.cli.behind import behind
from relay.cli.browser import open_dashboard
from relay.cli.client import find
from relay.cli.faults import INTERRUPTED
from relay.cli.options import Call, shared
from relay.cli.passwords import password_fd, unlocked
from relay.cli.stopping import Stopping, stopping
from relay.cli.ticker import Ticker
from relay.cli.tunnel import offer_agent
from relay.cli.voices import Lines, Objects, Tally
from relay.config import Config, Overrides
from relay.config.inspection import inspect
from relay.errors import StoreBusyError
from relay.model.signals import DeliveryChanged, EventStored, Signal, TunnelChanged

_TUNNEL_PATIENCE = 8.0  # seconds that the banner waits for the tunnel's address; ngrok takes one or two
_STORE_PATIENCE = 5.0  # seconds that another command may hold the data
_POLL = 0.05


@click.command("start")
@click.option("--forward", multiple=True, metavar="URL", help="Send every event there; may be repeated.")
@click.option("--handlers", metavar="FILE", help="Call the functions in there with every event.")
@click.option("--no-tunnel", is_flag=True, help="Listen on this computer only.")
@click.option("--open", "in_browser", is_flag=True, help="Open the dashboard in the browser.")
@click.option("--ingress", metavar="HOST:PORT", help="Where webhooks arrive; port auto is any free one.")
@click.option("--dashboard", metavar="HOST:PORT", help="Where dashboard and API are.")
@click.option("--locked", is_flag=True, help="Start with the vault locked, and ask for no password.")
@password_fd
@shared
async def command(
    call: Call,
    *,
    forward: tuple[str, ...],
    handlers: str | None,
    no_tunnel: bool,
    in_browser: bool,
    ingress: str | None,
    dashboard: str | None,
    locked: bool,
    password_fd: int | None,
) -> int:
    """Capture webhooks, verify them, show them live and send them on, until Ctrl-C.

    The first Ctrl-C finishes what is in flight (0), a second one stops at once (130).
    """
    config = call.load(
        Overrides(
            forward=forward,
            handlers=handlers,
            no_tunnel=no_tunnel,
            ingress=ingress,
            dashboard=dashboard,
            data_dir=call.overrides.data_dir,
        )
    )
    config = await unlocked(call, config, password_fd, locked=locked)
    config = await offer_agent(call, config)
    # A file that cannot be run is told now, not when the first event comes.
    config = replace(config, notices=(*config.notices, *await inspect(config)))
    async with stopping(call.terminal.say) as stop:
        with behind(call.terminal, stop.from_thread):
            return await _run(call, config, stop, in_browser=in_browser)


async def _run(call: Call, config: Config, stop: Stopping, *, in_browser: bool) -> int:
    started = time.monotonic()
    voice = Objects(call.terminal) if call.json else Lines(call.terminal, time.monotonic)
    tally: Tally = {"events": 0, "succeeded": 0, "failed": 0, "waiting": 0}
    try:
        async with _opened(call, config) as relay:
            relay.bus.on(lambda signal: _count(tally, signal))
            _settle_in()
            await _tunnel_known(relay, config, stop)
            await _greet(call, config, relay, voice)
            if in_browser:
                open_dashboard(relay.login_url, config.server.data_dir, call.terminal.say)
            await _tell_until(stop, relay, voice)
            tally["waiting"] = await _waiting(relay)
    except asyncio.CancelledError:
        if not stop.hurried:
            raise
    voice.summary(
        tally | {"waiting": max(tally["waiting"], 0), "seconds": round(time.monotonic() - started, 3)}
    )
    return INTERRUPTED if stop.impatient else 0


def _settle_in() -> None:
    # What is there by now stays, and a request makes no cycles worth looking for every 700 objects:
    # measured at 64 connections, the collector's defaults cost a quarter of the throughput.
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)
    # The store's thread waits for the loop's to let go of the interpreter: five milliseconds by default.
    sys.setswitchinterval(0.001)


@asynccontextmanager
async def _opened(call: Call, config: Config) -> AsyncIterator[Running]:
    # No log file yet: a start that fails for a taken port leaves nothing behind.
    _log_to(call, None, config.file.log.level)
    until = time.monotonic() + _STORE_PATIENCE
    async with AsyncExitStack() as stack:
        while True:
            try:
                relay = await stack.enter_async_context(running(config))
                break
            except StoreBusyError:
                # A command that works without a relay holds it for a moment; a relay holds it for good.
                if time.monotonic() > until or await find(config.server.data_dir):
                    raise
                await asyncio.sleep(_POLL)
        _log_to(call, call.invocation.log, config.file.log.level)
        yield relay


def _log_to(call: Call, log: Path | None, level: str) -> None:
    logs.set_up(
        call.terminal.say,
        call.loudness,
        log=log,
        level=level,
        untold=("relay.tunnel.supervisor",),  # the ticker tells of the tunnel
    )


async def _tunnel_known(relay: Running, config: Config, stop: Stopping) -> None:
    provider = config.tunnel.provider
    if provider == "none" or (provider == "auto" and config.tunnel.authtoken is None):
        return
    if config.tunnel.download:
        return  # it takes a while, and tells its progress
    known = asyncio.Event()
    stop.on_asked(known.set)
    relay.bus.on(lambda signal: known.set() if _is_known(signal) else None)
    if not _is_known(relay.live.tunnel):
        with suppress(TimeoutError):
            async with asyncio.timeout(_TUNNEL_PATIENCE):
                await known.wait()


def _is_known(signal: Signal) -> bool:
    return isinstance(signal, TunnelChanged) and signal.state in ("up", "down")


async def _greet(call: Call, config: Config, relay: Running, voice: Lines | Objects) -> None:
    if isinstance(voice, Objects):
        voice.ready(
            {
                "version": __version__,
                "pid": os.getpid(),
                "ingress_url": relay.setup.ingress_url,
                "dashboard_url": relay.setup.dashboard_url,
                "login_url": relay.login_url,
                "public_url": relay.live.public_url,
                "data_dir": str(relay.setup.data_dir),
            }
        )
        if (
            relay.live.tunnel.state == "down"
        ):  # it went down before anybody listened; a banner says it to a person
            voice.tunnel(relay.live.tunnel)
    if isinstance(voice, Lines):
        for line in await banner(relay, config):
            call.terminal.line(*line)
    for notice in relay.notices:
        voice.notice(notice)


async def _tell_until(stop: Stopping, relay: Running, voice: Lines | Objects) -> None:
    ticker = Ticker(relay, voice)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(ticker.run(relay.older))
        await stop.wait()
        telling.cancel()
    await ticker.finish()


async def _waiting(relay: Running) -> int:
    counts = await relay.store.deliveries.counts()
    return counts["pending"] + counts["running"]


def _count(tally: Tally, signal: Signal) -> None:
    # In the publisher's own turn, so that nothing is missed; what settles while relay stops waits no more.
    match signal:
        case EventStored():
            tally["events"] += 1
        case DeliveryChanged(state="succeeded" | "failed" as state):
            tally[state] += 1
            tally["waiting"] -= 1
        case _:
            return
