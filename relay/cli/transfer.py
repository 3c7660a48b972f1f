"""`relay export`: events as text that other tools read."""

import codecs
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import aiohttp
import click

from relay.cli import bulk_replay
from relay.cli.client import connect
from relay.cli.error_output import NothingMatched
from relay.cli.options import Call, shared_options
from relay.cli.output import Terminal, format_count
from relay.cli.search import SearchCommand, build_search
from relay.errors import UsageError
from relay.model.text import format_size
from relay.resources import create_private
from relay.transfer.har_import import is_har, read_records

EXPORT_KINDS = ("jsonl", "har", "curl", "http", "pytest")
_COUNT_HEADER = "X-Relay-Count"


@click.command("export", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option("--as", "kind", type=click.Choice(EXPORT_KINDS), default="jsonl", show_default=True)
@click.option("--raw", is_flag=True, help="Leave credentials in: cookies, tokens, signatures.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Instead of stdout.")
@shared_options
async def export_command(call: Call, /, query: tuple[str, ...], *, kind: str, raw: bool, output: Path | None) -> int:
    """Write events as JSON lines, HAR, curl, HTTP or pytest.

    Those that match, oldest first; 4 when none does. JSON lines are what relay import reads.
    Values of headers and query fields that usually are credentials are left out, unless --raw.
    """
    if call.json and kind != "jsonl":
        raise UsageError(f"--json and --as {kind} contradict each other", hint="leave one out")
    async with connect(call.load()) as api:
        asked = {"q": build_search(query), "as": kind, "raw": str(int(raw))}
        async with api.download("/api/export", **asked) as response:
            count = int(response.headers.get(_COUNT_HEADER, "0"))
            if not count:
                raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
            if output is None:
                await _copy_response(response, _build_stdout_writer(call.terminal), bulk_replay.HiddenProgressBar())
                return 0
            with _replace_file(output) as file, bulk_replay.show_progress(call, count, "exporting") as bar:
                taken = await _copy_response(response, file.write, bar)
    call.terminal.say(f"{format_count(count, 'event')}, {format_size(taken)}, written to {output}")
    return 0


def _build_stdout_writer(terminal: Terminal) -> Callable[[bytes], object]:
    """Return what writes to stdout: exact bytes into a file or pipe, made harmless where a person looks."""
    if not terminal.is_terminal:
        return terminal.raw
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return lambda content: terminal.text(decoder.decode(content))


async def _copy_response(
    response: aiohttp.ClientResponse, write: Callable[[bytes], object], bar: bulk_replay.ProgressBar
) -> int:
    taken = 0
    async for piece, is_whole in response.content.iter_chunks():
        write(piece)
        taken += len(piece)
        if is_whole:  # relay sends each event as a chunk
            bar.advance()
    return taken


@contextmanager
def _replace_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that takes its place whole, or not at all; only its owner may read it."""
    half = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(create_private(half), "wb") as file:
            yield file
        half.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="name another file with -o") from error
    finally:
        half.unlink(missing_ok=True)


_CHUNK_SIZE = 256 * 1024
_MAX_HAR_SIZE = 500_000_000  # bytes: a HAR file has to be read whole


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@shared_options
async def import_command(call: Call, /, file: Path) -> int:
    """Take in events that were exported, or a HAR file.

    FILE is what relay export wrote as JSON lines, or a HAR file of any tool; - is stdin. Each event is kept
    once, as it was; it is sent nowhere, and makes nothing that arrives a duplicate. 1 when a line could not
    be read, 4 when there was nothing in it.
    """
    with _open_input(file) as source:
        total = 0 if source is sys.stdin.buffer else os.fstat(source.fileno()).st_size
        async with connect(call.load(), creates=True) as api:
            with bulk_replay.show_progress(call, total, "importing", sizes=True) as bar:
                found = await api.upload("/api/import", _read_pieces(source, bar))
    if call.json:
        call.terminal.json(found)
    for item in found["problems"]:
        call.terminal.say(f"relay: line {item['line']}: {item['problem']}")
    if not found["imported"] + found["known"] + found["refused"]:
        raise NothingMatched(f"{file} holds no event", hint="relay export writes such files")
    refused = f", {format_count(found['refused'], 'line')} could not be read" if found["refused"] else ""
    call.terminal.say(f"{format_count(found['imported'], 'event')} imported, {found['known']} were here{refused}")
    for note in found["retention"]:
        call.terminal.say(f"relay: {note}")
    return 1 if found["refused"] else 0


async def _read_pieces(source: BinaryIO, bar: bulk_replay.ProgressBar) -> AsyncIterator[bytes]:
    piece = source.read(_CHUNK_SIZE)
    if is_har(piece):
        for record in read_records(piece + source.read(_MAX_HAR_SIZE)):
            yield json.dumps(record).encode() + b"\n"
        return
    while piece:
        yield piece
        bar.advance(len(piece))
        piece = source.read(_CHUNK_SIZE)


@contextmanager
def _open_input(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a file that is there") from error
