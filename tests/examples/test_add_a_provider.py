"""The provider that docs/add-a-provider.md adds to the catalogue, in a copy of the repository: its tests are green."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from printed import ROOT, find_block

pytestmark = [pytest.mark.program, pytest.mark.slow]

PAGE = "docs/add-a-provider.md"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the new entry touches and its tests need, with the entry and its sample in it."""
    folder = tmp_path_factory.mktemp("checkout")
    skipped = shutil.ignore_patterns("__pycache__", ".relay", "journeys", "dashboard", "data")
    for name in ("tests", "docs", "examples", "relay"):
        shutil.copytree(ROOT / name, folder / name, ignore=None if name == "relay" else skipped)
    for name in ("ui", "static"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "SECURITY.md"):
        shutil.copy(ROOT / name, folder / name)
    catalogue = folder / "relay/providers/catalogue/business.py"
    text = catalogue.read_text(encoding="utf-8")
    whole, names = re.search(r"^BUSINESS = \((.*?)\)$", text, re.MULTILINE | re.DOTALL).group(0, 1)
    entry = find_block(PAGE, "ACME = Provider")
    catalogue.write_text(text.replace(whole, f"{entry}\nBUSINESS = ({names.rstrip(', ')}, ACME)"), encoding="utf-8")
    sample = folder / "relay/providers/samples/acme/thing.created.json"
    sample.parent.mkdir()
    sample.write_text(find_block(PAGE, "Thing 1042"), encoding="utf-8")
    return folder


def run(copy, command):
    env = os.environ | {"PYTHONPATH": str(copy), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env |= {"ACME_WEBHOOK_SECRET": "any-text"}
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=copy, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def test_its_tests_are_green(copy):
    done = run(copy, find_block(PAGE, "python -m pytest"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_that_it_fails_names_it(copy):
    sample = copy / "relay/providers/samples/acme/thing.created.json"
    text = sample.read_text(encoding="utf-8")
    sample.write_text(text.replace("thing.created", "thing.made"), encoding="utf-8")
    try:
        done = run(copy, "python -m pytest tests/providers/test_samples.py -k identified")
    finally:
        sample.write_text(text, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"1 of \d+ cases: acme-thing\.created", done.stdout), done.stdout


def test_its_sample_verifies(copy):
    done = run(copy, find_block(PAGE, "relay trigger acme").replace("relay ", f"{sys.executable} -m relay "))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acme  thing.created  verified" in done.stdout
    assert "HMAC-SHA512" in done.stdout
