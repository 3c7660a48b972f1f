"""A person with a locked vault before the dashboard: what it says, how it is opened, and what follows."""

import pytest

from builders import QUICK_KDF
from journeys.contrast import check_pages
from journeys.waiting import until
from relay.model.secret import Secret
from relay.vault.storage import Vault

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "four words no sentence"
KEY = "whsec_journey_secret"
VAULT = "document.querySelector('#vault')?.innerText.trim()"
DIALOG = "document.querySelector('dialog[open]')"
ROW = "document.querySelector('#e-{}').textContent"  # innerText is empty in a tab that is not in front


@pytest.fixture
def locked(site, app):
    """Start the relay again with its secret in a locked vault."""

    async def go(**secrets):
        await site.stop()
        vault = Vault(site.folder / ".relay" / "vault", QUICK_KDF)
        vault.create(Secret("x", PASSWORD))
        for name, value in secrets.items():
            vault.put(name, value)
        await site.start(
            "[sources.stripe]\nsecret = 'vault:stripe_key'\n[sources.shop]\nprovider = 'stripe'\n"
            f"secret = 'vault:shop_key'\n[targets.app]\nforward = '{app.url}'\n"
        )
        site.allowed = ("401", "429")

    return go


async def opened(page, password, dialog="#vault a"):
    if not await page.evaluate(f"!!{DIALOG}"):
        await page.click(dialog)
        await until(page, DIALOG)
    await until(page, "document.activeElement.id === 'va-p'")
    await page.evaluate("document.querySelector('#va-p').value = ''")
    await page.keyboard.insert_text(password)
    await page.keyboard.press("Enter")


async def test_unlocking_checks_what_came_meanwhile_and_every_open_page_shows_it(site, locked):
    await locked(stripe_key=KEY, shop_key="x")
    await site.stripe()
    await site.stripe(secret="whsec_other")
    page = await site.page("/events/2/verification")
    other = await site.page("/sources/stripe", another=True)
    for id_ in (1, 2):
        assert "Unchecked" in await page.evaluate(ROW.format(id_))
        assert await page.evaluate(f"!!document.querySelector('#v-{id_} .warn')")
    assert await page.evaluate(VAULT) == "Vault locked"
    assert "Not checked: the vault is locked" in await page.evaluate("document.querySelector('#tab').innerText")
    banner = "document.querySelector('#vault-banner').innerText"
    assert "The vault is locked. Sources stripe and shop cannot check signatures." in await other.evaluate(banner)
    assert "2 events wait to be checked." in await other.evaluate(banner)
    await opened(page, "some other password", dialog="#tab .btns a")
    await until(page, "document.querySelector('#errors-vault').innerText.includes('2 tries are left')")
    assert site.app.got == []
    async with page.expect_event("load"):
        await opened(page, PASSWORD)
    await until(page, f"{VAULT} === 'Vault unlocked'")
    await until(page, "document.querySelector('#tab')?.innerText.includes('refused when it was checked')")
    assert await page.evaluate("location.pathname") == "/events/2/verification"
    await until(page, "document.querySelector('#banners')?.innerText.includes('1 verified, 1 rejected')")
    await until(page, f"{ROW.format(2)}.includes('Rejected')")
    await until(page, f"{ROW.format(1)}.includes('200')")
    await until(other, f"{VAULT} === 'Vault unlocked'")
    await until(other, "document.querySelector('#vault-banner').innerText === ''")
    await site.stripe({"id": "evt_later", "type": "invoice.paid"})
    await until(page, "!!document.querySelector('#v-3 .ok')")
    await until(page, f"{ROW.format(3)}.includes('200')")
    assert len(site.app.got) == 2


async def test_three_wrong_passwords_bring_a_pause(site, locked):
    await locked(stripe_key=KEY)
    page = await site.page("/sources")
    for said in ("2 tries are left", "1 try is left", "the next try is in 30 s", "there were three wrong passwords"):
        await opened(page, "some other password", dialog="#vault-banner a")
        await until(page, f"document.querySelector('#errors-vault').innerText.toLowerCase().includes('{said}')")
    await page.keyboard.press("Escape")
    await until(page, f"!{DIALOG}")
    assert await page.evaluate(VAULT) == "Vault locked"


async def test_a_secret_is_saved_from_the_page_of_its_source_and_used_at_once(site, locked):
    await locked(stripe_key=KEY)
    await site.stripe()
    page = await site.page("/sources/shop")
    async with page.expect_event("load"):
        await opened(page, PASSWORD)
    await until(page, "document.querySelector('.epd')?.innerText.includes('Not found')")
    await page.click(".epd td a.link")
    await until(page, "document.activeElement.id === 'va-v'")
    assert await page.evaluate("document.querySelector('#va-n').value") == "shop_key"
    async with page.expect_event("load"):
        await page.keyboard.insert_text("whsec_a_secret_of_the_shop")
        await page.keyboard.press("Enter")
    await until(page, "document.querySelector('.epd td .chip.ok')?.innerText === 'Found'")
    assert "whsec_a_secret" not in await page.evaluate("document.documentElement.outerHTML")
    assert "shop" in await page.evaluate("document.querySelector('.epd td code').innerText")
    await page.click("#vault a")
    await until(page, DIALOG)
    async with page.expect_event("load"):
        await page.click("dialog .dlg-f form button")
    await until(page, f"{VAULT} === 'Vault locked'")


@pytest.mark.slow
async def test_every_text_of_it_can_be_read_in_both_themes(site, locked):
    await locked(stripe_key=KEY)
    await site.stripe()
    paths = ("/vault", "/vault?name=x", "/sources", "/sources/shop", "/events/1/verification", "/events")
    sizes = ((1440, 900), (390, 844))
    await check_pages(site, paths, sizes)
    page = await site.page("/vault")
    await until(page, "document.activeElement.id === 'va-p'")
    async with page.expect_event("load"):
        await page.keyboard.insert_text(PASSWORD)
        await page.keyboard.press("Enter")
    await until(page, "document.body?.innerText.includes('The vault was opened')")
    await check_pages(site, paths, sizes)
