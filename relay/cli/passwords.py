"""Gets the vault's password from a file descriptor, the environment, the keyring or a prompt, and opens the vault."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from relay.cli.options import Call
from relay.cli.output import Terminal, ask_line, can_ask, quote
from relay.errors import RelayError, UsageError, VaultError, VaultLockedError, WrongPasswordError
from relay.model.secret import Secret
from relay.platform import SystemClock, hide_input
from relay.vault import UnlockThrottle, Vault, VaultState
from relay.vault.storage import check_password
from relay.vault.unlocking import FREE_TRIES, KEYRING, KeyringPassword

if TYPE_CHECKING:
    from relay.config.build import Config

Environ = Mapping[str, str]
T = TypeVar("T")

PASSWORD_VARIABLE = "RELAY_VAULT_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_FILE_VARIABLE = "RELAY_VAULT_PASSWORD_FILE"  # noqa: S105 - the name of a variable
_MAX_PASSWORD_BYTES = 64 * 1024  # bytes read from a password file
_HINT = f"set {PASSWORD_FILE_VARIABLE} or {PASSWORD_VARIABLE}, or use --password-fd"


def find_password(vault: Vault, environ: Environ, fd: int | None, *, keyring: bool = True) -> Secret | None:
    """Return the password if it is available without a prompt; its reference is its origin.

    Raises UsageError and VaultError for a configured place without a password.
    """
    # Child processes and user code must not see it.
    os.environ.pop(PASSWORD_VARIABLE, None)
    if fd is not None:
        return _read_first_line(f"--password-fd {fd}", fd)
    if password := environ.get(PASSWORD_VARIABLE):
        return Secret(PASSWORD_VARIABLE, password)
    if path := environ.get(PASSWORD_FILE_VARIABLE):
        return _read_first_line(PASSWORD_FILE_VARIABLE, Path(path).expanduser())
    return KeyringPassword(vault.path).find() if keyring else None


async def ask_password(call: Call, prompt: str, attempt: Callable[[Secret], Awaitable[T]]) -> T:
    """Prompt for a password until `attempt` accepts it: three tries, then WrongPasswordError.

    Raises VaultLockedError without a terminal.
    """
    _check_terminal(call)
    with hide_input(sys.stdin.fileno()):
        for left in range(FREE_TRIES - 1, -1, -1):
            password = Secret("the password", await _ask_hidden_line(call.terminal, prompt))
            try:
                return await attempt(password)
            except RelayError as error:
                if not isinstance(error, WrongPasswordError) and getattr(error, "code", "") != "wrong_password":
                    raise
                if not left:
                    raise WrongPasswordError(error.message, hint="that was the third try") from None
                call.terminal.print_message(
                    f"relay: {error.message}; {left} {'try is' if left == 1 else 'tries are'} left"
                )
    raise AssertionError


async def open_vault(call: Call, vault: Vault, environ: Environ, fd: int | None) -> Secret:
    """Open the vault with the given password, else prompt for it; return the password.

    Raises as Vault.unlock does, and VaultLockedError without a password and a terminal.
    """
    vault.content()  # raises for a damaged vault, before any prompt
    return await _unlock_vault(call, vault, _find_password(call, vault, environ, fd))


async def unlock_for_start(call: Call, config: "Config", fd: int | None, *, locked: bool) -> "Config":
    """Return the configuration with its vault open, for `relay start`.

    The vault stays locked without password and terminal, with `locked`, or if nothing needs it. Raises
    VaultError if a needed vault cannot be used, WrongPasswordError after a wrong password.
    """
    from relay.config.build import resolve_again  # most commands that ask for a password need no configuration

    password = _find_password(call, config.vault, config.environ, fd)
    if locked or config.vault.state is VaultState.NONE:
        return config
    if config.needs:
        config.vault.content()
    if password is None and not (config.needs and can_ask(call.terminal)):
        return config
    await _unlock_vault(call, config.vault, password)
    return resolve_again(config)


async def unlock_unattended(config: "Config") -> "Config":
    """Return the configuration with its vault open if that needs no prompt."""
    if config.needs and config.vault.state is VaultState.LOCKED:
        password = find_password(config.vault, config.environ, None)
        if password is not None:
            from relay.config.build import resolve_again  # as above

            await asyncio.to_thread(config.vault.unlock, password)
            return resolve_again(config)
    return config


async def choose_password(call: Call, fd: int | None, option: str = "--password-fd") -> Secret:
    """Return a new password: from a file descriptor, or from a prompt that asks for it twice.

    Raises UsageError for one that is too short, VaultLockedError without a terminal.
    """
    if fd is not None:
        password = _read_first_line(f"{option} {fd}", fd)
        check_password(password)
        return password
    _check_terminal(call)
    with hide_input(sys.stdin.fileno()):
        for left in range(FREE_TRIES - 1, -1, -1):
            try:
                return await _ask_twice(call.terminal)
            except UsageError as error:
                if not left:
                    raise
                call.terminal.print_message(f"relay: {error.full_text}")
    raise AssertionError


async def read_secret_value(call: Call, name: str, *, stdin_taken: bool) -> str:
    """Return a secret's value: from a hidden prompt, or all of stdin off a terminal.

    Raises UsageError if it is not text, or if the password is read from stdin.
    """
    if can_ask(call.terminal):
        with hide_input(sys.stdin.fileno()):
            return await _ask_hidden_line(call.terminal, f"Value of {name}: ")
    if stdin_taken or sys.stdin is None:
        raise UsageError("there is no stdin to read the value from", hint="pipe it in, or run this on a terminal")
    content: bytes = await asyncio.to_thread(sys.stdin.buffer.read, _MAX_PASSWORD_BYTES * 2)
    try:
        # Without the line end that echo and editors add.
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the value is not text in UTF-8", hint="encode it first: base64 < file") from None


def _check_terminal(call: Call) -> None:
    if not can_ask(call.terminal):
        raise VaultLockedError("no terminal to ask for the password", hint=_HINT)


def _find_password(call: Call, vault: Vault, environ: Environ, fd: int | None) -> Secret | None:
    try:
        return find_password(vault, environ, fd)
    except VaultError as error:
        # If the keyring fails, the user can still be asked.
        if not can_ask(call.terminal):
            raise
        call.terminal.print_message(f"relay: {error.full_text}")
        return None


async def _unlock_vault(call: Call, vault: Vault, password: Secret | None) -> Secret:
    attempts = UnlockThrottle(vault, SystemClock())

    async def attempt(password: Secret) -> Secret:
        await attempts.unlock(password)
        return password

    if password is None:
        return await ask_password(call, f"Password of vault {vault.path}: ", attempt)
    try:
        return await attempt(password)
    except WrongPasswordError as error:
        if password.reference != KEYRING or not can_ask(call.terminal):
            raise WrongPasswordError(error.message, hint=f"it came from {password.reference}") from None
        call.terminal.print_message(f"relay: {error.message}; it came from {KEYRING}")
    return await _unlock_vault(call, vault, None)


async def _ask_twice(terminal: Terminal) -> Secret:
    first = Secret("the password", await _ask_hidden_line(terminal, "New password: "))
    check_password(first)
    if await _ask_hidden_line(terminal, "Again: ") != first.reveal():
        raise UsageError("the two passwords differ", hint="type it twice")
    return first


def _read_first_line(name: str, where: Path | int) -> Secret:
    try:
        with open(where, "rb", closefd=False) if isinstance(where, int) else where.open("rb") as file:
            content = file.read(_MAX_PASSWORD_BYTES)
    except OSError as error:
        what = name if isinstance(where, int) else f"{name} names {quote(str(where))}, which"
        raise UsageError(f"{what} cannot be read: {error.strerror}", hint=_HINT) from None
    line = content.partition(b"\n")[0].removesuffix(b"\r").decode("utf-8", "surrogateescape")
    if not line:
        raise UsageError(f"{name} gives no password", hint="its first line is the password")
    return Secret(name, line)


async def _ask_hidden_line(terminal: Terminal, prompt: str) -> str:
    line = await ask_line(terminal, prompt)
    terminal.print_message("")  # a typed line end is not shown; after Ctrl-C click prints one
    if line is None:
        raise VaultLockedError("no password was given")
    return line
