"""The example runs as it stands: a real relay, started in a copy of its folder as its README says."""

import json
import os
import shutil
import signal
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


@pytest.fixture
def relay(folder, forker):
    """Run a command in the folder of the example and return what it printed."""

    def run(*arguments, code=0):
        process = forker.start(*arguments, cwd=folder, env=os.environ | SECRETS)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        return out

    return run


@contextmanager
def started(folder, forker):
    process = forker.start("start", "--json", "--no-tunnel", *PORTS, cwd=folder, env=os.environ | SECRETS)
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
def test_the_example_does_what_its_readme_says(folder, relay, forker):
    assert "relay.toml is valid" in relay("check")
    with started(folder, forker) as process:
        relay("trigger", "stripe", "invoice.paid")
        assert tried(process, "succeeded")["detail"] == "ship ran"
        shown = relay("show", "1")
        assert "INFO shop: shipping order-" in shown
        relay("trigger", "github", "push")
        assert tried(process, "succeeded")["detail"] == "deploy ran"
        assert "deploying " in relay("show", "2")
        relay("trigger", "github", "push", "--set", "ref=refs/heads/try", code=1)
        assert tried(process, "failed")["detail"] == "try is not deployed"
        relay("trigger", "stripe", "charge.refunded")
        assert tried(process, "succeeded")["detail"] == "look_into ran"
        relay("trigger", "stripe", "customer.subscription.updated", code=1)
        assert tried(process, "pending")["detail"] == "the warehouse is closed to stripe"
        (folder / "orders.py").write_text("def find(invoice):\n    return 'another order'\n")
        relay("trigger", "stripe", "invoice.paid")
        assert tried(process, "succeeded")["detail"] == "ship ran"
        assert "shipping another order" in relay("show", "6")
