"""The first ten minutes as README and get-started print them: the app, relay, each command, and what it prints."""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from printed import check_output, find_block, find_blocks, split_commands

pytestmark = [pytest.mark.program, pytest.mark.slow]

PAGE = "docs/get-started.md"
CODES = {"relay trigger stripe invoice.paid": 1, "relay verify 3": 5}  # as the page says
NOT_HERE = ("pipx install", "uv tool install", "pip install", "export ", "relay start")


class Program:
    """A program that goes on until it is stopped, and the lines that it printed so far."""

    def __init__(self, command, folder, env):
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.process.stdout:
            for line in self.process.stdout:
                with self.changed:
                    self.lines.append(line)
                    self.changed.notify_all()

    def wait_for(self, words):
        """Wait for a line that holds these words and return the lines up to it."""
        with self.changed:
            assert self.changed.wait_for(lambda: any(words in line for line in self.lines), 60), "".join(self.lines)
            end = next(number for number, line in enumerate(self.lines) if words in line)
            return "".join(self.lines[: end + 1])

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(30)


class Terminals:
    """The three terminals of the page: the app, relay, and the one that commands are typed into."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.app_port = free.getsockname()[1]
        self.folder = folder
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "STRIPE_WEBHOOK_SECRET": "whsec_test",
        }
        (folder / "app.py").write_text(find_block(PAGE, "construct_event"))
        self.start_command = next(
            (command, output)
            for block in find_blocks("console", folder=PAGE)
            for command, output in split_commands(block.text)
            if command.startswith("relay start")
        )
        self.ingress = ""
        self.app = self.start_app()
        ports = "--ingress 127.0.0.1:auto --dashboard 127.0.0.1:auto"
        self.relay = Program(f"{self.adapt(self.start_command[0])} {ports}", folder, self.env)

    def start_app(self):
        command = find_block(PAGE, "flask --app app run").strip().splitlines()[-1]
        return Program(command.replace("3000", str(self.app_port)), self.folder, self.env)

    def adapt(self, command):
        return command.replace("localhost:3000", f"localhost:{self.app_port}").replace(
            "http://127.0.0.1:8400", self.ingress
        )

    def type(self, command):
        """Run a command and return its exit code and what the terminal shows."""
        done = subprocess.run(
            ["bash", "-c", self.adapt(command).replace("curl ", "curl -sS ")],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def stop(self):
        self.relay.stop()
        self.app.stop()


@pytest.fixture
def terminals(tmp_path, require_program):
    require_program("bash", "curl")
    opened = Terminals(tmp_path)
    try:
        opened.app.wait_for("Running on")
        yield opened
    finally:
        opened.stop()


def test_get_started_and_the_readme_as_they_are_printed(terminals):
    command, printed = terminals.start_command
    banner = terminals.relay.wait_for("Config")
    check_output(printed, banner)
    terminals.ingress = re.search(r"at (\S+)/webhooks/<name>", banner)[1]
    for block in [*find_blocks("console", folder=PAGE), *find_blocks("console", folder="README.md")]:
        for command, printed in split_commands(block.text):
            if command.startswith(NOT_HERE):
                continue
            if command in CODES and "trigger" in command:
                terminals.app.stop()
            code, output = terminals.type(command)
            assert code == CODES.get(command, 0), f"{block}: {command}\n{output}"
            if printed:
                check_output(printed, output)
            if command in CODES and "trigger" in command:
                terminals.app = terminals.start_app()
                terminals.app.wait_for("verified: invoice.paid")
