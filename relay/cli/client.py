"""A client of the JSON API: of the running relay, else of a quiet one opened for the command."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from relay.cli.http_client import Body, ConnectionLostError, Response, open_request
from relay.cli.output import Json
from relay.errors import RelayError, StoreBusyError, UsageError
from relay.model.text import escape_unprintable
from relay.platform import is_data_dir_held, is_of_another_user

if TYPE_CHECKING:
    from relay.config.build import Config

CONNECT_LIMIT = 10.0  # seconds that another command may use the data, or a starting relay may take
_ANSWER_LIMIT = 4.0  # seconds that a running relay may take to respond
_POLL = 0.1
_TRANSFER_IDLE = 300.0  # seconds without a byte
_STREAM_IDLE = 45.0  # the stream sends something every 15 s
_EXIT_CODES = dict.fromkeys(("bad_request", "config", "target_refused", "media_type"), 2) | dict.fromkeys(
    ("tunnel", "no_token", "credential_refused", "wrong_password", "vault_paused", "vault_locked"), 3
)
_MAX_MESSAGE_SIZE = 4 * 1024 * 1024


class ApiError(RelayError):
    """An error response of the API; message and hint are those of the API."""

    def __init__(self, message: str, *, hint: str = "", code: str = "", status: int = 500) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.exit_code = _EXIT_CODES.get(code, 1)


class ApiClient:
    """Calls the JSON API; `is_persistent` is False if its relay was opened for this command."""

    def __init__(self, url: str, token: str, *, is_persistent: bool) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.is_persistent = is_persistent

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Return the response to GET. Raises ApiError, and ConnectionLostError if relay has exited."""
        return await self._json("GET", add_query(path, query))

    async def post(self, path: str, body: Json | None = None) -> Any:
        """Return the response to POST. Raises as `get` does."""
        return await self._json("POST", path, json.dumps(body or {}).encode())

    async def put(self, path: str, body: Json) -> Any:
        """Return the response to PUT. Raises as `get` does."""
        return await self._json("PUT", path, json.dumps(body).encode())

    async def delete(self, path: str) -> Any:
        """Return the response to DELETE. Raises as `get` does."""
        return await self._json("DELETE", path)

    async def get_bytes(self, path: str) -> bytes:
        """Return the exact bytes of the response to GET. Raises as `get` does."""
        async with self._call("GET", path) as response:
            return await response.read()

    @asynccontextmanager
    async def download(self, path: str, **query: str) -> AsyncIterator[Response]:
        """Return the response to GET with an unread body. Raises as `get` does."""
        async with self._call("GET", add_query(path, query), idle=_TRANSFER_IDLE) as response:
            yield response

    async def upload(self, path: str, content: AsyncIterator[bytes]) -> Any:
        """Post JSON lines as they are produced and return the response. Raises as `get` does."""
        return await self._json("POST", path, content, content_type="application/x-ndjson", idle=_TRANSFER_IDLE)

    async def stream(self) -> AsyncGenerator[tuple[str, int | None], None]:
        """Yield name and event id of each message from now on; ends when relay exits."""
        with suppress(ConnectionLostError):
            async with self._call("GET", "/api/stream", idle=_STREAM_IDLE) as response:
                async for message in _read_messages(response.iter_pieces()):
                    yield message

    async def _json(self, method: str, path: str, body: Body = b"", **options: Any) -> Any:
        async with self._call(method, path, body, **options) as response:
            content = await response.read()
            try:
                return json.loads(content)
            except ValueError as error:
                raise ConnectionLostError(
                    "another program answers, not relay", hint="relay doctor says where the running one is"
                ) from error

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, body: Body = b"", *, content_type: str = "application/json", idle: float = 60.0
    ) -> AsyncIterator[Response]:
        headers = self._headers | ({"Content-Type": content_type} if body else {})
        async with open_request(self._url + path, method, headers, body, idle=idle) as response:
            if response.status >= 400:
                raise _parse_api_error(response.status, await response.read())
            yield response


def add_query(path: str, query: Mapping[str, str | int | None]) -> str:
    """Return a path with a query string. Raises UsageError for a value that is not UTF-8."""
    fields = {name: str(value) for name, value in query.items() if value is not None}
    try:
        return f"{path}?{urlencode(fields)}" if fields else path
    except UnicodeEncodeError as error:
        # Arguments may be any bytes; those that are not UTF-8 are surrogates.
        text = escape_unprintable(str(error.object), 100)
        raise UsageError(f"'{text}' is not text in UTF-8", hint="write it in UTF-8") from error


async def fetch_url(url: str, seconds: float) -> tuple[int, bytes]:
    """Return status and body of GET `url`, or 0 and the reason without a response; follows no redirects."""
    try:
        async with asyncio.timeout(seconds), open_request(url, idle=seconds) as response:
            return response.status, await response.read()
    except TimeoutError:
        return 0, f"{url} does not answer within {seconds:g} s".encode()
    except ConnectionLostError as error:
        cause = error.__cause__ or error
        return 0, f"{url} does not answer: {str(cause) or type(cause).__name__}".encode()


@asynccontextmanager
async def connect(config: "Config", *, secrets: bool = False, creates: bool = False) -> AsyncIterator[ApiClient]:
    """Connect to the running relay of the config's data_dir, else to a quiet one, until the block ends.

    With `secrets` the quiet one opens the vault first, if its password is given and relay.toml needs it.
    `creates` is for commands that add data: only they create a missing database.
    Raises StoreBusyError if another program uses the data for longer than CONNECT_LIMIT.
    """
    async with AsyncExitStack() as stack:
        if not creates and has_no_data(config.server.data_dir):
            from tempfile import TemporaryDirectory  # not needed if a relay is running

            folder = Path(stack.enter_context(TemporaryDirectory(prefix="relay-")))
            config = replace(config, server=replace(config.server, data_dir=folder))
        data_dir = config.server.data_dir

        async def open_quietly() -> ApiClient:
            from relay.app import run_relay  # 0.5 s of imports, not needed if a relay is running
            from relay.cli.passwords import unlock_unattended  # only for commands that need secrets

            unlocked = await unlock_unattended(config) if secrets else config
            relay = await stack.enter_async_context(run_relay(unlocked, quiet=True))
            return _open_client(data_dir, relay.dashboard_url, is_persistent=False)

        yield await _connect_or_open(data_dir, open_quietly)


@asynccontextmanager
async def connect_store(data_dir: Path, *, is_read: bool = True) -> AsyncIterator[ApiClient]:
    """Connect to the running relay of `data_dir`, else to its store, until the block ends: see `StoreClient`.

    `is_read` as for `open_store`.

    Raises StoreBusyError as `connect` does.
    """
    async with AsyncExitStack() as stack:

        async def open_it() -> ApiClient:
            from relay.cli.store_client import StoreClient  # not needed if a relay is running
            from relay.store import open_store

            return StoreClient(await stack.enter_async_context(open_store(data_dir, is_read=is_read)))

        yield await _connect_or_open(data_dir, open_it)


async def connect_running(data_dir: Path) -> ApiClient | None:
    """Return a client of the running relay of `data_dir`; None if there is none."""
    url = await find_running_relay(data_dir)
    return _open_client(data_dir, url, is_persistent=True) if url else None


async def find_running_relay(data_dir: Path) -> str | None:
    """Return the dashboard URL of the running relay of `data_dir`, None if there is none.

    The token is only sent to this address: to the process that holds the lock. Raises ConnectionLostError for one
    that does not respond, such as after Ctrl-Z.
    """
    path = data_dir / "running.json"
    if is_of_another_user(path):
        return None
    try:
        noted = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    url = noted.get("dashboard_url") if isinstance(noted, dict) else None
    if not isinstance(url, str) or not is_data_dir_held(data_dir):
        return None
    url = url.rstrip("/")
    try:
        async with asyncio.timeout(_ANSWER_LIMIT), open_request(f"{url}/healthz") as response:
            return url if response.status == 200 else None
    except ConnectionLostError:
        return None
    except TimeoutError as error:
        raise ConnectionLostError(
            f"the relay on {data_dir} (pid {noted.get('pid')}) does not answer",
            hint="fg lets one go on that Ctrl-Z has stopped; otherwise end that process",
        ) from error


def has_no_data(data_dir: Path) -> bool:
    """Return whether a folder has no database and no relay that is about to create one."""
    try:
        (data_dir / "relay.db").lstat()
    except FileNotFoundError:
        return not is_data_dir_held(data_dir)
    except OSError:
        return False  # opening the folder reports what is wrong with it
    return False


async def _connect_or_open(data_dir: Path, open_it: Callable[[], Awaitable[ApiClient]]) -> ApiClient:
    """Connect to the running relay of `data_dir`, else to what `open_it` opens when the data is not in use."""
    until = time.monotonic() + CONNECT_LIMIT
    while True:
        api = await connect_running(data_dir)
        if api is not None:
            return api
        try:
            return await open_it()
        except StoreBusyError:
            # Another command is running, or a relay is just starting.
            if time.monotonic() > until:
                raise
            await asyncio.sleep(_POLL)


def _open_client(data_dir: Path, url: str, *, is_persistent: bool) -> ApiClient:
    gc.enable()
    return ApiClient(url, read_token(data_dir), is_persistent=is_persistent)


def read_token(data_dir: Path) -> str:
    """Return the token of dashboard and API; "" if there is none, as with dashboard_auth = "off"."""
    try:
        return (data_dir / "token").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _parse_api_error(status: int, body: bytes) -> ApiError:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    error = value.get("error") if isinstance(value, dict) else None
    fields = error if isinstance(error, dict) else {}
    return ApiError(
        escape_unprintable(str(fields.get("message") or f"relay answered {status}"), 500),
        hint=escape_unprintable(str(fields.get("hint") or ""), 500),
        code=str(fields.get("code") or ""),
        status=status,
    )


async def _read_messages(pieces: AsyncIterable[bytes]) -> AsyncGenerator[tuple[str, int | None], None]:
    """Yield name and id of each server-sent event that has data."""
    fields: dict[str, str] = {}
    waiting = b""
    async for piece in pieces:
        *lines, waiting = (waiting + piece).split(b"\n")
        if len(waiting) > _MAX_MESSAGE_SIZE:
            raise ConnectionLostError("the stream contains a line that is too long")
        for line in lines:
            if line:
                name, _, value = line.decode("ascii", "replace").partition(": ")
                fields[name] = value
                continue
            if "data" in fields:
                number = fields.get("id", "")
                yield fields.get("event", ""), int(number) if number.isdigit() else None
            fields = {}
