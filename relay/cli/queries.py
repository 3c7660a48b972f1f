"""Searches as words of a command line: `-type:ping` is one of them, and times are those of this computer."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import click

from relay.model.search import grammar, local_moments

# -v and -vv are options; everything longer with one dash is a term that must not hold.
_NEGATED = re.compile(r"-(?!v+$)[^-].+", re.DOTALL)


class SearchCommand(click.Command):
    """A command whose words are a search; its help lists what can be written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell negated terms from options: both begin with a dash."""
        valued = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not (option.is_flag or option.count)
            for name in option.opts
        }
        options: list[str] = []
        words: list[str] = []
        left = iter(args)
        for arg in left:
            if arg == "--":
                words += left
            elif arg in valued:
                options += [arg, *([value] if (value := next(left, None)) is not None else [])]
            elif arg.startswith("-") and not _is_term(arg, valued):
                options.append(arg)
            else:
                words.append(arg)
        return super().parse_args(ctx, [*options, "--", *words])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the grammar of a search."""
        del ctx
        with formatter.section("Search"):
            formatter.write_dl(list(grammar()))


def search_text(words: Iterable[str]) -> str:
    """Return the words of a command line as one search."""
    return local_moments(" ".join(words), datetime.now(UTC))


def search_option(text: str) -> str:
    """Return the value of an option that is a search."""
    return search_text([text])


def _is_term(arg: str, valued: Iterable[str]) -> bool:
    # -oFILE is -o FILE.
    short = {name for name in valued if not name.startswith("--")}
    return _NEGATED.fullmatch(arg) is not None and (arg[:2] not in short or ":" in arg)
