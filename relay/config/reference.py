"""The reference of relay.toml: its JSON Schema, docs/configuration.md and the file of `relay init`."""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
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
  (next to relay.toml, or above it in the Git repository; `${NAME}` in it is not expanded), or `"vault:name"`, a secret
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
    """Return the JSON Schema of relay.toml: each key with its description and its default as written in the file."""
    schema = _toml_schema()
    for table in (schema, *schema["$defs"].values()):
        for found in table["properties"].values():
            found.pop("title", None)
            found["description"] = found["description"].replace("`", "")
            if "patternProperties" in found:
                found["additionalProperties"] = False
            if isinstance(found.get("default"), dict):
                del found["default"]  # each key of the table has its own default
        table["description"] = table["description"].replace("`", "")
    return schema | {"title": "relay.toml"}


def build_page() -> str:
    """Return docs/configuration.md."""
    schema = _toml_schema()
    return "\n".join((_INTRODUCTION, *_iterate_sections("", schema, schema["$defs"])))


def _toml_schema() -> dict[str, Any]:
    """Return the schema of the models for TOML, which has no null and writes values with units."""
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
    below: list[tuple[str, str]] = []
    rows: list[str] = []
    for key, found in table["properties"].items():
        inner = _table_in(found)
        if inner is not None:
            below.append((_path_below(path, key, found), inner))
        default = found.get("default")
        default_text = "required" if key in table.get("required", ()) else ""
        if default is not None and not isinstance(default, dict):
            default_text = f"`{json.dumps(default)}`"
        cells = (f"`{key}`", _describe_type(found), default_text, found["description"])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
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


def _describe_type(found: dict[str, Any]) -> str:
    """Return a short description of the type of a key."""
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
    """Return a default in the format of relay.toml: durations and sizes with their unit, an address as text."""
    if isinstance(value, list | tuple) and kind == "host:port":
        host, port = value
        return f"{host}:{port}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if kind == "size":
        return format_size(int(value))
    return format_duration(value) if kind.startswith("duration") else value


def _table_in(found: dict[str, Any]) -> str | None:
    """Return the table name for the value of a key, of its list items, or of its named values."""
    named = found.get("patternProperties", {}).values()
    for inner in (found, *found.get("anyOf", ()), found.get("items", {}), *named):
        if "$ref" in inner:
            return str(inner["$ref"]).rpartition("/")[2]
    return None


_HEAD = """\
# relay.toml: relay works without it; the commented lines show the defaults, or an example where there is none.
# `relay check` lists every mistake, and docs/configuration.md describes every key. Never write secrets into this file:
# "env:NAME" names a variable, which may be set in a .env beside it, and "vault:NAME" a secret kept under a password by
# `relay vault set NAME`.
"""
# The tables of the file with their keys: None is the default, anything else an example.
_EXAMPLES: dict[str, dict[str, Any]] = {
    "server": dict.fromkeys(("ingress", "dashboard", "data_dir", "max_body", "inbox"))
    | {"allow_targets": ["10.0.0.5:3000"]},
    "tunnel": {
        "provider": None,
        "domain": "my-team.ngrok.app",
        "command": "cloudflared tunnel --url {ingress_url}",
        "url_pattern": "https://[a-z0-9-]+[.]tunnel[.]example",
        "public_url": "https://hooks.example.dev",
    },
    "sources.stripe": {
        "secret": "env:STRIPE_WEBHOOK_SECRET",
        "verify": None,
        "tolerance": "5m",
        "events": ["payment_intent.*", "invoice.paid"],
        "duplicates": None,
        "allow_ips": ["192.0.2.1", "10.0.0.0/24"],
        "rate_limit": {"requests_per_minute": 60, "burst": 10},
        "max_body": "64KB",
        "content_types": ["application/json"],
        "schema": "schemas/payment.json",
        "email_field": "user.email",
        "require_idempotency_key": True,
    },
    "sources.stripe.catch_up": {"key": "env:STRIPE_API_KEY"},
    "sources.github.catch_up": {"token": "env:GITHUB_TOKEN", "repository": "owner/name"},
    "sources.billing": {
        "provider": "custom",
        "secret": "env:BILLING_SECRET",
        "idempotency_key": "header:Idempotency-Key",
        "event_type": "body:/type",
    },
    "sources.billing.signature": {
        "scheme": None,
        "header": "X-Signature",
        "digest": None,
        "encoding": "hex",
        "prefix": "sha256=",
        "content": "{body}",
    },
    "sources.twilio.messages": {"match": None, "window": None, "unknown": None},
    "targets.app": {"forward": "http://localhost:3000/webhooks"}
    | dict.fromkeys(("timeout", "order", "retry", "sign"))
    | {"headers": {"set": {"X-Env": "dev"}, "remove": ["X-Debug"]}},
    "targets.receipt": {"email": "receipt"},
    "targets.functions": {"handler": "handlers.py"},
    "routes": {
        "source": "stripe",
        "events": ["invoice.*"],
        "when": "payload.data.object.amount_due > 1000",
        "to": ["app", "receipt"],
    },
    "emails.receipt": {
        "to": "{{ payload.data.object.customer_email }}",
        "subject": "Paid: {{ payload.data.object.number }}",
        "text": "Thank you.",
        "cc": "boss@example.com",
        "attach": ["payload"],
        "once": None,
        "per_hour": None,
    },
    "smtp": {"host": "smtp.example.com"}
    | dict.fromkeys(("port", "security"))
    | {
        "username": "env:SMTP_USERNAME",
        "password": "env:SMTP_PASSWORD",
        "sender": "Relay <relay@example.com>",
        "allow_recipients": ["*@example.com"],
    }
    | dict.fromkeys(("retry", "timeout", "insecure", "verify_tls")),
    "log": {"level": None},
    "retention": dict.fromkeys(("max_age", "max_events", "max_size")),
}
_WIDEST = 44  # columns of a setting, above which its meaning moves to the next line


def build_template() -> str:
    """Return the file that `relay init` writes: the tables of `_EXAMPLES`, each setting with its meaning."""
    schema = _toml_schema()
    tables, parts, section = schema["$defs"], [_HEAD], ""
    for path, keys in _EXAMPLES.items():
        top, *below = path.split(".")
        found, name = schema["properties"][top], _table_in(schema["properties"][top])
        for key in below[1:]:
            name = _table_in(tables[name or ""]["properties"][key])
        mark = "" if top in ("server", "tunnel") else "# "
        if top != section:
            parts.append(
                "\n" + textwrap.fill(found["description"], 118, initial_indent="# ", subsequent_indent="# ") + "\n"
            )
        elif mark:
            parts.append("#\n")
        section = top
        head = f"[[{path}]]" if found.get("type") == "array" else f"[{path}]"
        table = tables[name or ""]
        note = f"  # {table['description'].partition(': ')[2].rstrip('.')}" if below[1:] else ""
        parts.append(f"{mark}{head}{note}\n")
        properties = {key: table["properties"][key] for key in keys}
        settings = {key: f"# {key} = {_format_toml(value, properties[key], tables)}" for key, value in keys.items()}
        width = min(max(map(len, settings.values())), _WIDEST)
        for key, setting in settings.items():
            parts.append(_format_setting(setting, width, _describe_choices(properties[key])))
    return "".join(parts)


def _format_setting(setting: str, width: int, meaning: str) -> str:
    """Return a setting followed by its meaning in a second column, which may continue on further lines."""
    text = meaning.rstrip(".")
    text = text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text
    lines = textwrap.wrap(text, 120 - width - 5, break_on_hyphens=False)
    blank = f"#{' ' * (width - 1)}  # "
    rows = [f"{setting:<{width}}  # {lines[0]}", *(blank + line for line in lines[1:])]
    if len(setting) > width:
        rows = [setting, *(blank + line for line in lines)]
    return "\n".join(rows) + "\n"


def _describe_choices(found: Mapping[str, Any]) -> str:
    """Return the meaning of a key, with its allowed values unless the meaning names them all."""
    meaning, values = str(found["description"]), [str(value) for value in found.get("enum", ())]
    left = [value for value in values if value not in meaning and value != str(found.get("default"))]
    return f"{meaning.rstrip('.')}; one of {', '.join(values)}" if left else meaning


def _format_toml(value: Any, found: Mapping[str, Any], tables: Mapping[str, Any]) -> str:
    """Return a value as TOML; None means the default of the key."""
    if value is None:
        value = found["default"]
        if isinstance(value, dict):  # in its own units; the schema of its table has those of relay.toml
            inner = tables[_table_in(dict(found)) or ""]["properties"]
            value = {key: inner[key]["default"] for key in value if "default" in inner[key]}
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_format_toml(one, {}, tables)}' for key, one in value.items())} }}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(build_template() if sys.argv[1:] == ["--init"] else build_page())
