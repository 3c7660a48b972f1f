"""`relay lab`, with a running relay and without one."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from cases import check_each

PATHS = ("idempotent", "counting", "ordered", "verifying", "trusting", "silent")
EXPERIMENTS = ("duplicates", "burst", "shuffle", "delay", "stale", "wrong-signature", "truncated", "retries")


@pytest.fixture
def home(tmp_path, shop, monkeypatch):
    """A folder whose relay.toml names every path of the shop."""
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_test_stripe_secret")
    targets = "".join(f'[targets.{path}]\nforward = "{shop.url(path)}"\n' for path in PATHS)
    routes = '[[routes]]\nsource = "stripe"\nevents = ["no.such"]\nto = ["trusting"]\n'
    (tmp_path / "relay.toml").write_text(f'[sources.stripe]\nsecret = "env:STRIPE_WEBHOOK_SECRET"\n{targets}{routes}')
    return tmp_path


def trigger(inside, *more):
    return inside("trigger", "--json", "stripe", "invoice.paid", *more).objects[0]["id"]


def bursting(home, shop, id_):
    """Start a burst as a process of its own, and return it once all of it is with the app."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "lab", "burst", str(id_), "--to", "trusting"],
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
    )
    ends = time.monotonic() + 60
    while shop.at_once < 20:
        assert time.monotonic() < ends, "the burst never came"
        time.sleep(0.02)
    return process


def test_help_explains_what_each_experiment_finds(inside):
    done = inside("lab", "--help")
    assert done.code == 0
    listed = done.out.partition("Experiments:")[2]
    for name in EXPERIMENTS:
        assert re.search(rf"^  {name} +\w+.*?finds .*?Good:", listed, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^  ([a-z-]+) {2,}", listed, re.MULTILINE) == [*EXPERIMENTS, "all"]


def test_an_app_that_takes_all_as_it_should_passes_without_a_running_relay(home, inside):
    id_ = trigger(inside)
    done = inside("lab", "duplicates", "wrong-signature", f"#{id_}", "--to", "verifying", "--seed", "7")
    assert done.code == 0
    assert re.search(r"^duplicates +PASSED +all 3 copies of #1", done.out, re.MULTILINE)
    assert re.search(r"^ +1 +copy 1 of 3 +#1 +200 +\d+ ms", done.out, re.MULTILINE)
    assert re.search(r"^wrong-signature +PASSED", done.out, re.MULTILINE)
    assert re.search(r"^ +5 +signed with another secret +#1 +401", done.out, re.MULTILINE)
    assert "answers: 3 x 200; latency" in done.out
    assert "lab run 1: 2 passed; 5 sends; --seed 7 repeats it" in done.err


def test_an_app_that_acts_twice_and_believes_anybody_fails_with_5(home, inside):
    id_ = trigger(inside)
    done = inside("lab", "duplicates", "stale", "truncated", str(id_), "--to", "counting", "--times", "4")
    assert done.code == 5
    assert "duplicates  FAILED  the later copies of #1" in done.out
    assert done.out.count("otherwise than the first") == 3
    assert "to do: " in done.out
    assert "stale  FAILED" in done.out
    same = inside("lab", "duplicates", str(id_), "--to", "counting", "--compare", "status")
    assert same.code == 0


def test_orders_that_fail_are_named_and_a_seed_repeats_them(home, inside, shop):
    bodies = [json.dumps({"id": f"event_{step}", "step": step}) for step in (1, 2, 3)]
    ids = []
    for body in bodies:
        (home / "body.json").write_text(body)
        ids.append(trigger(inside, "--body", "body.json"))
    first = inside("lab", "shuffle", "--query", "source:stripe", "--to", "ordered", "--seed", "3", "--json")
    assert first.code == 5
    (one,) = first.objects[0]["experiments"]
    assert [order["passed"] for order in one["orders"]] == [True, False, False, False]
    told = inside("lab", "shuffle", *map(str, ids), "--to", "ordered", "--seed", "3")
    for order in one["orders"][1:]:
        chain = ", ".join(f"#{event}" for event in order["events"])
        assert re.search(rf"order {order['number']}: {chain} +failed at", told.out)
    assert re.search(r"the order they came in: #1, #2, #3 +passed", told.out)
    drawn = inside("lab", "shuffle", *map(str, ids), "--to", "trusting")
    assert re.search(r"seed \d+", drawn.err)


def test_one_json_object_holds_the_whole_report(home, inside):
    id_ = trigger(inside)
    done = inside("lab", "burst", str(id_), "--to", "trusting", "--times", "30", "--json")
    (report,) = done.objects
    assert (done.code, report["finding"], report["state"]) == (0, "passed", "done")
    assert len(report["experiments"][0]["sends"]) == 30
    assert report["experiments"][0]["latency_ms"]["most"] > 0


def test_a_dry_run_says_what_would_be_sent(home, inside, shop):
    trigger(inside)
    done = inside("lab", "all", "--query", "", "--to", "trusting", "--dry-run")
    assert done.code == 0
    assert re.search(r"^burst +20 sends +on 1 event", done.out, re.MULTILINE)
    assert "nothing was sent" in done.err
    assert shop.got == []
    plan = inside("lab", "burst", "--query", "", "--to", "trusting", "--dry-run", "--json").objects[0]
    assert (plan["dry_run"], plan["sends"]) == (True, 20)


def test_what_is_unclear_fails_where_that_is_asked_for(home, inside):
    id_ = trigger(inside)
    two = ("lab", "duplicates", str(id_), "--to", "counting", "--times", "2")
    assert inside(*two).code == 0
    strict = inside(*two, "--strict")
    assert (strict.code, "UNCLEAR" in strict.out) == (5, True)


@pytest.fixture
def triggered(home, inside):
    trigger(inside)


@check_each(
    ("arguments", "code", "said"),
    [
        (("dublicates", "1"), 2, "'dublicates' is not an experiment; did you mean 'duplicates'?"),
        (("1",), 2, "name an experiment"),
        (("burst",), 2, "name events, or a --query"),
        (("burst", "1", "--query", "x"), 2, "name events, or a --query"),
        (("burst", "1x"), 2, "is not an event id"),
        (("burst", "1"), 2, "a run needs a target"),
        (("burst", "1", "--to", "nowhere"), 1, "no target 'nowhere'"),
        (("burst", "1", "--to", "http://10.0.0.1/"), 2, "neither on this computer"),
        (("burst", "99", "--to", "trusting"), 1, "no event 99"),
        (("burst", "--query", "type:none", "--to", "trusting"), 4, "no event matches"),
        (("shuffle", "1", "--to", "trusting"), 4, "1 skipped"),
        (("burst", "1", "--to", "trusting", "--times", "1"), 2, "--times"),
        (("delay", "1", "--to", "trusting", "--delay", "soon"), 2, "is not a duration"),
        (("retries", "1", "--to", "trusting", "--speed", "0"), 2, "--speed"),
        (("burst", "\x1b[31m", "1"), 2, "\\x1b[31m"),
    ],
)
def test_what_cannot_be_tried_is_told_in_a_line_with_its_code(triggered, inside, shop, arguments, code, said):
    done = inside("lab", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err
    assert "\x1b" not in done.err
    assert shop.got == []


def test_a_run_appears_in_a_running_relay_and_is_cancelled_by_an_interrupt(home, started, shop, inside):
    with started("--json") as relay:
        relay.object("ready")
        id_ = trigger(inside)
        assert inside("lab", "duplicates", str(id_), "--to", "trusting").code == 0
        assert relay.object("delivery")["lab"] == 1
        shop.hold()
        process = bursting(home, shop, id_)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert (process.returncode, "cancelled" in told) == (130, True)
        shop.release()
        again = inside("lab", "duplicates", str(id_), "--to", "trusting", "--json")
        assert (again.code, again.objects[0]["id"]) == (0, 3)


@pytest.mark.slow
def test_killed_in_the_middle_a_run_is_interrupted_and_nothing_of_it_is_sent_later(home, started, shop, inside):
    with started() as relay:
        relay.banner()
        id_ = trigger(inside)
        shop.hold()
        waiting = bursting(home, shop, id_)
        relay.process.kill()
        _, told = waiting.communicate(timeout=60)
        assert (waiting.returncode, "does not answer any more" in told) == (1, True)
    sent = len(shop.got)
    shop.release()
    assert {one["state"] for one in inside("deliveries", "--json").objects} == {"running"}  # to look changes nothing
    with started("--json") as relay:
        relay.object("ready")
        assert {one["state"] for one in inside("deliveries", "--json").objects} == {"cancelled"}
        after = inside("lab", "duplicates", str(id_), "--to", "trusting", "--json").objects[0]
    assert (after["id"], after["finding"]) == (2, "passed")
    assert (sent, len(shop.got)) == (20, 23)


def test_what_no_answer_shows_is_said_and_a_check_finds_it(home, inside, shop):
    id_ = trigger(inside)
    blind = inside("lab", "burst", str(id_), "--to", "silent")
    assert blind.code == 0
    assert "relay sees only the answers" in blind.out
    orders = shop.url("orders")
    code = f'import urllib.request as u; print(u.urlopen("{orders}").read().decode())'
    for check in (orders, f"{sys.executable} -c '{code}'"):
        seen = inside("lab", "burst", str(id_), "--to", "silent", "--check", check)
        assert seen.code == 5
        assert re.search(r"burst +FAILED +the check went from \d+ to \d+: the app should have acted once", seen.out)


def test_a_check_is_asked_around_each_experiment_and_learns_which(home, inside, shop):
    id_ = trigger(inside)
    check = 'echo "$RELAY_LAB_EXPERIMENT $RELAY_LAB_EVENTS" >> asked; echo 0'
    done = inside("lab", "duplicates", "stale", str(id_), "--to", "verifying", "--check", check, "--json")
    assert done.code == 0
    assert (home / "asked").read_text().splitlines() == [" 0", "duplicates 1", " 0", "stale 1"]
    assert [one["experiments"][0]["check"]["passed"] for one in done.objects] == [True, True]
    failed = inside("lab", "duplicates", str(id_), "--to", "silent", "--check", 'test -z "$RELAY_LAB_EXPERIMENT"')
    assert (failed.code, "the check failed (1); all 3 copies" in failed.out, "--check" in failed.out) == (
        5,
        True,
        False,
    )
    assert done.objects[0]["experiments"][0]["advice"] == ""


@pytest.mark.parametrize(
    ("check", "code", "said"),
    [
        ('test -z "$RELAY_LAB_EXPERIMENT" || { echo two orders; exit 3; }', 5, "the check failed (3): two orders"),
        ("no-such-command-here", 2, "--check cannot run"),
        ("http://127.0.0.1:9/orders", 2, "--check cannot run"),
    ],
)
def test_a_check_that_fails_fails_the_experiment_and_one_that_cannot_be_asked_is_said(home, inside, check, code, said):
    id_ = trigger(inside)
    done = inside("lab", "duplicates", str(id_), "--to", "trusting", "--check", check)
    assert done.code == code
    assert said in done.out + done.err
