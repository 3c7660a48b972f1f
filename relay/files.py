"""Files for their owner alone: 0600 whatever the folder and the umask are."""

import os
import stat
from contextlib import suppress
from pathlib import Path

_PRIVATE = 0o600


def open_private(path: Path, flags: int) -> int:
    """Open `path`, created 0600 if it is not there, and return its descriptor. Raises OSError.

    A file that is there already and is ours loses the rights of others; one of another user keeps its own.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    try:
        status = os.fstat(handle)
        # The umask may have taken rights that the owner needs.
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != _PRIVATE:
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
    """Write a whole file in one step: a reader finds the old content or the new. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(create_private(fresh), "wb") as file:
            file.write(content)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
