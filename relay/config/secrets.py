"""References to secrets (`env:NAME`, `vault:name`) become Secret values; what is missing is named, never guessed."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import parse_stream

from relay.config.tables import File
from relay.errors import ConfigError, VaultLockedError
from relay.handlers.environment import missing_secret
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.vault import SecretNeed, Vault, VaultState, describe_locked_effects, describe_missing_secrets

_CREDENTIAL = re.compile(r"^(?!.*ACCESS_KEY).*(?:SECRET|KEY|TOKEN|PASSCODE|PASSWORD)", re.IGNORECASE)
_MOST_SECRETS = 64  # secrets of the environment that are tried at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSecrets:
    """The secrets that were found, in order, the references that led nowhere, and those behind a locked vault."""

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
    """Look every reference up; an empty variable counts as missing, because nothing verifies with it.

    While the vault is locked its content is unknown: its names are not vouched for before it is open.
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


def resolve_default_variables(variables: Iterable[str], environ: Mapping[str, str]) -> ResolvedSecrets:
    """Look in the variables a provider's secret usually lies in; the first that is set counts."""
    names = tuple(variables)
    for name in names:
        resolved = resolve_references([f"env:{name}"], environ)
        if resolved.found:
            return resolved
    return ResolvedSecrets(missing=tuple(f"env:{name}" for name in names[:1]))


def find_secret(environ: Mapping[str, str], vault: Vault | None, name: str) -> str:
    """Return what `relay.secret(name)` gives: a secret of the vault, else a variable, also by its name in capitals.

    Raises NotFoundError, and VaultLockedError where the locked vault may hold it.
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
    """Say in a few words why a reference led nowhere."""
    kind, _, name = reference.partition(":")
    if kind == "vault":
        return f"the vault holds no secret '{name}'"
    return f"{name} is not set"


def find_provider_secrets(environ: Mapping[str, str], references: Iterable[str]) -> tuple[Secret, ...]:
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
        and not name.startswith("RELAY_VAULT_")
        and (name in usual_names or name in named or (_CREDENTIAL.search(name) and words & {*name.split("_")}))
    ]
    # Those that providers' own names hold first: they are the likeliest.
    found.sort(key=lambda name: name not in usual_names)
    return tuple(Secret(f"env:{name}", environ[name]) for name in found[:_MOST_SECRETS])


_FILE_NAME = ".env"
_MAX_FILE = 1_000_000  # bytes
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe", "utf-16"),  # PowerShell's `>` up to version 5
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Variables by name, the .env file that filled the gaps (None without one), which ones, and what is odd in it."""

    values: Mapping[str, str] = field(repr=False)
    file: Path | None = None
    from_file: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()


def load_environment(folder: Path, environ: Mapping[str, str]) -> Environment:
    """Return `environ` with what the .env of `folder` adds to it; the environment itself wins.

    Without one in the folder, the nearest one above it counts, up to the root of the Git repository that the
    folder lies in and never beyond the home folder. Nothing in a value is expanded: `${NAME}` stays as it is.
    Raises ConfigError for a .env that cannot be read.
    """
    path = _find_env_file(folder, environ.get("HOME", ""))
    if path is None:
        return Environment(values=dict(environ))
    found: dict[str, str] = {}
    notices: list[str] = []
    for binding in parse_stream(io.StringIO(_read_env_file(path))):
        if binding.error:
            notices.append(f"{path}: line {binding.original.line} is not NAME=value, so it is left out")
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    return Environment(
        values=found | dict(environ),
        file=path,
        from_file=frozenset(found.keys() - environ.keys()),
        notices=tuple(notices),
    )


def _find_env_file(folder: Path, home: str) -> Path | None:
    beside = folder / _FILE_NAME
    if beside.is_file():
        return beside
    above: list[Path] = []
    for place in (folder, *folder.parents):
        above.append(place / _FILE_NAME)
        if (place / ".git").exists():
            return next((path for path in above if path.is_file()), None)
        if str(place) == home:
            break
    return None


def _read_env_file(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="correct its permissions") from None
    if len(raw) > _MAX_FILE:
        raise ConfigError(f"{path} is too large for variables", hint=f"at most {_MAX_FILE} bytes")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8")
    return text


_VAULT = "vault:"


def find_vault_needs(file: File) -> tuple[SecretNeed, ...]:
    """Return every reference to the vault, in the order of the file."""
    return tuple(dict.fromkeys(_iterate_needs(file)))


def vault_notices(wanted: tuple[SecretNeed, ...], vault: Vault) -> tuple[str, ...]:
    """Return what a person should know of the vault that the configuration needs; nothing where it needs none."""
    if not wanted:
        return ()
    if problem := vault.problem:
        return (f"{problem}; until then: {' '.join(describe_locked_effects(wanted))}",)
    told = [*describe_missing_secrets(wanted, vault.names)]
    if vault.state is VaultState.NONE:
        told.insert(0, f"there is no vault at {vault.path}; relay vault init makes one")
    elif vault.state is VaultState.LOCKED:
        told.insert(0, f"the vault is locked. {' '.join(describe_locked_effects(wanted))} relay vault unlock opens it")
    return tuple(told)


def _iterate_needs(file: File) -> Iterator[SecretNeed]:
    for source, table in file.sources.items():
        yield from (SecretNeed(kind="source", source=source, name=name) for name in _vault_names(table.secret))
        yield from (SecretNeed(kind="handshake", source=source, name=name) for name in _vault_names(table.verify_token))
    if file.smtp is not None:
        credentials = filter(None, (file.smtp.username, file.smtp.password))
        yield from (SecretNeed(kind="mail", name=name) for name in _vault_names(credentials))
    yield from (SecretNeed(kind="tunnel", name=name) for name in _vault_names([file.tunnel.authtoken]))


def _vault_names(references: Iterable[str]) -> Iterator[str]:
    return (item.removeprefix(_VAULT) for item in references if item.startswith(_VAULT))
