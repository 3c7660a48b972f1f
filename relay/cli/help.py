"""`relay help`: the search language, or the help of a command."""

from difflib import get_close_matches

import click

from relay.cli.options import Call, shared_options
from relay.cli.output import quote
from relay.model.search import list_grammar


@click.command("help")
@click.argument("topic", required=False)
@shared_options
async def help_command(call: Call, topic: str | None) -> int:
    """Explain the search language, or a command."""
    if topic == "search":
        _explain_search(call)
        return 0
    context = click.get_current_context().find_root()
    assert isinstance(context.command, click.Group)
    if topic is not None:
        name, found = topic, context.command.get_command(context, topic)
        if found is None:
            near = get_close_matches(topic, ["search", *context.command.list_commands(context)], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "relay help search, or relay help COMMAND"
            raise click.UsageError(f"there is no help on {quote(topic)}; {hint}")
        context = click.Context(found, info_name=name, parent=context)
    for line in context.get_help().splitlines():
        call.terminal.line(line)
    return 0


def _explain_search(call: Call) -> None:
    entries = list_grammar()
    if call.json:
        for term, meaning in entries:
            call.terminal.json({"term": term, "meaning": meaning})
        return
    call.terminal.table([(term, "bold"), meaning] for term, meaning in entries)
    call.terminal.line()
    call.terminal.line("relay events source:stripe has:failed after:2h -type:ping")
    call.terminal.line("relay replay --query '\"card declined\" type:charge.* OR type:refund.*' --dry-run")
