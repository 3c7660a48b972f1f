"""`relay start`: captures, verifies, shows and forwards webhooks until Ctrl-C."""

import asyncio
import gc
import html
import os
import sys
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relay.cli.client import find_running_relay
from relay.cli.error_output import INTERRUPTED
from relay.cli.options import Call, password_fd_option, shared_options
from relay.cli.start.interruption import StopRequest, print_in_background
from relay.errors import StoreBusyError
from relay.model.signals import DeliveryChanged, EventStored, Signal
from relay.platform import create_private, handle_stop_signals

if TYPE_CHECKING:  # imported at the start or, for the reporters, after capture has started
    from relay.cli.start.reporters import Reporter, Totals
    from relay.config.build import Config
    from relay.pipeline.bus import Subscription
    from relay.services.relay import RunningRelay

_TUNNEL_WAIT = 8.0  # seconds that the banner waits for the tunnel's address; ngrok takes one or two
# Signals that the terminal may lag behind: half a second at full speed. Lost ones are read from the store.
_MAX_LAG = 5000
_STORE_WAIT = 5.0  # seconds that another command may use the data
_POLL = 0.05


@click.command("start")
@click.option("--forward", multiple=True, metavar="URL", help="Send every event there; may be repeated.")
@click.option("--handlers", metavar="FILE", help="Call the functions in this file with every event.")
@click.option("--no-tunnel", is_flag=True, help="Open no tunnel.")
@click.option("--open", "in_browser", is_flag=True, help="Open the dashboard in the browser.")
@click.option("--ingress", metavar="HOST:PORT", help="Where webhooks arrive; port auto is any free one.")
@click.option("--dashboard", metavar="HOST:PORT", help="Where dashboard and API are.")
@click.option("--locked", is_flag=True, help="Start with the vault locked, and ask for no password.")
@password_fd_option
@shared_options
async def start_command(
    call: Call, /, *, in_browser: bool, locked: bool, password_fd: int | None, **overrides: Any
) -> int:
    """Capture webhooks, verify them, show them live and send them on, until Ctrl-C.

    The first Ctrl-C finishes what is in flight (0), a second one stops at once (130).
    """
    from relay.cli.passwords import unlock_for_start
    from relay.cli.tunnel import offer_agent

    config = call.load(**overrides)
    config = await unlock_for_start(call, config, password_fd, locked=locked)
    config = await offer_agent(call, config)
    if any(target.action == "handler" for target in config.targets.values()):
        from relay.config.handler_checks import check_handlers

        # A file that cannot be run is reported now, not at the first event.
        config = replace(config, notices=(*config.notices, *await check_handlers(config)))
    stop = StopRequest(call.terminal.print_message)
    with handle_stop_signals(stop.request), print_in_background(call.terminal, stop.request_from_thread):
        return await _run_until_stopped(call, config, stop, in_browser=in_browser)


def is_new_delivery(signal: Signal) -> bool:
    """Return whether a signal is about a delivery of a new event; a flood of them fills the queue."""
    return isinstance(signal, DeliveryChanged) and signal.target != ""


async def _run_until_stopped(call: Call, config: "Config", stop: StopRequest, *, in_browser: bool) -> int:
    # The store's thread and later imports share the interpreter with the loop, which switches every 5 ms by default.
    sys.setswitchinterval(0.001)
    started = time.monotonic()
    reporter: Reporter | None = None
    totals: Totals = {"events": 0, "succeeded": 0, "failed": 0, "waiting": 0}
    try:
        async with _open_relay(call, config, lambda signal: _count_signal(totals, signal)) as relay:
            _tune_interpreter()
            await _wait_for_tunnel(relay, stop)
            # From before the banner: changes while it is built would be lost otherwise.
            with relay.bus.subscribe(max_lag=_MAX_LAG, skips=is_new_delivery) as subscription:
                reporter = await asyncio.to_thread(_build_reporter, call)
                await _print_greeting(relay, reporter)
                if in_browser:
                    open_dashboard(relay.login_url, config.server.data_dir, call.terminal.print_message)
                await _report_until_stopped(stop, relay, reporter, subscription)
            counts = await relay.store.deliveries.counts()
            totals["waiting"] = counts["pending"] + counts["running"]
    except asyncio.CancelledError:
        if not stop.is_hurried:
            raise
    (reporter or _build_reporter(call)).report_summary(
        totals | {"waiting": max(totals["waiting"], 0), "seconds": round(time.monotonic() - started, 3)}
    )
    return INTERRUPTED if stop.is_repeated else 0


def _build_reporter(call: Call) -> "Reporter":
    from relay.cli.start.reporters import JsonReporter, LineReporter  # with the API, once it captures

    return JsonReporter(call.terminal) if call.json else LineReporter(call.terminal)


def _tune_interpreter() -> None:
    # Existing objects stay, and requests create no cycles that justify a collection every 700 objects:
    # measured at 64 connections, the collector's defaults cost a quarter of the throughput.
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)


@asynccontextmanager
async def _open_relay(call: Call, config: "Config", listen: Callable[[Signal], None]) -> AsyncIterator["RunningRelay"]:
    from relay.app import run_relay

    # No log file yet: a start that fails because of a port in use creates nothing.
    _configure_log(call, None, config.file.log.level)
    until = time.monotonic() + _STORE_WAIT
    async with AsyncExitStack() as stack:
        while True:
            try:
                relay = await stack.enter_async_context(run_relay(config, listen=listen))
                break
            except StoreBusyError:
                # A command without a relay uses it briefly; a relay uses it permanently.
                if time.monotonic() > until or await find_running_relay(config.server.data_dir):
                    raise
                await asyncio.sleep(_POLL)
        _configure_log(call, call.log, config.file.log.level)
        yield relay


def _configure_log(call: Call, log: Path | None, level: str) -> None:
    supervisor = "relay.tunnel.supervisor"  # the live feed reports the tunnel
    call.configure_logging(log=log, level=level, file_only=(supervisor,))


async def _wait_for_tunnel(relay: "RunningRelay", stop: StopRequest) -> None:
    options = relay.config.tunnel
    has_none = options.provider == "none" or (options.provider == "auto" and options.authtoken is None)
    if has_none or options.download:  # which takes long, and prints its progress
        return
    for _ in range(round(_TUNNEL_WAIT / _POLL)):
        if relay.state.tunnel.state in ("up", "down") or stop.requested.is_set():
            return
        await asyncio.sleep(_POLL)


async def _print_greeting(relay: "RunningRelay", reporter: "Reporter") -> None:
    tunnel = relay.state.tunnel
    await reporter.report_ready(relay)
    if relay.config.tunnel.download and tunnel.state == "connecting":
        reporter.report_tunnel(tunnel)  # progress of the download
    for notice in relay.notices:
        reporter.report_notice(notice)


async def _report_until_stopped(
    stop: StopRequest, relay: "RunningRelay", reporter: "Reporter", subscription: "Subscription"
) -> None:
    from relay.cli.start.live_feed import LiveFeed

    feed = LiveFeed(relay, reporter)
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(feed.run(relay.newest_before, subscription))
        await stop.requested.wait()
        reporting.cancel()
    await feed.finish()


def _count_signal(totals: "Totals", signal: Signal) -> None:
    # Called by the publisher itself, so that nothing is missed.
    match signal:
        case EventStored():
            totals["events"] += 1
        case DeliveryChanged(state="succeeded" | "failed" as state):
            totals[state] += 1
            totals["waiting"] -= 1
        case _:
            return


def open_dashboard(login_url: str, data_dir: Path, print_message: Callable[[str], None]) -> None:
    """Open the login link through a private file (0600): every user can read a browser's arguments.

    Returns at once; some browsers only return when they are closed.
    """
    page = data_dir / "open.html"
    with os.fdopen(create_private(page), "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(login_url)}">\n')

    def open_page() -> None:
        if not webbrowser.open(page.resolve().as_uri()):
            print_message("no browser could be opened; use the link above")

    threading.Thread(target=open_page, name="browser", daemon=True).start()
