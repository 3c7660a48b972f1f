"""Handlers in a whole relay: routed to, tried again, reloaded, held while broken, and never in its way."""

import json
from datetime import datetime

import pytest
from aiohttp import web

SOON = 'retry = { attempts = 4, first = "20ms", factor = 1, max = "20ms", jitter = 0 }'
APP = f'[targets.app]\nhandler = "handlers.py"\n{SOON}\n'


@pytest.fixture
def relay(start, write):
    """Start a relay with one handlers file."""

    async def go(text, toml=APP, **more):
        write(text)
        return await start(toml, **more)

    return go


@pytest.fixture
def settled(eventually):
    """Wait until a delivery is in a state, over by default, and return it."""

    async def go(at, id_, *states):
        found = {}

        async def look():
            nonlocal found
            _, found = await at.api(f"/api/deliveries/{id_}")
            return found.get("state") in (states or ("succeeded", "failed", "cancelled"))

        await eventually(look)
        return found

    return go


async def test_an_event_is_handled_and_its_output_is_in_the_api(relay, settled):
    at = await relay("@on('test', 'a.b')\ndef it(event):\n    print('Zoë', event.payload['n'], event.id)\n")
    await at.send(data='{"type": "a.b", "n": "☃"}'.encode(), headers={"Content-Type": "application/json"})
    found = await settled(at, 1)
    assert (found["state"], found["action"], found["detail"]) == ("succeeded", "handler", "it ran")
    (attempt,) = found["attempts"]
    assert attempt["output"] == "Zoë ☃ 1\n"
    assert (attempt["output_cut"], attempt["traceback"]) == (False, None)
    assert (attempt["request"], attempt["response"]) == (None, None)


async def test_what_is_for_no_handler_is_done_and_says_so(relay, settled):
    at = await relay("@on('stripe')\ndef it(event): pass\n")
    await at.send()
    found = await settled(at, 1)
    assert (found["state"], found["detail"]) == ("succeeded", "no handler is for unknown")


async def test_a_handler_that_raises_is_tried_again_until_it_does_not(relay, settled):
    at = await relay("""
        @on("test")
        def it(event):
            it.tries = getattr(it, "tries", 0) + 1
            print("try", it.tries)
            if it.tries < 3:
                raise ValueError(f"not at try {it.tries}")
    """)
    await at.send()
    found = await settled(at, 1)
    assert (found["state"], found["attempts_made"]) == ("succeeded", 3)
    details = [attempt["detail"] for attempt in found["attempts"]]
    assert details == [
        "handler it failed: ValueError: not at try 1 (handlers.py, line 9)",
        "handler it failed: ValueError: not at try 2 (handlers.py, line 9)",
        "it ran",
    ]
    assert [attempt["output"] for attempt in found["attempts"]] == ["try 1\n", "try 2\n", "try 3\n"]
    assert "in it\n" in found["attempts"][0]["traceback"]
    assert "relay" not in found["attempts"][0]["traceback"]


async def test_a_handler_that_never_succeeds_is_given_up_when_its_attempts_are_spent(relay, settled):
    at = await relay("@on('test')\ndef it(event): raise SystemExit('no')\n")
    await at.send()
    found = await settled(at, 1)
    assert (found["state"], found["attempts_made"]) == ("failed", 4)


async def test_failed_is_final(relay, settled):
    at = await relay("@on('test')\ndef it(event): return Failed('no such order')\n")
    await at.send()
    found = await settled(at, 1)
    assert (found["state"], found["attempts_made"], found["detail"]) == ("failed", 1, "no such order")


async def test_the_wait_a_handler_asks_for_may_be_as_long_as_the_policys_longest(relay, settled, eventually):
    toml = '[targets.app]\nhandler = "handlers.py"\nretry = { first = "10ms", max = "1h" }\n'
    at = await relay("@on('test')\ndef it(event): raise Retry('later', after=5000)\n", toml)
    await at.send()

    async def tried():
        return (await at.api("/api/deliveries/1"))[1]["attempts_made"] == 1

    await eventually(tried)
    found = await settled(at, 1, "pending")
    due, tried_at = (datetime.fromisoformat(text) for text in (found["due_at"], found["attempts"][0]["started_at"]))
    assert 4990 < (due - tried_at).total_seconds() < 5010


async def test_a_replay_runs_the_handler_again_with_what_was_edited(relay, settled):
    at = await relay("@on('test')\ndef it(event):\n    print(event.payload, event.headers.get('x-new'))\n")
    await at.send(data=b'{"n": 1}', headers={"Content-Type": "application/json"})
    await settled(at, 1)
    edit = {"target": "app", "body": '{"n": 2}', "headers": {"Content-Type": "application/json", "X-New": "y"}}
    status, made = await at.api("/api/events/1/replay", "POST", json=edit)
    assert status == 202, made
    found = await settled(at, made["delivery"])
    assert found["attempts"][0]["output"] == "{'n': 2} y\n"


async def test_two_files_are_two_targets_that_share_nothing(start, write, settled):
    for name in ("one", "two"):
        write(
            f"import os\n@on('test')\ndef it(event):\n    print({name!r}, os.getpid())\n"
            f"    {'return Failed()' if name == 'two' else ''}\n",
            f"{name}/handlers.py",
        )
    at = await start(
        '[targets.one]\nhandler = "one/handlers.py"\n[targets.two]\nhandler = "two/handlers.py"\n'
        '[[routes]]\nto = ["one", "two"]\n'
    )
    await at.send()
    one, two = await settled(at, 1), await settled(at, 2)
    assert (one["state"], two["state"]) == ("succeeded", "failed")
    outputs = [found["attempts"][0]["output"].split() for found in (one, two)]
    assert [words[0] for words in outputs] == ["one", "two"]
    assert outputs[0][1] != outputs[1][1]


async def test_a_file_that_breaks_holds_its_events_and_mended_they_go_on(relay, write, settled, eventually):
    good = "@on('test')\ndef it(event):\n    print('n', event.payload['n'])\n"
    at = await relay(good)
    headers = {"Content-Type": "application/json"}
    await at.send(data=b'{"n": 1}', headers=headers)
    await settled(at, 1)
    write("\n\ndef it(:\n")
    signals = []
    at.relay.bus.on(signals.append)
    for number in (2, 3, 4):
        status, _ = await at.send(data=json.dumps({"n": number}).encode(), headers=headers)
        assert status == 200

    async def held():
        waiting = (await at.api("/api/deliveries?state=pending"))[1]["deliveries"]
        return len(waiting) == 3 and any(one["detail"] for one in waiting)

    await eventually(held)
    why = "handlers.py, line 5: SyntaxError: invalid syntax"
    assert at.relay.state.broken == {"app": why}
    _, page = await at.api("/events")
    assert b"The handlers of app cannot be run." in page
    assert b"handlers.py, line 5: SyntaxError" in page
    _, page = await at.api("/targets")
    assert b"handlers.py, line 5: SyntaxError" in page
    # Another mistake is told in its place, as soon as it is there.
    write("\n1 / 0\n")
    await eventually(lambda: "ZeroDivisionError" in at.relay.state.broken.get("app", ""))
    write(good)
    for id_ in (2, 3, 4):
        found = await settled(at, id_)
        assert found["state"] == "succeeded"
        assert found["attempts"][-1]["output"] == f"n {id_}\n"
    await eventually(lambda: at.relay.state.broken == {})
    told = [signal.detail for signal in signals if type(signal).__name__ == "HandlersChanged"]
    assert told == [why, "handlers.py, line 4: ZeroDivisionError: division by zero", ""]
    _, page = await at.api("/events")
    assert b"cannot be run" not in page


async def test_an_attempt_with_a_broken_file_keeps_its_traceback_and_spends_no_budget(
    relay, write, settled, eventually
):
    at = await relay("@on('test')\ndef it(event): pass\n")
    write("print('loading')\nraise RuntimeError('no database')\n")
    await at.send()

    async def tried():
        return (await at.api("/api/deliveries/1"))[1]["attempts_made"] == 1

    await eventually(tried)
    found = (await at.api("/api/deliveries/1"))[1]
    assert found["state"] == "pending"
    (attempt,) = found["attempts"]
    assert attempt["detail"] == "handlers.py, line 4: RuntimeError: no database"
    assert attempt["output"] == "loading\n"
    assert 'File "handlers.py", line 4, in <module>' in attempt["traceback"]


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_handlers_that_spin_hold_up_neither_capture_nor_other_targets(
    start, write, settled, aiohttp_server, kind, tmp_path
):
    async def take(request):
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    server = await aiohttp_server(app)
    write(f"import os\n@on('test')\n{kind} it(event):\n    while not os.path.exists('enough'):\n        pass\n")
    once = 'timeout = "10m"\nretry = { attempts = 1 }'
    at = await start(
        f'[targets.spins]\nhandler = "handlers.py"\n{once}\n'
        f'[targets.app]\nforward = "{server.make_url("/")}"\n[[routes]]\nto = ["app", "spins"]\n'
    )
    for _ in range(4):
        assert (await at.send())[0] == 200
    forwarded = [await settled(at, id_) for id_ in (1, 3, 5, 7)]
    assert {(one["target"], one["state"]) for one in forwarded} == {("app", "succeeded")}
    spinning = (await at.api("/api/deliveries?target=spins"))[1]["deliveries"]
    assert {one["state"] for one in spinning} <= {"pending", "running"}
    (tmp_path / "enough").touch()  # or the relay would wait for them when it stops


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_handler_that_blocks_is_ended_and_says_where_it_was(start, write, settled, kind):
    write(f"import time\n@on('test')\n{kind} it(event):\n    print('blocking', flush=True)\n    time.sleep(600)\n")
    at = await start('[targets.spins]\nhandler = "handlers.py"\ntimeout = "5s"\nretry = { attempts = 1 }\n')
    await at.send()
    spun = await settled(at, 1)
    assert spun["detail"] == "took longer than 5 s, so its process was ended"
    assert spun["attempts"][0]["output"] == "blocking\n"
    assert 'File "handlers.py"' in spun["attempts"][0]["traceback"]


async def test_at_most_two_run_at_once_unless_the_target_says_so(relay, settled, tmp_path, eventually):
    at = await relay("""
        import os, pathlib, time

        @on("test")
        def it(event):
            mine = pathlib.Path(f"running-{os.getpid()}")
            mine.touch()
            print(len(list(pathlib.Path().glob("running-*"))))
            time.sleep(0.05)
            mine.unlink()
    """)
    for _ in range(8):
        await at.send()
    counts = [int((await settled(at, id_))["attempts"][0]["output"]) for id_ in range(1, 9)]
    assert max(counts) <= 2


async def test_a_handler_gets_the_environment_of_the_project(start, write, settled, tmp_path):
    (tmp_path / ".env").write_text("SHOP_KEY=from-env-file\n")
    write("import os\n@on('test')\ndef it(event):\n    print(os.environ['SHOP_KEY'], os.getcwd())\n")
    at = await start(APP)
    await at.send()
    found = await settled(at, 1)
    assert found["attempts"][0]["output"] == f"from-env-file {tmp_path}\n"


async def test_output_is_text_in_the_dashboard_whatever_it_holds(relay, settled):
    at = await relay("""
        @on("test")
        def it(event):
            print("<script>alert(1)</script> \\x1b[31m \\u202e {{ 7 * 7 }}")
            raise ValueError("<img src=x>")
    """)
    await at.send()
    await settled(at, 1)
    for path in ("/events/1/deliveries", "/deliveries/1"):
        _, page = await at.api(path)
        text = page.decode()
        assert "<script>alert" not in text
        assert "<img src=x>" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; \\x1b[31m \\u202e {{ 7 * 7 }}" in text
        assert "ValueError: &lt;img src=x&gt;" in text
        assert "File &#34;handlers.py&#34;, line 7, in it" in text


async def test_a_forged_event_reaches_no_handler(start, write, settled):
    write("@on('*')\ndef it(event): print('reached')\n")
    at = await start(f'[sources.stripe]\nsecret = "env:STRIPE_WEBHOOK_SECRET"\n{APP}')
    status, _ = await at.send("/webhooks/stripe", data=b'{"type": "invoice.paid"}')
    assert status == 401
    assert (await at.api("/api/deliveries"))[1]["deliveries"] == []
    status, event = await at.api("/api/triggers", "POST", json={"source": "stripe", "type": "invoice.paid"})
    assert status == 201, event
    assert (await settled(at, 1))["attempts"][0]["output"] == "reached\n"


WAITING = '[sources.test]\nprovider = "custom"\nanswer = { mode = "wait", timeout = "20s" }\n'


async def test_a_sender_that_waits_gets_what_the_handler_returned(relay, settled):
    at = await relay("@on('*')\ndef it(event): return {'text': 'x' * event.payload['n']}\n", WAITING + APP)
    for number, length in enumerate((3, 200_000), start=1):
        async with at.session.post(f"{at.ingress}/webhooks/test", json={"n": length}) as response:
            assert (response.status, response.content_type) == (200, "application/json")
            assert await response.json() == {"text": "x" * length}
        (attempt,) = (await settled(at, number))["attempts"]
        kept = attempt["response"]
        assert (kept["status"], kept["cut"]) == (200, length > 64_000)


async def test_a_sender_that_waits_gets_the_sources_own_answer_where_the_handler_returned_nothing(relay):
    at = await relay("@on('*')\ndef it(event): pass\n", WAITING + APP)
    status, body = await at.send()
    assert (status, json.loads(body)["outcome"]) == (200, "accepted")


async def test_a_sender_that_waits_for_a_handler_that_gives_up_is_told_502(relay):
    at = await relay("@on('*')\ndef it(event): return Failed('never')\n", WAITING + APP)
    status, body = await at.send()
    assert (status, json.loads(body)["error"]["hint"]) == (502, "the dashboard of relay says why")


async def test_a_sender_that_waits_for_a_handler_that_fails_until_its_tries_run_out_may_send_it_again(relay):
    app = '[targets.app]\nhandler = "handlers.py"\nretry = { attempts = 1 }\n'
    at = await relay("@on('*')\ndef it(event): 1 / 0\n", WAITING + app)
    status, body = await at.send()
    assert (status, json.loads(body)["error"]["hint"]) == (502, "send it again")
