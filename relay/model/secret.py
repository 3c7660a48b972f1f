"""A secret: a value that never shows itself by accident."""

from dataclasses import field

from relay.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret, token or password, and where it came from.

    `reference` is what relay.toml says (`env:NAME`, `vault:name`) and may be shown;
    the value may not, so `repr` and `str` give dots. `reveal()` is the only way to it.
    """

    reference: str
    _value: str = field(repr=False)

    @property
    def title(self) -> str:
        """Return what sentences call it: a secret of the vault by its name, anything else by its reference."""
        kind, _, name = self.reference.partition(":")
        return f"vault secret '{name}'" if kind == "vault" else self.reference

    def reveal(self) -> str:
        """Return the value itself: to verify, sign or log in with, never to show."""
        return self._value

    def __str__(self) -> str:
        return f"{self.reference} ••••"

    def __repr__(self) -> str:
        return f"Secret({self.reference!r}, ••••)"

    def __reduce__(self) -> str | tuple[object, ...]:
        message = "a secret is not pickled"
        raise TypeError(message)
