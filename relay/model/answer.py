"""How a source answers its sender."""

from dataclasses import dataclass, replace
from typing import Self

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the provider gets back. `body` None means relay's own JSON; `timeout` in seconds.

    `form_body` is for requests that are forms, where their sender takes something else for an error.
    """

    mode: str = "ack"
    status: int = 200
    body: str | None = None
    content_type: str = "application/json"
    timeout: float = 10.0
    form_body: str | None = None

    def to_request(self, media_type: str) -> Self:
        """Return the answer that suits a request with a body of that media type."""
        if self.form_body is None or media_type != _FORM:
            return self
        return replace(self, body=self.form_body, content_type="text/plain; charset=utf-8")
