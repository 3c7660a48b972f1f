"""`relay init`, `relay check` and `relay doctor`: create a relay.toml, check it, and check its surroundings."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.formatting import format_count
from relay.cli.options import Call, shared_options
from relay.cli.output import quote
from relay.config import DEFAULT_FILE
from relay.errors import ConfigError, RelayError

if TYPE_CHECKING:
    from relay.config.build import Config

TEMPLATE_FILE = Path(__file__).with_name("template.toml")


@click.command("init")
@shared_options
def init_command(call: Call) -> None:
    """Write a commented relay.toml here; one that is there already stays as it is."""
    path = call.path or Path(DEFAULT_FILE)
    text = TEMPLATE_FILE.read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{quote(str(path))} is there already", hint="--config names another") from None
    except OSError as error:
        raise ConfigError(f"cannot write {quote(str(path))}: {error.strerror}", hint="--config names another") from None
    call.terminal.print_value({"written": str(path)}, f"wrote {path}; relay check checks it, relay start uses it")


@click.command("check")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of relay.toml, for editors.")
@shared_options
async def check_command(call: Call, *, schema: bool) -> int:
    """Check relay.toml: list every mistake (2), or say that it is valid."""
    if schema:
        from relay.config.reference import build_schema

        call.terminal.print_json(build_schema())
        return 0
    from relay.config.handler_checks import check_handlers

    try:
        config, locked = await _unlock_config(call.load())
        warnings = (*locked, *await check_handlers(config))
    except ConfigError as error:
        if not call.json:
            raise
        for problem in error.problems:
            call.terminal.print_json({"kind": "mistake", "text": problem})
        return error.exit_code
    for notice in (*config.notices, *warnings, *await _find_silent_targets(config)):
        if call.json:
            call.terminal.print_json({"kind": "warning", "text": notice})
        else:
            call.terminal.print_message(("warning: ", "yellow"), notice)
    valid = {"kind": "valid", "path": str(config.path) if config.path else None}
    what = f"{config.path} is valid" if config.path else "there is no relay.toml, so the defaults apply"
    counts = ((config.sources, "source"), (config.targets, "target"), (config.routes, "route"))
    parts = (format_count(len(items), noun) for items, noun in counts)
    call.terminal.print_value(valid, f"{what}: {', '.join(parts)}")
    return 0


@click.command("doctor")
@shared_options
async def doctor_command(call: Call) -> int:
    """Test config, ports, data, tunnel, targets, mail and disk; 1 when something fails."""
    from relay.cli.doctor import run_doctor

    return await run_doctor(call)


async def _unlock_config(config: "Config") -> tuple["Config", tuple[str, ...]]:
    """Return the configuration with its vault open if its password is given, and why it stays locked."""
    from relay.cli.passwords import unlock_unattended

    try:
        return await unlock_unattended(config), ()
    except ConfigError:
        raise
    except RelayError as error:
        return config, (f"the password that is given does not open the vault: {error.full_text}",)


async def _find_silent_targets(config: "Config") -> list[str]:
    """Return a warning for each target that does not answer."""
    if not config.targets:
        return []
    import asyncio

    from relay.services.health import BRIEF_SECONDS, probe_target

    targets = list(config.targets.values())
    answers = await asyncio.gather(*(probe_target(target, config.smtp, BRIEF_SECONDS) for target in targets))
    return [
        f"targets.{target.name}: {why}; relay keeps its events until it is there"
        for target, why in zip(targets, answers, strict=True)
        # Waiting mails are a warning already.
        if why and not (target.action == "email" and config.smtp is not None and config.smtp.blocked)
    ]
