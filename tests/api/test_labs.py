"""The lab as programs and browsers see it: the API, the pages, the streams."""

import asyncio
import json
import re
from typing import Any

import pytest

from cases import check_each

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.fixture
async def lab(start, shop):
    """A relay with every path of the shop as a target."""
    paths = ("idempotent", "counting", "ordered", "verifying", "trusting")
    toml = "".join(f'[targets.{path}]\nforward = "{shop.url(path)}"\n' for path in paths)
    routes = '[[routes]]\nsource = "stripe"\nevents = ["no.such"]\nto = ["trusting"]\n'
    return await start(f"[sources.stripe]\nsecret = 'env:STRIPE_WEBHOOK_SECRET'\n{toml}{routes}")


async def stripe(at, type_="invoice.paid"):
    _, event = await at.api("/api/triggers", "POST", json={"source": "stripe", "type": type_})
    return event["id"]


async def sent(at, **value):
    _, answer = await at.send(data=json.dumps(value), headers={"Content-Type": "application/json"})
    return json.loads(answer)["event"]


async def over(at, id_):
    async with asyncio.timeout(60):
        while True:
            _, report = await at.api(f"/api/labs/{id_}")
            if report["state"] not in ("waiting", "running"):
                return report
            await asyncio.sleep(0.02)


async def post(at, path, form, **headers):
    data = [(name, value) for name, value in form if value is not None]
    async with at.session.post(
        at.dashboard + path, data=data, headers={"Authorization": f"Bearer {at.token}"} | headers, allow_redirects=False
    ) as response:
        return response, await response.text()


async def test_a_run_is_planned_begun_watched_and_reported(lab, shop):
    event = await stripe(lab)
    wanted: dict[str, Any] = {
        "experiments": ["stale", "duplicates"],
        "events": [event],
        "target": "verifying",
        "seed": 7,
    }
    status, plan = await lab.api("/api/labs", "POST", json=wanted | {"dry_run": True})
    assert (status, plan["sends"], plan["seed"], shop.got) == (200, 5, 7, [])
    assert [one["name"] for one in plan["experiments"]] == ["duplicates", "stale"]
    status, begun = await lab.api("/api/labs", "POST", json=wanted)
    assert status == 202
    report = await over(lab, begun["id"])
    assert (report["state"], report["finding"], report["target"], report["events"]) == (
        "done",
        "passed",
        "verifying",
        [event],
    )
    duplicates, stale = report["experiments"]
    assert (duplicates["statuses"], stale["statuses"]) == ({"200": 3}, {"200": 1, "401": 1})
    assert set(duplicates["latency_ms"]) == {"least", "median", "p95", "most"}
    assert [one["number"] for one in duplicates["sends"] + stale["sends"]] == [1, 2, 3, 4, 5]
    assert all(one["took_ms"] > 0 and one["started_at"] for one in duplicates["sends"])
    _, delivery = await lab.api(f"/api/deliveries/{stale['sends'][1]['delivery']}")
    assert (delivery["lab"], delivery["status"], delivery["state"]) == (begun["id"], 401, "failed")
    _, listed = await lab.api("/api/labs")
    assert [one["id"] for one in listed["labs"]] == [begun["id"]]
    assert listed["labs"][0]["sends"] == {"planned": 5, "made": 5}
    assert len(listed["experiments"]) == 8


async def test_differing_duplicates_and_failing_orders_stand_in_the_report(lab):
    ids = [await sent(lab, id=f"event_{step}", step=step) for step in (1, 2, 3)]
    wanted: dict[str, Any] = {"experiments": ["duplicates"], "events": ids[:1], "target": "counting"}
    _, begun = await lab.api("/api/labs", "POST", json=wanted)
    (one,) = (await over(lab, begun["id"]))["experiments"]
    assert [send["differs"] for send in one["sends"]] == [False, True, True]
    assert [send["answer"] for send in one["sends"]] == ['{"order": 1}', '{"order": 2}', '{"order": 3}']
    wanted = {"experiments": ["shuffle"], "q": "source:test", "target": "ordered", "times": 2, "seed": 3}
    _, begun = await lab.api("/api/labs", "POST", json=wanted)
    report = await over(lab, begun["id"])
    (one,) = report["experiments"]
    assert (report["finding"], report["q"]) == ("failed", "source:test")
    assert [order["passed"] for order in one["orders"]] == [True, False, False]
    assert one["orders"][0] == {"number": 1, "events": ids, "failed": [], "original": True, "passed": True}


async def test_a_run_is_cancelled(lab, shop):
    shop.hold()
    event = await stripe(lab)
    wanted = {"experiments": "burst", "events": [event], "url": shop.url("trusting")}
    _, begun = await lab.api("/api/labs", "POST", json=wanted)
    async with asyncio.timeout(60):
        while shop.at_once < 20:  # noqa: ASYNC110 - the app is in another thread
            await asyncio.sleep(0.01)
    status, report = await lab.api(f"/api/labs/{begun['id']}/cancel", "POST")
    assert (status, report["state"], report["finding"]) == (200, "cancelled", None)
    assert (await lab.api(f"/api/labs/{begun['id']}/cancel", "POST"))[0] == 400


@check_each(
    ("body", "status", "said"),
    [
        ({}, 400, "experiments must be"),
        ({"experiments": [], "q": ""}, 400, "experiments must be"),
        ({"experiments": [7], "q": ""}, 400, "experiments must be"),
        ({"experiments": ["melt"], "q": ""}, 400, "no experiment 'melt'"),
        ({"experiments": ["burst"]}, 400, "needs events"),
        ({"experiments": ["burst"], "events": []}, 400, "event numbers"),
        ({"experiments": ["burst"], "events": [True]}, 400, "event numbers"),
        ({"experiments": ["burst"], "events": [2**70]}, 400, "event numbers"),
        ({"experiments": ["burst"], "events": [99]}, 404, "no event 99"),
        ({"experiments": ["burst"], "q": "type:none", "target": "trusting"}, 404, "no event matches"),
        ({"experiments": ["burst"], "q": "after:soon", "target": "trusting"}, 400, "not a time"),
        ({"experiments": ["burst"], "q": ""}, 400, "needs a target"),
        ({"experiments": ["burst"], "q": "", "target": "none"}, 404, "no target"),
        ({"experiments": ["burst"], "q": "", "url": "http://10.0.0.1/"}, 422, "neither on this computer"),
        ({"experiments": ["burst"], "q": "", "target": "trusting", "times": 2.5}, 400, "whole number"),
        ({"experiments": ["burst"], "q": "", "target": "trusting", "times": 9999}, 400, "times is"),
        ({"experiments": ["burst"], "q": "", "target": "trusting", "speed": 10**400}, 400, "speed must be"),
        ({"experiments": ["burst"], "q": "", "target": "trusting", "delay": "2s"}, 400, "delay must be"),
        ({"experiments": ["burst"], "q": "", "target": "trusting", "compare": "x"}, 400, "compare is"),
        ({"experiments": ["burst"], "q": "", "dry_run": 1}, 400, "dry_run must be"),
        ({"experiments": ["burst"], "strange": 1}, 400, "unknown key 'strange'"),
    ],
)
async def test_what_cannot_be_begun_is_said_and_sends_nothing(lab, shop, body, status, said):
    if body.get("events") != [99]:
        await stripe(lab)
    body = {"target": "trusting"} | body if body.get("events") == [99] else body
    got, answer = await lab.api("/api/labs", "POST", json=body)
    assert (got, said in answer["error"]["message"]) == (status, True), answer
    assert (await lab.api("/api/labs"))[1]["labs"] == []
    assert shop.got == []


@pytest.mark.parametrize("path", ["/api/labs/9", "/api/labs/x", "/api/labs/9999999999999999999", "/lab/9"])
async def test_a_run_that_is_not_there_is_said(at, path):
    assert (await at.api(path))[0] == 404


async def test_a_form_begins_a_run_and_leads_to_its_report(lab):
    event = await stripe(lab)
    _, html = await lab.api(f"/lab?event={event}")
    html = html.decode()
    assert f'name="what" value="{event}"' in html
    for name in ("duplicates", "burst", "shuffle", "delay", "stale", "wrong-signature", "truncated", "retries"):
        assert f'name="experiment" value="{name}"' in html
    assert "finds an app that does not check signatures" in html
    form = [("what", str(event)), ("target", "verifying"), ("experiment", "duplicates")]
    form += [("experiment", "wrong-signature"), ("times", "4"), ("seed", ""), ("delay", ""), ("speed", "")]
    response, _ = await post(lab, "/lab", form)
    assert (response.status, response.headers["Location"]) == (303, "/lab/1")
    await over(lab, 1)
    _, html = await lab.api("/lab/1")
    html = html.decode()
    assert "All 4 copies of #1 were taken and answered alike." in html
    assert "signed with another secret, was refused: 401." in html
    assert "relay lab duplicates wrong-signature 1 --to verifying --seed" in html
    assert "hx-trigger" not in re.search(r'<div id="report"[^>]*>', html)[0]
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html)
    response, _ = await post(lab, "/lab", [pair for pair in fields if pair[0] != "csrf"])
    assert response.headers["Location"] == "/lab/2"
    again = await over(lab, 2)
    assert (again["times"], again["seed"]) == (4, (await over(lab, 1))["seed"])
    _, listed = await lab.api("/lab", headers=PARTIAL | {"HX-Target": "section#runs"})
    assert re.findall(r'href="/lab/(\d+)"', listed.decode()) == ["2", "1"]
    assert "<!doctype" not in listed.decode()


@check_each(
    ("form", "said"),
    [
        ({"what": ""}, "needs events"),
        ({"what": "99"}, "no event 99"),
        ({"what": "type:none"}, "no event matches"),
        ({"experiment": None}, "needs an experiment"),
        ({"target": "other"}, "needs a target"),
        ({"target": "other", "url": "http://10.0.0.1/<b>"}, "neither on this computer"),
        ({"url": "http://localhost:9/"}, "a target and a URL"),
        ({"times": "many"}, "times: &#39;many&#39; is not a whole number"),
        ({"delay": "soon"}, "delay: &#39;soon&#39; is not a time"),
        ({"seed": "9" * 30}, "is not a whole number"),
    ],
)
async def test_a_form_that_cannot_be_followed_says_why_and_keeps_what_was_typed(lab, form, said):
    event = await stripe(lab)
    filled = {"what": str(event), "target": "trusting", "experiment": "burst", "times": "3"} | form
    response, html = await post(lab, "/lab", filled.items())
    assert response.status == 422
    assert said in html
    assert "<b>" not in html.partition('role="alert"')[2][:400]
    if form.get("times"):
        assert f'name="times" value="{form["times"]}"' in html


async def test_a_running_report_asks_for_itself_and_can_be_cancelled(lab, shop):
    shop.hold()
    event = await stripe(lab)
    _, begun = await lab.api(
        "/api/labs", "POST", json={"experiments": ["burst"], "events": [event], "target": "trusting"}
    )
    path = f"/lab/{begun['id']}"
    _, part = await lab.api(path, headers=PARTIAL | {"HX-Target": "div#report"})
    head = re.search(r'<div id="report"[^>]*>', part.decode())[0]
    assert f'hx-get="{path}"' in head
    assert "every 1s, lab from:#live" in head
    assert "<!doctype" not in part.decode()
    response, _ = await post(lab, f"{path}/cancel", [])
    assert (response.status, response.headers["Location"]) == (303, path)
    assert (await over(lab, begun["id"]))["state"] == "cancelled"
    _, html = await lab.api(path)
    assert "Cancelled" in html.decode()
    response, _ = await post(lab, f"{path}/cancel", [])
    assert response.status == 400


async def test_a_long_report_shows_what_stands_out_and_the_rest_when_asked(lab):
    event = await sent(lab, id="event_1")
    wanted = {"experiments": ["burst"], "events": [event], "target": "idempotent", "times": 60}
    _, begun = await lab.api("/api/labs", "POST", json=wanted)
    await over(lab, begun["id"])
    _, html = await lab.api(f"/lab/{begun['id']}")
    assert html.decode().count('<td class="remark">') == 40
    assert "20 more sends" in html.decode()
    _, html = await lab.api(f"/lab/{begun['id']}?all=1")
    assert html.decode().count('<td class="remark">') == 60


async def test_what_an_app_answers_is_text(lab, shop, monkeypatch):
    async def evil(request, body):
        from aiohttp import web  # noqa: PLC0415 - the shop is a module of its own

        return web.Response(text="<script>alert(1)</script>\x1b[31m", content_type="text/html")

    monkeypatch.setattr(shop, "take_trusting", evil, raising=False)
    event = await sent(lab, id="event_1")
    wanted = {"experiments": ["duplicates"], "events": [event], "target": "trusting"}
    _, begun = await lab.api("/api/labs", "POST", json=wanted)
    report = await over(lab, begun["id"])
    assert report["experiments"][0]["sends"][0]["answer"] == "<script>alert(1)</script>\\x1b[31m"
    _, html = await lab.api(f"/lab/{begun['id']}")
    assert "<script>alert" not in html.decode()
    assert "&lt;script&gt;alert(1)" in html.decode()


async def test_an_event_leads_to_the_lab_and_what_the_lab_did_is_not_its_result(lab):
    event = await stripe(lab)
    await lab.api(f"/api/events/{event}/replay", "POST", json={"target": "verifying"})
    wanted = {"experiments": ["wrong-signature"], "events": [event], "target": "verifying"}
    _, begun = await lab.api("/api/labs", "POST", json=wanted)
    await over(lab, begun["id"])
    _, html = await lab.api(f"/events/{event}")
    assert f'href="/lab?event={event}"' in html.decode()
    row = re.search(r'<li class="row".*?</li>', html.decode(), re.DOTALL)[0]
    assert "delivery failed" not in row
    assert (await lab.api("/api/events?q=has:failed"))[1]["events"] == []
    _, html = await lab.api(f"/events/{event}/deliveries")
    assert "by lab run 1" in html.decode()
    _, listed = await lab.api("/api/events")
    assert listed["events"][0]["deliveries"]["failed"] == 0


@pytest.mark.parametrize("path", ["/api/stream", "/stream"])
async def test_both_streams_tell_of_a_run(lab, path):
    event = await stripe(lab)
    headers = {"Authorization": f"Bearer {lab.token}"}
    async with lab.session.get(lab.dashboard + path, headers=headers) as stream:
        wanted = {"experiments": ["duplicates"], "events": [event], "target": "trusting"}
        _, begun = await lab.api("/api/labs", "POST", json=wanted)
        name, states = "", set()
        async with asyncio.timeout(60):
            while "done" not in states:
                kind, _, text = (await stream.content.readline()).decode().strip().partition(": ")
                if kind == "event":
                    name = text
                elif kind == "data" and name == "lab":
                    value = json.loads(text)
                    assert value["lab"] == begun["id"]
                    states.add(value["state"])
                elif not kind:
                    name = ""


async def test_what_the_lab_sends_stays_out_of_the_deliveries_but_can_be_opened(lab):
    event = await stripe(lab)
    wanted = {"experiments": ["stale"], "events": [event], "target": "verifying", "seed": 7}
    _, begun = await lab.api("/api/labs", "POST", json=wanted)
    await over(lab, begun["id"])
    _, html = await lab.api("/deliveries")
    text = html.decode()
    assert '<tbody id="row-' not in text
    assert 'id="dv-all">0<' in text
    _, listed = await lab.api("/api/deliveries")
    made = listed["deliveries"][0]["id"]
    _, html = await lab.api(f"/deliveries/{made}")
    assert f'<tbody id="row-{made}"' in html.decode()
    assert "by lab run" in html.decode()
