"""Answers of the core, and refusals, as HTTP responses."""

import json
import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

from relay.pipeline.responses import SenderResponse, build_error_response


def make_response(answered: SenderResponse) -> web.Response:
    """Turn an answer into a response."""
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


@lru_cache(maxsize=1)
def _format_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def format_response(response: SenderResponse) -> bytes:
    """Return an answer as it goes over the wire in HTTP/1.1, to no HEAD request.

    Raises ValueError for a header with a line break or NUL.
    """
    status, body = response.status, response.body
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in response.headers if name.lower() != "content-type"]
    types = (value for name, value in response.headers if name.lower() == "content-type")
    if type_ := response.content_type or next(types, "application/octet-stream" if body else ""):
        lines.append(f"Content-Type: {type_}")
    if any(_FORBIDDEN.search(line) for line in lines):
        raise ValueError("a header of an answer holds a line break or NUL")
    lines.append("Server: relay")
    if status in _WITHOUT_BODY:
        body = b""
    else:
        lines.append(f"Content-Length: {len(body)}")
    lines.append(f"Date: {_format_date(int(time.time()))}")
    if response.closes:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error_response(status: int, code: str, message: str, hint: str = "") -> web.Response:
    """Return an error in the form both ports use."""
    return make_response(build_error_response(status, code, message, hint))


def json_response(value: object, status: int = 200) -> web.Response:
    """Return a value as JSON: plain ASCII, so that no captured character needs thinking about."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return web.Response(status=status, body=body, content_type="application/json")
