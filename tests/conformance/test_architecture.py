"""The rules of docs/architecture.md, as far as a machine can hold them: each test lists every offender."""

import ast
import functools
import hashlib
import importlib.util
import re
import tomllib

from conformance.stats import ROOT, modules, parse
from printed import PAGES
from relay.config.reference import build_page, build_template
from relay.config.tables import File

TEMPLATES = sorted((ROOT / "ui").rglob("*.html"))


def check_none(offenders):
    assert not offenders, "\n".join(["", *offenders])


@functools.cache
def select_nodes(path):
    """Return the functions, classes and calls of a module: its tree is walked once for all rules."""
    kept = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Call
    return tuple(node for node in ast.walk(parse(path)) if isinstance(node, kept))


def functions(path):
    """Yield the functions and methods of a module."""
    for node in select_nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def call_name(node):
    match node.func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name, value=ast.Name(id=owner)):
            return f"{owner}.{name}"
        case ast.Attribute(attr=name):
            return f".{name}"
    return ""


def find_calls(names, allowed=()):
    """Return `path:line name` of each call of one of the names outside the modules that may make it."""
    return [
        f"{path}:{node.lineno} {call_name(node)}"
        for path in modules()
        if path not in allowed
        for node in select_nodes(path)
        if isinstance(node, ast.Call) and call_name(node) in names
    ]


def test_a_module_has_at_most_350_lines():
    check_none([f"{path}: {lines} lines" for path, text in modules().items() if (lines := text.count("\n")) > 350])


def test_a_module_says_what_it_is_for():
    check_none([path for path in modules() if not ast.get_docstring(parse(path))])


def test_a_function_has_at_most_60_lines():
    check_none(
        [
            f"{path}: {node.name} has {lines} lines"
            for path in modules()
            for node in functions(path)
            if (lines := (node.end_lineno or 0) - node.lineno + 1) > 60
        ]
    )


def count_positional(node):
    positional = [*node.args.posonlyargs, *node.args.args]
    return len([argument for argument in positional if argument.arg not in ("self", "cls")])


def test_a_function_takes_at_most_five_positional_arguments():
    # click hands a command its options by name.
    check_none(
        [
            f"{path}: {node.name} takes {count_positional(node)} arguments"
            for path in modules()
            for node in functions(path)
            if count_positional(node) > 5
            and not any(re.search("click|option", ast.unparse(one)) for one in node.decorator_list)
        ]
    )


def test_names_say_what_a_thing_is():
    vague = re.compile(r"(Manager|Helper|Util|Utils|Processor)$")
    check_none(
        [
            f"{path}: {node.name}"
            for path in modules()
            for node in select_nodes(path)
            if isinstance(node, ast.ClassDef) and vague.search(node.name)
        ]
    )
    check_none(
        [
            path
            for path in modules()
            if path.rpartition("/")[2].removesuffix(".py") in {"utils", "helpers", "misc", "common", "data", "info"}
        ]
    )


def test_only_the_payload_module_parses_captured_json():
    allowed = {
        "relay/model/parsing.py",  # for relay.model.payload, which everything else uses
        "relay/store/labs.py",  # our own columns
        "relay/store/row_mappers.py",  # our own columns
        "relay/cli/client.py",  # our own API's answers
        "relay/tunnel/ngrok.py",  # the agent's own API
        "relay/providers/samples/__init__.py",  # files of our own
    }
    check_none(find_calls({"json.loads", "json.load"}, allowed))


def test_only_the_command_line_prints():
    printing = {path for path in modules() if path.startswith("relay/cli/")}
    check_none(find_calls({"print", "click.echo", "sys.stdout.write"}, printing))


def test_only_named_modules_open_connections():
    dials = {"aiohttp.ClientSession", "asyncio.open_connection", "socket.create_connection", "aiosmtplib.SMTP"}
    allowed = {
        "relay/actions/http_client.py",  # to judged addresses alone
        "relay/actions/egress.py",  # knocks at judged addresses
        "relay/actions/ingress_client.py",  # our own ingress
        "relay/cli/http_client.py",  # our own API, and what relay lab is told to ask
        "relay/actions/mail/smtp.py",  # the configured server
        "relay/catchup/client.py",  # a provider's own API, at its own or its configured address
        "relay/tunnel/ngrok.py",  # the agent's own API
        "relay/services/health.py",  # relay doctor: the configured mail server
    }
    check_none(find_calls(dials, allowed))


def test_no_bare_task_and_no_unsafe_call():
    unsafe = {"eval", "os.system", "pickle.loads", "yaml.load"}
    compiled = find_calls({"exec"}, {"relay/model/values.py"})  # of the names of a class's own fields
    check_none([*find_calls({"asyncio.create_task", "asyncio.ensure_future", *unsafe}), *compiled])


def test_templates_keep_to_the_content_security_policy():
    rules = {
        "marks text as safe": r"\|\s*safe\b",
        "has inline style or script": r"\sstyle=|\son[a-z]+=|hx-on|javascript:|<style",
        "has a script without src": r"<script(?![^>]*\ssrc=)",
    }
    check_none(
        [
            f"{path.relative_to(ROOT)} {problem}: {found[0]}"
            for path in TEMPLATES
            for problem, pattern in rules.items()
            for found in re.finditer(pattern, path.read_text())
        ]
    )


def test_lines_of_the_dashboard_have_at_most_120_characters():
    files = [*TEMPLATES, *(ROOT / "static/css").glob("*.css"), *(ROOT / "static/js").glob("*.js")]
    check_none(
        [
            f"{path.relative_to(ROOT)}:{number} has {len(line)} characters"
            for path in files
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if len(line) > 120
        ]
    )


def test_nothing_marks_text_as_safe_html():
    check_none([path for path, text in modules().items() if "Markup(" in text])


def test_every_lint_exception_in_the_code_carries_its_reason():
    reasoned = re.compile(r"(noqa: [A-Z0-9, ]+|type: ignore\[[\w-]+\]) *[-#(] ?.{8,}")
    check_none(
        [
            f"{path}: {line.strip()}"
            for path, text in modules().items()
            for line in text.splitlines()
            if ("noqa" in line or "type: ignore" in line) and not reasoned.search(line)
        ]
    )


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
    schema = File.model_json_schema(by_alias=True)
    check_none(
        [
            f"{table['title']}: {key}"
            for table in (schema, *schema["$defs"].values())
            for key, found in table["properties"].items()
            if found.get("description", "")[-1:] != "."
        ]
    )


def test_the_page_of_the_configuration_is_the_one_that_the_code_prints():
    """`python -m relay.config.reference > docs/configuration.md` writes it."""
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == build_page()


def test_the_file_of_relay_init_is_the_one_that_the_code_prints():
    """`python -m relay.config.reference --init > relay/cli/template.toml` writes it."""
    assert (ROOT / "relay/cli/template.toml").read_text(encoding="utf-8") == build_template()


def test_files_and_classes_that_the_docs_name_are_there():
    others = {
        "relay/providers/samples/acme/thing.created.json",
        "ProxyFix",
        "SameSite",
    }  # the reader's, Werkzeug's, HTTP's
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "relay").rglob("*.py"))
    missing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        files = re.findall(r"`((?:relay|tests|docs|ui|static|bench|examples)/[\w./-]+|[a-z_]+/\w+\.py)`", text)
        classes = re.findall(r"`([A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+)\b[^`]*`", text)
        absent = [file for file in files if not ((ROOT / file).exists() or (ROOT / "relay" / file).exists())]
        absent += [name for name in classes if not re.search(rf"\b{name}\b", code)]
        missing += [f"{page.relative_to(ROOT)}: {name}" for name in absent if name not in others]
    check_none(missing)


def test_the_picture_of_the_layers_is_drawn_from_the_contract():
    spec = importlib.util.spec_from_file_location("diagram", ROOT / "docs" / "diagram.py")
    diagram = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(diagram)
    assert diagram.draw_layers() in (ROOT / "docs" / "architecture.md").read_text()
