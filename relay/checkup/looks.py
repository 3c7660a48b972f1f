"""The single looks: at disk, tunnel, targets, sources and mail."""

import os
import shlex
import shutil
from pathlib import Path

from relay.checkup.probes import PATIENT, target_answers
from relay.config import Config
from relay.config.inspection import look
from relay.config.secrets import explain
from relay.errors import RelayError
from relay.files import find_folder_risks
from relay.handlers.options import HandlerOptions
from relay.mail.compose import EmailOptions
from relay.mail.smtp import probe
from relay.model.delivery import Succeeded
from relay.model.event import Source, VerifyMode
from relay.model.finding import Finding, bad, doubtful, good
from relay.model.text import size
from relay.tunnel.agent import SCRIPT_COMMAND, default_agent, find_agent, is_pyngrok_script

_LITTLE_DISK = 1_000_000_000  # bytes: a warning
_NO_DISK = 100_000_000  # bytes: below this SQLite may soon fail to commit


def disk(data_dir: Path) -> Finding:
    """Say how much room there is for the data."""
    there = next(folder for folder in (data_dir, *data_dir.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    detail = f"{size(free)} free for {data_dir}"
    if free > _LITTLE_DISK:
        return good("disk", detail)
    return (bad if free < _NO_DISK else doubtful)("disk", detail, "make room, or name another data_dir")


def data_folder(data_dir: Path) -> Finding:
    """Say whether other users can get at what is kept in the data folder. It is never changed."""
    if not data_dir.exists():
        return good("data folder", f"{data_dir} is not there yet; relay start makes it")
    risks = find_folder_risks(data_dir)
    if not risks:
        return good("data folder", f"{data_dir} is for this user alone")
    only_rights = all("mode" in risk for risk in risks) and "shared" not in risks[0]
    fix = f"chmod 700 {shlex.quote(str(data_dir))}" if only_rights else "name a data_dir of your own"
    return doubtful("data folder", f"{data_dir} {' and '.join(risks)}", fix)


def tunnel(config: Config) -> Finding:
    """Say whether the tunnel that is configured could be opened."""
    options = config.tunnel
    if options.provider == "command":
        return _tunnel_command(options.command or "")
    if options.provider == "static":
        return good("tunnel", f"you run it; {options.public_url}")
    if options.provider == "none":
        return good("tunnel", "switched off")
    if options.authtoken is None:
        if options.locked:
            return doubtful("tunnel", "its authtoken is in the locked vault")
        found = bad if options.provider == "ngrok" else doubtful
        return found("tunnel", "no ngrok authtoken", "set NGROK_AUTHTOKEN")
    try:
        return good("tunnel", f"ngrok is {find_agent(options.agent_path, os.environ, default_agent())}")
    except RelayError as error:
        return bad("tunnel", error.sentence, error.hint)


def _tunnel_command(command: str) -> Finding:
    try:
        program = (shlex.split(command) or [""])[0]
    except ValueError as error:
        return bad("tunnel", f"tunnel.command cannot be read: {error}", "correct tunnel.command")
    found = shutil.which(program)
    if found is None:
        return bad("tunnel", f"there is no program {program!r}", "install it, or correct tunnel.command")
    if is_pyngrok_script(Path(found)):
        return bad("tunnel", *SCRIPT_COMMAND)
    return good("tunnel", f"{program} is installed")


async def target(config: Config, name: str) -> Finding:
    """Say whether a target can take something now."""
    options = config.targets[name].options
    if isinstance(options, HandlerOptions):
        seen = await look(options)
        if not isinstance(seen, str):
            return good(f"target {name}", f"{options.name} can be run")
        return bad(f"target {name}", seen)
    why = await target_answers(config.targets[name], config.smtp, PATIENT)
    if not why:
        return good(f"target {name}", "answers")
    blocked = isinstance(options, EmailOptions) and config.smtp is not None and config.smtp.blocked
    return bad(f"target {name}", why, "see mail" if blocked else "start it, or correct its address")


async def mail(config: Config) -> Finding:
    """Say whether the mail server takes our mail."""
    smtp = config.smtp
    if smtp is not None and smtp.locked:
        return doubtful("mail", "its credentials are in the locked vault")
    if smtp is not None and smtp.blocked:
        return bad("mail", f"{smtp.blocked}; it waits", "set it in the environment, in .env or in the vault")
    if smtp is None:
        return good("mail", "no [smtp]: mails are rendered and kept in the outbox")
    outcome = await probe(smtp)
    where = f"{smtp.host}:{smtp.port}"
    if isinstance(outcome, Succeeded):
        return good("mail", f"{where} takes our mail")
    return bad("mail", outcome.detail, "correct [smtp], or start the server")


def source(configured: Source) -> Finding:
    """Say whether a source has what its signatures are checked with."""
    name = f"source {configured.name}"
    if configured.verify is VerifyMode.OFF:
        return doubtful(
            name, "verification is off, so anybody can send events here", 'take verify = "off" out'
        )
    if configured.locked_secrets:
        return doubtful(name, f"{configured.locked_secrets[0]} is in the locked vault", "relay vault unlock")
    if configured.scheme is None and (configured.secrets or configured.missing_secrets):
        return doubtful(
            name,
            "nothing says how it signs, so its secret is not used and nothing is verified",
            f"set provider, or write [sources.{configured.name}.signature]",
        )
    if configured.secrets:
        return good(name, f"checks with {', '.join(secret.reference for secret in configured.secrets)}")
    if configured.scheme is None:
        return good(name, "is not signed")
    missing = configured.missing_secrets
    return doubtful(name, explain(missing[0]) if missing else "no secret is named", _set(missing))


def _set(missing: tuple[str, ...]) -> str:
    kind, _, name = (missing[0] if missing else "").partition(":")
    return f"relay vault set {name}" if kind == "vault" else f"put {name}=… into .env" if name else ""
