"""Commands that read while no relay runs: as beside a running one, from the store alone, which they leave as it is."""

import gzip
import hashlib
import hmac
import json
import time
from urllib.error import HTTPError

import pytest

CONFIG = """
[sources.stripe]
secret = "env:STRIPE_WEBHOOK_SECRET"
[sources.strict]
require_idempotency_key = true
[targets.app]
forward = "{url}"
[targets.post]
email = "hi"
[emails.hi]
to = "ada@example.com"
subject = "Hi {{{{ payload.type }}}}"
text = "Hello"
[[routes]]
source = "stripe"
to = "app"
"""
LISTS = (
    "events",
    "events type:a.*",
    "events has:failed OR verdict:invalid",
    "events --limit 2",
    "events amount_due",
    "deliveries",
    "deliveries --event 1",
    "deliveries --state succeeded --target app",
    "deliveries --event 0",
    "messages",
    "messages --channel sms --provider twilio --since 1d",
    "messages --status outbox",
    "messages --to +491",
    "messages --since x",
    "messages rates",
    "messages rates --days 500",
    "messages show 1",
    "messages show 2",
    "messages show 3",
    "messages show 99",
    "diff 1 2",
    "diff 3 99",
    "wait --since 1h",
    "show 99",
)


def sign(body, moment):
    digest = hmac.new(b"whsec_test_stripe_secret", b"%d." % moment + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def try_send(relay, *arguments, **headers):
    try:
        relay.send(*arguments, **headers)
    except HTTPError as error:
        error.close()


@pytest.fixture
def fill(inside):
    """Let a relay receive events of many kinds, send some on, and know of messages; return how many events."""

    def go(relay):
        invoice = b'{"id": "evt_1", "type": "a.paid", "data": {"object": {"id": "in_1", "amount_due": 5}}}'
        signature = sign(invoice, int(time.time()))
        requests = [
            ("stripe", invoice, {"Stripe_Signature": signature}),
            ("stripe", invoice, {"Stripe_Signature": signature}),  # a duplicate
            ("stripe", invoice, {"Stripe_Signature": "t=1,v1=00"}),  # forged
            ("stripe", b"{}", {}),  # not signed
            ("strict", b'{"order": {}}', {}),  # against the rules of its source
            ("inbox", bytes(range(256)), {"Content_Type": "application/octet-stream", "X_Odd": "caf\xe9"}),
            ("inbox?a=%20b", gzip.compress(b'{"type": "a.packed"}'), {"Content_Encoding": "gzip"}),
            ("inbox?", "grüße".encode("latin-1"), {"Content_Type": "text/plain; charset=latin-1"}),
            ("inbox", b"[" + b'"x",' * 50_000 + b"1]", {}),  # large enough to be read beside the loop
            ("inbox", b'"\\ud800"', {}),  # half of a surrogate pair
            ("github", b"", {"X_GitHub_Event": "ping", "Authorization": "Bearer x"}),
        ]
        for name, body, headers in requests:
            try_send(relay, name, body, **headers)
        assert inside("replay", "1", "--to", "app", "--set", "data.object.amount_due=6").code == 0
        assert inside("replay", "2", "--to", relay.app.url).code == 0
        assert inside("email", "1", "hi").code == 0
        for channel, to in (("sms", "+4917012345"), ("email", "bob@example.com")):
            add = ("messages", "add", "--channel", channel, "--provider", "twilio", "--external-id", f"{channel}1")
            assert inside(*add, "--to", to).code == 0
        assert inside("trigger", "twilio", "undelivered").code in (0, 1)
        return json.loads(inside("events", "--json", "--limit", "1").out)["id"]

    return go


def test_what_is_read_without_a_relay_is_what_the_running_one_answers(started, fill, inside, target, tmp_path):
    (tmp_path / "relay.toml").write_text(CONFIG.format(url=target.url))
    with started("--json") as relay:
        relay.app = target
        relay.object("ready")
        count = fill(relay)
        lines = [*LISTS, *(f"show {id_}" for id_ in range(1, count + 1))]
        lines += [f"show {id_} --reveal" for id_ in (1, 11)] + [f"show {id_} --body" for id_ in (1, 9)]
        commands = [tuple(line.split()) for line in lines]
        commands += [(*words, "--json") for words in commands if words[0] != "show"]
        # Hints of the others name the relay's addresses.
        commands += [("show", id_, "--json") for id_ in ("1", "2")]
        running = {words: inside(*words) for words in commands}
        relay.stop()
    database = tmp_path / ".relay" / "relay.db"
    before = database.read_bytes()
    for words in commands:
        assert inside(*words) == running[words], words
    assert database.read_bytes() == before
    assert not database.with_name("relay.db-wal").exists()
    outcomes = {event["outcome"] for event in inside("events", "--json").objects}
    assert {"accepted", "duplicate", "rejected"} <= outcomes
