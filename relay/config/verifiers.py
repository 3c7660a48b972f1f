"""`verifier = "verifiers:MyVerifier"` becomes an object: a class in a file beside relay.toml."""

import importlib.util
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from relay.errors import ConfigError
from relay.handlers.home import importable
from relay.model.text import printable
from relay.providers.python import Verifier

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
_KEY = "signature.verifier"


def verifiers_in(folder: Path) -> Callable[[str], Verifier]:
    """Return what finds a verifier by its name in a folder.

    It raises ConfigError, led by its key and naming the file, where there is no such file or class,
    where the file cannot be run, and where the class cannot be made or has no `verify`.
    """

    def find(name: str) -> Verifier:
        match = _NAME.fullmatch(name)
        if match is None:
            raise ConfigError(
                f"{_KEY}: '{printable(name, 60)}' is not a module and a class",
                hint='write "verifiers:MyVerifier"',
            )
        path = folder.joinpath(*match[1].split(".")).with_suffix(".py")
        return _made(_module(path, folder), match[2], path)

    return find


def _module(path: Path, folder: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{_KEY}: there is no file {path}", hint="modules are looked for beside relay.toml")
    # A name of its own: the user's `json.py` must not stand in for anybody else's.
    spec = importlib.util.spec_from_file_location(f"relay_verifiers_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{_KEY}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        with importable(folder):
            spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(
            f"{_KEY}: {path} cannot be run: {type(error).__name__}: {printable(str(error), 200)}",
            hint=f"python {path} says where",
        ) from error
    return module


def _made(module: ModuleType, name: str, path: Path) -> Verifier:
    made = getattr(module, name, None)
    if not inspect.isclass(made):
        classes = [
            key for key, value in vars(module).items() if inspect.isclass(value) and hasattr(value, "verify")
        ]
        raise ConfigError(
            f"{_KEY}: {path} has no class {name}",
            hint=f"it has {', '.join(classes)}"
            if classes
            else f"write class {name} with verify(capture, secrets, now)",
        )
    if not callable(getattr(made, "verify", None)):
        raise ConfigError(
            f"{_KEY}: {name} in {path} has no verify", hint="def verify(self, capture, secrets, now) -> bool"
        )
    try:
        verifier: Verifier = made()  # type: ignore[assignment] # it has a verify, which is all it needs
    except Exception as error:
        raise ConfigError(
            f"{_KEY}: {name} in {path} cannot be made: {type(error).__name__}: {printable(str(error), 200)}",
            hint="it is made without arguments",
        ) from error
    return verifier
