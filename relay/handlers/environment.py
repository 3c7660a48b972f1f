"""`relay.secret("stripe_key")`: secrets for handlers, from the vault or the environment."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from pathlib import Path

from relay.errors import NotFoundError, RelayError, VaultLockedError
from relay.model.values import dataclass

FindSecret = Callable[[str], str]
"""Returns the value of a secret by name. Raises NotFoundError, and VaultLockedError while the vault is locked."""

# Of the project whose handlers run in this context; an app may contain several.
_current: ContextVar[FindSecret | None] = ContextVar("find_secret", default=None)
_default: FindSecret | None = None


def secret(name: str) -> str:
    """Return a secret of the vault, else an environment variable of that name (also in capitals).

    `"vault:stripe_key"` and `"env:STRIPE_KEY"` read only one of them. It is looked up at each call, so a handler
    sees a secret that was changed or unlocked since.

    Raises NotFoundError if there is no such secret, VaultLockedError while it is in the locked vault, and TypeError
    for a name that is not text.
    """
    if not isinstance(name, str):
        raise TypeError(f"relay.secret takes the name of a secret as text, not {name!r}")
    find = _current.get() or _default or find_in_environment
    return find(name)


@contextmanager
def using_secrets(find: FindSecret) -> Iterator[None]:
    """Let handlers that run in this context read secrets by `find`."""
    token = _current.set(find)
    try:
        yield
    finally:
        _current.reset(token)


def set_default_secrets(find: FindSecret) -> None:
    """Let all threads of this process read secrets by `find`, unless their context has another function."""
    global _default  # noqa: PLW0603 - threads that a handler starts have a context of their own
    _default = find


def find_in_environment(name: str) -> str:
    """Return a variable of this process: for a handler that a test calls. Raises NotFoundError."""
    kind, _, variable = name.rpartition(":")
    if kind in ("", "env"):
        for spelling in (variable, variable.upper()):
            if os.environ.get(spelling):
                return os.environ[spelling]
    raise missing_secret(name)


def missing_secret(name: str) -> NotFoundError:
    """Return the error for a missing secret."""
    kind, _, bare = name.rpartition(":")
    places = {"vault": "the vault holds no", "env": "the environment holds no"}.get(
        kind, "neither the vault nor the environment holds a"
    )
    hint = f"put {bare}=… into .env" if kind == "env" else f"relay vault set {bare} keeps one"
    return NotFoundError(f"{places} secret '{bare}'", hint=hint)


def describe_lookup(find: FindSecret, name: str) -> dict[str, str]:
    """Return the result or error of `find` as plain values, for the pipe to a handlers process."""
    try:
        return {"value": find(name)}
    except RelayError as error:
        return {"error": error.code, "sentence": error.message, "hint": error.hint}


def read_lookup(answer: dict[str, str]) -> str:
    """Return the value that `describe_lookup` returned, or raise what it raised."""
    if "value" in answer:
        return answer["value"]
    kind = VaultLockedError if answer["error"] == VaultLockedError.code else NotFoundError
    raise kind(answer["sentence"], hint=answer["hint"])


DEFAULT_PATIENCE = 30.0  # seconds that a file may take to load


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """The handlers file of the target of that name.

    `folder` is the project's, the working directory of its process and the base of names in tracebacks. `timeout`
    in seconds, for all functions of an event together. `environ` is its environment, `find_secret`
    the source of `relay.secret`.
    """

    target: str
    path: Path
    folder: Path
    timeout: float = 30.0
    patience: float = DEFAULT_PATIENCE
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    find_secret: FindSecret = field(default=find_in_environment, repr=False, compare=False)

    def is_locked(self, name: str) -> bool:
        """Return whether a secret cannot be read until the vault is unlocked."""
        return describe_lookup(self.find_secret, name).get("error") == VaultLockedError.code

    @property
    def name(self) -> str:
        """Return the name of the file for display."""
        try:
            return str(self.path.relative_to(self.folder))
        except ValueError:
            return str(self.path)
