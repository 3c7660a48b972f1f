"""A mail from an event in a real browser: looked at, sent once, sent again only when that is asked for."""

import pytest
import pytest_asyncio

from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOML = """
[emails.hello]
to = "ada@example.com"
cc = "boss@example.com"
subject = "Hello {{ payload.name }}"
template = "hello.html"
attach = "payload"

[emails.other]
to = "ops@example.com"
subject = "Other"
text = "Only text, {{ payload.name }}"
"""


@pytest_asyncio.fixture(loop_scope="session")
async def mailing(site):
    (site.folder / "hello.html").write_text(
        "<p id=hi>Dear {{ payload.name }}</p><script>document.title = 'run'</script><img src='http://elsewhere.test/x'>"
    )
    await site.stop()
    await site.start(TOML)
    # The mail's own HTML may ask for what it likes; the sandbox lets none of it through, and says so.
    site.allowed = ("sandboxed", "Content Security Policy", "422")
    await site.send({"name": "<b>Zoë</b>"})
    return site


async def opened(site):
    page = await site.page("/events/1")
    await page.keyboard.press("e")
    await until(page, "document.querySelector('dialog[open] #em-preview iframe')")
    return page


async def preview(page):
    return await page.evaluate("document.querySelector('#em-preview').innerText")


async def test_a_mail_is_looked_at_before_it_is_sent(mailing):
    page = await opened(mailing)
    text = await preview(page)
    for shown in ("ada@example.com", "boss@example.com", "Hello <b>Zoë</b>", "event-1.json", "Plain part"):
        assert shown in text
    frame = await page.evaluate(
        "(f => [f.src, f.getAttribute('sandbox')])(document.querySelector('#em-preview iframe'))"
    )
    assert frame[1] == ""
    assert "/events/1/email/preview?template=hello" in frame[0]
    assert await page.evaluate("document.title") != "run"
    await page.evaluate(
        "(s => { s.value = 'other'; s.dispatchEvent(new Event('change', {bubbles: true})) })"
        "(document.querySelector('#em-t'))"
    )
    await until(page, "document.querySelector('#em-preview').innerText.includes('ops@example.com')")
    await page.evaluate("document.querySelector('#em-preview details').open = true")
    assert "Only text, <b>Zoë</b>" in await preview(page)
    assert (await mailing.relay.store.deliveries.page(limit=9)) == ()


async def test_it_is_sent_once_and_again_only_by_force(mailing):
    page = await opened(mailing)
    await page.click("[data-send]")
    await until(page, "document.querySelector('.result').innerText.includes('kept in the outbox')")
    await page.click("[data-send]")
    await until(page, "document.querySelector('#errors-email').innerText.includes('was kept in the outbox with hello')")
    await page.click("input[name=force]")
    await page.click("[data-send]")
    await until(page, "document.querySelectorAll('.result .sent').length === 2")
    assert len(await mailing.relay.store.messages.page()) == 2
    again = await opened(mailing)
    assert "was kept in the outbox with hello already" in await preview(again)


async def test_a_recipient_that_is_none_is_named_beside_the_form(mailing):
    page = await opened(mailing)
    await page.evaluate("document.querySelector('#em-to').value = 'a@example.com, b@'")
    await page.click("[data-send]")
    await until(page, "document.querySelector('#errors-email').innerText.includes(\"'b@' is not one mail address\")")
    assert await mailing.relay.store.deliveries.page() == ()


async def test_a_dry_run_is_reached_from_the_targets_and_sends_nothing(mailing):
    await mailing.stop()
    await mailing.start(TOML + '[targets.hello]\nemail = "hello"\n[[routes]]\nwhen = "false"\nto = ["hello"]\n')
    page = await mailing.page("/targets")
    await page.click("a[href^='/emails/dry-run']")
    await until(page, "document.querySelector('h1')?.innerText === 'Dry run of e-mails'")
    await until(page, "document.querySelector('table')?.innerText.includes('when false is false')")
    # By script: while one page fades into the next, clicks meet neither.
    await page.evaluate("document.querySelector(\"a[href^='/emails/hello/dry-run']\").click()")
    await until(page, "document.querySelector('table')?.innerText.includes('Would be sent')")
    assert await mailing.relay.store.deliveries.page() == ()
