"""The rules of docs/architecture.md, as far as a machine can hold them."""

import ast
import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from relay.config.descriptions import DESCRIPTIONS
from relay.config.file import File
from relay.config.reference import build_page

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "relay").rglob("*.py"))
TEMPLATES = sorted((ROOT / "ui").rglob("*.html"))


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def called(node):
    match node.func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name, value=ast.Name(id=owner)):
            return f"{owner}.{name}"
        case ast.Attribute(attr=name):
            return f".{name}"
    return ""


def calls(path):
    return {called(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_small_and_says_what_it_is_for(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 350
    assert ast.get_docstring(tree)
    for node in functions(tree):
        size = (node.end_lineno or 0) - node.lineno + 1
        assert size <= 60, f"{node.name} has {size} lines"
        positional = [*node.args.posonlyargs, *node.args.args]
        given = [argument for argument in positional if argument.arg not in ("self", "cls")]
        decorated = any(
            re.search("click|option", ast.unparse(decorator)) for decorator in node.decorator_list
        )
        assert len(given) <= 5 or decorated, f"{node.name} takes {len(given)} arguments"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_names_say_what_a_thing_is(path):
    vague = re.compile(r"(Manager|Helper|Util|Utils|Processor)$")
    tree = ast.parse(path.read_text())
    assert not [
        node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and vague.search(node.name)
    ]
    assert path.stem not in {"utils", "helpers", "misc", "common", "data", "info"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_payload_room_parses_captured_json(path):
    allowed = {
        "relay/model/parsing.py",  # for relay.model.payload, the one door
        "relay/store/rows.py",  # our own columns
        "relay/cli/client.py",  # our own API's answers
        "relay/tunnel/ngrok.py",  # the agent's own API
        "relay/providers/samples/__init__.py",  # files of our own
    }
    if name(path) not in allowed:
        assert not calls(path) & {"json.loads", "json.load"}, (
            "captured bytes are parsed by relay.model.payload"
        )


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_terminal_room_prints(path):
    if not name(path).startswith("relay/cli/"):
        assert not calls(path) & {"print", "click.echo", "sys.stdout.write"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_named_rooms_open_connections(path):
    dials = {
        "aiohttp.ClientSession",
        "asyncio.open_connection",
        "socket.create_connection",
        "aiosmtplib.SMTP",
    }
    allowed = {
        "relay/actions/wire.py",  # to judged addresses alone
        "relay/dial.py",  # knocks at judged addresses
        "relay/web/post.py",  # our own ingress
        "relay/cli/client.py",  # our own API
        "relay/mail/smtp.py",  # the configured server
        "relay/catchup/api.py",  # a provider's own API, at its own or its configured address
        "relay/tunnel/ngrok.py",  # the agent's own API
        "relay/checkup/probes.py",  # relay doctor: the configured mail server
    }
    if name(path) not in allowed:
        assert not calls(path) & dials


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_bare_task_and_no_unsafe_call(path):
    unsafe = {"eval", "exec", "os.system", "pickle.loads", "yaml.load"}
    assert not calls(path) & {"asyncio.create_task", "asyncio.ensure_future", *unsafe}


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_templates_keep_to_the_policy(path):
    text = path.read_text()
    assert not re.search(r"\|\s*safe\b", text)
    assert not re.search(r"\sstyle=|\son[a-z]+=|hx-on|javascript:|<style", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


def test_nothing_marks_text_as_safe_html():
    for path in MODULES:
        assert "Markup(" not in path.read_text(), name(path)


def test_every_lint_exception_in_the_code_carries_its_reason():
    reasoned = re.compile(r"(noqa: [A-Z0-9, ]+|type: ignore\[[\w-]+\]) *[-#(] ?.{8,}")
    for path in MODULES:
        for line in path.read_text().splitlines():
            if "noqa" in line or "type: ignore" in line:
                assert reasoned.search(line), f"{name(path)}: {line.strip()}"


def test_the_packaging_names_what_the_readme_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "webhook-relay"
    assert project["scripts"] == {"relay": "relay.cli:main"}
    assert project["requires-python"] == ">=3.11"


def test_vendored_files_are_what_their_list_says():
    listing = (ROOT / "static/vendor/VENDOR.md").read_text()
    for path in (ROOT / "static/vendor").glob("*.js"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in listing, path.name


def test_every_key_of_the_configuration_is_described():
    """A new key of relay.toml needs a line in relay/config/descriptions.py."""
    schema = File.model_json_schema(by_alias=True)
    tables = {"File": schema, **schema["$defs"]}
    keys = {name: set(table["properties"]) for name, table in tables.items()}
    assert keys == {name: set(told) for name, told in DESCRIPTIONS.items()}
    assert not [key for told in DESCRIPTIONS.values() for key, text in told.items() if not text.endswith(".")]


def test_the_page_of_the_configuration_is_the_one_that_the_code_prints():
    """`python -m relay.config.reference > docs/configuration.md` writes it."""
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == build_page()
