"""The vault's password in the system's keyring, for who asked for that: an extra, never looked at unasked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from relay.errors import VaultError
from relay.files import open_private
from relay.model.secret import Secret

SERVICE = "relay vault"
KEYRING = "the system's keyring"


class Remembered:
    """The password of one vault in the keyring; a file beside the vault says that it was put there."""

    def __init__(self, vault: Path) -> None:
        self._account = str(vault.resolve())
        self._mark = vault.with_name("vault.keyring")

    @property
    def wanted(self) -> bool:
        """Say whether the password was put into the keyring: without that the keyring is left alone."""
        return self._mark.exists()

    def find(self) -> Secret | None:
        """Return the password; None where it was not put there, or is there no more.

        Raises VaultError where there is no keyring to look into.
        """
        if not self.wanted:
            return None
        with _explained():
            value = _keyring().get_password(SERVICE, self._account)
        return Secret(KEYRING, value) if value else None

    def keep(self, password: Secret) -> None:
        """Put the password into the keyring. Raises VaultError where that cannot be done."""
        with _explained():
            _keyring().set_password(SERVICE, self._account, password.reveal())
            os.close(open_private(self._mark, os.O_WRONLY))

    def forget(self) -> None:
        """Take the password out of the keyring. Raises VaultError where that cannot be done."""
        with _explained():
            if _keyring().get_password(SERVICE, self._account) is not None:
                _keyring().delete_password(SERVICE, self._account)
            self._mark.unlink(missing_ok=True)


def _keyring() -> ModuleType:
    import keyring  # noqa: PLC0415 - an extra, and slow to import where it is there

    return keyring


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise VaultError(
            "the package keyring is not installed", hint="pip install 'webhook-relay[keyring]'"
        ) from None
    except Exception as error:  # noqa: BLE001 - a backend raises what it likes, and its words may hold the password
        raise VaultError(
            f"the system's keyring refused ({type(error).__name__})",
            hint="keyring --list-backends shows what there is",
        ) from None
