"""`relay import`: events from a file, kept as they were."""

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from relay.cli import bulk
from relay.cli.client import connect
from relay.cli.faults import NothingMatched
from relay.cli.options import Call, shared
from relay.cli.words import counted
from relay.errors import UsageError
from relay.transfer.har import is_har, records

_CHUNK = 256 * 1024
_LARGEST_HAR = 500_000_000  # bytes: a HAR file has to be read whole


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@shared
async def command(call: Call, /, file: Path) -> int:
    """Take in events that were exported, or a HAR file.

    FILE is what relay export wrote as JSON lines, or a HAR file of any tool; - is stdin. Each event is kept
    once, as it was; it is sent nowhere, and makes nothing that arrives a duplicate. 1 when a line could not
    be read, 4 when there was nothing in it.
    """
    with _opened(file) as source:
        total = 0 if source is sys.stdin.buffer else os.fstat(source.fileno()).st_size
        async with connect(call.load(), creates=True) as api:
            with bulk.progress(call, total, "importing", sizes=True) as bar:
                found = await api.upload("/api/import", _pieces(source, bar))
    if call.json:
        call.terminal.json(found)
    for item in found["problems"]:
        call.terminal.say(f"relay: line {item['line']}: {item['problem']}")
    if not found["imported"] + found["known"] + found["refused"]:
        raise NothingMatched(f"{file} holds no event", hint="relay export writes such files")
    refused = f", {counted(found['refused'], 'line')} could not be read" if found["refused"] else ""
    call.terminal.say(f"{counted(found['imported'], 'event')} imported, {found['known']} were here{refused}")
    for note in found["retention"]:
        call.terminal.say(f"relay: {note}")
    return 1 if found["refused"] else 0


async def _pieces(source: BinaryIO, bar: bulk.Bar) -> AsyncIterator[bytes]:
    piece = source.read(_CHUNK)
    if is_har(piece):
        for record in records(piece + source.read(_LARGEST_HAR)):
            yield json.dumps(record).encode() + b"\n"
        return
    while piece:
        yield piece
        bar.advance(len(piece))
        piece = source.read(_CHUNK)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a file that is there") from error
