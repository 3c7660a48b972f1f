"""What a setup handshake is made of: what is asked, who may ask, what to say; and how it is read from a request."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl

from relay.model.event import Capture, Headers
from relay.model.payload import PayloadError, parse_form
from relay.model.secret import Secret

_VISIBLE = re.compile(r"[\x20-\x7e]{1,2048}")


class Proof(Enum):
    """What must be right before a handshake is answered: the signature, a verify token, or nothing."""

    SIGNATURE = "signature"
    TOKEN = "token"  # noqa: S105 - the kind of proof, no secret
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a provider wants to hear; `body` None means the source's own answer.

    `offered` is a secret that the provider gave away in the handshake, and `todo` what is left for a
    person to do.
    """

    status: int = 200
    body: bytes | None = None
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()
    offered: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One handshake of a provider.

    `asked` returns what a request asks for, None when it is no such handshake. `reply` makes the
    answer from it and from the secret that is proven right, None being none; it gives None where
    it cannot be answered without one. `token` reads the verify token.
    """

    name: str
    asked: Callable[[Capture], str | None]
    reply: Callable[[str, Secret | None], Reply | None]
    proof: Proof = Proof.NONE
    token: Callable[[Capture], str] = lambda _: ""


def json_where(key: str, value: str, *path: str) -> Callable[[Capture], str | None]:
    """Return what reads the text at `path` of a JSON body whose `key` says `value`."""
    needle = value.encode()

    def asked(capture: Capture) -> str | None:
        # Looking for the word first spares ordinary events a reading of their body.
        if needle not in capture.body:
            return None
        payload = capture.payload
        return visible_text(payload.json_at(*path)) if payload.json_at(key) == value else None

    return asked


def query_parameter(name: str, method: str) -> Callable[[Capture], str | None]:
    """Return what reads a query parameter of requests of one method."""

    def asked(capture: Capture) -> str | None:
        if capture.method != method or f"{name}=" not in capture.query:
            return None
        return query_value(capture, name)

    return asked


def echo(asked: str, _: Secret | None) -> Reply:
    """Return what was asked for, as text."""
    return Reply(body=asked.encode())


def json_reply(value: Mapping[str, object]) -> Reply:
    """Return a reply in compact JSON."""
    return Reply(body=json.dumps(value, separators=(",", ":")).encode(), content_type="application/json")


def visible_text(value: object) -> str | None:
    """Return a text that may be sent back: printable ASCII in one line; None for anything else."""
    return value if isinstance(value, str) and _VISIBLE.fullmatch(value) else None


def query_value(capture: Capture, name: str) -> str | None:
    """Return the first value of a query parameter, as `visible_text` takes it."""
    pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
    return next((visible_text(value) for key, value in pairs if key == name), None)


def form_fields(capture: Capture) -> Mapping[str, str]:
    """Return the fields of a form body, none where it is no form or has one of them twice."""
    try:
        pairs = parse_form(capture.body)
    except PayloadError:
        return {}
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {}
