"""`relay check`: every mistake in relay.toml, and what deserves a warning."""

import asyncio

import click

from relay.checkup.probes import BRIEF, target_answers
from relay.cli.options import Call, shared
from relay.cli.passwords import at_hand
from relay.cli.words import counted
from relay.config import Config
from relay.config.inspection import inspect
from relay.config.reference import build_schema
from relay.errors import ConfigError, RelayError


@click.command("check")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of relay.toml, for editors.")
@shared
async def command(call: Call, *, schema: bool) -> int:
    """Check relay.toml: list every mistake (2), or say that it is valid."""
    if schema:
        call.terminal.json(build_schema())
        return 0
    try:
        config, locked = await _opened(call.load())
        doubts = (*locked, *await inspect(config))
    except ConfigError as error:
        if not call.json:
            raise
        for problem in error.problems:
            call.terminal.json({"kind": "mistake", "text": problem})
        return error.exit_code
    for notice in (*config.notices, *doubts, *await _silent(config)):
        if call.json:
            call.terminal.json({"kind": "warning", "text": notice})
        else:
            call.terminal.say(("warning: ", "yellow"), notice)
    if call.json:
        call.terminal.json({"kind": "valid", "path": str(config.path) if config.path else None})
    else:
        call.terminal.line(_summary(config))
    return 0


async def _opened(config: Config) -> tuple[Config, tuple[str, ...]]:
    """Return the configuration with its vault open where its password is given, and why it stays locked."""
    try:
        return await at_hand(config), ()
    except ConfigError:
        raise
    except RelayError as error:
        return config, (f"the password that is given does not open the vault: {error.full_text}",)


async def _silent(config: Config) -> list[str]:
    """Return a warning for each target that does not answer at this moment."""
    targets = list(config.targets.values())
    answers = await asyncio.gather(*(target_answers(target, config.smtp, BRIEF) for target in targets))
    return [
        f"targets.{target.name}: {why}; relay keeps what is for it until it is there"
        for target, why in zip(targets, answers, strict=True)
        # What mail waits for is a warning already.
        if why and not (target.action == "email" and config.smtp is not None and config.smtp.blocked)
    ]


def _summary(config: Config) -> str:
    what = f"{config.path} is valid" if config.path else "there is no relay.toml, so the defaults apply"
    counts = ((config.sources, "source"), (config.targets, "target"), (config.routes, "route"))
    return f"{what}: " + ", ".join(counted(len(items), noun) for items, noun in counts)
