"""The JSON API as commands use it: of the relay that runs, else of a quiet one opened for the moment."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from yarl import URL

from relay.config import Config
from relay.errors import RelayError, StoreBusyError
from relay.model.payload import PayloadError, parse_json
from relay.model.text import escape_unprintable
from relay.resources import is_of_another_user
from relay.store import is_data_dir_held

Json = dict[str, Any]
Bytes = bytes  # a method of that name stands in the way below

CONNECT_LIMIT = 10.0  # seconds that another command may hold the data, or a starting relay may take
_POLL = 0.1
_CALL_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5)
_TRANSFER_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=300)
_STREAM_TIMEOUT = aiohttp.ClientTimeout(
    total=None, sock_connect=5, sock_read=45
)  # the stream says something every 15 s
_EXIT_CODES = {
    "bad_request": 2,
    "config": 2,
    "target_refused": 2,
    "tunnel": 3,
    "no_token": 3,
    "credential_refused": 3,
    "media_type": 2,
    "wrong_password": 3,
    "vault_paused": 3,
    "vault_locked": 3,
}
_MAX_MESSAGE_SIZE = 4 * 1024 * 1024


class ApiError(RelayError):
    """The API refused a call; the sentence and the hint are its own."""

    def __init__(self, sentence: str, *, hint: str = "", code: str = "", status: int = 500) -> None:
        super().__init__(sentence, hint=hint)
        self.code = code
        self.status = status
        self.exit_code = _EXIT_CODES.get(code, 1)


class ConnectionLostError(RelayError):
    """The relay that a command spoke to went away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMessage:
    """One message of the stream: its name, its JSON, and the id to resume after."""

    name: str
    value: Json
    id: int | None


class ApiClient:
    """Calls of the JSON API. `lasting`: a relay of its own, rather than one opened for this command."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, lasting: bool) -> None:
        self._session = session
        self._url = url
        self.lasting = lasting

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Return what GET gives. Raises ApiError, and GoneError when relay went away."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        return await self._json("GET", path, params=given)

    async def post(self, path: str, body: Json | None = None) -> Any:
        """Return what POST gives. Raises ApiError, and GoneError when relay went away."""
        return await self._json("POST", path, json=body or {})

    async def put(self, path: str, body: Json) -> Any:
        """Return what PUT gives. Raises ApiError, and GoneError when relay went away."""
        return await self._json("PUT", path, json=body)

    async def delete(self, path: str) -> Any:
        """Return what DELETE gives. Raises ApiError, and GoneError when relay went away."""
        return await self._json("DELETE", path)

    async def bytes(self, path: str) -> bytes:
        """Return the exact bytes that GET gives. Raises as `get` does."""
        async with self._call("GET", path) as response:
            return await response.read()

    @asynccontextmanager
    async def download(self, path: str, **query: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the answer to GET, its body yet to be read, however long it is. Raises as `get` does."""
        async with self._call("GET", path, params=query, timeout=_TRANSFER_TIMEOUT) as response:
            yield response

    async def upload(self, path: str, content: AsyncIterator[Bytes]) -> Any:
        """Post JSON lines as they come and return what that gives. Raises as `get` does."""
        headers = {"Content-Type": "application/x-ndjson"}
        return await self._json("POST", path, data=content, headers=headers, timeout=_TRANSFER_TIMEOUT)

    async def stream(self, last: int | None = None) -> AsyncGenerator[StreamMessage, None]:
        """Yield what happens from now on, after event `last` where given; ends when relay goes away."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        with suppress(ConnectionLostError):
            async with self._call("GET", "/api/stream", headers=headers, timeout=_STREAM_TIMEOUT) as response:
                async for frame in _read_messages(response.content):
                    yield frame

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        async with self._call(method, path, **options) as response:
            return await response.json()

    @asynccontextmanager
    async def _call(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(
                method, URL(self._url + path, encoded=True), allow_redirects=False, **options
            ) as response:
                if response.status >= 400:
                    raise await _read_api_error(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ConnectionLostError(
                "the running relay does not answer any more", hint="is it still there?"
            ) from error


async def fetch_url(url: str, seconds: float) -> tuple[int, bytes]:
    """Return status and body of GET `url`, 0 and the reason where nothing answers; no redirect is followed."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return 0, f"{url} does not answer: {str(error) or type(error).__name__}".encode()


@asynccontextmanager
async def connect(config: Config, *, secrets: bool = False, creates: bool = False) -> AsyncIterator[ApiClient]:
    """Speak to the relay that runs on the config's data_dir, else to a quiet one until the block ends.

    With `secrets` the quiet one opens the vault first, where its password is given and relay.toml needs it.
    `creates` is for commands that bring something new: only they make a database where there is none.
    Raises StoreBusyError when something else holds the data for longer than PATIENCE.
    """
    async with AsyncExitStack() as stack:
        if not creates and has_no_data(config.server.data_dir):
            config = _replace_data_dir(config, Path(stack.enter_context(TemporaryDirectory(prefix="relay-"))))
        url, lasting = await _open_relay(config, stack, secrets=secrets)
        session = await stack.enter_async_context(_open_session(config.server.data_dir))
        gc.enable()
        yield ApiClient(session, url, lasting=lasting)


@asynccontextmanager
async def connect_running(config: Config) -> AsyncIterator[ApiClient | None]:
    """Speak to the relay that runs on the config's data_dir; None where none does."""
    url = await find_running_relay(config.server.data_dir)
    if url is None:
        yield None
        return
    async with _open_session(config.server.data_dir) as session:
        yield ApiClient(session, url, lasting=True)


async def find_running_relay(data_dir: Path) -> str | None:
    """Return the dashboard's address of the relay that runs on `data_dir`, None where none does.

    The token is only ever sent where this says: to the process that holds the lock.
    """
    path = data_dir / "running.json"
    if is_of_another_user(path):
        return None
    try:
        noted = parse_json(path.read_bytes())
    except (OSError, PayloadError):
        return None
    url = noted.get("dashboard_url") if isinstance(noted, dict) else None
    if not isinstance(url, str) or not is_data_dir_held(data_dir):
        return None
    return url.rstrip("/") if await _is_answering(url.rstrip("/")) else None


def has_no_data(data_dir: Path) -> bool:
    """Say whether there is no database in a folder, nor a relay that is about to make one."""
    try:
        (data_dir / "relay.db").lstat()
    except FileNotFoundError:
        return not is_data_dir_held(data_dir)
    except OSError:
        return False  # what is wrong with the folder is said when it is opened
    return False


def _replace_data_dir(config: Config, data_dir: Path) -> Config:
    return replace(config, server=replace(config.server, data_dir=data_dir))


async def _open_relay(config: Config, stack: AsyncExitStack, *, secrets: bool) -> tuple[str, bool]:
    loop = asyncio.get_running_loop()
    until = loop.time() + CONNECT_LIMIT
    while True:
        url = await find_running_relay(config.server.data_dir)
        if url is not None:
            return url, True
        from relay.app import run_relay  # noqa: PLC0415 - 0.2 s of imports that a running relay saves us
        from relay.cli.prompts import unlock_unattended  # noqa: PLC0415 - of no use to commands that ask for nothing

        if secrets:
            config = await unlock_unattended(config)
        try:
            relay = await stack.enter_async_context(run_relay(config, quiet=True))
        except StoreBusyError:
            # Another command at work, or a relay that has only just begun.
            if loop.time() > until:
                raise
            await asyncio.sleep(_POLL)
        else:
            return relay.dashboard_url, False


@asynccontextmanager
async def _open_session(data_dir: Path) -> AsyncIterator[aiohttp.ClientSession]:
    try:
        token = (data_dir / "token").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        token = ""  # there is none with dashboard_auth = "off"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers, timeout=_CALL_TIMEOUT, trust_env=False) as session:
        yield session


async def _is_answering(url: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(f"{url}/healthz", allow_redirects=False) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False


async def _read_api_error(response: aiohttp.ClientResponse) -> ApiError:
    try:
        value = parse_json(await response.read())
    except PayloadError:
        value = None
    error = value.get("error") if isinstance(value, dict) else None
    told = error if isinstance(error, dict) else {}
    return ApiError(
        escape_unprintable(str(told.get("message") or f"relay answered {response.status}"), 500),
        hint=escape_unprintable(str(told.get("hint") or ""), 500),
        code=str(told.get("code") or ""),
        status=response.status,
    )


async def _read_messages(content: aiohttp.StreamReader) -> AsyncGenerator[StreamMessage, None]:
    fields: dict[str, str] = {}
    waiting = b""
    async for chunk in content.iter_any():
        *lines, waiting = (waiting + chunk).split(b"\n")
        if len(waiting) > _MAX_MESSAGE_SIZE:
            raise ConnectionLostError("the stream holds a line that never ends")
        for line in lines:
            if line:
                name, _, value = line.decode("ascii", "replace").partition(": ")
                fields[name] = value
                continue
            if "data" in fields:
                yield _parse_message(fields)
            fields = {}


def _parse_message(fields: dict[str, str]) -> StreamMessage:
    value = parse_json(fields["data"])
    number = fields.get("id", "")
    return StreamMessage(
        name=fields.get("event", ""),
        value=value if isinstance(value, dict) else {},
        id=int(number) if number.isdigit() else None,
    )
