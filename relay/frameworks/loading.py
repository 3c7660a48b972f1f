"""Shared by all frameworks: builds a Receiver from relay.toml, and reads raw requests."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

from relay.config.build import Config, Overrides, load, resolve_again
from relay.config.secrets import explain_missing
from relay.errors import ConfigError
from relay.frameworks.receive import HandlerRunner, Receiver
from relay.frameworks.request import UNIX_SOCKET, Incoming, ReadBody
from relay.frameworks.threads import KeyStore
from relay.handlers.environment import HandlerOptions, set_default_secrets, using_secrets
from relay.handlers.file import Handlers, load_handlers
from relay.model.admission import Network
from relay.model.event import Source, VerifyMode
from relay.model.secret import Secret
from relay.pipeline.process import Routing
from relay.pipeline.responses import SenderResponse
from relay.pipeline.source_table import SourceRegistry
from relay.store.idempotency import CLAIM_LEASE, SqliteKeyStore
from relay.vault import VaultState

log = logging.getLogger(__name__)

KEYS_FILE = "received.db"
_PASSWORD = "RELAY_VAULT_PASSWORD"  # noqa: S105 - the name of a variable
_PASSWORD_FILE = "RELAY_VAULT_PASSWORD_FILE"  # noqa: S105 - the name of a variable
_LEASE_SLACK = 60.0  # seconds that a claim outlives the longest run


def receiver(
    config: str | Path = "relay.toml",
    *,
    handlers: str | Path | None = None,
    keys: KeyStore | None = None,
    proxies: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    around: Callable[[Handlers], Handlers] = lambda handlers: handlers,
) -> Receiver:
    """Return the Receiver of a relay.toml.

    `handlers` is a file that gets every event, besides those that targets name. `keys` remembers what was
    handled: by default `received.db` in the data_dir. `proxies` are addresses and networks of your own
    proxies, whose last entry of X-Forwarded-For is believed, and "unix" where one calls over a socket.
    `around` may wrap the functions of each handlers file.

    Raises ConfigError for a mistake in the file, for a source whose secret is missing, and where there is
    nothing to receive or to call; HandlersError for a file that cannot be run; StoreError; VaultError.
    """
    path = Path(config)
    if not path.is_file():
        raise ConfigError(f"there is no file {path.absolute()}", hint="name the relay.toml to use")
    over = Overrides(handlers=str(Path(handlers).absolute()) if handlers is not None else None)
    read = _unlock_vault(load(path, over, environ))
    _refuse_unsafe(read)
    runners = {name: _make_runner(options, around) for name, options in _find_handlers(read).items()}
    networks, unix = _parse_networks(proxies)
    longest = sum(runner.timeout for runner in runners.values()) + _LEASE_SLACK
    return Receiver(
        table=SourceRegistry(read.sources, None),
        routing=Routing(read.routes, read.targets),
        runners=runners,
        max_body=read.server.max_body,
        proxies=networks,
        unix=unix,
        keys=keys or _open_keys(read.server.data_dir / KEYS_FILE, max(CLAIM_LEASE, longest)),
    )


def _unlock_vault(read: Config) -> Config:
    """Return the configuration with its vault's secrets, if the environment contains the vault's password."""
    if read.vault.state is not VaultState.LOCKED:
        return read
    password = read.environ.get(_PASSWORD, "")
    if path := read.environ.get(_PASSWORD_FILE):
        try:
            password = Path(path).expanduser().read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{_PASSWORD_FILE}: {path} cannot be read", hint="name a file that is there") from error
    if not password:
        return read
    read.vault.unlock(Secret(_PASSWORD, password))
    return resolve_again(read)


# One per file: a process that opens a file twice and closes it once loses SQLite's locks on it.
_open_stores: WeakValueDictionary[Path, SqliteKeyStore] = WeakValueDictionary()


def _open_keys(path: Path, lease: float) -> SqliteKeyStore:
    path = path.resolve()
    store = _open_stores.get(path) or SqliteKeyStore(path, lease=lease)
    store.lease = max(store.lease, lease)
    _open_stores[path] = store
    return store


def _make_runner(options: HandlerOptions, around: Callable[[Handlers], Handlers]) -> HandlerRunner:
    set_default_secrets(options.find_secret)
    with using_secrets(options.find_secret):
        handlers = load_handlers(options.path, options.folder)
    return HandlerRunner(handlers=around(handlers), timeout=options.timeout, find_secret=options.find_secret)


def _find_handlers(read: Config) -> dict[str, HandlerOptions]:
    return {name: one.options for name, one in read.targets.items() if isinstance(one.options, HandlerOptions)}


def _refuse_unsafe(read: Config) -> None:
    problems = [problem for source in read.sources if (problem := _find_problem(source, read.vault.problem))]
    if not read.sources:
        problems.append("there is no [sources.NAME], so nothing would be received")
    called = set(_find_handlers(read))
    routed = {name for route in read.routes for name in route.targets}
    if not called:
        problems.append('no target has a handlers file: write handler = "handlers.py" below [targets.app]')
    elif not called & routed:
        problems.append(f"no [[routes]] lead to {' or '.join(sorted(called))}, so nothing would be handled")
    if problems:
        raise ConfigError(f"{read.path}: {'; '.join(problems)}", problems=tuple(problems))
    for source in read.sources:
        if source.verify is not VerifyMode.ENFORCE:
            log.warning("sources.%s: verify = %r accepts requests that do not verify", source.name, source.verify.value)
        for reference in source.missing_secrets if source.secrets else ():
            log.warning("sources.%s: %s", source.name, explain_missing(reference))
    for name in sorted(routed - called):
        log.info("targets.%s is for the relay server: only handlers are called here", name)


def _find_problem(source: Source, vault_problem: str) -> str:
    """Return why a source would accept requests unchecked, which is harmless on a laptop but not in production."""
    if source.verify is VerifyMode.OFF:
        return ""
    name = f"sources.{source.name}"
    if source.scheme is None:
        if not (source.secrets or source.missing_secrets or source.locked_secrets):
            return ""
        return f"{name}: it has a secret, and nothing says how it signs; set provider, or write [{name}.signature]"
    if source.locked_secrets and vault_problem:
        return f"{name}: {vault_problem}"
    if source.locked_secrets:
        return (
            f"{name}: {source.locked_secrets[0]} is in the locked vault, so its signatures "
            f"cannot be checked; set {_PASSWORD} or {_PASSWORD_FILE}"
        )
    if source.secrets:
        return ""
    missing = " and ".join(explain_missing(reference) for reference in source.missing_secrets)
    why = missing or 'it has no secret: write secret = "env:NAME"'
    return f"{name}: {why}, so its signatures cannot be checked"


def _parse_networks(proxies: Iterable[str]) -> tuple[tuple[Network, ...], bool]:
    texts = [proxies] if isinstance(proxies, str) else list(proxies)
    try:
        return tuple(ip_network(text, strict=False) for text in texts if text != UNIX_SOCKET), UNIX_SOCKET in texts
    except ValueError as error:
        raise ConfigError(
            f"proxies: {error}", hint='write addresses, networks such as 10.0.0.0/8, or "unix"'
        ) from error


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def missing_error(error: ModuleNotFoundError, module: str, title: str) -> ImportError:
    """Return the error to raise if `import module` raised `error`."""
    if error.name != module:
        return error  # it exists, but one of its imports does not
    return ImportError(f"relay.frameworks.{module} needs {title}: pip install 'webhook-relay[{module}]'", name=module)


def name_function(function: object) -> str:
    """Return where a function or class of the app is defined, for a log line: `shop.hooks.log_form`."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", repr(function))
    return f"{module}.{name}" if module else name


def list_headers(answered: SenderResponse) -> list[tuple[str, str]]:
    """Return the headers of a response, including its content type."""
    return [("Content-Type", answered.content_type), *answered.headers]


def read_asgi_request(
    scope: Mapping[str, Any], read: ReadBody, rest: str | None, in_front: Callable[[], Iterable[str]]
) -> Incoming:
    """Return the request of an ASGI scope.

    `rest` is what the route matched behind `/webhooks/`; `read` gives the body and `in_front` what runs before
    relay, see Incoming.
    """
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    query = scope.get("query_string", b"")
    # Django's async test client passes text.
    query = query if isinstance(query, str) else query.decode("latin-1")
    tail = f"{path}?{query}" if query else path
    host = next((value for name, value in headers if name.lower() == "host"), "localhost")
    client = scope.get("client")
    return Incoming(
        method=scope["method"],
        path=strip_mount(path, rest),
        query=query,
        headers=headers,
        body=read,
        remote=client[0] if client else "",
        url=f"{scope.get('scheme', 'http')}://{host}{tail}",
        in_front=in_front,
    )


_HOOKS = "/webhooks"


def strip_mount(path: str, rest: str | None) -> str:
    """Return a raw path from relay's own `/webhooks` on, without the prefix of the app or its router.

    `rest` is what the framework matched behind `/webhooks/`, decoded: it tells the route from a prefix that is
    called `/webhooks` too. Without it the first `/webhooks` counts.
    """
    first = at = path.find(_HOOKS)
    while at >= 0:
        if rest is not None and unquote(path[at:]) == f"{_HOOKS}/{rest}":
            return path[at:]
        at = path.find(_HOOKS, at + 1)
    return path[first:] if first > 0 else path


_HEADERS = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}
_SAFE = "/!$&'()*+,;=:@~"


def read_wsgi_request(
    environ: Mapping[str, Any], read: ReadBody, rest: str | None, in_front: Callable[[], Iterable[str]]
) -> Incoming:
    """Return the request of a WSGI environ, the rest as for `read_asgi_request`."""
    path = _raw_path(environ)
    query = environ.get("QUERY_STRING", "")
    tail = f"{path}?{query}" if query else path
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "localhost")
    return Incoming(
        method=environ["REQUEST_METHOD"],
        path=strip_mount(path, rest),
        query=query,
        headers=tuple(_raw_headers(environ)),
        body=read,
        remote=environ.get("REMOTE_ADDR") or "",
        url=f"{environ.get('wsgi.url_scheme', 'http')}://{host}{tail}",
        in_front=in_front,
    )


def _raw_path(environ: Mapping[str, Any]) -> str:
    """Return the percent-encoded path, which WSGI decodes but most servers provide in addition."""
    decoded = environ.get("PATH_INFO", "")
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if not raw.startswith("/"):
        raw = "/" + raw.partition("://")[2].partition("/")[2]
    raw = raw.partition("?")[0]
    # Not used if code between server and app has changed the path since.
    if unquote(raw, "latin-1").endswith(decoded) and decoded:
        return str(raw)
    return quote(environ.get("SCRIPT_NAME", "") + decoded, safe=_SAFE, encoding="latin-1")


def _raw_headers(environ: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name in _HEADERS:
            if value:
                yield _HEADERS[name], value
        elif name.startswith("HTTP_") and isinstance(value, str):
            yield name.removeprefix("HTTP_").replace("_", "-").title(), value
