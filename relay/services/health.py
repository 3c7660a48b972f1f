"""Health checks of disk, tunnel, targets, sources and mail, for the Doctor page and `relay doctor`."""

import asyncio
import os
import shlex
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from relay.actions import egress
from relay.actions.mail import EmailOptions, SmtpOptions
from relay.actions.outgoing_request import ForwardOptions
from relay.config.build import Config
from relay.config.handler_checks import inspect_handlers_file
from relay.config.secrets import explain_missing
from relay.errors import RelayError, TargetError
from relay.handlers.environment import HandlerOptions
from relay.model.delivery import AttemptSucceeded, Target
from relay.model.event import Source, VerifyMode
from relay.model.retention import RetentionLimits
from relay.model.text import format_size
from relay.model.values import dataclass
from relay.platform import find_folder_risks
from relay.tunnel.ngrok_agent import SCRIPT_COMMAND, default_agent, find_agent, is_pyngrok_script
from relay.vault import SecretNeed, describe_missing_secrets

if TYPE_CHECKING:  # RunningRelay calls run_health_checks
    from relay.services.relay import RunningRelay

BRIEF_SECONDS = 0.7  # seconds, because a user waits for the banner
PATIENT_SECONDS = 5.0


async def probe_target(target: Target, smtp: SmtpOptions | None, seconds: float) -> str:
    """Return "" if a target can accept deliveries now, else the reason. Mail without SMTP is kept, which works."""
    try:
        async with asyncio.timeout(seconds):
            match target.options:
                case ForwardOptions(url=url):
                    place = await egress.check_target(url, egress.EgressRules())
                    return await _probe_address(place.addresses, place.port)
                case EmailOptions() if smtp is not None and smtp.blocked:
                    return f"{smtp.blocked}; it waits"
                case EmailOptions() if smtp is not None:
                    return await _probe_address(await egress.resolve(smtp.host, smtp.port), smtp.port)
    except TimeoutError:
        return f"no answer in {seconds:g} s"
    except TargetError as error:
        return error.full_text
    return ""


async def _probe_address(addresses: Iterable[egress.Address], port: int) -> str:
    return "" if await egress.probe_connection(map(str, addresses), port) else "does not answer"


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """The result of a check: `state` is ok, warning or failed; `fix` says what to do."""

    state: str
    name: str
    detail: str
    fix: str = ""


report_ok = partial(HealthFinding, "ok")
report_failure = partial(HealthFinding, "failed")
report_warning = partial(HealthFinding, "warning")


_LITTLE_DISK = 1_000_000_000  # bytes: a warning
_NO_DISK = 100_000_000  # bytes: below this SQLite may soon fail to commit


def check_disk(data_dir: Path) -> HealthFinding:
    """Check how much disk space is left for the data."""
    there = next(folder for folder in (data_dir, *data_dir.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    detail = f"{format_size(free)} free for {data_dir}"
    if free > _LITTLE_DISK:
        return report_ok("disk", detail)
    return (report_failure if free < _NO_DISK else report_warning)(
        "disk", detail, "free some space, or name another data_dir"
    )


def check_data_folder(data_dir: Path) -> HealthFinding:
    """Check whether other users can access the data folder. Its mode is never changed."""
    if not data_dir.exists():
        parent = next(folder for folder in data_dir.parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return report_failure("data folder", f"{data_dir} cannot be made", "name another data_dir")
        return report_ok("data folder", f"{data_dir} is not there yet; relay start makes it")
    risks = find_folder_risks(data_dir)
    if not risks:
        return report_ok("data folder", f"{data_dir} is for this user alone")
    only_rights = all("mode" in risk for risk in risks) and "shared" not in risks[0]
    fix = f"chmod 700 {shlex.quote(str(data_dir))}" if only_rights else "name a data_dir of your own"
    return report_warning("data folder", f"{data_dir} {' and '.join(risks)}", fix)


def check_tunnel_config(config: Config) -> HealthFinding:
    """Check whether the configured tunnel could be opened."""
    options = config.tunnel
    if options.provider == "command":
        return _check_tunnel_command(options.command or "")
    if options.provider == "static":
        return report_ok("tunnel", f"you run it; {options.public_url}")
    if options.provider == "none":
        return report_ok("tunnel", "switched off")
    if options.authtoken is None:
        if options.locked:
            return report_warning("tunnel", "its authtoken is in the locked vault")
        found = report_failure if options.provider == "ngrok" else report_warning
        return found("tunnel", "no ngrok authtoken", "set NGROK_AUTHTOKEN")
    try:
        return report_ok("tunnel", f"ngrok is {find_agent(options.agent_path, os.environ, default_agent())}")
    except RelayError as error:
        return report_failure("tunnel", error.message, error.hint)


def _check_tunnel_command(command: str) -> HealthFinding:
    try:
        program = (shlex.split(command) or [""])[0]
    except ValueError as error:
        return report_failure("tunnel", f"tunnel.command cannot be read: {error}", "correct tunnel.command")
    found = shutil.which(program)
    if found is None:
        return report_failure("tunnel", f"there is no program {program!r}", "install it, or correct tunnel.command")
    if is_pyngrok_script(Path(found)):
        return report_failure("tunnel", *SCRIPT_COMMAND)
    return report_ok("tunnel", f"{program} is installed")


async def check_target_health(config: Config, name: str) -> HealthFinding:
    """Check whether a target can accept deliveries now."""
    options = config.targets[name].options
    if isinstance(options, HandlerOptions):
        seen = await inspect_handlers_file(options)
        if isinstance(seen, list):
            return report_ok(f"target {name}", f"{options.name} can be run")
        if seen.locked:
            return report_warning(f"target {name}", seen.message, "relay vault unlock")
        return report_failure(f"target {name}", seen.full_text)
    why = await probe_target(config.targets[name], config.smtp, PATIENT_SECONDS)
    if not why:
        return report_ok(f"target {name}", "answers")
    blocked = isinstance(options, EmailOptions) and config.smtp is not None and config.smtp.blocked
    return report_failure(f"target {name}", why, "see mail" if blocked else "start it, or correct its address")


async def check_mail(config: Config) -> HealthFinding:
    """Check whether the mail server accepts mail."""
    smtp = config.smtp
    if smtp is not None and smtp.locked:
        return report_warning("mail", "its credentials are in the locked vault")
    if smtp is not None and smtp.blocked:
        return report_failure("mail", f"{smtp.blocked}; it waits", "set it in the environment, in .env or in the vault")
    if smtp is None:
        return report_ok("mail", "no [smtp]: mails are rendered and kept in the outbox")
    from relay.actions.mail.smtp import check_server  # noqa: PLC0415 - with aiosmtplib, which few checks need

    outcome = await check_server(smtp)
    if isinstance(outcome, AttemptSucceeded):
        return report_ok("mail", f"{smtp.address} takes our mail")
    return report_failure("mail", outcome.detail, "correct [smtp], or start the server")


def check_retention(keep: RetentionLimits, notice: str, used: str = "") -> HealthFinding:
    """Check retention: its limits and usage, or its `notice` of a limit that it cannot keep."""
    if notice:
        return report_warning(
            "retention", notice.removesuffix("."), "raise a limit under [retention], or unpin and delete"
        )
    return report_ok("retention", f"{used}kept are {', '.join(map(keep.describe_rule, ('age', 'events', 'size')))}")


def check_secrets(needs: Iterable[SecretNeed], names: Iterable[str]) -> tuple[HealthFinding, ...]:
    """Return a failure for each needed secret that is not among the `names` in the vault."""
    missing = (sentence.partition("; ") for sentence in describe_missing_secrets(needs, names))
    return tuple(report_failure("vault", what, fix) for what, _, fix in missing)


def report_outage(detail: str, fix: str) -> HealthFinding:
    """Return the finding that the store accepts no writes."""
    return report_failure("data", f"no event can be kept: {detail}", fix)


def check_source(configured: Source) -> HealthFinding:
    """Check whether a source has the secrets to check signatures."""
    name = f"source {configured.name}"
    if configured.verify is VerifyMode.OFF:
        return report_warning(name, "verification is off, so anybody can send events here", 'remove verify = "off"')
    if configured.locked_secrets:
        return report_warning(name, f"{configured.locked_secrets[0]} is in the locked vault", "relay vault unlock")
    if configured.scheme is None and (configured.secrets or configured.missing_secrets):
        return report_warning(
            name,
            "nothing says how it signs, so its secret is not used and nothing is verified",
            f"set provider, or write [sources.{configured.name}.signature]",
        )
    if configured.secrets:
        return report_ok(name, f"checks with {', '.join(secret.reference for secret in configured.secrets)}")
    if configured.scheme is None:
        return report_ok(name, "is not signed")
    if not configured.missing_secrets:
        return report_warning(name, "no secret is named")
    missing = configured.missing_secrets[0]
    kind, _, variable = missing.partition(":")
    fix = f"relay vault set {variable}" if kind == "vault" else f"put {variable}=… into .env"
    return report_warning(name, explain_missing(missing), fix)


_CLOCK_REASONS = ("timestamp_stale", "timestamp_future")


async def run_health_checks(relay: "RunningRelay") -> tuple[HealthFinding, ...]:
    """Check ports, tunnel, data, disk, vault, clock, sources, targets and mail, in that order."""
    config, notice = relay.config, relay.state.retention
    away = await asyncio.gather(*(check_target_health(config, name) for name in config.targets), check_mail(config))
    return (
        report_ok("ports", f"webhooks at {relay.ingress_url}, this dashboard at {relay.dashboard_url}"),
        _check_tunnel(relay),
        await _check_data(relay),
        check_retention(config.keep, f"{notice.title} {notice.text}".strip() if notice else ""),
        check_data_folder(config.server.data_dir),
        check_disk(config.server.data_dir),
        *_check_vault(relay),
        await _check_clock(relay),
        *(check_source(source) for source in relay.sources.by_name.values()),
        *away,
    )


def _check_tunnel(relay: "RunningRelay") -> HealthFinding:
    change = relay.state.tunnel
    if change.state == "up":
        return report_ok("tunnel", f"up, at {change.public_url}")
    if change.state in ("none", "off"):
        return report_ok("tunnel", "none: providers cannot reach this computer, everything on it can")
    return report_failure("tunnel", f"{change.state}: {change.detail or 'no word yet'}", "relay keeps trying")


async def _check_data(relay: "RunningRelay") -> HealthFinding:
    outage = await relay.store.writer.probe()
    if outage is not None:
        return report_outage(outage.message, outage.hint)
    counts = await relay.store.events.counts()
    used = (await relay.store.pruning.usage()).used
    return report_ok("data", f"{counts.events:,} events, {format_size(used)}, in {relay.store.path}")


def _check_vault(relay: "RunningRelay") -> tuple[HealthFinding, ...]:
    now = relay.vault.status
    if now.problem:
        return (report_failure("vault", now.problem, "restore a copy of the file"),)
    if now.state == "locked":
        return (report_warning("vault", " ".join(("locked.", *now.effects)).removesuffix("."), "relay vault unlock"),)
    if now.state == "none" and not now.needs:
        return (report_ok("vault", "none, and nothing needs one"),)
    return check_secrets(now.needs, now.names) or (
        report_ok("vault", f"open, with {len(now.names)} secret{'s' * (len(now.names) != 1)}"),
    )


async def _check_clock(relay: "RunningRelay") -> HealthFinding:
    """Check this computer's clock by signed timestamps of received events, without network access."""
    from relay.services.stats import WINDOWS, find_first_minute  # noqa: PLC0415 - `relay check` probes targets alone

    window = WINDOWS["24h"]
    tallies = await relay.store.counters.since(find_first_minute(window, relay.clock.now()), window.step)
    events = [tally for tally in tallies if tally.label.kind == "event"]
    odd = {reason: sum(one.number for one in events if one.label.reason == reason) for reason in _CLOCK_REASONS}
    fit = sum(tally.number for tally in events if tally.label.name == "verified")
    if odd["timestamp_future"]:
        detail = f"{odd['timestamp_future']:,} signatures of the last 24 hours came from the future"
        return report_warning("clock", detail, "set this computer's clock by the network's")
    if odd["timestamp_stale"] and not fit:
        detail = f"{odd['timestamp_stale']:,} signatures of the last 24 hours were too old, and none was not"
        return report_warning("clock", detail, "synchronise this computer's clock, or replay less")
    return report_ok(
        "clock",
        f"fits the {fit:,} signatures that verified in the last 24 hours" if fit else "nothing speaks against it",
    )
