"""A handlers file, run once: its decorators say what it handles."""

import importlib.util
import sys
from pathlib import Path

from relay.errors import HandlersError
from relay.handlers import traces
from relay.handlers.home import Fresh, Home, importable
from relay.handlers.registry import Rule, collecting
from relay.handlers.run import Handlers


def load(path: Path, folder: Path | None = None) -> Handlers:
    """Run a handlers file and return its functions; `folder` is the project's, else the file's own.

    Whatever decorated functions it imports count too, unless something imported their module before.
    Raises HandlersError, naming file and line, for a file that cannot be run or registers nothing.
    """
    path = path.absolute()
    home = Home((folder.absolute() if folder else path.parent, path.parent))
    name = home.short(str(path))
    if not path.is_file():
        what = f"{name} is a folder, not a file" if path.is_dir() else f"there is no file {name}"
        raise HandlersError(what, hint="name a Python file with functions below @on")
    rules = _run(path, home)
    if not any(not rule.first for rule in rules):
        raise HandlersError(f"{name} has no function below @on", hint='write @on("stripe") above one')
    return Handlers(path=path, rules=tuple(rules), home=home)


def _run(path: Path, home: Home) -> list[Rule]:
    # Under its own name, so that its neighbours can import it back, unless that name is taken.
    name = path.stem if path.stem not in sys.modules else f"relay_handlers_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=Fresh(name, str(path)))
    if spec is None or spec.loader is None:
        raise HandlersError(f"{home.short(str(path))} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importable(path.parent), collecting() as rules:
            spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if not isinstance(error, Exception | SystemExit):
            raise  # Ctrl-C is for whoever loads this
        raise _broken(error, path, home) from error
    return rules


def _broken(error: BaseException, path: Path, home: Home) -> HandlersError:
    where = traces.place(error, home) or home.short(str(path))
    hint = "mend that line"
    if isinstance(error, ModuleNotFoundError):
        hint = f"install it where relay is installed, {sys.prefix}, or correct its name"
    return HandlersError(f"{where}: {traces.summary(error)}", hint=hint, traceback=traces.told(error, home))
