"""The edit options of `relay replay`: method, path, query, headers and body, also in an editor."""

import asyncio
import base64
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from relay.cli.client import ApiClient
from relay.cli.options import Call
from relay.cli.output import Json, ask_line, quote
from relay.errors import UsageError

_OPTIONS = (
    click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="Change a field of the body."),
    click.option("--method", metavar="METHOD", help="Another method than the event's."),
    click.option("--path", metavar="PATH", help="Another path than the target's; also with ?query."),
    click.option("--query-string", metavar="QUERY", help="Another query string, without the ?."),
    click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Set or add a header."),
    click.option("--remove-header", "gone", multiple=True, metavar="NAME", help="Leave a header out."),
    click.option("--body", metavar="FILE", help="Another body, from a file; - is stdin."),
    click.option("--edit", is_flag=True, help="Edit the body in $VISUAL or $EDITOR first."),
)


def add_edit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change a request to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_edits(how: Json) -> Json:
    """Return the edits of the options in the format of the API; {} for none. Raises UsageError."""
    edits: Json = {
        "set": parse_assignments(how["changes"]),
        "method": how["method"],
        "path": how["path"],
        "query": how["query_string"],
        "set_headers": [_parse_header(text) for text in how["headers"]],
        "remove_headers": list(how["gone"]),
    }
    if how["body"] is not None:
        edits["body_base64"] = base64.b64encode(read_body_file(how["body"])).decode()
    return {name: value for name, value in edits.items() if value not in (None, {}, [])}


async def edit_body(call: Call, api: ApiClient, event: Json, edits: Json) -> Json:
    """Return the edits with the body from the editor. Raises UsageError if nothing was changed."""
    encoded = edits.get("body_base64")
    body = base64.b64decode(encoded) if encoded else await api.get_bytes(f"/api/events/{event['id']}/body")
    new = await _edit_until_valid(call, body)
    if new == body and encoded is None:
        raise UsageError("nothing was changed in the editor, so nothing is sent", hint="leave --edit out")
    return edits | {"body_base64": base64.b64encode(new).decode()}


async def _edit_until_valid(call: Call, body: bytes) -> bytes:
    is_json = _find_json_problem(body) == ""
    draft = body
    while True:
        draft = await _open_editor(draft, ".json" if is_json else ".txt")
        if not body.endswith(b"\n") and not draft.endswith(b"\n\n"):
            draft = draft.removesuffix(b"\n")  # the line end that editors add after the last line
        problem = _find_json_problem(draft) if is_json else ""
        if not problem:
            return draft
        refusal = UsageError(f"the edited body is not JSON: {problem}", hint="edit it again")
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise refusal
        call.terminal.print_message(f"relay: {refusal.message}")
        if await ask_line(call.terminal, "Enter edits it again, Ctrl-C aborts. ") is None:
            raise refusal


async def _open_editor(content: bytes, suffix: str) -> bytes:
    """Return content as saved in the editor."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    if not editor and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--edit opens vi, and there is no terminal", hint="set EDITOR to a command that edits a file")
    editor = editor or "vi"
    try:
        edited = await asyncio.to_thread(
            lambda: click.edit(content, editor=editor, require_save=False, extension=suffix)
        )
    except (click.ClickException, ValueError, OSError) as error:
        reason = error.message if isinstance(error, click.ClickException) else f"{editor}: {error}"
        raise UsageError(f"--edit: {reason}", hint="nothing was sent; set EDITOR to your editor") from error
    return edited or b""


def _find_json_problem(body: bytes) -> str:
    """Return where and why a body is not JSON; "" if it is."""
    from relay.model.payload import PayloadError, parse_json  # only for --edit

    try:
        parse_json(body, bounded=False)
    except PayloadError as error:
        place = f"line {error.line}, column {error.column}: " if error.line else ""
        return f"{place}{error.message}"
    return ""


def _parse_header(text: str) -> list[str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--header: {quote(text)} is not a header", hint="write 'X-Env: dev'")
    return [name.strip(), value.strip()]


def read_body_file(name: str) -> bytes:
    """Return the content of the file of --body; - is stdin. Raises UsageError."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"--body: cannot read {quote(name)}: {error.strerror}") from error


def parse_assignments(texts: tuple[str, ...]) -> dict[str, str]:
    """Return `path=value` texts as paths with values. Raises UsageError for a text without `=`."""
    found: dict[str, str] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise UsageError(f"--set: {quote(text)} is not path=value", hint="write data.object.amount=500")
        found[path.strip()] = value
    return found
