"""A body that the app has read before relay: kept where it can be, else the fault of the app, never of the sender."""

import io
import logging
import time
import types
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.test import Client, override_settings
from fastapi import Depends, FastAPI, Request
from flask import Blueprint, Flask, request
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette

import relay.frameworks.django
import relay.frameworks.fastapi
import relay.frameworks.flask
import relay.frameworks.starlette
from relay.frameworks.request import Incoming

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def made(project):
    receiving = project.receiver()
    yield receiving
    receiving.close()


@pytest.fixture
def command(secrets):
    """A slash command as Slack's own SDK signs it."""
    body = urlencode({"command": "/deploy", "text": "now"}).encode()
    stamp = str(int(time.time()))
    signed = SignatureVerifier(secrets["SLACK_SIGNING_SECRET"]).generate_signature(timestamp=stamp, body=body)
    return body, {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signed, "Content-Type": FORM}


def says_that_the_body_was_read(caplog, *names):
    text = caplog.text
    assert "something in front of relay has read the body" in text
    assert "signature_mismatch" not in text
    return all(name in text for name in names)


@pytest.mark.parametrize("reads", ["form", "values", "data", "get_data", "stream of a blueprint"])
def test_in_flask_the_bytes_are_kept_before_a_hook_reads_them(made, project, command, reads):
    app = Flask("app")
    seen = []

    @app.before_request
    def look():
        attribute = getattr(request, reads, None) if " " not in reads else request.form
        seen.append(attribute() if callable(attribute) else attribute)

    app.register_blueprint(relay.frameworks.flask.webhooks(made))
    body, headers = command
    answered = app.test_client().post("/webhooks/slack", data=body, headers=headers)
    assert answered.status_code == 200, answered.data
    assert len(seen) == 1
    assert project.calls[0][3].encode() == body


def test_in_flask_other_routes_are_read_as_they_were(made):
    app = Flask("app")
    app.register_blueprint(relay.frameworks.flask.webhooks(made))
    cached = []

    @app.post("/upload")
    def upload():
        cached.append("_cached_data" in vars(request))
        return request.stream.read()

    assert app.test_client().post("/upload", data=b"x" * 10).data == b"x" * 10
    assert cached == [False]


def test_in_flask_a_form_that_came_in_chunks_and_was_read_is_a_fault_of_the_app(made, command, caplog):
    app = Flask("app")

    @app.before_request
    def look():
        assert request.form

    app.register_blueprint(relay.frameworks.flask.webhooks(made))
    body, headers = command
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    answered = app.test_client().post(
        "/webhooks/slack", input_stream=io.BytesIO(body), headers=headers, environ_overrides=chunked
    )
    assert answered.status_code == 500
    assert answered.json["error"]["code"] == "body_consumed"
    assert says_that_the_body_was_read(caplog, "look")


@pytest.mark.parametrize("left", [0, 7])
def test_in_flask_a_wsgi_middleware_that_reads_the_body_is_named(made, project, command, caplog, left):
    app = Flask("app")
    app.register_blueprint(relay.frameworks.flask.webhooks(made))
    body, headers = command
    inner = app.wsgi_app

    def log_body(environ, start_response):
        environ["wsgi.input"].read(len(body) - left)
        return inner(environ, start_response)

    app.wsgi_app = log_body  # type: ignore[method-assign]  # as Flask says to do
    answered = app.test_client().post("/webhooks/slack", data=body, headers=headers)
    assert (answered.status_code, answered.json["error"]["code"]) == (500, "body_consumed")
    assert says_that_the_body_was_read(caplog, "log_body", f"of its {len(body)} bytes were left")
    assert project.calls == []


async def test_in_fastapi_a_middleware_that_reads_the_form_is_named(made, project, command, caplog):
    app = FastAPI()
    app.include_router(relay.frameworks.fastapi.webhooks(made))

    @app.middleware("http")
    async def log_form(incoming, call_next):
        await incoming.form()
        return await call_next(incoming)

    answered = await _post(app, command)
    assert answered.status_code == 500
    assert answered.json()["error"]["code"] == "body_consumed"
    assert says_that_the_body_was_read(caplog, "log_form", "/webhooks/slack")
    assert project.calls == []


async def test_in_fastapi_a_middleware_that_reads_the_body_is_no_trouble(made, project, command):
    app = FastAPI()
    app.include_router(relay.frameworks.fastapi.webhooks(made))

    @app.middleware("http")
    async def log_body(incoming, call_next):
        await incoming.body()
        return await call_next(incoming)

    assert (await _post(app, command)).status_code == 200
    assert len(project.calls) == 1


async def test_in_fastapi_a_dependency_that_reads_the_form_is_a_fault_of_the_app(made, command, caplog):
    async def read(incoming: Request):
        await incoming.form()

    app = FastAPI()
    app.include_router(relay.frameworks.fastapi.webhooks(made), dependencies=[Depends(read)])
    assert (await _post(app, command)).status_code == 500
    assert says_that_the_body_was_read(caplog)


async def test_in_starlette_a_middleware_that_swallows_the_messages_is_a_fault_of_the_app(
    made, command, caplog, monkeypatch
):
    monkeypatch.setattr(relay.frameworks.starlette, "_FIRST_CHUNK", 0.05)
    app = Starlette(routes=relay.frameworks.starlette.webhooks(made))

    async def swallowing(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await app(scope, receive, send)

    body, headers = command
    transport = httpx.ASGITransport(app=swallowing)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        answered = await client.post("/webhooks/slack", content=body, headers=headers)
    assert answered.status_code == 500
    assert says_that_the_body_was_read(caplog)


async def _post(app, command):
    body, headers = command
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        return await client.post("/webhooks/slack", content=body, headers=headers)


class ReadPost:
    """Middleware of a Django project that looks at the form, whatever it is."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, incoming):
        assert incoming.POST is not None
        return self.get_response(incoming)


def _django(made, body, headers, middleware=(f"{__name__}.ReadPost",), **environ):
    module: Any = types.ModuleType(f"urls_read_{id(made)}")
    module.urlpatterns = relay.frameworks.django.urls(made)
    with override_settings(ROOT_URLCONF=module, MIDDLEWARE=list(middleware)):
        rest = {name: value for name, value in headers.items() if name != "Content-Type"}
        return Client().generic("POST", "/webhooks/slack", body, headers["Content-Type"], headers=rest, **environ)


def test_in_django_a_form_that_middleware_has_read_is_still_there(made, project, command):
    assert _django(made, *command).status_code == 200
    assert len(project.calls) == 1


def test_in_django_a_body_in_chunks_is_read_from_the_server(made, project, command):
    body, headers = command
    environ: dict[str, Any] = {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": ""}
    answered = _django(made, body, headers, (), HTTP_TRANSFER_ENCODING="chunked", **environ)
    assert answered.status_code == 200, answered.content
    assert project.calls[0][3].encode() == body


def test_in_django_a_multipart_form_that_middleware_has_read_is_a_fault_of_the_app(made, secrets, caplog):
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    stamp = str(int(time.time()))
    signed = SignatureVerifier(secrets["SLACK_SIGNING_SECRET"]).generate_signature(timestamp=stamp, body=body)
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signed}
    answered = _django(made, body, headers | {"Content-Type": "multipart/form-data; boundary=x"})
    assert answered.status_code == 500
    assert says_that_the_body_was_read(caplog, "ReadPost")


@pytest.mark.parametrize("left", [b"", b'{"id": '])
async def test_fewer_bytes_than_announced_are_never_called_a_wrong_signature(made, caplog, left):
    incoming = Incoming(
        method="POST",
        path="/webhooks/stripe",
        query="",
        headers=(("Content-Length", "40"),),
        body=left,
        remote="127.0.0.1",
    )
    with caplog.at_level(logging.WARNING):
        answered = await made.receive(incoming)
    assert answered.status == 500
    assert says_that_the_body_was_read(caplog, f"{len(left)} of its 40 bytes")


@pytest.mark.parametrize("prefix", ["", "/api", "/webhooks", "/webhooks/webhooks", "/a/<tenant>", "/webhooks%20"])
def test_in_flask_any_prefix_of_the_app_is_left_off(made, project, command, prefix):
    app = Flask("app")
    outer = Blueprint("outer", __name__)
    outer.register_blueprint(relay.frameworks.flask.webhooks(made))
    app.register_blueprint(outer, url_prefix=prefix.replace("%20", " ") or None)
    body, headers = command
    path = prefix.replace("<tenant>", "webhooks")
    answered = app.test_client().post(f"{path}/webhooks/slack/a%2Fb", data=body, headers=headers)
    assert answered.status_code == 200
    assert len(project.calls) == 1


@pytest.mark.parametrize("prefix", ["/api", "/webhooks"])
async def test_in_fastapi_any_prefix_of_the_app_is_left_off(made, project, command, prefix):
    app = FastAPI()
    app.include_router(relay.frameworks.fastapi.webhooks(made), prefix=prefix)
    body, headers = command
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        answered = await client.post(f"{prefix}/webhooks/slack", content=body, headers=headers)
    assert answered.status_code == 200
    assert len(project.calls) == 1


@pytest.mark.parametrize("prefix", ["api", "webhooks"])
def test_in_django_any_prefix_of_the_project_is_left_off(made, project, command, prefix):
    from django.urls import include, path  # noqa: PLC0415 - needs the settings of this folder

    module: Any = types.ModuleType(f"urls_{prefix}_{id(made)}")
    module.urlpatterns = [path(f"{prefix}/", include(relay.frameworks.django.urls(made)))]
    body, headers = command
    rest = {name: value for name, value in headers.items() if name != "Content-Type"}
    with override_settings(ROOT_URLCONF=module):
        answered = Client().generic("POST", f"/{prefix}/webhooks/slack", body, FORM, headers=rest)
    assert answered.status_code == 200
    assert len(project.calls) == 1


@pytest.mark.parametrize("path", ["stripe", "orders", "nothing"])
async def test_an_app_is_not_sent_to_a_dashboard(put, path):
    answered = await put(f"/webhooks/{path}", b"{}")
    assert answered.status in (400, 401, 404)
    assert b"dashboard" not in answered.body
