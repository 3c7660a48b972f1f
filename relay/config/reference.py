"""relay.toml described: its JSON Schema for editors, and docs/configuration.md, which this module prints."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from relay.config.tables import File
from relay.config.types import (
    DURATION_SCHEMA,
    ENDPOINT_SCHEMA,
    REFERENCE_SCHEMA,
    SIZE_SCHEMA,
    TOLERANCE_SCHEMA,
    format_duration,
    format_size,
)

_INTRODUCTION = """\
# Configuration

Every key of relay.toml. `relay init` writes a file to start from, `relay check` lists every mistake at once, and
`relay check --schema` prints all of this as a JSON Schema for your editor.

- **Durations** are `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`; **sizes** `"64KB"`, `"25MB"`, `"5GB"`, in thousands.
- **References** say where a secret is, never what it is: `"env:NAME"`, a variable of the environment or of a `.env`
  (beside relay.toml, or above it in the Git repository; `${NAME}` in it is not expanded), or `"vault:name"`, a secret
  in [relay's vault](secrets.md).
- **Lists** of one may be written without their brackets.
- Files and folders count from the folder of relay.toml.
"""


_PATTERN_NAMES = {
    DURATION_SCHEMA["pattern"]: "duration",
    SIZE_SCHEMA["pattern"]: "size",
    ENDPOINT_SCHEMA["pattern"]: "host:port",
    REFERENCE_SCHEMA["pattern"]: "reference",
    TOLERANCE_SCHEMA["pattern"]: "duration or `off`",
}


def build_schema() -> dict[str, Any]:
    """Return the JSON Schema of relay.toml: every key with its description, and its default as one writes it."""
    schema = _toml_schema()
    for table in (schema, *schema["$defs"].values()):
        for found in table["properties"].values():
            found.pop("title", None)
            found["description"] = found["description"].replace("`", "")
            if isinstance(found.get("default"), dict):
                del found["default"]  # the table says it of each of its keys
        table["description"] = table["description"].replace("`", "")
    return schema | {"title": "relay.toml"}


def build_page() -> str:
    """Return docs/configuration.md."""
    schema = _toml_schema()
    return "\n".join((_INTRODUCTION, *_iterate_sections("", schema, schema["$defs"])))


def _toml_schema() -> dict[str, Any]:
    """Return the schema of the models in the words of TOML, which has no null and writes units with their values."""
    schema = File.model_json_schema(by_alias=True)
    for table in (schema, *schema["$defs"].values()):
        for found in table["properties"].values():
            choices = [choice for choice in found.get("anyOf", ()) if choice.get("type") != "null"]
            if len(choices) == 1:
                found.update(choices[0])
                del found["anyOf"]
            elif choices:
                found["anyOf"] = choices
            if "default" in found:
                found["default"] = _format_default(_describe_type(found), found["default"])
            if found.get("default") in (None, [], {}, ""):
                found.pop("default", None)
    return schema


def _iterate_sections(path: str, table: dict[str, Any], tables: dict[str, Any]) -> Iterator[str]:
    """Yield the section of a table, and those of the tables below it."""
    needed = table.get("required", ())
    below: list[tuple[str, str]] = []
    rows: list[str] = []
    for key, found in table["properties"].items():
        inner = _table_in(found)
        if inner is not None:
            below.append((_path_below(path, key, found), inner))
        rows.append(_format_row(key, found, found.get("description", ""), needed=key in needed))
    if path:
        yield (f"## `{path}`\n\n| key | value | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    for place, inner in below:
        yield from _iterate_sections(place, tables[inner], tables)


def _path_below(path: str, key: str, found: dict[str, Any]) -> str:
    if found.get("type") == "object":
        return f"[{key}.NAME]"
    if found.get("type") == "array":
        return f"[[{key}]]"
    return f"[{path.strip('[]')}.{key}]" if path else f"[{key}]"


def _format_row(key: str, found: dict[str, Any], meaning: str, *, needed: bool) -> str:
    default = found.get("default")
    shown = "required" if needed else ""
    if default is not None and not isinstance(default, dict):
        shown = f"`{json.dumps(default)}`"
    cells = (f"`{key}`", _describe_type(found), shown, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _describe_type(found: dict[str, Any]) -> str:
    """Return in a few words what may stand as the value of a key."""
    if choices := found.get("anyOf"):
        one, other = (_describe_type(choice) for choice in choices)
        return f"{one} or list" if other == f"list of {one}" else f"{one} or {other}"
    if values := found.get("enum", [found["const"]] if "const" in found else []):
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    if found.get("pattern") in _PATTERN_NAMES:
        return _PATTERN_NAMES[found["pattern"]]
    if "$ref" in found or found["type"] == "object":
        return "table"
    if found["type"] == "array":
        return f"list of {_describe_type(found['items'])}"
    words = {"string": "text", "boolean": "true or false", "integer": "whole number", "number": "number"}
    limits = "minimum" in found and "maximum" in found and f", {found['minimum']:,} to {found['maximum']:,}"
    return words[found["type"]] + (limits or "")


def _format_default(kind: str, value: Any) -> Any:
    """Return a default as relay.toml has it: durations and sizes with their unit, an address as text."""
    if isinstance(value, list | tuple) and kind == "host:port":
        host, port = value
        return f"{host}:{port}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if kind == "size":
        return format_size(int(value))
    return format_duration(value) if kind.startswith("duration") else value


def _table_in(found: dict[str, Any]) -> str | None:
    """Return the name of the table that is the value of a key, or is in its list, or below its names."""
    named = found.get("patternProperties", {}).values()
    for inner in (found, *found.get("anyOf", ()), found.get("items", {}), *named):
        if "$ref" in inner:
            return str(inner["$ref"]).rpartition("/")[2]
    return None


if __name__ == "__main__":
    sys.stdout.write(build_page())
