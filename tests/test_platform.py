"""What differs between operating systems, each side as far as this one can play it."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest

from relay import platform

# What Windows lacks, taken away after the standard library has imported what it needs itself.
WITHOUT_POSIX = """
import asyncio, concurrent.futures.process, logging.handlers, os, shutil, signal, subprocess, sys, tempfile, types
import multiprocessing.synchronize, uuid
import aiohttp.web, aiosqlite, click
for name in ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty"):
    sys.modules[name] = None
flags = ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY")
for name in ("killpg", "geteuid", "getuid", "setsid", "fchmod", "pwrite", *flags):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL"):
    delattr(signal, name)
asyncio.SelectorEventLoop.add_signal_handler = asyncio.AbstractEventLoop.add_signal_handler
held = []
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_LOCK, msvcrt.LK_NBLCK = 1, 2
def locking(handle, mode, size):
    assert os.lseek(handle, 0, os.SEEK_CUR) == 1 << 30, "beyond what the file holds"
    status = os.fstat(handle)
    if (status.st_dev, status.st_ino) in held:
        raise PermissionError("locked")
    held.append((status.st_dev, status.st_ino))
msvcrt.locking = locking
sys.modules["msvcrt"] = msvcrt
"""


def run_without_posix(code, folder):
    script = textwrap.dedent(WITHOUT_POSIX) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.program
def test_every_module_imports_where_posix_is_missing(tmp_path):
    code = """
    import importlib, pkgutil, relay
    skipped = ("relay.handlers.worker_main", "relay.__main__")  # the first runs in a handler's process alone
    for module in pkgutil.walk_packages(relay.__path__, "relay."):
        optional = module.name.startswith("relay.frameworks.")
        if module.name not in skipped and not optional:
            importlib.import_module(module.name)
    from relay import platform
    assert not platform.HAS_PROCESS_GROUPS and platform.get_max_open_files() is None
    """
    done = run_without_posix(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.program
def test_relay_starts_captures_and_stops_where_posix_is_missing(tmp_path):
    code = """
    import json, threading, time, urllib.request, pathlib, _thread
    from relay.cli.program import run

    def use():
        running = pathlib.Path(".relay/running.json")
        while not running.exists():
            time.sleep(0.02)
        ready = json.loads(running.read_text())
        request = urllib.request.Request(ready["ingress_url"] + "/webhooks/a", data=b"{}", method="POST")
        with urllib.request.urlopen(request) as response:
            print("answered", response.status, json.load(response)["event"])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=use, daemon=True).start()
    code = run(["start", "--no-tunnel", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto"])
    print("exit code", code)
    """
    done = run_without_posix(code, tmp_path)
    assert "answered 200 1" in done.stdout, done.stderr
    assert "exit code 0" in done.stdout, done.stderr
    assert "notice: Windows is tested by simulation alone" in done.stdout + done.stderr


@pytest.mark.program
def test_handlers_say_that_they_do_not_run_where_posix_is_missing(tmp_path):
    (tmp_path / "handlers.py").write_text("from relay import on\n\n\n@on('*')\ndef f(event): ...\n")
    code = """
    from relay.cli.program import run
    print("exit code", run(["start", "--no-tunnel", "--handlers", "handlers.py"]))
    """
    done = run_without_posix(code, tmp_path)
    assert "handlers do not run on Windows" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("soft", "most"), [(resource.RLIM_INFINITY, None), (256, 256)])
def test_no_limit_on_open_files_is_no_number(monkeypatch, soft, most):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    assert platform.get_max_open_files() == most


@pytest.mark.program
def test_waiting_for_a_lock_ends_where_posix_is_missing_and_nothing_can_be_locked(tmp_path):
    code = """
    from relay import platform
    def locking(handle, mode, size):
        raise OSError(9, "Bad file descriptor")
    msvcrt.locking = locking
    try:
        platform.lock_file(os.open("lock", os.O_RDWR | os.O_CREAT), waits=True)
    except OSError as error:
        print("refused", error.errno)
    """
    done = run_without_posix(code, tmp_path)
    assert done.stdout == "refused 9\n", done.stderr


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_lock_is_held_until_its_file_is_closed(tmp_path, is_shared):
    path = tmp_path / "lock"
    first, second = platform.open_private(path, os.O_RDWR), platform.open_private(path, os.O_RDWR)
    platform.lock_file(first)
    with pytest.raises(OSError, match="unavailable"):
        platform.lock_file(second, is_shared=is_shared)
    os.close(first)
    platform.lock_file(second, is_shared=is_shared)
    os.close(second)


async def test_stop_signals_come_by_the_loop_and_go_back_to_what_they_were():
    before = signal.getsignal(signal.SIGTERM)
    came = asyncio.Event()
    with platform.handle_stop_signals(came.set):
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await came.wait()
    assert signal.getsignal(signal.SIGTERM) == before
