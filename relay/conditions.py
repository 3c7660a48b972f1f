"""A route's `when`: an expression over event and payload, judged in a sandbox."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relay.errors import ConfigError

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined)


@lru_cache(maxsize=256)
def compile_condition(text: str) -> Callable[..., Any]:
    """Return the expression ready to be called with `event` and `payload`.

    Raises ConfigError for text that is no Jinja expression.
    """
    try:
        return _ENVIRONMENT.compile_expression(text, undefined_to_none=False)
    except TemplateError as error:
        raise ConfigError(
            f"{text!r} is not an expression: {error}",
            hint="write one such as payload.data.object.amount_due > 1000",
        ) from error


def seen(text: str, event: dict[str, object], payload: object) -> tuple[str, ...]:
    """Return what an expression looks at and what stood there: `payload.amount = 500`."""
    told: dict[str, None] = {}
    for path in _looked_at(text):
        try:
            value = _ENVIRONMENT.compile_expression(path)(event=event, payload=payload)
        except Exception:  # noqa: BLE001, S112 - the values are an extra; whatever looking at one raises, the rest is told
            continue
        if not isinstance(value, dict | list):
            told[f"{path} = {value!r}"] = None
    return tuple(told)


@lru_cache(maxsize=256)
def _looked_at(text: str) -> tuple[str, ...]:
    tree = _ENVIRONMENT.parse("{{ " + text + " }}")
    chains: list[nodes.Getattr | nodes.Getitem] = []
    chains += tree.find_all(nodes.Getattr)
    chains += tree.find_all(nodes.Getitem)
    inner = {id(chain.node) for chain in chains}
    paths = (_path(chain) for chain in chains if id(chain) not in inner)
    return tuple(dict.fromkeys(path for path in paths if path))


def _path(node: nodes.Node) -> str:
    """Return `payload.items[0]` for a chain of names and constants, "" for anything else."""
    match node:
        case nodes.Name(name="payload" | "event" as name):
            return name
        case nodes.Getattr(node=below, attr=attr) if path := _path(below):
            return f"{path}.{attr}"
        case nodes.Getitem(node=below, arg=nodes.Const(value=value)) if path := _path(below):
            return f"{path}[{value!r}]"
    return ""


def judge(text: str, event: dict[str, object], payload: object) -> tuple[bool, str]:
    """Say whether the condition holds, and in a sentence why it could not be judged ("" when it could)."""
    try:
        return bool(compile_condition(text)(event=event, payload=payload)), ""
    except Exception as error:  # noqa: BLE001 - the expression is the user's own; whatever it raises is shown, not raised
        return False, f"{type(error).__name__}: {error}"
