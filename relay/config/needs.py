"""What relay.toml wants of the vault: who needs which secret, and what to say while it is not at hand."""

from collections.abc import Iterable, Iterator

from relay.config.file import File
from relay.vault import Need, Vault, VaultState, effects, lacking

_VAULT = "vault:"


def needs(file: File) -> tuple[Need, ...]:
    """Return every reference to the vault, in the order of the file."""
    return tuple(dict.fromkeys(_needs(file)))


def vault_notices(wanted: tuple[Need, ...], vault: Vault) -> tuple[str, ...]:
    """Return what a person should know of the vault that the configuration needs; nothing where it needs none."""
    if not wanted:
        return ()
    if problem := vault.problem:
        return (f"{problem}; until then: {' '.join(effects(wanted))}",)
    told = [*lacking(wanted, vault.names)]
    if vault.state is VaultState.NONE:
        told.insert(0, f"there is no vault at {vault.path}; relay vault init makes one")
    elif vault.state is VaultState.LOCKED:
        told.insert(0, f"the vault is locked. {' '.join(effects(wanted))} relay vault unlock opens it")
    return tuple(told)


def _needs(file: File) -> Iterator[Need]:
    for source, table in file.sources.items():
        yield from (Need(kind="source", source=source, name=name) for name in _names(table.secret))
        yield from (Need(kind="handshake", source=source, name=name) for name in _names(table.verify_token))
    if file.smtp is not None:
        credentials = filter(None, (file.smtp.username, file.smtp.password))
        yield from (Need(kind="mail", name=name) for name in _names(credentials))
    yield from (Need(kind="tunnel", name=name) for name in _names([file.tunnel.authtoken]))


def _names(references: Iterable[str]) -> Iterator[str]:
    return (item.removeprefix(_VAULT) for item in references if item.startswith(_VAULT))
