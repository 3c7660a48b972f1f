"""On which line of a TOML file each key is set: headers and keys only, never what looks like one inside a value."""

import re

Lines = dict[tuple[str, str], int]

_HEADER = re.compile(r"\[\[?\s*(?P<path>[^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_PART = r"""(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"(?P<path>{_PART}(?:\s*\.\s*{_PART})*)\s*=")
# What a value is made of, as far as it matters for where it ends.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|'
    r"'''.*?'{3,5}|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|[\[{]|[\]}]|\n",
    re.DOTALL,
)


def find_key_lines(text: str) -> Lines:
    """Return the line of each (table, key), tables by their dotted name; the n-th of `[[routes]]` is `routes n`.

    A key below a table is told for the table as well: `[targets.app.retry]` is where `retry` of `targets.app` is.
    """
    found: Lines = {}
    table: list[str] = []
    routes = 0
    for number, statement in _statements(text):
        if header := _HEADER.match(statement):
            table = _parts(header["path"])
            routes += table == ["routes"]
            if table[0] == "routes":
                table = [f"routes {routes}", *table[1:]]
            _note(found, table, number)
        elif key := _KEY.match(statement):
            _note(found, [*table, *_parts(key["path"])], number)
    return found


def _note(found: Lines, path: list[str], number: int) -> None:
    for place, key in enumerate(path):
        found.setdefault((".".join(path[:place]), key), number)


def _parts(path: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, path)]


def _statements(text: str) -> list[tuple[int, str]]:
    """Return each statement's first line with its number: what stands inside strings and brackets begins none."""
    starts = [0]
    depth, is_header = 0, text.lstrip().startswith("[")
    for token in _TOKEN.finditer(text):
        if token[0] in "[{" and not is_header:
            depth += 1
        elif token[0] in "]}" and not is_header:
            depth = max(depth - 1, 0)
        elif token[0] == "\n" and not depth:
            starts.append(token.end())
            is_header = text[token.end() :].lstrip(" \t")[:1] == "["
    return [(text.count("\n", 0, start) + 1, text[start:].partition("\n")[0].strip()) for start in starts]
