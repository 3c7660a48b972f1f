"""Dry runs of mails over events of the past, with a mail server at hand that must stay empty."""

import asyncio
import json

import pytest
from aiosmtpd import smtp as sinks

from cases import check_each

TOML = """
[sources.app]
provider = "custom"
event_type = "body:/type"
events = ["user.*", "order.*"]

[targets.welcome]
email = "welcome"

[targets.again]
email = "welcome"

[targets.order]
email = "order"

[[routes]]
source = "app"
events = ["user.created"]
when = "payload.plan == 'pro'"
to = ["welcome"]

[[routes]]
source = "app"
events = ["user.invited"]
to = ["welcome", "again"]

[[routes]]
source = "app"
events = ["order.*"]
to = ["order"]

[emails.welcome]
to = "{{{{ payload.email }}}}"
subject = "Welcome, {{{{ payload.name }}}}"
text = "Hello {{{{ payload.name }}}}"

[emails.order]
to = "ops@example.com"
subject = "Order"
text = "{{{{ payload.number }}}}"

[smtp]
host = "127.0.0.1"
port = {port}
security = "none"
sender = "relay@example.com"
allow_recipients = ["*@example.com"]
"""


NO_ADDRESS = "'ada@' is not one mail address: there must be something after the @-sign"


class Sink:
    def __init__(self):
        self.mails = []
        self.connections = 0
        self.port = 0

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802 - aiosmtpd's name
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.mails.append(envelope.rcpt_tos)
        return "250 queued"


@pytest.fixture
async def sink():
    kept = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: sinks.SMTP(kept), "127.0.0.1", 0)
    kept.port = server.sockets[0].getsockname()[1]
    yield kept
    server.close()


@pytest.fixture
async def at(start, sink):
    """A relay with routes that lead to mails, and a server that would take them."""
    return await start(TOML.format(port=sink.port))


async def send(at, **payload):
    status, _ = await at.send("/webhooks/app", data=json.dumps(payload))
    assert status == 200


async def rehearse(at, **asked):
    status, found = await at.api("/api/emails/dry-run", "POST", json={"q": ""} | asked)
    assert status == 200, found
    return found


async def delivered(at, count):
    for _ in range(2000):
        _, found = await at.api("/api/status")
        if found["queue"]["succeeded"] >= count:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the mails never went out")


async def test_it_says_what_routes_would_have_sent_and_why_not(at, sink):
    await send(at, type="user.created", plan="free", email="a@example.com", name="A")
    await send(at, type="user.deleted", email="a@example.com")
    await send(at, type="order.paid")
    await send(at, type="test.connection")
    found = await rehearse(at)
    told = [(one["event"], one["target"], one["outcome"], one["why"]) for one in found["mails"]]
    assert told == [
        (3, "order", "failed", "emails.order.text, line 1: there is no payload.number"),
        (1, "welcome", "untaken", "when payload.plan == 'pro' is false: payload.plan = 'free'"),
    ]
    assert (found["events"], found["dry_run"], found["next_before"]) == (4, True, None)
    assert found["counts"] == {"send": 0, "sent": 0, "refused": 0, "failed": 1, "untaken": 1}
    assert (sink.mails, sink.connections) == ([], 0)


async def test_it_says_what_a_template_would_make_of_any_event(at, sink):
    await send(at, type="user.deleted", email="ada@example.com", name="Ada\r\nBcc: x")
    await send(at, type="user.deleted", email="ada@evil.org", name="Eve")
    await send(at, type="user.deleted", email="ada@", name="Bob")
    await send(at, type="user.deleted", name="Nobody")
    found = await rehearse(at, template="welcome")
    told = {one["event"]: (one["outcome"], one["recipients"], one["subject"], one["why"]) for one in found["mails"]}
    assert told == {
        1: ("send", ["ada@example.com"], "Welcome, Ada Bcc: x", None),
        2: ("refused", ["ada@evil.org"], "Welcome, Eve", "ada@evil.org is not among the allowed recipients"),
        3: ("failed", [], None, f"emails.welcome.to: {NO_ADDRESS}; it came from {{{{ payload.email }}}}"),
        4: ("failed", [], None, "emails.welcome.to, line 1: there is no payload.email"),
    }
    assert {one["target"] for one in found["mails"]} == {None}
    assert (sink.mails, sink.connections) == ([], 0)
    assert (await at.api("/api/deliveries"))[1]["deliveries"] == []
    assert (await at.api("/api/messages"))[1]["messages"] == []


async def test_what_went_out_is_told_as_sent_already_with_its_subject(at, sink):
    await send(at, type="user.created", plan="pro", email="ada@example.com", name="Ada")
    await delivered(at, 1)
    ((mail,),) = ((await rehearse(at))["mails"],)
    assert (mail["outcome"], mail["subject"], mail["recipients"]) == ("sent", "Welcome, Ada", ["ada@example.com"])
    assert mail["why"].startswith("#1 was mailed with welcome already: ")
    assert sink.mails == [["ada@example.com"]]


async def test_it_goes_page_by_page_through_what_matches(at):
    for number in range(5):
        await send(at, type="user.deleted", email=f"u{number}@example.com", name="X")
    await send(at, type="order.paid", number=1)
    first = await rehearse(at, q="type:user.*", template="welcome", limit=3)
    assert [one["event"] for one in first["mails"]] == [5, 4, 3]
    rest = await rehearse(at, q="type:user.*", template="welcome", limit=3, before=first["next_before"])
    assert [one["event"] for one in rest["mails"]] == [2, 1]
    assert rest["next_before"] is None


async def test_a_forgery_and_a_duplicate_would_have_sent_nothing(start, sink):
    toml = (
        TOML.format(port=sink.port)
        .replace(
            'event_type = "body:/type"',
            'event_type = "body:/type"\nsecret = "env:STRIPE_WEBHOOK_SECRET"\n'
            '[sources.app.signature]\nheader = "X-Signature"\n',
        )
        .replace('events = ["user.*", "order.*"]\n', "", 1)
    )
    at = await start(toml)
    status, _ = await at.send("/webhooks/app", data=b'{"type": "order.paid", "number": 1}')
    assert status == 401
    ((mail,),) = ((await rehearse(at))["mails"],)
    assert (mail["outcome"], mail["why"]) == ("untaken", "the event was rejected")


@check_each(
    ("asked", "status", "words"),
    [
        ({}, 400, "q is missing"),
        ({"q": "after:soon"}, 400, "is not a time"),
        ({"q": "", "template": "no\x1b"}, 404, r"no mail template 'no\x1b'"),
        ({"q": "", "target": "no"}, 404, "no target that sends mail 'no'"),
        ({"q": "", "limit": 0}, 400, "limit must be a positive number"),
        ({"q": "", "before": "x"}, 400, "before must be a positive number"),
        ({"q": "", "send": True}, 400, "unknown key 'send'"),
        ({"q": 7}, 400, "q must be text"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_sentence(at, asked, status, words):
    got, found = await at.api("/api/emails/dry-run", "POST", json=asked)
    assert (got, words in found["error"]["message"]) == (status, True), found


async def test_the_page_shows_it_and_sends_nothing(at, sink):
    await send(at, type="user.deleted", email="ada@example.com", name="<script>")
    await send(at, type="user.created", plan="free", email="a@example.com", name="A")
    _, html = await at.api("/emails/welcome/dry-run?q=")
    html = html.decode()
    assert "Would be sent" in html
    assert "Welcome, &lt;script&gt;" in html
    assert "2 events: 2 would be sent. Nothing was sent." in html
    assert 'href="/events/1/email?template=welcome"' in html
    _, html = await at.api("/emails/dry-run?target=welcome&q=")
    assert "when payload.plan == &#39;pro&#39; is false: payload.plan = &#39;free&#39;" in html.decode()
    assert (sink.mails, sink.connections) == ([], 0)


async def test_the_page_leads_on_to_older_events_with_the_same_question(at):
    for _ in range(51):
        await send(at, type="user.deleted", email="a@example.com", name="A")
    _, html = await at.api("/emails/welcome/dry-run?q=type:user.*")
    assert 'href="/emails/dry-run?q=type%3Auser.%2A&amp;template=welcome&amp;before=2"' in html.decode()


async def test_the_page_says_what_it_cannot_read(at):
    status, html = await at.api("/emails/dry-run?q=after:soon")
    assert (status, "is not a time" in html.decode()) == (422, True)
    status, html = await at.api("/emails/nothing/dry-run")
    assert (status, "no such mail template" in html.decode().lower()) == (404, True)


async def test_the_page_of_targets_leads_there(at):
    _, html = await at.api("/targets")
    assert 'href="/emails/dry-run?target=welcome"' in html.decode()
