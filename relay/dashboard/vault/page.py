"""The vault's dialog: opens and locks it, keeps and forgets secrets; without JavaScript it is a page."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from aiohttp import web

from relay.dashboard import page_data
from relay.dashboard.render import RENDERER, get_target_id, html_response
from relay.dashboard.responses import format_error, read_fields, redirect
from relay.dashboard.vault.context import VaultForm, VaultPage, VaultSecretLine
from relay.errors import RelayError
from relay.http.context import get_relay
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.services.vault_session import VaultStatus
from relay.vault.storage import LARGEST_VALUE

_STATE_TITLES = {"none": "No vault yet", "locked": "The vault is locked", "unlocked": "The vault is unlocked"}
_AFTER_PATH = "/sources"


async def show_vault_form(request: web.Request) -> web.Response:
    """GET /vault?name=: the password to type in, or what the vault holds; `name` is the secret to keep."""
    return await _render_form(request, name=request.query.get("name", ""))


async def unlock_vault(request: web.Request) -> web.Response:
    """POST /vault/unlock: opens it; the page behind then shows what was checked."""
    form = await read_fields(request)
    password = Secret("the password", form.get("password", ""))
    if not password.reveal():
        return await _render_form(request, error="Type the password.", status=422)
    return await _run_and_answer(request, lambda: get_relay(request).vault.unlock(password))


async def lock_vault(request: web.Request) -> web.Response:
    """POST /vault/lock: forgets every secret."""
    return await _run_and_answer(request, get_relay(request).vault.lock)


async def save_secret(request: web.Request) -> web.Response:
    """POST /vault/secrets: keeps the secret that was typed in; its value is never shown again."""
    form = await read_fields(request)
    name, value = form.get("name", "").strip(), form.get("value", "")[: LARGEST_VALUE + 1]
    return await _run_and_answer(request, lambda: get_relay(request).vault.put(name, value), name)


async def remove_secret(request: web.Request) -> web.Response:
    """POST /vault/secrets/{name}/remove: forgets one secret."""
    return await _run_and_answer(request, lambda: get_relay(request).vault.remove(request.match_info["name"]))


async def _run_and_answer(request: web.Request, deed: Callable[[], Awaitable[object]], name: str = "") -> web.Response:
    try:
        await deed()
    except RelayError as error:
        said = format_error(error)
        return await _render_form(request, error=f"{said[:1].upper()}{said[1:]}.", status=error.status, name=name)
    if get_target_id(request) is None:
        return redirect(_AFTER_PATH)
    # Rows, results and sources may all read otherwise now: the page is asked for again, at its own address.
    return html_response("", headers={"HX-Refresh": "true"})


async def _render_form(request: web.Request, *, error: str = "", name: str = "", status: int = 200) -> web.Response:
    renderer = request.app[RENDERER]
    if error and get_target_id(request) is not None:
        return html_response(renderer.part("errors.html", errors={"": error}), status)
    form = _build_form(get_relay(request).vault.status, name, error)
    if get_target_id(request) is not None:
        return html_response(renderer.part(form.template, form=form, standing=False))
    shell = await page_data.build_shell(request, form.title, "sources")
    return html_response(renderer.page(VaultPage(shell=shell, title=form.title, form=form)), status)


def _build_form(standing: VaultStatus, name: str, error: str) -> VaultForm:
    needed: dict[str, list[str]] = {}
    for need in standing.needs:
        needed.setdefault(need.name, []).append(need.who)
    lines = (standing.problem,) if standing.problem else (*standing.effects, *standing.missing)
    return VaultForm(
        state=standing.state,
        title=_STATE_TITLES[standing.state],
        path=escape_unprintable(standing.path, 200),
        lines=tuple(escape_unprintable(f"{line[:1].upper()}{line[1:]}", 300) for line in lines),
        secrets=tuple(
            VaultSecretLine(
                name=held,
                who=", ".join(needed.get(held, ())) or "Nothing needs it",
                action=f"/vault/secrets/{quote(held, safe='')}/remove",
            )
            for held in standing.names
        ),
        name=escape_unprintable(name, 64),
        error=error,
    )
