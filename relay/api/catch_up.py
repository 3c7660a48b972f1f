"""Catching up: events that a provider sent while relay was away, fetched from it."""

from typing import Annotated

from pydantic import AliasPath, Field

from relay.api.resource import Answer, ApiRequest, ApiRoute, Refusal, Resource, Timestamp
from relay.catchup.base import CatchUpState
from relay.http.params import DEFAULT_SINCE, parse_catch_up_request
from relay.services.relay import RunningRelay

_DEFAULT_WAIT = 20.0  # seconds that a call waits for the end before it says how far it is
_MAX_WAIT = 50.0
_CANCEL_WAIT = 1.5  # seconds that a call waits for the end of what it cancels


class CatchUpRequestBody(ApiRequest):
    """What to fetch, and how many seconds the call waits for the end."""

    source: Annotated[
        str, Field(min_length=1), Refusal("source is missing", 'send {"source": "github", "since": "2h"}')
    ]
    since: str | None = None
    dry_run: bool | None = False
    forward: bool | None = True
    wait: Annotated[
        float | None,
        Field(ge=0, le=_MAX_WAIT),
        Refusal("wait must be a number of seconds", f"at most {_MAX_WAIT:g}; 0 does not wait"),
    ] = None


class CatchUpEvent(Resource):
    """An event that was missed; `id` is null until it is recovered."""

    id: int | None
    type: str
    key: str
    sent_at: Timestamp


class CatchUpFailure(Resource):
    """Why a catch-up ended early."""

    code: str
    message: str
    hint: str


class CatchUpDetail(Resource):
    """How far a catch-up is."""

    source: str = Field(validation_alias=AliasPath("request", "source"))
    since: Timestamp = Field(validation_alias=AliasPath("request", "since"))
    dry_run: bool = Field(validation_alias=AliasPath("request", "dry_run"))
    forward: bool = Field(validation_alias=AliasPath("request", "forward"))
    state: CatchUpState
    detail: str
    summary: str = Field(validation_alias="words")
    found: int
    known: int
    unlisted: int
    missed: int
    recovered: int
    lost: int
    events: list[CatchUpEvent] = Field(validation_alias="items")
    error: CatchUpFailure | None
    started_at: Timestamp
    finished_at: Timestamp | None


@ApiRoute("POST", "/api/catch-up", {200: CatchUpDetail, 202: CatchUpDetail}, CatchUpRequestBody)
async def start_catch_up(relay: RunningRelay, call: CatchUpRequestBody) -> Answer:
    """Fetch what was missed: 200 with the result, or 202 with how far it is after `wait` seconds."""
    relay.catch_ups.start(
        parse_catch_up_request(
            relay,
            call.source,
            call.since or DEFAULT_SINCE,
            dry_run=call.dry_run or False,
            forward=call.forward is not False,
        )
    )
    wait = _DEFAULT_WAIT if call.wait is None else call.wait
    progress = await relay.catch_ups.wait_until_over(call.source, wait)
    if progress.error is not None:
        error, came = progress.error, f"; {progress.recovered} of {progress.missed} were recovered before"
        raise type(error)(f"{error.message}{came}", hint=error.hint) if progress.recovered else error
    return CatchUpDetail.serialize(progress), 200 if progress.over else 202


@ApiRoute("GET", "/api/catch-up/{source}", {200: CatchUpDetail})
async def get_catch_up(relay: RunningRelay, source: str) -> Answer:
    """Show how far the newest catch-up of a source is."""
    return CatchUpDetail.serialize(relay.catch_ups.progress(source))


@ApiRoute("POST", "/api/catch-up/{source}/cancel", {200: CatchUpDetail})
async def cancel_catch_up(relay: RunningRelay, source: str) -> Answer:
    """End a catch-up; what is stored stays."""
    relay.catch_ups.cancel(source)
    return CatchUpDetail.serialize(await relay.catch_ups.wait_until_over(source, _CANCEL_WAIT))
