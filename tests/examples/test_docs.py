"""What README and docs print is what works: every block of relay.toml loads, and every command runs."""

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jsonschema import Draft202012Validator

from relay.config import Overrides, load
from relay.config.reference import build_schema

pytestmark = pytest.mark.program

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md")), *sorted((ROOT / "docs").glob("*.md"))]
SECRET = "whsec_test_stripe_secret"
PASSWORD = "correct horse battery"

# What cannot run here, by how a command begins, and why.
NOT_HERE = {
    "pipx install": "needs a package index",
    "uv tool install": "needs a package index",
    "pip install": "needs a package index",
    "python -m pytest tests/providers -k acme": "is for a provider that the reader has yet to write",
    "relay catch-up github": "asks GitHub's API with a token; tests/catchup has it against a stand-in",
    "relay lab burst 42 --to app --check 'psql": "asks a database of the reader's own",
}
# The examples' own commands run in these tests.
EXAMPLES = {
    "django": "tests/examples/test_frameworks.py",
    "fastapi": "tests/examples/test_frameworks.py",
    "flask": "tests/examples/test_frameworks.py",
    "handlers": "tests/handlers/test_example.py",
    "notifications": "tests/journeys/test_notifications.py",
    "welcome-email": "tests/examples/test_welcome_email.py",
}
# Experiments fail on an app that takes everything, which is what they are for; a search may find nothing.
CODES = {"relay lab": (0, 5), "relay events": (0, 4)}


def blocks(kind):
    """Return the blocks of a kind with where each stands, as parameters of a test."""
    return [
        pytest.param(block, id=f"{page.name}:{text[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in re.finditer(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for block in [match[1]]
    ]


def commands(block):
    """Return the commands of a block, each with the lines that follow it as what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        lines = part.splitlines()
        taken = 1
        while not _is_whole("\n".join(lines[:taken])) and taken < len(lines):
            taken += 1
        found.append(("\n".join(lines[:taken]), lines[taken:]))
    return found


def _is_whole(command):
    return command.count("'") % 2 == 0 and not command.endswith("\\")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with every file and variable that blocks of relay.toml name."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "schemas").mkdir()
    (folder / "schemas/payment.json").write_text('{"type": "object"}')
    (folder / "emails").mkdir()
    (folder / "emails/welcome.html").write_text("<p>{{ payload.user.name }}</p>")
    (folder / "handlers.py").write_text("from relay import on\n\n\n@on('*')\ndef log(event):\n    print(event.type)\n")
    guide = (ROOT / "docs/add-a-provider.md").read_text(encoding="utf-8")
    (folder / "verifiers.py").write_text(re.search(r"```python\n(.*?OddSignature.*?)```", guide, re.DOTALL)[1])
    return folder


@pytest.fixture(scope="module")
def environ():
    key = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"BANK_PUBLIC_KEY": pem}


@pytest.mark.parametrize("block", blocks("toml"))
def test_a_block_of_relay_toml_loads_as_printed(block, project, environ):
    Draft202012Validator(build_schema()).validate(tomllib.loads(block))
    given = dict.fromkeys(re.findall(r'"env:(\w+)"', block), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") | environ
    (project / "relay.toml").write_text(block)
    config = load(project / "relay.toml", Overrides(), given)
    # Of a block that names a secret, nothing may be left unsaid about why it is not used.
    assert not [notice for notice in config.notices if "its secret is not used" in notice]


def test_every_example_has_a_test_that_runs_its_commands():
    assert set(EXAMPLES) == {path.parent.name for path in (ROOT / "examples").glob("*/README.md")}
    for name, test in EXAMPLES.items():
        assert re.search(rf"\b{name}\b", (ROOT / test).read_text()), test


class App(http.server.BaseHTTPRequestHandler):
    """An app that takes whatever is posted to it."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        return


@pytest.fixture(scope="module")
def shop(tmp_path_factory, require_program):
    """One relay for all commands, with an app behind it and three events of Stripe."""
    require_program("bash", "curl", "jq")
    home = tmp_path_factory.mktemp("shop")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), App) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        app = f"http://127.0.0.1:{server.server_port}"
        (home / "relay.toml").write_text(
            f'[sources.stripe]\n[sources.twilio]\n[targets.app]\nforward = "{app}/webhooks"\n'
        )
        try:
            yield from _running(home, app)
        finally:
            server.shutdown()


class Shop:
    def __init__(self, home, app, ready, env):
        self.home, self.app, self.ready, self.env = home, app, ready, env

    def printed(self, command):
        """Return a command as it is run here: with this relay's addresses, its app's, and an event it has."""
        for said, meant in (
            ("http://127.0.0.1:8400", self.ready["ingress_url"]),
            ("http://127.0.0.1:8401", self.ready["dashboard_url"]),
            ("http://localhost:3000", self.app),
            ("whsec_…", SECRET),
        ):
            command = command.replace(said, meant)
        return re.sub(r"(?<= )42\b", "1", command)

    def run(self, command):
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.home,
            env=self.env,
            input="sk_test_value\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, command):
        """Run `relay start …` in a folder of its own until its banner is whole, then end it."""
        free = "--ingress 127.0.0.1:auto --dashboard 127.0.0.1:auto --no-tunnel --data-dir second"
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.partition('  #')[0]} {free}"],
            cwd=self.home,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            for line in process.stdout:
                if line.startswith("Config"):
                    process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
        return process.returncode, err


def _running(home, app):
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "TWILIO_AUTH_TOKEN": "12345",
        "RELAY_VAULT_PASSWORD": PASSWORD,
    }
    process = subprocess.Popen(
        ["relay", "start", "--no-tunnel", "--json", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto"],
        cwd=home,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        ready = json.loads(process.stdout.readline())
        env["TOKEN"] = ready["login_url"].rpartition("=")[2]
        shop = Shop(home, app, ready, env)
        for type_ in ("invoice.paid", "payment_intent.succeeded", "customer.created"):
            done = shop.run(f"relay trigger stripe {type_}")
            assert done.returncode == 0, done.stderr
        yield shop
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("block", blocks("console"))
def test_the_commands_of_a_block_run_as_printed(block, shop):
    for printed, output in commands(block):
        if any(printed.startswith(beginning) for beginning in NOT_HERE):
            continue
        command = shop.printed(printed)
        if command.startswith("relay start"):
            code, err = shop.start(command)
            assert code == 0, err
            continue
        done = shop.run(command)
        codes = CODES.get(" ".join(command.split()[:2]), (0,))
        assert done.returncode in codes, f"{command}\n{done.stdout}{done.stderr}"
        if command.startswith("curl"):
            assert '"error"' not in done.stdout
        if output and command.startswith("curl"):
            assert re.sub(r"\d+", "N", done.stdout.strip()) == re.sub(r"\d+", "N", "\n".join(output).strip())


def test_what_is_said_not_to_run_here_stands_in_the_docs():
    printed = [command for page in PAGES for command in page.read_text(encoding="utf-8").splitlines()]
    for beginning in NOT_HERE:
        assert any(line.removeprefix("$ ").startswith(beginning) for line in printed), beginning
