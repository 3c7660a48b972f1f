"""`schema = "models:WebhookPayload"` becomes what validates a body: a model in a file beside relay.toml."""

import inspect
import re
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError

from relay.admission.model import Model
from relay.config.modules import NAME, run_module
from relay.errors import ConfigError
from relay.model.text import printable


def is_model(name: str) -> bool:
    """Say whether a value of `schema` names a model rather than a file."""
    return NAME.fullmatch(name) is not None


def model(name: str, folder: Path) -> Model:
    """Return the model that `name` means in a folder, ready to be asked.

    Any type will do that Pydantic validates: a model, a dataclass, a TypedDict, a union of them. Raises
    ConfigError, led by the key `schema`, naming the file.
    """
    dotted, _, attribute = name.partition(":")
    module, path = run_module(dotted, folder, "schema")
    made = getattr(module, attribute, None)
    if made is None or not _is_type(made):
        raise ConfigError(f"schema: {path} has no model {attribute}", hint=_those_in(module))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(made)
        adapter.rebuild(raise_errors=True)
    except (PydanticUserError, TypeError, NameError) as error:
        said = re.sub(r"\s*\n.*", "", str(error), flags=re.DOTALL)
        raise ConfigError(
            f"schema: {attribute} in {path} cannot be used as a model: {printable(said, 200)}",
            hint="a class of pydantic.BaseModel is one",
        ) from error
    return Model(name=name, adapter=adapter)


def _is_type(made: object) -> bool:
    # A plain function would be called with what it is given, and an instance be anything.
    return inspect.isclass(made) or get_origin(made) is not None or isinstance(made, UnionType)


def _those_in(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, BaseModel) and value.__module__ == module.__name__
    ]
    return f"it has {', '.join(names[:6])}" if names else "write class WebhookPayload(BaseModel): …"
