"""A secret value that is never shown by accident."""

from dataclasses import field

from relay.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret, token or password, and where it came from.

    `reference` is its reference in relay.toml (`env:NAME`, `vault:name`) and may be shown;
    the value may not, so `repr` and `str` return dots. Only `reveal()` returns it.
    """

    reference: str
    _value: str = field(repr=False)

    @property
    def title(self) -> str:
        """Return its name in messages: a vault secret by its name, any other by its reference."""
        kind, _, name = self.reference.partition(":")
        return f"vault secret '{name}'" if kind == "vault" else self.reference

    def reveal(self) -> str:
        """Return the value itself: for verifying, signing or logging in, never for display."""
        return self._value

    def __str__(self) -> str:
        return f"{self.reference} ••••"

    def __repr__(self) -> str:
        return f"Secret({self.reference!r}, ••••)"

    def __reduce__(self) -> str | tuple[object, ...]:
        message = "a secret is not pickled"
        raise TypeError(message)
