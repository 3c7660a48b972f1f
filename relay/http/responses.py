"""Responses and refusals as HTTP responses, and the app keys of handlers."""

import json
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

from relay.model.event import Headers
from relay.pipeline.responses import SenderResponse, build_error_response
from relay.services.relay import RunningRelay


def make_response(answered: SenderResponse) -> web.Response:
    """Return a SenderResponse as an aiohttp response."""
    pairs = CIMultiDict(answered.headers)
    if answered.content_type:
        pairs["Content-Type"] = answered.content_type
    pairs.setdefault("Server", "relay")
    response = web.Response(status=answered.status, body=answered.body, headers=pairs)
    if answered.closes:
        response.force_close()
    return response


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_FORBIDDEN = re.compile(r"[\r\n\0]")
_WITHOUT_BODY = frozenset({*range(100, 200), 204, 304})


def format_response(response: SenderResponse) -> bytes:
    """Return a response as HTTP/1.1 bytes, for any method except HEAD.

    Raises ValueError for a header with a line break or NUL.
    """
    body = b"" if response.status in _WITHOUT_BODY else response.body
    headers = (*response.headers, ("Connection", "close")) if response.closes else response.headers
    return _format_head(response.status, response.content_type, headers, len(response.body), int(time.time())) + body


@lru_cache(maxsize=64)
def _format_head(status: int, type_: str, headers: Headers, length: int, second: int) -> bytes:
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() != "content-type"]
    types = (value for name, value in headers if name.lower() == "content-type")
    if type_ := type_ or next(types, "application/octet-stream" if length else ""):
        lines.append(f"Content-Type: {type_}")
    if any(_FORBIDDEN.search(line) for line in lines):
        raise ValueError("a header of an answer holds a line break or NUL")
    lines.append("Server: relay")
    if status not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {length}")
    lines.append(f"Date: {formatdate(second, usegmt=True)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def error_response(status: int, code: str, message: str, hint: str = "") -> web.Response:
    """Return an error in the format of both ports."""
    return make_response(build_error_response(status, code, message, hint))


def json_response(value: object, status: int = 200) -> web.Response:
    """Return a value as ASCII JSON, so that captured characters are harmless."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return web.Response(status=status, body=body, content_type="application/json")


RefusalRenderer = Callable[[web.Request, int, str, str, str], web.Response]
"""Turns a refusal (status, code, message and hint) into a response: JSON for programs, a page for a person."""

RELAY: web.AppKey[RunningRelay] = web.AppKey("relay", RunningRelay)
REFUSAL_RENDERER: web.AppKey[RefusalRenderer] = web.AppKey("refusal")


def get_relay(request: web.Request) -> RunningRelay:
    """Return the relay of this request."""
    return request.app[RELAY]
