"""Where ui/ and static/ lie: beside the package in a wheel, one level up in a checkout."""

import fcntl
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def find_resource_folder(name: str) -> Path:
    """Return the folder `ui` or `static`.

    Raises FileNotFoundError when relay was installed without its resources.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        found = parent / name
        if found.is_dir():
            return found
    message = f"relay was installed without its folder {name!r}"
    raise FileNotFoundError(message)


_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700
_OTHERS = 0o077


def open_private(path: Path, flags: int) -> int:
    """Open `path`, created 0600 if it is not there, and return its descriptor. Raises OSError.

    A file that is there already and is ours loses the rights of others; one of another user keeps its own.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    try:
        status = os.fstat(handle)
        # The umask may have taken rights that the owner needs. Devices keep theirs: a log may go to /dev/null.
        is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if is_own and stat.S_IMODE(status.st_mode) != _PRIVATE:
            os.fchmod(handle, _PRIVATE)
    except BaseException:
        os.close(handle)
        raise
    return handle


def create_private(path: Path) -> int:
    """Create `path` 0600, in place of what is left there from before, and return its descriptor. Raises OSError."""
    path.unlink(missing_ok=True)
    # Exclusive: in a folder that others may write to, a name that can be guessed may be a link of theirs.
    return open_private(path, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW)


def write_private(path: Path, content: bytes) -> None:
    """Write a whole file in one step, 0600: a reader finds the old content or the new. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(create_private(fresh), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def make_private_folder(path: Path) -> None:
    """Make a folder, 0700, with those above it; one that is there already stays as it is. Raises OSError."""
    try:
        path.mkdir(mode=_PRIVATE_FOLDER, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(_PRIVATE_FOLDER)  # whatever the umask took


def make_private(path: Path) -> None:
    """Take the rights of others from a file of ours that may be there. Raises OSError."""
    with suppress(FileNotFoundError):
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & _OTHERS:
            path.chmod(_PRIVATE)


def is_of_another_user(path: Path) -> bool:
    """Say whether a file belongs neither to us, nor to root, nor to the owner of its folder.

    In a folder where everybody may write, anybody can put a file where relay looks for its own.
    """
    try:
        owner = path.stat().st_uid
        return owner not in {os.geteuid(), 0, path.parent.stat().st_uid}
    except OSError:
        return False


def is_data_dir_held(data_dir: Path) -> bool:
    """Return whether a relay, or a command, holds the store of `data_dir` at this moment."""
    try:
        handle = os.open(data_dir / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def find_folder_risks(path: Path) -> tuple[str, ...]:
    """Say, each as what is true of it, what lets other users at the files in a folder; () where nothing does."""
    try:
        status = path.stat()
    except OSError:
        return ()
    risks = []
    if path.is_symlink():
        risks.append(f"is a link to {path.resolve()}")
    if status.st_uid != os.geteuid():
        risks.append(f"belongs to {_format_user(status.st_uid)}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        shared = mode & 0o002 and mode & stat.S_ISVTX
        risks.append(
            f"is shared with all users (mode {mode:04o})"
            if shared
            else f"can be written by other users (mode {mode:04o})"
        )
    elif mode & _OTHERS:
        risks.append(f"can be read by other users (mode {mode:04o})")
    return tuple(risks)


def _format_user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"
