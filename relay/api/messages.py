"""Messages: outgoing mail and SMS, the history of their statuses, and how many arrived."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from multidict import MultiMapping
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from relay.api.resource import Answer, ApiRequest, ApiRoute, Refusal, Resource, Timestamp, default_to, make_shape
from relay.errors import UsageError
from relay.model.message import (
    MAX_ADDRESSES,
    MAX_ID,
    MatchWay,
    MessageStatus,
    NewMessage,
    normalize_id,
    parse_addresses,
)
from relay.model.text import escape_unprintable
from relay.providers.message_status import CodeMeaning
from relay.services import answers
from relay.services.relay import RunningRelay


class MessageSummary(Resource):
    """A message as lists have it."""

    id: int
    channel: str
    provider: str
    external_id: str
    recipient: str
    subject: str
    status: MessageStatus
    code: str
    detail: str
    opened: bool
    clicked: bool
    embedded_id: str
    sent_at: Timestamp | None
    created_at: Timestamp
    event: int | None
    delivery: int | None
    code_meaning: CodeMeaning | None


class MessageHistoryEntry(Resource):
    """A status that a message was reported to have, and the event that reported it."""

    status: MessageStatus
    at: Timestamp | None
    received_at: Timestamp
    code: str
    code_meaning: CodeMeaning | None
    detail: str
    event: int | None
    matched_by: MatchWay | None


class WholeMessage(MessageSummary):
    """A message with every status, in the order received."""

    history: list[MessageHistoryEntry]


MessageList = make_shape(
    "MessageList", "A page of messages, newest first.", messages=list[MessageSummary], next_before=int | None
)


class MessageRates(Resource):
    """Counts of messages with the rates they make.

    A rate is null where there is nothing to divide by, and where a channel does not tell.
    """

    sent: int
    delivered: int
    failed: int
    under_way: int
    opened: int
    clicked: int
    complained: int
    delivery_rate: float | None
    open_rate: float | None
    click_rate: float | None


class MessageDay(Resource):
    """A day (UTC) and channel, for its rates."""

    day: str
    channel: str


class MessageDayRates(MessageRates, MessageDay):
    """The rates of a channel on a day."""


class MessageRatesByDay(Resource):
    """The rates since a day, by channel; `unmatched` statuses are of messages that relay does not know."""

    since: str
    unmatched: int
    totals: dict[str, MessageRates]
    days: list[MessageDayRates]


def _strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _read_id(value: object, info: ValidationInfo) -> object:
    text = str(value) if type(value) is int else _strip("" if value is None else value)
    if isinstance(text, str) and len(normalize_id(text)) > MAX_ID:
        raise UsageError(f"{info.field_name} is limited to {MAX_ID} characters", hint="send the provider's own id")
    return text


def _read_time(text: str | None) -> str | None:
    """Return a time in UTC; one without a zone is of this computer."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"sent_at is not a time: {escape_unprintable(text, 40)}", hint="send one such as 2026-01-31T12:00:00Z"
        ) from None


_IS_MISSING = Refusal("{name} is missing", "send channel, provider and recipient")
_MAX_RECIPIENT = MAX_ADDRESSES * 256
_MessageId = Annotated[str, BeforeValidator(_read_id)]


class NewMessageRequest(ApiRequest):
    """A message that was sent elsewhere; its provider reports its status."""

    channel: Annotated[Literal["email", "sms"], Refusal("channel must be email or sms", 'send {"channel": "sms", …}')]
    recipient: Annotated[str, Field(min_length=1, max_length=_MAX_RECIPIENT), BeforeValidator(_strip), _IS_MISSING]
    provider: Annotated[str, Field(min_length=1, max_length=64), BeforeValidator(_strip), _IS_MISSING]
    external_id: _MessageId = ""
    embedded_id: _MessageId = ""
    subject: Annotated[str, default_to("")] = ""
    # What an app may say of its own message; what comes after is the provider's to tell.
    status: Annotated[
        Literal["queued", "sent"], default_to("sent"), Refusal("status cannot be {value}", "use queued, sent")
    ] = "sent"
    sent_at: Annotated[str | None, AfterValidator(_read_time)] = None


@ApiRoute(
    "GET", "/api/messages", {200: MessageList}, query="channel provider status recipient since event before limit"
)
async def list_messages(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """List messages, newest first."""
    return await answers.list_messages(relay.store, query, query.getall("status", ()), relay.clock.now())


@ApiRoute("GET", "/api/messages/{id}", {200: WholeMessage})
async def get_message(relay: RunningRelay, id_: int) -> Answer:
    """Show a message with every status it was reported to have."""
    return await answers.load_message(relay.store, id_)


@ApiRoute("POST", "/api/messages", {200: WholeMessage, 201: WholeMessage}, NewMessageRequest)
async def register_message(relay: RunningRelay, call: NewMessageRequest) -> Answer:
    """Register a message sent elsewhere; 200 for one that is there under its id already."""
    if call.channel == "email" and not all("@" in address for address in parse_addresses(call.recipient)):
        raise UsageError("recipient is not a mail address", hint="send one such as ada@example.com")
    message = NewMessage(
        channel=call.channel,
        provider=escape_unprintable(call.provider).lower(),
        external_id=escape_unprintable(call.external_id),
        embedded_id=escape_unprintable(call.embedded_id),
        recipient=escape_unprintable(call.recipient),
        subject=escape_unprintable(call.subject, 500),
        status=MessageStatus(call.status),
        sent_at=datetime.fromisoformat(call.sent_at) if call.sent_at else None,
    )
    made = await relay.store.messages.register(message, relay.clock.now())
    for moved in made.moved:
        relay.bus.publish(moved)
    return await answers.load_message(relay.store, made.id), 201 if made.created else 200


@ApiRoute("GET", "/api/messages/rates", {200: MessageRatesByDay}, query="days")
async def get_rates(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """Count what was sent, delivered, opened and clicked, by day (UTC) and channel."""
    return await answers.load_message_rates(relay.store, query, relay.clock.now())
