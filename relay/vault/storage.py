"""The vault of a data folder: an encrypted file, and its values while it is unlocked."""

import os
import shlex
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from relay.errors import NotFoundError, UsageError, VaultError, VaultLockedError
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.platform import (
    CLOSE_ON_EXEC,
    NO_FOLLOW,
    NON_BLOCKING,
    get_user_id,
    lock_file,
    make_private_folder,
    open_private,
    sync_folder,
    write_private,
)
from relay.vault.file_format import (
    LARGEST_FILE,
    NAME,
    NAME_RULE,
    DamagedError,
    Kdf,
    SealedVault,
    UnsafeKdfError,
    decode_file,
    encode_file,
    recommended_kdf,
    seal_vault,
    unseal_vault,
)

SHORTEST_PASSWORD = 10  # characters
LARGEST_VALUE = 64 * 1024  # bytes of one secret
_LONGEST_PASSWORD = 1024  # characters: a key is derived from all of them


class VaultState(StrEnum):
    """Whether there is a vault, and whether it is open."""

    NONE = "none"
    LOCKED = "locked"
    UNLOCKED = "unlocked"


class Vault:
    """Secrets under a password: names can be read at any time, values only while it is unlocked.

    Unlocking and writing derive a key, which takes half a second and 256 MiB: call them outside the
    event loop. While it is open the password stays in memory, because every write encrypts all values.
    """

    def __init__(self, path: Path, kdf: Kdf | None = None) -> None:
        self.path = path
        self._kdf = kdf
        self._password: Secret | None = None
        self._values: dict[str, Secret] = {}
        self._sealed: SealedVault | None = None
        self._seen: tuple[tuple[int, ...], SealedVault | VaultError] | None = None

    def __repr__(self) -> str:
        return f"Vault({str(self.path)!r}, {self.state})"

    @property
    def state(self) -> VaultState:
        """Return its state. A file that cannot be used is locked; `problem` says why."""
        if self._password is not None:
            return VaultState.UNLOCKED
        try:
            there = self.path.exists()
        except OSError:
            there = True  # in a folder without permission
        return VaultState.LOCKED if there else VaultState.NONE

    @property
    def problem(self) -> str:
        """Return why the file cannot be used and what to do; "" if it can."""
        try:
            self._load()
        except VaultError as error:
            return error.full_text
        return ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its secrets, in order; this needs no password."""
        if self._password is not None:
            return tuple(sorted(self._values))
        try:
            found = self._load()
        except VaultError:
            return ()
        return found.names if found else ()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Return all secrets by name; none while it is locked."""
        return tuple(self._values[name] for name in sorted(self._values))

    def find(self, name: str) -> Secret | None:
        """Return a secret; None while it is locked, or if there is none of that name."""
        return self._values.get(name)

    def content(self) -> bytes:
        """Return the encrypted file. Raises NotFoundError, and VaultError if it cannot be used."""
        return encode_file(self._require())

    def create(self, password: Secret) -> None:
        """Create an empty vault and open it.

        Raises UsageError for a short password, VaultError if there is a vault already.
        """
        check_password(password)
        with self._hold_lock():
            if self.path.exists():
                raise VaultError(f"there is a vault already: {self.path}", hint="relay vault list says what is in it")
            self._save({}, password, self._kdf or recommended_kdf())

    def unlock(self, password: Secret) -> None:
        """Open it, or read it again if it is open.

        Raises NotFoundError where there is none, WrongPasswordError, and VaultError for a file that is
        damaged, asks for unsafe parameters, or is open to others.
        """
        sealed = self._require()
        values = unseal_vault(sealed, _encode_password(password), f"vault {self.path}")
        self._open(values, password, sealed)

    def lock(self) -> None:
        """Forget the password and all values."""
        self._password, self._values, self._sealed = None, {}, None

    def put(self, name: str, value: str) -> None:
        """Store a secret under a name; an existing one is replaced. Raises as `unlock`, and UsageError."""
        check_name(name)
        check_value(value)
        with self._change() as values:
            values[name] = value

    def remove(self, name: str) -> None:
        """Remove a secret. Raises as `unlock`, and NotFoundError if there is none of that name."""
        check_name(name)
        with self._change() as values:
            if values.pop(name, None) is None:
                raise self.build_missing_error(name)

    def change_password(self, password: Secret) -> None:
        """Encrypt it under another password, with the parameters recommended now."""
        check_password(password)
        with self._change(password):
            pass

    def build_missing_error(self, name: str) -> NotFoundError:
        """Return the error for a missing secret."""
        return NotFoundError(f"vault {self.path} holds no secret '{name}'", hint="relay vault list names those it has")

    @contextmanager
    def _change(self, password: Secret | None = None) -> Iterator[dict[str, str]]:
        """Yield the current values of the file, and write them as the block leaves them."""
        if self._password is None:
            self._require()
            raise VaultLockedError("the vault is locked", hint="relay vault unlock opens it")
        with self._hold_lock():
            sealed = self._require()
            values = {name: secret.reveal() for name, secret in self._values.items()}
            if sealed != self._sealed:
                # Another program has written to it since.
                values = unseal_vault(sealed, _encode_password(self._password), f"vault {self.path}")
            yield values
            like = sealed.kdf if password is None else self._kdf or recommended_kdf()
            self._save(values, password or self._password, like)

    def _save(self, values: dict[str, str], password: Secret, like: Kdf) -> None:
        try:
            sealed = seal_vault(values, _encode_password(password), like)
        except MemoryError as error:
            raise VaultError("there is not enough memory to seal the vault", hint="free 256 MiB") from error
        content = encode_file(sealed)
        if len(content) > LARGEST_FILE:
            raise UsageError(f"the vault would be larger than {LARGEST_FILE} bytes", hint="remove what nothing uses")
        # A vault may be a link: its target is replaced, and the link stays.
        real = Path(os.path.realpath(self.path))
        try:
            write_private(real, content)
            sync_folder(real.parent)
        except OSError as error:
            raise _write_error(self.path, error) from error
        self._open(values, password, sealed)

    def _open(self, values: Mapping[str, str], password: Secret, sealed: SealedVault) -> None:
        self._password, self._sealed = password, sealed
        self._values = {name: Secret(f"vault:{name}", value) for name, value in values.items()}

    def _require(self) -> SealedVault:
        found = self._load()
        if found is None:
            raise NotFoundError(f"there is no vault at {self.path}", hint="relay vault init makes one")
        return found

    def _load(self) -> SealedVault | None:
        """Return the current file; None if there is none. Raises VaultError."""
        try:
            handle = os.open(self.path, os.O_RDONLY | CLOSE_ON_EXEC | NON_BLOCKING)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VaultError(
                f"cannot read vault {self.path}: {error.strerror}", hint="change its permissions"
            ) from error
        try:
            status = os.fstat(handle)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
            if self._seen is None or self._seen[0] != stamp:
                # Each page needs the names: the file is read again only after a change.
                self._seen = stamp, _read_sealed_file(self.path, status, handle)
        finally:
            os.close(handle)
        found = self._seen[1]
        if isinstance(found, VaultError):
            raise VaultError(found.message, hint=found.hint)
        return found

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        # Two simultaneous writes must not lose each other's secret.
        try:
            make_private_folder(self.path.parent)
            handle = open_private(self.path.with_name("vault.lock"), os.O_RDWR | NO_FOLLOW)
        except OSError as error:
            raise _write_error(self.path, error) from error
        try:
            lock_file(handle, waits=True)
            yield
        finally:
            os.close(handle)


def check_name(name: str) -> None:
    """Raise UsageError for an invalid name."""
    if not NAME.fullmatch(name):
        raise UsageError(f"'{escape_unprintable(name, 80)}' is not a name: {NAME_RULE}")


def check_value(value: str) -> None:
    """Raise UsageError for a value that cannot be stored; the message never contains it."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise UsageError("the value is not text in UTF-8") from None
    if not value.strip():
        raise UsageError("the value is empty", hint="a secret that is not needed is removed: relay vault remove")
    if size > LARGEST_VALUE:
        raise UsageError(f"the value is larger than {LARGEST_VALUE} bytes", hint="a vault holds secrets, not files")


def check_password(password: Secret) -> None:
    """Raise UsageError for an unacceptable password."""
    length = len(_normalise_password(password))
    if length < SHORTEST_PASSWORD:
        raise UsageError(
            f"the password has {length} characters; at least {SHORTEST_PASSWORD} are needed",
            hint="four or five unrelated words work well",
        )
    if length > _LONGEST_PASSWORD:
        raise UsageError(f"the password is longer than {_LONGEST_PASSWORD} characters")


def _normalise_password(password: Secret) -> str:
    # The same characters typed on another system may be other code points.
    return unicodedata.normalize("NFC", password.reveal())


def _encode_password(password: Secret) -> bytes:
    return _normalise_password(password)[: _LONGEST_PASSWORD + 1].encode("utf-8", "surrogatepass")


def _read_sealed_file(path: Path, status: os.stat_result, handle: int) -> SealedVault | VaultError:
    if not stat.S_ISREG(status.st_mode):
        return VaultError(f"vault {path} is not a file", hint="move it away, then relay vault init")
    if status.st_mode & 0o077 and get_user_id() is not None:
        return VaultError(
            f"vault {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )
    try:
        with open(handle, "rb", closefd=False) as file:
            return decode_file(file.read(LARGEST_FILE + 1))
    except UnsafeKdfError:
        return VaultError(f"vault {path} asks for unsafe parameters", hint="it was changed; put a copy of it back")
    except DamagedError as error:
        return VaultError(f"vault {path} is damaged: {error}; it was left as it is", hint="put a copy of it back")
    except OSError as error:
        return VaultError(f"cannot read vault {path}: {error.strerror}", hint="change its permissions")


def _write_error(path: Path, error: OSError) -> VaultError:
    return VaultError(f"cannot write vault {path}: {error.strerror}", hint="is the disk full, and the folder writable?")
