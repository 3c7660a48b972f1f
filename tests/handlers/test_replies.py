"""What a handler returns for the sender, and the secrets that it reads."""

import json
import os
import textwrap
import types

import pytest

import relay as package
from builders import QUICK_KDF
from relay.errors import HandlersError, NotFoundError, VaultLockedError
from relay.handlers import load_handlers
from relay.handlers.file import LONGEST_REPLY
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded
from relay.model.secret import Secret
from relay.vault import Vault

PASSWORD = "correct horse battery"


@pytest.mark.parametrize(
    ("body", "outcome", "reply"),
    [
        ("return {'text': 'Zoë'}", AttemptSucceeded("it replied"), {"text": "Zoë"}),
        ("return {}", AttemptSucceeded("it replied"), {}),
        ("return None", AttemptSucceeded("it ran"), None),
        ("return {'a': object()}", AttemptFailed, None),
        ("return {'a': float('nan')}", AttemptFailed, None),
        (f"return {{'a': 'x' * {LONGEST_REPLY}}}", AttemptFailed, None),
    ],
)
async def test_a_dict_is_the_reply(loaded, event, body, outcome, reply):
    ran = await loaded(f"@on('*')\ndef it(event):\n    {body}\n").run(event())
    assert ran.outcome == outcome if isinstance(outcome, AttemptSucceeded) else isinstance(ran.outcome, outcome)
    assert (None if ran.reply is None else json.loads(ran.reply)) == reply


async def test_the_first_dict_counts_and_one_of_a_use_ends_the_run(loaded, event):
    two = loaded("@on('*')\ndef a(e): pass\n@on('*')\ndef b(e): return {'n': 2}\n@on('*')\ndef c(e): return {'n': 3}\n")
    assert json.loads((await two.run(event())).reply) == {"n": 2}
    first = loaded("@use\ndef a(e): return {'n': 1}\n@on('*')\ndef b(e): raise RuntimeError\n")
    assert json.loads((await first.run(event())).reply) == {"n": 1}


async def test_a_reply_is_not_given_where_another_handler_failed(loaded, event):
    ran = await loaded("@on('*')\ndef a(e): return {}\n@on('*')\ndef b(e): raise RuntimeError\n").run(event())
    assert isinstance(ran.outcome, AttemptRetry)
    assert ran.reply is None


async def test_a_reply_comes_through_the_pipe_of_its_process(write, crew, run):
    write("@on('*')\ndef it(event): return {'text': 'Zoë ☃'}\n")
    async with crew() as it:
        assert json.loads((await run(it)).response.body) == {"text": "Zoë ☃"}


async def test_a_secret_is_read_while_the_file_loads_in_a_run_and_in_a_thread(write, crew, run):
    write("""
        import asyncio, threading

        AT_LOAD = relay.secret("stripe_key")

        @on("*")
        async def it(event):
            found = []
            thread = threading.Thread(target=lambda: found.append(relay.secret("other")))
            thread.start()
            thread.join()
            print(AT_LOAD, relay.secret("stripe_key"), await asyncio.to_thread(relay.secret, "third"), *found)
    """)
    async with crew(find_secret=lambda name: f"<{name}>") as it:
        ran = await run(it)
    assert ran.output.text == "<stripe_key> <stripe_key> <third> <other>\n"


async def test_a_secret_that_is_missing_or_locked_fails_the_run_with_a_sentence(write, crew, run):
    write("@on('*')\ndef it(event): relay.secret(event.type)\n")

    def find(name):
        if name == "locked":
            raise VaultLockedError("the vault is locked", hint="relay vault unlock")
        raise NotFoundError(f"no secret {name}", hint=f"keep a {name}")

    for name, hint in (("locked", "call it inside the function"), ("gone", "keep a gone")):
        write(f"KEY = relay.secret({name!r})\n", f"{name}.py")
        async with crew(f"{name}.py", find_secret=find) as it:
            with pytest.raises(HandlersError) as raised:
                await run(it)
        assert raised.value.hint.startswith(hint)
    async with crew(find_secret=find) as it:
        assert "VaultLockedError: the vault is locked" in (await run(it, type_="locked")).outcome.detail
        assert "NotFoundError: no secret gone" in (await run(it, type_="gone")).outcome.detail


async def test_a_relay_gives_its_handlers_secrets_of_vault_and_environment_but_not_its_own_keys(
    start, write, tmp_path, eventually
):
    vault = Vault(tmp_path / "data" / "vault", QUICK_KDF)
    vault.path.parent.mkdir(mode=0o700)
    vault.create(Secret("password", PASSWORD))
    vault.put("stripe_key", "sk_from_the_vault")
    write("""
        import os

        @on("*")
        def it(event):
            print(relay.secret("stripe_key"), relay.secret("vault:stripe_key"), relay.secret("shop_key"))
            print(sorted(name for name in os.environ if "RELAY" in name or "NGROK" in name or "TUNNEL" in name))
    """)
    environ = {
        "SHOP_KEY": "from-the-environment",
        "RELAY_VAULT_PASSWORD": PASSWORD,
        "NGROK_AUTHTOKEN": "ngrok-token",
        "MY_TUNNEL": "own-token",
        "PATH": os.environ["PATH"],
    }
    toml = '[tunnel]\nauthtoken = "env:MY_TUNNEL"\n[targets.app]\nhandler = "handlers.py"\nretry = { attempts = 1 }\n'
    at = await start(toml, environ=environ, data_dir=str(tmp_path / "data"))

    async def outputs():
        found = [(await at.api(f"/api/deliveries/{id_}"))[1] for id_ in (1, 2)]
        return [one["attempts"][0] for one in found if one.get("attempts")]

    await at.send()
    await eventually(lambda: _count(outputs, 1))
    assert "vault secret 'stripe_key' cannot be read: the vault is locked" in (await outputs())[0]["detail"]
    status, _ = await at.api("/api/vault/unlock", "POST", json={"password": PASSWORD})
    assert status == 200
    await at.send()
    await eventually(lambda: _count(outputs, 2))
    text = (await outputs())[1]["output"]
    assert text == "sk_from_the_vault sk_from_the_vault from-the-environment\n[]\n"


async def _count(outputs, count):
    return len(await outputs()) >= count


def test_outside_relay_a_secret_is_a_variable(monkeypatch):
    # An app of another test may have set where its threads find secrets.
    monkeypatch.setattr("relay.handlers.environment._default", None)
    monkeypatch.setenv("SHOP_KEY", "value")
    assert package.secret("shop_key") == package.secret("env:SHOP_KEY") == "value"
    for name in ("gone", "vault:shop_key", "env:gone"):
        with pytest.raises(NotFoundError):
            package.secret(name)


@pytest.fixture
def package_file(tmp_path):
    """Write a package with a handlers file in it, and return the path of the file."""
    count = 0

    def write(files):
        nonlocal count
        count += 1
        folder = tmp_path / f"hooks_{count}_{os.getpid()}"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return folder

    return write


HANDLERS = """
    from relay import on
    from .words import WORD
    from . import deep

    @on("*")
    def it(event):
        return {"word": WORD, "deep": deep.NAME}
"""


async def test_a_file_in_a_package_imports_its_neighbours_with_a_dot(package_file, event):
    folder = package_file({
        "__init__.py": "", "words.py": "WORD = 'near'\n", "deep/__init__.py": "from ..words import WORD as NAME\n",
        "handlers.py": HANDLERS,
    })  # fmt: skip
    for _ in range(2):  # the second time its name is taken
        ran = await load_handlers(folder / "handlers.py", folder.parent).run(event())
        assert json.loads(ran.reply) == {"word": "near", "deep": "near"}


async def test_a_file_in_a_package_that_imports_nothing_by_a_dot_starts_no_package(package_file, event):
    folder = package_file({
        "__init__.py": "raise RuntimeError('the whole app')\n", "words.py": "WORD = 'near'\n",
        "handlers.py": "from relay import on\nfrom words import WORD\n@on('*')\ndef it(e): return {'word': WORD}\n",
    })  # fmt: skip
    ran = await load_handlers(folder / "handlers.py", folder.parent).run(event())
    assert json.loads(ran.reply) == {"word": "near"}


def test_without_a_package_the_message_names_what_works(package_file):
    folder = package_file({"handlers.py": HANDLERS, "words.py": "WORD = 1\n"})
    with pytest.raises(HandlersError) as raised:
        load_handlers(folder / "handlers.py", folder.parent)
    assert "__init__.py" in raised.value.hint
    assert "from words import" in raised.value.hint


@pytest.mark.parametrize(
    ("files", "root", "line"),
    [({}, ".", "from .words import WORD"), ({"__init__.py": ""}, "..", "from ...words import WORD")],
    ids=["beside relay.toml", "above the package"],
)
def test_no_package_is_asked_for_where_it_would_not_help(package_file, files, root, line):
    handlers = f"from relay import on\n{line}\n@on('*')\ndef it(e): return {{}}\n"
    folder = package_file({**files, "handlers.py": handlers})
    with pytest.raises(HandlersError) as raised:
        load_handlers(folder / "handlers.py", folder / root)
    assert raised.value.hint == "write it without the dots: from words import …"


async def test_a_package_name_that_something_else_has_is_left_alone(package_file, event, monkeypatch):
    import sys  # noqa: PLC0415 - for this one

    folder = package_file({"__init__.py": "", "words.py": "WORD = 1\n", "handlers.py": HANDLERS})
    monkeypatch.setitem(sys.modules, folder.name, types.ModuleType(folder.name))
    with pytest.raises(HandlersError, match="relative import"):
        load_handlers(folder / "handlers.py", folder.parent)
