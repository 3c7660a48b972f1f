"""What was missed comes back once, oldest first, marked, and owes what a live event would."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from relay.catchup.base import CatchUpRequest

PUSH = {"ref": "refs/heads/main", "repository": {"id": 1, "name": "cat"}, "head": "Zoë \u001b[1m <&> ☃ \\u001b"}
APP = '[targets.app]\nforward = "http://127.0.0.1:{}/"\n'


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


async def until(holds):
    async with asyncio.timeout(60):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def nowhere(unused_tcp_port):
    """A target that nobody listens at: what is owed stays owed."""
    return APP.format(unused_tcp_port)


async def test_what_github_could_not_deliver_is_recovered_oldest_first(
    start, github, tables, environ, catch_up, events, nowhere
):
    github.page = 2
    guids = [github.deliver("push", PUSH | {"after": str(n)}, ago(minutes=50 - n)) for n in range(5)]
    at = await start(tables(github, nowhere), environ)
    status, answer = await catch_up(at, "github")
    assert (status, answer["state"], answer["summary"]) == (200, "done", "found 5, 0 were here, 5 recovered")
    assert [event["key"] for event in answer["events"]] == guids
    stored = await events(at, "is:recovered")
    assert [event["idempotency_key"] for event in stored] == guids
    assert [event["id"] for event in stored] == [1, 2, 3, 4, 5]
    assert len([call for call in github.calls if "cursor=" in call]) == 2
    first = stored[0]
    assert (first["recovered"], first["outcome"], first["status"]) == (True, "accepted", None)
    assert first["sent_at"].startswith(github.items[-1]["delivered_at"][:-1])
    assert first["received_at"] > first["sent_at"]
    assert json.loads(first["body"]["text"]) == PUSH | {"after": "0"}
    assert ["X-GitHub-Event", "push"] in first["headers"]
    assert first["deliveries"]["pending"] + first["deliveries"]["running"] == 1


async def test_catching_up_again_stores_nothing_twice(start, github, tables, environ, catch_up, events):
    github.deliver("push", PUSH, ago(minutes=5))
    at = await start(tables(github), environ)
    await catch_up(at, "github")
    details = [call for call in github.calls if "/deliveries/" in call]
    _, again = await catch_up(at, "github")
    assert again["summary"] == "found 1, 1 was here, 0 recovered"
    assert len(await events(at)) == 1
    # What is here is not even fetched.
    assert [call for call in github.calls if "/deliveries/" in call] == details


async def test_what_came_by_itself_is_known_and_what_comes_later_is_a_duplicate(
    start, stripe, tables, environ, catch_up, events
):
    at = await start(tables(stripe), environ)
    _, made = await at.api("/api/triggers", "POST", json={"source": "stripe", "type": "payment_intent.succeeded"})
    stripe.happen("payment_intent.succeeded", ago(minutes=1), made["idempotency_key"])
    _, answer = await catch_up(at, "stripe")
    assert (answer["found"], answer["known"], answer["recovered"]) == (1, 1, 0)
    # The other way round: Stripe tries again what relay has recovered meanwhile.
    late = stripe.happen("payment_intent.succeeded", ago(minutes=1))
    await catch_up(at, "stripe")
    body = json.dumps(stripe.items[0])
    trigger = {"source": "stripe", "type": "payment_intent.succeeded", "body": body}
    _, retried = await at.api("/api/triggers", "POST", json=trigger)
    assert (retried["idempotency_key"], retried["outcome"], retried["verdict"]) == (late, "duplicate", "verified")
    recovered = (await events(at, "is:recovered"))[0]
    assert retried["duplicate_of"] == recovered["id"]


async def test_a_forged_event_of_that_key_keeps_nothing_from_being_recovered(
    start, github, tables, environ, catch_up, events
):
    guid = github.deliver("push", PUSH, ago(minutes=5))
    at = await start(tables(github), environ)
    forged = {"X-GitHub-Delivery": guid, "X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + "0" * 64}
    assert (await at.send("/webhooks/github", b"{}", headers=forged))[0] == 401
    _, answer = await catch_up(at, "github")
    assert (answer["known"], answer["recovered"]) == (0, 1)
    assert [event["outcome"] for event in await events(at)] == ["rejected", "accepted"]


async def test_a_redelivery_is_the_same_event(start, github, tables, environ, catch_up, events):
    guid = github.deliver("push", PUSH, ago(minutes=9))
    github.deliver("push", PUSH, ago(minutes=3), guid=guid, redelivery=True)
    github.page = 1
    at = await start(tables(github), environ)
    _, answer = await catch_up(at, "github")
    assert (answer["found"], answer["recovered"]) == (1, 1)
    assert len(await events(at)) == 1


@pytest.mark.parametrize("page", [1, 100])
async def test_what_is_older_than_since_is_left(start, github, stripe, svix, tables, environ, catch_up, page):
    for minutes in (180, 150, 30):
        github.deliver("push", PUSH, ago(minutes=minutes))
        stripe.happen("charge.failed", ago(minutes=minutes))
        svix.message("user.created", ago(minutes=minutes), {"type": "user.created"})
    github.page = stripe.page = svix.page = page
    at = await start("".join(tables(one) for one in (github, stripe, svix)), environ)
    for name in ("github", "stripe", "svix"):
        _, answer = await catch_up(at, name, "2h")
        assert (name, answer["found"], answer["recovered"]) == (name, 1, 1)
        _, answer = await catch_up(at, name, ago(hours=4).isoformat())
        assert (name, answer["found"], answer["recovered"]) == (name, 3, 2)


async def test_bytes_that_githubs_signature_fits_are_verified(start, github, tables, environ, catch_up, events):
    signed = json.dumps(PUSH, separators=(",", ":"), ensure_ascii=False).encode().replace(b"\\u001b[", b"\\u001B[")
    github.deliver("push", PUSH, ago(minutes=5), signed=signed)
    at = await start(tables(github), environ)
    await catch_up(at, "github")
    (event,) = await events(at)
    assert (event["verdict"], event["reason"], event["hints"]) == ("verified", None, [])
    assert (await at.api(f"/api/events/{event['id']}/body"))[1] == signed
    fetched, *checks = event["checks"]
    # Without TLS the stand-in has not proved who it is, so that step claims nothing.
    assert (fetched["name"], fetched["passed"], fetched["result"]) == ("Fetched", None, event["idempotency_key"][:60])
    assert "env:GITHUB_TOKEN" in fetched["detail"]
    assert checks
    assert all(check["passed"] for check in checks)


async def test_bytes_that_it_does_not_fit_are_said_to_be_unchecked(start, github, tables, environ, catch_up, events):
    github.deliver("push", PUSH, ago(minutes=5), signed=json.dumps(PUSH).encode())
    at = await start(tables(github), environ)
    await catch_up(at, "github")
    (event,) = await events(at)
    assert (event["verdict"], event["reason"], event["outcome"]) == ("unchecked", "recovered", "accepted")
    assert [check["passed"] for check in event["checks"]] == [None, None]
    assert event["hints"] == []
    _, verified = await at.api(f"/api/events/{event['id']}/verify", "POST")
    assert (verified["verdict"], verified["reason"]) == ("unchecked", "recovered")


async def test_a_form_of_github_is_rebuilt_as_a_form(start, github, tables, environ, catch_up, events):
    guid = github.deliver("push", PUSH, ago(minutes=5))
    github.items[0]["request"]["headers"]["content-type"] = "application/x-www-form-urlencoded"
    at = await start(tables(github), environ)
    await catch_up(at, "github")
    (event,) = await events(at)
    assert (event["idempotency_key"], event["type"]) == (guid, "push")
    assert event["body"]["text"].startswith("payload=%7B%22ref%22%3A")


async def test_a_delivery_without_content_is_told_of_and_left(start, github, svix, tables, environ, catch_up):
    github.deliver("push", PUSH, ago(minutes=5))
    github.items[0]["request"]["payload"] = None
    svix.message("user.created", ago(minutes=5), {"expired": True})
    at = await start(tables(github) + tables(svix), environ)
    for name, title in (("github", "GitHub"), ("svix", "Svix")):
        _, answer = await catch_up(at, name)
        assert answer["summary"] == f"found 1, 0 were here, 1 without content at {title}, 0 recovered"
        assert (answer["state"], answer["missed"], answer["lost"]) == ("done", 1, 1)


async def test_a_delivery_that_went_after_it_was_listed_keeps_no_later_one_back(
    start, github, tables, environ, catch_up, events
):
    github.gone.add(github.deliver("push", PUSH, ago(minutes=5)))
    later = github.deliver("push", PUSH, ago(minutes=3))
    at = await start(tables(github), environ)
    _, answer = await catch_up(at, "github")
    assert (answer["state"], answer["lost"]) == ("done", 1)
    assert [event["idempotency_key"] for event in await events(at)] == [later]


async def test_looking_stores_nothing(start, stripe, github, tables, environ, catch_up, events):
    ids = [stripe.happen("charge.failed", ago(minutes=9 - n)) for n in range(3)]
    github.deliver("issues", {"action": "opened"}, ago(minutes=5))
    at = await start(tables(stripe) + tables(github), environ)
    _, answer = await catch_up(at, "stripe", dry_run=True)
    assert answer["summary"] == "found 3, 0 were here, 3 would be recovered"
    assert [(event["key"], event["id"]) for event in answer["events"]] == [(id_, None) for id_ in ids]
    _, answer = await catch_up(at, "github", dry_run=True)
    assert [event["type"] for event in answer["events"]] == ["issues.opened"]
    assert await events(at) == []


async def test_types_that_the_source_does_not_list_are_left(start, github, stripe, tables, environ, catch_up, events):
    listed = 'events = ["push", "charge.*"]'
    github.deliver("push", PUSH, ago(minutes=5))
    github.deliver("issues", {"action": "opened"}, ago(minutes=4))
    stripe.happen("charge.failed", ago(minutes=5))
    stripe.happen("invoice.paid", ago(minutes=4))
    at = await start(tables(github, above=listed) + tables(stripe, above=listed), environ)
    for name in ("github", "stripe"):
        _, answer = await catch_up(at, name)
        assert (answer["found"], answer["unlisted"], answer["recovered"]) == (2, 1, 1)
    assert {event["type"] for event in await events(at)} == {"push", "charge.failed"}
    assert len([call for call in github.calls if "/deliveries/" in call]) == 1


async def test_stripe_is_asked_for_what_the_source_lists(start, stripe, tables, environ, catch_up):
    at = await start(tables(stripe, above='events = ["charge.*"]'), environ)
    await catch_up(at, "stripe")
    assert "type=charge.*" in stripe.calls[-1]
    assert "delivery_success=false" in stripe.calls[-1]


async def test_of_stripe_also_what_an_endpoint_took_where_that_is_wanted(
    start, stripe, tables, environ, catch_up, tmp_path
):
    stripe.happen("charge.failed", ago(minutes=5), delivered=True)
    at = await start(tables(stripe), environ)
    assert (await catch_up(at, "stripe"))[1]["found"] == 0
    other = await start(
        tables(stripe, "undelivered = false").replace("\n\n", "\n"), environ, data_dir=str(tmp_path / "other")
    )
    assert (await catch_up(other, "stripe"))[1]["recovered"] == 1


async def test_keys_and_types_of_ones_own_hold_for_what_is_recovered(start, github, tables, environ, catch_up, events):
    own = 'idempotency_key = "body:/after"\nevent_type = "body:/ref"\nevents = ["refs/heads/main"]'
    github.deliver("push", PUSH | {"after": "a1"}, ago(minutes=5))
    github.deliver("push", PUSH | {"ref": "refs/heads/other"}, ago(minutes=4))
    at = await start(tables(github, above=own), environ)
    _, answer = await catch_up(at, "github")
    assert (answer["recovered"], answer["unlisted"]) == (1, 1)
    _, again = await catch_up(at, "github")
    assert (again["recovered"], again["known"], again["unlisted"], again["missed"]) == (0, 1, 1, 0)
    (event,) = await events(at)
    assert (event["idempotency_key"], event["type"]) == ("a1", "refs/heads/main")


async def test_looking_knows_what_is_here_by_ones_own_key_too(start, stripe, tables, environ, catch_up, events):
    stripe.happen("charge.failed", ago(minutes=5), order="o-1")
    at = await start(tables(stripe, above='idempotency_key = "body:/data/object/order"'), environ)
    await catch_up(at, "stripe")
    assert [event["idempotency_key"] for event in await events(at)] == ["o-1"]
    assert (await catch_up(at, "stripe", dry_run=True))[1]["summary"] == "found 1, 1 was here, 0 would be recovered"


async def test_a_required_key_that_is_missing_rejects_once(start, github, tables, environ, catch_up, events):
    own = 'idempotency_key = "body:/none"\nrequire_idempotency_key = true'
    github.deliver("push", PUSH, ago(minutes=5))
    at = await start(tables(github, above=own), environ)
    for _ in range(2):
        await catch_up(at, "github")
    (event,) = await events(at)
    assert (event["outcome"], event["reason"]) == ("rejected", "idempotency_key_missing")


async def test_without_forwarding_it_owes_nothing_and_is_replayed_when_wanted(
    start, stripe, tables, environ, catch_up, events, nowhere
):
    stripe.happen("charge.failed", ago(minutes=5))
    at = await start(tables(stripe, nowhere), environ)
    await catch_up(at, "stripe", forward=False)
    (event,) = await events(at, "is:recovered")
    assert set(event["deliveries"].values()) == {0}
    _, plan = await at.api("/api/replays", "POST", json={"q": "is:recovered", "dry_run": True})
    assert plan["count"] == 1


async def test_interrupted_half_way_it_goes_on_where_it_was(start, github, tables, environ, catch_up, events):
    guids = [github.deliver("push", PUSH | {"after": str(n)}, ago(minutes=9 - n)) for n in range(4)]
    broken = github.items[1]
    request = broken.pop("request")
    at = await start(tables(github), environ)
    status, answer = await catch_up(at, "github")
    assert (status, answer["error"]["code"]) == (502, "catch_up")
    assert answer["error"]["message"].endswith("; 2 of 4 were recovered before")
    assert [event["idempotency_key"] for event in await events(at)] == guids[:2]
    _, state = await at.api("/api/catch-up/github")
    assert (state["state"], state["recovered"], state["missed"]) == ("failed", 2, 4)
    broken["request"] = request
    _, again = await catch_up(at, "github")
    assert again["summary"] == "found 4, 2 were here, 2 recovered"
    assert [event["idempotency_key"] for event in await events(at)] == guids


async def test_a_list_that_breaks_off_stores_nothing_out_of_order(start, stripe, tables, environ, catch_up, events):
    for n in range(4):
        stripe.happen("charge.failed", ago(minutes=9 - n))
    stripe.page = 2
    stripe.answers = [(200, {}, None), (400, {}, {"error": {"message": "No such event: 'evt_2'"}})]
    first = {"object": "list", "has_more": True, "data": stripe.items[:2]}
    stripe.answers[0] = (200, {}, first)
    at = await start(tables(stripe), environ)
    status, answer = await catch_up(at, "stripe")
    assert status == 502
    assert answer["error"]["message"] == "Stripe answered 400 (No such event: 'evt_2')"
    assert await events(at) == []
    _, again = await catch_up(at, "stripe")
    assert again["recovered"] == 4


async def test_one_of_a_source_at_a_time_and_it_can_be_cancelled(start, github, tables, environ, catch_up):
    github.deliver("push", PUSH, ago(minutes=5))
    github.gate.clear()
    at = await start(tables(github), environ)
    status, begun = await catch_up(at, "github", wait=0)
    assert (status, begun["state"], begun["finished_at"]) == (202, "listing", None)
    status, refused = await catch_up(at, "github")
    assert (status, "under way" in refused["error"]["message"]) == (400, True)
    await until(lambda: github.calls)
    status, ended = await at.api("/api/catch-up/github/cancel", "POST")
    assert (status, ended["state"]) == (200, "cancelled")
    github.gate.set()
    assert (await catch_up(at, "github"))[1]["recovered"] == 1


async def test_one_that_is_cancelled_before_its_first_step_is_over_and_keeps_no_other_from_beginning(
    start, github, tables, environ
):
    at = await start(tables(github), environ)
    jobs, request = at.relay.catch_ups, CatchUpRequest(source="github", since=ago(hours=1))
    progress = jobs.start(request)
    while jobs._jobs["github"].task is None:  # noqa: ASYNC110 - to the very turn of the loop
        await asyncio.sleep(0)
    jobs.cancel("github")
    await until(lambda: progress.over)
    assert progress.state == "cancelled"
    again = jobs.start(request)
    assert not again.over
    await until(lambda: again.over)  # or the provider would wait for its next request when it ends


async def test_a_relay_that_stops_meanwhile_stops(start, github, tables, environ, catch_up):
    # The fixture ends the relay while its catch-up waits for an answer; nothing is left behind.
    github.gate.clear()
    at = await start(tables(github), environ)
    assert (await catch_up(at, "github", wait=0))[0] == 202
    await until(lambda: github.calls)


async def test_it_appears_live(start, github, tables, environ, catch_up):
    github.deliver("push", PUSH, ago(minutes=5))
    at = await start(tables(github), environ)
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(f"{at.dashboard}/api/stream", headers=headers) as stream:
        await catch_up(at, "github")
        async with asyncio.timeout(60):
            while b'"recovered":true' not in await stream.content.readline():
                pass


async def test_exported_and_imported_it_stays_what_it_is(start, stripe, tables, environ, catch_up, events, tmp_path):
    stripe.happen("charge.failed", ago(minutes=5))
    here = await start(tables(stripe), environ)
    await catch_up(here, "stripe")
    _, lines = await here.api("/api/export?raw=1")
    there = await start(tables(stripe), environ, data_dir=str(tmp_path / "other"))
    headers = {"Content-Type": "application/x-ndjson"}
    assert (await there.api("/api/import", "POST", data=lines, headers=headers))[1]["imported"] == 1
    (ours,), (theirs,) = await events(here), await events(there)
    for name in ("recovered", "sent_at", "status", "reason", "verdict"):
        assert theirs[name] == ours[name]
