"""Webhooks in a Django project: `path("", include(urls(BASE_DIR / "relay.toml")))` in its urls.py."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any

from relay.frameworks.loading import list_headers, missing_error, read_asgi_request, read_wsgi_request, receiver
from relay.frameworks.receive import Receiver
from relay.frameworks.request import Incoming, read_within_limit
from relay.handlers.file import Handlers
from relay.pipeline.responses import SenderResponse

try:
    from django.conf import settings
    from django.db import close_old_connections
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, re_path
    from django.views.decorators.csrf import csrf_exempt
except ModuleNotFoundError as _error:
    raise missing_error(_error, "django", "Django") from _error

__all__ = ["receiver", "urls"]


def urls(config: Any = "relay.toml", *, asynchronous: bool = False, **options: Any) -> list[URLPattern]:
    """Return the URL patterns that answer at `/webhooks/…`, free of the CSRF check.

    `config` is the path of a relay.toml, with the options of `receiver`, or a Receiver. `asynchronous`: the
    view is async, for a project served over ASGI. Raises what `receiver` raises.
    """
    receiving = config if isinstance(config, Receiver) else receiver(config, around=close_stale_connections, **options)

    def receive(request: HttpRequest, rest: str, **_: object) -> HttpResponse:
        return _build_response(receiving.receive_sync(_read_request(request, rest)))

    async def receive_async(request: HttpRequest, rest: str, **_: object) -> HttpResponse:
        return _build_response(await receiving.receive(_read_request(request, rest)))

    view = csrf_exempt(receive_async if asynchronous else receive)
    return [re_path(r"^webhooks/(?P<rest>(?s:.*))$", view, name="relay")]


def close_stale_connections(handlers: Handlers) -> Handlers:
    """Wrap handlers so that plain functions leave no stale database connection in their thread."""
    rules = tuple(replace(rule, function=_wrap_function(rule.function)) for rule in handlers.rules)
    return replace(handlers, rules=rules)


def _wrap_function(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):
        return function

    @wraps(function)
    def called(event: Any) -> Any:
        close_old_connections()
        try:
            return function(event)
        finally:
            close_old_connections()

    return called


def _read_request(request: HttpRequest, rest: str) -> Incoming:
    scope = getattr(request, "scope", None)
    if scope is not None:
        return read_asgi_request(scope, read_within_limit(request.read), rest, _list_middleware)
    # Django treats a request without Content-Length as empty, although the server has its chunks.
    is_chunked = request.META.get("wsgi.input_terminated") and not request.META.get("CONTENT_LENGTH")
    stream = request.META["wsgi.input"] if is_chunked else request
    # Django keeps the path as text; WSGI has one character per byte.
    environ = request.META | {"PATH_INFO": request.path_info.encode().decode("latin-1")}
    return read_wsgi_request(environ, read_within_limit(stream.read), rest, _list_middleware)


def _list_middleware() -> Iterable[str]:
    # Django's own middleware does not read the body of a CSRF-exempt view.
    return [name for name in settings.MIDDLEWARE if not name.startswith("django.")]


def _build_response(answered: SenderResponse) -> HttpResponse:
    response = HttpResponse(answered.body, status=answered.status)
    for name, value in list_headers(answered):
        response[name] = value
    return response
