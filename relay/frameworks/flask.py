"""Webhooks in a Flask app: `app.register_blueprint(webhooks("relay.toml"))`."""

from typing import Any

from relay.frameworks import wsgi
from relay.frameworks.extras import METHODS, absent, headers_of
from relay.frameworks.loading import receiver
from relay.receiver import Receiver
from relay.receiver.incoming import Read, within

try:
    from flask import Blueprint, Flask, Response, request
except ModuleNotFoundError as _error:
    raise absent(_error, "flask", "Flask") from _error

__all__ = ["Relay", "receiver", "webhooks"]


def webhooks(config: Any = "relay.toml", **options: Any) -> Blueprint:
    """Return a blueprint that answers at `/webhooks/…`.

    `config` is the path of a relay.toml, with the options of `receiver`, or a Receiver. Raises what
    `receiver` raises.
    """
    receiving = config if isinstance(config, Receiver) else receiver(config, **options)
    blueprint = Blueprint("relay", __name__)

    def receive(rest: str = "") -> Response:  # noqa: ARG001 - the path is taken as it came, not as Flask read it
        answered = receiving.receive_sync(wsgi.incoming(request.environ, _body()))
        return Response(answered.body, answered.status, headers_of(answered))

    for number, rule in enumerate(("/webhooks/<path:rest>", "/webhooks/")):
        blueprint.add_url_rule(
            rule, f"receive-{number}", receive, methods=METHODS, provide_automatic_options=False
        )
    return blueprint


def _body() -> Read:
    # What something in front of this has read already is at hand; only chunks have no length to go by.
    if request.content_length is None:
        return within(request.stream.read)
    return lambda _: request.get_data()


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
        """Give an app its webhooks. Raises what `receiver` raises."""
        config = self._config or app.config.get("RELAY_CONFIG", "relay.toml")
        app.register_blueprint(webhooks(config, **self._options))
