"""Webhooks in a Flask app: `app.register_blueprint(webhooks("relay.toml"))`."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from relay.frameworks.loading import METHODS, list_headers, missing_error, name_function, read_wsgi_request, receiver
from relay.frameworks.receive import Receiver
from relay.frameworks.request import BodyConsumedError, ReadBody, read_within_limit

try:
    from flask import Blueprint, Flask, Response, current_app, request
    from flask.blueprints import BlueprintSetupState
    from werkzeug.exceptions import ClientDisconnected
except ModuleNotFoundError as _error:
    raise missing_error(_error, "flask", "Flask") from _error

__all__ = ["Relay", "receiver", "webhooks"]


def webhooks(config: Any = "relay.toml", **options: Any) -> Blueprint:
    """Return a blueprint that answers at `/webhooks/…`.

    `config` is the path of a relay.toml, with the options of `receiver`, or a Receiver. Raises what `receiver` raises.
    """
    receiving = config if isinstance(config, Receiver) else receiver(config, **options)
    blueprint = Blueprint("relay", __name__)

    def receive(rest: str = "", **_: object) -> Response:  # a prefix such as /<tenant> has variables too
        answered = receiving.receive_sync(read_wsgi_request(request.environ, _read_body(), rest, _list_hooks))
        return Response(answered.body, answered.status, list_headers(answered))

    def keep_first(state: BlueprintSetupState) -> None:
        # Before any hook of the app: a hook that reads request.form would consume the bytes unless they are cached.
        state.app.before_request_funcs.setdefault(None, []).insert(0, _make_body_keeper(receive, receiving.max_body))

    for number, rule in enumerate(("/webhooks/<path:rest>", "/webhooks/")):
        blueprint.add_url_rule(rule, f"receive-{number}", receive, methods=METHODS, provide_automatic_options=False)
    blueprint.record(keep_first)
    return blueprint


def _make_body_keeper(view: Callable[..., Response], limit: int) -> Callable[[], None]:
    """Return a before_request function that keeps the bytes of a request for `view`, up to `limit` of them."""

    def keep_body() -> None:
        length = request.content_length
        if length is None or length > limit or current_app.view_functions.get(request.endpoint or "") is not view:
            return
        with suppress(ClientDisconnected):  # _read_stream reports the rest
            request.get_data()  # cached, so request.form is read from the cache

    return keep_body


def _read_body() -> ReadBody:
    if hasattr(request, "_cached_data"):
        return lambda _: request.get_data()
    if "form" in vars(request):  # parsed from the stream, by a hook that saw a body in chunks
        return _raise_consumed
    return read_within_limit(_read_stream)


def _read_stream(size: int) -> bytes:
    # Werkzeug treats a short stream as a disconnect; a WSGI middleware that read it looks the same.
    try:
        return request.stream.read(size)
    except ClientDisconnected:
        return b""


def _raise_consumed(_: int) -> bytes:
    raise BodyConsumedError("request.form or request.files was read")


def _list_hooks() -> Iterable[str]:
    names = (request.blueprint, None) if request.blueprint else (None,)
    hooks = (hook for name in names for hook in current_app.before_request_funcs.get(name, ()))
    wrapped = vars(current_app).get("wsgi_app")  # set on the app only if a middleware wraps it
    around = [wrapped if hasattr(wrapped, "__qualname__") else type(wrapped)] if wrapped else []
    return [name_function(hook) for hook in (*around, *hooks) if hook.__module__ != __name__]


class Relay:
    """The same as an extension: `Relay(app)`, or `relay = Relay()` and `relay.init_app(app)`.

    The relay.toml is `app.config["RELAY_CONFIG"]`, where `config` names none.
    """

    def __init__(self, app: Flask | None = None, config: Any = None, **options: Any) -> None:
        self._config = config
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the webhooks to an app. Raises what `receiver` raises."""
        config = self._config or app.config.get("RELAY_CONFIG", "relay.toml")
        app.register_blueprint(webhooks(config, **self._options))
