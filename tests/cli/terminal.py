"""A person at a terminal: a command on a real pty, typed at when it asks."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time


class Session:
    """One command on a terminal of its own; what it shows gathers in `seen`."""

    def __init__(self, home, arguments, env, *, stdout=None):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", *arguments],
            cwd=home,
            env=env,
            stdin=slave,
            stdout=stdout or slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_controlling,  # noqa: PLW1509 - this process has no threads that hold locks
        )
        os.close(slave)
        self.seen = ""

    def until(self, text, seconds=60):
        """Wait until the terminal shows a text, and forget everything up to it."""
        ends = time.monotonic() + seconds
        while text not in self.seen:
            assert self._read(ends), f"{text!r} was never shown: {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, seconds=60):
        """Wait for the command's end; return its exit code and what it still showed."""
        ends = time.monotonic() + seconds
        while self._read(ends):
            pass
        return self.process.wait(max(0.1, ends - time.monotonic())), self.seen

    def echoes(self):
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def _read(self, ends):
        ready, _, _ = select.select([self.master], [], [], max(0.0, ends - time.monotonic()))
        if not ready:
            return False
        try:
            read = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += read.decode("utf-8", "replace")
        return bool(read)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


def _controlling():
    # A shell that runs the tests in the background has them ignore Ctrl-C, and every child with them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
