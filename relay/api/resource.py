"""What every resource of the API is made of: the shapes of its answers, and those that requests must have.

The shape of an answer names each field once, in the order of the JSON, and reads it from the attributes of relay's
own values. The shape of a request is strict; its fields carry what a caller reads who got one wrong.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, TypeVar

from aiohttp import web
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticCustomError

from relay.errors import UsageError
from relay.http.params import call_handler, read_json_body
from relay.http.responses import json_response
from relay.model.admission import describe_reason
from relay.model.clock import format_time
from relay.model.event_json import Json
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Any]])
RequestT = TypeVar("RequestT", bound="ApiRequest")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_QUOTED = 40  # characters of a wrong value that an error repeats


class Resource(BaseModel):
    """A shape of the API's JSON. A field with a default may be missing in an answer."""

    # Built at the first use: to build all of them would cost every start as much as its configuration does.
    model_config = ConfigDict(from_attributes=True, populate_by_name=True, defer_build=True)

    @classmethod
    def serialize(cls, value: object = None, **more: object) -> Json:
        """Return a value, with what it does not hold itself, as JSON of this shape."""
        return cls.model_validate(more if value is None else extend(value, **more)).model_dump()


def make_shape(name: str, description: str, **fields: Any) -> type[Resource]:
    """Return a shape of few fields, given by name and type."""
    typed: dict[str, Any] = {field: (kind, ...) for field, kind in fields.items()}
    return create_model(name, __base__=Resource, __doc__=description, **typed)


class _ExtendedValue:
    def __init__(self, value: object, more: Json) -> None:
        self._value = value
        self.__dict__.update(more)

    def __getattr__(self, name: str) -> object:
        return getattr(self._value, name)


def extend(value: object, **more: object) -> object:
    """Return a value with further attributes, for a shape to read."""
    return _ExtendedValue(value, more) if more else value


class EncodedBody(Resource):
    """Bytes as text where they are UTF-8, else as base64."""

    encoding: Literal["utf-8", "base64"]
    text: str


# What turns an attribute into the value of a field. Times are text in Python too: nothing has to format them later.
Timestamp = Annotated[str, BeforeValidator(format_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Milliseconds = Annotated[float, BeforeValidator(lambda seconds: round(seconds * 1000, 3))]
TextOrNull = Annotated[str | None, BeforeValidator(lambda text: text or None)]
ReasonSentence = Annotated[str | None, BeforeValidator(lambda code: describe_reason(code) if code else None)]
HeaderPairs = list[tuple[str, str]]


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be text")
    return value


# Any text that JSON can hold, half of a surrogate pair included, which `str` refuses.
RequestText = Annotated[str, PlainValidator(_check_text, json_schema_input_type=str)]


class ApiRequest(BaseModel):
    """What a call sends. Any other key is refused, and no value is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller reads whose field does not fit; `{value}` in the message is what was sent."""

    message: str
    hint: str = ""


# What is said of a type that does not fit, for fields without a refusal of their own.
_BY_TYPE = {
    "string_type": Refusal("{name} must be text", "leave {name} out, or quote it"),
    "bool_type": Refusal("{name} must be true or false", "leave {name} out for {default}"),
    "string_unicode": Refusal("{name} holds half of a surrogate pair, which is not text", "send whole characters"),
    "string_too_long": Refusal("{name} is limited to {limit} characters", "shorten it"),
}


def default_to(value: object) -> BeforeValidator:
    """Return what makes a field that is null or "" its default."""
    return BeforeValidator(lambda sent: value if sent in (None, "") else sent)


async def read_request(request: web.Request, shape: type[RequestT]) -> RequestT:
    """Return what a call sends. Raises UsageError about the first key or field that is wrong."""
    body = await read_json_body(request)
    if unknown := sorted(set(body) - set(shape.model_fields)):
        raise UsageError(f"unknown key {unknown[0]!r}", hint=f"use {', '.join(sorted(shape.model_fields))}")
    try:
        read = shape.model_validate(body)
    except ValidationError as error:
        raise _make_usage_error(shape, error) from None
    for name, declared in shape.model_fields.items():
        value, refusal = getattr(read, name), _BY_TYPE["string_unicode"]
        is_any_text = any(isinstance(item, PlainValidator) for item in declared.metadata)
        # pydantic looks at text with a limit only. Neither the store nor an address takes what is no UTF-8.
        if not is_any_text and isinstance(value, str) and _SURROGATE.search(value):
            raise UsageError(refusal.message.replace("{name}", name), hint=refusal.hint)
    return read


def _make_usage_error(shape: type[ApiRequest], error: ValidationError) -> UsageError:
    problem = error.errors(include_url=False)[0]
    name, sent = str(problem["loc"][0]), problem["input"]
    declared, kind = shape.model_fields[name], problem["type"]
    own = next((item for item in declared.metadata if isinstance(item, Refusal)), None)
    if kind in ("enum", "literal_error") and not isinstance(sent, str):
        kind = "string_type"
    by_type = _BY_TYPE.get(kind) if len(problem["loc"]) == 1 else None
    chosen = own if own and (sent is None or by_type is None) else by_type
    refusal = chosen or Refusal("{name} cannot be {value}")
    value = repr(escape_unprintable(str(sent), _MAX_QUOTED))
    default = "true" if declared.default is True else "false"
    limit = str(problem.get("ctx", {}).get("max_length"))
    message = refusal.message.replace("{name}", name).replace("{limit}", limit).replace("{value}", value)
    return UsageError(message, hint=refusal.hint.replace("{name}", name).replace("{default}", default))


Answer = Json | tuple[Json, int] | web.StreamResponse
"""What a handler returns: JSON, with its status where a call has several, or a response that is not JSON."""


@dataclass(slots=True, eq=False)
class ApiRoute:
    """One call, as the decorator of its handler, whose docstring describes it; what it answers and takes.

    A shape is a model, or a media type if not JSON; `query` names parameters. The handler takes what is sent as
    `call`, and further what `call_handler` finds for it.
    """

    method: str
    path: str
    responses: Mapping[int, type[Resource] | str]
    request: type[ApiRequest] | str | None = None
    query: str = ""
    handler: Callable[..., Awaitable[Answer]] = field(init=False)

    def __call__(self, handler: HandlerT) -> HandlerT:
        """Add the call to API_ROUTES."""
        self.handler = handler
        API_ROUTES.append(self)
        return handler

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Return what the handler answers a request with."""
        sent = {"call": await read_request(request, self.request)} if isinstance(self.request, type) else {}
        answer = await call_handler(self.handler, request, **sent)
        if isinstance(answer, web.StreamResponse):
            return answer
        value, status = answer if isinstance(answer, tuple) else (answer, next(iter(self.responses)))
        return json_response(value, status)


API_ROUTES: list[ApiRoute] = []  # of the modules imported so far
