"""What every command takes: where config and data are, how to print, how much to say."""

import asyncio
import functools
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from relay.cli import log_output
from relay.cli.error_output import Invocation
from relay.cli.output import Terminal, quote
from relay.config import Config, Overrides, load

P = ParamSpec("P")
Work = Coroutine[Any, Any, int | None]
_ID_PATTERN = re.compile(r"#?([0-9]{1,18})")
_DURATION_PATTERN = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|h)?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a command: its shared options, and where it prints."""

    invocation: Invocation
    path: Path | None
    overrides: Overrides
    json: bool
    loudness: log_output.Verbosity

    @property
    def terminal(self) -> Terminal:
        """Return where to print."""
        return self.invocation.terminal

    def load(self, overrides: Overrides | None = None) -> Config:
        """Read the configuration. Raises ConfigError with every mistake."""
        config = load(self.path, overrides or self.overrides)
        self.invocation.log = config.server.data_dir / "relay.log"
        return config


def shared_options(command: Callable[Concatenate[Call, P], Work]) -> Callable[P, int | None]:
    """Give a command the options that all have, as a Call, and run it to its end."""

    @click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Instead of ./relay.toml.")
    @click.option("--data-dir", metavar="DIR", help="Instead of the config's data_dir.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
    @click.option("-v", "--verbose", "verbosity", count=True, help="Tell the way of every event; -vv says everything.")
    @click.option("--debug", is_flag=True, help="Show tracebacks.")
    @click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="How the log speaks.")
    @click.pass_obj
    @functools.wraps(command)
    def wrapped(invocation: Invocation, /, *args: P.args, **kwargs: P.kwargs) -> int | None:
        options: dict[str, Any] = kwargs
        invocation.debug = options.pop("debug")
        loudness = log_output.Verbosity(
            verbosity=options.pop("verbosity"), debug=invocation.debug, as_json=options.pop("log_format") == "json"
        )
        call = Call(
            invocation=invocation,
            path=options.pop("config"),
            overrides=Overrides(data_dir=options.pop("data_dir")),
            json=options.pop("as_json"),
            loudness=loudness,
        )
        log_output.configure_logging(invocation.terminal.say, loudness)
        return asyncio.run(command(call, *args, **kwargs))

    return wrapped


def parse_event_id(text: str) -> int:
    """Return an event's number, typed as 42 or #42. Raises a usage error that quotes what was typed."""
    return _parse_number(text, "an event id", "relay events lists them")


def parse_delivery_id(text: str) -> int:
    """Return a delivery's number. Raises a usage error that quotes what was typed."""
    return _parse_number(text, "a delivery id", "relay deliveries lists them")


def parse_message_id(text: str) -> int:
    """Return a message's number. Raises a usage error that quotes what was typed."""
    return _parse_number(text, "a message id", "relay messages lists them")


def parse_limit(text: str | int) -> int:
    """Return how many of something are wanted. Raises a usage error for anything but a number from 1 up."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", str(text)):
        raise click.BadParameter(f"{quote(str(text))} is not a number from 1 up")
    return int(text)


def parse_seconds(text: str | float) -> float:
    """Return the seconds of 500ms, 60s, 5m or a bare number. Raises a usage error that quotes what was typed."""
    match = _DURATION_PATTERN.fullmatch(str(text))
    if match is None:
        raise click.BadParameter(f"{quote(str(text))} is not a duration; write 500ms, 60s or 5m")
    return float(match[1]) * _UNIT_SECONDS[match[2] or "s"]


def _parse_number(text: str, noun: str, known_by: str) -> int:
    match = _ID_PATTERN.fullmatch(str(text))
    if match is None:
        raise click.UsageError(f"{quote(str(text))} is not {noun}; {known_by}")
    return int(match[1])
