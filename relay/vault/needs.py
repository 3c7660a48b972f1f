"""Which parts of the configuration need which secret of the vault, and what does not work without it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from relay.model.values import dataclass

Kind = Literal["source", "handshake", "catch_up", "mail", "tunnel"]
_LOCKED_EFFECTS: dict[Kind, str] = {
    "source": "{} cannot check signatures.",
    "handshake": "{} cannot answer handshakes.",
    "catch_up": "{} cannot be caught up with.",
    "mail": "Mail waits.",
    "tunnel": "The tunnel waits.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretNeed:
    """A reference `vault:name`: its purpose, its source ("" for none), and the name."""

    kind: Kind
    source: str = ""
    name: str

    @property
    def who(self) -> str:
        """Return the name of the part that needs it, for messages."""
        return {
            "source": f"source '{self.source}'",
            "handshake": f"the handshake of source '{self.source}'",
            "catch_up": f"catching up with source '{self.source}'",
            "mail": "mail",
            "tunnel": "the tunnel",
        }[self.kind]


def find_needs(tables: Mapping[str, Any]) -> tuple[SecretNeed, ...]:
    """Return all references to the vault in the tables of a relay.toml, in its order."""
    places: list[tuple[Kind, str, Any]] = []
    for source, table in tables.get("sources", {}).items():
        access = table.get("catch_up") or {}
        places += [("source", source, table.get("secret")), ("handshake", source, table.get("verify_token"))]
        places += [("catch_up", source, access.get("token")), ("catch_up", source, access.get("key"))]
    mail, tunnel = tables.get("smtp") or {}, tables.get("tunnel", {})
    places += [("mail", "", mail.get("username")), ("mail", "", mail.get("password"))]
    places.append(("tunnel", "", tunnel.get("authtoken")))
    needs = (
        SecretNeed(kind=kind, source=source, name=name)
        for kind, source, references in places
        for name in _iterate_names(references)
    )
    return tuple(dict.fromkeys(needs))


def _iterate_names(references: str | list[str] | None) -> Iterator[str]:
    for reference in [references] if isinstance(references, str) else references or ():
        if reference.startswith("vault:"):
            yield reference.removeprefix("vault:")


def describe_missing_secrets(needs: Iterable[SecretNeed], names: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for each secret missing in the vault, with the command that adds it."""
    held = frozenset(names)
    return tuple(
        f"{need.who} needs vault secret '{need.name}'; relay vault set {need.name}"
        for need in needs
        if need.name not in held
    )


def describe_locked_effects(needs: Iterable[SecretNeed]) -> tuple[str, ...]:
    """Return the effects of a locked vault, a sentence for each kind of need."""
    sources: dict[str, dict[str, None]] = {}
    for need in needs:
        sources.setdefault(need.kind, {})[need.source] = None
    return tuple(
        effect.format(_join_sources(*sources[kind])) for kind, effect in _LOCKED_EFFECTS.items() if kind in sources
    )


def _join_sources(*names: str) -> str:
    *most, last = names
    return f"Sources {', '.join(most)} and {last}" if most else f"Source {last}"
