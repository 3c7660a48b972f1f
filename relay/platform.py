"""The operating system: clock, private files, locks, terminals, signals and processes.

Linux and macOS have all of it. On Windows a folder is private by the rights of the user's profile, and handlers do
not run (`HAS_PROCESS_GROUPS`).
"""

import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

try:
    import fcntl
    import pwd
    import resource
    import termios
except ImportError:  # Windows has none of them
    _IS_POSIX = False
else:
    _IS_POSIX = True

HAS_PROCESS_GROUPS = hasattr(os, "killpg")
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
CLOSE_ON_EXEC: int = getattr(os, "O_CLOEXEC", 0)
NON_BLOCKING: int = getattr(os, "O_NONBLOCK", 0)
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
KILL_SIGNAL: signal.Signals = getattr(signal, "SIGKILL", signal.SIGTERM)
# Position of locks on Windows: a locked byte cannot be read by others, and locked files are shorter than this.
_LOCKED_BYTE = 1 << 30
_ECHO_INPUT = 0x4  # ENABLE_ECHO_INPUT of a Windows console
_STANDARD_INPUT = -10


def list_limits() -> tuple[str, ...]:
    """Return relay's limitations on this system, as printed by `relay start`; () on Linux and macOS."""
    limits = (
        "Windows is tested by simulation alone: handlers do not run, and files are as private as your profile folder; "
        "use WSL for all of relay"
    )
    return () if _IS_POSIX else (limits,)


def get_user_id() -> int | None:
    """Return the id of relay's user; None on systems without user ids."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def lock_file(handle: int, *, is_shared: bool = False, waits: bool = False) -> None:
    """Lock an open file until its descriptor is closed. Raises OSError when it is held, unless `waits`."""
    if _IS_POSIX:
        kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        fcntl.flock(handle, kind if waits else kind | fcntl.LOCK_NB)
        return
    import msvcrt  # noqa: PLC0415 - on Windows alone

    locking: Any = msvcrt
    while True:
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            locking.locking(handle, locking.LK_NBLCK, 1)
        except PermissionError:  # held by another; any other error is permanent
            if not waits:
                raise
            time.sleep(0.05)  # LK_LOCK would give up after ten seconds
        else:
            break
    os.lseek(handle, 0, os.SEEK_SET)


class SystemClock:
    """The machine's own clock."""

    now = staticmethod(partial(datetime.now, UTC))
    monotonic = staticmethod(time.perf_counter)

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds`."""
        import asyncio  # noqa: PLC0415 - commands use this module, and no loop

        await asyncio.sleep(seconds)


def sync_folder(path: Path) -> None:
    """Sync a folder to disk, so that a renamed file survives a power loss. Raises OSError."""
    if not _IS_POSIX:
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def get_max_open_files() -> int | None:
    """Return how many files this process may have open; None if unlimited."""
    if not _IS_POSIX:
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


@contextmanager
def hide_input(fd: int) -> Iterator[None]:
    """Switch a terminal's echo off until the block ends."""
    if not _IS_POSIX:
        with _hide_console_input():
            yield
        return
    before = termios.tcgetattr(fd)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    # Not flushed, unlike getpass: text typed or pasted while a key was derived must not be lost.
    termios.tcsetattr(fd, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _hide_console_input() -> Iterator[None]:
    import ctypes  # noqa: PLC0415 - on Windows alone

    kernel: Any = vars(ctypes)["windll"].kernel32
    console, before = kernel.GetStdHandle(_STANDARD_INPUT), ctypes.c_uint32()
    kernel.GetConsoleMode(console, ctypes.byref(before))
    kernel.SetConsoleMode(console, before.value & ~_ECHO_INPUT)
    try:
        yield
    finally:
        kernel.SetConsoleMode(console, before.value)


def wake_loop_on_signals(loop: "AbstractEventLoop") -> None:
    """Let every signal wake a loop until it is closed.

    asyncio.Runner handles Ctrl-C in Python code, which does not run while the loop waits: a signal just before it
    starts waiting would be noticed only at the next event. A loop with its own handler is woken by all signals.
    """
    with suppress(AttributeError, NotImplementedError):  # on Windows loops are woken anyway
        loop.add_signal_handler(signal.SIGCONT, lambda: None)


@contextmanager
def handle_stop_signals(callback: Callable[[], object]) -> Iterator[None]:
    """Call `callback` on the running loop for each signal that asks a program to stop, until the block ends."""
    import asyncio  # noqa: PLC0415 - commands use this module, and no loop

    loop = asyncio.get_running_loop()
    # nohup ignores SIGHUP on purpose.
    hangup = getattr(signal, "SIGHUP", None)
    numbers = [one for one in STOP_SIGNALS if one != hangup or signal.getsignal(one) is not signal.SIG_IGN]
    try:
        for number in numbers:
            loop.add_signal_handler(number, callback)
    except NotImplementedError:  # a loop on Windows
        before = [signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback)) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
        return
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def own_process_group() -> dict[str, Any]:
    """Return the options for a subprocess that does not get the Ctrl-C of relay's terminal."""
    if HAS_PROCESS_GROUPS:
        return {"start_new_session": True}
    return {"creationflags": 0x200}  # CREATE_NEW_PROCESS_GROUP


def signal_process_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process group; does nothing if it has ended. On Windows the processes are killed."""
    if not HAS_PROCESS_GROUPS:
        import subprocess  # noqa: PLC0415 - on Windows alone

        command = ["taskkill", "/T", "/F", "/PID", str(pid)]
        subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - a number and a program of Windows
        return
    # No process left in the group, or (macOS) only zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def read_command_line(pid: int) -> str:
    """Return the command line of a process, one word per line; "" if it has ended or is not accessible."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", "\n")
        return ""
    import subprocess  # noqa: PLC0415 - for want of /proc alone

    command = ["/bin/ps", "-o", "args=", "-p", str(pid)]
    if sys.platform == "win32":
        command = ["wmic", "process", "where", f"ProcessId={pid}", "get", "CommandLine"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5.0)  # noqa: S603 - a number
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700
_OTHERS = 0o077


def open_private(path: Path, flags: int) -> int:
    """Open `path`, created 0600 if it is not there, and return its descriptor. Raises OSError.

    An existing file of relay's user loses the rights of others; one of another user is unchanged.
    """
    handle = os.open(path, flags | os.O_CREAT | CLOSE_ON_EXEC | getattr(os, "O_BINARY", 0), _PRIVATE)
    try:
        status = os.fstat(handle)
        # The umask may have removed rights that the owner needs. Devices keep theirs: a log may go to /dev/null.
        is_own = stat.S_ISREG(status.st_mode) and status.st_uid == get_user_id()
        if is_own and stat.S_IMODE(status.st_mode) != _PRIVATE:
            os.fchmod(handle, _PRIVATE)
    except BaseException:
        os.close(handle)
        raise
    return handle


def create_private(path: Path) -> int:
    """Create `path` 0600, replacing an old file, and return its descriptor. Raises OSError."""
    path.unlink(missing_ok=True)
    # Exclusive: in a folder writable by others, a guessable name may be their link.
    return open_private(path, os.O_WRONLY | os.O_EXCL | NO_FOLLOW)


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically with mode 0600: a reader sees the old content or the new. Raises OSError."""
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
        path.chmod(_PRIVATE_FOLDER)  # regardless of the umask


def make_private(path: Path) -> None:
    """Remove the rights of others from an own file, if it exists. Raises OSError."""
    with suppress(FileNotFoundError):
        status = path.stat()
        if status.st_uid == get_user_id() and status.st_mode & _OTHERS:
            path.chmod(_PRIVATE)


def is_of_another_user(path: Path) -> bool:
    """Return whether a file belongs neither to us, nor to root, nor to the owner of its folder.

    In a folder that is writable by all, any user can place a file where relay expects its own.
    """
    try:
        owner, ours = path.stat().st_uid, get_user_id()
        return ours is not None and owner not in {ours, 0, path.parent.stat().st_uid}
    except OSError:
        return False


def is_data_dir_held(data_dir: Path) -> bool:
    """Return whether a relay or a command uses the store of `data_dir` at the moment."""
    try:
        handle = os.open(data_dir / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        lock_file(handle, is_shared=True)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def find_folder_risks(path: Path) -> tuple[str, ...]:
    """Return the risks that give other users access to files in a folder; () if there are none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    if get_user_id() is None:
        return ()  # the mode has no meaning on Windows
    risks = []
    if path.is_symlink():
        risks.append(f"is a link to {path.resolve()}")
    if status.st_uid != get_user_id():
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
