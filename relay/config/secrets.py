"""References to secrets (`env:NAME`) become Secret values; what is missing is named, never guessed."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS

_CREDENTIAL = re.compile(r"^(?!.*ACCESS_KEY).*(?:SECRET|KEY|TOKEN|PASSCODE|PASSWORD)", re.IGNORECASE)
_REACH = 64  # secrets of the environment that are tried at most


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


def within_reach(environ: Mapping[str, str], references: Iterable[str]) -> tuple[Secret, ...]:
    """Return the secrets of providers that the environment holds, whether a source names them or not.

    They are tried, never shown, where a signature fits none of its source's own: the test secret
    for the live one, the retired one, the one of another provider.
    """
    usual_names = {name for provider in PROVIDERS.values() for name in provider.secret_env}
    named = {reference.partition(":")[2] for reference in references if reference.startswith("env:")}
    words = {name.partition("_")[0] for name in (*usual_names, *named)}
    found = [
        name
        for name, value in environ.items()
        if value.strip()
        and (
            name in usual_names or name in named or (_CREDENTIAL.search(name) and words & {*name.split("_")})
        )
    ]
    # Those that providers' own names hold first: they are the likeliest.
    found.sort(key=lambda name: name not in usual_names)
    return tuple(Secret(f"env:{name}", environ[name]) for name in found[:_REACH])
