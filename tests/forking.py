"""Relays for tests, forked from a process that has imported relay already: imports are most of what a start costs.

From there on each is what `python -m relay` is: a process with its folder, environment, streams and exit code. Tests
that are about the start itself, about a terminal, or about the environment of Python start the program.
"""

import atexit
import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path


class Programs:
    """Starts relays as programs."""

    handles = ()

    def write_command(self, path):
        """Leave the `relay` that a shell finds as it is."""

    def start(self, *arguments, cwd, env, before=()):
        pipe = subprocess.PIPE
        command = [*before, sys.executable, "-m", "relay", *arguments]
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def close(self):
        return


class Forked:
    """What tests use of `subprocess.Popen`, of a process whose parent is another one."""

    def __init__(self, stdin, stdout, stderr, status):
        self.stdin, self.stdout, self.stderr, self._status = stdin, stdout, stderr, status
        self.pid = int(status.readline())
        self.returncode = None

    def poll(self):
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(["relay"], timeout)
            with self._status:
                self.returncode = int(self._status.readline())
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and that is not reported yet
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, text=None, timeout=None):
        """Return all that it still prints once it has ended, and close its streams."""
        printed = {}

        def read(stream):
            printed[stream] = "" if stream.closed else stream.read()

        if not self.stdin.closed:
            with contextlib.suppress(BrokenPipeError), self.stdin:  # it need not read
                self.stdin.write(text or "")
        readers = [threading.Thread(target=read, args=[stream], daemon=True) for stream in (self.stdout, self.stderr)]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        self.stdout.close()
        self.stderr.close()
        return printed[self.stdout], printed[self.stderr]


@contextlib.contextmanager
def serve_forks(path, env):
    """Let `Forker(path)` start relays for as long as the block lasts; the first one waits for what is imported."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        # Pipes, as the forked ones have: a stream knows from its beginning that it cannot be wound back.
        pipe = subprocess.PIPE
        handle = listening.fileno()
        command = [sys.executable, __file__, str(handle)]
        process = subprocess.Popen(command, env=env, pass_fds=[handle], stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield
    finally:
        process.communicate()


class Forker:
    """The process that others are forked from; those that still run end when it is closed.

    A program that gets its `handles` can start what `write_command` writes.
    """

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(os.fspath(path))

    def start(self, *arguments, cwd, env):
        (stdin, ours), (out, stdout), (err, stderr), (result, status) = (os.pipe() for _ in range(4))
        given = [stdin, stdout, stderr, status]
        request = {"arguments": arguments, "cwd": os.fspath(cwd), "env": env}
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], given)
        finally:
            for handle in given:
                os.close(handle)
        # Unbuffered, so that what can be read is what select() sees.
        lines = open(result, "rb", buffering=0)  # noqa: PTH123, SIM115 - closed when the status has been read
        return Forked(open(ours, "w"), open(out), open(err), lines)  # noqa: PTH123 - handles; communicate()

    @property
    def handles(self):
        return [self._socket.fileno()]

    def write_command(self, path):
        """Write a program that is `relay` to a shell, with signals and exit code, and is forked as well."""
        client = Path(__file__).with_name("forked_relay.py")
        words = shlex.join([sys.executable, "-IS", os.fspath(client), *map(str, self.handles)])
        path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        path.chmod(0o755)

    def close(self):
        self._socket.close()


def serve(listening, controls):
    """Fork a process for each request and report its pid and how it ended; return in the forked ones alone."""
    children = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready = select.select([sys.stdin, listening, woken, *controls], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _report_ended(children)
        if sys.stdin in ready:
            _kill(children)
            os._exit(0)
        if listening in ready:
            controls.append(listening.accept()[0])
        for control in [control for control in controls if control in ready]:
            message, given, *_ = socket.recv_fds(control, 1 << 20, 4)
            if not message:
                _kill(pid for pid, (_, owner) in children.items() if owner is control)
                controls.remove(control)
                control.close()
            elif not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for one in (listening, *controls):
                    one.close()
                _become(json.loads(message), given, [woken, wake, *(handle for handle, _ in children.values())])
                return
            else:
                _report(given[3], pid)
                children[pid] = given.pop(), control
                for handle in given:
                    os.close(handle)


def _kill(children):
    for pid in children:
        os.kill(pid, signal.SIGKILL)  # what a test that failed has left running


def _report_ended(children):
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        handle, _ = children.pop(pid)
        _report(handle, os.waitstatus_to_exitcode(status))
        os.close(handle)


def _report(handle, number):
    with contextlib.suppress(BrokenPipeError):  # the process that asked for it was killed
        os.write(handle, b"%d\n" % number)


def _become(request, given, foreign):
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, handle in enumerate(given[:3]):
        os.dup2(handle, number)
    for handle in (*given, *foreign):
        os.close(handle)
    sys.argv = ["relay", *request["arguments"]]
    sys.path[0] = request["cwd"]


def _run():
    try:
        relay.cli.main()
    except SystemExit as ended:
        return ended.code


def _end(code):
    # What Python does at its end, but for taking hundreds of modules apart, which takes as long as the test.
    threading._shutdown()  # type: ignore[attr-defined]  # there is no public name for it
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    import gc
    import importlib
    import pkgutil

    _listening = socket.socket(fileno=int(sys.argv[1]))
    if _listening not in select.select([sys.stdin, _listening], [], [])[0]:
        sys.exit()  # no test needs it
    _first = _listening.accept()[0]
    gc.disable()  # as relay does before it imports
    import relay.cli
    import relay.config.tables
    import relay.vault.file_format

    sys.path[0] = str(Path(__file__).parent)
    # pyngrok reads the environment when it is imported.
    skipped = ("relay.__main__", "relay.frameworks.", "relay.handlers.worker_main", "relay.tunnel.ngrok")
    for _module in pkgutil.walk_packages(relay.__path__, "relay."):
        if not _module.name.startswith(skipped):
            importlib.import_module(_module.name)
    assert "pyngrok" not in sys.modules
    # A vault made with the usual numbers takes a second of processor time.
    relay.vault.file_format._RECOMMENDED["argon2id"] = {"t": 1, "m": 19 * 1024, "p": 1}
    relay.config.tables.File()  # the validator of relay.toml is built at its first use
    gc.freeze()
    serve(_listening, [_first])
    _end(_run())
