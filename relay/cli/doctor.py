"""`relay doctor`: everything relay needs, tried once, each failure with its fix."""

import asyncio
from collections.abc import AsyncIterator

import click

from relay.checkup import looks
from relay.cli.client import Json, connect, find, has_no_data
from relay.cli.options import Call, shared
from relay.cli.passwords import at_hand
from relay.cli.terminal import Part
from relay.cli.words import counted
from relay.config import Config
from relay.config.build import resolved
from relay.config.needs import vault_notices
from relay.errors import ConfigError, NotFoundError, PortError, RelayError, VaultError
from relay.model.finding import Finding, bad, doubtful, good
from relay.model.text import size
from relay.vault import VaultState, lacking
from relay.web.sites import listen


@click.command("doctor")
@shared
async def command(call: Call) -> int:
    """Test config, ports, data, tunnel, targets, mail and disk; 1 when something fails."""
    try:
        config = call.load()
    except ConfigError as error:
        for problem in error.problems:
            _tell(call, bad("config", problem, "correct relay.toml"))
        return 1
    failed = False
    async for finding in _findings(config):
        _tell(call, finding)
        failed = failed or finding.state == "failed"
    return 1 if failed else 0


async def _findings(config: Config) -> AsyncIterator[Finding]:
    yield good("config", f"{config.path} is valid" if config.path else "no relay.toml; the defaults apply")
    told_by_vault = vault_notices(config.needs, config.vault)
    for notice in (notice for notice in config.notices if notice not in told_by_vault):
        yield doubtful("config", notice)
    url = await find(config.server.data_dir)
    yield good("relay", f"running, dashboard at {url}") if url else good("relay", "not running")
    if url is None:
        yield _port("ingress", config.server.ingress, named=config.server.ingress_named)
        yield _port("dashboard", config.server.dashboard, named=config.server.dashboard_named)
    for finding in await _data(config):
        yield finding
    yield looks.data_folder(config.server.data_dir)
    yield looks.disk(config.server.data_dir)
    for finding in await _vault(config):
        yield finding
    config = resolved(config)  # with what was found in the vault, where that could be opened
    yield looks.tunnel(config)
    for finding in await asyncio.gather(*(looks.target(config, name) for name in config.targets)):
        yield finding
    yield await looks.mail(config)


def _port(name: str, address: tuple[str, int], *, named: bool) -> Finding:
    host, port = address
    try:
        listen(address, f"--{name}", named=True).close()
    except PortError as error:
        if named:
            return bad(name, error.sentence, error.hint)
        return doubtful(name, f"{error.sentence}; the next free one is taken")
    return good(name, f"{host}:{port or 'any port'} is free")


async def _data(config: Config) -> tuple[Finding, ...]:
    path = config.server.data_dir / "relay.db"
    if has_no_data(config.server.data_dir):
        return (good("data", f"{path} is not there yet; relay start makes it"),)
    try:
        async with connect(config) as api:
            status = await api.get("/api/status")
    except RelayError as error:
        return (bad("data", error.sentence, error.hint),)
    if status["store"]["detail"]:
        return (bad("data", f"no event can be kept: {status['store']['detail']}", status["store"]["hint"]),)
    held = f"{path} holds {status['events']['total']} events"
    return good("data", held), _retention(config, status["retention"])


def _retention(config: Config, now: Json) -> Finding:
    limits = ", ".join(config.keep.says(rule) for rule in ("age", "events", "size"))
    if now["notice"]:
        fix = "raise a limit under [retention], or unpin and delete"
        return doubtful("retention", now["notice"], fix)
    return good("retention", f"{size(now['used']['size'])} used; kept are {limits}")


async def _vault(config: Config) -> list[Finding]:
    """Look at the vault, and open it where its password is given without anybody being asked."""
    vault, wanted = config.vault, config.needs
    if vault.state is VaultState.NONE and not wanted:
        return [good("vault", "none, and nothing needs one")]
    try:
        count = f"vault {vault.path} holds {counted(len(vault.names), 'secret')}"
        vault.content()
        opened = (await at_hand(config)).vault.state is VaultState.UNLOCKED
    except VaultError as error:
        return [bad("vault", error.sentence, error.hint)]
    except NotFoundError as error:
        found = bad("vault", error.sentence, error.hint)
    else:
        found = good("vault", f"{count}; {'its password is right' if opened else 'locked'}")
    told = (sentence.partition("; ") for sentence in lacking(wanted, vault.names))
    return [found, *(bad("vault", what, fix) for what, _, fix in told)]


def _tell(call: Call, finding: Finding) -> None:
    if call.json:
        plain = {"name": finding.name, "state": finding.state, "detail": finding.detail, "fix": finding.fix}
        call.terminal.json(plain)
        return
    style = {"ok": "green", "warning": "yellow", "failed": "red"}[finding.state]
    line: list[Part] = [(f"{finding.state:<8}", style), f"{finding.name:<12} ", finding.detail]
    call.terminal.line(*line, f"; {finding.fix}" if finding.fix else "")
    call.terminal.flush()
