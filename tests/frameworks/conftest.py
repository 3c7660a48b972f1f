"""One request, put to a receiver through each framework and without any."""

import asyncio
import json
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import httpx
import pytest
import stripe
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.test import Client, override_settings
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette

import relay.frameworks.django
import relay.frameworks.fastapi
import relay.frameworks.flask
import relay.frameworks.starlette
from relay.frameworks.loading import receiver
from relay.frameworks.request import Incoming

STRIPE = "whsec_test_stripe_secret"
TOML = """
[server]
max_body = "64KB"
[sources.stripe]
secret = "env:STRIPE_WEBHOOK_SECRET"
events = ["invoice.*"]
[sources.slack]
secret = "env:SLACK_SIGNING_SECRET"
[sources.github]
secret = "env:GITHUB_WEBHOOK_SECRET"
[sources.twilio]
secret = "env:TWILIO_AUTH_TOKEN"
[sources.resend]
secret = "env:RESEND_WEBHOOK_SECRET"
[sources.orders]
provider = "custom"
schema = "order.json"
require_idempotency_key = true
idempotency_key = "header:Idempotency-Key"
[sources.slow]
provider = "custom"
rate_limit = { requests_per_minute = 1, burst = 2 }
[sources.inner]
provider = "custom"
allow_ips = ["192.0.2.7"]
[sources.road]
provider = "custom"
path = "/webhooks/wäg"
[targets.app]
handler = "handlers.py"
"""
HANDLERS = """
import json, pathlib
from relay import Failed, Retry, on, use

HERE = pathlib.Path(__file__).parent

def note(event, word):
    with (HERE / "calls").open("a") as file:
        file.write(json.dumps([word, event.source, event.type, event.raw.decode("latin-1")]) + "\\n")

@on("*")
def plain(event):
    note(event, "plain")
    mood = event.payload.get("mood") if isinstance(event.payload, dict) else None
    if mood == "retry":
        return Retry("not now", after=7)
    if mood == "reply":
        return {"text": "Zo\u00eb", "type": event.type}
    if mood == "failed":
        return Failed("never")
    if mood == "raise":
        raise RuntimeError("a secret of the app")

@on("stripe", "invoice.paid")
async def paid(event):
    note(event, "async")
"""
ENVIRON = {
    "STRIPE_WEBHOOK_SECRET": STRIPE,
    "SLACK_SIGNING_SECRET": "8f742231b10e8888abcd99yyyzzz85a5",
    "GITHUB_WEBHOOK_SECRET": "It's a Secret to Everybody",
    "TWILIO_AUTH_TOKEN": "12345",
    "RESEND_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
ORDER = {"type": "object", "required": ["id", "total"], "properties": {"id": {"type": "integer"}}}
HOST = "app.example"

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
        SECRET_KEY="for tests",
        USE_TZ=True,
    )
    django.setup()


@dataclass
class Told:
    """What came back."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Project:
    """A folder with relay.toml and handlers.py, and what its handlers were called with."""

    folder: Path

    def receiver(self, environ=None, **options):
        return receiver(self.folder / "relay.toml", environ=ENVIRON if environ is None else environ, **options)

    @property
    def calls(self):
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def project(tmp_path):
    (tmp_path / "relay.toml").write_text(TOML)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "order.json").write_text(json.dumps(ORDER))
    return Project(tmp_path)


async def bare(made, method, url, headers, body):
    parts = urlsplit(url)
    request = Incoming(
        method=method,
        path=parts.path,
        query=parts.query,
        headers=tuple(({"Host": HOST} | headers).items()),
        body=body,
        remote="127.0.0.1",
        url=f"http://{HOST}{url}",
    )
    answered = await made.receive(request)
    given = [("Content-Type", answered.content_type), *answered.headers]
    return Told(answered.status, httpx.Headers(given), answered.body)


async def sync(made, method, url, headers, body):
    parts = urlsplit(url)
    request = Incoming(
        method=method,
        path=parts.path,
        query=parts.query,
        headers=tuple(({"Host": HOST} | headers).items()),
        body=body,
        remote="127.0.0.1",
        url=f"http://{HOST}{url}",
    )
    answered = await asyncio.to_thread(made.receive_sync, request)
    given = [("Content-Type", answered.content_type), *answered.headers]
    return Told(answered.status, httpx.Headers(given), answered.body)


async def flask(made, method, url, headers, body):
    app = Flask("app")
    app.register_blueprint(relay.frameworks.flask.webhooks(made))

    def call():
        with app.test_client() as client:
            found = client.open(url, method=method, headers=headers, data=body, base_url=f"http://{HOST}")
            return Told(found.status_code, httpx.Headers(list(found.headers)), found.get_data())

    return await asyncio.to_thread(call)


async def django_sync(made, method, url, headers, body):
    def call():
        with override_settings(ROOT_URLCONF=_urls(made, asynchronous=False)):
            client = Client(enforce_csrf_checks=True, headers={"host": HOST})
            kind = headers.get("Content-Type", "application/octet-stream")
            more = {name: value for name, value in headers.items() if name != "Content-Type"}
            found = client.generic(method, url, body, kind, headers=more)
            return Told(found.status_code, httpx.Headers(list(found.headers.items())), found.content)

    return await asyncio.to_thread(call)


async def django_async(made, method, url, headers, body):
    with override_settings(ROOT_URLCONF=_urls(made, asynchronous=True)):
        return await _asgi(ASGIHandler(), method, url, headers, body)


def _urls(made, *, asynchronous):
    module: Any = types.ModuleType(f"urls_{id(made)}_{asynchronous}")
    module.urlpatterns = relay.frameworks.django.urls(made, asynchronous=asynchronous)
    sys.modules[module.__name__] = module
    return module.__name__


async def fastapi(made, method, url, headers, body):
    app = FastAPI()
    app.include_router(relay.frameworks.fastapi.webhooks(made))
    return await _asgi(app, method, url, headers, body)


async def starlette(made, method, url, headers, body):
    return await _asgi(Starlette(routes=relay.frameworks.starlette.webhooks(made)), method, url, headers, body)


async def _asgi(app, method, url, headers, body):
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        found = await client.request(method, url, headers=raw, content=body)
        return Told(found.status_code, found.headers, found.content)


WAYS = {
    "receiver": bare,
    "receiver_sync": sync,
    "flask": flask,
    "django": django_sync,
    "django_async": django_async,
    "fastapi": fastapi,
    "starlette": starlette,
}


@pytest.fixture(params=WAYS)
def put(request, project):
    """Put a request to the project's receiver through one of the ways."""
    made = project.receiver()

    async def go(url, body=b"", headers=None, method="POST"):
        kind = {"Content-Type": "application/json"}
        return await WAYS[request.param](made, method, url, kind | (headers or {}), body)

    yield go
    made.close()


@pytest.fixture
def paid():
    """A body and headers that Stripe's own SDK signed."""

    def make(type_="invoice.paid", secret=STRIPE, age=0, **more):
        body = json.dumps({"id": f"evt_{time.monotonic_ns()}", "object": "event", "type": type_} | more)
        header = stripe.WebhookSignature.generate_signature_header(body, secret, int(time.time()) - age)
        return body.encode(), {"Stripe-Signature": header}

    return make


@pytest.fixture
def secrets():
    """The secrets of the project's sources, by their variables."""
    return ENVIRON


@pytest.fixture
def host():
    """The host that every request is sent to."""
    return HOST
