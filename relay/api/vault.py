"""The JSON API of the vault: how it stands, open and lock it, write to it; values never come out of it."""

from typing import Any

from aiohttp import web

from relay.errors import UsageError, VaultPausedError
from relay.http import params
from relay.http.context import get_relay
from relay.http.responses import error_response, json_response
from relay.model.secret import Secret
from relay.pipeline.reverify import ReverifyResult
from relay.services.relay import RunningRelay

Json = dict[str, Any]


async def get_vault(request: web.Request) -> web.Response:
    """GET /api/vault: state, names, who needs which, what waits; no value, and no part of one."""
    return json_response(await _serialize_vault(get_relay(request)))


async def unlock_vault(request: web.Request) -> web.Response:
    """POST /api/vault/unlock with `{password}`: 401 for a wrong one, 429 after three of them."""
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"password"})
    password = params.get_text(given, "password")
    if not password:
        raise UsageError("password is missing", hint='send {"password": "…"}')
    try:
        checked = await get_relay(request).vault.unlock(Secret("the password", password))
    except VaultPausedError as error:
        response = error_response(error.status, error.code, error.message, error.hint)
        response.headers["Retry-After"] = str(max(1, round(error.seconds)))
        return response
    return await _answer_change(request, checked)


async def lock_vault(request: web.Request) -> web.Response:
    """POST /api/vault/lock: forget every secret."""
    await get_relay(request).vault.lock()
    return json_response(await _serialize_vault(get_relay(request)))


async def put_secret(request: web.Request) -> web.Response:
    """PUT /api/vault/secrets/{name} with `{value}`, while the vault is unlocked."""
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"value"})
    value = params.get_text(given, "value")
    if value is None:
        raise UsageError("value is missing", hint='send {"value": "…"}')
    return await _answer_change(request, await get_relay(request).vault.put(request.match_info["name"], value))


async def remove_secret(request: web.Request) -> web.Response:
    """DELETE /api/vault/secrets/{name}, while the vault is unlocked."""
    return await _answer_change(request, await get_relay(request).vault.remove(request.match_info["name"]))


async def load_vault_summary(relay: RunningRelay) -> Json:
    """Return what /api/status says of the vault."""
    return {"state": relay.vault.status.state, "unchecked": await relay.store.unchecked.count()}


async def _answer_change(request: web.Request, checked: ReverifyResult | None) -> web.Response:
    shape = await _serialize_vault(get_relay(request))
    counts = checked and {
        "events": checked.events,
        "verified": checked.verified,
        "duplicates": checked.duplicates,
        "rejected": checked.rejected,
        "others": checked.others,
        "sentence": checked.words,
    }
    # None: more came meanwhile than can be checked while somebody waits; it goes on.
    return json_response(shape | {"checked": counts}, 200 if checked else 202)


async def _serialize_vault(relay: RunningRelay) -> Json:
    now = relay.vault.status
    return {
        "state": now.state,
        "path": now.path,
        "names": list(now.names),
        "needs": [
            {"who": need.who, "kind": need.kind, "source": need.source or None, "name": need.name} for need in now.needs
        ],
        "waits": list(now.effects),
        "missing": list(now.missing),
        "problem": now.problem or None,
        "paused_seconds": round(now.paused, 1),
        "unchecked": await relay.store.unchecked.count(),
    }
