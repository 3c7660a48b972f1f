"""The vault: how it is, unlock and lock it, write to it. Values never come out of it."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from relay.api.resource import Answer, ApiRequest, ApiRoute, Refusal, RequestText, Resource, TextOrNull
from relay.errors import VaultPausedError
from relay.http.responses import error_response
from relay.model.event_json import Json
from relay.model.secret import Secret
from relay.pipeline.reverify import ReverifyResult
from relay.services.relay import RunningRelay


class VaultSummary(Resource):
    """The vault as the status has it; `unchecked` are the events that wait for it."""

    state: str
    unchecked: int


class SecretUse(Resource):
    """Who needs which secret."""

    who: str
    kind: str
    source: TextOrNull
    name: str


class VaultDetail(Resource):
    """The vault: its names, who needs which, what waits while it is locked; no value, and no part of one."""

    state: str
    path: str
    names: list[str]
    needs: list[SecretUse]
    waits: list[str] = Field(validation_alias="effects")
    missing: list[str]
    problem: TextOrNull
    paused_seconds: Annotated[float, BeforeValidator(lambda seconds: round(seconds, 1))] = Field(
        validation_alias="paused"
    )
    unchecked: int


class CheckedEvents(Resource):
    """What became of the events that waited for a secret."""

    events: int
    verified: int
    duplicates: int
    rejected: int
    others: int
    sentence: str = Field(validation_alias="words")


class VaultChange(VaultDetail):
    """The vault after a change; `checked` is null while more events are checked than a caller can wait for."""

    checked: CheckedEvents | None


class UnlockRequest(ApiRequest):
    """The password of the vault."""

    password: Annotated[RequestText, Field(min_length=1), Refusal("password is missing", 'send {"password": "…"}')]


class SecretRequest(ApiRequest):
    """The value of a secret."""

    value: Annotated[RequestText, Refusal("value is missing", 'send {"value": "…"}')]


@ApiRoute("GET", "/api/vault", {200: VaultDetail})
async def get_vault(relay: RunningRelay) -> Answer:
    """Show the vault, without any value."""
    return await _serialize_vault(VaultDetail, relay)


@ApiRoute("POST", "/api/vault/unlock", {200: VaultChange, 202: VaultChange}, UnlockRequest)
async def unlock_vault(relay: RunningRelay, call: UnlockRequest) -> Answer:
    """Unlock the vault: 401 for a wrong password, 429 after three of them."""
    try:
        checked = await relay.vault.unlock(Secret("the password", call.password))
    except VaultPausedError as error:
        response = error_response(error.status, error.code, error.message, error.hint)
        response.headers["Retry-After"] = str(max(1, round(error.seconds)))
        return response
    return await _answer_change(relay, checked)


@ApiRoute("POST", "/api/vault/lock", {200: VaultDetail})
async def lock_vault(relay: RunningRelay) -> Answer:
    """Lock the vault: forget every secret."""
    await relay.vault.lock()
    return await _serialize_vault(VaultDetail, relay)


@ApiRoute("PUT", "/api/vault/secrets/{name}", {200: VaultChange, 202: VaultChange}, SecretRequest)
async def put_secret(relay: RunningRelay, name: str, call: SecretRequest) -> Answer:
    """Keep a secret, while the vault is unlocked."""
    return await _answer_change(relay, await relay.vault.put(name, call.value))


@ApiRoute("DELETE", "/api/vault/secrets/{name}", {200: VaultChange, 202: VaultChange})
async def remove_secret(relay: RunningRelay, name: str) -> Answer:
    """Remove a secret, while the vault is unlocked."""
    return await _answer_change(relay, await relay.vault.remove(name))


async def _answer_change(relay: RunningRelay, checked: ReverifyResult | None) -> Answer:
    return await _serialize_vault(VaultChange, relay, checked=checked), 202 if checked is None else 200


async def _serialize_vault(shape: type[VaultDetail], relay: RunningRelay, **more: object) -> Json:
    return shape.serialize(relay.vault.status, unchecked=await relay.store.unchecked.count(), **more)
