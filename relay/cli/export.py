"""`relay export`: events as text that other tools read."""

import codecs
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import aiohttp
import click

from relay.cli import bulk
from relay.cli.client import connect
from relay.cli.faults import NothingMatched
from relay.cli.options import Call, shared
from relay.cli.queries import SearchCommand, search_text
from relay.cli.terminal import Terminal
from relay.cli.words import counted
from relay.errors import UsageError
from relay.files import create_private
from relay.model.text import size

KINDS = ("jsonl", "har", "curl", "http", "pytest")
_COUNT_HEADER = "X-Relay-Count"


@click.command("export", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option("--as", "kind", type=click.Choice(KINDS), default="jsonl", show_default=True)
@click.option("--raw", is_flag=True, help="Leave credentials in: cookies, tokens, signatures.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Instead of stdout.")
@shared
async def command(call: Call, /, query: tuple[str, ...], *, kind: str, raw: bool, output: Path | None) -> int:
    """Write events as JSON lines, HAR, curl, HTTP or pytest.

    Those that match, oldest first; 4 when none does. JSON lines are what relay import reads.
    Values of headers and query fields that usually are credentials are left out, unless --raw.
    """
    if call.json and kind != "jsonl":
        raise UsageError(f"--json and --as {kind} contradict each other", hint="leave one out")
    async with connect(call.load()) as api:
        asked = {"q": search_text(query), "as": kind, "raw": str(int(raw))}
        async with api.download("/api/export", **asked) as response:
            count = int(response.headers.get(_COUNT_HEADER, "0"))
            if not count:
                raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
            if output is None:
                await _copy(response, _writer(call.terminal), bulk.NoBar())
                return 0
            with _written(output) as file, bulk.progress(call, count, "exporting") as bar:
                taken = await _copy(response, file.write, bar)
    call.terminal.say(f"{counted(count, 'event')}, {size(taken)}, written to {output}")
    return 0


def _writer(terminal: Terminal) -> Callable[[bytes], object]:
    """Return what writes to stdout: exact bytes into a file or pipe, made harmless where a person looks."""
    if not terminal.is_terminal:
        return terminal.raw
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return lambda content: terminal.text(decoder.decode(content))


async def _copy(response: aiohttp.ClientResponse, write: Callable[[bytes], object], bar: bulk.Bar) -> int:
    taken = 0
    async for piece, is_whole in response.content.iter_chunks():
        write(piece)
        taken += len(piece)
        if is_whole:  # relay sends each event as a chunk
            bar.advance()
    return taken


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """Give a file that takes its place whole, or not at all; only its owner may read it."""
    half = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(create_private(half), "wb") as file:
            yield file
        half.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="name another file with -o"
        ) from error
    finally:
        half.unlink(missing_ok=True)
