"""References to secrets (`env:NAME`) become Secret values; what is missing is named, never guessed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.model.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The secrets that were found, in order, and the references that led nowhere."""

    found: tuple[Secret, ...] = ()
    missing: tuple[str, ...] = ()


def resolve(references: Iterable[str], environ: Mapping[str, str]) -> Resolved:
    """Look every reference up; an empty variable counts as missing, because nothing verifies with it."""
    found: list[Secret] = []
    missing: list[str] = []
    for reference in references:
        kind, _, name = reference.partition(":")
        value = environ.get(name, "") if kind == "env" else ""
        if value.strip():
            found.append(Secret(reference, value))
        else:
            missing.append(reference)
    return Resolved(found=tuple(found), missing=tuple(missing))


def usual(variables: Iterable[str], environ: Mapping[str, str]) -> Resolved:
    """Look in the variables a provider's secret usually lies in; the first that is set counts."""
    names = tuple(variables)
    for name in names:
        resolved = resolve([f"env:{name}"], environ)
        if resolved.found:
            return resolved
    return Resolved(missing=tuple(f"env:{name}" for name in names[:1]))


def explain(reference: str) -> str:
    """Say in a few words why a reference led nowhere."""
    kind, _, name = reference.partition(":")
    if kind == "vault":
        return f"{reference} cannot be read: this version has no vault yet"
    return f"{name} is not set"
