"""Checks that a release is whole: version, changelog, wheel, sdist, and a fresh install that captures a webhook."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"


def fail(message: str) -> NoReturn:
    """End with a message."""
    sys.exit(f"release: {message}")


def check_version() -> str:
    """Return the version, which the newest section of the changelog and the tag of this commit must name."""
    version = re.search(r'__version__ = "([^"]+)"', (ROOT / "relay/__init__.py").read_text())
    if version is None:
        fail("relay/__init__.py has no __version__")
    sections = re.findall(r"^## (\S+)(.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    name, rest = sections[0]
    if name != version[1]:
        fail(f"the changelog begins with {name}, the version is {version[1]}; give its section the version and a date")
    if not re.search(r"\d{4}-\d{2}-\d{2}", rest):
        fail(f"the changelog's section {name} has no date")
    tag = os.environ.get("GITHUB_REF_NAME", "")
    if tag.startswith("v") and tag != f"v{version[1]}":
        fail(f"the tag is {tag}, the version is {version[1]}")
    return version[1]


def build(version: str) -> tuple[Path, Path]:
    """Build wheel and sdist, check what the package index will read, and return both."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, ROOT], check=True, stdout=subprocess.DEVNULL)
    files = sorted(DIST.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    wheel, sdist = DIST / f"webhook_relay-{version}-py3-none-any.whl", DIST / f"webhook_relay-{version}.tar.gz"
    if files != sorted([wheel, sdist]):
        fail(f"built {', '.join(file.name for file in files)}, expected {wheel.name} and {sdist.name}")
    return wheel, sdist


def try_install(package: Path, version: str) -> None:
    """Install a package into an empty environment, start relay, and send it a webhook."""
    with tempfile.TemporaryDirectory(prefix="relay-release-") as folder:
        venv.create(Path(folder, "env"), with_pip=True)
        run = Path(folder, "env", "bin")
        subprocess.run([run / "python", "-m", "pip", "install", "--quiet", package], check=True)
        shown = subprocess.run([run / "relay", "--version"], check=True, capture_output=True, text=True).stdout.strip()
        if shown != f"relay {version}":
            fail(f"{package.name} installs {shown!r}")
        command = [run / "relay", "start", "--no-tunnel", "--json", "--ingress", "127.0.0.1:auto"]
        command += ["--dashboard", "127.0.0.1:auto"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as relay:
            assert relay.stdout is not None
            try:
                line = relay.stdout.readline()
                if not line:
                    fail(f"{package.name} was installed, and relay start ends at once")
                request = urllib.request.Request(
                    json.loads(line)["ingress_url"] + "/webhooks/test", data=b"{}", method="POST"
                )
                with urllib.request.urlopen(request, timeout=10) as response:
                    stored = json.load(response)
            finally:
                relay.send_signal(signal.SIGINT)
                relay.wait(timeout=30)
        if stored["event"] != 1 or relay.returncode:
            fail(f"{package.name} was installed and does not work: {stored}, exit code {relay.returncode}")
    print(f"{package.name}: installs, starts, captures")


def main() -> None:
    """Run every check; the first that fails ends it."""
    version = check_version()
    for package in build(version):
        try_install(package, version)
    print(f"relay {version} is ready: dist/ holds what is to be published")


if __name__ == "__main__":
    main()
