"""Commands on events, with a running relay and without one."""

import gzip
import hashlib
import hmac
import json
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink


def signed(body: bytes, secret=b"whsec_test_stripe_secret") -> str:
    now = int(time.time())
    return f"t={now},v1={hmac.new(secret, b'%d.%s' % (now, body), hashlib.sha256).hexdigest()}"


@pytest.fixture
def ask(inside, shared):
    """Ask the shared relay."""
    return lambda *arguments: inside(*arguments, home=shared.home)


def stripe(shared, amount: int, **headers) -> int:
    body = json.dumps(
        {"id": f"evt_{time.time_ns()}", "type": "invoice.paid", "data": {"object": {"amount": amount}}}
    ).encode()
    return shared.send("stripe", body, **({"Stripe_Signature": signed(body)} | headers))["event"]


def test_events_are_listed_searched_and_limited(ask, shared):
    ids = [stripe(shared, amount) for amount in (11, 12, 13)]
    listed = ask("events", "--json", "source:stripe", "--limit", "2")
    assert [event["id"] for event in listed.objects] == ids[:0:-1]
    found = ask("events", "--json", "payload.data.object.amount:>12", f"id:{ids[0]}..{ids[2]}")
    assert [event["id"] for event in found.objects] == ids[2:]
    assert re.search(rf"#{ids[2]} +\d\d:\d\d:\d\d +stripe +invoice\.paid +verified", ask("events").out)
    nothing = ask("events", "type:no.such")
    assert (nothing.code, nothing.out, nothing.err) == (4, "", "no event matches\n")
    wrong = ask("events", "verdict:maybe")
    assert wrong.code == 2
    assert "verdict:maybe is not one of" in wrong.err


def test_show_gives_the_event_its_exact_body_and_hides_what_is_secret(ask, shared):
    id_ = stripe(shared, 5, Authorization="Bearer hunter2")
    shown = ask("show", f"#{id_}")
    assert shown.code == 0
    assert "hunter2" not in shown.out
    assert re.search(r"Authorization +\[redacted\]", shown.out)
    assert '"amount": 5' in shown.out
    assert "-> app " in shown.out
    assert "hunter2" in ask("show", str(id_), "--reveal").out
    whole = ask("show", str(id_), "--json").objects[0]
    body = subprocess.run(
        [sys.executable, "-m", "relay", "show", str(id_), "--body"],
        cwd=shared.home,
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    assert body == whole["body"]["text"].encode()
    missing = ask("show", "999999")
    assert (missing.code, missing.err) == (1, "relay: no event 999999; relay events lists them\n")


def test_replay_waits_until_it_is_settled_and_says_how_it_went(ask, shared):
    id_ = stripe(shared, 6)
    shared.app.seen.clear()
    done = ask("replay", str(id_))
    assert done.code == 0
    assert re.fullmatch(rf"#{id_} invoice\.paid  -> app 200 \d+ ms\n", done.out)
    assert shared.app.seen
    shared.app.status = 500
    try:
        failed = ask("replay", str(id_), "--json")
    finally:
        shared.app.status = 200
    assert failed.code == 1
    assert (failed.objects[0]["status"], failed.objects[0]["reason"]) == (500, "replay")


def test_replay_edits_fields_and_signs_anew(ask, shared):
    id_ = stripe(shared, 7)
    shared.app.seen.clear()
    assert ask("replay", str(id_), "--set", "data.object.amount=700").code == 0
    _, headers, body = shared.app.seen[-1]
    assert json.loads(body)["data"]["object"]["amount"] == 700
    stamp = dict(part.split("=") for part in headers["Stripe-Signature"].split(","))
    signature = hmac.new(b"whsec_test_stripe_secret", f"{stamp['t']}.".encode() + body, hashlib.sha256)
    assert stamp["v1"] == signature.hexdigest()
    wrong = ask("replay", str(id_), "--set", "amount")
    assert (wrong.code, wrong.err) == (2, "relay: --set: 'amount' is not path=value; write data.object.amount=500\n")


def arrived(ask, ids):
    """Wait until the app has these events, and relay knows it."""
    for id_ in ids:
        while {one["state"] for one in ask("deliveries", "--json", "--event", str(id_)).objects} != {"succeeded"}:
            time.sleep(0.05)


def replayed(app):
    """Return the amounts that the app got in their order, without what other tests sent it."""
    return [int(found[1]) for _, _, body in app.seen if (found := re.search(rb'"amount": (2[123]|3[123])}', body))]


def test_replay_by_query_keeps_order_and_a_dry_run_sends_nothing(ask, shared):
    ids = [stripe(shared, amount) for amount in (21, 22, 23)]
    query = f"id:{ids[0]}..{ids[2]}"
    arrived(ask, ids)
    shared.app.seen.clear()
    plan = ask("replay", "--query", query, "--dry-run", "--json")
    (found,) = plan.objects
    assert (found["count"], found["events"], found["targets"]) == (3, 3, [{"name": "app", "count": 3}])
    assert "nothing was sent" in plan.err
    assert not replayed(shared.app)
    done = ask("replay", "--query", query)
    assert done.code == 0
    assert replayed(shared.app) == [21, 22, 23]
    assert done.err == "3 deliveries: 3 reached the target, 0 failed\n"
    assert len(done.out.splitlines()) == 3
    assert ask("replay", "--query", "type:no.such").code == 4


def test_a_bulk_replay_stops_at_its_first_failure_and_is_taken_up_again(ask, shared):
    ids = [stripe(shared, amount) for amount in (31, 32, 33)]
    arrived(ask, ids)
    shared.app.seen.clear()
    shared.app.status = 404
    try:
        stopped = ask("replay", "--query", f"id:{ids[0]}..{ids[2]}", "--stop-on-failure", "--rate", "50")
    finally:
        shared.app.status = 200
    assert stopped.code == 1
    words = f"1 failed, 2 not sent; stopped by #{ids[0]} to app failed: 404; relay replay --resume "
    assert words in stopped.err
    number = re.search(r"--resume (\d+)", stopped.err)[1]
    for other in (["--dry-run"], ["--to", "other"], ["--sign", "fresh"], ["--set", "a=1"]):
        refused = ask("replay", "--resume", number, *other)
        assert (refused.code, "--resume takes no other options" in refused.err) == (2, True)
    resumed = ask("replay", "--resume", number)
    assert (resumed.code, resumed.err) == (0, "3 deliveries: 3 reached the target, 0 failed\n")
    assert replayed(shared.app) == [31, 31, 32, 33]
    assert ask("replay", "--resume", number).code == 2
    assert ask("replay", str(ids[0]), "--rate", "5").code == 2


def test_a_bulk_replay_leaves_out_forged_events_unless_they_are_included(ask, shared):
    genuine = stripe(shared, 41)
    forged = b'{"id": "evt_forged"}'
    with pytest.raises(OSError, match="401"):
        shared.send("stripe", forged, Stripe_Signature=signed(forged, b"wrong"))
    shared.send(body=b"[]")
    listed = genuine + 2
    arrived(ask, [genuine, listed])
    query = f"id:{genuine}..{genuine + 1}"
    for how in ([], ["--to", "app"], ["--set", "x=1"]):
        plan = ask("replay", "--query", query, "--dry-run", *how)
        assert "1 delivery" in plan.err, how
        assert "left out: " in plan.err, how
        assert "failed verification" in plan.err, how
        assert "--include rejected sends them too" in plan.err, how
        assert "2 deliver" in ask("replay", "--query", query, "--include", "rejected", "--dry-run", *how).err
    assert ask("replay", "--query", f"id:{genuine + 1}", "--to", "app").code == 4
    assert ask("replay", "--query", query, "--include", "forged").code == 2
    assert ask("replay", str(genuine), "--include", "rejected").code == 2
    half = ask("replay", "--query", query, "--include", "rejected", "--to", "app", "--set", "data.object.amount.x=1")
    assert (half.code, f"relay: #{genuine}: " in half.err, "nothing was sent" in half.err) == (2, True, True)
    half = ask("replay", str(genuine), str(listed), "--to", "app", "--set", "x=1")
    assert (half.code, f"relay: #{listed}: " in half.err) == (2, True)
    # Retries of what other tests sent may arrive at any moment.
    assert sum(b'"amount": 41}' in body for _, _, body in shared.app.seen) == 1
    one = ask("replay", str(genuine + 1), "--to", "app")
    assert f"event {genuine + 1} failed verification, and is sent with the signature it came with" in one.err


def test_replay_refuses_what_must_not_be_dialled(ask, shared):
    id_ = stripe(shared, 8)
    for url in ("ftp://x", "http://169.254.169.254/", "http://example.com/", shared.running["dashboard_url"]):
        refused = ask("replay", str(id_), "--to", url)
        assert refused.code == 2, url
        assert len(refused.err.splitlines()) == 1
    assert ask("replay", str(id_), "--to", "nosuch").code == 1


def test_a_trigger_goes_through_the_ingress_verified_and_on_to_the_target(ask, shared):
    shared.app.seen.clear()
    done = ask("trigger", "stripe", "invoice.paid", "--set", "data.object.amount_due=4200", "--json")
    assert done.code == 0
    event, delivery = done.objects
    assert (event["verdict"], event["sample"], delivery["state"]) == ("verified", True, "succeeded")
    assert json.loads(shared.app.seen[-1][2])["data"]["object"]["amount_due"] == 4200
    unknown = ask("trigger", "stripe", "invoice.payd")
    assert unknown.code != 0
    assert len(unknown.err.splitlines()) == 1


def test_samples_and_providers_are_listed(ask):
    assert {"source": "stripe", "type": "invoice.paid"} in ask("samples", "stripe", "--json").objects
    assert "invoice.paid" in ask("samples").out
    assert re.search(r"stripe +Stripe +STRIPE_WEBHOOK_SECRET", ask("providers").out)


def test_verify_prints_every_check_and_exits_5_unless_verified(ask, shared):
    good = stripe(shared, 9)
    assert ask("verify", str(good)).code == 0
    body = b'{"type": "forged"}'
    with pytest.raises(OSError, match="401"):
        shared.send("stripe", body, Stripe_Signature=signed(body, b"wrong"))
    forged = ask("events", "--json", "verdict:invalid").objects[0]
    done = ask("verify", str(forged["id"]))
    assert done.code == 5
    assert "FAILED" in done.out
    assert "Nothing that relay tried produces this signature" in done.out
    assert ask("verify", str(forged["id"]), "--json").objects[0]["reason"] == "signature_mismatch"


def test_explain_says_which_route_was_taken(ask, shared):
    done = ask("explain", str(stripe(shared, 10)))
    assert re.match(r"taken +\* +-> app +source and type fit", done.out)
    assert "signature  -> app  the signature as received while it still verifies, else a fresh one" in done.out
    again = ask("trigger", "stripe", "invoice.paid", "--json").objects[0]
    again = ask("trigger", "stripe", "invoice.paid", "--set", f"id={again['idempotency_key']}", "--json").objects[0]
    assert "the event was a duplicate" in ask("explain", str(again["id"])).out


def test_diff_names_each_place_that_differs(ask, shared):
    one, other = stripe(shared, 1), stripe(shared, 2, X_Env="dev")
    places = {item["place"]: item for item in ask("diff", str(one), str(other), "--json").objects}
    assert places["body data.object.amount"]["a"] == "1"
    assert places["body data.object.amount"]["b"] == "2"
    assert places["header x-env"]["a"] is None
    shown = ask("diff", str(one), str(other)).out
    assert "[redacted]" in shown
    assert "v1=" not in shown
    assert ask("diff", str(one), str(one)).out == ""


def test_wait_prints_the_next_event_that_matches(ask, shared):
    found = threading.Event()

    def send():
        while not found.wait(0.5):  # until it listens
            shared.send(body=b'{"type": "other"}')
            stripe(shared, 31)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        done = ask("wait", "type:invoice.*", "--timeout", "60s", "--json")
    finally:
        found.set()
        sender.join()
    assert done.code == 0
    assert [event["type"] for event in done.objects] == ["invoice.paid"]
    late = ask("wait", "type:invoice.*", "--timeout", "300ms")
    assert late.code == 4
    assert late.err.splitlines()[-1] == "relay: no matching event in 0.3 s"


def test_wait_takes_what_is_there_already_since(ask, shared, tmp_path):
    first, second = stripe(shared, 32), stripe(shared, 33)
    done = ask("wait", "type:invoice.*", "--since", "1m", "--timeout", "10s", "--json")
    assert (done.code, done.err, [event["id"] for event in done.objects]) == (0, "", [second])
    assert ask("wait", f"id:{first}", "--since", "1m", "--timeout", "10s", "--json").objects[0]["id"] == first
    assert ask("wait", f"id:{first}", "--since", "1m", "--timeout", "0s", "--json").objects[0]["id"] == first
    assert ask("wait", "type:no.such", "--since", "1m", "--timeout", "300ms").code == 4
    old = json.loads(ask("export", f"id:{first}").out) | {"received_at": "2020-01-01T00:00:00Z"}
    (tmp_path / "old.jsonl").write_text(json.dumps(old))
    assert ask("import", str(tmp_path / "old.jsonl")).code == 0
    assert ask("wait", f"type:{old['type']}", "--since", "1m", "--timeout", "10s", "--json").code == 0
    time.sleep(0.3)
    assert ask("wait", f"id:{second}", "--since", "100ms", "--timeout", "300ms").code == 4


def test_whatever_arrives_once_wait_says_that_it_listens_is_found(shared):
    for n in range(3):
        with waiting(shared, "type:wait.me") as process:
            assert process.stderr.readline() == "relay: listening for an event that matches type:wait.me\n"
            sent = shared.send("plain", b'{"type": "wait.me"}', Content_Type="application/json")["event"]
            out, _ = process.communicate(timeout=60)
        assert (process.returncode, json.loads(out)["id"]) == (0, sent), n


def test_wait_finds_an_event_once_its_delivery_failed(shared):
    shared.app.status = 404
    try:
        with waiting(shared, "has:failed") as process:
            assert process.stderr.readline().startswith("relay: listening")
            sent = shared.send("plain", b'{"type": "to.fail"}', Content_Type="application/json")["event"]
            out, _ = process.communicate(timeout=60)
    finally:
        shared.app.status = 200
    assert json.loads(out)["id"] == sent


@contextmanager
def waiting(shared, query):
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "wait", query, "--json", "--timeout", "50s"],
        cwd=shared.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_deliveries_are_listed_retried_and_cancelled(ask, shared):
    shared.app.status = 503
    try:
        id_ = stripe(shared, 41)
        while not (found := ask("deliveries", "--json", "--event", str(id_)).objects)[0]["attempts_made"]:
            time.sleep(0.05)
    finally:
        shared.app.status = 200
    delivery = str(found[0]["id"])
    assert found[0]["state"] == "pending"
    assert re.search(r"-> app 503 \d+ ms, attempt 1, again ", ask("deliveries", "--state", "pending").out)
    cancelled = ask("cancel", delivery)
    assert (cancelled.code, cancelled.err) == (0, "")
    assert re.match(rf"#{id_}  -> app cancelled: 503 \d+ ms", cancelled.out)
    retried = ask("retry", delivery)
    assert (retried.code, retried.err) == (0, "")
    assert re.match(rf"#{id_}  -> app 200 \d+ ms, attempt 2", retried.out)
    refused = ask("cancel", delivery)
    assert refused.code == 2
    assert "is not waiting" in refused.err
    assert ask("retry", "999999").code == 1


def test_token_and_doctor_know_the_running_relay(ask, shared):
    token = ask("token")
    assert token.err == f"log in at {shared.running['dashboard_url']}/login?token={token.out.strip()}\n"
    refused = ask("token", "--rotate")
    assert refused.code == 1
    found = {item["name"]: item for item in ask("doctor", "--json").objects}
    assert found["relay"]["detail"].startswith("running")
    assert found["target app"]["state"] == "ok"
    assert found["data"]["state"] == "ok"


def test_doctor_dials_each_target_once(started, inside, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as app:
        (tmp_path / "relay.toml").write_text(f'[targets.app]\nforward = "http://127.0.0.1:{app.getsockname()[1]}"\n')
        with started("--json") as relay:
            relay.object("ready")
            app.setblocking(False)
            found = [item["name"] for item in inside("doctor", "--json").objects]
            with app.accept()[0], pytest.raises(BlockingIOError):
                app.accept()
    assert (found.count("target app"), found.count("mail")) == (1, 1)


def test_a_relay_that_is_stopped_is_told_in_a_few_seconds(started, inside):
    with started("--json") as relay:
        relay.object("ready")
        relay.process.send_signal(signal.SIGSTOP)
        for command in (("events",), ("cancel", "1"), ("doctor",), ("token", "--rotate")):
            begun = time.monotonic()
            done = inside(*command)
            assert time.monotonic() - begun < 7
            assert (done.code, f"(pid {relay.running['pid']}) does not answer; fg lets" in done.out + done.err) == (
                1,
                True,
            )
        relay.process.send_signal(signal.SIGCONT)
        assert inside("events").code == 0


def test_an_export_names_a_port_where_relay_toml_leaves_it_open(inside, tmp_path):
    (tmp_path / "relay.toml").write_text('[server]\ningress = "127.0.0.1:auto"\n')
    assert inside("trigger", "stripe", "invoice.paid").code == 0
    for kind in ("curl", "http"):
        assert "http://127.0.0.1:8400" in inside("export", "--as", kind).out


def test_no_command_names_a_call_of_the_api(inside, tmp_path):
    (tmp_path / ".relay").mkdir(mode=0o700)
    done = inside("replay", "--resume", "99")
    assert (done.code, done.err) == (1, "relay: no bulk replay 99; the dashboard lists them at /replays\n")


def test_a_time_without_a_zone_is_of_the_computer_of_the_command(inside, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        sent = ("--sent-at", "2026-03-01T12:00:00", "--json")
        made = inside("messages", "add", "--channel", "sms", "--provider", "twilio", "--to", "+14155550187", *sent)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert made.objects[0]["sent_at"] == "2026-03-01T06:30:00.000000Z"


def test_doctor_looks_at_what_the_running_relay_was_started_with(started, inside, target, tmp_path):
    with started("--json", "--forward", target.url) as relay:
        relay.object("ready")
        found = {item["name"]: item for item in inside("doctor", "--json").objects}
    assert found["target forward"] == {"name": "target forward", "state": "ok", "detail": "answers", "fix": ""}
    assert (found["tunnel"]["state"], found["tunnel"]["detail"][:6]) == ("ok", "none: ")
    assert "target forward" not in inside("doctor").out


def test_doctor_says_that_the_data_folder_cannot_be_made(inside, tmp_path):
    (tmp_path / "file").write_text("")
    done = inside("doctor", "--data-dir", "file/.relay")
    assert done.code == 1
    assert re.search(r"failed +data folder +.*/file/\.relay cannot be made; name another data_dir", done.out)


def test_doctor_names_the_fix_of_what_fails(inside, tmp_path):
    (tmp_path / "relay.toml").write_text(
        '[targets.app]\nforward = "http://127.0.0.1:9/x"\n'
        '[smtp]\nhost = "127.0.0.1"\nport = 9\nsender = "a@b.example"\n'
    )
    done = inside("doctor")
    assert done.code == 1
    assert "target app   does not answer; start it, or correct its address" in done.out
    assert re.search(
        r"failed +mail +cannot reach 127\.0\.0\.1:9 \(connection refused\); correct \[smtp\], or start the server",
        done.out,
    )


def test_commands_work_without_a_relay_too(inside, tmp_path, target):
    (tmp_path / "relay.toml").write_text(f'[targets.app]\nforward = "{target.url}"\n')
    triggered = inside("trigger", "test", "a.b", "--body", "/dev/null", "--json")
    assert triggered.code == 0, triggered.err
    event, delivery = triggered.objects
    assert (event["id"], delivery["state"]) == (1, "succeeded")
    replayed = inside("replay", "1")
    assert replayed.code == 0
    assert len(target.seen) == 2
    assert not (tmp_path / ".relay" / "running.json").exists()
    assert inside("replay", "1", "--to", "http://127.0.0.1:9/x").code == 1
    later = inside("retry", "1")
    assert (later.code, later.err) == (0, "delivery 1 is due now; it is sent as soon as relay start runs\n")
    assert inside("replay", "--query", "id:1", "--to", "http://127.0.0.1:9/x", "--stop-on-failure").code == 1
    later = inside("replay", "--resume", "1")
    assert (later.code, later.err) == (0, "replay 1 is due now; it continues when relay start runs\n")


def test_follow_goes_on_over_a_restart(started, tmp_path):
    with started("--json") as relay:
        relay.object("ready")
        relay.send()
        following = subprocess.Popen(
            [sys.executable, "-m", "relay", "events", "--follow", "--json", "--limit", "1000"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            # Each once, also what comes while the command looks at what is there.
            numbers = iter(lambda: json.loads(following.stdout.readline())["id"], None)
            with ThreadPoolExecutor(1) as pool:
                reading = pool.submit(next, numbers)
                count = 2
                while not reading.done():
                    relay.send()
                    count += 1
            relay.send()
            assert [reading.result(), *islice(numbers, count - 1)] == list(range(1, count + 1))
            relay.stop()
            with started("--json") as again:
                again.object("ready")
                again.send()
                assert next(numbers) == count + 1
            following.send_signal(2)
            _, err = following.communicate(timeout=60)
        finally:
            following.kill()
            following.communicate()
    assert following.returncode == 130
    assert "Traceback" not in err


def test_a_closed_pipe_and_a_poor_locale_are_no_problem(shared):
    shared.send(body='{"type": "ж\\u202e"}'.encode())
    piped = subprocess.run(
        f"{sys.executable} -m relay events | head -1; {sys.executable} -m relay --help | true",
        shell=True,
        cwd=shared.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert piped.stderr == ""
    assert "\\u0436\\u202e" in piped.stdout


@pytest.mark.parametrize(
    ("stdout", "code", "told"),
    [("/dev/full", 1, "relay: cannot write to stdout: No space left on device\n"), ("&-", 0, "")],
)
@pytest.mark.parametrize("words", ["providers", "help search", "samples", "--help", "events --help", "--version"])
def test_a_stdout_that_is_full_or_closed_is_no_traceback(tmp_path, words, stdout, code, told):
    done = subprocess.run(
        f"{sys.executable} -m relay {words} >{stdout}",
        shell=True,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (code, told)


def test_an_event_is_previewed_and_mailed(inside, tmp_path):
    (tmp_path / "relay.toml").write_text(
        '[emails.note]\nto = "dev@example.com"\nsubject = "Got {{ event.type }}"\n'
        'text = "amount {{ payload.amount }}"\n'
    )
    body = tmp_path / "body.json"
    body.write_text('{"type": "a.b", "amount": 5}')
    assert inside("trigger", "test", "a.b", "--body", str(body)).code == 0
    preview = inside("email", "1", "note", "--preview")
    assert preview.out == "To: dev@example.com\nSubject: Got a.b\n\namount 5\n"
    sent = inside("email", "1", "note")
    assert sent.code == 0
    assert sent.out.startswith("#1  -> ")
    missing = inside("email", "1", "nope", "--preview")
    assert missing.code != 0
    assert len(missing.err.splitlines()) == 1
    again = inside("email", "1", "note")
    assert again.code == 1
    assert again.out == ""
    assert re.fullmatch(
        r"relay: #1 was kept in the outbox with note already: [0-9 :-]+ UTC to dev@example\.com; "
        r"relay email 1 note --force sends it anyway\n",
        again.err,
    )
    assert inside("email", "1", "note", "--force").code == 0


def test_a_preview_shows_every_header_and_writes_the_html(inside, tmp_path):
    (tmp_path / "mail.html").write_text("<p>{{ payload.name }}</p>")
    (tmp_path / "relay.toml").write_text(
        '[emails.note]\nto = "dev@example.com"\ncc = "boss@example.com"\nbcc = "archive@example.com"\n'
        'reply_to = "me@example.com"\nsubject = "Hi"\ntemplate = "mail.html"\nattach = "payload"\n'
        '[emails.plain]\nto = "dev@example.com"\nsubject = "Hi"\ntext = "x"\n'
    )
    (tmp_path / "body.json").write_text('{"type": "a.b", "name": "<Zoë>\\u001b[31m"}')
    assert inside("trigger", "test", "a.b", "--body", str(tmp_path / "body.json")).code == 0
    preview = inside("email", "1", "note", "--html", "shown.html")
    assert preview.code == 0
    assert preview.out.startswith(
        "To: dev@example.com\nCc: boss@example.com\nBcc: archive@example.com\nReply-To: me@example.com\n"
        "Subject: Hi\nAttached: event-1.json ("
    )
    assert preview.out.endswith("\n\n<Zoë>\\x1b[31m\n")
    assert (tmp_path / "shown.html").read_text() == "<p>&lt;Zoë&gt;\x1b[31m</p>"
    assert preview.err == "its HTML is in shown.html\n"
    plain = inside("email", "1", "plain", "--html", "x.html")
    assert (plain.code, plain.err) == (2, "relay: this mail has no HTML, only text; leave --html out\n")
    nowhere = inside("email", "1", "note", "--html", "no/such/x.html")
    assert nowhere.code == 2
    assert "cannot write 'no/such/x.html'" in nowhere.err
    assert inside("deliveries", "--json").out == ""


def test_a_dry_run_says_what_would_have_been_sent(inside, tmp_path):
    (tmp_path / "relay.toml").write_text(
        '[emails.note]\nto = "{{ payload.to }}"\nsubject = "Got {{ event.type }}"\ntext = "x"\n'
        '[targets.mail]\nemail = "note"\n[[routes]]\nevents = ["a.*"]\nwhen = "payload.n > 1"\nto = ["mail"]\n'
    )
    for number, to in enumerate(("dev@example.com", "nobody", "ops@example.com")):
        (tmp_path / "body.json").write_text(f'{{"type": "b.c", "n": {number}, "to": "{to}"}}')
        assert inside("trigger", "test", "b.c", "--body", str(tmp_path / "body.json")).code == 0
    done = inside("email", "--query", "after:7d", "note", "--dry-run")
    assert done.code == 0
    told = [line.split("  ") for line in done.out.splitlines()]
    assert [line[0] for line in told] == ["#3", "#2", "#1"]
    assert "would be sent" in done.out
    assert '"Got b.c"' in done.out
    assert "'nobody' is not one mail address" in done.out
    assert done.err == "3 events: 2 would be sent, 1 would fail; nothing was sent\n"
    routed = inside("email", "--dry-run", "--query", "")
    assert (routed.code, routed.out, routed.err) == (0, "", "3 events: no mail; nothing was sent\n")
    lines = inside("email", "--dry-run", "--query", "", "note", "--json").objects
    assert [(line["event"], line["outcome"]) for line in lines] == [(3, "send"), (2, "failed"), (1, "send")]
    assert inside("email", "--dry-run", "--query", "type:nothing").code == 4
    assert inside("deliveries", "--json").out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "an event and a template are needed; relay email 42 welcome"),
        (("42",), "an event and a template are needed; relay email 42 welcome"),
        (("1", "a", "b"), "an event and a template are needed; relay email 42 welcome"),
        (("x", "note"), "'x' is not an event id; relay events lists them"),
        (("note", "--dry-run"), "--dry-run and --query belong together; "),
        (("--query", "", "note"), "--dry-run and --query belong together; "),
        (("--dry-run", "--query", "", "1", "note"), "a dry run takes a query, and a template or a target"),
        (("--dry-run", "--query", "", "--force"), "a dry run takes a query, and a template or a target"),
    ],
)
def test_email_says_how_it_is_used(inside, words, said):
    done = inside("email", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"relay: {said}")


def test_a_login_from_another_page_keeps_its_cookie(ask, shared):
    # Seen in Chromium: a SameSite=Strict cookie is not sent along a redirect that began elsewhere.
    link = ask("token", "--json").objects[0]["login_url"]
    request = urllib.request.Request(link, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.url == link
        assert response.headers["Refresh"] == "0; url=/events"
        assert "SameSite=Strict" in response.headers["Set-Cookie"]


def test_a_trigger_that_relay_signs_itself_says_which_public_key_the_app_needs(inside, tmp_path):
    (tmp_path / "relay.toml").write_text("[sources.discord]\n")
    done = inside("trigger", "discord", "command", "--json")
    (event,) = done.objects
    assert (done.code, event["verdict"]) == (0, "verified")
    public = event["local_public_key"]
    assert re.fullmatch("[0-9a-f]{64}", public)
    assert f"relay: signed with relay's local key; give your app this public key: {public}\n" in done.err


@pytest.mark.parametrize("source", ["stripe", "github", "svix", "twilio", "adyen", "gitlab", "sendgrid"])
def test_the_first_sample_is_verified_without_any_secret_and_says_which_one_signed_it(inside, source, monkeypatch):
    for name in ("STRIPE_WEBHOOK_SECRET", "GITHUB_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    type_ = inside("samples", source, "--json").objects[0]["type"]
    done = inside("trigger", source, type_, "--json")
    (event,) = done.objects
    assert (done.code, event["verdict"], event["outcome"]) == (0, "verified", "accepted")
    if event["local_public_key"]:
        return
    assert f"made for this run: {event['run_secret']}; give it to your app, or set " in done.err


def test_a_sample_says_where_the_secret_that_is_missing_belongs(inside, tmp_path):
    (tmp_path / "relay.toml").write_text(
        '[sources.stripe]\nsecret = "env:ELSEWHERE"\n[sources.github]\nsecret = "vault:hook"\n'
        '[sources.own]\n[sources.own.signature]\nheader = "X-Signature"\n'
    )
    assert "or set ELSEWHERE to the provider's" in inside("trigger", "stripe", "invoice.paid").err
    assert "set it with relay vault set hook to" in inside("trigger", "github", "push").err
    assert 'set secret = "env:NAME" under [sources.own] to' in inside("trigger", "own", "a.b").err


def test_a_secret_that_is_set_signs_the_sample_and_is_not_printed(inside, monkeypatch):
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_test_stripe_secret")
    done = inside("trigger", "stripe", "invoice.paid", "--json")
    assert done.objects[0]["run_secret"] is None
    assert "made for this run" not in done.err


@pytest.mark.slow
def test_a_secret_for_one_run_is_the_same_all_the_while_and_believes_nothing_it_did_not_sign(started, command):
    none = {"STRIPE_WEBHOOK_SECRET": ""}
    with started("--json", env=none) as relay:
        relay.object("ready")
        first, again = (command("trigger", "stripe", "invoice.paid", "--json", env=none).objects[0] for _ in "ab")
        assert [first["verdict"], again["verdict"]] == ["verified", "verified"]
        assert again["run_secret"] == first["run_secret"]
        assert relay.send("stripe", Stripe_Signature="t=1,v1=00")["outcome"] == "accepted"
        relay.send("stripe")
        forged, unsigned = command("events", "--json", "--limit", "2").objects
        assert [forged["verdict"], unsigned["verdict"]] == ["unchecked", "unchecked"]
        assert first["run_secret"] not in (relay.home / ".relay/relay.log").read_text()
    with started("--json", env=none) as relay:
        relay.object("ready")
        assert (
            command("trigger", "stripe", "invoice.paid", "--json", env=none).objects[0]["run_secret"]
            != (first["run_secret"])
        )


def test_a_slip_in_the_name_of_a_source_is_told(inside, tmp_path):
    for command in (("trigger", "strype", "invoice.paid"), ("samples", "strype")):
        refused = inside(*command)
        assert refused.code != 0
        assert refused.err == "relay: no source is called 'strype'; did you mean 'stripe'?\n"
    unknown = inside("samples", "nope")
    assert (unknown.code, unknown.err[:55]) == (1, "relay: no source or provider is called 'nope'; did you ")
    (tmp_path / "relay.toml").write_text("[server]\ninbox = false\n[sources.payments]\n")
    assert "did you mean 'payments'?" in inside("trigger", "payment", "a.b").err


def test_a_hint_follows_a_sentence_without_its_full_stop(inside):
    assert "'invoice.payd'; did you mean invoice.paid?\n" in inside("trigger", "stripe", "invoice.payd").err


def test_the_dry_run_of_many_is_a_sentence(inside, tmp_path):
    toml = tmp_path / "relay.toml"
    toml.write_text(
        '[targets.app]\nforward = "http://127.0.0.1:9"\n[targets.b]\nforward = "http://127.0.0.1:9/b"\n'
        '[sources.one]\n[sources.two]\n[[routes]]\nsource = "one"\nto = "app"\n'
    )
    for source in ("one", "two"):
        inside("trigger", source, "a.b", "--body", "/dev/null")
    done = inside("replay", "--query", "method:POST", "--dry-run")
    told = re.compile(
        r"1 delivery of 1 event, received [0-9:]+ to [0-9:]+, would be made; 1 event would not be sent; nothing"
    )
    assert told.search(done.err), done.err


def test_a_sample_that_is_mailed_does_not_wait_for_a_credential_that_is_missing(inside, tmp_path):
    (tmp_path / "relay.toml").write_text(
        "[targets.mail]\nemail = 'm'\n[emails.m]\nto = 'ada@example.com'\nsubject = 'x'\ntext = 'y'\n"
        "[smtp]\nhost = '127.0.0.1'\nport = 9\nsender = 'relay@example.com'\n"
        "username = 'env:NO_SUCH_NAME'\npassword = 'env:NO_SUCH_WORD'\n"
    )
    done = inside("trigger", "shop", "a.b")
    assert done.code == 1
    assert done.err == (
        "relay: delivery 1 to mail waits: NO_SUCH_NAME is not set and NO_SUCH_WORD is not set, so mail cannot log in\n"
    )
    checked = inside("check").err
    assert checked.count("so mail cannot log in") == 1
    found = inside("doctor").out
    assert "failed  mail         NO_SUCH_NAME is not set and NO_SUCH_WORD is not set, so mail cannot log in" in found


def test_a_mail_that_waits_for_the_hourly_limit_is_not_waited_for(inside, tmp_path, unused_tcp_port):
    (tmp_path / "relay.toml").write_text(
        "[targets.mail]\nemail = 'm'\n[emails.m]\nto = 'ada@example.com'\nsubject = 'x'\ntext = 'y'\nper_hour = 1\n"
        f"[smtp]\nhost = '127.0.0.1'\nport = {unused_tcp_port}\nsender = 'relay@example.com'\n"
    )
    server = Controller(Sink(), hostname="127.0.0.1", port=unused_tcp_port)
    server.start()
    try:
        sent, held = (inside("trigger", "shop", "a.b") for _ in range(2))
    finally:
        server.stop()
    assert (sent.code, held.code) == (0, 1)
    assert "relay: delivery 2 to mail waits: the hourly limit of m is reached" in held.err


def test_a_sample_for_a_target_that_is_down_does_not_wait_along_with_it(started, command, tmp_path, refusing_port):
    (tmp_path / "relay.toml").write_text(f'[targets.app]\nforward = "http://127.0.0.1:{refusing_port}"\n')
    with started("--json") as relay:
        relay.object("ready")
        first, second = (command("trigger", "shop", "a.b") for _ in range(2))
    assert (first.code, second.code) == (1, 1)
    assert "waits until the target answers" in first.out
    assert "delivery 2 waits until app answers: connection refused" in second.err


def test_a_disk_that_takes_nothing_is_a_sentence_and_no_traceback(inside, tmp_path):
    data_dir = tmp_path / ".relay"
    data_dir.mkdir(mode=0o700)
    packed = Path(__file__).parents[1] / "data" / "relay-0.1.0.db.gz"  # which has to be upgraded
    (data_dir / "relay.db").write_bytes(gzip.decompress(packed.read_bytes()))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        upgrade = [inside("events"), inside("replay", "1", "--to", "http://localhost:1/")]
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert inside("events").code == 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        read = [inside("events"), inside("show", "1"), inside("replay", "1", "--to", "http://localhost:1/")]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    for done in (*upgrade, *read):
        assert (done.code, done.out) == (1, "")
        assert re.fullmatch(r"relay: \S+relay\.db cannot .*; .*\n", done.err)
