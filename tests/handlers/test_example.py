"""The example runs as it stands: a real relay, started in a copy of its folder as its README says."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.program

EXAMPLE = Path(__file__).parents[2] / "examples/handlers"
SECRETS = {"STRIPE_WEBHOOK_SECRET": "whsec_example", "GITHUB_WEBHOOK_SECRET": "example"}
PORTS = ("--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(EXAMPLE, tmp_path / "handlers"))


def relay(folder, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "relay", *arguments],
        cwd=folder,
        env=os.environ | SECRETS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@contextmanager
def started(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "start", "--json", "--no-tunnel", *PORTS],
        cwd=folder,
        env=os.environ | SECRETS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert json.loads(process.stdout.readline())["kind"] == "ready"
        yield process
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    finally:
        process.kill()
        process.communicate()


def tried(process, state):
    """Return the next delivery that is told in a state."""
    while True:
        told = json.loads(process.stdout.readline())
        if told["kind"] == "delivery" and told["state"] == state:
            return told


@pytest.mark.slow
def test_the_example_does_what_its_readme_says(folder):
    assert "relay.toml is valid" in relay(folder, "check")
    with started(folder) as process:
        relay(folder, "trigger", "stripe", "invoice.paid")
        assert tried(process, "succeeded")["detail"] == "ship ran"
        shown = relay(folder, "show", "1")
        assert "INFO shop: shipping order-" in shown
        relay(folder, "trigger", "github", "push")
        assert tried(process, "succeeded")["detail"] == "deploy ran"
        assert "deploying " in relay(folder, "show", "2")
        relay(folder, "trigger", "github", "push", "--set", "ref=refs/heads/try", code=1)
        assert tried(process, "failed")["detail"] == "try is not deployed"
        relay(folder, "trigger", "stripe", "charge.refunded")
        assert tried(process, "succeeded")["detail"] == "look_into ran"
        relay(folder, "trigger", "stripe", "customer.subscription.updated", code=1)
        assert tried(process, "pending")["detail"] == "the warehouse is closed to stripe"
        (folder / "orders.py").write_text("def find(invoice):\n    return 'another order'\n")
        relay(folder, "trigger", "stripe", "invoice.paid")
        assert tried(process, "succeeded")["detail"] == "ship ran"
        assert "shipping another order" in relay(folder, "show", "6")
