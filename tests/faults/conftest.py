"""The fault kit: targets that do everything a target should not."""

import asyncio
import struct
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET

import pytest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@dataclass
class Nasty:
    """A target at work: how often it was connected to, and the requests it has read."""

    port: int = 0
    connections: int = 0
    requests: list = field(default_factory=list)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hooks"


def reset(writer):
    """Break a connection off with a reset rather than a goodbye."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def forever(writer, piece, pause=0.0):
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)


class Faults:
    """What a target may do once it has read a request; each is a coroutine of its own."""

    async def silence(self, _):
        await asyncio.sleep(60)

    async def hang_up(self, writer):
        writer.close()

    async def reset_at_once(self, writer):
        reset(writer)

    async def garbage(self, writer):
        writer.write(b"\x16\x03\x01\x00\xff" * 40 + b"\r\n\r\n")

    async def ssh(self, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await asyncio.sleep(60)

    async def trickled_head(self, writer):
        await forever(writer, b"X", 0.05)

    async def endless_head(self, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await forever(writer, b"X-More: " + b"y" * 1000 + b"\r\n")

    async def huge_header(self, writer):
        writer.write(HEAD + b"X-Huge: " + b"y" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n")

    async def endless_continue(self, writer):
        await forever(writer, b"HTTP/1.1 100 Continue\r\n\r\n", 0.005)

    async def endless_body(self, writer):
        writer.write(HEAD + b"\r\n")
        await forever(writer, b"z" * 65536)

    async def trickled_body(self, writer):
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
        await forever(writer, b"z", 0.05)

    async def reset_in_mid_body(self, writer):
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    async def short_body(self, writer):
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\nhalf")

    async def broken_chunks(self, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhalf\r\n")

    async def bomb(self, writer):
        writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")

    async def redirect_to_metadata(self, writer):
        writer.write(b"HTTP/1.1 307 Moved\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n")

    async def redirect_to_itself(self, writer):
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /hooks\r\nContent-Length: 0\r\n\r\n")

    async def loop_detected(self, writer):
        writer.write(b"HTTP/1.1 508 Loop Detected\r\nContent-Length: 0\r\n\r\n")

    async def wait_for_years(self, writer):
        writer.write(b"HTTP/1.1 503 No\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n")

    async def two_answers(self, writer):
        # The second one is nobody's: no later request may take it for its own.
        writer.write(HEAD + b"Content-Length: 0\r\n\r\nHTTP/1.1 404 Theirs\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.2)


@pytest.fixture
async def nasty():
    """Open targets that behave as told, by the name of a fault."""
    async with AsyncExitStack() as stack:

        async def opened(fault):
            return await stack.enter_async_context(_serve(getattr(Faults(), fault)))

        yield opened


@asynccontextmanager
async def _serve(fault):
    it, talks = Nasty(), set()

    async def talk(reader, writer):
        talks.add(asyncio.current_task())
        it.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                it.requests.append(head + await reader.readexactly(length))
                await fault(writer)
                if not writer.is_closing():
                    await writer.drain()
                if fault.__name__ != "two_answers":
                    break
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=2**20)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
