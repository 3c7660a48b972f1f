"""`relay doctor`: everything relay needs, tried once, each failure with its fix."""

import asyncio
import os
import shlex
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import click

from relay.cli.client import Json, connect, find
from relay.cli.options import Call, shared
from relay.cli.passwords import at_hand
from relay.cli.probes import PATIENT, target_answers
from relay.cli.terminal import Part
from relay.cli.words import counted, size
from relay.config import Config
from relay.config.build import resolved
from relay.config.inspection import look
from relay.config.needs import vault_notices
from relay.errors import ConfigError, NotFoundError, PortError, RelayError, VaultError
from relay.handlers.options import HandlerOptions
from relay.mail.smtp import probe
from relay.model.delivery import Succeeded
from relay.tunnel.agent import default_agent, find_agent
from relay.vault import VaultState, lacking
from relay.web.sites import listen

_LITTLE_DISK = 1_000_000_000  # bytes: a warning
_NO_DISK = 100_000_000  # bytes: below this SQLite may soon fail to commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one test found. `state` is ok, warning or failed."""

    name: str
    state: str
    detail: str
    fix: str = ""


@click.command("doctor")
@shared
async def command(call: Call) -> int:
    """Test config, ports, data, tunnel, targets, mail and disk; 1 when something fails."""
    try:
        config = call.load()
    except ConfigError as error:
        for problem in error.problems:
            _tell(call, Finding(name="config", state="failed", detail=problem, fix="correct relay.toml"))
        return 1
    failed = False
    async for finding in _findings(config):
        _tell(call, finding)
        failed = failed or finding.state == "failed"
    return 1 if failed else 0


async def _findings(config: Config) -> AsyncIterator[Finding]:
    yield _good("config", f"{config.path} is valid" if config.path else "no relay.toml; the defaults apply")
    told_by_vault = vault_notices(config.needs, config.vault)
    for notice in (notice for notice in config.notices if notice not in told_by_vault):
        yield Finding(name="config", state="warning", detail=notice)
    url = await find(config.server.data_dir)
    yield _good("relay", f"running, dashboard at {url}") if url else _good("relay", "not running")
    if url is None:
        yield _port("ingress", config.server.ingress, named=config.server.ingress_named)
        yield _port("dashboard", config.server.dashboard, named=config.server.dashboard_named)
    for finding in await _data(config):
        yield finding
    yield _disk(config.server.data_dir)
    for finding in await _vault(config):
        yield finding
    config = resolved(config)  # with what was found in the vault, where that could be opened
    yield _tunnel(config)
    for finding in await asyncio.gather(*(_target(config, name) for name in config.targets)):
        yield finding
    yield await _mail(config)


def _good(name: str, detail: str) -> Finding:
    return Finding(name=name, state="ok", detail=detail)


def _port(name: str, address: tuple[str, int], *, named: bool) -> Finding:
    host, port = address
    try:
        listen(address, f"--{name}", named=True).close()
    except PortError as error:
        if named:
            return Finding(name=name, state="failed", detail=error.sentence, fix=error.hint)
        return Finding(name=name, state="warning", detail=f"{error.sentence}; the next free one is taken")
    return _good(name, f"{host}:{port or 'any port'} is free")


async def _data(config: Config) -> tuple[Finding, ...]:
    try:
        async with connect(config) as api:
            status = await api.get("/api/status")
    except RelayError as error:
        return (Finding(name="data", state="failed", detail=error.sentence, fix=error.hint),)
    held = f"{config.server.data_dir / 'relay.db'} holds {status['events']['total']} events"
    return _good("data", held), _retention(config, status["retention"])


def _retention(config: Config, now: Json) -> Finding:
    limits = ", ".join(config.keep.says(rule) for rule in ("age", "events", "size"))
    if now["notice"]:
        fix = "raise a limit under [retention], or unpin and delete"
        return Finding(name="retention", state="warning", detail=now["notice"], fix=fix)
    return _good("retention", f"{size(now['used']['size'])} used; kept are {limits}")


async def _vault(config: Config) -> list[Finding]:
    """Look at the vault, and open it where its password is given without anybody being asked."""
    vault, wanted = config.vault, config.needs
    if vault.state is VaultState.NONE and not wanted:
        return [_good("vault", "none, and nothing needs one")]
    try:
        count = f"vault {vault.path} holds {counted(len(vault.names), 'secret')}"
        vault.content()
        opened = (await at_hand(config)).vault.state is VaultState.UNLOCKED
    except VaultError as error:
        return [Finding(name="vault", state="failed", detail=error.sentence, fix=error.hint)]
    except NotFoundError as error:
        found = Finding(name="vault", state="failed", detail=error.sentence, fix=error.hint)
    else:
        found = _good("vault", f"{count}; {'its password is right' if opened else 'locked'}")
    told = (sentence.partition("; ") for sentence in lacking(wanted, vault.names))
    return [found, *(Finding(name="vault", state="failed", detail=what, fix=fix) for what, _, fix in told)]


def _disk(data_dir: Path) -> Finding:
    there = next(folder for folder in (data_dir, *data_dir.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    detail = f"{size(free)} free for {data_dir}"
    if free > _LITTLE_DISK:
        return _good("disk", detail)
    return Finding(
        name="disk",
        state="failed" if free < _NO_DISK else "warning",
        detail=detail,
        fix="make room, or name another data_dir",
    )


def _tunnel(config: Config) -> Finding:
    options = config.tunnel
    if options.provider == "command":
        program = (shlex.split(options.command or "") or [""])[0]
        if shutil.which(program):
            return _good("tunnel", f"{program} is installed")
        return Finding(
            name="tunnel",
            state="failed",
            detail=f"there is no program {program!r}",
            fix="install it, or correct tunnel.command",
        )
    if options.provider == "static":
        return _good("tunnel", f"you run it; {options.public_url}")
    if options.provider == "none":
        return _good("tunnel", "switched off")
    if options.authtoken is None:
        state = "failed" if options.provider == "ngrok" else "warning"
        if options.locked:
            return Finding(name="tunnel", state="warning", detail="its authtoken is in the locked vault")
        return Finding(name="tunnel", state=state, detail="no ngrok authtoken", fix="set NGROK_AUTHTOKEN")
    try:
        return _good("tunnel", f"ngrok is {find_agent(None, os.environ, default_agent())}")
    except RelayError as error:
        return Finding(name="tunnel", state="failed", detail=error.sentence, fix=error.hint)


async def _target(config: Config, name: str) -> Finding:
    options = config.targets[name].options
    if isinstance(options, HandlerOptions):
        seen = await look(options)
        if not isinstance(seen, str):
            return _good(f"target {name}", f"{options.name} can be run")
        return Finding(name=f"target {name}", state="failed", detail=seen)
    why = await target_answers(config.targets[name], config.smtp, PATIENT)
    if not why:
        return _good(f"target {name}", "answers")
    return Finding(name=f"target {name}", state="failed", detail=why, fix="start it, or correct its address")


async def _mail(config: Config) -> Finding:
    smtp = config.smtp
    if smtp is not None and smtp.locked:
        return Finding(name="mail", state="warning", detail="its credentials are in the locked vault")
    if smtp is None:
        return _good("mail", "no [smtp]: mails are rendered and kept in the outbox")
    outcome = await probe(smtp)
    where = f"{smtp.host}:{smtp.port}"
    if isinstance(outcome, Succeeded):
        return _good("mail", f"{where} takes our mail")
    return Finding(
        name="mail", state="failed", detail=outcome.detail, fix="correct [smtp], or start the server"
    )


def _tell(call: Call, finding: Finding) -> None:
    if call.json:
        plain = {"name": finding.name, "state": finding.state, "detail": finding.detail, "fix": finding.fix}
        call.terminal.json(plain)
        return
    style = {"ok": "green", "warning": "yellow", "failed": "red"}[finding.state]
    line: list[Part] = [(f"{finding.state:<8}", style), f"{finding.name:<12} ", finding.detail]
    call.terminal.line(*line, f"; {finding.fix}" if finding.fix else "")
    call.terminal.flush()
