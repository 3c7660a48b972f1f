"""Line breaks of a template: for its reader alone, as in JSX."""

import re

from jinja2.ext import Extension

_PIECE = re.compile(
    r"""
    (?P<kept><(pre|textarea)\b.*?</\2\s*>)       # every space of it shows
    | (?P<tag><[/!]?[a-zA-Z](?:"[^"]*"|'[^']*'|\{%.*?%\}|\{\{.*?\}\}|[^>"'])*>)
    | (?P<code>\{%.*?%\}|\{\{.*?\}\}|\{\#.*?\#\})
    | (?P<break>\s*\n\s*)
    """,
    re.DOTALL | re.VERBOSE,
)
_IN_TAG = re.compile(
    r"""
    (?P<value>"[^"]*"|'[^']*')
    | (?:\s*\n\s*(?=\{%\ *if\b)|\s*(?=\{%\ *el))(?P<condition>\{%.*?%\})\s*
    | (?P<end>\s*\n\s*(?=/?>|\{%\ *endif\b))
    | (?P<break>\s*\n\s*)
    """,
    re.DOTALL | re.VERBOSE,
)


class TemplateLines(Extension):
    """Drops line breaks and indents when a template is compiled.

    A line break between two words is a space. Beside a tag, `{{ }}` or `{% %}` it is nothing: a space that
    shows stands on the same line, or is written `{{ ' ' }}`. Between attributes it is a space, which belongs
    to the condition where one is written on a line of its own. `<pre>` and `<textarea>` are left as they are.
    Comments keep the numbers of the lines, for errors.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002 (jinja2 names them)
        """Return the source as it is compiled."""
        return _PIECE.sub(_join, source)


def _join(piece: re.Match[str]) -> str:
    if piece["tag"]:
        return _IN_TAG.sub(_join_attributes, piece["tag"])
    if piece["break"]:
        before, after = piece.string[: piece.start()][-1:], piece.string[piece.end() :][:1]
        space = "" if before in ("", ">", "}") or after in ("", "<", "{") else " "
        return space + _count_lines(piece)
    return piece[0]


def _join_attributes(piece: re.Match[str]) -> str:
    if piece["value"]:
        return piece["value"]
    if piece["condition"]:
        return f"{_count_lines(piece)}{piece['condition']} "
    return _count_lines(piece) if piece["end"] is not None else f" {_count_lines(piece)}"


def _count_lines(piece: re.Match[str]) -> str:
    lines = piece[0].count("\n")
    return "{#" + "\n" * lines + "#}" if lines else ""
