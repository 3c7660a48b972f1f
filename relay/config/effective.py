"""The effective configuration, with the origin of each value: an option, the file, the environment, or the default."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from relay.config.build import Config
from relay.config.tables import File
from relay.config.types import format_duration, format_size
from relay.model.values import dataclass

Lines = dict[tuple[str, str], int]

_HEADER = re.compile(r"\[\[?\s*(?P<path>[^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_PART = r"""(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"(?P<path>{_PART}(?:\s*\.\s*{_PART})*)\s*=")
# The tokens of a value, as far as needed to find its end.
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

    A key below a table counts for the table as well: `[targets.app.retry]` is where `retry` of `targets.app` is.
    """
    found: Lines = {}
    table: list[str] = []
    routes = 0
    for number, statement in _iterate_statements(text):
        if header := _HEADER.match(statement):
            table = _split_path(header["path"])
            routes += table == ["routes"]
            if table[0] == "routes":
                table = [f"routes {routes}", *table[1:]]
            _note_line(found, table, number)
        elif key := _KEY.match(statement):
            _note_line(found, [*table, *_split_path(key["path"])], number)
    return found


def _note_line(found: Lines, path: list[str], number: int) -> None:
    for place, key in enumerate(path):
        found.setdefault((".".join(path[:place]), key), number)


def _split_path(path: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, path)]


def _iterate_statements(text: str) -> list[tuple[int, str]]:
    """Yield the first line of each statement with its number; lines inside strings and brackets start none."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFact:
    """A value: its table and key, and its origin.

    `line` is its line in the file, 0 if it is set elsewhere or is the default; `where` is its origin as text.
    """

    table: str
    key: str
    value: str
    line: int = 0
    where: str = "default"


_REFERENCE = re.compile(r"(env|vault):([^\s,]+)")


def effective_facts(config: Config, listening: Mapping[str, str]) -> tuple[ConfigFact, ...]:
    """Return all effective values; `listening` gives the actual addresses of `ingress` and `dashboard`."""
    kept = [_describe_references(config, fact) for fact in _apply_overrides(config, listening)]
    return (*kept, *_added_targets(config), *_found_secrets(config))


def _apply_overrides(config: Config, listening: Mapping[str, str]) -> Iterator[ConfigFact]:
    flags = config.overrides
    for fact in file_facts(config.file, config.path):
        match fact.table, fact.key:
            case "server", "ingress" | "dashboard":
                where = fact.where if getattr(flags, fact.key) is None else f"--{fact.key}"
                _, port = getattr(config.server, fact.key)
                has_moved = port and int(listening[fact.key].rpartition(":")[2]) != port
                moved = f"; port {port} was in use" if has_moved else ""
                yield replace(fact, value=listening[fact.key], where=f"{where}{moved}")
            case "server", "data_dir":
                where = "--data-dir" if flags.data_dir is not None else fact.where
                yield replace(fact, value=str(config.server.data_dir), where=where)
            case "tunnel", "provider" if flags.no_tunnel:
                yield replace(fact, value=config.tunnel.provider, where="--no-tunnel")
            case _:
                yield fact


def _describe_references(config: Config, fact: ConfigFact) -> ConfigFact:
    """Add the origin of the values of references: the environment, a .env, the vault, or none."""
    origins = [_find_origin(config, kind, name) for kind, name in _REFERENCE.findall(fact.value)]
    return replace(fact, where="; ".join([fact.where, *origins])) if origins else fact


def _find_origin(config: Config, kind: str, name: str) -> str:
    if kind == "vault":
        return f"{name} is in the vault" if name in config.vault.names else f"{name} is not in the vault"
    if name not in config.environment.values:
        return f"{name} is not set"
    return f"{name} is set in {_describe_place(config, name)}"


def _describe_place(config: Config, name: str) -> str:
    file = config.environment.file
    return str(file) if file and name in config.environment.from_file else "the environment"


def _added_targets(config: Config) -> Iterator[ConfigFact]:
    """Yield the targets that the command line added."""
    flags = config.overrides
    for number, url in enumerate(flags.forward, start=1):
        name = "forward" if number == 1 else f"forward-{number}"
        yield ConfigFact(table=f"targets.{name}", key="forward", value=url, where="--forward")
    if flags.handlers is not None:
        path = str(Path.cwd() / flags.handlers)
        yield ConfigFact(table="targets.handlers", key="handler", value=path, where="--handlers")


def _found_secrets(config: Config) -> Iterator[ConfigFact]:
    table = "secrets found by their name"  # those without a table in relay.toml
    for secret in config.spare:
        kind, _, name = secret.reference.partition(":")
        if kind == "env":
            yield ConfigFact(table=table, key=name, value=secret.reference, where=_describe_place(config, name))


_SIZES = frozenset({"max_body", "max_size"})
_NUMBERS = frozenset({"factor", "jitter"})  # written as floats, but not durations
_OWN_TABLES = ("signature", "catch_up")  # of a source: shown after its other keys


def file_facts(file: File, path: Path | None) -> tuple[ConfigFact, ...]:
    """Return all effective values by table in the file's order; secrets only as references."""
    lines = _find_lines(path)
    found: list[ConfigFact] = []
    for table, model in _iterate_tables(file):
        for name, value in model:
            is_set = name in model.model_fields_set
            if value is None or name in _OWN_TABLES or (value in ([], {}) and not is_set):
                continue
            key = type(model).model_fields[name].alias or name
            line = _find_line(lines, table, key) if is_set else 0
            where = f"line {line}" if line else "relay.toml" if is_set else "default"
            found.append(ConfigFact(table=table, key=key, value=_format_value(value, key), line=line, where=where))
    return tuple(found)


def _iterate_tables(file: File) -> Iterator[tuple[str, BaseModel]]:
    for section, value in file:
        match value:
            case BaseModel():
                yield section, value
            case list():
                yield from ((f"{section} {number}", table) for number, table in enumerate(value, start=1))
            case dict():
                for name, table in value.items():
                    yield f"{section}.{name}", table
                    below = ((key, getattr(table, key, None)) for key in _OWN_TABLES)
                    yield from ((f"{section}.{name}.{key}", inner) for key, inner in below if inner is not None)


def _find_lines(path: Path | None) -> Lines:
    """Return the lines where keys are set; none if the file can no longer be read."""
    try:
        return find_key_lines(path.read_text(encoding="utf-8-sig")) if path else {}
    except (OSError, UnicodeDecodeError):
        return {}


def _find_line(lines: Lines, table: str, key: str) -> int:
    """Return the line of a key; that of its table if it is in an inline table."""
    while (table, key) not in lines and table:
        table, _, key = table.rpartition(".")
    return lines.get((table, key), 0)


def _format_value(value: object, key: str) -> str:
    """Return a value in the format of relay.toml; `key` distinguishes sizes and durations from plain numbers."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if key in _SIZES:
            return format_size(value)
        case float():
            return f"{value:g}" if key in _NUMBERS else format_duration(value)
        case (str() as host, int() as port):
            return f"{host}:{port}"
        case list():
            return ", ".join(_format_value(item, key) for item in value)
        case BaseModel() | dict():
            kept = ((name, item) for name, item in dict(value).items() if item not in (None, [], {}))
            return ", ".join(f"{name} = {_format_value(item, name)}" for name, item in kept)
    return str(value)
