"""Real commands: as processes of their own, and inside this one where a process would cost a second."""

import importlib.util
import json
import logging
import os
import signal
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from answering_app import run_app
from forking import Programs
from relay.cli.program import run

PORTS = ("--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto")
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "STRIPE_WEBHOOK_SECRET": "whsec_test_stripe_secret",
    # Under `make coverage` the commands are measured as well.
    **{name: value for name, value in os.environ.items() if name == "COVERAGE_PROCESS_CONFIG"},
}


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self):
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Started:
    """`relay start` as a process of its own, its output read line by line."""

    process: Any
    home: Path
    app: object = None

    def line(self) -> str:
        text = self.process.stdout.readline()
        assert text, f"relay ended: {self.process.stderr.read()}"
        return text

    def object(self, kind: str):
        """Return the next object of a kind, passing over others."""
        while (value := json.loads(self.line()))["kind"] != kind:
            pass
        return value

    def banner(self) -> list[str]:
        lines = [self.line()]
        while not lines[-1].startswith("Config"):
            lines.append(self.line())
        return lines

    @property
    def running(self):
        return json.loads((self.home / ".relay" / "running.json").read_text())

    def send(self, name="test", body=b'{"type": "a.b"}', **headers):
        return post(f"{self.running['ingress_url']}/webhooks/{name}", body, **headers)

    def stop(self, number=signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def post(url, body, **headers):
    headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


def _start(forker, *arguments, cwd, env):
    is_python_told = any(name.startswith("PYTHON") for name in env)
    return (Programs() if is_python_told else forker).start(*arguments, cwd=cwd, env=env)


@contextmanager
def _started(forker, home: Path, *options: str, env=None, ports=PORTS, tunnel=False, descriptors=0):
    limited = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"] if descriptors else []
    arguments = ["start", *ports, *([] if tunnel else ["--no-tunnel"]), *options]
    env = ENVIRONMENT | (env or {})
    if limited:
        process = Programs().start(*arguments, cwd=home, env=env, before=limited)
    else:
        process = _start(forker, *arguments, cwd=home, env=env)
    try:
        yield Started(process, home)
    finally:
        process.kill()
        process.communicate()


def _command(forker, home: Path, *arguments: str, env=None, stdin=None, timeout=60) -> Done:
    env = ENVIRONMENT | (env or {})
    process = _start(forker, *arguments, cwd=home, env=env)
    try:
        out, err = process.communicate(stdin, timeout)
    finally:
        process.kill()
    return Done(process.returncode, out, err)


@pytest.fixture
def at_terminal(tmp_path):
    """Run a command on a terminal of its own, in the test's folder; it is ended with the test."""
    spec = importlib.util.spec_from_file_location("relay_cli_terminal", Path(__file__).with_name("terminal.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with ExitStack() as stack:

        def go(*arguments, env=None, **more):
            session = module.Session(tmp_path, arguments, ENVIRONMENT | (env or {}), **more)
            stack.callback(session.close)
            return session

        yield go


@pytest.fixture
def started(tmp_path, forker):
    """Start relays in the test's folder: `with started("--json") as relay:`."""
    return lambda *options, **more: _started(forker, tmp_path, *options, **more)


@pytest.fixture
def command(tmp_path, forker):
    """Run a command in the test's folder, as a process of its own."""
    return lambda *arguments, **more: _command(forker, tmp_path, *arguments, **more)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, forker):
    """One relay for every test of a file that only asks it things, with `home` and a target named app."""
    home = tmp_path_factory.mktemp("shared")
    with run_app() as app:
        (home / "relay.toml").write_text(f'[targets.app]\nforward = "{app.url}"\n')
        with _started(forker, home, "--json") as relay:
            relay.object("ready")
            relay.app = app
            yield relay


@pytest.fixture
def target():
    """An app that answers: `seen` holds what it got, `status` what it answers, `wait` holds it up."""
    with run_app() as server:
        yield server


@pytest.fixture
def inside(capsys, monkeypatch, tmp_path):
    """Run commands inside this process: the same program, without the second it takes to start."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level

    def go(*arguments, home=None):
        monkeypatch.chdir(home or tmp_path)
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    yield go
    for handler in root.handlers[:]:
        if handler not in kept[0]:
            handler.close()
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
