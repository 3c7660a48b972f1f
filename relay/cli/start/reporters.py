"""Prints what happens while relay runs: lines for people, JSON objects for programs."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from relay import __version__
from relay.cli.formatting import format_clock_time, format_count, format_delivery, format_duration, format_event
from relay.cli.log_output import RepeatThrottle
from relay.cli.output import Part, Terminal, align_rows, pad_part, strip_style
from relay.model.delivery import Delivery
from relay.model.event import EventOutcome, EventRow, Source, Verdict, VerifyMode
from relay.model.event_json import serialize_delivery, serialize_event_row
from relay.model.signals import RequestRefused, TunnelChanged
from relay.model.text import escape_unprintable
from relay.services.health import BRIEF_SECONDS, probe_target
from relay.services.relay import RunningRelay

_MAX_WIDTHS = (16, 34, 8, 30)  # source, type, number, verdict: maximum widths of columns
_QUIET_TIME = 10.0  # seconds in which further refusals of one kind are only counted
_MAX_SOURCES = 4  # lines of the banner
_MAX_TARGETS = 3

Totals = dict[str, Any]
Row = Sequence[Part]


class LineReporter:
    """Prints lines for people; quick deliveries are on the line of their event (`joins_deliveries`)."""

    joins_deliveries = True

    def __init__(self, terminal: Terminal, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._refusals = RepeatThrottle(_QUIET_TIME, monotonic)
        self._widths = [6, 12, 3, 8]

    async def report_ready(self, relay: RunningRelay) -> None:
        """Print the banner."""
        for line in await _build_banner(relay):
            self._terminal.print_line(*line)

    def report_event(self, row: EventRow, counts: Counter[str], joined: Sequence[Delivery]) -> None:
        """Print an event with its `joined` deliveries on one line."""
        plain = serialize_event_row(row, counts)
        parts: list[Part] = [format_clock_time(plain["received_at"]), "  ", *self._pad_columns(format_event(plain))]
        for delivery in joined:
            parts += ["  ", *format_delivery(serialize_delivery(delivery))]
        if row.outcome is EventOutcome.REJECTED and row.verdict is Verdict.INVALID:
            parts += ["  ", (f"relay verify {row.id} says why", "dim")]
        self._terminal.print_line(*parts)

    def report_delivery(self, row: EventRow | None, delivery: Delivery) -> None:
        """Print the result of a delivery after its event; `row` is None if that was deleted."""
        event: list[Part] = [delivery.source, "", (f"#{delivery.event_id}", "bold")]
        if row is not None:
            event = format_event(serialize_event_row(row, Counter()))[:3]
        columns = self._pad_columns([*event, (delivery.reason.value, "dim")])
        now = format_clock_time(datetime.now(UTC).isoformat())
        self._terminal.print_line(now, "  ", *columns, "  ", *format_delivery(serialize_delivery(delivery)))

    def report_tunnel(self, change: TunnelChanged) -> None:
        """Print the new state of the tunnel."""
        style = {"up": "green", "down": "red"}.get(change.state, "yellow")
        details = "  ".join(filter(None, (change.public_url, change.detail)))
        self._terminal.print_message(("tunnel ", "dim"), (change.state, style), "  ", details)

    def report_flood(self, count: int, last: int) -> None:
        """Print how many events came at once beyond those reported, up to number `last`."""
        self._terminal.print_line((f"and {format_count(count, 'event')} more, up to #{last}", "dim"))

    def report_refusal(self, refused: RequestRefused) -> None:
        """Print a refusal, and similar ones only occasionally."""
        before = self._refusals.count((refused.source, refused.status))
        if before is not None:
            more = f", and {before} before it" if before else ""
            self._terminal.print_message(f"{_describe_refusal(refused)}{more}")

    def report_notice(self, text: str) -> None:
        """Print a notice."""
        self._terminal.print_message(("notice: ", "yellow"), text)

    def report_summary(self, totals: Totals) -> None:
        """Print the totals at the end."""
        parts = [f"stopped after {format_duration(totals['seconds'])}: {format_count(totals['events'], 'event')}"]
        if totals["succeeded"]:
            parts.append(f"{format_count(totals['succeeded'], 'delivery')} reached the target")
        parts += [f"{totals['failed']} failed"] if totals["failed"] else []
        parts += [f"{totals['waiting']} wait for the next start"] if totals["waiting"] else []
        self._terminal.print_line(", ".join(parts))

    def _pad_columns(self, parts: Sequence[Part]) -> list[Part]:
        columns: list[Part] = []
        for number, part in enumerate(parts):
            wide = min(len(strip_style(part)), _MAX_WIDTHS[number])
            self._widths[number] = max(self._widths[number], wide)
            columns += [pad_part(part, self._widths[number]), "  "]
        return columns[:-1]


class JsonReporter:
    """Prints JSON objects for programs, each with its `kind`; each delivery is a separate one."""

    joins_deliveries = False

    def __init__(self, terminal: Terminal, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._refusals = RepeatThrottle(_QUIET_TIME, monotonic)

    def report_event(self, row: EventRow, counts: Counter[str], joined: Sequence[Delivery]) -> None:
        """Print an event."""
        del joined
        self._print("event", serialize_event_row(row, counts))

    def report_delivery(self, row: EventRow | None, delivery: Delivery) -> None:
        """Print the result of a delivery."""
        del row
        self._print("delivery", serialize_delivery(delivery))

    def report_tunnel(self, change: TunnelChanged) -> None:
        """Print the new state of the tunnel."""
        self._print("tunnel", {"state": change.state, "public_url": change.public_url, "detail": change.detail})

    def report_flood(self, count: int, last: int) -> None:
        """Print nothing: a program gets all events."""

    def report_refusal(self, refused: RequestRefused) -> None:
        """Print a refusal, with the number of similar ones that were not printed."""
        before = self._refusals.count((refused.source, refused.status))
        if before is not None:
            about = {"source": refused.source, "status": refused.status, "remote": refused.remote}
            self._print("notice", {"text": _describe_refusal(refused)} | about | {"before": before})

    def report_notice(self, text: str) -> None:
        """Print a notice."""
        self._print("notice", {"text": text})

    def report_summary(self, totals: Totals) -> None:
        """Print the totals at the end."""
        self._print("summary", totals)

    async def report_ready(self, relay: RunningRelay) -> None:
        """Print the `ready` object, which is always the first line."""
        facts = {
            "version": __version__,
            "pid": os.getpid(),
            "ingress_url": relay.ingress_url,
            "dashboard_url": relay.dashboard_url,
            "login_url": relay.login_url,
            "public_url": relay.state.public_url,
            "data_dir": str(relay.config.server.data_dir),
        }
        self._print("ready", facts)
        if relay.state.tunnel.state == "down":  # before the feed was subscribed
            self.report_tunnel(relay.state.tunnel)

    def _print(self, kind: str, value: Totals) -> None:
        self._terminal.print_json({"kind": kind} | value)


Reporter = LineReporter | JsonReporter


def _describe_refusal(refused: RequestRefused) -> str:
    source = f" for {refused.source}" if refused.source else ""
    return f"turned away with {refused.status}{source}: {refused.detail}"


async def _build_banner(relay: RunningRelay) -> list[list[Part]]:
    """Return the banner, at most eleven lines: dashboard, public URL, sources, targets, data, config."""
    base = relay.state.public_url or relay.ingress_url
    sources = [[source.name, base + source.path, _describe_secret(source)] for source in relay.sources.by_name.values()]
    inbox: Part = f"any name at {base}/webhooks/<name>"
    if relay.config.inbox is None:
        inbox = ("none: the inbox is off and relay.toml names no source", "yellow")
    targets = await _format_targets(relay)
    blocks: list[tuple[str, list[Row]]] = [
        ("Dashboard", [[(relay.login_url, "bold")]]),
        ("Public", [[_format_public_url(relay)]]),
        ("Sources", _limit_rows(sources, _MAX_SOURCES) or [[inbox]]),
        ("Targets", _limit_rows(targets, _MAX_TARGETS) or [[("none: events are captured and kept", "dim")]]),
        ("Data", [[str(relay.store.path)]]),
        ("Config", [[str(relay.config.path or "none; relay init writes one")]]),
    ]
    return [line for title, rows in blocks for line in _format_block(title, rows)]


def _describe_secret(source: Source) -> Part:
    if source.verify is VerifyMode.OFF:
        return ("verification is off", "yellow")
    if source.locked_secrets:
        return (f"{', '.join(source.locked_secrets)}: the vault is locked", "yellow")
    if source.scheme is None and (source.secrets or source.missing_secrets):
        return ("not verified: nothing says how it signs", "yellow")
    if source.secrets:
        return (f"secret from {', '.join(secret.reference for secret in source.secrets)}", "green")
    if source.scheme is None:
        return ("unsigned", "dim")
    missing = ", ".join(source.missing_secrets)
    return (f"no secret: {missing} is not set" if missing else "no secret: none is named", "yellow")


async def _format_targets(relay: RunningRelay) -> list[Row]:
    targets = list(relay.config.targets.values())
    problems = await asyncio.gather(*(probe_target(target, relay.config.smtp, BRIEF_SECONDS) for target in targets))
    return [
        [
            target.name,
            relay.target_addresses.get(target.name, ""),
            # A handler was loaded just before.
            (why or ("can be run" if target.action == "handler" else "answers"), "yellow" if why else "green"),
        ]
        for target, why in zip(targets, problems, strict=True)
    ]


def _format_public_url(relay: RunningRelay) -> Part:
    if relay.state.public_url:
        return (relay.state.public_url, "bold")
    change = relay.state.tunnel
    why = "the tunnel is not up yet" if change.state == "connecting" else change.detail
    return (f"none: {why or 'switched off'}", "dim" if relay.config.tunnel.provider == "none" else "yellow")


def _limit_rows(rows: Sequence[Row], most: int) -> list[Row]:
    if len(rows) <= most:
        return list(rows)
    rest = rows[most - 1 :]
    names = escape_unprintable(", ".join(str(row[0]) for row in rest), 100)
    return [*rows[: most - 1], [f"and {len(rest)} more: {names}"]]


def _format_block(title: str, rows: list[Row]) -> list[list[Part]]:
    lines = [*align_rows(row for row in rows if len(row) > 1), *(list(row) for row in rows if len(row) == 1)]
    return [[(f"{'' if number else title:<11}", "dim"), *line] for number, line in enumerate(lines)]
