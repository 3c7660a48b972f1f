"""The API as routes and as an OpenAPI 3.1 document, both from the calls that each resource declares."""

from collections.abc import Mapping
from functools import cache
from inspect import getdoc
from re import findall

from aiohttp import web
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from relay.api import (  # noqa: F401 - importing them fills API_ROUTES
    catch_up,
    deliveries,
    emails,
    events,
    labs,
    messages,
    replays,
    stats,
    status,
    stream,
    transfer,
    triggers,
    vault,
)
from relay.api.resource import API_ROUTES, ApiRequest, ApiRoute, Resource
from relay.http.event_stream import EventStreams
from relay.http.guard import Guard
from relay.http.responses import get_relay, json_response
from relay.http.server import build_resources
from relay.model.event_json import Json
from relay.model.parameters import MAX_LIMIT
from relay.services.stats import WINDOWS
from relay.transfer.formats import FORMATS

_REF = "#/components/schemas/{model}"
_NUMBER = {"type": "integer", "minimum": 1}
_TEXT = {"type": "string"}
# The parameters of the query string; one means the same wherever it is taken.
_PARAMETERS: Mapping[str, tuple[str, Json]] = {
    "q": ("A search, in the grammar of `relay help search`.", _TEXT),
    "limit": ("How many at most.", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}),
    "before": ("Only what is older than the one with this number.", _NUMBER),
    "after": ("Only what is newer than the one with this number.", _NUMBER),
    "state": ("The state of a delivery.", _TEXT),
    "event": ("The number of an event.", _NUMBER),
    "target": ("The name of a target, or a URL.", _TEXT),
    "batch": ("The number of a bulk replay.", _NUMBER),
    "source": ("The name of a source.", _TEXT),
    "channel": ("email or sms.", _TEXT),
    "provider": ("The name of a provider.", _TEXT),
    "status": ("Statuses of messages, joined by commas.", _TEXT),
    "recipient": ("A mail address or a phone number.", _TEXT),
    "since": ("An age such as 2h, or a time.", _TEXT),
    "days": ("How many days, today included.", _NUMBER),
    "window": ("How far back to count.", {"type": "string", "enum": list(WINDOWS), "default": "1h"}),
    "as": ("The format of an export.", {"type": "string", "enum": list(FORMATS), "default": "jsonl"}),
    "raw": ("1: with credentials, which are left out otherwise.", {"type": "string", "enum": ["0", "1"]}),
}


class ErrorContent(Resource):
    """What happened, and what to do about it."""

    code: str
    message: str
    hint: str


class ErrorAnswer(Resource):
    """The answer to a call that failed."""

    error: ErrorContent


def add_api(app: web.Application, _: Guard) -> None:
    """Add the API to an app."""
    app[stream.API_STREAMS] = EventStreams("too many streams are open")
    app.on_shutdown.append(app[stream.API_STREAMS].close)
    for resource in _RESOURCES:
        app.router.register_resource(resource)


async def get_document(request: web.Request) -> web.Response:
    """Return the API as an OpenAPI document."""
    return json_response(build_document(get_relay(request).version))


_RESOURCES = build_resources(
    [
        *(web.route(route.method, route.path, route.respond) for route in API_ROUTES),
        web.get("/api/openapi.json", get_document),
    ]
)


@cache
def build_document(version: str) -> Json:
    """Return the document."""
    shapes = dict.fromkeys(shape for route in API_ROUTES for shape in (*route.responses.values(), route.request))
    models: list[tuple[type[Resource | ApiRequest], JsonSchemaMode]] = [
        (shape, "validation" if issubclass(shape, ApiRequest) else "serialization")
        for shape in (*shapes, ErrorAnswer)
        if isinstance(shape, type)
    ]
    references, definitions = models_json_schema(models, ref_template=_REF)
    schemas = {shape: reference for (shape, _), reference in references.items()}
    paths: Json = {}
    for route in API_ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_route(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "relay", "version": version, "description": "Webhooks in development."},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _describe_route(route: ApiRoute, schemas: Mapping[type, Json]) -> Json:
    summary, _, details = (getdoc(route.handler) or "").partition("\n")
    described: Json = {"operationId": route.handler.__name__, "summary": summary}
    if details:
        described["description"] = details.strip()
    described["parameters"] = [
        *(
            {"name": name, "in": "path", "required": True, "schema": _NUMBER if name == "id" else _TEXT}
            for name in findall(r"{(\w+)}", route.path)
        ),
        *(
            {"name": name, "in": "query", "description": _PARAMETERS[name][0], "schema": _PARAMETERS[name][1]}
            for name in route.query.split()
        ),
    ]
    if route.request is not None:
        required = isinstance(route.request, type) and any(
            field.is_required() for field in route.request.model_fields.values()
        )
        described["requestBody"] = {"content": _describe_content(route.request, schemas), "required": required}
    answers = {str(code): shape for code, shape in route.responses.items()}
    described["responses"] = {
        code: {"description": "It is done.", "content": _describe_content(shape, schemas)}
        for code, shape in {**answers, "4XX": ErrorAnswer, "5XX": ErrorAnswer}.items()
    }
    return described


def _describe_content(shape: type | str, schemas: Mapping[type, Json]) -> Json:
    if isinstance(shape, str):
        return {shape: {}}
    return {"application/json": {"schema": schemas[shape]}}
