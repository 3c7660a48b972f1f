"""A body is parsed at most once on its way in: live, embedded, recovered or verified again."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from builders import build_capture
from relay.actions.base import AwaitedResponses
from relay.catchup.base import Access, CatchUpProgress, CatchUpRequest, ListedEvent, RebuiltRequest
from relay.catchup.recovery import Recovery, RecoveryContext
from relay.frameworks.receive import HandlerRunner, Receiver
from relay.frameworks.request import Incoming
from relay.handlers.file import load_handlers
from relay.model import parsing
from relay.model.admission import Admission
from relay.model.delivery import Route, Target
from relay.model.event import Source
from relay.model.message import MessageStatus, StatusReport
from relay.model.secret import Secret
from relay.pipeline.bus import Bus
from relay.pipeline.process import Pipeline, Routing
from relay.pipeline.reverify import Reverifier
from relay.pipeline.source_table import SourceRegistry
from relay.pipeline.sync_response import SyncResponses
from relay.platform import SystemClock
from relay.providers.catalogue import PROVIDERS
from relay.providers.extractors import body
from relay.store import open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY = json.dumps({"id": "1", "type": "sent", "message": "m1", "more": ["x"] * 10}).encode()
HEADERS = (("Content-Type", "application/json"),)
ROUTING = Routing(
    (Route(targets=("app",), when="payload.id == '1'"),), {"app": Target(name="app", action="handler", options=None)}
)


class AnyObject:
    """A schema that every object fits."""

    unchecked = ()

    def problems(self, value, text):
        assert isinstance(value, dict)
        return ()


def read_statuses(capture, payload):
    report = StatusReport(
        status=MessageStatus.SENT, provider="acme", channel="sms", external_ids=(str(payload.at("message")),)
    )
    return (report,)


def acme(**more):
    """Return a source with a schema, status reports, and names read from the body."""
    options: dict[str, Any] = {
        "name": "acme",
        "provider": "custom",
        "path": "/webhooks/acme",
        "event_type": body("type"),
        "idempotency_key": body("id"),
        "statuses": read_statuses,
        "admission": Admission(schema=cast("Any", AnyObject())),
    }
    return Source(**options | more)


@pytest.fixture
def parses(monkeypatch):
    """Every text that was parsed as JSON."""
    found = []

    def load_json(text, *options):
        found.append(text)
        return _load_json(text, *options)

    _load_json = parsing._load_json
    monkeypatch.setattr(parsing, "_load_json", load_json)
    return found


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path) as opened:
        yield opened


async def receive(store, body=BODY, sign=lambda capture: capture, **more):
    capture = build_capture("acme", headers=HEADERS, body=body, remote="::1", received_at=NOW)
    bus = Bus()
    pipeline = Pipeline(store, bus, ROUTING, SyncResponses(store, bus, AwaitedResponses()))
    return await pipeline.receive(sign(capture), acme(**more), ("http://a", "http://b"), sample=False)


@pytest.mark.parametrize("size", [0, 10_000, 100_000])
async def test_a_live_request_is_parsed_once(store, parses, size):
    body = BODY.replace(b'"x"', b'"' + b"x" * size + b'"', 1)
    assert (await receive(store, body)).status == 200
    assert len(parses) == 1
    assert (await store.events.row(1)).type == "sent"


async def test_a_request_is_parsed_once_when_it_is_verified_again(store, parses):
    scheme, secret = PROVIDERS["github"].scheme, Secret("env:ACME", "acme")
    await receive(
        store, sign=lambda capture: scheme.sign(secret, capture, NOW), scheme=scheme, locked_secrets=("vault:acme",)
    )
    assert len(parses) == 1
    parses.clear()
    again = Reverifier(
        store=store,
        bus=Bus(),
        clock=SystemClock(),
        routing=ROUTING,
        urls=lambda *_: ("http://a",),
        in_order=lambda *_: None,
    )
    assert (await again.run({"acme": acme(scheme=scheme, secrets=(secret,))}.get)).verified == 1
    assert len(parses) == 1


async def test_a_recovered_request_is_parsed_once(store, parses):
    access = Access(
        title="Acme", base_url="https://api.example", credential=Secret("env:X", "x"), reference="", needs=""
    )
    request = RebuiltRequest(headers=HEADERS, bodies=(BODY,))
    listed = ListedEvent(key="1", sent_at=NOW, path="/1")

    class Listing:
        def __init__(self):
            self.access = access

        def headers(self, now):
            return {}

        async def pages(self, api, since):
            yield (listed,)

        async def fetch(self, api, found):
            return request

    means = RecoveryContext(
        store=store, bus=Bus(), clock=SystemClock(), routing=ROUTING, urls=lambda *_: ("http://a", "http://b")
    )
    progress = CatchUpProgress(
        request=CatchUpRequest(source="acme", since=NOW - timedelta(days=1)), title="Acme", started_at=NOW
    )
    listing: Any = Listing()
    await Recovery(means, acme(), listing, progress).run()
    assert (progress.recovered, len(parses)) == (1, 1)


async def test_an_embedded_request_is_parsed_once_and_handlers_get_values_of_their_own(tmp_path, parses):
    handlers = tmp_path / "handlers.py"
    handlers.write_text("import relay\n@relay.on('*')\ndef handle(event):\n    assert event.payload.pop('more')\n")
    runner = HandlerRunner(handlers=load_handlers(handlers))

    class Keys:
        def claim(self, source, key):
            return "mine"

        def settle(self, source, key, done):
            assert done

    receiver = Receiver(table=SourceRegistry((acme(),), None), routing=ROUTING, runners={"app": runner}, keys=Keys())
    answered = await receiver.receive(
        Incoming(method="POST", path="/webhooks/acme", query="", headers=HEADERS, body=BODY)
    )
    assert (answered.status, len(parses)) == (200, 1)
