"""The page Messages as HTML: filters, a message with its history, what refused it, and the rates."""

import asyncio
import json
import re
from datetime import date, timedelta

import pytest

from cases import check_each
from relay.dashboard.assets import find_resource_folder
from relay.dashboard.filters import format_message_status
from relay.dashboard.messages import _STATUS_ICONS, build_rates
from relay.model.message import DayCounts, MessageCounts, MessageStatus
from relay.model.signals import MessageChanged

SMS = {"channel": "sms", "provider": "twilio", "recipient": "+49 151 1"}
RULES = (
    "[sources.shop]\nprovider = 'custom'\n[targets.receipt]\nemail = 'receipt'\n"
    "[emails.receipt]\nto = '{{ payload.to }}'\nsubject = 'Paid'\ntext = 'Hello'\n"
    "[smtp]\nhost = '127.0.0.1'\nport = 1\nsecurity = 'none'\nsender = 'relay@example.com'\n"
)


@pytest.fixture
async def at(start):
    """A relay without secrets, so that what comes is taken at its word."""
    return await start(environ={})


async def page(at, path):
    status, body = await at.api(path)
    return status, body.decode() if isinstance(body, bytes) else body


async def add(at, **given):
    return (await at.api("/api/messages", "POST", json=SMS | given))[1]["id"]


async def callback(at, sid, status, **more):
    await at.send("/webhooks/twilio", data={"MessageSid": sid, "MessageStatus": status, "To": "+491511", **more})


def shown(html):
    return [int(number) for number in re.findall(r'id="m-(\d+)"', html)]


async def test_before_the_first_message_the_page_says_how_to_make_one(at):
    status, html = await page(at, "/messages")
    assert status == 200
    assert "No mail or SMS was sent yet" in html
    assert "relay messages add --channel sms" in html


async def test_the_list_is_filtered_by_its_views_and_keeps_its_filter(at):
    await add(at, external_id="SM1")
    await add(at, channel="email", provider="resend", recipient="ada@example.com", external_id="e-1")
    await callback(at, "SM1", "failed", ErrorCode="30008")
    _, html = await page(at, "/messages")
    assert shown(html) == [2, 1]
    views = dict(re.findall(r'<a href="(/messages[^"]*)"[^>]*>(?:All|Mail|SMS|Failed) <span class="count">(\d)', html))
    assert sorted(views.values()) == ["1", "1", "1", "2"]
    for path in ("/messages?channel=sms", "/messages?status=failed", "/messages?recipient=%2B49151%201"):
        _, html = await page(at, path)
        assert shown(html) == [1]
        assert f'href="/messages/1?{path.partition("?")[2].replace("%20", "+")}"' in html
    _, html = await page(at, "/messages?status=bounced")
    assert "No message matches." in html


@check_each(
    ("path", "status"),
    [
        ("/messages?status=lost", 400),
        ("/messages?channel=fax", 400),
        ("/messages?since=soon", 400),
        ("/messages/9", 404),
        ("/messages/live?id=9", 404),
        ("/messages/9/preview", 200),
    ],
)
async def test_what_is_not_there_is_said(at, path, status):
    assert (await page(at, path))[0] == status


async def test_a_message_shows_its_history_by_when_it_happened(at):
    await add(at, channel="email", provider="resend", recipient="ada@example.com", external_id="e-1")
    for type_, moment in (("opened", "2099-01-01T00:00:09Z"), ("delivered", "2099-01-01T00:00:05Z")):
        body = {"type": f"email.{type_}", "created_at": moment, "data": {"email_id": "e-1"}}
        headers = {"Content-Type": "application/json"}
        await at.send("/webhooks/resend", data=json.dumps(body), headers=headers)
    _, html = await page(at, "/messages/1")
    steps = re.findall(r"<b>(\w+)</b><time", html)
    assert steps == ["Sent", "Delivered", "Opened"]
    assert '<a class="link" href="/events/1">Event 1</a>, found by external id' in html
    assert (await at.api("/api/events/2", "DELETE"))[0] == 200
    assert "its event was removed" in (await page(at, "/messages/1"))[1]


async def test_a_code_is_told_in_words_with_its_source(at):
    await add(at, external_id="SM1")
    await callback(at, "SM1", "undelivered", ErrorCode="30007")
    _, html = await page(at, "/messages/1")
    assert "The carrier, or Twilio, filtered the message as unwanted" in html
    assert 'href="https://www.twilio.com/docs/api/errors/30007"' in html


async def test_what_waits_for_its_message_is_said(at):
    await callback(at, "SM9", "sent")
    assert "1 status is about messages that are not registered; they wait" in (await page(at, "/messages"))[1]
    await callback(at, "SM9", "delivered")
    await add(at, external_id="SM1", recipient="+1 9")
    told = "2 statuses are about messages that are not registered"
    assert told in (await page(at, "/messages"))[1]
    assert told in (await page(at, "/messages/live"))[1]
    await add(at, external_id="SM9")
    assert "not registered" not in (await page(at, "/messages"))[1]


async def test_an_event_names_the_messages_it_told_of(at):
    await add(at, external_id="SM1")
    await callback(at, "SM1", "delivered")
    assert 'href="/messages/1"' in (await page(at, "/events/1/deliveries"))[1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            "allow_recipients = ['*@b.org']\n",
            "allow_recipients = [&#34;*@b.org&#34;] under [smtp] does not allow eve@evil.org",
        ),
        ("", "only addresses written out in relay.toml get mail; eve@evil.org came out of a payload"),
    ],
)
async def test_a_refused_recipient_names_the_rule_that_refused_it(start, more, told):
    at = await start(RULES + more)
    with at.relay.bus.subscribe() as listening:
        await at.send("/webhooks/shop", data=b'{"to": "eve@evil.org"}', headers={"Content-Type": "application/json"})
        async with asyncio.timeout(60):
            while not any(isinstance(signal, MessageChanged) for signal in await listening.next()):
                pass
    _, html = await page(at, "/messages/1")
    assert "Refused: the recipient is not allowed" in html
    assert told in html
    assert 'href="/deliveries/1"' in html


async def test_the_rates_of_the_page_are_those_of_the_api(at):
    for number in range(3):
        await add(at, external_id=f"SM{number}")
    await callback(at, "SM0", "delivered")
    await callback(at, "SM1", "failed")
    totals = (await at.api("/api/messages/rates"))[1]["totals"]["sms"]
    _, html = await page(at, "/messages/rates")
    assert f"<b>{totals['delivery_rate'] * 100:.1f}</b>" in html
    assert "1 of 3" in html
    assert "1 under way" in html
    assert 'role="img" aria-label="Messages by day over the 30 days to' in html


async def test_an_unknown_number_of_days_draws_whole_bars():
    first = date(2026, 3, 1)
    days = tuple(
        DayCounts(day=first + timedelta(days=number), channel=channel, counts=counts)
        for number, (channel, counts) in enumerate(
            (
                ("email", MessageCounts(sent=7, delivered=4, failed=1, opened=2)),
                ("sms", MessageCounts(sent=9, delivered=9)),
            )
        )
    )
    drawn = build_rates(days, first, 3)
    assert [len(parts) for *_, parts in drawn["bars"]] == [3, 1, 0]
    assert drawn["top"] == 16
    heights = [float(height) for _, _, height in drawn["bars"][0][3]]
    assert sum(heights) == pytest.approx(7 / 16 * 100, abs=0.02)
    assert [day.day.isoformat() for day in drawn["days"]] == ["2026-03-02", "2026-03-01"]
    assert drawn["counts"] == MessageCounts(sent=16, delivered=13, failed=1, opened=2)


async def test_nothing_sent_is_no_rate(at):
    _, html = await page(at, "/messages/live")
    assert re.findall(r"<dd><b>(.*?)</b>", html) == ["0", "\u2013", "\u2013", "\u2013", "0"]
    assert not any(parts for *_, parts in build_rates((), date(2026, 3, 1), 30)["bars"])


async def test_what_changed_is_sent_piece_by_piece(at):
    await add(at, external_id="SM1")
    _, html = await page(at, "/messages/live?id=1")
    assert re.findall(r'hx-target="(#\w+)"', html) == ["#mlist", "#mchip", "#mwhy", "#msteps"]
    _, html = await page(at, "/messages/live")
    assert re.findall(r'hx-target="(#\w+)"', html) == ["#mlist", "#mplot", "#munmatched", "#mnumbers"]


def test_every_status_has_a_word_and_an_icon_that_is_there():
    sprite = (find_resource_folder("ui") / "sprite.html").read_text()
    for status in MessageStatus:
        assert format_message_status(status)[0].isupper()
        assert f'id="i-{_STATUS_ICONS.get(status, "circle-x")}"' in sprite
