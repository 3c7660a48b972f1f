"""The program `relay`: its commands by name, each imported only when it is called."""

import importlib
from collections.abc import Sequence
from difflib import get_close_matches

import click

from relay import __version__
from relay.cli.error_output import Invocation, run_guarded
from relay.cli.output import open_terminal, quote

# The sentences stand here too, so that `relay --help` imports no command; a test holds both alike.
COMMANDS = {
    "start": "Capture webhooks, show them live, send them on.",
    "init": "Write a relay.toml with every setting explained.",
    "check": "Check relay.toml and list every mistake.",
    "doctor": "Test ports, tunnel, targets, mail and disk.",
    "events": "List events, newest first, or follow them live.",
    "show": "Show one event whole.",
    "replay": "Send events again, signed so that they verify.",
    "lab": "Try an app with duplicates, bursts, other orders and forgeries.",
    "trigger": "Send a signed sample event through the real ingress.",
    "catch-up": "Fetch what a provider sent while relay was away.",
    "samples": "List the sample events that can be triggered.",
    "verify": "Say how an event's signature was checked.",
    "explain": "Say which routes an event took, and why.",
    "diff": "Compare two events.",
    "email": "Mail an event, or preview the mail.",
    "wait": "Wait for the next matching event.",
    "deliveries": "List what was sent, and what is owed.",
    "retry": "Try a delivery again now.",
    "cancel": "Give a waiting delivery up.",
    "messages": "List outgoing mail and SMS, and what became of them.",
    "export": "Write events as JSON lines, HAR, curl, HTTP or pytest.",
    "import": "Take in events that were exported, or a HAR file.",
    "vault": "Keep secrets under a password.",
    "tunnel": "Install the ngrok agent.",
    "token": "Print the dashboard's token and its link.",
    "providers": "List the providers that relay knows.",
    "help": "Explain the search language, or a command.",
}


# Commands that live in another module than `relay.cli.<name>`.
_MODULES = {
    "start": "start.command",
    "init": "config_file",
    "check": "config_file",
    "trigger": "providers",
    "samples": "providers",
    "catch-up": "catch_up",
    "explain": "show",
    "diff": "show",
    "wait": "events",
    "retry": "deliveries",
    "cancel": "deliveries",
    "export": "transfer",
    "import": "transfer",
}


def load_command(name: str) -> click.Command:
    """Import a command by its name."""
    module = importlib.import_module(f"relay.cli.{_MODULES.get(name, name)}")
    command = getattr(module, f"{name.replace('-', '_')}_command")
    assert isinstance(command, click.Command)
    return command


class CommandGroup(click.Group):
    """The group of all commands; it knows their names and looks for them by import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command in the order a person meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by name; None when there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return load_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names. Raises UsageError with the nearest name."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "relay --help lists the commands"
            raise click.UsageError(f"unknown command {quote(name)}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    "relay",
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="relay", message="%(prog)s %(version)s")
@click.pass_context
def program(context: click.Context) -> None:
    """Webhooks in development: capture, verify, look at, replay and send on.

    `relay start` is the main job. Every other command works whether or not a relay is running.

    Exit codes: 0 done, 1 it failed, 2 wrong usage or configuration, 3 tunnel or authentication refused,
    4 nothing matched or a wait ran out, 5 a verification failed, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; never raises."""
    invocation = Invocation(terminal=open_terminal())
    return run_guarded(
        invocation, lambda: program.main(list(arguments), prog_name="relay", standalone_mode=False, obj=invocation)
    )
