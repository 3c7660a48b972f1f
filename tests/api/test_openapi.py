"""The API as its OpenAPI document has it: every answer fits its schema, whatever fits the request's is taken."""

import asyncio
import copy
from datetime import UTC, datetime

import hypothesis
import pytest
from jsonschema import Draft202012Validator

from relay.api.events import EventSummary
from relay.api.routes import API_ROUTES
from relay.model.delivery import DeliveryCounts
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
    written = serialize_event_row(row, DeliveryCounts(failed=1))
    model = EventSummary.model_validate(written | {"received_at": row.received_at})
    assert list(model.model_dump().items()) == list(written.items())
