"""A handlers file, run once: its decorators say what it handles."""

import ast
import importlib
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
    package, root = _find_package(path)
    if package:
        try:
            with importable(root):
                importlib.import_module(package)
        except BaseException as error:
            if not isinstance(error, Exception | SystemExit):
                raise
            raise _broken(error, path, home) from error
    # Under its own name, so that its neighbours can import it back, unless that name is taken.
    inside = f"{package}." if package else ""
    name = f"{inside}{path.stem}"
    name = name if name not in sys.modules else f"{inside}relay_handlers_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=Fresh(name, str(path)))
    if spec is None or spec.loader is None:
        raise HandlersError(f"{home.short(str(path))} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importable(root), importable(path.parent), collecting() as rules:
            spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if not isinstance(error, Exception | SystemExit):
            raise  # Ctrl-C is for whoever loads this
        raise _broken(error, path, home) from error
    return rules


def _find_package(path: Path) -> tuple[str, Path]:
    """Return the package that a file belongs to and the folder that is in, "" for a file of its own.

    A file that imports nothing relative to itself is run on its own, so that a package whose `__init__.py` is the
    whole app is not started for it; so is one in a package whose name something else has.
    """
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    if root == path.parent or not _imports_relatively(path):
        return "", path.parent
    package = ".".join(path.parent.relative_to(root).parts)
    loaded = sys.modules.get(package)
    if loaded is not None and str(path.parent) not in map(str, getattr(loaded, "__path__", ())):
        return "", path.parent
    return package, root


def _imports_relatively(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return False  # told when it is run
    return any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in ast.walk(tree))


def _broken(error: BaseException, path: Path, home: Home) -> HandlersError:
    where = traces.place(error, home) or home.short(str(path))
    hint = "mend that line"
    if isinstance(error, ModuleNotFoundError):
        hint = f"install it where relay is installed, {sys.prefix}, or correct its name"
    elif isinstance(error, ImportError) and "relative import" in str(error):
        hint = "write it without the dots: from words import …"
        folder = home.short(str(path.parent))
        if folder != "." and not path.with_name("__init__.py").exists():
            hint = f"put an empty __init__.py into {folder}, or {hint}"
    return HandlersError(f"{where}: {traces.summary(error)}", hint=hint, traceback=traces.told(error, home))
