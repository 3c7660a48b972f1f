"""`relay export`, `relay import` and `relay catch-up`: events to files, from files, and from a provider's API."""

import asyncio
import codecs
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import click

from relay.cli.client import ApiClient, ApiError
from relay.cli.error_output import NothingMatched
from relay.cli.events import SearchCommand, build_search
from relay.cli.formatting import format_count, format_moment
from relay.cli.http_client import ConnectionLostError, Response
from relay.cli.options import Call, shared_options
from relay.cli.output import Json, Part, ProgressBar, Terminal, show_progress
from relay.errors import CatchUpError, UsageError
from relay.model.text import escape_unprintable, format_size
from relay.platform import create_private

EXPORT_KINDS = ("jsonl", "har", "curl", "http", "pytest")
_COUNT_HEADER = "x-relay-count"
_CHUNK_SIZE = 256 * 1024
_MAX_HAR_SIZE = 500_000_000  # bytes: a HAR file has to be read whole
_POLL_INTERVAL = 0.1
_MAX_QUEUE_POLLS = 30  # while a quiet relay sends the fetched events


@click.command("export", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option("--as", "kind", type=click.Choice(EXPORT_KINDS), default="jsonl", show_default=True)
@click.option("--raw", is_flag=True, help="Leave credentials in: cookies, tokens, signatures.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Instead of stdout, which - is too."
)
@shared_options
async def export_command(call: Call, /, query: tuple[str, ...], *, kind: str, raw: bool, output: Path | None) -> None:
    """Write events as JSON lines, HAR, curl, HTTP or pytest.

    Those that match, oldest first; 4 when none does. JSON lines are what relay import reads.
    Values of headers and query fields that usually are credentials are left out, unless --raw.
    """
    if call.json and kind != "jsonl":
        raise UsageError(f"--json and --as {kind} contradict each other", hint="leave one out")
    async with call.connect() as api:
        options = {"q": build_search(query), "as": kind, "raw": str(int(raw))}
        async with api.download("/api/export", **options) as response:
            count = int(response.headers.get(_COUNT_HEADER, "0"))
            if not count:
                raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
            if output in (None, Path("-"), Path("/dev/stdout")):  # a file behind stdout may have content already
                await _copy_response(response, _build_stdout_writer(call.terminal), ProgressBar())
                return
            with _replace_file(output) as file, show_progress(call.terminal, count, "exporting") as bar:
                size = await _copy_response(response, file.write, bar)
    call.terminal.print_message(f"{format_count(count, 'event')}, {format_size(size)}, written to {output}")


def _build_stdout_writer(terminal: Terminal) -> Callable[[bytes], object]:
    """Return a writer to stdout: exact bytes into a file or pipe, escaped text on a terminal."""
    if not terminal.out.isatty():
        return terminal.write_bytes
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return lambda content: terminal.print_text(decoder.decode(content))


async def _copy_response(response: Response, write: Callable[[bytes], object], bar: ProgressBar) -> int:
    """Write the response in pieces and return its size."""
    size = 0
    async for piece in response.iter_pieces():  # relay sends each event as a chunk
        write(piece)
        size += len(piece)
        bar.advance()
    return size


@contextmanager
def _replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a private file that is replaced atomically.

    A link stays a link, and a pipe or device is written to directly.
    """
    place = Path(os.path.realpath(path))
    half = place.with_name(f".{place.name}.part")
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        with os.fdopen(create_private(half), "wb") as file:
            yield file
        half.replace(place)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="name another file with -o") from error
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)


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
        lines = read_lines(source)
        async with call.connect(creates=True) as api:
            with show_progress(call.terminal, total, "importing", in_bytes=True) as bar:
                found = await api.upload("/api/import", _send_lines(lines, bar))
    if call.json:
        call.terminal.print_json(found)
    for item in found["problems"]:
        call.terminal.print_message(f"relay: line {item['line']}: {item['problem']}")
    if not found["imported"] + found["known"] + found["refused"]:
        raise NothingMatched(f"{file} holds no event", hint="relay export writes such files")
    refused = f", {format_count(found['refused'], 'line')} could not be read" if found["refused"] else ""
    call.terminal.print_message(
        f"{format_count(found['imported'], 'event')} imported, {found['known']} were here{refused}"
    )
    for note in found["retention"]:
        call.terminal.print_message(f"relay: {note}")
    return 1 if found["refused"] else 0


def read_lines(source: BinaryIO) -> Iterator[bytes]:
    """Return a file in pieces, a HAR file as JSON lines. Raises UsageError for a HAR file that cannot be read."""
    piece = source.read(_CHUNK_SIZE)
    if re.match(rb'(\xef\xbb\xbf)?\s*\{\s*"log"\s*:', piece):
        from relay.transfer.records import read_records  # imports pydantic; only for HAR files

        # Complete before anything is sent: relay would treat an aborted request as an error.
        records = list(read_records(piece + source.read(_MAX_HAR_SIZE)))
        return (json.dumps(record).encode() + b"\n" for record in records)
    return chain([piece], iter(lambda: source.read(_CHUNK_SIZE), b""))


async def _send_lines(pieces: Iterable[bytes], bar: ProgressBar) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        bar.advance(len(piece))


@contextmanager
def _open_input(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a file that exists") from error


@click.command("catch-up")
@click.argument("source")
@click.option("--since", metavar="AGE|TIME", default="24h", show_default=True, help="2h, 7d or 2026-01-31T12:00.")
@click.option("--dry-run", is_flag=True, help="Show what was missed, and store nothing.")
@click.option("--no-forward", is_flag=True, help="Store what was missed, and forward nothing.")
@shared_options
async def catch_up_command(call: Call, source: str, *, since: str, dry_run: bool, no_forward: bool) -> None:
    """Fetch what SOURCE's provider sent and relay missed; what is here already is not stored twice.

    Works for GitHub, Stripe and Svix. 0 also when nothing was missed, 3 when the provider refuses the credential.
    """
    request = {"source": source, "since": since, "dry_run": dry_run, "forward": not no_forward, "wait": 0}
    async with call.connect(creates=True) as api:
        queued_before = await _count_queued(api)
        result = await _follow_catch_up(call, api, request)
        queued = 0 if api.is_persistent else await _wait_for_queue(api, queued_before)
    say = call.terminal.print_message
    if call.json:
        call.terminal.print_json(result)
    else:
        call.terminal.print_table(map(_format_missed_event, result["events"]))
        hidden = (result["missed"] - result["lost"] if dry_run else result["recovered"]) - len(result["events"])
        if hidden > 0:
            say(f"and {format_count(hidden, 'event')} more")
    error = result["error"]
    if result["state"] != "done" and result["found"]:
        say(f"stopped: {result['summary']}; run it again to continue")
    if error:
        raise ApiError(error["message"], hint=error["hint"], code=error["code"])
    if result["state"] != "done":
        raise CatchUpError(f"the catch-up of {source} was {result['state']}", hint="run it again")
    nothing = result["found"] and not result["missed"]
    say(f"{result['summary']}{'; nothing was missed' if nothing else ''}")
    if queued:
        say(f"{format_count(queued, 'delivery')} still queued; relay start sends what is")


async def _count_queued(api: ApiClient) -> int:
    queue = (await api.get("/api/status"))["queue"]
    return int(queue["pending"] + queue["running"])


async def _wait_for_queue(api: ApiClient, queued_before: int) -> int:
    """Wait for the deliveries created since, and return how many are left; a quiet relay ends with its command."""
    for _ in range(_MAX_QUEUE_POLLS):
        left = await _count_queued(api) - queued_before
        if left <= 0:
            return 0
        await asyncio.sleep(_POLL_INTERVAL)
    return left


async def _follow_catch_up(call: Call, api: ApiClient, request: Json) -> Json:
    """Start a catch-up and return it when it has ended; cancel it if interrupted."""
    path, printed = f"/api/catch-up/{quote(request['source'], safe='')}", ""
    bar: ProgressBar | None = None
    try:
        with ExitStack() as stack:
            state: Json = await api.post("/api/catch-up", request)
            while True:
                if bar is None and state["missed"]:
                    bar = stack.enter_context(show_progress(call.terminal, state["missed"], "recovering"))
                if state["finished_at"]:
                    return state
                if bar is not None:
                    bar.update(state["recovered"] + state["lost"])
                if state["detail"] and state["detail"] != printed:  # why it waits
                    call.terminal.print_message(f"relay: {escape_unprintable(state['detail'], 200)}")
                printed = state["detail"]
                await asyncio.sleep(_POLL_INTERVAL)
                state = await api.get(path)
    except asyncio.CancelledError:
        with suppress(ApiError, ConnectionLostError):
            ended = await api.post(f"{path}/cancel")
            message = f"cancelled: {ended['summary']}; run it again to continue"
            call.terminal.print_message(message)
        raise


def _format_missed_event(event: Json) -> list[Part]:
    number = f"#{event['id']}" if event["id"] is not None else "-"
    sent = f"sent {format_moment(event['sent_at'])}"
    return [(number, "bold"), event["type"] or "unknown", event["key"], (sent, "dim")]
