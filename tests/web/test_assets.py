import gzip
import hashlib
import re

import pytest

from relay.resources import folder
from relay.web.assets import Assets
from relay.web.render import SCRIPTS

STATIC = folder("static")


def sizes(*names):
    texts = [STATIC.joinpath(name).read_bytes() for name in names]
    return sum(map(len, texts)), sum(len(gzip.compress(text, 9)) for text in texts)


def test_scripts_and_styles_stay_within_their_budgets():
    raw, packed = sizes(*SCRIPTS)
    assert (raw <= 60_000, packed <= 24_000) == (True, True), (raw, packed)
    raw, packed = sizes("relay.js")
    assert (raw <= 12_400, packed <= 5_100) == (True, True), (raw, packed)
    raw, packed = sizes("relay.css")
    assert (raw <= 60_000, packed <= 12_800) == (True, True), (raw, packed)


def test_what_is_not_ours_is_what_it_is_said_to_be():
    text = (STATIC / "vendor" / "VENDOR.md").read_text()
    told = re.findall(r"\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|", text)
    assert len(told) == 5
    for name, digest in told:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest, name
    vendored = {path.name for path in (STATIC / "vendor").glob("*.js")}
    assert vendored == {name for name, _ in told if name.endswith(".js")}


def test_our_scripts_and_styles_need_no_exception_from_the_policy():
    script = (STATIC / "relay.js").read_text()
    assert not re.search(r"\beval\(|new Function|setTimeout\(\s*[\"'`]|\.onclick|javascript:", script)
    for path in folder("ui").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|Markup|\sstyle=|\son[a-z]+=|hx-on|<style", text), path
        for tag in re.findall(r"<[^>]*\bhx-get=[^>]*>", text):
            named = re.search(r'\b(href|action|formaction|hx-trigger)="', tag)
            assert named, f"{path}: an hx-get without an address of its own: {tag}"


def test_the_address_of_a_font_is_the_same_in_page_and_stylesheet():
    assets = Assets()
    url = assets.url("fonts/inter-latin-var.woff2").removeprefix("/static/")
    assert f'url("{url}")'.encode() in assets._assets["relay.css"].body


@pytest.mark.parametrize(
    ("path", "status", "caching"),
    [
        ("/static/relay.css?v={}", 200, "public, max-age=31536000, immutable"),
        ("/static/relay.css?v=old", 200, "no-cache"),
        ("/static/relay.css", 200, "no-cache"),
        ("/static/none.css", 404, "no-store"),
        ("/static/../pyproject.toml", 404, "no-store"),
        ("/static/%2e%2e/pyproject.toml", 404, "no-store"),
        ("/static/vendor/VENDOR.md", 404, "no-store"),
    ],
)
async def test_a_file_is_kept_for_a_year_only_under_its_version(at, path, status, caching):
    version = Assets().url("relay.css").rpartition("=")[2]
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(at.dashboard + path.format(version), headers=headers) as response:
        assert (response.status, response.headers["Cache-Control"]) == (status, caching)
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_text_is_sent_packed_and_not_twice(at):
    url = at.dashboard + Assets().url("relay.js")
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(url, headers=headers) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == (STATIC / "relay.js").read_bytes()
        again = headers | {"If-None-Match": response.headers["ETag"]}
    async with at.session.get(url, headers=again) as response:
        assert (response.status, await response.read()) == (304, b"")
