"""`handler = "handlers.py"` becomes the options of a target; the file itself is not run here."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from relay.config.file import File, TargetTable
from relay.config.secrets import find_secret
from relay.errors import ConfigError
from relay.handlers.options import HandlerOptions
from relay.handlers.secrets import FindSecret
from relay.model.delivery import Target
from relay.vault import Vault

AT_ONCE = 2  # processes, where a target does not say otherwise


# They open relay's own vault, tunnel and dashboard: no function of the user's needs them.
_WITHHELD = frozenset({"RELAY_VAULT_PASSWORD", "RELAY_VAULT_PASSWORD_FILE", "RELAY_TOKEN", "NGROK_AUTHTOKEN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerEnvironment:
    """The environment that the process of a handlers file gets, and what `relay.secret` asks there."""

    environ: Mapping[str, str] = field(repr=False)
    find_secret: FindSecret


def build_handler_environment(
    file: File, environ: Mapping[str, str], vault: Vault | None
) -> HandlerEnvironment:
    """Return what handlers get of relay's environment: not what opens its vault, tunnel and dashboard."""
    withheld = _WITHHELD | {file.tunnel.authtoken.removeprefix("env:")}
    return HandlerEnvironment(
        environ={name: value for name, value in environ.items() if name not in withheld},
        find_secret=partial(find_secret, environ, vault),
    )


def handlers_target(table: TargetTable, folder: Path, given: HandlerEnvironment) -> Target:
    """Return the target that `--handlers FILE` means. Raises ConfigError where there is no such file."""
    try:
        options = handler_options("handlers", table, folder, given)
    except ConfigError as error:
        raise ConfigError(error.sentence.removeprefix("handler: "), hint=error.hint) from error
    return Target(name=options.target, action="handler", options=options, concurrency=at_once(table))


def handler_options(name: str, table: TargetTable, folder: Path, given: HandlerEnvironment) -> HandlerOptions:
    """Return what a target with a handlers file needs. Raises ConfigError where there is no such file."""
    # Links stay as they are: a file's neighbours are those of the name it is known by.
    path = Path(os.path.abspath(folder / (table.handler or "")))  # noqa: PTH100 - resolve() follows links
    options = HandlerOptions(
        target=name,
        path=path,
        folder=folder,
        timeout=table.timeout,
        environ=given.environ,
        find_secret=given.find_secret,
    )
    if not path.is_file():
        what = f"{options.name} is a folder" if path.is_dir() else f"there is no file {path}"
        raise ConfigError(f"handler: {what}; name a Python file with functions below @on")
    return options


def at_once(table: TargetTable) -> int:
    """Return how many events a target takes at the same time."""
    named = "concurrency" in table.model_fields_set
    return table.concurrency if named or table.handler is None else AT_ONCE
