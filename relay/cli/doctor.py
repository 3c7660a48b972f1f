"""The checks of `relay doctor`: everything relay needs is tried once, each failure with its fix."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

from relay.cli.client import connect_running, connect_store, find_running_relay, has_no_data
from relay.cli.formatting import format_count
from relay.cli.http_client import ConnectionLostError
from relay.cli.options import Call
from relay.cli.passwords import unlock_unattended
from relay.config.build import Config, resolve_again
from relay.config.secrets import vault_notices
from relay.errors import ConfigError, NotFoundError, PortError, RelayError, VaultError
from relay.model.text import format_size
from relay.services import health
from relay.services.health import HealthFinding, report_failure, report_ok, report_warning
from relay.vault import VaultState


async def run_doctor(call: Call) -> int:
    """Print each finding when it is made, and return the exit code: 1 if a check failed."""
    try:
        config = call.load()
    except ConfigError as error:
        for problem in error.problems:
            _print_finding(call, report_failure("config", problem, "correct relay.toml"))
        return 1
    failed = False
    try:
        async for finding in _run_checks(config):
            _print_finding(call, finding)
            failed = failed or finding.state == "failed"
    except ConnectionLostError as error:  # the other checks need it
        _print_finding(call, report_failure("relay", error.message, error.hint))
        return 1
    return 1 if failed else 0


async def _run_checks(config: Config) -> AsyncIterator[HealthFinding]:
    yield report_ok("config", f"{config.path} is valid" if config.path else "no relay.toml; the defaults apply")
    vault_warnings = vault_notices(config.needs, config.vault)  # reported by the check of the vault
    for notice in config.notices:
        if notice not in vault_warnings:
            yield report_warning("config", notice)
    url = await find_running_relay(config.server.data_dir)
    yield report_ok("relay", f"running, dashboard at {url}" if url else "not running")
    if url is None:
        yield _check_port("ingress", config.server.ingress, named=config.server.ingress_named)
        yield _check_port("dashboard", config.server.dashboard, named=config.server.dashboard_named)
    for finding in await _check_data(config):
        yield finding
    yield health.check_data_folder(config.server.data_dir)
    yield health.check_disk(config.server.data_dir)
    running = await _fetch_findings(config)
    if (vault := running.get("vault")) and vault.state == "warning":  # locked, with the effects
        yield vault
    for finding in await _check_vault(config):
        yield finding
    config = resolve_again(config)  # with the vault's secrets, if it could be opened
    yield running.get("tunnel") or health.check_tunnel_config(config)
    unseen = [name for name in config.targets if f"target {name}" not in running]
    for finding in await asyncio.gather(*(health.check_target_health(config, name) for name in unseen)):
        yield finding
    for name, finding in running.items():
        if name.startswith("target "):
            yield finding
    yield running.get("mail") or await health.check_mail(config)


async def _fetch_findings(config: Config) -> dict[str, HealthFinding]:
    """Return the findings of the running relay by name, with the tunnel and targets of its options."""
    try:
        api = await connect_running(config.server.data_dir)
        found = (await api.get("/api/doctor"))["findings"] if api else []
    except RelayError:
        return {}  # its problems are reported for the data
    return {item["name"]: HealthFinding(**item) for item in found}


def _check_port(name: str, address: tuple[str, int], *, named: bool) -> HealthFinding:
    from relay.http.listening import open_listener  # not needed if a relay is running

    host, port = address
    try:
        open_listener(address, f"--{name}", named=True).close()
    except PortError as error:
        if named:
            return report_failure(name, error.message, error.hint)
        return report_warning(name, f"{error.message}; the next free one is taken")
    return report_ok(name, f"{host}:{port or 'any port'} is free")


async def _check_data(config: Config) -> tuple[HealthFinding, ...]:
    path = config.server.data_dir / "relay.db"
    if has_no_data(config.server.data_dir):
        return (report_ok("data", f"{path} is not there yet; relay start makes it"),)
    try:
        async with connect_store(config.server.data_dir, is_read=False) as api:
            status = await api.get("/api/status")
    except RelayError as error:
        return (report_failure("data", error.message, error.hint),)
    if status["store"]["detail"]:
        return (health.report_outage(status["store"]["detail"], status["store"]["hint"]),)
    held, now = f"{path} holds {format_count(status['events']['total'], 'event')}", status["retention"]
    used = f"{format_size(now['used']['size'])} used; "
    return report_ok("data", held), health.check_retention(config.keep, now["notice"] or "", used)


async def _check_vault(config: Config) -> list[HealthFinding]:
    """Check the vault, and open it if its password is available without a prompt."""
    vault, needs = config.vault, config.needs
    if vault.state is VaultState.NONE and not needs:
        return [report_ok("vault", "none, and nothing needs one")]
    try:
        count = f"vault {vault.path} holds {format_count(len(vault.names), 'secret')}"
        vault.content()
        opened = (await unlock_unattended(config)).vault.state is VaultState.UNLOCKED
    except VaultError as error:
        return [report_failure("vault", error.message, error.hint)]
    except NotFoundError as error:
        found = report_failure("vault", error.message, error.hint)
    else:
        found = report_ok("vault", f"{count}; {'its password is right' if opened else 'its password was not given'}")
    return [found, *health.check_secrets(needs, vault.names)]


def _print_finding(call: Call, finding: HealthFinding) -> None:
    style = {"ok": "green", "warning": "yellow", "failed": "red"}[finding.state]
    text = finding.detail + (f"; {finding.fix}" if finding.fix else "")
    call.terminal.print_value(asdict(finding), (f"{finding.state:<8}", style), f"{finding.name:<12} ", text)
    call.terminal.flush()
