"""What `relay start` says first: where everything is, in eleven lines at most."""

import asyncio
from collections.abc import Sequence

from relay.cli.output import Part, align_rows
from relay.config import Config
from relay.model.event import Source, VerifyMode
from relay.model.text import escape_unprintable
from relay.services.health import BRIEF_SECONDS, probe_target
from relay.services.relay import RunningRelay

_MAX_SOURCES = 4  # lines at most
_MAX_TARGETS = 3
_READY_WORDS = {"handler": "can be run"}  # it was loaded just before

Row = Sequence[Part]


async def build_banner(relay: RunningRelay, config: Config) -> list[list[Part]]:
    """Return the lines: dashboard, public URL, sources, targets, data, config, always in that order."""
    sources = [format_source(source, relay) for source in relay.sources.by_name.values()]
    targets = await format_targets(relay, config)
    blocks: list[tuple[str, list[Row]]] = [
        ("Dashboard", [[(relay.login_url, "bold")]]),
        ("Public", [[_format_public_url(relay, config)]]),
        ("Sources", _limit_rows(sources, _MAX_SOURCES) or [[_describe_inbox(relay, config)]]),
        ("Targets", _limit_rows(targets, _MAX_TARGETS) or [[("none: events are captured and kept", "dim")]]),
        ("Data", [[str(relay.store.path)]]),
        ("Config", [[str(relay.config.path or "none; relay init writes one")]]),
    ]
    return [line for title, rows in blocks for line in _format_block(title, rows)]


def format_source(source: Source, relay: RunningRelay) -> Row:
    """Return a source: its name, its full address, whether its secret is set and from where."""
    return [source.name, (relay.state.public_url or relay.ingress_url) + source.path, _describe_secret(source)]


async def format_targets(relay: RunningRelay, config: Config) -> list[Row]:
    """Return the targets: name, address, whether it answers at this moment."""
    targets = list(config.targets.values())
    answers = await asyncio.gather(*(probe_target(target, config.smtp, BRIEF_SECONDS) for target in targets))
    return [
        [
            target.name,
            relay.target_addresses.get(target.name, ""),
            (why or _READY_WORDS.get(target.action, "answers"), "yellow" if why else "green"),
        ]
        for target, why in zip(targets, answers, strict=True)
    ]


def _format_public_url(relay: RunningRelay, config: Config) -> Part:
    if relay.state.public_url:
        return (relay.state.public_url, "bold")
    change = relay.state.tunnel
    why = "the tunnel is not up yet" if change.state == "connecting" else change.detail
    return (f"none: {why or 'switched off'}", "dim" if config.tunnel.provider == "none" else "yellow")


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


def _describe_inbox(relay: RunningRelay, config: Config) -> Part:
    if config.inbox is None:
        return ("none: the inbox is off and relay.toml names no source", "yellow")
    return f"any name at {relay.state.public_url or relay.ingress_url}/webhooks/<name>"


def _limit_rows(rows: list[Row], most: int) -> list[Row]:
    if len(rows) <= most:
        return rows
    rest = rows[most - 1 :]
    names = escape_unprintable(", ".join(str(row[0]) for row in rest), 100)
    return [*rows[: most - 1], [f"and {len(rest)} more: {names}"]]


def _format_block(title: str, rows: list[Row]) -> list[list[Part]]:
    whole = [row for row in rows if len(row) > 1]
    lines = [*align_rows(whole), *(list(row) for row in rows if len(row) == 1)]
    heads = [f"{title:<11}", *[" " * 11] * (len(lines) - 1)]
    return [[(head, "dim"), *line] for head, line in zip(heads, lines, strict=True)]
