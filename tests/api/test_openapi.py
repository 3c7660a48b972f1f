"""The API as its OpenAPI document has it: every answer fits its schema, whatever fits the request's is taken."""

import asyncio
import copy
import gzip
from collections import Counter
from datetime import UTC, datetime

import hypothesis
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from relay.api.events import EventSummary
from relay.api.routes import API_ROUTES
from relay.model.event import EventOutcome, EventRow, Verdict
from relay.model.event_json import serialize_event_row

CONFIG = """
[sources.stripe]
[targets.app]
forward = "http://127.0.0.1:9/x"
[targets.mail]
email = "hi"
[[routes]]
source = "*"
to = "app"
[emails.hi]
to = "ada@example.com"
subject = "Hi"
text = "hi"
"""
# What waits for a stream that does not end, for a provider, for what the health check dials; and JSON lines, which
# schemathesis cannot write.
EXCLUDED = ("/api/stream", "/api/catch-up", "/api/doctor", "/api/tunnel/reconnect", "/api/import")
EVENTS = 6


async def test_the_document_lists_every_route_with_its_shapes(at):
    status, document = await at.api("/api/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    listed = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert listed == {(route.method, route.path) for route in API_ROUTES}
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
    assert document["components"]["schemas"]["ReplayRequest"]["additionalProperties"] is False
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.slow
async def test_no_answer_deviates_from_the_document(start):
    at = await start(CONFIG)
    for number in range(EVENTS):
        await at.send("/webhooks/stripe" if number % 2 else "/webhooks/other", data=b'{"n": %d}' % number)
    await at.api("/api/events/1/replay", "POST", json={"target": "app"})
    await at.api("/api/events/1/email", "POST", json={"template": "hi"})
    await at.api("/api/messages", "POST", json={"channel": "sms", "provider": "twilio", "recipient": "+15550100"})
    await at.api("/api/replays", "POST", json={"q": "", "target": "app"})
    await at.api("/api/labs", "POST", json={"experiments": ["duplicates"], "events": [1], "target": "app"})
    _, document = await at.api("/api/openapi.json")
    await asyncio.to_thread(call_every_operation, at, narrow_ids(document))


def narrow_ids(document):
    """Let the numbers in paths be those of what there is."""
    document = copy.deepcopy(document)
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "id":
                    parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": EVENTS}
    return document


def call_every_operation(at, document):
    schemathesis = pytest.importorskip("schemathesis")  # of the group `test`
    config = schemathesis.Config.from_dict({"generation": {"mode": "positive"}})
    schema = schemathesis.openapi.from_dict(document, config=config)
    headers = {"Authorization": f"Bearer {at.token}"}
    for result in schema.get_all_operations():
        operation = result.ok()
        if not operation.path.startswith(EXCLUDED):
            call_operation(operation, at.dashboard, headers)


def call_operation(operation, url, headers):
    from schemathesis.checks import not_a_server_error  # noqa: PLC0415 - slow to import, and needed here only
    from schemathesis.specs.openapi import checks as openapi  # noqa: PLC0415

    checks = (
        not_a_server_error,
        openapi.status_code_conformance,
        openapi.content_type_conformance,
        openapi.response_schema_conformance,
    )

    @hypothesis.settings(max_examples=5, derandomize=True, database=None, phases=[hypothesis.Phase.generate])
    @hypothesis.given(case=operation.as_strategy())
    def call(case):
        response = case.call(base_url=url, headers=headers, timeout=20)
        case.validate_response(response, checks=checks)

    call()


BY_HAND = """
[sources.strict]
require_idempotency_key = true
[sources.stripe]
secret = "env:STRIPE_WEBHOOK_SECRET"
[sources.twilio]
[targets.app]
forward = "{url}"
[targets.own]
handler = "handlers.py"
retry = {{ attempts = 1 }}
[[routes]]
source = "*"
to = ["app", "own"]
"""


async def test_an_answer_that_is_written_by_hand_holds_all_of_its_schema_and_nothing_more(
    start, tmp_path, aiohttp_server
):
    (tmp_path / "handlers.py").write_text(
        "from relay import on\n@on('*')\ndef it(event):\n    print('hi')\n    raise ValueError(event.id)\n"
    )
    nothing_there = await aiohttp_server(web.Application())
    at = await start(BY_HAND.format(url=nothing_there.make_url("/")))
    await at.send(data=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    await at.send("/webhooks/strict")
    await at.send("/webhooks/stripe")
    message = {"channel": "sms", "provider": "twilio", "external_id": "SM1", "recipient": "+15550100"}
    assert (await at.api("/api/messages", "POST", json=message))[0] == 201
    trigger = {"source": "twilio", "type": "message.undelivered", "set": {"MessageSid": "SM1"}}
    assert (await at.api("/api/triggers", "POST", json=trigger))[0] in (200, 201, 202)
    async with asyncio.timeout(60):
        while True:
            _, status = await at.api("/api/status")
            if status["queue"]["failed"] == 4:
                break
            await asyncio.sleep(0.02)
    get = await make_strict_reader(at)
    packed, strict, unsigned, _ = [await get("/api/events/{id}", id_) for id_ in (1, 2, 3, 4)]
    assert (packed["decoded"]["encodings"], len(strict["fields"])) == (["gzip"], 1)
    assert unsigned["hints"]
    attempts = [(await get("/api/deliveries/{id}", id_))["attempts"][0] for id_ in packed["delivery_ids"]]
    assert sum(one["response"] is not None for one in attempts) == 1
    assert sum(bool(one["output"] and one["traceback"]) for one in attempts) == 1
    assert (await get("/api/messages/{id}", 1))["history"][-1]["code_meaning"]
    for path in ("/api/events", "/api/deliveries", "/api/messages", "/api/messages/rates", "/api/stats"):
        await get(path)


async def make_strict_reader(at):
    """Return a function that gets an answer, which must fit its schema and have no field beside it."""
    _, document = await at.api("/api/openapi.json")
    components = document["components"]
    for schema in components["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)

    async def get(path, id_=""):
        _, answer = await at.api(path.replace("{id}", str(id_)))
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        Draft202012Validator(content["application/json"]["schema"] | {"components": components}).validate(answer)
        return answer

    return get


def test_the_row_that_is_written_by_hand_is_the_model():
    row = EventRow(
        id=1,
        received_at=datetime(2026, 1, 31, tzinfo=UTC),
        source="stripe",
        provider="stripe",
        type="invoice.paid",
        idempotency_key=None,
        outcome=EventOutcome.REJECTED,
        verdict=Verdict.INVALID,
        reason="signature_mismatch",
        method="POST",
        path="/webhooks/\xc3\xa9",
        query="",
        content_type="application/json",
        size=2,
        sha256="0" * 64,
        remote="127.0.0.1",
        status=401,
    )
    written = serialize_event_row(row, Counter(failed=1))
    model = EventSummary.model_validate(written | {"received_at": row.received_at})
    assert list(model.model_dump().items()) == list(written.items())
