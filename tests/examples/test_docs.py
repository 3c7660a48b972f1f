"""What README and docs print works: relay.toml loads, commands run, and what they are shown to print is what comes.

Python is run by test_docs_python.py, the first ten minutes by test_get_started.py. What nothing runs fails here.
"""

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
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jsonschema import Draft202012Validator

from answering_app import run_app
from printed import ROOT, check_output, find_block, find_blocks, mask, parametrize_blocks, split_commands
from relay.config.build import Overrides, load
from relay.config.reference import build_schema

pytestmark = pytest.mark.program

SECRETS = {
    "STRIPE_WEBHOOK_SECRET": "whsec_test_stripe_secret",
    "GITHUB_WEBHOOK_SECRET": "It's a Secret to Everybody",
    "TWILIO_AUTH_TOKEN": "12345",
    "RELAY_VAULT_PASSWORD": "correct horse battery",
}
TOML = """
[sources.stripe]
[sources.github]
[sources.twilio]
[sources.payments]
provider = "custom"
schema = "schemas/payment.json"
[targets.app]
forward = "{app}/webhooks"
[emails.welcome]
to = "ada@example.com"
subject = "Welcome"
template = "emails/welcome.html"
[targets.code]
handler = "handlers.py"
[targets.welcome]
email = "welcome"
[[routes]]
source = "*"
to = ["app"]
[[routes]]
source = "github"
events = ["release.*"]
to = ["code", "welcome"]
"""
HANDLERS = "from relay import on\n\n\n@on('*')\ndef log(event):\n    print(event.type)\n"
SCHEMA = {"type": "object", "required": ["event_id"], "properties": {"event_id": {"type": "string"}}}
# An app of Flask that logs all that relay says of a request with a wrong and old signature.
FORGED = """
import logging, flask
from relay.frameworks.flask import webhooks
logging.basicConfig(format="%(name)s: %(message)s")
logging.getLogger("relay").setLevel(logging.DEBUG)
app = flask.Flask("shop")
app.register_blueprint(webhooks("relay.toml"))
body, headers = b"{\\"id\\": \\"evt_1\\", \\"type\\": \\"invoice.paid\\"}", {"Stripe-Signature": "t=1,v1=ab"}
assert app.test_client().post("/webhooks/stripe", data=body, headers=headers).status_code == 401
"""

# What tunnels print, by the program that a block of relay.toml names.
TUNNELS = {
    "cloudflared": "INF |  https://seasonal-deck-organisms.trycloudflare.com  |",
    "ssh": "abc123.lhr.life tunneled with tls termination, https://abc123.lhr.life",
    "mytunnel": "ready url=https://a.tunnel.example control=https://control.example",
}

# What cannot run here, by how a command begins, and why.
NOT_HERE = {
    "pipx install": "needs a package index",
    "uv tool install": "needs a package index",
    "pip install": "needs a package index",
    "relay tunnel install": "downloads ngrok's agent; tests/tunnel has it against a stand-in",
    "relay catch-up": "asks a provider's API with a token; tests/catchup has it against a stand-in",
    "relay lab burst 42 --to app --check 'psql": "asks a database of the reader's own",
    "flask --app app run": "is run by test_get_started.py",
    "python -m pytest tests/providers": "is run by test_add_a_provider.py",
    "export ACME_WEBHOOK_SECRET": "as above",
    "relay trigger acme": "as above",
}
# Pages whose commands another test runs, each as printed and in order.
ELSEWHERE = {"docs/get-started.md": "test_get_started.py", "README.md": "test_get_started.py"}
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
CODES = {"relay lab": (0, 5), "relay events": (0, 4), "relay replay --query": (0, 4), "relay email --dry-run": (0, 4)}
# What a command that does not end by itself prints at last, and what is done once it is ready.
ENDLESS = {
    "relay start -v": (r"delivery \d+ to app succeeded$", "relay trigger stripe invoice.paid --data-dir second"),
    "relay start": (r"^Config|\"ready\"", ""),
    "relay events --follow": (r"#\d", ""),
    "relay wait": (r"^#\d", "relay trigger stripe charge.refunded"),
    "curl -N": ("event: ", ""),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with every file and variable that blocks of relay.toml name."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    (folder / "verifiers.py").write_text(find_block("docs/add-a-provider.md", "class OddSignature"))
    return folder


def write_project(folder):
    for name, text in {
        "schemas/payment.json": json.dumps(SCHEMA),
        "emails/welcome.html": "<p>{{ event.type }}</p>",
        "handlers.py": HANDLERS,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def environ():
    key = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"BANK_PUBLIC_KEY": pem}


@parametrize_blocks("toml")
def test_a_block_of_relay_toml_loads_as_printed(block, project, environ):
    Draft202012Validator(build_schema()).validate(tomllib.loads(block.text))
    values = dict.fromkeys(re.findall(r'"env:(\w+)"', block.text), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") | environ
    (project / "relay.toml").write_text(block.text)
    config = load(project / "relay.toml", Overrides(), values)
    # Of a block that names a secret, nothing may be left unsaid about why it is not used.
    assert not [notice for notice in config.notices if "its secret is not used" in notice]


class Shop:
    """A running relay, the app behind it, and how commands of the docs are run beside them."""

    def __init__(self, home, app, ready, env, handles):
        self.home, self.app, self.ready, self.env, self.handles = home, app, ready, env, handles

    def adapt(self, command):
        """Return a command as it is run here: with this relay's addresses, its app's, and an event it has."""
        command = command.replace("http://127.0.0.1:8400", self.ready["ingress_url"])
        command = command.replace("http://127.0.0.1:8401", self.ready["dashboard_url"])
        command = re.sub(r"http://(localhost:300\d|127\.0\.0\.1:8000)", self.app, command)
        command = command.replace("whsec_…", SECRETS["STRIPE_WEBHOOK_SECRET"])
        command = re.sub(r"\bmake (\w+)", rf"make -n -C {ROOT} \1", command)
        free = "relay start --ingress 127.0.0.1:auto --dashboard 127.0.0.1:auto --no-tunnel --data-dir second"
        command = command.replace("relay start", free)
        if " &" in command:  # a script with a relay of its own
            command = f"cd $(mktemp -d -p .)\n{command.replace('--data-dir second', '')}\nwait"
        return re.sub(r"(?<= )42\b", "1", command)

    def popen(self, command):
        return subprocess.Popen(
            ["bash", "-e", "-c", command],
            cwd=self.home,
            env=self.env,
            pass_fds=self.handles,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command):
        """Run a command and return its exit code and its output, errors included."""
        process = self.popen(command)
        try:
            output, _ = process.communicate("sk_test_value\n", timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"{command} goes on and on:\n{output}")
        return process.returncode, output

    def run_until(self, command, words, *, then=""):
        """Run a command that does not end by itself until it prints these words, and end it as Ctrl-C does.

        Return its exit code and its output.
        """
        process = self.popen(command)
        too_long = threading.Timer(60, os.killpg, [process.pid, signal.SIGKILL])
        too_long.start()
        seen = ""
        try:
            assert process.stdout is not None
            for line in process.stdout:
                seen += line
                if then and re.search("listening|^Config", line):
                    assert self.run(then)[0] == 0
                if re.search(words, line.rstrip()):
                    break
            else:
                pytest.fail(f"{command} ended without {words}:\n{seen}")
            os.killpg(process.pid, signal.SIGINT)
            rest, _ = process.communicate()
        finally:
            too_long.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return process.returncode, seen + rest


@pytest.fixture(scope="module")
def shop(tmp_path_factory, require_program, forker):
    """One relay for all commands, with an app behind it and a few events.

    What the shell finds as `relay` is forked; test_get_started.py starts the installed one.
    """
    require_program("bash", "curl", "jq", "make")
    home = tmp_path_factory.mktemp("shop")
    write_project(home)
    write_stand_ins(home / "bin")
    forker.write_command(home / "bin/relay")
    with run_app() as app:
        (home / "relay.toml").write_text(TOML.format(app=app.origin))
        yield from start_shop(home, app.origin, forker.handles)


def write_stand_ins(folder):
    """Write what stands in for programs that need the internet or a host of the reader's."""
    folder.mkdir()
    for name, line in TUNNELS.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{line}"\n[ "$1" = -N ] || exec sleep 600\n')
        (folder / name).chmod(0o755)
    (folder / "editor").write_text('#!/bin/sh\nsed -i "s/EUR/USD/" "$1"\n')
    (folder / "editor").chmod(0o755)


def start_shop(home, app, handles):
    env = SECRETS | {
        "PATH": f"{home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "EDITOR": str(home / "bin/editor"),
    }
    process = subprocess.Popen(
        ["relay", "start", "--no-tunnel", "--json", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto"],
        cwd=home,
        env=env,
        pass_fds=handles,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        ready = json.loads(process.stdout.readline())
        env["TOKEN"] = ready["login_url"].rpartition("=")[2]
        shop = Shop(home, app, ready, env, handles)
        sent = ("stripe invoice.paid", "stripe payment_intent.succeeded", "stripe customer.created", "github push")
        code, output = shop.run("; ".join(f"relay trigger {sample}" for sample in sent))
        assert code == 0, output
        # The next block of the page runs this file, and no test waits for another one.
        exported = find_block("docs/testing.md", "-o test_webhooks.py").removeprefix("$ ")
        code, output = shop.run(shop.adapt(exported))
        assert code == 0, output
        yield shop
    finally:
        process.terminate()
        process.communicate()


def check_command(shop, printed, output):
    """Run one command of a block, and hold what it prints against what the block shows."""
    command = shop.adapt(printed.partition("  #")[0])
    if (endless := next((begin for begin in ENDLESS if printed.startswith(begin)), None)) is not None:
        words, then = ENDLESS[endless]
        code, came = shop.run_until(f"exec {command}", words, then=then)
        if printed.startswith("relay start"):
            assert code == 0, came
        assert set(mask("\n".join(output))) <= set(mask(came)), came
        return
    code, came = shop.run(command)
    allowed = next((codes for words, codes in CODES.items() if command.startswith(words)), (0,))
    assert code in allowed, f"{command}\n{came}"
    if command.startswith("curl"):
        assert not re.search(r'\{\s*"error":\s*\{\s*"code"', came), came
        came = came[came.find("{") :] if output else came  # behind curl's own progress
    if output:
        check_output(output, came)


def is_run(command):
    return not command.startswith(tuple(NOT_HERE))


@parametrize_blocks("console", without=ELSEWHERE)
def test_the_commands_of_a_block_run_as_printed(block, shop):
    found = split_commands(block.text)
    assert found, "a block of console has commands behind a $; a block of sh is a script"
    for printed, output in found:
        if is_run(printed):
            check_command(shop, printed, output)


@parametrize_blocks("sh", without=ELSEWHERE)
def test_a_script_runs_as_printed(block, shop):
    assert not re.search(r"^\$ ", block.text, re.MULTILINE), "commands behind a $ are a block of console"
    lines = block.text.replace("\\\n", "").strip().splitlines()
    if " &" in block.text:  # a script that must run as a whole
        code, output = shop.run(shop.adapt(block.text))
        assert code == 0, output
        return
    for line in lines:
        if is_run(line) and not line.startswith(("#", "export ")):
            check_command(shop, line, [])


@pytest.mark.parametrize("program", TUNNELS)
def test_a_tunnel_of_the_page_gives_its_address(program, shop):
    (shop.home / "tunnel.toml").write_text(find_block("docs/tunnels.md", f'"{program} '))
    ports = "--ingress 127.0.0.1:auto --dashboard 127.0.0.1:auto --data-dir tunnel"
    address = re.escape(TUNNELS[program].split("https://")[1].split()[0])
    shop.run_until(f"exec relay start --config tunnel.toml {ports}", rf"^Public +https://{address}$")


def check_refusal(text, shop):
    """Compare the answer to a body that breaks a source's schema with the one that comes."""
    url = f"{shop.ready['ingress_url']}/webhooks/payments"
    came = json.loads(shop.run(f"curl -s {url} -H 'Content-Type: application/json' -d '{{}}'")[1])
    shown = json.loads(text)
    assert shown["error"].keys() == came["error"].keys()
    assert shown["error"]["fields"][0].keys() == came["error"]["fields"][0].keys()
    assert shown["error"]["hint"] == came["error"]["hint"]


def check_lab_report(text, shop):
    """Compare the form of a report of the lab: its experiment, verdict, and a row for each copy."""
    printed = [re.sub(r"\s{2,}.*", "", line) for line in text.splitlines() if line[:1].isalpha()]
    code, came = shop.run("relay lab duplicates 1 --to app")
    assert code in CODES["relay lab"]
    assert [line.split()[0] for line in came.splitlines() if line.startswith(printed[0])] == [printed[0]]
    assert len(re.findall(r"^ +\d+ +copy \d of 3 +#\d+ +\d{3} +\d+ ms", came, re.MULTILINE)) == 3
    assert len(re.findall(r"^ +\d+ +copy \d of 3 +#\d+ +\d{3} +\d+ ms", text, re.MULTILINE)) == 3


def check_log(text, shop):
    """Compare the lines with what an app with relay inside logs of a forged request."""
    code, came = shop.run(f"{sys.executable} -c '{FORGED}'")
    assert code == 0, came
    assert set(mask(text)) <= set(mask(came)), came


def check_scrape(text, shop):
    """Check that the configuration of Prometheus is YAML that names relay's token and a job."""
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert job["authorization"]["credentials_file"].endswith("/.relay/token")
    assert (shop.home / ".relay/token").exists()


# What runs or checks the other blocks, by page, language and words of the block; a string says where or why not.
RUNNERS = {
    ("docs/add-a-provider.md", "json", "thing.created"): "test_add_a_provider.py",
    ("docs/architecture.md", "mermaid", "flowchart"): "tests/conformance/test_architecture.py",
    ("docs/in-your-app.md", "text", "relay.receiver.receive"): check_log,
    ("docs/in-your-app.md", "text", "relay.events"): check_log,
    ("docs/lab.md", "text", "duplicates"): check_lab_report,
    ("docs/metrics.md", "yaml", "scrape_configs"): check_scrape,
    ("docs/sources.md", "json", "error"): check_refusal,
    ("docs/tunnels.md", "caddyfile", "reverse_proxy"): "is for a server of the reader's",
}
ALL_RUN = {"console", "sh", "toml", "python"}


def find_runners(block):
    return [
        runner
        for (page, kind, words), runner in RUNNERS.items()
        if (page, kind) == (block.page, block.kind) and words in block.text
    ]


def other_blocks():
    return [block for block in find_blocks() if block.kind not in ALL_RUN and not block.page.startswith("examples/")]


@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in other_blocks()])
def test_any_other_block_is_what_comes(block, shop):
    found = find_runners(block)
    assert len(found) == 1, f"{block} ({block.kind}): {len(found)} functions here are for it, it needs one"
    if not isinstance(found[0], str):
        found[0](block.text, shop)


def test_the_metrics_are_the_ones_that_the_page_lists(shop):
    came = shop.run(f'curl -s -H "Authorization: Bearer $TOKEN" {shop.ready["dashboard_url"]}/metrics')[1]
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^# TYPE (\w+)", came, re.MULTILINE)) == set(re.findall(r"`(relay_\w+)`", page))


def test_every_example_has_a_test_that_runs_its_commands():
    assert set(EXAMPLES) == {path.parent.name for path in (ROOT / "examples").glob("*/README.md")}
    for name, test in EXAMPLES.items():
        assert re.search(rf"\b{name}\b", (ROOT / test).read_text()), test
    assert {block.kind for block in find_blocks(folder="examples/")} == {"console"}


def test_nothing_is_listed_that_the_docs_no_longer_have():
    printed = [line.removeprefix("$ ") for block in find_blocks("console", "sh") for line in block.text.splitlines()]
    listed = [*NOT_HERE, *CODES, *ENDLESS]
    assert [words for words in listed if not any(line.startswith(words) for line in printed)] == []
    used = {key for block in other_blocks() for key in RUNNERS if (block.page, block.kind) == key[:2]}
    assert set(RUNNERS) - used == set()
    runners = map(str, (*RUNNERS.values(), *ELSEWHERE.values()))
    tests = {runner for runner in runners if runner.startswith("test_")}
    assert [name for name in tests if not (ROOT / "tests/examples" / name).exists()] == []
