"""Python files of the user next to relay.toml, run once when it is read."""

import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError

from relay.config.secrets import find_secret
from relay.config.tables import File, TargetTable
from relay.errors import ConfigError
from relay.handlers.environment import HandlerOptions
from relay.handlers.user_code import importable_from
from relay.model.text import escape_unprintable
from relay.pipeline.pydantic_schema import PydanticSchema
from relay.providers.schemes.python_verifier import Verifier
from relay.vault import Vault

NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def run_module(dotted: str, folder: Path, key: str) -> tuple[ModuleType, Path]:
    """Run the module `dotted` in `folder` and return it with its path.

    Raises ConfigError, prefixed with the key of relay.toml, if there is no such file or it cannot be run.
    """
    path = folder.joinpath(*dotted.split(".")).with_suffix(".py")
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {path}", hint="modules are looked up next to relay.toml")
    # A unique name: the user's `json.py` must not replace another module.
    name = f"relay_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{key}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and models look up the names in their annotations there.
    sys.modules[name] = module
    try:
        # Its output goes to stderr: stdout is for data.
        with importable_from(folder), redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(
            f"{key}: {path} cannot be run: {type(error).__name__}: {escape_unprintable(str(error), 200)}",
            hint=f"python {path} says where",
        ) from error
    return module, path


# They open relay's own vault, tunnel and dashboard: user code does not need them.
_WITHHELD = frozenset({"RELAY_VAULT_PASSWORD", "RELAY_VAULT_PASSWORD_FILE", "RELAY_TOKEN", "NGROK_AUTHTOKEN"})


HandlerBuilder = Callable[[str, TargetTable], HandlerOptions]


def make_handler_builder(file: File, folder: Path, environ: Mapping[str, str], vault: Vault) -> HandlerBuilder:
    """Return a function that builds the options of a handlers file; it raises ConfigError if there is none.

    Handlers get relay's environment without the variables that open its vault, tunnel and dashboard.
    """
    withheld = _WITHHELD | {file.tunnel.authtoken.removeprefix("env:")}
    handed_on = {name: value for name, value in environ.items() if name not in withheld}

    def build(name: str, table: TargetTable) -> HandlerOptions:
        # Links are not resolved: a file's neighbours are those of the link.
        path = Path(os.path.abspath(folder / (table.handler or "")))  # noqa: PTH100 - resolve() follows links
        options = HandlerOptions(
            target=name,
            path=path,
            folder=folder,
            timeout=table.timeout,
            environ=handed_on,
            find_secret=partial(find_secret, environ, vault),
        )
        if not path.is_file():
            what = f"{options.name} is a folder" if path.is_dir() else f"there is no file {path}"
            raise ConfigError(f"handler: {what}; name a Python file with functions below @on")
        return options

    return build


def load_model(name: str, folder: Path) -> PydanticSchema:
    """Return a validator for the model `name` in a folder.

    Any type that Pydantic validates is allowed: a model, a dataclass, a TypedDict, a union of them. Raises
    ConfigError, prefixed with the key `schema`, naming the file.
    """
    dotted, _, attribute = name.partition(":")
    module, path = run_module(dotted, folder, "schema")
    made = getattr(module, attribute, None)
    if made is None or not _is_model_type(made):
        raise ConfigError(f"schema: {path} has no model {attribute}", hint=_list_models(module))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(made)
        adapter.rebuild(raise_errors=True)
    except (PydanticUserError, TypeError, NameError) as error:
        reason = re.sub(r"\s*\n.*", "", str(error), flags=re.DOTALL)
        raise ConfigError(
            f"schema: {attribute} in {path} cannot be used as a model: {escape_unprintable(reason, 200)}",
            hint="a class of pydantic.BaseModel is one",
        ) from error
    return PydanticSchema(name=name, adapter=adapter)


def _is_model_type(made: object) -> bool:
    # Pydantic would call a plain function, and accept any instance.
    return inspect.isclass(made) or get_origin(made) is not None or isinstance(made, UnionType)


def _list_models(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, BaseModel) and value.__module__ == module.__name__
    ]
    return f"it has {', '.join(names[:6])}" if names else "write class WebhookPayload(BaseModel): …"


_KEY = "signature.verifier"


def load_verifier(folder: Path, named: str) -> Verifier:
    """Return the verifier `named` in a folder.

    Raises ConfigError, prefixed with its key and naming the file, if there is no such file or class,
    if the file cannot be run, or if the class cannot be instantiated or has no `verify`.
    """
    match = NAME.fullmatch(named)
    if match is None:
        raise ConfigError(
            f"{_KEY}: '{escape_unprintable(named, 60)}' is not a module and a class",
            hint='write "verifiers:MyVerifier"',
        )
    module, path = run_module(match[1], folder, _KEY)
    name = match[2]
    made = getattr(module, name, None)
    if not inspect.isclass(made):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and hasattr(value, "verify")]
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
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{_KEY}: cannot create {name} in {path}: {type(error).__name__}: {escape_unprintable(str(error), 200)}",
            hint="relay creates it without arguments",
        ) from error
    return verifier
