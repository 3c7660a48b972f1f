"""The page Messages in a real browser: what moves while it is open, what stays, and what is only text."""

from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from journeys.contrast import check_pages
from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIVE = "document.querySelector('#live')._htmx?.sse?.reader != null"
TEXT = "document.querySelector('{}').innerText"
HOSTILE = '<script>fetch("//evil")</script><b hx-get="/events" hx-trigger="load">x</b>'


@pytest.fixture
def add(site):
    """Register a message as an app would."""

    async def go(**given):
        token = site.relay.login_url.rpartition("=")[2]
        new = {"channel": "sms", "provider": "twilio", "recipient": "+49 151 1", **given}
        async with site.session.post(
            f"{site.dashboard}/api/messages", json=new, headers={"Authorization": f"Bearer {token}"}
        ) as answer:
            assert answer.status == 201
            return (await answer.json())["id"]

    return go


@pytest.fixture
def callback(site):
    """Tell of a message as Twilio would."""

    async def go(sid, status, **more):
        fields = {"MessageSid": sid, "MessageStatus": status, "To": "+491511", **more}
        async with site.session.post(f"{site.ingress}/webhooks/twilio", data=aiohttp.FormData(fields)) as answer:
            assert answer.status == 200

    return go


async def test_the_first_message_replaces_the_welcome(site, add):
    page = await site.page("/messages")
    assert "No mail or SMS was sent yet" in await page.evaluate("document.body.innerText")
    await until(page, LIVE)
    await add(external_id="SM1")
    await until(page, "document.querySelector('#m-1') !== null")
    await add(external_id="SM2")
    await until(page, "document.querySelector('#m-2') !== null")


async def test_a_message_moves_while_it_is_looked_at_and_nothing_else_does(site, add, callback):
    await add(external_id="SM1")
    page = await site.page("/messages/1")
    await until(page, LIVE)
    await page.evaluate("document.querySelector('#m-1').focus()")
    await callback("SM1", "sent")
    await callback("SM1", "undelivered", ErrorCode="30003")
    await until(page, f"{TEXT.format('#mchip')} === 'Undelivered'")
    await until(page, "document.querySelectorAll('#msteps li').length === 3")
    assert "phone could not be reached" in await page.evaluate(TEXT.format("#mwhy"))
    assert "30003" in await page.evaluate(TEXT.format("#msteps li:last-child"))
    await until(page, f"{TEXT.format('#m-1')}.includes('Undelivered')")
    assert await page.evaluate("document.activeElement.id") == "m-1"
    assert (await page.evaluate("document.querySelector('#msteps li:last-child a').href")).endswith("/events/2")


async def test_the_rates_count_on_while_their_numbers_are_read(site, add, callback):
    await add(external_id="SM1")
    page = await site.page("/messages")
    await until(page, LIVE)
    await page.click("details > summary")
    assert await page.evaluate("document.querySelector('#mnumbers').checkVisibility()")
    await callback("SM1", "delivered")
    await until(page, f"{TEXT.format('.kpis')}.includes('1 of 1')")
    await until(page, f"{TEXT.format('#mnumbers')}.includes('100.0 %')")
    assert await page.evaluate("document.querySelector('details').open")
    assert "1 delivered" in await page.evaluate("document.querySelector('.chart').getAttribute('aria-label')")


async def test_a_mail_is_shown_in_its_sandbox_and_stays_there_while_its_message_moves(site):
    await site.stop()
    await site.start(
        "[emails.receipt]\nto = 'ada@example.com'\nsubject = 'Paid'\ntext = 'Hello'\n"
        "[targets.receipt]\nemail = 'receipt'\n"
    )
    page = await site.page("/messages")
    await until(page, LIVE)
    await site.send({"to": "ada@example.com"})
    await until(page, "document.querySelector('#m-1') !== null")
    await site.visit(page, "/messages/1")
    await until(page, LIVE)
    frame = "document.querySelector('iframe.mail')"
    assert await page.evaluate(f"{frame}.getAttribute('sandbox')") == ""
    assert await page.evaluate("[...document.querySelectorAll('.meta a')].map(a => a.innerText)") == [
        "Event 1",
        "Delivery 1",
    ]
    await page.evaluate(f"void ({frame}.loads = 0, {frame}.onload = () => {{ {frame}.loads += 1; }})")
    id_ = (await site.relay.store.messages.get(1)).external_id
    data = {"email_id": "e-1", "headers": [{"name": "X-Message-ID", "value": id_}]}
    await site.send({"type": "email.opened", "data": data}, "/webhooks/resend")
    await until(page, f"{TEXT.format('#mchip')} === 'Opened'")
    assert await page.evaluate(f"{frame}.loads") == 0


async def test_what_was_captured_is_text_on_every_part_of_the_page(site, add, callback):
    await add(channel="email", provider="resend", recipient="ada@example.com", subject=HOSTILE, external_id=HOSTILE)
    await add(external_id="SM1")
    await callback("SM1", "failed", ErrorMessage=HOSTILE, ErrorCode=HOSTILE[:60])
    for path in ("/messages/1", "/messages/2"):
        page = await site.page(path)
        assert "<script>fetch(" in await page.evaluate("document.querySelector('#main').innerText")
        assert await page.evaluate("document.querySelectorAll('#main script, #main [hx-trigger=load]').length") == 0


async def test_without_script_the_page_can_be_read_and_walked(site, add):
    await add(external_id="SM1")
    page = await site.page(script=False)
    await site.visit(page, "/messages?channel=sms")
    assert (await page.evaluate("document.querySelector('#m-1').href")).endswith("/messages/1?channel=sms")
    await site.visit(page, "/messages/1?channel=sms")
    assert "External id" in await page.evaluate("document.body.innerText")


@pytest.mark.slow
async def test_every_text_can_be_read_in_both_themes_at_every_width(site, add, callback):
    for number, status in enumerate(("sent", "delivered", "undelivered", "read")):
        sent_at = (datetime.now(UTC) - timedelta(days=number)).isoformat()
        await add(external_id=f"SM{number}", sent_at=sent_at)
        await callback(f"SM{number}", status, **({"ErrorCode": "30007"} if status == "undelivered" else {}))
    paths = ("/messages", "/messages/rates", "/messages/3", "/messages?status=bounced")
    await check_pages(site, paths, ((1440, 900), (1024, 768), (390, 844), (320, 700)), least=6)
