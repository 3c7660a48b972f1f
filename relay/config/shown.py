"""What relay.toml says, value by value, with the line where it says so: for people who want to change it."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from relay.config.file import File
from relay.config.key_lines import Lines, find_key_lines
from relay.config.units import duration_text, size_text
from relay.model.fact import Fact

_SIZES = frozenset({"max_body", "max_size"})
_NUMBERS = frozenset({"factor", "jitter"})  # written as floats, and no durations
_OWN_TABLES = frozenset({"signature", "catch_up"})  # of a source: shown after its other keys


def facts(file: File, path: Path | None) -> tuple[Fact, ...]:
    """Return every value that is in force, table by table in the file's order; secrets are references only."""
    lines = _lines(path)
    found: list[Fact] = []
    for table, model in _tables(file):
        for name, field in type(model).model_fields.items():
            value = getattr(model, name)
            given = name in model.model_fields_set
            if value is None or name in _OWN_TABLES or (value in ([], {}) and not given):
                continue
            key = field.alias or name
            line = _line_of(lines, table, key) if given else 0
            where = f"line {line}" if line else "relay.toml" if given else "default"
            found.append(Fact(table=table, key=key, value=_said(value, key), line=line, where=where))
    return tuple(found)


def _tables(file: File) -> Iterator[tuple[str, BaseModel]]:
    yield "server", file.server
    yield "tunnel", file.tunnel
    for name, source in file.sources.items():
        yield f"sources.{name}", source
        if source.signature is not None:
            yield f"sources.{name}.signature", source.signature
        if source.catch_up is not None:
            yield f"sources.{name}.catch_up", source.catch_up
    yield from ((f"targets.{name}", target) for name, target in file.targets.items())
    yield from ((f"routes {number}", route) for number, route in enumerate(file.routes, start=1))
    yield from ((f"emails.{name}", email) for name, email in file.emails.items())
    if file.smtp is not None:
        yield "smtp", file.smtp
    yield "log", file.log
    yield "retention", file.retention


def _lines(path: Path | None) -> Lines:
    """Return where each key is set; a file that cannot be read any more tells of none."""
    try:
        return find_key_lines(path.read_text(encoding="utf-8-sig")) if path else {}
    except (OSError, UnicodeDecodeError):
        return {}


def _line_of(lines: Lines, table: str, key: str) -> int:
    """Return the line of a key; that of its table where it stands inside one that is written on a line."""
    while (table, key) not in lines and table:
        table, _, key = table.rpartition(".")
    return lines.get((table, key), 0)


def _said(value: object, key: str) -> str:
    """Return a value as relay.toml writes it; `key` tells sizes from counts and plain numbers from durations."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if key in _SIZES:
            return size_text(value)
        case float():
            return f"{value:g}" if key in _NUMBERS else duration_text(value)
        case (str() as host, int() as port):
            return f"{host}:{port}"
        case list():
            return ", ".join(_said(item, key) for item in value)
        case BaseModel():
            pairs = ((name, getattr(value, name)) for name in type(value).model_fields)
            return ", ".join(
                f"{name} = {_said(item, name)}" for name, item in pairs if item not in (None, [], {})
            )
        case dict():
            return ", ".join(f"{name} = {_said(item, name)}" for name, item in value.items())
    return str(value)
