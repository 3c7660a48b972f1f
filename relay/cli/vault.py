"""`relay vault`: secrets under a password, for relay.toml to name as vault:NAME."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from relay.cli.client import ApiClient, connect_running
from relay.cli.options import Call, password_fd_option, shared_options
from relay.cli.output import Json, Part, open_private_output
from relay.cli.passwords import ask_password, choose_password, find_password, open_vault, read_secret_value
from relay.config.environment import load_environment
from relay.errors import NotFoundError, VaultError
from relay.model.secret import Secret
from relay.vault import Vault, VaultState, find_needs
from relay.vault.storage import check_name
from relay.vault.unlocking import KeyringPassword


@click.group("vault", invoke_without_command=True)
@click.pass_context
def vault_command(context: click.Context) -> None:
    """Keep secrets under a password. relay.toml names them as vault:NAME.

    The password is asked for on a terminal, three times at most. Elsewhere RELAY_VAULT_PASSWORD holds it,
    RELAY_VAULT_PASSWORD_FILE names a file whose first line it is, or --password-fd a file descriptor.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@vault_command.command("init")
@password_fd_option
@shared_options
async def create_vault(call: Call, *, password_fd: int | None) -> None:
    """Make an empty vault, and choose its password: 10 characters at least."""
    vault, environ = _load_vault(call)
    if vault.state is not VaultState.NONE:
        vault.content()  # raises for a damaged vault
        raise VaultError(f"there is a vault already: {vault.path}", hint="relay vault list says what is in it")
    password = find_password(vault, environ, password_fd, keyring=False)
    vault.create(password or await choose_password(call, None))
    _print_done(call, {"created": str(vault.path)}, f"made {vault.path}; it cannot be opened without its password")


@vault_command.command("set")
@click.argument("name")
@password_fd_option
@shared_options
async def set_secret(call: Call, name: str, *, password_fd: int | None) -> None:
    """Keep a secret as NAME: its value is asked for, or read from stdin off a terminal; never an argument."""
    check_name(name)
    vault, environ = _load_vault(call)
    api = await _connect_unlocked(vault)
    if api is None:
        await open_vault(call, vault, environ, password_fd)
    value = await read_secret_value(call, name, stdin_taken=password_fd == 0)
    answer: Json = {}
    if api is None:
        vault.put(name, value)
    else:
        answer = await api.put(f"/api/vault/secrets/{name}", {"value": value})
    _print_done(call, {"set": name}, f"kept {name}; relay.toml names it as vault:{name}", _describe_checked(answer))


@vault_command.command("get")
@click.argument("name")
@password_fd_option
@shared_options
async def print_secret(call: Call, name: str, *, password_fd: int | None) -> None:
    """Print the value of NAME to stdout, and nothing else."""
    check_name(name)
    vault, environ = _load_vault(call)
    await open_vault(call, vault, environ, password_fd)
    secret = vault.find(name)
    if secret is None:
        raise vault.build_missing_error(name)
    if call.json:
        call.terminal.print_json({"name": name, "value": secret.reveal()})
    else:
        call.terminal.write_bytes(secret.reveal().encode() + b"\n")


@vault_command.command("list")
@shared_options
async def list_secrets(call: Call) -> None:
    """List the names: what needs each, and which are missing. Needs no password, and shows no value."""
    vault, _ = _load_vault(call)
    vault.content()
    try:
        needs = find_needs(call.read_tables())
    except (AttributeError, TypeError):
        needs = call.load().needs  # this reports the error
    needed: dict[str, list[str]] = {name: [] for name in vault.names}
    for need in needs:
        needed.setdefault(need.name, []).append(need.who)
    secrets = [{"name": name, "held": name in vault.names, "needed_by": who} for name, who in needed.items()]
    call.terminal.print_values(secrets, _format_secret_row)
    if not secrets and not call.json:
        call.terminal.print_message("the vault is empty; relay vault set NAME keeps a secret in it")


def _format_secret_row(secret: Json) -> list[Part]:
    fix: Part = "" if secret["held"] else (f"missing: relay vault set {secret['name']}", "yellow")
    return [secret["name"], ", ".join(secret["needed_by"]) or ("nothing needs it", "dim"), fix]


@vault_command.command("remove")
@click.argument("name")
@password_fd_option
@shared_options
async def remove_secret(call: Call, name: str, *, password_fd: int | None) -> None:
    """Forget the secret NAME."""
    check_name(name)
    vault, environ = _load_vault(call)
    api = await _connect_unlocked(vault)
    if api is not None:
        await api.delete(f"/api/vault/secrets/{name}")
    else:
        vault.content()
        if name not in vault.names:
            raise vault.build_missing_error(name)
        await open_vault(call, vault, environ, password_fd)
        vault.remove(name)
    _print_done(call, {"removed": name}, f"removed {name}", *_describe_removal(call, name))


def _describe_removal(call: Call, name: str) -> Iterator[str]:
    """Yield the effects of a removal: a source without any secret accepts everything."""
    vault, _ = _load_vault(call)
    try:
        tables = call.read_tables()
        needs = [need for need in find_needs(tables) if need.name == name]
    except (OSError, ValueError, AttributeError, TypeError):
        return  # errors in relay.toml are reported by the commands that need it
    kept = {f"vault:{held}" for held in vault.names}
    for need in needs:
        table = tables["sources"][need.source] if need.kind == "source" else {}
        others = [table["secret"]] if isinstance(table.get("secret"), str) else table.get("secret", ())
        if need.kind == "source" and not any(one in kept or one.startswith("env:") for one in others):
            yield f"{need.who} has no secret left, so what it gets is accepted unchecked"
        else:
            yield f"{need.who} still names it in relay.toml"


@vault_command.command("passwd")
@password_fd_option
@click.option("--new-password-fd", type=int, metavar="N", help="Read the new password from this descriptor.")
@shared_options
async def change_password(call: Call, *, password_fd: int | None, new_password_fd: int | None) -> None:
    """Change the password; the secrets stay."""
    vault, environ = _load_vault(call)
    await open_vault(call, vault, environ, password_fd)
    new = await choose_password(call, new_password_fd, "--new-password-fd")
    vault.change_password(new)
    remembered = KeyringPassword(vault.path)
    if remembered.wanted:
        remembered.keep(new)
    api = await _connect_unlocked(vault)
    if api is not None:
        await _post_unlock(api, new)
    _print_done(call, {"changed": str(vault.path)}, "the password is changed")


@vault_command.command("export")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--plain", is_flag=True, help="As plain JSON, not encrypted: needs the password.")
@password_fd_option
@shared_options
async def export_vault(call: Call, file: Path | None, *, plain: bool, password_fd: int | None) -> None:
    """Copy the vault to FILE, else stdout, sealed under its password; put back as it is to restore it."""
    vault, environ = _load_vault(call)
    if plain:
        await open_vault(call, vault, environ, password_fd)
        held = {name: secret.reveal() for name, secret in zip(vault.names, vault.secrets, strict=True)}
        content = f"{json.dumps(held)}\n".encode("ascii")
    else:
        content = vault.content()
    if file is None:
        call.terminal.write_bytes(content)
        return
    with open_private_output(file, replaces=False) as out:
        out.write(content)
    _print_done(call, {"exported": str(file)}, f"wrote {file}{', with every secret in plain text' if plain else ''}")


@vault_command.command("unlock")
@password_fd_option
@shared_options
async def unlock_vault(call: Call, *, password_fd: int | None) -> None:
    """Open the vault of the running relay: it checks what came meanwhile and sends on what verifies."""
    vault, environ = _load_vault(call)
    api = await _connect(vault.path.parent)
    vault.content()
    password = find_password(vault, environ, password_fd)
    if password is not None:
        answer = await _post_unlock(api, password)
    else:
        prompt = f"Password of vault {vault.path}: "
        answer = await ask_password(call, prompt, lambda typed: _post_unlock(api, typed))
    _print_done(call, answer, "the vault is unlocked", _describe_checked(answer))


@vault_command.command("lock")
@shared_options
async def lock_vault(call: Call) -> None:
    """Lock the vault of the running relay: it forgets every secret."""
    api = await _connect(call.find_data_dir())
    answer = await api.post("/api/vault/lock")
    _print_done(call, answer, "the vault is locked", " ".join(answer["waits"]))


@vault_command.command("remember")
@password_fd_option
@shared_options
async def remember_password(call: Call, *, password_fd: int | None) -> None:
    """Put the password into the system's keyring: relay looks there from now on, before it asks."""
    vault, environ = _load_vault(call)
    password = await open_vault(call, vault, environ, password_fd)
    KeyringPassword(vault.path).keep(password)
    _print_done(call, {"remembered": True}, "the password is now in the system's keyring")


@vault_command.command("forget")
@shared_options
async def forget_password(call: Call) -> None:
    """Take the password out of the system's keyring."""
    KeyringPassword(_load_vault(call)[0].path).forget()
    _print_done(call, {"remembered": False}, "the password is no longer in the system's keyring")


async def _connect_unlocked(vault: Vault) -> ApiClient | None:
    """Connect to the running relay if it has the vault open, so that it uses the changes."""
    api = await connect_running(vault.path.parent)
    return api if api is not None and (await api.get("/api/vault"))["state"] == "unlocked" else None


async def _post_unlock(api: ApiClient, password: Secret) -> Json:
    answer: Json = await api.post("/api/vault/unlock", {"password": password.reveal()})
    return answer


def _describe_checked(answer: Json) -> str:
    checked = answer.get("checked")
    return str(checked["sentence"]) if checked else ""


def _print_done(call: Call, value: Json, *sentences: str) -> None:
    call.terminal.print_value(value, ". ".join(filter(None, sentences)))


def _load_vault(call: Call) -> tuple[Vault, Mapping[str, str]]:
    """Return the locked vault, and the environment with its .env; the rest of relay.toml is not needed."""
    return Vault(call.find_data_dir() / "vault"), load_environment(call.folder, os.environ).values


async def _connect(data_dir: Path) -> ApiClient:
    """Connect to the running relay. Raises NotFoundError if there is none."""
    api = await connect_running(data_dir)
    if api is None:
        raise NotFoundError(f"no relay is running on {data_dir}", hint="relay start asks for the password itself")
    return api
