"""The vault over HTTP: what the API tells and takes, how guessing is slowed, and the dialog without script."""

import asyncio
import json
import re
import time

import aiohttp
import pytest

from builders import QUICK_KDF
from relay.model.secret import Secret
from relay.vault.storage import Vault

PASSWORD = "four words no sentence"
CANARY = "whsec_canary_of_the_vault_9f2c"
TOML = (
    "[sources.stripe]\nsecret = 'vault:stripe_key'\n"
    "[sources.shop]\nprovider = 'shopify'\nsecret = ['env:SHOP_SECRET', 'vault:shop_key']\n"
)


@pytest.fixture
def vault(tmp_path):
    vault = Vault(tmp_path / ".relay" / "vault", QUICK_KDF)
    vault.create(Secret("x", PASSWORD))
    vault.put("stripe_key", CANARY)
    vault.put("unused", "x")
    vault.lock()
    return vault


@pytest.fixture
async def at(start, vault):
    return await start(TOML, environ={"SHOP_SECRET": "shpss_0123456789abcdef"})


async def unlock(at, password=PASSWORD):
    return await at.api("/api/vault/unlock", "POST", json={"password": password})


async def page(at, path, target=None, **headers):
    if target is not None:
        headers |= {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": target}
    status, body = await at.api(path, headers=headers)
    return status, body.decode() if isinstance(body, bytes) else body


class Visitor:
    """A browser without script: it has the cookie, and posts the forms it is shown."""

    def __init__(self, at, session):
        self.at, self.session = at, session

    async def __aenter__(self):
        await self.session.get(self.at.relay.login_url)
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    async def get(self, path):
        async with self.session.get(self.at.dashboard + path) as response:
            return response.status, await response.text()

    async def post(self, path, htmx=False, **fields):
        _, html = await self.get("/sources")
        token = re.search(r'"X-Relay-CSRF": "(\w+)"', html)[1]
        headers = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "div#errors-vault"} if htmx else {}
        async with self.session.post(
            self.at.dashboard + path, data=fields | {"csrf": token}, headers=headers, allow_redirects=False
        ) as response:
            return response.status, response.headers, await response.text()


@pytest.fixture
async def visitor(at):
    async with Visitor(at, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))) as visitor:
        yield visitor


async def test_the_standing_tells_names_and_needs_and_no_value(at):
    status, told = await at.api("/api/vault")
    assert (status, told["state"], told["names"]) == (200, "locked", ["stripe_key", "unused"])
    assert told["needs"] == [
        {"who": "source 'stripe'", "kind": "source", "source": "stripe", "name": "stripe_key"},
        {"who": "source 'shop'", "kind": "source", "source": "shop", "name": "shop_key"},
    ]
    assert told["waits"] == ["Sources stripe and shop cannot check signatures."]
    assert told["missing"] == ["source 'shop' needs vault secret 'shop_key'; relay vault set shop_key"]
    _, told = await unlock(at)
    assert (told["state"], told["waits"], told["checked"]["events"]) == ("unlocked", [], 0)
    assert CANARY not in json.dumps(told)


async def test_a_wrong_password_costs_half_a_second_and_says_no_more_than_that(at):
    began = time.monotonic()
    status, told = await unlock(at, "some other password")
    assert time.monotonic() - began >= 0.5
    assert (status, told["error"]["code"]) == (401, "wrong_password")
    assert told["error"]["message"] == "wrong password, or the vault was changed"
    assert told["error"]["hint"] == "2 tries are left"


async def test_after_three_wrong_passwords_nobody_is_listened_to_for_a_while(at):
    wrong = await asyncio.gather(*(unlock(at, "some other password") for _ in range(4)))
    assert sorted(status for status, _ in wrong) == [401, 401, 401, 429]
    headers = {"Authorization": f"Bearer {at.token}"}
    url = at.dashboard + "/api/vault/unlock"
    async with at.session.post(url, json={"password": PASSWORD}, headers=headers) as response:
        assert response.status == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 30
        assert (await response.json())["error"]["code"] == "vault_paused"
    _, told = await at.api("/api/vault")
    assert told["state"] == "locked"
    assert 0 < told["paused_seconds"] <= 30


async def test_a_right_password_forgets_the_wrong_ones(at):
    for _ in range(2):
        assert (await unlock(at, "some other password"))[0] == 401
    assert (await unlock(at))[0] == 200
    await at.api("/api/vault/lock", "POST")
    status, told = await unlock(at, "some other password")
    assert (status, told["error"]["hint"]) == (401, "2 tries are left")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"password": 1}', b'{"password": ""}', b'{"password": "x", "more": 1}', b"{", b"\xff"]
)
async def test_rubbish_unlocks_nothing_and_costs_no_try(at, body):
    headers = {"Content-Type": "application/json"}
    status, told = await at.api("/api/vault/unlock", "POST", data=body, headers=headers)
    assert (status, told["error"]["code"]) == (400, "bad_request")
    assert (await unlock(at, "some other password"))[1]["error"]["hint"] == "2 tries are left"


@pytest.mark.parametrize("password", ["\ud800" * 12, "x" * 100_000, "\0" * 12, "p\u00e4ssw\u00f6rter"])
async def test_an_odd_password_is_a_wrong_one(at, password):
    status, told = await unlock(at, password)
    assert (status, told["error"]["code"]) == (401, "wrong_password")


async def test_secrets_are_written_only_while_it_is_unlocked(at, vault):
    path = "/api/vault/secrets/shop_key"
    for method, body in (("PUT", {"value": "shpss_1"}), ("DELETE", None)):
        status, told = await at.api(path, method, json=body)
        assert (status, told["error"]["code"]) == (423, "vault_locked")
    await unlock(at)
    status, told = await at.api(path, "PUT", json={"value": "shpss_1"})
    assert (status, told["names"], told["missing"]) == (200, ["shop_key", "stripe_key", "unused"], [])
    assert vault.names == ("shop_key", "stripe_key", "unused")
    status, told = await at.api(path, "DELETE")
    assert (status, told["names"]) == (200, ["stripe_key", "unused"])
    assert (await at.api(path, "DELETE"))[0] == 404


@pytest.mark.parametrize("name", ["a%2Fb", "x" * 65, "%1b%5b", "a%20b"])
async def test_a_name_that_is_none_is_refused(at, name):
    await unlock(at)
    status, told = await at.api(f"/api/vault/secrets/{name}", "PUT", json={"value": "x"})
    assert status == 400
    assert "secret names are 1-64" in told["error"]["message"]


async def test_a_value_is_never_given_back(at):
    await unlock(at)
    status, _ = await at.api("/api/vault/secrets/stripe_key")
    assert status in (404, 405)
    body = {"id": "evt_1", "type": "invoice.paid"}
    await at.send("/webhooks/stripe", json.dumps(body), headers={"Stripe-Signature": "t=1,v1=00"})
    for path in (
        "/api/vault",
        "/api/status",
        "/api/events/1",
        "/api/events",
        "/sources",
        "/sources/stripe",
        "/vault",
        "/vault?name=stripe_key",
        "/events/1/verification",
        "/events",
    ):
        _, told = await at.api(path)
        shown = told.decode() if isinstance(told, bytes) else json.dumps(told)
        assert CANARY not in shown, path
        assert PASSWORD not in shown, path
    _, told = await at.api("/api/events/1/verify", "POST", json={})
    assert CANARY not in json.dumps(told)


async def test_a_file_that_was_changed_meanwhile_is_told_and_capture_goes_on(at, vault):
    await unlock(at)
    vault.path.write_bytes(b"rubbish")
    status, told = await at.api("/api/vault/secrets/more", "PUT", json={"value": "x"})
    assert status == 422
    assert "is damaged" in told["error"]["message"]
    assert vault.path.read_bytes() == b"rubbish"
    await at.api("/api/vault/lock", "POST")
    _, told = await at.api("/api/vault")
    assert (told["state"], "is damaged" in told["problem"]) == ("locked", True)
    assert (await at.send("/webhooks/stripe"))[0] == 200
    _, html = await page(at, "/sources")
    assert "The vault cannot be opened." in html


async def test_pages_say_what_waits_and_offer_to_unlock(at):
    await at.send("/webhooks/stripe")
    _, html = await page(at, "/sources/shop")
    assert "<b>The vault is locked.</b> Sources stripe and shop cannot check signatures." in html
    assert "1 event waits to be checked." in html
    assert re.search(r'<div id="vault"><a class="line t-warn" href="/vault"[^>]*>.*?Vault locked</a>', html)
    assert html.count("Locked</span>") == 1
    assert '<code class="muted">cdef</code>' in html
    _, html = await page(at, "/events/1/verification")
    assert "Not checked: the vault is locked" in html
    assert ">Unlock</a>" in html.replace("</svg>", "")[-20000:] or "Unlock</a>" in html
    assert "unchecked, vault locked" in html
    assert "Waits for the vault" in html
    _, html = await page(at, "/events/1/routing")
    await unlock(at)
    _, html = await page(at, "/sources/stripe")
    assert "Vault unlocked" in html
    assert "The vault is locked" not in html
    assert '<code class="muted">9f2c</code>' in html
    assert "1 event that came meanwhile was checked: 1 rejected." in html
    _, html = await page(at, "/sources/shop")
    assert 'href="/vault?name=shop_key"' in html
    _, html = await page(at, "/events/1/verification")
    assert "Accepted while the vault was locked; refused when it was checked" in html


async def test_every_page_says_which_credential_waiting_mail_needs(start):
    at = await start(
        "[targets.mail]\nemail = 'receipt'\n[emails.receipt]\nto = 'a@example.com'\nsubject = 's'\ntext = 't'\n"
        "[smtp]\nhost = '127.0.0.1'\nsender = 'relay@example.com'\n"
        "username = 'env:STRIPE_WEBHOOK_SECRET'\npassword = 'env:NO_SUCH'\n"
    )
    assert "NO_SUCH" not in (await page(at, "/banners"))[1]
    await at.send()
    for path in ("/events", "/settings", "/banners"):
        _, html = await page(at, path)
        assert "1 mail waits." in html
        assert "NO_SUCH is not set, so mail cannot log in." in html


async def test_the_email_dialog_says_that_mail_waits(start, vault):
    at = await start(
        "[emails.receipt]\nto = 'a@example.com'\nsubject = 's'\ntext = 't'\n[smtp]\nhost = '127.0.0.1'\n"
        "sender = 'relay@example.com'\npassword = 'vault:smtp.password'\n"
    )
    await at.send()
    _, html = await page(at, "/events/1/email")
    assert "The vault is locked: the mail waits until it is open." in html
    await unlock(at)
    _, html = await page(at, "/events/1/email")
    assert "The vault holds no secret &#39;smtp.password&#39;, so mail cannot log in. It waits until then." in html
    status, _ = await at.api("/api/vault/secrets/smtp.password", "PUT", json={"value": "word"})
    assert status == 200
    _, html = await page(at, "/events/1/email")
    assert "Sent by 127.0.0.1:587." in html


async def test_without_a_vault_nobody_is_bothered(start):
    at = await start()
    _, html = await page(at, "/sources")
    assert '<div id="vault"></div>' in html
    assert (await at.api("/api/vault"))[1]["state"] == "none"
    status, told = await unlock(at)
    assert (status, told["error"]["hint"]) == (404, "relay vault init makes one")


async def test_a_vault_that_is_needed_and_not_there_is_said(start):
    at = await start(TOML)
    assert any("relay vault init makes one" in notice for notice in at.relay.notices)
    _, html = await page(at, "/vault")
    assert "No vault yet" in html
    assert "<code>relay vault init</code>" in html


async def test_everything_works_without_script(at, visitor):
    status, html = await visitor.get("/vault")
    assert (status, "The vault is locked" in html) == (200, True)
    status, _, html = await visitor.post("/vault/unlock", password="some other password")
    assert (status, "Wrong password, or the vault was changed: 2 tries are left." in html) == (401, True)
    assert (await visitor.post("/vault/unlock", password=""))[0] == 422
    status, headers, _ = await visitor.post("/vault/unlock", password=PASSWORD)
    assert (status, headers["Location"]) == (303, "/sources")
    status, html = await visitor.get("/vault?name=shop_key")
    assert 'value="shop_key"' in html
    assert (await visitor.post("/vault/secrets", name="shop_key", value=CANARY + "2"))[0] == 303
    _, html = await visitor.get("/vault")
    assert "source &#39;shop&#39;" in html
    assert "Not used" in html
    assert CANARY not in html
    status, _, html = await visitor.post("/vault/secrets", name="a/b", value=CANARY)
    assert (status, "secret names are 1-64" in html, CANARY in html) == (400, True, False)
    assert (await visitor.post("/vault/secrets/unused/remove"))[0] == 303
    assert (await visitor.post("/vault/lock"))[0] == 303
    _, html = await visitor.get("/sources")
    assert "The vault is locked" in html


async def test_with_script_a_dialog_opens_and_the_page_is_asked_for_again(at, visitor):
    _, html = await page(at, "/vault", "div#dialog")
    assert html.lstrip().startswith('<dialog class="dlg"')
    assert "data-open" in html
    status, _, html = await visitor.post("/vault/unlock", htmx=True, password="some other password")
    assert (status, html.count("banner err")) == (401, 1)
    status, headers, html = await visitor.post("/vault/unlock", htmx=True, password=PASSWORD)
    assert (status, headers["HX-Refresh"], html) == (200, "true", "")


async def test_another_site_cannot_unlock_or_lock_it(at):
    for path in ("/vault/unlock", "/vault/lock", "/vault/secrets", "/api/vault/lock"):
        headers = {"Cookie": f"relay-{at.dashboard.rpartition(':')[2]}={at.token}"}
        async with at.session.post(
            at.dashboard + path, data={"password": PASSWORD}, headers=headers | {"Origin": "http://evil.example"}
        ) as response:
            assert response.status == 403
        async with at.session.post(at.dashboard + path, data={"password": PASSWORD}, headers=headers) as response:
            assert response.status == 403
    async with at.session.post(at.dashboard + "/api/vault/unlock", json={"password": PASSWORD}) as response:
        assert response.status == 401


async def test_the_streams_say_when_it_is_opened(at):
    headers = {"Authorization": f"Bearer {at.token}"}
    async with (
        at.session.get(at.dashboard + "/stream?q=", headers=headers) as pages,
        at.session.get(at.dashboard + "/api/stream", headers=headers) as feed,
    ):
        await at.send("/webhooks/stripe")

        async def until(response, *wanted):
            seen = ""
            async with asyncio.timeout(60):
                while not all(text in seen for text in wanted):
                    seen += (await response.content.readany()).decode()

        await until(pages, 'id="e-1"')
        await until(feed, '"vault":"locked"')
        await unlock(at)
        await until(
            pages,
            'hx-target="#vault"',
            "Vault unlocked",
            'hx-target="#v-1"',
            "verification failed",
            'hx-target="#vault-banner"',
            "The vault was opened.",
        )
        await until(feed, '"vault":"unlocked"')
