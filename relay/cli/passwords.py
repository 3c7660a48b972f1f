"""Where the vault's password comes from: a file descriptor, the environment, the keyring, or a person."""

import asyncio
import os
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from relay.cli.asking import ask_line, can_ask
from relay.cli.options import Call
from relay.cli.terminal import Terminal, quote
from relay.clock import SystemClock
from relay.config import Config
from relay.config.build import resolved
from relay.errors import RelayError, UsageError, VaultError, VaultLockedError, WrongPasswordError
from relay.model.secret import Secret
from relay.vault import Attempts, VaultState
from relay.vault.attempts import TRIES
from relay.vault.remembered import KEYRING, Remembered
from relay.vault.vault import check_password

T = TypeVar("T")

VARIABLE = "RELAY_VAULT_PASSWORD"
FILE_VARIABLE = "RELAY_VAULT_PASSWORD_FILE"
_MOST = 64 * 1024  # bytes read of a file that holds a password
_HINT = f"set {FILE_VARIABLE} or {VARIABLE}, or use --password-fd"

password_fd = click.option(
    "--password-fd", type=int, metavar="N", help="Read the vault's password from this file descriptor."
)


def given(config: Config, fd: int | None, *, keyring: bool = True) -> Secret | None:
    """Return the password that nobody need be asked for; its reference says where it came from.

    Raises UsageError and VaultError for a place that was named and holds none.
    """
    # Neither what relay starts nor what it loads has any business with it.
    os.environ.pop(VARIABLE, None)
    if fd is not None:
        return from_fd(fd)
    if password := config.environ.get(VARIABLE):
        return Secret(VARIABLE, password)
    if path := config.environ.get(FILE_VARIABLE):
        return _first_line(FILE_VARIABLE, Path(path).expanduser())
    return Remembered(config.vault.path).find() if keyring else None


def from_fd(fd: int, option: str = "--password-fd") -> Secret:
    """Return the first line that a file descriptor gives. Raises UsageError."""
    return _first_line(f"{option} {fd}", fd)


async def ask_until(call: Call, prompt: str, attempt: Callable[[Secret], Awaitable[T]]) -> T:
    """Ask a person for a password until `attempt` takes it: three tries, then WrongPasswordError.

    Raises VaultLockedError where nobody can be asked.
    """
    if not can_ask(call.terminal):
        raise VaultLockedError("no terminal to ask for the password", hint=_HINT)
    with _unseen():
        for left in range(TRIES - 1, -1, -1):
            password = Secret("the password", await _line(call.terminal, prompt))
            try:
                return await attempt(password)
            except RelayError as error:
                if (
                    not isinstance(error, WrongPasswordError)
                    and getattr(error, "code", "") != "wrong_password"
                ):
                    raise
                if not left:
                    raise WrongPasswordError(error.sentence, hint="that was the third try") from None
                call.terminal.say(
                    f"relay: {error.sentence}; {left} {'try is' if left == 1 else 'tries are'} left"
                )
    raise AssertionError


async def open_vault(call: Call, config: Config, fd: int | None) -> Secret:
    """Open the vault with the password that is given, else ask for it; return the password.

    Raises as Vault.unlock does, and VaultLockedError where there is neither.
    """
    config.vault.content()  # what cannot be opened at all is told before anybody is asked
    return await _opened(call, config, _found(call, config, fd))


async def unlocked(call: Call, config: Config, fd: int | None, *, locked: bool) -> Config:
    """Return the configuration with its vault open, for `relay start`.

    Off a terminal without a password it comes back locked, as it does where that is asked for (`locked`) or
    nothing needs it. Raises VaultError where the vault that is needed cannot be used, WrongPasswordError
    after a wrong password.
    """
    password = _found(call, config, fd)
    if locked or config.vault.state is VaultState.NONE:
        return config
    if config.needs:
        config.vault.content()
    if password is None and not (config.needs and can_ask(call.terminal)):
        return config
    await _opened(call, config, password)
    return resolved(config)


async def at_hand(config: Config) -> Config:
    """Return the configuration with its vault open where nobody need be asked, for a relay of the moment."""
    if config.needs and config.vault.state is VaultState.LOCKED:
        password = given(config, None)
        if password is not None:
            await asyncio.to_thread(config.vault.unlock, password)
            return resolved(config)
    return config


async def new_password(call: Call, fd: int | None, option: str = "--password-fd") -> Secret:
    """Return a password for a vault to be made with: from a file descriptor, or asked for twice.

    Raises UsageError for one that is too short, VaultLockedError where nobody can be asked.
    """
    if fd is not None:
        password = from_fd(fd, option)
        check_password(password)
        return password
    if not can_ask(call.terminal):
        raise VaultLockedError("no terminal to ask for the password", hint=_HINT)
    with _unseen():
        for left in range(TRIES - 1, -1, -1):
            try:
                return await _twice(call.terminal)
            except UsageError as error:
                if not left:
                    raise
                call.terminal.say(f"relay: {error.full_text}")
    raise AssertionError


async def value(call: Call, name: str, *, stdin_taken: bool) -> str:
    """Return a secret's value: asked for without being shown, or all of stdin off a terminal.

    Raises UsageError for what is no text, and where stdin gives the password already.
    """
    if can_ask(call.terminal):
        with _unseen():
            return await _line(call.terminal, f"Value of {name}: ")
    if stdin_taken or sys.stdin is None:
        raise UsageError(
            "there is no stdin to read the value from", hint="pipe it in, or run this on a terminal"
        )
    content: bytes = await asyncio.to_thread(sys.stdin.buffer.read, _MOST * 2)
    try:
        # The line end that echo and editors put behind it is none of its own.
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the value is not text in UTF-8", hint="encode it first: base64 < file") from None


def _found(call: Call, config: Config, fd: int | None) -> Secret | None:
    try:
        return given(config, fd)
    except VaultError as error:
        # A keyring that does not answer is no reason to give up where a person can be asked.
        if not can_ask(call.terminal):
            raise
        call.terminal.say(f"relay: {error.full_text}")
        return None


async def _opened(call: Call, config: Config, password: Secret | None) -> Secret:
    attempts = Attempts(config.vault, SystemClock())

    async def attempt(password: Secret) -> Secret:
        await attempts.unlock(password)
        return password

    if password is None:
        return await ask_until(call, f"Password of vault {config.vault.path}: ", attempt)
    try:
        return await attempt(password)
    except WrongPasswordError as error:
        if password.reference != KEYRING or not can_ask(call.terminal):
            raise WrongPasswordError(error.sentence, hint=f"it came from {password.reference}") from None
        call.terminal.say(f"relay: {error.sentence}; it came from {KEYRING}")
    return await _opened(call, config, None)


async def _twice(terminal: Terminal) -> Secret:
    first = Secret("the password", await _line(terminal, "New password: "))
    check_password(first)
    if await _line(terminal, "Again: ") != first.reveal():
        raise UsageError("the two are not the same", hint="type it twice")
    return first


def _first_line(name: str, where: Path | int) -> Secret:
    try:
        with open(where, "rb", closefd=False) if isinstance(where, int) else where.open("rb") as file:
            content = file.read(_MOST)
    except OSError as error:
        shown = name if isinstance(where, int) else f"{name} names {quote(str(where))}, which"
        raise UsageError(f"{shown} cannot be read: {error.strerror}", hint=_HINT) from None
    line = content.partition(b"\n")[0].removesuffix(b"\r").decode("utf-8", "surrogateescape")
    if not line:
        raise UsageError(f"{name} gives no password", hint="its first line is the password")
    return Secret(name, line)


@contextmanager
def _unseen() -> Iterator[None]:
    """Let what is typed not be shown; however this ends, the terminal is as it was."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    # Not flushed: what was typed, or pasted, while a key was derived is still meant.
    termios.tcsetattr(fd, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def _line(terminal: Terminal, prompt: str) -> str:
    """Return a line that is typed unseen. Ctrl-C ends the wait; Ctrl-D raises VaultLockedError."""
    line = await ask_line(terminal, prompt)
    terminal.say("")  # after Ctrl-C click ends the line
    if line is None:
        raise VaultLockedError("no password was given")
    return line
