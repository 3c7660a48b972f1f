"""Reads relay.toml and describes its mistakes, a sentence each: key path, what was found, what is allowed."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os.path import commonprefix
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relay.config.tables import File
from relay.errors import ConfigError, RelayError
from relay.model.text import escape_unprintable, find_similar
from relay.model.values import dataclass

MAX_FILE = 1_000_000  # bytes
_SHORT_WORD = 3  # letters
_REPLACEMENTS: Mapping[str, Mapping[str, Any]] = {
    "sources": {"provider": "custom"},
    "targets": {"forward": "http://localhost/"},
    "emails": {"to": [], "subject": "", "text": ""},
    "routes": {"to": []},
}

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_TYPE_NAMES = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}


@dataclass(frozen=True, slots=True)
class FileProblems:
    """The syntax and type mistakes of a relay.toml, a sentence each, and the tables that have some."""

    sentences: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def joined(self, others: Iterable[str]) -> tuple[str, ...]:
        """Return these mistakes and `others`, without those of `others` about a table that could not be read."""
        heads = tuple(f"{table}." for table in self.tables)
        return (*self.sentences, *(one for one in others if not one.startswith(heads or ("\0",))))


def read_file(path: Path) -> tuple[File, FileProblems]:
    """Read a relay.toml and its mistakes; each table with a mistake is replaced by an empty one.

    Raises ConfigError with the position where it is not TOML.
    """
    return parse_tables(_parse_toml(path))


def parse_tables(tables: Mapping[str, Any]) -> tuple[File, FileProblems]:
    """Return the model of parsed TOML, and its mistakes.

    Tables with a mistake are replaced by a placeholder, so that references to them are not mistakes as well.
    """
    sentences: dict[str, None] = {}
    places: dict[tuple[int | str, ...], None] = {}
    left: dict[str, Any] = {name: _copy_table(table) for name, table in tables.items()}
    while True:
        try:
            file = File.model_validate(left)
        except ValidationError as error:
            details = error.errors()
        else:
            return file, FileProblems(tuple(sentences), tuple(".".join(map(str, place)) for place in places))
        for detail in details:
            sentences[_describe_mistake(detail)] = None
            places[_find_placeholder(left, detail["loc"])] = None


def _copy_table(table: Any) -> Any:
    return dict(table) if isinstance(table, dict) else list(table) if isinstance(table, list) else table


def _find_placeholder(tables: dict[str, Any], location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Replace the table of a mistake by a placeholder, and return its location."""
    section, *rest = location
    named = _REPLACEMENTS.get(str(section))
    table = tables.get(str(section))
    if named is None or not rest or not isinstance(table, dict | list):
        tables.pop(str(section), None)
        return (section,)
    if rest[1:] == ["[key]"] and isinstance(table, dict):
        table.pop(str(rest[0]), None)  # not a valid name
    else:
        table[rest[0]] = named  # type: ignore[index] # a position in a list, or a name in a table
    return (section, rest[0])


def combine_problems(name: str, problems: Iterable[str]) -> ConfigError:
    """Return one error for several mistakes."""
    found = tuple(problems)
    count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
    return ConfigError(f"{name} has {count}: " + "; ".join(found), hint="relay check lists them", problems=found)


@contextmanager
def collect_problems(problems: list[str], where: str = "") -> Iterator[None]:
    """End the block at a RelayError and add its mistakes to `problems`, each prefixed with `where`."""
    try:
        yield
    except RelayError as error:
        several = getattr(error, "problems", (error.message,))
        problems += [where + one for one in ([error.full_text] if several == (error.message,) else several)]


def did_you_mean(word: str, allowed: Iterable[str], *, alike: float = 0.6) -> str:
    """Return `; did you mean 'x'?` for a near miss, else "". `alike` is 1.0 for equal words."""
    near = find_similar(word, allowed, alike)
    return f"; did you mean {near!r}?" if near else ""


def find_slip(word: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed word that a single typo turns into `word`, None if there is none.

    A typo replaces, adds or omits one letter, swaps two neighbours, or changes case. Words of
    three letters and less are too easily confused.
    """
    lower = word.lower()
    return next((one for one in allowed if len(one) > _SHORT_WORD and _one_slip_apart(lower, one.lower())), None)


def _one_slip_apart(one: str, other: str) -> bool:
    for _ in range(2):  # removes the common prefix and, reversed, the common suffix
        start = len(commonprefix((one, other)))  # noqa: RUF071 - letter by letter is what is wanted
        one, other = one[start:][::-1], other[start:][::-1]
    return max(len(one), len(other)) <= 1 or (len(one) == 2 and one == other[::-1])


def _parse_toml(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"there is no config at {path}", hint="relay init writes one") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="change its permissions") from None
    if len(raw) > MAX_FILE:
        raise ConfigError(f"{path} is too large to be a config", hint=f"at most {MAX_FILE} bytes")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not TOML: {escape_unprintable(str(error), 200)}", hint="correct that place"
        ) from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply", hint="write it flatter") from None


def _describe_mistake(detail: ErrorDetails) -> str:
    path = escape_unprintable(".".join(str(part) for part in detail["loc"] if part != "[key]"), 200)
    return f"{path}: {_describe_found(detail)}"


def _describe_found(detail: ErrorDetails) -> str:
    found, quoted = detail["input"], escape_unprintable(repr(detail["input"]), 80)
    match detail["type"]:
        case "extra_forbidden":
            name = str(detail["loc"][-1])
            return f"unknown key {name!r}{did_you_mean(name, _keys_at(detail['loc'][:-1]))}"
        case "literal_error":
            expected = detail["ctx"]["expected"].replace("'", "")
            allowed = expected.replace(" or ", ", ").split(", ")
            return f"{quoted} is not allowed; use {expected}{did_you_mean(str(found), allowed)}"
        case "missing":
            return "is missing"
        case "too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"{quoted} is not a name: letters, digits, dot, dash and underscore, at most 64"
        case "value_error":
            return str(detail["ctx"]["error"])
        case kind if kind in _KINDS:
            return f"must be {_KINDS[kind]}, got {_TYPE_NAMES.get(type(found), 'something else')}"
    return f"{quoted}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at `location` may have."""
    here: Any = File
    for place, part in enumerate(location):
        if place == 1 and location[0] in _REPLACEMENTS:
            continue  # the name of a source or a target, or an index
        here = _find_table(_list_keys(here)[str(part)])
    return list(_list_keys(here))


def _list_keys(table: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in table.model_fields.items()}


def _find_table(annotation: Any) -> Any:
    """Return the table class of a value: its own, or that of its items by name or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_find_table, get_args(annotation))), None)
