import gzip
import hashlib
import re
from pathlib import Path

import pytest

import relay
from cases import check_each
from relay.dashboard.assets import Assets, find_resource_folder
from relay.dashboard.render import MODULES, SCRIPTS, STYLES

STATIC = find_resource_folder("static")
RELAY = Path(relay.__file__).parent


def packed(*names):
    """Return how many bytes a browser receives: the files themselves are written for a reader."""
    return sum(len(gzip.compress(STATIC.joinpath(name).read_bytes(), 9)) for name in names)


def test_scripts_and_styles_stay_within_their_budgets():
    assert packed(*SCRIPTS) <= 17_500
    assert packed(*MODULES) <= 9_800
    assert packed(*STYLES) <= 19_000


def test_each_stylesheet_and_each_module_is_loaded_by_a_page():
    assert {f"css/{path.name}" for path in STATIC.glob("css/*")} == {*STYLES, "css/lab.css"}
    assert {f"js/{path.name}" for path in STATIC.glob("js/*")} == set(MODULES)


def test_each_custom_property_that_is_used_has_a_value():
    text = "".join(path.read_text() for path in STATIC.glob("css/*.css"))
    assert not set(re.findall(r"var\((--[\w-]+)", text)) - set(re.findall(r"(--[\w-]+):", text))


def test_each_class_that_has_a_rule_is_used():
    text = "".join(path.read_text() for path in STATIC.glob("css/*.css"))
    text = re.sub(r"/\*.*?\*/|\"[^\"]*\"|\{[^{}&]*;\s*\}", " ", text, flags=re.DOTALL)
    users = [*find_resource_folder("ui").rglob("*.html"), *STATIC.glob("js/*.js"), *RELAY.rglob("*.py")]
    words = set(re.findall(r"[\w-]+", " ".join(path.read_text() for path in users)))
    unused = set(re.findall(r"\.(-?[a-zA-Z_][\w-]*)", text)) - words
    unused -= {"htmx-request"}  # set by htmx
    assert not {name for name in unused if not re.fullmatch(r"[du]\d+", name)}  # numbered by a template


def test_what_is_not_ours_is_what_it_is_said_to_be():
    text = (STATIC / "vendor" / "VENDOR.md").read_text()
    told = re.findall(r"\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|", text)
    assert len(told) == 5
    for name, digest in told:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest, name
    vendored = {path.name for path in (STATIC / "vendor").glob("*.js")}
    assert vendored == {name for name, _ in told if name.endswith(".js")}


def test_our_scripts_and_styles_need_no_exception_from_the_policy():
    script = "".join(path.read_text() for path in STATIC.glob("js/*.js"))
    assert not re.search(r"\beval\(|new Function|setTimeout\(\s*[\"'`]|\.onclick|javascript:", script)
    for path in find_resource_folder("ui").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|Markup|\sstyle=|\son[a-z]+=|hx-on|<style", text), path
        for tag in re.findall(r"<[^>]*\bhx-get=[^>]*>", text):
            named = re.search(r'\b(href|action|formaction|hx-trigger)="', tag)
            assert named, f"{path}: an hx-get without an address of its own: {tag}"


def test_the_address_of_a_font_is_the_same_in_page_and_stylesheet():
    assets = Assets()
    url = assets.url("fonts/inter-latin-var.woff2").removeprefix("/static/")
    assert f'url("../{url}")'.encode() in assets._assets["css/tokens.css"].body


def test_the_version_of_a_module_includes_the_versions_of_what_it_imports(tmp_path):
    (tmp_path / "js").mkdir()
    (tmp_path / "js/main.js").write_text('import "./rows.js";\n')
    (tmp_path / "js/rows.js").write_text('import { find } from "./dom.js";\n')
    versions = []
    for text in ("1", "2"):
        (tmp_path / "js/dom.js").write_text(f"export const find = {text};\n")
        assets = Assets(tmp_path)
        urls = [assets.url(f"js/{name}.js").removeprefix("/static/js/") for name in ("main", "rows", "dom")]
        assert assets._assets["js/main.js"].body == f'import "./{urls[1]}";\n'.encode()
        assert assets._assets["js/rows.js"].body == f'import {{ find }} from "./{urls[2]}";\n'.encode()
        versions.append(urls)
    assert not set(versions[0]) & set(versions[1])


def test_a_file_that_loads_one_that_is_missing_is_refused(tmp_path):
    (tmp_path / "main.js").write_text('import "./gone.js";\n')
    with pytest.raises(KeyError, match=r"gone\.js"):
        Assets(tmp_path)


@check_each(
    ("path", "status", "caching"),
    [
        ("/static/css/base.css?v={}", 200, "public, max-age=31536000, immutable"),
        ("/static/css/base.css?v=old", 200, "no-cache"),
        ("/static/css/base.css", 200, "no-cache"),
        ("/static/none.css", 404, "no-store"),
        ("/static/../pyproject.toml", 404, "no-store"),
        ("/static/%2e%2e/pyproject.toml", 404, "no-store"),
        ("/static/vendor/VENDOR.md", 404, "no-store"),
    ],
)
async def test_a_file_is_kept_for_a_year_only_under_its_version(at, path, status, caching):
    version = Assets().url("css/base.css").rpartition("=")[2]
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(at.dashboard + path.format(version), headers=headers) as response:
        assert (response.status, response.headers["Cache-Control"]) == (status, caching)
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_text_is_sent_packed_and_not_twice(at):
    url = at.dashboard + Assets().url("js/dom.js")
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(url, headers=headers) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == (STATIC / "js/dom.js").read_bytes()
        again = headers | {"If-None-Match": response.headers["ETag"]}
    async with at.session.get(url, headers=again) as response:
        assert (response.status, await response.read()) == (304, b"")
