"""The Python that README and docs print runs: each block is given the names around it, and then an event."""

import asyncio
import contextlib
import io
import json
import sys
import threading
import time
import types
from types import SimpleNamespace

import django
import pytest
import stripe
from django.conf import settings
from django.test import Client, override_settings
from django.urls import include, path
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask, request
from starlette.applications import Starlette
from werkzeug.serving import make_server

from printed import find_block, find_blocks, parametrize_blocks
from relay import Event
from relay.errors import NotFoundError
from relay.frameworks.flask import webhooks
from relay.handlers import load_handlers
from relay.handlers.environment import find_in_environment, using_secrets
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded
from relay.model.secret import Secret

SECRET = "whsec_made_up_for_the_docs"
TOML = '[sources.stripe]\nsecret = "env:STRIPE_WEBHOOK_SECRET"\n[targets.app]\nhandler = "handlers.py"\n'
HANDLERS = 'from relay import on\n\n\n@on("stripe")\ndef note(event):\n    return {"handled": event.type}\n'
BODY = json.dumps({"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}})
HANDLED = {"handled": "invoice.paid"}

if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="for tests", USE_TZ=True)
    django.setup()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An app's folder with relay.toml and handlers.py, as the current one."""
    (tmp_path / "relay.toml").write_text(TOML)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("handlers", "shipping"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    sys.modules.pop("handlers", None)
    sys.modules.pop("shipping", None)


def sign():
    """Return the headers of an event as Stripe signs it."""
    moment = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{moment}.{BODY}", SECRET)
    return {"Stripe-Signature": f"t={moment},v1={signature}", "Content-Type": "application/json"}


def run(text, **names):
    """Run a block with the names that stand around it and return all of them."""
    exec(compile(text, "block", "exec"), names)
    return names


def check_answer(client):
    """Post a signed event and a forged one to an app by its test client."""
    assert client.post("/webhooks/stripe", data=BODY, headers=sign()).status_code == 200
    assert client.post("/webhooks/stripe", data=BODY).status_code == 401


def run_handlers(text, folder, **values):
    """Run a block as a handlers file and return what its functions answer to an event."""
    (folder / "handlers.py").write_text(text)
    return asyncio.run(load_handlers(folder / "handlers.py").run(Event(**values)))


def try_flask(text, folder):
    app = Flask("shop")
    run(text, app=app)
    check_answer(app.test_client())


def try_django(text, folder):
    urls = run(text, BASE_DIR=folder, include=include, path=path)
    module = types.ModuleType("docs_urls")
    vars(module)["urlpatterns"] = urls["urlpatterns"]
    client = Client(enforce_csrf_checks=True)
    with override_settings(ROOT_URLCONF=module):
        for headers, status in ((sign(), 200), ({}, 401)):
            sent = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
            answer = client.generic("POST", "/webhooks/stripe", BODY, content_type="application/json", **sent)
            assert answer.status_code == status


def try_fastapi(text, folder):
    app = FastAPI()
    run(text, app=app)
    check_asgi(app)


def try_starlette(text, folder):
    check_asgi(run(text, Starlette=Starlette)["app"])


def check_asgi(app):
    with TestClient(app) as client:
        answer = client.post("/webhooks/stripe", content=BODY, headers=sign())
        assert (answer.status_code, answer.json()) == (200, HANDLED)
        assert client.post("/webhooks/stripe", content=BODY).status_code == 401


def try_proxies(text, folder):
    app = Flask("shop")
    app.register_blueprint(run(f"made = {text.strip()}", webhooks=webhooks)["made"])
    check_answer(app.test_client())


class RedisStandIn:
    """The calls of redis-py that the block makes, over a dict."""

    def __init__(self):
        self.kept = {}

    def set(self, name, value, nx=False, ex=None):
        if nx and name in self.kept:
            return None
        self.kept[name] = value.encode()
        return True

    def get(self, name):
        return self.kept.get(name)

    def delete(self, name):
        self.kept.pop(name, None)


def try_redis_keys(text, folder):
    redis = types.ModuleType("redis")
    vars(redis)["Redis"] = RedisStandIn
    app = Flask("shop")
    sys.modules["redis"] = redis
    try:
        names = run(text, app=app, webhooks=webhooks)
    finally:
        del sys.modules["redis"]
    check_answer(app.test_client())
    again = app.test_client().post("/webhooks/stripe", data=BODY, headers=sign())
    assert again.json["outcome"] == "duplicate"
    keys = names["RedisKeys"](RedisStandIn())
    assert [keys.claim("stripe", "1"), keys.claim("stripe", "1")] == ["mine", "busy"]
    keys.settle("stripe", "1", False)
    assert keys.claim("stripe", "1") == "mine"
    keys.settle("stripe", "1", True)
    assert keys.claim("stripe", "1") == "done"


def try_handlers_file(text, folder):
    paid = {"data": {"object": {"id": "in_1"}}}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        ran = run_handlers(text, folder, source="stripe", type="invoice.paid", payload=paid)
    assert printed.getvalue() == "invoice.paid from stripe\nshipping in_1\n"
    assert ran.outcome == AttemptSucceeded("ship ran")
    later = run_handlers(text, folder, source="github", type="push", payload={"ref": "refs/heads/main"})
    assert later.outcome == AttemptRetry("the queue is full", after=60, firm=True)
    never = run_handlers(text, folder, source="github", type="push", payload={"ref": "refs/heads/other"})
    assert never.outcome == AttemptFailed("only main is deployed")


def try_reply(text, folder):
    ran = run_handlers(text, folder, source="slack", type="/deploy", payload={})
    assert json.loads(ran.reply) == {"response_type": "ephemeral", "text": "deploying"}


def try_handlers_test(text, folder):
    handlers = find_block("docs/handlers.md", "@use  #")
    (folder / "handlers.py").write_text(handlers)
    for name, test in run(text).items():
        if name.startswith("test_"):
            test()


def try_secret(text, folder):
    with using_secrets(find_in_environment):
        run(text)["refund"](None)
    with using_secrets(find_in_environment), pytest.raises(NotFoundError, match="nor the environment holds a secret"):
        run(text.replace('"stripe_key"', '"other_key"'))["refund"](None)


def try_hand_written(text, folder):
    seen, shipped = {}, []
    session = SimpleNamespace(add=lambda row: seen.setdefault(row.id, row), commit=lambda: None)

    class Seen(SimpleNamespace):
        query = seen

    app = Flask("shop")
    names = {"request": request, "db": SimpleNamespace(session=session), "Seen": Seen}
    run(text, app=app, stripe=stripe, SECRET=SECRET, ship=shipped.append, **names)
    for _ in range(2):
        assert app.test_client().post("/webhooks/stripe", data=BODY, headers=sign()).status_code == 200
    assert len(shipped) == 1


def try_its_handlers(text, folder):
    (folder / "shipping.py").write_text("shipped = []\nship = shipped.append\n")
    payload = {"data": {"object": {"id": "in_1"}}}
    run_handlers(text, folder, source="stripe", type="invoice.paid", payload=payload)
    assert sys.modules["shipping"].shipped == [{"id": "in_1"}]


def try_sending(text, folder):
    app, got = Flask("shop"), []

    @app.post("/hooks")
    def take():
        got.append(request.json)
        return "", 204

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        names = run(text.replace("http://localhost:3000", f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
    assert names["sent"].ok
    assert got == [{"event_id": 1, "description": "3 GB left"}]


def try_verifier(text, folder):
    verifier = run(text)["OddSignature"]()
    capture = SimpleNamespace(body=b"{}")
    signature = verifier.made(Secret("env:ODD_SECRET", "x"), capture)
    capture.header = {"X-Odd": signature}.get
    assert verifier.verify(capture, [Secret("env:OTHER", "y"), Secret("env:ODD_SECRET", "x")], None)
    assert not verifier.verify(capture, [Secret("env:OTHER", "y")], None)


# Which function runs which block, by the page and by words of it. A name is the test that does.
RUNNERS = {
    ("docs/add-a-provider.md", "OddSignature"): try_verifier,
    ("docs/add-a-provider.md", "ACME = Provider"): "test_add_a_provider.py",
    ("docs/get-started.md", "construct_event"): "test_get_started.py",
    ("docs/handlers.md", "def log_it"): try_handlers_file,
    ("docs/handlers.md", "ephemeral"): try_reply,
    ("docs/handlers.md", "relay.secret("): try_secret,
    ("docs/handlers.md", "def test_"): try_handlers_test,
    ("docs/in-your-app.md", "relay.frameworks.flask"): try_flask,
    ("docs/in-your-app.md", "relay.frameworks.django"): try_django,
    ("docs/in-your-app.md", "relay.frameworks.fastapi"): try_fastapi,
    ("docs/in-your-app.md", "relay.frameworks.starlette"): try_starlette,
    ("docs/in-your-app.md", "proxies="): try_proxies,
    ("docs/in-your-app.md", "RedisKeys"): try_redis_keys,
    ("docs/migrate.md", "construct_event"): try_hand_written,
    ("docs/migrate.md", "from shipping import ship"): try_its_handlers,
    ("docs/migrate.md", "register_blueprint"): try_flask,
    ("docs/migrate.md", "relay.frameworks.django"): try_django,
    ("docs/testing.md", "relay.send("): try_sending,
}


def find_runners(block):
    return [runner for (page, words), runner in RUNNERS.items() if page == block.page and words in block.text]


@parametrize_blocks("python")
def test_a_block_of_python_runs(block, folder, monkeypatch):
    monkeypatch.setenv("STRIPE_KEY", "sk_test_1")
    found = find_runners(block)
    assert len(found) == 1, f"{block}: {len(found)} functions here are for it, it needs one"
    compile(block.text, str(block), "exec")
    if not isinstance(found[0], str):
        found[0](block.text, folder)


def test_no_function_is_for_a_block_that_is_gone():
    used = {key for block in find_blocks("python") for key in RUNNERS if key[0] == block.page and key[1] in block.text}
    assert set(RUNNERS) - used == set()
