"""The documentation site: it builds with every link and anchor, and its generated pages hold what the program has."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay.api.routes import API_ROUTES
from relay.cli.program import COMMANDS
from relay.providers.catalogue import PROVIDERS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages():
    """The generated pages by path."""
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs/site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_pages()


def test_every_command_call_and_provider_has_its_place(pages):
    assert [name for name in COMMANDS if f"\n## relay {name}\n" not in pages["cli.md"]] == []
    assert [route for route in API_ROUTES if f"\n## {route.method} {route.path}\n" not in pages["api.md"]] == []
    assert [name for name in PROVIDERS if f"providers/{name}.md" not in pages] == []
    assert "relay trigger stripe invoice.paid" in pages["providers/stripe.md"]
    assert "whsec_ included" in pages["providers/stripe.md"], "the comments of its entry"


@pytest.mark.program
@pytest.mark.slow
def test_the_site_builds_and_no_link_in_it_is_broken(tmp_path):
    pytest.importorskip("mkdocs", reason="make docs installs it")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site/providers/stripe/index.html").exists()
    assert (tmp_path / "site/get-started/index.html").exists()
