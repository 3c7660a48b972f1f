"""`[sources]` of relay.toml as pydantic models: each key with its type, default and meaning."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, create_model

from relay.config.types import (
    LOCATIONS,
    BodyLimit,
    ConfigTable,
    Duration,
    FilePath,
    MediaType,
    Names,
    Reference,
    References,
    TextOrNumber,
    Tolerance,
    as_list,
    declare,
    schema_or_list,
)
from relay.providers.custom_schemes import SCHEMES
from relay.providers.signature_options import SignatureOptions

_SIGNATURE_KINDS: dict[str, Any] = {
    "scheme": Literal[SCHEMES],
    "header": Names,
    "urls": Names,
    "timestamp_unit": Literal["s", "ms", "iso"],
    "past": Tolerance,
    "future": Tolerance,
}


def _build_signature_fields() -> dict[str, Any]:
    """Return each key of a declared signature with its type, default and meaning, as the scheme itself has them."""
    return {
        # A model has a method `json` already.
        "json_path" if field.name == "json" else field.name: (
            _SIGNATURE_KINDS.get(field.name, kind),
            Field(default=field.default, alias=field.name, description=meaning),
        )
        for field in dataclasses.fields(SignatureOptions)
        for kind, meaning in (get_args(field.type),)
    }


if TYPE_CHECKING:  # a type checker cannot read a class that is made of data
    SignatureTable = ConfigTable
else:
    SignatureTable = create_model(
        "SignatureTable",
        __base__=ConfigTable,
        __doc__="`[sources.NAME.signature]`: a scheme of your own.",
        **_build_signature_fields(),
    )


class AnswerTable(ConfigTable):
    """`answer = {…}`: what the provider gets back."""

    mode: Literal["ack", "wait"] = declare(
        "ack", "`ack` answers at once; `wait` returns the response of the first target with `forward`."
    )
    status: int = declare(200, "The status of the response.", ge=200, le=599)
    body: str | None = declare(
        None, "The body of the response, instead of relay's own JSON or what the provider expects."
    )
    content_type: MediaType | None = declare(
        None, "The content type of the body; by default JSON, XML or plain text, by what it looks like."
    )
    timeout: Duration = declare(10.0, "How long `wait` waits before it answers 202.", gt=0, le=120)


class RateLimit(ConfigTable):
    """`rate_limit = {…}`."""

    requests_per_minute: int = Field(
        description="The maximum number of requests per minute, from all callers together.", ge=1, le=1_000_000
    )
    burst: int = declare(10, "How many requests may come at once.", ge=1, le=1_000_000)


class MessagesTable(ConfigTable):
    """`[sources.NAME.messages]`: how a status from the provider finds its message."""

    match: Annotated[
        list[Literal["external_id", "embedded", "timestamp"]],
        Field(min_length=1),
        BeforeValidator(as_list),
        schema_or_list({"enum": ["external_id", "embedded", "timestamp"]}),
    ] = declare(
        ["external_id", "embedded", "timestamp"], "How a status is matched to its message: these ways, in this order."
    )
    window: Duration = declare(
        600.0, "For `timestamp`, how far the status may be from the time of sending.", gt=0, le=604800
    )
    unknown: Literal[200, 404] = declare(
        200, '`404` answers "message not found" for a status that belongs to no message.'
    )
    id: str | None = declare(None, f"Where the embedded id is, if not at a usual place: {LOCATIONS}.")


class CatchUpTable(ConfigTable):
    """`[sources.NAME.catch_up]`: how past events are asked for; which keys there are depends on `api`."""

    api: Literal["github", "stripe", "svix"] | None = declare(
        None, "The API to query; by default the source's provider."
    )
    base_url: str | None = declare(None, "The base URL of that API, if it is not the usual one.")
    token: Reference | None = declare(None, "The token for GitHub or Svix.")
    key: Reference | None = declare(None, "The key for Stripe.")
    repository: str | None = declare(None, "The GitHub repository of the webhook: `owner/name`.")
    organization: str | None = declare(None, "The GitHub organization of the webhook.")
    hook: Annotated[int, Field(ge=1)] | None = declare(
        None, "The id of the webhook at GitHub; by default the one that points to this source's path."
    )
    app: TextOrNumber | None = declare(None, "The id of the GitHub app, or of the application at Svix.")
    endpoint: str | None = declare(None, "The endpoint at Svix; by default all messages of the application.")
    account: str | None = declare(None, "A connected account at Stripe.")
    undelivered: bool | None = declare(
        None, "Whether to fetch from Stripe only events that some endpoint has not accepted."
    )


class SourceTable(ConfigTable):
    """`[sources.NAME]`: one address events arrive at."""

    provider: str | None = declare(
        None, "The provider; by default the one the table is named after, else `custom`, a scheme of your own."
    )
    path: str | None = declare(
        None, "The path of the source, including everything below it; `/webhooks/<name>` by default."
    )
    secret: References = declare([], "The secret that verifies signatures; several during a rotation.")
    verify_token: References = declare([], "The token that Meta and others send in their setup handshake.")
    scheme: str | None = declare(None, "One of the provider's schemes, if it has several.")
    verify: Literal["enforce", "report", "off"] = declare(
        "enforce", "`enforce` answers 401 to an invalid signature, `report` accepts and flags it, `off` checks nothing."
    )
    tolerance: Tolerance | None = declare(
        None, "How old a signature may be; the provider's own limit by default. `off` checks no age."
    )
    public_url: str | None = declare(
        None, "The URL that the provider signs, if it signs one: no other counts then. The tunnel's by default."
    )
    events: Names = declare(
        [], "The accepted types, with `*`; any other event is stored, answered 200 and marked ignored."
    )
    duplicates: Literal["drop", "deliver"] = declare(
        "drop", "`drop` stores a repeated key and does not deliver it, `deliver` delivers it again."
    )
    require_idempotency_key: bool = declare(False, "Whether an event without a key gets 400.")
    deliver_handshakes: bool = declare(False, "Whether setup handshakes go to targets as well.")
    idempotency_key: str | None = declare(
        None, f"Where the key of an event is, instead of the provider's usual place: {LOCATIONS}."
    )
    event_type: str | None = declare(None, f"Where the type of an event is: {LOCATIONS}.")
    email_field: str | None = declare(
        None, "What must hold one mail address, else 400: `user.email`, or the forms of `event_type`."
    )
    json_schema: FilePath | None = declare(
        None,
        'What a body must match, else 400: a JSON Schema file, or a Pydantic model as `"models:Payment"`.',
        alias="schema",
    )
    allow_ips: Names = declare([], "The addresses and networks that may send; others get 403.")
    rate_limit: RateLimit | None = declare(None, "The rate limit; a request over it gets 429 with `Retry-After`.")
    content_types: Names = declare([], 'The accepted content types, such as `"application/*"`; others get 400.')
    max_body: BodyLimit | None = declare(None, "The largest body of this source, instead of the one of `[server]`.")
    answer: AnswerTable = declare(AnswerTable.model_construct(), "The response to the provider.")
    signature: SignatureTable | None = declare(None, "How requests are signed, if they follow no provider's scheme.")
    messages: MessagesTable | None = declare(None, "How statuses of mail and SMS are matched to their messages.")
    catch_up: CatchUpTable | None = declare(None, "How missed events are fetched from the provider's API.")
