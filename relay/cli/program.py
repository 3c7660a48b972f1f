"""The program `relay`: its commands by name, each imported only when called."""

import importlib
from collections.abc import Sequence

import click

from relay import __version__
from relay.cli.error_output import run_guarded
from relay.cli.options import Call, shared_options
from relay.cli.output import open_terminal, quote
from relay.model.search import list_grammar
from relay.model.text import find_similar

# Command -> its module and its summary, so that `relay --help` imports no command; a test compares the summaries.
COMMANDS = {
    "start": ("start.command", "Capture webhooks, show them live, forward them."),
    "init": ("config_file", "Write a relay.toml with the usual settings explained."),
    "check": ("config_file", "Check relay.toml and list every mistake."),
    "doctor": ("config_file", "Test ports, tunnel, targets, mail and disk."),
    "events": ("events", "List events, newest first, or follow them live."),
    "show": ("show", "Show one event in full."),
    "replay": ("replay", "Send events again, signed so that they verify."),
    "lab": ("lab", "Test an app with duplicates, bursts, reordering and forgeries."),
    "trigger": ("providers", "Send a signed sample event through the real ingress."),
    "catch-up": ("transfer", "Fetch what a provider sent while relay was off."),
    "samples": ("providers", "List the sample events that can be triggered."),
    "verify": ("show", "Show how an event's signature was checked."),
    "explain": ("show", "Show which routes an event took, and why."),
    "diff": ("show", "Compare two events."),
    "email": ("messages", "Mail an event, or preview the mail."),
    "wait": ("events", "Wait for the next matching event."),
    "deliveries": ("deliveries", "List what was sent, and what is still to be sent."),
    "retry": ("deliveries", "Retry a delivery now."),
    "cancel": ("deliveries", "Cancel a waiting delivery."),
    "messages": ("messages", "List outgoing mail and SMS with their statuses."),
    "export": ("transfer", "Write events as JSON lines, HAR, curl, HTTP or pytest."),
    "import": ("transfer", "Import exported events, or a HAR file."),
    "vault": ("vault", "Keep secrets under a password."),
    "tunnel": ("tunnel", "Install the ngrok agent."),
    "token": ("token", "Print the dashboard's token and its link."),
    "providers": ("providers", "List the providers that relay knows."),
    "help": ("program", "Explain the search language, or a command."),
}


def load_command(name: str) -> click.Command:
    """Import a command by its name."""
    module = importlib.import_module(f"relay.cli.{COMMANDS[name][0]}")
    command = getattr(module, f"{name.replace('-', '_')}_command")
    assert isinstance(command, click.Command)
    return command


class CommandGroup(click.Group):
    """The group of all commands, imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands in the order of COMMANDS."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by name; None if there is none."""
        del ctx
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names. Raises UsageError with the nearest name."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = find_similar(name, COMMANDS, 0.5)
            hint = f"did you mean {near!r}?" if near else "relay --help lists the commands"
            raise click.UsageError(f"unknown command {quote(name)}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


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


@click.command("help")
@click.argument("topic", required=False)
@shared_options
def help_command(call: Call, topic: str | None) -> None:
    """Explain the search language, or a command."""
    if topic == "search":
        call.terminal.print_values(
            [{"term": term, "meaning": text} for term, text in list_grammar()],
            lambda entry: [(entry["term"], "bold"), entry["meaning"]],
        )
        if not call.json:
            call.terminal.print_line()
            call.terminal.print_line("relay events source:stripe has:failed after:2h -type:ping")
            call.terminal.print_line(
                "relay replay --query '\"card declined\" type:charge.* OR type:refund.*' --dry-run"
            )
        return
    context = click.get_current_context().find_root()
    if topic is not None:
        if topic not in COMMANDS:
            near = find_similar(topic, ["search", *COMMANDS])
            hint = f"did you mean {near!r}?" if near else "relay help search, or relay help COMMAND"
            raise click.UsageError(f"there is no help for {quote(topic)}; {hint}")
        context = click.Context(load_command(topic), info_name=topic, parent=context)
    for line in context.get_help().splitlines():
        call.terminal.print_line(line)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; never raises."""
    call = Call(terminal=open_terminal())
    return run_guarded(call, lambda: program.main(list(arguments), prog_name="relay", standalone_mode=False, obj=call))
