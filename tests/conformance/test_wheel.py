"""The wheel holds what it should, installs in a fresh environment, and starts there."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.program

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {entry.split("/")[0].split("-")[0] for entry in names} == {"relay", "webhook_relay"}
    assert "relay/ui/layout.html" in names
    assert any(entry.startswith("relay/static/vendor/htmx") for entry in names)
    assert any(entry.startswith("relay/store/migrations/0001") for entry in names)
    assert any(entry.startswith("relay/providers/samples/stripe/") for entry in names)
    assert "relay/py.typed" in names


def test_the_wheel_starts_in_a_fresh_environment(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env/bin/python"
    site = next((tmp_path / "env/lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Its dependencies are the ones these tests run with; relay itself comes from the wheel alone.
    ours = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    paths = os.pathsep.join([str(site), str(ours)])
    command = [str(python), "-m", "relay", "start", "--json", "--no-tunnel", "--ingress", "127.0.0.1:auto"]
    with subprocess.Popen(
        [*command, "--dashboard", "127.0.0.1:auto"],
        cwd=tmp_path,
        env={"PYTHONPATH": paths, "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as relay:
        ready = json.loads(relay.stdout.readline())
        request = urllib.request.Request(ready["ingress_url"] + "/webhooks/test", data=b"{}", method="POST")
        with urllib.request.urlopen(request) as response:
            assert json.load(response)["event"] == 1
        relay.send_signal(signal.SIGINT)
        _, err = relay.communicate(timeout=60)
    assert relay.returncode in (0, 130), err
    assert (
        str(site)
        in subprocess.run(
            [str(python), "-c", "import relay; print(relay.__file__)"],
            cwd=tmp_path,
            env={"PYTHONPATH": paths},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
