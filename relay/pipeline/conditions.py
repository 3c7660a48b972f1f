"""A route's `when`: an expression over event, payload and items, judged in a sandbox."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relay.errors import ConfigError

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined)

# What an expression knows: `event` (facts by name), `payload`, `items` (the events in the request) and `item` (one of
# them, or the first).
ConditionContext = Mapping[str, object]


@lru_cache(maxsize=256)
def compile_condition(text: str) -> Callable[..., Any]:
    """Return the expression ready to be called with a context (`Context`).

    Raises ConfigError for text that is no Jinja expression.
    """
    try:
        return _ENVIRONMENT.compile_expression(text, undefined_to_none=False)
    except TemplateError as error:
        raise ConfigError(
            f"{text!r} is not an expression: {error}", hint="write one such as payload.data.object.amount_due > 1000"
        ) from error


def describe_operands(text: str, context: ConditionContext) -> tuple[str, ...]:
    """Return what an expression looks at and what stood there: `payload.amount = 500`."""
    told: dict[str, None] = {}
    for path in _find_operand_paths(text):
        try:
            value = _ENVIRONMENT.compile_expression(path)(context)
        except Exception:  # noqa: BLE001, S112 - the values are an extra; whatever looking at one raises, the rest is told
            continue
        if not isinstance(value, dict | list):
            told[f"{path} = {value!r}"] = None
    return tuple(told)


@lru_cache(maxsize=256)
def _find_operand_paths(text: str) -> tuple[str, ...]:
    tree = _ENVIRONMENT.parse("{{ " + text + " }}")
    chains: list[nodes.Getattr | nodes.Getitem] = []
    chains += tree.find_all(nodes.Getattr)
    chains += tree.find_all(nodes.Getitem)
    inner = {id(chain.node) for chain in chains}
    paths = (_format_operand(chain) for chain in chains if id(chain) not in inner)
    return tuple(dict.fromkeys(path for path in paths if path))


def _format_operand(node: nodes.Node) -> str:
    """Return `payload.items[0]` for a chain of names and constants, "" for anything else."""
    match node:
        case nodes.Name(name="payload" | "event" | "item" | "items" as name):
            return name
        case nodes.Getattr(node=below, attr=attr) if path := _format_operand(below):
            return f"{path}.{attr}"
        case nodes.Getitem(node=below, arg=nodes.Const(value=value)) if path := _format_operand(below):
            return f"{path}[{value!r}]"
    return ""


def evaluate_condition(text: str, context: ConditionContext) -> tuple[bool, str]:
    """Say whether the condition holds, and in a sentence why it could not be judged ("" when it could)."""
    try:
        return bool(compile_condition(text)(context)), ""
    except Exception as error:  # noqa: BLE001 - the expression is the user's own; whatever it raises is shown, not raised
        return False, f"{type(error).__name__}: {error}"
