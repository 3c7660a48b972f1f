"""The options of all commands: config and data, output format, log level."""

import functools
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from relay.cli.output import Terminal, quote
from relay.config import DEFAULT_FILE
from relay.model.values import dataclass
from relay.platform import wake_loop_on_signals

if TYPE_CHECKING:
    from relay.cli.client import ApiClient
    from relay.config.build import Config

P = ParamSpec("P")
Work = Coroutine[Any, Any, int | None] | int | None  # the result of a command: its exit code, or a coroutine for it
_ID_PATTERN = re.compile(r"#?([0-9]{1,18})")
_DURATION_PATTERN = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|h|d)?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(slots=True, kw_only=True)
class Call:
    """A call of a command: its terminal, its shared options, and its log file when known."""

    terminal: Terminal
    path: Path | None = None
    data_dir: str | None = None
    verbosity: int = 0
    debug: bool = False
    logs_json: bool = False
    log: Path | None = None

    @property
    def json(self) -> bool:
        """Whether to print JSON lines."""
        return self.terminal.as_json

    def load(self, **overrides: Any) -> "Config":
        """Read the configuration; `overrides` as for Overrides. Raises ConfigError with every mistake."""
        # This takes up to 0.5 s to import, which most commands do not need if a relay is running.
        from relay.config.build import Overrides, load

        self.configure_logging()
        config = load(self.path, Overrides(data_dir=self.data_dir, **overrides))
        self.log = config.server.data_dir / "relay.log"
        return config

    def configure_logging(self, **options: Any) -> None:
        """Configure logging by the shared options; `options` as for `log_output.configure_logging`."""
        # A command that only talks to a running relay logs nothing.
        from relay.cli.log_output import configure_logging

        say, verbosity = self.terminal.print_message, self.verbosity
        configure_logging(say, verbosity=verbosity, debug=self.debug, as_json=self.logs_json, **options)

    @property
    def folder(self) -> Path:
        """The folder of relay.toml."""
        return (self.path or Path(DEFAULT_FILE)).resolve().parent

    def read_tables(self) -> dict[str, Any]:
        """Return the parsed relay.toml without validation; {} without one. Raises OSError and ValueError."""
        import tomllib  # for the commands that look for data

        path = self.path or Path(DEFAULT_FILE)
        return tomllib.loads(path.read_text(encoding="utf-8-sig")) if self.path or path.is_file() else {}

    def has_conditions(self) -> bool:
        """Return whether routes of relay.toml may have conditions."""
        try:
            return any("when" in route for route in self.read_tables().get("routes", []))
        except (OSError, ValueError, TypeError):
            return True  # loading all of it reports the error

    def find_data_dir(self) -> Path:
        """Return the data folder, without loading the rest of the configuration. Raises ConfigError."""
        try:
            text, base = self.read_tables().get("server", {}).get("data_dir", ".relay"), self.folder
            if self.data_dir is not None:
                text, base = self.data_dir, Path.cwd()
            if not text.strip() or any(ord(sign) < 32 for sign in text):
                return self.load().server.data_dir  # this reports the error
            folder = base / Path(text).expanduser()
        except (OSError, ValueError, AttributeError, TypeError, RuntimeError):
            return self.load().server.data_dir  # as above
        self.log = folder / "relay.log"
        return folder

    @asynccontextmanager
    async def connect(
        self, *, secrets: bool = False, creates: bool = False, store_only: bool = False
    ) -> AsyncIterator["ApiClient"]:
        """Connect to the running relay of the data folder, else to a quiet one for the block.

        `secrets` and `creates` as for `client.connect`; with `store_only` the store is opened instead of a relay, for
        the calls that a StoreClient supports. Raises ConfigError if no relay runs.
        """
        from relay.cli.client import connect, connect_running, connect_store, has_no_data  # not all call a relay

        data_dir = self.find_data_dir()
        if (running := await connect_running(data_dir)) is not None:
            yield running
            return
        if store_only and not has_no_data(data_dir):
            self.configure_logging()
            opening = connect_store(data_dir)
        else:
            opening = connect(self.load(), secrets=secrets, creates=creates)
        async with opening as api:
            yield api


def shared_options(command: Callable[Concatenate[Call, P], Work]) -> Callable[P, int | None]:
    """Add the shared options to a command, pass them as a Call, and run it."""

    @click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Instead of ./relay.toml.")
    @click.option("--data-dir", metavar="DIR", help="Instead of the config's data_dir.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
    @click.option("-v", "--verbose", "verbosity", count=True, help="Log each step of every event; -vv logs everything.")
    @click.option("--debug", is_flag=True, help="Show tracebacks.")
    @click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="The format of the log.")
    @click.pass_obj
    @functools.wraps(command)
    def wrapped(call: Call, /, *args: P.args, **kwargs: P.kwargs) -> int | None:
        options: dict[str, Any] = kwargs
        call.path, call.data_dir = options.pop("config"), options.pop("data_dir")
        call.verbosity, call.debug = options.pop("verbosity"), options.pop("debug")
        call.terminal.as_json, call.logs_json = options.pop("as_json"), options.pop("log_format") == "json"
        work = command(call, *args, **kwargs)
        if not isinstance(work, Coroutine):
            return work
        import asyncio  # not needed for --help and for synchronous commands

        with asyncio.Runner() as runner:
            wake_loop_on_signals(runner.get_loop())
            return runner.run(work)

    return wrapped


def parse_limit(text: str | int) -> int:
    """Return a count. Raises a usage error for anything but a number from 1 up."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", str(text)):
        raise click.BadParameter(f"{quote(str(text))} is not a number from 1 up")
    return int(text)


def parse_rate(text: str) -> float:
    """Return deliveries a second. Raises a usage error that quotes what was typed."""
    with suppress(ValueError):
        if 0.01 <= (rate := float(text)) <= 10_000:
            return rate
    raise click.BadParameter(f"{quote(text)} is not a number of deliveries a second, from 0.01 to 10,000")


def parse_target(text: str) -> str:
    """Return a target's name or a URL. Raises a usage error for "", as from an unset shell variable."""
    if not text.strip():
        raise click.BadParameter(f"{quote(text)} is neither a target nor a URL")
    return text


def parse_seconds(text: str | float) -> float:
    """Return the seconds of 500ms, 60s, 5m or a bare number. Raises a usage error that quotes what was typed."""
    match = _DURATION_PATTERN.fullmatch(str(text))
    if match is None:
        raise click.BadParameter(f"{quote(str(text))} is not a duration; write 500ms, 60s or 5m")
    return float(match[1]) * _UNIT_SECONDS[match[2] or "s"]


def _build_id_parser(noun: str, hint: str) -> Callable[[str], int]:
    """Return a function that parses 42 or #42, and raises a usage error that quotes what was typed."""

    def parse_id(text: str) -> int:
        match = _ID_PATTERN.fullmatch(str(text))
        if match is None:
            raise click.UsageError(f"{quote(str(text))} is not {noun}; {hint}")
        return int(match[1])

    return parse_id


parse_event_id = _build_id_parser("an event id", "relay events lists them")
parse_delivery_id = _build_id_parser("a delivery id", "relay deliveries lists them")
parse_replay_id = _build_id_parser(
    "the number of a bulk replay", "relay replay prints it when a bulk replay ends early"
)
parse_message_id = _build_id_parser("a message id", "relay messages lists them")

event_argument = click.argument("event", type=parse_event_id, metavar="EVENT")
delivery_argument = click.argument("delivery", type=parse_delivery_id, metavar="DELIVERY")
password_fd_option = click.option(
    "--password-fd", type=int, metavar="N", help="Read the vault's password from this file descriptor."
)
limit_option = click.option(
    "--limit", type=parse_limit, metavar="N", default=50, show_default=True, help="The most to list."
)
