"""Files of Python that a user put beside relay.toml, run once when it is read."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from relay.errors import ConfigError
from relay.handlers.home import importable
from relay.model.text import printable

NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def run_module(dotted: str, folder: Path, key: str) -> tuple[ModuleType, Path]:
    """Run the file that `dotted` names in `folder` and return it, with its path.

    Raises ConfigError, led by the key of relay.toml, where there is no such file or it cannot be run.
    """
    path = folder.joinpath(*dotted.split(".")).with_suffix(".py")
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {path}", hint="modules are looked for beside relay.toml")
    # A name of its own: the user's `json.py` must not stand in for anybody else's.
    name = f"relay_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{key}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and models look there for what their annotations name.
    sys.modules[name] = module
    try:
        with importable(folder):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            f"{key}: {path} cannot be run: {type(error).__name__}: {printable(str(error), 200)}",
            hint=f"python {path} says where",
        ) from error
    return module, path
