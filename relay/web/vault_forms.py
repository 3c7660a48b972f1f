"""The vault's dialog: opens and locks it, keeps and forgets secrets; without JavaScript it is a page."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from aiohttp import web

from relay.errors import RelayError
from relay.model.secret import Secret
from relay.model.text import printable
from relay.vault.vault import MOST_VALUE
from relay.web import gather
from relay.web.contexts.vault import HeldSecret, VaultForm, VaultPage
from relay.web.custody import Standing
from relay.web.keys import desk
from relay.web.posted import fields, see, sentence
from relay.web.render import RENDERER, html, wants

_TITLES = {"none": "No vault yet", "locked": "The vault is locked", "unlocked": "The vault is unlocked"}
_DONE = "/sources"


async def dialog(request: web.Request) -> web.Response:
    """GET /vault?name=: the password to type in, or what the vault holds; `name` is the secret to keep."""
    return await _shown(request, name=request.query.get("name", ""))


async def unlock(request: web.Request) -> web.Response:
    """POST /vault/unlock: opens it; the page behind then shows what was checked."""
    form = await fields(request)
    password = Secret("the password", form.get("password", ""))
    if not password.reveal():
        return await _shown(request, error="Type the password.", status=422)
    return await _done(request, lambda: desk(request).custody.unlock(password))


async def lock(request: web.Request) -> web.Response:
    """POST /vault/lock: forgets every secret."""
    return await _done(request, desk(request).custody.lock)


async def keep(request: web.Request) -> web.Response:
    """POST /vault/secrets: keeps the secret that was typed in; its value is never shown again."""
    form = await fields(request)
    name, value = form.get("name", "").strip(), form.get("value", "")[: MOST_VALUE + 1]
    return await _done(request, lambda: desk(request).custody.put(name, value), name)


async def remove(request: web.Request) -> web.Response:
    """POST /vault/secrets/{name}/remove: forgets one secret."""
    return await _done(request, lambda: desk(request).custody.remove(request.match_info["name"]))


async def _done(request: web.Request, deed: Callable[[], Awaitable[object]], name: str = "") -> web.Response:
    try:
        await deed()
    except RelayError as error:
        said = sentence(error)
        return await _shown(request, error=f"{said[:1].upper()}{said[1:]}.", status=error.status, name=name)
    if wants(request) is None:
        return see(_DONE)
    # Rows, results and sources may all read otherwise now: the page is asked for again, at its own address.
    return html("", headers={"HX-Refresh": "true"})


async def _shown(request: web.Request, *, error: str = "", name: str = "", status: int = 200) -> web.Response:
    renderer = request.app[RENDERER]
    if error and wants(request) is not None:
        return html(renderer.part("parts/errors.html", errors={"": error}), status)
    form = _form(desk(request).custody.standing, name, error)
    if wants(request) is not None:
        return html(renderer.part(form.template, form=form, standing=False))
    shell = await gather.frame(request, form.title, "sources")
    return html(renderer.page(VaultPage(shell=shell, title=form.title, form=form)), status)


def _form(standing: Standing, name: str, error: str) -> VaultForm:
    needed: dict[str, list[str]] = {}
    for need in standing.needs:
        needed.setdefault(need.name, []).append(need.who)
    lines = (standing.problem,) if standing.problem else (*standing.effects, *standing.missing)
    return VaultForm(
        state=standing.state,
        title=_TITLES[standing.state],
        path=printable(standing.path, 200),
        lines=tuple(printable(f"{line[:1].upper()}{line[1:]}", 300) for line in lines),
        secrets=tuple(
            HeldSecret(
                name=held,
                who=", ".join(needed.get(held, ())) or "Nothing needs it",
                action=f"/vault/secrets/{quote(held, safe='')}/remove",
            )
            for held in standing.names
        ),
        name=printable(name, 64),
        error=error,
    )
