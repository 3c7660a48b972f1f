"""Answers of the core, and refusals, as HTTP responses."""

import json

from aiohttp import web
from multidict import CIMultiDict

from relay.pipeline.responses import SenderResponse, build_error_response


def make_response(answered: SenderResponse, headers: dict[str, str] | None = None) -> web.Response:
    """Turn an answer into a response."""
    pairs = CIMultiDict(headers or {})
    for name, value in answered.headers:
        pairs.add(name, value)
    if answered.content_type:
        pairs["Content-Type"] = answered.content_type
    pairs.setdefault("Server", "relay")
    return web.Response(status=answered.status, body=answered.body, headers=pairs)


def make_closing_response(answered: SenderResponse, headers: dict[str, str] | None = None) -> web.Response:
    """Turn an answer into a response after which the connection ends."""
    response = make_response(answered, headers)
    response.force_close()
    return response


def error_response(status: int, code: str, message: str, hint: str = "") -> web.Response:
    """Return an error in the form both ports use."""
    return make_response(build_error_response(status, code, message, hint))


def json_response(value: object, status: int = 200) -> web.Response:
    """Return a value as JSON: plain ASCII, so that no captured character needs thinking about."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return web.Response(status=status, body=body, content_type="application/json")
