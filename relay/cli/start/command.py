"""`relay start`: capture, verify, show and send on, until Ctrl-C."""

import asyncio
import gc
import html
import os
import sys
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import click

from relay import __version__
from relay.app import run_relay
from relay.cli import log_output
from relay.cli.client import find_running_relay
from relay.cli.error_output import INTERRUPTED
from relay.cli.options import Call, shared_options
from relay.cli.prompts import password_fd, unlock_for_start
from relay.cli.start.banner import build_banner
from relay.cli.start.live_feed import LiveFeed
from relay.cli.start.nonblocking_output import print_in_background
from relay.cli.start.reporters import JsonReporter, LineReporter, Totals
from relay.cli.start.shutdown import StopRequest, stop_on_signals
from relay.cli.tunnel import offer_agent
from relay.config import Config, Overrides
from relay.config.handler_checks import check_handlers
from relay.errors import StoreBusyError
from relay.model.signals import DeliveryChanged, EventStored, Signal, TunnelChanged
from relay.resources import create_private
from relay.services.relay import RunningRelay

_TUNNEL_WAIT = 8.0  # seconds that the banner waits for the tunnel's address; ngrok takes one or two
_STORE_WAIT = 5.0  # seconds that another command may hold the data
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
@shared_options
async def start_command(
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
    config = await unlock_for_start(call, config, password_fd, locked=locked)
    config = await offer_agent(call, config)
    # A file that cannot be run is told now, not when the first event comes.
    config = replace(config, notices=(*config.notices, *await check_handlers(config)))
    async with stop_on_signals(call.terminal.say) as stop:
        with print_in_background(call.terminal, stop.ask_from_thread):
            return await _run_until_stopped(call, config, stop, in_browser=in_browser)


async def _run_until_stopped(call: Call, config: Config, stop: StopRequest, *, in_browser: bool) -> int:
    started = time.monotonic()
    voice = JsonReporter(call.terminal) if call.json else LineReporter(call.terminal, time.monotonic)
    tally: Totals = {"events": 0, "succeeded": 0, "failed": 0, "waiting": 0}
    try:
        async with _open_relay(call, config) as relay:
            relay.bus.on(lambda signal: _count_signal(tally, signal))
            _tune_interpreter()
            await _wait_for_tunnel(relay, config, stop)
            await _print_greeting(call, config, relay, voice)
            if in_browser:
                open_dashboard(relay.login_url, config.server.data_dir, call.terminal.say)
            await _report_until_stopped(stop, relay, voice)
            tally["waiting"] = await _count_waiting(relay)
    except asyncio.CancelledError:
        if not stop.hurried:
            raise
    voice.summary(tally | {"waiting": max(tally["waiting"], 0), "seconds": round(time.monotonic() - started, 3)})
    return INTERRUPTED if stop.impatient else 0


def _tune_interpreter() -> None:
    # What is there by now stays, and a request makes no cycles worth looking for every 700 objects:
    # measured at 64 connections, the collector's defaults cost a quarter of the throughput.
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)
    # The store's thread waits for the loop's to let go of the interpreter: five milliseconds by default.
    sys.setswitchinterval(0.001)


@asynccontextmanager
async def _open_relay(call: Call, config: Config) -> AsyncIterator[RunningRelay]:
    # No log file yet: a start that fails for a taken port leaves nothing behind.
    _configure_log(call, None, config.file.log.level)
    until = time.monotonic() + _STORE_WAIT
    async with AsyncExitStack() as stack:
        while True:
            try:
                relay = await stack.enter_async_context(run_relay(config))
                break
            except StoreBusyError:
                # A command that works without a relay holds it for a moment; a relay holds it for good.
                if time.monotonic() > until or await find_running_relay(config.server.data_dir):
                    raise
                await asyncio.sleep(_POLL)
        _configure_log(call, call.invocation.log, config.file.log.level)
        yield relay


def _configure_log(call: Call, log: Path | None, level: str) -> None:
    log_output.configure_logging(
        call.terminal.say,
        call.loudness,
        log=log,
        level=level,
        untold=("relay.tunnel.supervisor",),  # the ticker tells of the tunnel
    )


async def _wait_for_tunnel(relay: RunningRelay, config: Config, stop: StopRequest) -> None:
    provider = config.tunnel.provider
    if provider == "none" or (provider == "auto" and config.tunnel.authtoken is None):
        return
    if config.tunnel.download:
        return  # it takes a while, and tells its progress
    known = asyncio.Event()
    stop.add_callback(known.set)
    relay.bus.on(lambda signal: known.set() if _is_tunnel_known(signal) else None)
    if not _is_tunnel_known(relay.state.tunnel):
        with suppress(TimeoutError):
            async with asyncio.timeout(_TUNNEL_WAIT):
                await known.wait()


def _is_tunnel_known(signal: Signal) -> bool:
    return isinstance(signal, TunnelChanged) and signal.state in ("up", "down")


async def _print_greeting(call: Call, config: Config, relay: RunningRelay, voice: LineReporter | JsonReporter) -> None:
    if isinstance(voice, JsonReporter):
        voice.ready(
            {
                "version": __version__,
                "pid": os.getpid(),
                "ingress_url": relay.ingress_url,
                "dashboard_url": relay.dashboard_url,
                "login_url": relay.login_url,
                "public_url": relay.state.public_url,
                "data_dir": str(relay.config.server.data_dir),
            }
        )
        if relay.state.tunnel.state == "down":  # it went down before anybody listened; a banner says it to a person
            voice.tunnel(relay.state.tunnel)
    if isinstance(voice, LineReporter):
        for line in await build_banner(relay, config):
            call.terminal.line(*line)
    for notice in relay.notices:
        voice.notice(notice)


async def _report_until_stopped(stop: StopRequest, relay: RunningRelay, voice: LineReporter | JsonReporter) -> None:
    ticker = LiveFeed(relay, voice)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(ticker.run(relay.newest_before))
        await stop.wait()
        telling.cancel()
    await ticker.finish()


async def _count_waiting(relay: RunningRelay) -> int:
    counts = await relay.store.deliveries.counts()
    return counts["pending"] + counts["running"]


def _count_signal(tally: Totals, signal: Signal) -> None:
    # In the publisher's own turn, so that nothing is missed; what settles while relay stops waits no more.
    match signal:
        case EventStored():
            tally["events"] += 1
        case DeliveryChanged(state="succeeded" | "failed" as state):
            tally[state] += 1
            tally["waiting"] -= 1
        case _:
            return


def open_dashboard(login_url: str, data_dir: Path, say: Callable[[str], None]) -> None:
    """Open the login link through a file of our own (0600): anybody may read a browser's arguments.

    Returns at once; some browsers only return when they are closed.
    """
    page = data_dir / "open.html"
    with os.fdopen(create_private(page), "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(login_url)}">\n')

    def go() -> None:
        if not webbrowser.open(page.resolve().as_uri()):
            say("no browser could be opened; use the link above")

    threading.Thread(target=go, name="browser", daemon=True).start()
