"""`relay messages`, with a running relay and without one."""

import json
import re
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest


@pytest.fixture
def ask(inside, shared):
    """Ask the shared relay."""
    return lambda *arguments: inside("messages", *arguments, home=shared.home)


def callback(shared, sid, status, to="+49151", **more):
    fields = {"MessageSid": sid, "MessageStatus": status, "To": to, **more}
    url = shared.running["ingress_url"] + "/webhooks/twilio"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with urlopen(Request(url, data=urlencode(fields).encode(), headers=headers), timeout=60) as answer:
        assert answer.read().endswith(b"<Response/>")
    token = (shared.home / ".relay" / "token").read_text().strip()
    newest = Request(shared.running["dashboard_url"] + "/api/events?limit=1")
    newest.add_header("Authorization", f"Bearer {token}")
    with urlopen(newest, timeout=60) as answer:
        return json.loads(answer.read())["events"][0]["id"]


def sms(ask, sid, to="+49151", *more):
    return ask("add", "--channel", "sms", "--provider", "twilio", "--external-id", sid, "--to", to, *more)


def test_a_message_is_registered_followed_listed_and_shown(ask, shared):
    added = sms(ask, "SM-a", "+49 151 1", "--json")
    id_ = added.objects[0]["id"]
    event = callback(shared, "SM-a", "undelivered", ErrorCode="30003")
    listed = ask("--status", "undelivered", "--json")
    assert [one["id"] for one in listed.objects] == [id_]
    assert re.search(rf"{id_} .*sms +twilio +\+49 151 1 +undelivered +30003, the phone could not", ask().out)
    shown = ask("show", f"#{id_}")
    assert shown.code == 0
    assert "https://www.twilio.com/docs/api/errors/30003" in shown.out
    assert re.search(rf"undelivered +20\S+ +#{event} +30003, the phone", shown.out)
    whole = ask("show", str(id_), "--json").objects[0]
    assert [entry["status"] for entry in whole["history"]] == ["sent", "undelivered"]
    assert [one["id"] for one in ask("list", "--event", str(event), "--json").objects] == [id_]


def test_registering_again_gives_the_same_message(ask):
    first, again = (sms(ask, "SM-b", "+49151", "--json").objects[0]["id"] for _ in range(2))
    assert first == again


def test_the_list_is_filtered(ask):
    sms(ask, "SM-c", "+1 999")
    ids = [one["external_id"] for one in ask("--to", "+1999", "--since", "1h", "--json").objects]
    assert ids == ["SM-c"]
    nothing = ask("--channel", "email")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "there are no such messages\n")


def test_rates_are_shown_by_day(ask, shared):
    sms(ask, "SM-d")
    callback(shared, "SM-d", "delivered")
    shown = ask("rates", "--days", "2")
    assert re.search(r"since 20\S+ +sms +\d+ sent +\d+\.\d % delivered", shown.out)
    assert ask("rates", "--json").objects[0]["totals"]["sms"]["delivered"] >= 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "x"), "relay: 'x' is not a message id; relay messages lists them\n"),
        (("show", "99999"), "relay: no message 99999"),
        (("add",), "--channel is missing"),
        (("add", "--channel", "fax"), "--channel: 'fax' is not one of 'email', 'sms'"),
        (("add", "--channel", "sms", "--provider", "t", "--to", " "), "relay: recipient is missing"),
        (("--since", "soon"), "relay: since is neither an age nor a time"),
        (("lsit",), "relay: no such command 'lsit'"),
    ],
)
def test_wrong_usage_is_one_line(ask, arguments, told):
    done = ask(*arguments)
    assert done.code in (1, 2)
    assert told in done.err
    assert len(done.err.splitlines()) == 1


def test_without_a_running_relay_it_works_too(inside):
    added = inside("messages", "add", "--channel", "email", "--provider", "resend", "--to", "ada@example.com")
    assert (added.code, "ada@example.com" in added.out) == (0, True)
    assert [one["recipient"] for one in inside("messages", "--json").objects] == ["ada@example.com"]
    assert inside("messages", "rates").code == 0


def test_help_names_its_commands(inside):
    told = inside("messages", "--help").out
    assert all(f"  {name} " in told for name in ("list", "show", "add", "rates"))
