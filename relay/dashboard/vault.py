"""The vault's dialog: unlock and lock it, save and remove secrets; without JavaScript it is a page."""

from collections.abc import Awaitable
from typing import Any

from aiohttp import web

from relay.dashboard.filters import capitalize_first
from relay.dashboard.render import get_target_id, html_response
from relay.dashboard.responses import format_error, redirect, render_page, render_part
from relay.errors import RelayError
from relay.http.responses import get_relay
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay
from relay.vault.storage import LARGEST_VALUE

_STATE_TITLES = {"none": "No vault yet", "locked": "The vault is locked", "unlocked": "The vault is unlocked"}
_AFTER_PATH = "/sources"


async def show_vault_form(request: web.Request) -> web.Response:
    """GET /vault?name=: the password to type in, or what the vault holds; `name` is the secret to save."""
    return await _render_form(request, name=request.query.get("name", ""))


async def unlock_vault(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /vault/unlock: the page behind then shows what was checked."""
    password = Secret("the password", form.get("password", ""))
    if not password.reveal():
        return await _render_form(request, error="Type the password.", status=422)
    return await _run_and_answer(request, relay.vault.unlock(password))


async def lock_vault(request: web.Request, relay: RunningRelay) -> web.Response:
    """POST /vault/lock: forgets every secret."""
    return await _run_and_answer(request, relay.vault.lock())


async def save_secret(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /vault/secrets: saves the secret that was typed in; its value is never shown again."""
    name, value = form.get("name", "").strip(), form.get("value", "")[: LARGEST_VALUE + 1]
    return await _run_and_answer(request, relay.vault.put(name, value), name)


async def remove_secret(request: web.Request, relay: RunningRelay, name: str) -> web.Response:
    """POST /vault/secrets/{name}/remove: forgets one secret."""
    return await _run_and_answer(request, relay.vault.remove(name))


async def _run_and_answer(request: web.Request, change: Awaitable[object], name: str = "") -> web.Response:
    try:
        await change
    except RelayError as error:
        message = f"{capitalize_first(format_error(error))}."
        return await _render_form(request, error=message, status=error.status, name=name)
    if get_target_id(request) is None:
        return redirect(_AFTER_PATH)
    # Rows, results and sources may all have changed: the browser reloads the page.
    return html_response("", headers={"HX-Refresh": "true"})


async def _render_form(request: web.Request, *, error: str = "", name: str = "", status: int = 200) -> web.Response:
    is_part = get_target_id(request) is not None
    if error and is_part:
        return render_part(request, "errors.html", status, errors={"": error})
    vault = get_relay(request).vault.status
    values: dict[str, Any] = {
        "vault": vault,
        "heading": _STATE_TITLES[vault.state],
        "name": escape_unprintable(name, 64),
        "back": _AFTER_PATH,
        "error": error,
    }
    if is_part:
        return render_part(request, "vault/dialog.html", standing=False, **values)
    return await render_page(request, "vault/page.html", values["heading"], "sources", status, **values)
