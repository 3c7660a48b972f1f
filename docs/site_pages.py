"""The pages of the documentation site that are made from the code: commands, API, providers. A hook of mkdocs.

`mkdocs build` calls `on_files` and `on_page_markdown`; `python docs/site_pages.py cli.md` prints one page.
"""

import ast
import html
import re
import shlex
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from relay import __version__
from relay.api.routes import build_document
from relay.cli.program import COMMANDS, load_command, program
from relay.providers.catalogue import PROVIDERS
from relay.providers.provider import Provider
from relay.providers.samples import sample_types

ROOT = Path(__file__).parents[1]
# Pages of the site that are files elsewhere in the repository.
ELSEWHERE = {
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "examples/flask.md": "examples/flask/README.md",
    "examples/django.md": "examples/django/README.md",
    "examples/fastapi.md": "examples/fastapi/README.md",
    "examples/handlers.md": "examples/handlers/README.md",
    "examples/notifications.md": "examples/notifications/README.md",
    "examples/welcome-email.md": "examples/welcome-email/README.md",
}
_API_INTRODUCTION = """\
On the dashboard's port, below `/api`. Every call needs the token: `Authorization: Bearer $(relay token)`. Times are
RFC 3339 in UTC, errors are `{"error": {"code", "message", "hint"}}`.
The same as OpenAPI 3.1: `GET /api/openapi.json`."""
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def build_pages() -> Mapping[str, str]:
    """Return every generated page by its path in the site."""
    pages = {"cli.md": build_cli_page(), "api.md": build_api_page(), "providers.md": build_provider_index()}
    pages |= {f"providers/{provider.name}.md": build_provider_page(provider) for provider in PROVIDERS.values()}
    return pages | {page: (ROOT / file).read_text(encoding="utf-8") for page, file in ELSEWHERE.items()}


def build_cli_page() -> str:
    """Return every command with its arguments and options, from click."""
    lines = ["# Command line", "", *_format_help(program, "relay"), ""]
    for name in COMMANDS:
        lines += _format_command(load_command(name), f"relay {name}", "##")
    return "\n".join(lines)


def _format_command(command: click.Command, path: str, heading: str) -> Iterator[str]:
    yield from (f"{heading} {path}", "", *_format_help(command, path), "")
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _format_command(below, f"{path} {name}", heading + "#")


def _format_help(command: click.Command, path: str) -> Iterator[str]:
    with click.Context(command, info_name=path) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield from ("```text", f"{path} {usage}", "```", "")
        yield from (re.sub(r"\s+", " ", text) + "\n" for text in (command.help or "").split("\n\n"))
        options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
        if options:
            yield from ("| option | |", "|---|---|")
        for option in options:
            names = ", ".join(option.opts) + (f" {option.make_metavar(context)}" if not option.is_flag else "")
            yield f"| `{_escape(names)}` | {_escape(option.help or '')} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def build_api_page() -> str:
    """Return every call of the JSON API, from the OpenAPI document that a running relay gives."""
    document = build_document(__version__)
    lines = ["# JSON API", "", _API_INTRODUCTION, ""]
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            lines += _format_call(method.upper(), path, call)
    lines += ["# Objects", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"## {name}", "", schema.get("description", ""), "", *_format_fields(schema), ""]
    return "\n".join(lines)


def _format_call(method: str, path: str, call: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {method} {path}", "", call.get("description") or call.get("summary") or "", "")
    parameters = [one for one in call.get("parameters", ()) if one.get("in") == "query"]
    if parameters:
        yield from ("| parameter | |", "|---|---|")
        yield from (f"| `{one['name']}` | {_escape(one.get('description', ''))} |" for one in parameters)
        yield ""
    body = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        yield from (f"Takes {_format_type(body)}.", "")
    for status, answer in call.get("responses", {}).items():
        content = next(iter(answer.get("content", {}).items()), None)
        if content is not None and not status.startswith(("4", "5")):
            type_, schema = content[0], content[1].get("schema", {})
            shown = _format_type(schema) if type_ == "application/json" else f"`{type_}`"
            yield from (f"Answers {status} with {shown}.", "")


def _format_fields(schema: Mapping[str, Any]) -> Iterator[str]:
    if "properties" not in schema:
        return
    yield from ("| field | type | |", "|---|---|---|")
    for name, field in schema["properties"].items():
        yield f"| `{name}` | {_format_type(field)} | {_escape(field.get('description', ''))} |"


def _format_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_format_type(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_format_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("const") or schema.get("type") or "any value")


def build_provider_index() -> str:
    """Return the list of providers with the variable each one's secret is in."""
    lines = [
        "# Providers",
        "",
        "How each provider signs, and how to set it up. `relay providers NAME` prints the same with your own address.",
        "",
        "| provider | name | variable | signature |",
        "|---|---|---|---|",
    ]
    for provider in sorted(PROVIDERS.values(), key=lambda one: one.title.lower()):
        schemes = ", ".join(dict.fromkeys(scheme.title for scheme in provider.schemes))
        link = f"[{provider.title}](providers/{provider.name}.md)"
        lines.append(f"| {link} | `{provider.name}` | `{provider.secret_variable}` | {schemes} |")
    return "\n".join(lines)


def build_provider_page(provider: Provider) -> str:
    """Return one provider: set-up, signature, answer, samples, and the notes of its entry in the catalogue."""
    url = f"https://YOUR-TUNNEL/webhooks/{provider.name}"
    lines = [f"# {provider.title}", "", "```sh", f"relay providers {provider.name}", "```", "", "## Set it up", ""]
    lines += [f"{number}. {html.escape(step, quote=False)}" for number, step in enumerate(provider.list_steps(url), 1)]
    lines += ["", f"Documentation: <{provider.docs}>", "", "## How it signs", ""]
    lines += [
        f"- {scheme.title}" + (f' (`scheme = "{scheme.name}"`)' if scheme.name else "") for scheme in provider.schemes
    ]
    if provider.own_headers:
        lines += ["", "It is recognised by " + ", ".join(f"`{name}`" for name in provider.own_headers) + "."]
    lines += ["", "The secret is looked for in " + ", ".join(f"`{name}`" for name in provider.secret_env) + "."]
    lines += ["", "```toml", f"[sources.{provider.name}]", f'secret = "env:{provider.secret_variable}"', "```", ""]
    if provider.answer:
        lines += ["## What it expects", "", f"{provider.answer}.", ""]
    samples = sample_types(provider)
    if samples:
        lines += [
            "## Samples",
            "",
            "```sh",
            *(f"relay trigger {provider.name} {shlex.quote(type_)}" for type_ in samples),
            "```",
            "",
        ]
    notes = list(_find_notes(provider))
    if notes:
        lines += ["## Notes", "", *(f"- {html.escape(note, quote=False)}" for note in notes), ""]
    return "\n".join(lines)


def _find_notes(provider: Provider) -> Iterator[str]:
    """Yield the comments inside the provider's entry, neighbouring lines joined."""
    for path in sorted((ROOT / "relay/providers/catalogue").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if f'name="{provider.name}"' in source:
            break
    else:
        return
    entry = next((node for node in ast.walk(ast.parse(source)) if _names_provider(node, provider.name)), None)
    if entry is None:
        return
    previous, note = 0, ""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type != tokenize.COMMENT or not entry.lineno <= token.start[0] <= (entry.end_lineno or 0):
                continue
            text, line = token.string.lstrip("# "), token.start[0]
            if note and line != previous + 1:
                yield note
                note = ""
            note, previous = f"{note} {text}".strip(), line
    if note:
        yield note


def _names_provider(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and any(
        keyword.arg == "name" and isinstance(keyword.value, ast.Constant) and keyword.value.value == name
        for keyword in node.keywords
    )


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the site."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - only where a site is built

    for path, text in build_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to files outside docs/ to the page of the site that shows them."""
    path = page.file.src_uri
    source = ELSEWHERE.get(path, f"docs/{path}")
    return _LINK.sub(lambda link: _rewrite_link(link, path, source), markdown)


def _rewrite_link(link: re.Match[str], path: str, source: str) -> str:
    outside = source != f"docs/{path}"
    if not outside and not link[1].startswith("../"):
        return link[0]
    target = (ROOT / source).parent.joinpath(link[1]).resolve()
    if target.is_dir():
        target /= "README.md"
    try:
        name = str(target.relative_to(ROOT))
    except ValueError:
        return link[0]
    pages = {file: page for page, file in ELSEWHERE.items()} | {"README.md": "index.md"}
    site = pages.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
    if site is None:
        return link[0]
    return f"]({'../' * path.count('/')}{site}{link[2] or ''})"


if __name__ == "__main__":
    print(build_pages()[sys.argv[1]])  # noqa: T201 - a script
