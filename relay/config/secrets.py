"""Resolves references to secrets (`env:NAME`, `vault:name`) to Secret values and names the missing ones."""

import re
from collections.abc import Iterable, Mapping, Sequence

from relay.config.tables import File
from relay.errors import VaultLockedError
from relay.handlers.environment import missing_secret
from relay.model.secret import Secret
from relay.model.values import dataclass
from relay.providers.catalogue import PROVIDERS
from relay.vault import SecretNeed, Vault, VaultState, describe_locked_effects, describe_missing_secrets, find_needs

_CREDENTIAL = re.compile(r"^(?!.*ACCESS_KEY).*(?:SECRET|KEY|TOKEN|PASSCODE|PASSWORD)", re.IGNORECASE)
_MOST_SECRETS = 64  # secrets of the environment that are tried at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSecrets:
    """The secrets found, in order, the references without a value, and those in the locked vault."""

    found: tuple[Secret, ...] = ()
    missing: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()

    @property
    def first(self) -> Secret | None:
        """Return the first secret that was found."""
        return self.found[0] if self.found else None


def resolve_references(
    references: Iterable[str], environ: Mapping[str, str], vault: Vault | None = None
) -> ResolvedSecrets:
    """Look up all references; an empty variable counts as missing, because nothing verifies with it.

    While the vault is locked its content is unknown: its names are not authenticated before it is open.
    """
    found: list[Secret] = []
    missing: list[str] = []
    locked: list[str] = []
    for reference in references:
        kind, _, name = reference.partition(":")
        if kind == "vault" and vault is not None and vault.state is VaultState.LOCKED:
            locked.append(reference)
            continue
        value = environ.get(name, "") if kind == "env" else ""
        secret = vault.find(name) if kind == "vault" and vault is not None else Secret(reference, value)
        if secret is not None and secret.reveal().strip():
            found.append(secret)
        else:
            missing.append(reference)
    return ResolvedSecrets(found=tuple(found), missing=tuple(missing), locked=tuple(locked))


def resolve_secrets(
    references: Sequence[str], usual: Sequence[str], environ: Mapping[str, str], vault: Vault | None
) -> ResolvedSecrets:
    """Look up the references; without any, the first of the `usual` variables that is set is used."""
    if references:
        return resolve_references(references, environ, vault)
    found = (resolve_references([f"env:{name}"], environ) for name in usual)
    missing = tuple(f"env:{name}" for name in usual[:1])
    return next((resolved for resolved in found if resolved.found), ResolvedSecrets(missing=missing))


def find_secret(environ: Mapping[str, str], vault: Vault | None, name: str) -> str:
    """Return the value of `relay.secret(name)`: a vault secret, else a variable, also by its upper-case name.

    Raises NotFoundError, and VaultLockedError if the locked vault may contain it.
    """
    kind, _, bare = name.rpartition(":")
    if kind in ("", "vault") and vault is not None and (found := vault.find(bare)):
        return found.reveal()
    if kind in ("", "env"):
        for variable in (bare, bare.upper()):
            if environ.get(variable):
                return environ[variable]
    if kind in ("", "vault") and vault is not None and vault.state is VaultState.LOCKED and bare in vault.names:
        raise VaultLockedError(f"vault secret '{bare}' cannot be read: the vault is locked", hint="relay vault unlock")
    raise missing_secret(name)


def explain_missing(reference: str) -> str:
    """Return in a few words why a reference has no value."""
    kind, _, name = reference.partition(":")
    if kind == "vault":
        return f"the vault holds no secret '{name}'"
    return f"{name} is not set"


def find_provider_secrets(environ: Mapping[str, str], references: Iterable[str]) -> tuple[Secret, ...]:
    """Return the secrets of providers in the environment, whether a source names them or not.

    They are tried, never shown, if a signature matches none of its source's own: the test secret
    instead of the live one, a retired one, that of another provider.
    """
    usual_names = {name for provider in PROVIDERS.values() for name in provider.secret_env}
    named = {reference.partition(":")[2] for reference in references if reference.startswith("env:")}
    words = {name.partition("_")[0] for name in (*usual_names, *named)}
    found = [
        name
        for name, value in environ.items()
        if value.strip()
        and not name.startswith("RELAY_VAULT_")
        and (name in usual_names or name in named or (_CREDENTIAL.search(name) and words & {*name.split("_")}))
    ]
    # Those in variables with a provider's name first: they are the likeliest.
    found.sort(key=lambda name: name not in usual_names)
    return tuple(Secret(f"env:{name}", environ[name]) for name in found[:_MOST_SECRETS])


def find_vault_needs(file: File) -> tuple[SecretNeed, ...]:
    """Return all references to the vault, in the order of the file."""
    sources = {name: {**dict(table), "catch_up": dict(table.catch_up or ())} for name, table in file.sources.items()}
    return find_needs({"sources": sources, "smtp": dict(file.smtp) if file.smtp else {}, "tunnel": dict(file.tunnel)})


def vault_notices(needs: tuple[SecretNeed, ...], vault: Vault) -> tuple[str, ...]:
    """Return notices about the vault that the configuration needs; none if it needs no vault."""
    if not needs:
        return ()
    effects = " ".join(describe_locked_effects(needs))
    if problem := vault.problem:
        return (f"{problem}; until then: {effects}",)
    missing = describe_missing_secrets(needs, vault.names)
    if vault.state is VaultState.NONE:
        return (f"there is no vault at {vault.path}; relay vault init makes one", *missing)
    if vault.state is VaultState.LOCKED:
        return (f"the vault is locked. {effects} relay vault unlock opens it", *missing)
    return missing
