"""A handler is called with what its parameters name, and a number that is none is named after its resource."""

import re
from inspect import Parameter, signature
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from cases import check_each
from relay.api.routes import API_ROUTES
from relay.dashboard.routes import _PAGE_ROUTES
from relay.http.params import call_handler
from relay.http.responses import RELAY


@pytest.fixture
def request_for():
    app = web.Application()
    app[RELAY] = cast("Any", object())  # nothing is asked of it here

    def request_for(path, **names):
        return make_mocked_request("GET", path, match_info=names, app=app)

    return request_for


async def test_a_handler_is_called_with_what_its_parameters_name(request_for):
    async def handle(relay, id_, source, query, call, missing="its default"):
        return relay, id_, source, query["q"], call, missing

    request = request_for("/events/7/stripe?q=x", id="7", source="stripe")
    called = await call_handler(handle, request, call="sent")
    assert called == (request.app[RELAY], 7, "stripe", "x", "sent", "its default")


async def test_a_handler_without_parameters_needs_nothing_of_the_request(request_for):
    async def handle():
        return "done"

    assert await call_handler(handle, request_for("/events/x", id="x")) == "done"


@check_each(
    ("path", "noun"),
    [
        *(("labs", "lab run"), ("messages", "message"), ("replays", "replay")),
        *(("deliveries", "delivery"), ("events", "event")),
    ],
)
async def test_a_number_that_is_none_is_named_after_its_resource(at, path, noun):
    status, answer = await at.api(f"/api/{path}/x")
    assert (status, answer["error"]["message"]) == (404, f"no such {noun}")


def test_every_parameter_of_a_handler_is_one_that_its_route_fills_in():
    routes = [(route.path, route.handler, {"call"} if route.request else set()) for route in API_ROUTES]
    routes += [(path, handler, set()) for _, path, handler in _PAGE_ROUTES]
    for path, handler, more in routes:
        in_path = set(re.findall(r"{(\w+)", path))
        filled = (
            {"relay", "request", "query", "form"} | in_path | more | ({"id_", "event"} if "id" in in_path else set())
        )
        named = signature(handler).parameters.values()
        assert {one.name for one in named if one.default is Parameter.empty} <= filled, f"{handler.__name__} at {path}"
