"""Mails made from events: sent, previewed, and what a whole query would have sent."""

from typing import Annotated, Literal

from pydantic import AliasPath, BeforeValidator, Field

from relay.api.resource import (
    Answer,
    ApiRequest,
    ApiRoute,
    Refusal,
    Resource,
    TextOrNull,
    Timestamp,
    default_to,
    make_shape,
)
from relay.delivery.email_dry_run import DryRunRequest
from relay.model.event import CapturedEvent
from relay.model.mail import DryRunOutcome
from relay.model.parameters import MAX_LIMIT
from relay.services.relay import RunningRelay

_PositiveNumber = Annotated[
    int | None, Field(gt=0, lt=2**62), Refusal("{name} must be a positive number", 'send {"{name}": 50}')
]


class EmailRequest(ApiRequest):
    """Which template to send to whom; with `force` although it was sent before."""

    template: Annotated[str, Field(min_length=1), Refusal("template is missing", 'send {"template": "receipt"}')]
    to: Annotated[
        list[str],
        default_to([]),
        BeforeValidator(lambda sent: [sent] if isinstance(sent, str) and sent else sent),
        Refusal("to must be an address or a list of addresses", 'send {"to": ["a@example.com"]}'),
    ] = Field(default_factory=list)
    force: bool = False


StartedEmail = make_shape("StartedEmail", "The delivery that was made.", delivery=int)


class AttachmentSummary(Resource):
    """A file of a mail."""

    name: str
    type: str
    size: Annotated[int, BeforeValidator(len)] = Field(validation_alias="content")


class RenderedMail(Resource):
    """A mail as it would be sent."""

    to: list[str]
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    subject: str
    html: str
    text: str
    attachments: list[AttachmentSummary]


class DryRunEmailRequest(ApiRequest):
    """Which events to look at, and which template or target to take instead of what the routes say."""

    q: Annotated[str, Refusal("q is missing", 'send {"q": "after:7d"}; "" means every event')]
    template: str | None = None
    target: str | None = None
    before: _PositiveNumber = None
    limit: _PositiveNumber = 100


class DryRunMail(Resource):
    """What would have become of one mail, and why."""

    event: int = Field(validation_alias=AliasPath("event", "id"))
    received_at: Timestamp = Field(validation_alias=AliasPath("event", "received_at"))
    source: str = Field(validation_alias=AliasPath("event", "source"))
    type: str = Field(validation_alias=AliasPath("event", "type"))
    template: str
    target: TextOrNull
    outcome: DryRunOutcome
    why: TextOrNull
    recipients: list[str]
    subject: TextOrNull


class DryRunResult(Resource):
    """The mails of a page of events, newest first."""

    dry_run: Literal[True]
    events: int
    counts: dict[str, int]
    mails: list[DryRunMail]
    next_before: int | None


@ApiRoute("POST", "/api/events/{id}/email", {202: StartedEmail}, EmailRequest)
async def email_event(relay: RunningRelay, event: CapturedEvent, call: EmailRequest) -> Answer:
    """Send a mail made from an event."""
    made = await relay.replays.email_event(event, call.template, tuple(call.to), call.force)
    return {"delivery": made}


@ApiRoute("POST", "/api/events/{id}/email/preview", {200: RenderedMail}, EmailRequest)
async def preview_email(relay: RunningRelay, event: CapturedEvent, call: EmailRequest) -> Answer:
    """Render a mail made from an event, and send nothing."""
    mail = await relay.replays.email.preview(event, call.template, tuple(call.to))
    return RenderedMail.serialize(mail)


@ApiRoute("POST", "/api/emails/dry-run", {200: DryRunResult}, DryRunEmailRequest)
async def run_dry_run(relay: RunningRelay, call: DryRunEmailRequest) -> Answer:
    """Describe which mails would have gone out."""
    found = await relay.email_dry_run.list_mails(
        DryRunRequest(
            query=call.q,
            template=call.template or None,
            target=call.target or None,
            before=call.before,
            limit=min(call.limit or 100, MAX_LIMIT),
        )
    )
    return DryRunResult.serialize(found, dry_run=True)
