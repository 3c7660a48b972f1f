"""`handler = "handlers.py"` becomes the options of a target; the file itself is not run here."""

import os
from collections.abc import Mapping
from pathlib import Path

from relay.config.file import TargetTable
from relay.errors import ConfigError
from relay.handlers.options import HandlerOptions
from relay.model.delivery import Target

AT_ONCE = 2  # processes, where a target does not say otherwise


def handlers_target(table: TargetTable, folder: Path, environ: Mapping[str, str]) -> Target:
    """Return the target that `--handlers FILE` means. Raises ConfigError where there is no such file."""
    try:
        options = handler_options("handlers", table, folder, environ)
    except ConfigError as error:
        raise ConfigError(error.sentence.removeprefix("handler: "), hint=error.hint) from error
    return Target(name=options.target, action="handler", options=options, concurrency=at_once(table))


def handler_options(
    name: str, table: TargetTable, folder: Path, environ: Mapping[str, str]
) -> HandlerOptions:
    """Return what a target with a handlers file needs. Raises ConfigError where there is no such file."""
    # Links stay as they are: a file's neighbours are those of the name it is known by.
    path = Path(os.path.abspath(folder / (table.handler or "")))  # noqa: PTH100 - resolve() follows links
    options = HandlerOptions(target=name, path=path, folder=folder, timeout=table.timeout, environ=environ)
    if not path.is_file():
        what = f"{options.name} is a folder" if path.is_dir() else f"there is no file {path}"
        raise ConfigError(f"handler: {what}; name a Python file with functions below @on")
    return options


def at_once(table: TargetTable) -> int:
    """Return how many events a target takes at the same time."""
    named = "concurrency" in table.model_fields_set
    return table.concurrency if named or table.handler is None else AT_ONCE
