"""relay.toml and its handlers files become a Receiver; what would be unsafe in production is refused here."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path

from relay.config import Config, Overrides, load
from relay.config.build import resolved
from relay.errors import ConfigError
from relay.handlers.load import load as load_handlers
from relay.handlers.options import HandlerOptions
from relay.handlers.run import Handlers
from relay.handlers.secrets import set_default_secrets, using_secrets
from relay.model.admission import Network
from relay.model.event import Source, VerifyMode
from relay.model.secret import Secret
from relay.receiver import KeyStore, Receiver, Rules, Runner
from relay.receiver.incoming import UNIX
from relay.store.keys import LEASE, SqliteKeys
from relay.vault import VaultState
from relay.web.sources import SourceTable

log = logging.getLogger(__name__)

KEYS_FILE = "received.db"
_PASSWORD = "RELAY_VAULT_PASSWORD"  # noqa: S105 - the name of a variable
_PASSWORD_FILE = "RELAY_VAULT_PASSWORD_FILE"  # noqa: S105 - the name of a variable
_SLACK = 60.0  # seconds that a claim outlives the longest run


def receiver(
    config: str | Path = "relay.toml",
    *,
    handlers: str | Path | None = None,
    keys: KeyStore | None = None,
    proxies: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    around: Callable[[Handlers], Handlers] = lambda handlers: handlers,
) -> Receiver:
    """Return what receives the webhooks of a relay.toml.

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
    read = _opened(load(path, over, environ))
    _refuse(read)
    runners = {name: _runner(options, around) for name, options in _handlers(read)}
    networks, unix = _networks(proxies)
    longest = sum(runner.timeout for runner in runners.values()) + _SLACK
    return Receiver(
        table=SourceTable(read.sources, None),
        rules=Rules(
            routes=read.routes,
            targets=read.targets,
            runners=runners,
            max_body=read.server.max_body,
            proxies=networks,
            unix=unix,
        ),
        keys=keys or SqliteKeys(read.server.data_dir / KEYS_FILE, lease=max(LEASE, longest)),
    )


def _opened(read: Config) -> Config:
    """Return the configuration with what its vault holds, where the environment gives the vault's password."""
    if read.vault.state is not VaultState.LOCKED:
        return read
    password = read.environ.get(_PASSWORD, "")
    if path := read.environ.get(_PASSWORD_FILE):
        try:
            password = Path(path).expanduser().read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{_PASSWORD_FILE}: {path} cannot be read", hint="name a file that is there"
            ) from error
    if not password:
        return read
    read.vault.unlock(Secret(_PASSWORD, password))
    return resolved(read)


def _runner(options: HandlerOptions, around: Callable[[Handlers], Handlers]) -> Runner:
    set_default_secrets(options.find_secret)
    with using_secrets(options.find_secret):
        handlers = load_handlers(options.path, options.folder)
    return Runner(handlers=around(handlers), timeout=options.timeout, find_secret=options.find_secret)


def _handlers(read: Config) -> Iterator[tuple[str, HandlerOptions]]:
    for name, target in read.targets.items():
        if isinstance(target.options, HandlerOptions):
            yield name, target.options


def _refuse(read: Config) -> None:
    problems = [*_unsigned(read.sources)]
    if not read.sources:
        problems.append("there is no [sources.NAME], so nothing would be received")
    called = {name for name, _ in _handlers(read)}
    led = {name for route in read.routes for name in route.targets}
    if not called:
        problems.append('no target has a handlers file: write handler = "handlers.py" below [targets.app]')
    elif not called & led:
        problems.append(f"no [[routes]] lead to {' or '.join(sorted(called))}, so nothing would be handled")
    if problems:
        raise ConfigError(f"{read.path}: {'; '.join(problems)}", problems=tuple(problems))
    for source in read.sources:
        if source.verify is not VerifyMode.ENFORCE:
            log.warning(
                "sources.%s: verify = %r lets in what anybody sends", source.name, source.verify.value
            )
        for reference in source.missing_secrets if source.secrets else ():
            log.warning("sources.%s: %s is not set", source.name, reference.partition(":")[2])
    for name in sorted(led - called):
        log.info("targets.%s is for the relay server: only handlers are called here", name)


def _unsigned(sources: Iterable[Source]) -> Iterator[str]:
    """Yield why a source would take in what it cannot check: harmless on a laptop, not in production."""
    for source in sources:
        if source.verify is VerifyMode.OFF:
            continue
        if source.scheme is None:
            if source.secrets or source.missing_secrets or source.locked_secrets:
                yield (
                    f"sources.{source.name}: it has a secret, and nothing says how it signs; set provider, "
                    f"or write [sources.{source.name}.signature]"
                )
            continue
        if source.locked_secrets:
            yield (
                f"sources.{source.name}: {source.locked_secrets[0]} is in the locked vault, so its signatures "
                f"cannot be checked; set {_PASSWORD} or {_PASSWORD_FILE}"
            )
            continue
        if source.secrets:
            continue
        missing = " or ".join(reference.partition(":")[2] for reference in source.missing_secrets)
        why = f"{missing} is not set" if missing else 'it has no secret: write secret = "env:NAME"'
        yield f"sources.{source.name}: {why}, so its signatures cannot be checked"


def _networks(proxies: Iterable[str]) -> tuple[tuple[Network, ...], bool]:
    texts = [proxies] if isinstance(proxies, str) else list(proxies)
    try:
        return tuple(ip_network(text, strict=False) for text in texts if text != UNIX), UNIX in texts
    except ValueError as error:
        raise ConfigError(
            f"proxies: {error}", hint='write addresses, networks such as 10.0.0.0/8, or "unix"'
        ) from error
