"""`verifier = "verifiers:MyVerifier"` becomes an object: a class in a file beside relay.toml."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from relay.config.modules import NAME, run_module
from relay.errors import ConfigError
from relay.model.text import printable
from relay.providers.python import Verifier

_KEY = "signature.verifier"


def verifiers_in(folder: Path) -> Callable[[str], Verifier]:
    """Return what finds a verifier by its name in a folder.

    It raises ConfigError, led by its key and naming the file, where there is no such file or class,
    where the file cannot be run, and where the class cannot be made or has no `verify`.
    """

    def find(name: str) -> Verifier:
        match = NAME.fullmatch(name)
        if match is None:
            raise ConfigError(
                f"{_KEY}: '{printable(name, 60)}' is not a module and a class",
                hint='write "verifiers:MyVerifier"',
            )
        module, path = run_module(match[1], folder, _KEY)
        return _made(module, match[2], path)

    return find


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
