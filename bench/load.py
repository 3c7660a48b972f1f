"""A load generator for one keep-alive HTTP/1.1 server, run in a process of its own.

`python bench/load.py URL CONNECTIONS SECONDS` posts 1 KB GitHub pushes, each with a random delivery id and
one valid signature (GitHub signs the body alone), and prints requests a second and latencies in milliseconds.
"""

import asyncio
import hashlib
import hmac
import json
import sys
import time
from random import getrandbits
from urllib.parse import urlsplit

SECRET = b"bench-secret"
BODY = json.dumps({"ref": "refs/heads/main", "commits": [{"id": "c" * 40, "message": "m" * 900}]}).encode()[:1100]


def request(path: str, host: str) -> tuple[bytes, bytes]:
    signature = hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        "User-Agent: GitHub-Hookshot/bench\r\n"
        f"X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(BODY)}\r\n"
        "X-GitHub-Delivery: "
    )
    return head.encode(), b"\r\n\r\n" + BODY


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, parts: tuple[bytes, bytes], took: list[float], failures: list[str]) -> None:
        self.head, self.tail = parts
        self.took, self.failures = took, failures
        self.buffer = b""
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.started = time.perf_counter()
        self.transport.write(self.head + b"%036x" % getrandbits(128) + self.tail)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self.took.append(time.perf_counter() - self.started)
        if not head.startswith(b"HTTP/1.1 200"):
            self.failures.append(head.partition(b"\r\n")[0].decode())
        self.buffer = rest[length:]
        if self.open:
            self.send()


async def load(url: str, connections: int, seconds: float) -> dict[str, float]:
    parts = urlsplit(url)
    took: list[float] = []
    failures: list[str] = []
    loop = asyncio.get_running_loop()
    wire = request(parts.path, parts.netloc)
    made = [
        await loop.create_connection(lambda: Connection(wire, took, failures), parts.hostname, parts.port)
        for _ in range(connections)
    ]
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    done, spent = len(took), time.perf_counter() - began
    for transport, connection in made:
        connection.open = False
        transport.close()
    ordered = sorted(took)
    return {
        "rate": done / spent,
        "p50": ordered[len(ordered) // 2] * 1000,
        "p99": ordered[int(len(ordered) * 0.99)] * 1000,
        "failures": len(failures),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
