"""Protection against guessing: a wrong password takes half a second, and after three of them there is a pause."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from relay.errors import VaultError, VaultPausedError, WrongPasswordError
from relay.model.clock import Clock
from relay.model.secret import Secret
from relay.platform import open_private
from relay.vault.storage import Vault

FREE_TRIES = 3
WRONG_SECONDS = 0.5  # minimum seconds for a wrong password, however fast its key is derived
PAUSE_SECONDS = 30.0  # seconds after three wrong ones; twice as long after three more
LONGEST_PAUSE = 600.0


class UnlockThrottle:
    """The only way to open a vault while relay runs: one password at a time."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._turn = asyncio.Lock()
        self._wrong = 0
        self._until = 0.0

    @property
    def left(self) -> int:
        """Return how many wrong passwords are allowed before a pause."""
        return FREE_TRIES - self._wrong % FREE_TRIES

    @property
    def paused(self) -> float:
        """Return the seconds until the next password is accepted; 0 if at once."""
        return max(0.0, self._until - self._clock.monotonic())

    async def unlock(self, password: Secret) -> None:
        """Open the vault. Raises as Vault.unlock does, and VaultPausedError during a pause."""
        async with self._turn:
            if self.paused:
                raise VaultPausedError(
                    "there were three wrong passwords", hint=f"try again in {self.paused:.0f} s", seconds=self.paused
                )
            began = self._clock.monotonic()
            try:
                await asyncio.to_thread(self._vault.unlock, password)
            except WrongPasswordError as error:
                await self._clock.sleep(max(0.0, began + WRONG_SECONDS - self._clock.monotonic()))
                raise WrongPasswordError(error.message, hint=self._count()) from None
            self._wrong = 0

    def _count(self) -> str:
        self._wrong += 1
        if self.left < FREE_TRIES:
            return f"{self.left} {'try is' if self.left == 1 else 'tries are'} left"
        pause = min(PAUSE_SECONDS * 2 ** (self._wrong // FREE_TRIES - 1), LONGEST_PAUSE)
        self._until = self._clock.monotonic() + pause
        return f"the next try is in {pause:.0f} s"


SERVICE = "relay vault"
KEYRING = "the system's keyring"


class KeyringPassword:
    """The password of a vault in the keyring; a file next to the vault records that it was put there."""

    def __init__(self, vault: Path) -> None:
        self._account = str(vault.resolve())
        self._mark = vault.with_name("vault.keyring")

    @property
    def wanted(self) -> bool:
        """Return whether the password was put into the keyring; otherwise the keyring is not accessed."""
        return self._mark.exists()

    def find(self) -> Secret | None:
        """Return the password; None if it was not put there, or has been removed.

        Raises VaultError if there is no keyring.
        """
        if not self.wanted:
            return None
        with _no_keyring_error():
            value = _load_keyring().get_password(SERVICE, self._account)
        return Secret(KEYRING, value) if value else None

    def keep(self, password: Secret) -> None:
        """Put the password into the keyring. Raises VaultError if that fails."""
        with _no_keyring_error():
            _load_keyring().set_password(SERVICE, self._account, password.reveal())
            os.close(open_private(self._mark, os.O_WRONLY))

    def forget(self) -> None:
        """Remove the password from the keyring. Raises VaultError if that fails."""
        with _no_keyring_error():
            if _load_keyring().get_password(SERVICE, self._account) is not None:
                _load_keyring().delete_password(SERVICE, self._account)
            self._mark.unlink(missing_ok=True)


def _load_keyring() -> ModuleType:
    import keyring  # noqa: PLC0415 - an extra, and slow to import where it is there

    return keyring


@contextmanager
def _no_keyring_error() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise VaultError("the package keyring is not installed", hint="pip install 'webhook-relay[keyring]'") from None
    except Exception as error:  # noqa: BLE001 - a backend may raise anything, and its message may hold the password
        raise VaultError(
            f"the system's keyring refused ({type(error).__name__})", hint="keyring --list-backends shows what there is"
        ) from None
