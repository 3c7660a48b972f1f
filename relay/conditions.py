"""A route's `when`: an expression over event and payload, judged in a sandbox."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError
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


def judge(text: str, event: dict[str, object], payload: object) -> tuple[bool, str]:
    """Say whether the condition holds, and in a sentence why it could not be judged ("" when it could)."""
    try:
        return bool(compile_condition(text)(event=event, payload=payload)), ""
    except Exception as error:  # noqa: BLE001 - the expression is the user's own; whatever it raises is shown, not raised
        return False, f"{type(error).__name__}: {error}"
