"""While the vault is locked relay captures and answers as usual, sends nothing on, and makes up for it later."""

import asyncio
import hashlib
import hmac
import time

import pytest
from twilio.request_validator import RequestValidator

KEY = "whsec_canary_stripe"
TOML = "[sources.stripe]\nsecret = 'vault:stripe_key'\n"


def to(app, more=""):
    return f"[targets.app]\nforward = '{app.url}'\n{more}"


async def test_what_came_meanwhile_is_checked_in_order_and_sent_on_if_it_verifies(
    start, saved, app, stripe, unlock, events, until
):
    saved(stripe_key=KEY)
    at = await start(TOML + to(app, "order = 'fifo'\n"))
    for key in ("evt_1", "evt_2"):
        assert await stripe(at, key) == (200, {"success": True, "event": int(key[-1]), "outcome": "accepted"})
    assert (await stripe(at, "evt_forged", secret="whsec_other"))[0] == 200
    assert (await stripe(at, "evt_1"))[0] == 200
    assert (await stripe(at, "evt_3"))[0] == 200
    found = await events(at)
    assert {(event["verdict"], event["reason"]) for event in found.values()} == {("unchecked", "vault_locked")}
    assert all(sum(event["deliveries"].values()) == 0 for event in found.values())
    assert app.got == []

    status, told = await unlock(at)
    assert (status, told["state"], told["unchecked"]) == (200, "unlocked", 0)
    checked = told["checked"]
    assert (checked["events"], checked["verified"], checked["rejected"], checked["duplicates"]) == (5, 3, 1, 1)
    found = await events(at)
    verdicts = [(found[id_]["verdict"], found[id_]["outcome"]) for id_ in range(1, 6)]
    assert verdicts == [
        ("verified", "accepted"),
        ("verified", "accepted"),
        ("invalid", "rejected"),
        ("verified", "duplicate"),
        ("verified", "accepted"),
    ]
    assert (found[3]["reason"], found[3]["status"], found[4]["duplicate_of"]) == ("signature_mismatch", 200, 1)
    _, whole = await at.api("/api/events/2")
    assert {check["passed"] for check in whole["checks"]} == {True}
    await until(lambda: len(app.got) == 3)
    assert app.got == ["evt_1", "evt_2", "evt_3"]
    assert (await stripe(at, "evt_forged", secret="whsec_other"))[0] == 401
    assert (await stripe(at, "evt_2"))[1]["outcome"] == "duplicate"
    _, status = await at.api("/api/status")
    assert (status["vault"], status["events"]["rejected"]) == ({"state": "unlocked", "unchecked": 0}, 2)


async def test_an_event_is_judged_by_the_time_at_which_it_came(start, saved, clock, stripe, unlock, events):
    saved(stripe_key=KEY)
    at = await start(TOML, clock=clock)
    await stripe(at, "evt_1")
    await stripe(at, "evt_old", when=time.time() - 3600)
    clock.ahead = 86400.0
    await unlock(at)
    found = await events(at)
    assert (found[1]["verdict"], found[2]["reason"]) == ("verified", "timestamp_stale")


async def test_a_secret_of_the_environment_goes_on_verifying(start, saved, stripe, unlock, events):
    saved(stripe_key=KEY)
    toml = "[sources.stripe]\nsecret = ['vault:stripe_key', 'env:STRIPE_OLD']\n"
    at = await start(toml, environ={"STRIPE_OLD": "whsec_old"})
    await stripe(at, "evt_1", secret="whsec_old")
    await stripe(at, "evt_2")
    found = await events(at)
    assert (found[1]["verdict"], found[2]["reason"]) == ("verified", "vault_locked")
    await unlock(at)
    assert (await events(at))[2]["verdict"] == "verified"


async def test_a_key_that_was_claimed_meanwhile_makes_a_duplicate(start, saved, stripe, unlock, events):
    saved(stripe_key=KEY)
    toml = "[sources.stripe]\nsecret = ['vault:stripe_key', 'env:STRIPE_OLD']\n"
    at = await start(toml, environ={"STRIPE_OLD": "whsec_old"})
    await stripe(at, "evt_1")
    await stripe(at, "evt_1", secret="whsec_old")
    await unlock(at)
    found = await events(at)
    assert (found[1]["outcome"], found[1]["duplicate_of"]) == ("duplicate", 2)
    assert (found[2]["outcome"], found[2]["duplicate_of"]) == ("accepted", None)


async def test_a_forgery_that_came_meanwhile_claims_no_key(start, saved, stripe, unlock, events):
    saved(stripe_key=KEY)
    at = await start(TOML)
    await stripe(at, "evt_1", secret="whsec_other")
    await stripe(at, "evt_1")
    await unlock(at)
    found = await events(at)
    assert (found[1]["outcome"], found[2]["outcome"]) == ("rejected", "accepted")


async def test_a_source_that_delivers_duplicates_does_so_later(start, saved, app, stripe, unlock, events, until):
    saved(stripe_key=KEY)
    at = await start(TOML + "duplicates = 'deliver'\n" + to(app))
    await stripe(at, "evt_1")
    await stripe(at, "evt_1")
    await unlock(at)
    found = await events(at)
    assert (found[2]["outcome"], found[2]["duplicate_of"]) == ("accepted", 1)
    await until(lambda: app.got == ["evt_1", "evt_1"])


async def test_a_source_that_only_reports_gets_its_events_flagged_and_sent(
    start, saved, app, stripe, unlock, events, until
):
    saved(stripe_key=KEY)
    at = await start(TOML + "verify = 'report'\n" + to(app))
    await stripe(at, "evt_1", secret="whsec_other")
    await unlock(at)
    found = await events(at)
    assert (found[1]["verdict"], found[1]["outcome"]) == ("invalid", "accepted")
    await until(lambda: app.got == ["evt_1"])


async def test_what_is_not_listed_is_ignored_only_if_it_verifies(start, saved, stripe, unlock, events):
    saved(stripe_key=KEY)
    at = await start(TOML + "events = ['invoice.*']\n")
    await stripe(at, "evt_1", type_="ping")
    await stripe(at, "evt_2", type_="ping", secret="whsec_other")
    found = await events(at)
    assert {(event["outcome"], event["reason"]) for event in found.values()} == {("ignored", "vault_locked")}
    await unlock(at)
    found = await events(at)
    assert [(found[id_]["outcome"], found[id_]["reason"]) for id_ in (1, 2)] == [
        ("ignored", "event_not_listed"),
        ("rejected", "signature_mismatch"),
    ]


async def test_a_secret_the_vault_lacks_leaves_events_unchecked_and_unsent(start, saved, app, stripe, unlock, events):
    saved(other="x")
    at = await start(TOML + to(app))
    await stripe(at, "evt_1")
    _, told = await unlock(at)
    assert told["missing"] == ["source 'stripe' needs vault secret 'stripe_key'; relay vault set stripe_key"]
    assert told["checked"]["sentence"] == "1 event that came meanwhile was checked: 1 still unchecked."
    found = await events(at)
    assert (found[1]["verdict"], found[1]["reason"]) == ("unchecked", "secret_missing")
    assert sum(found[1]["deliveries"].values()) == 0
    assert (await at.api("/api/vault/secrets/stripe_key", "PUT", json={"value": KEY}))[0] == 200
    assert (await stripe(at, "evt_2"))[0] == 200
    assert (await events(at))[2]["verdict"] == "verified"


async def test_other_sources_and_their_targets_do_not_wait(start, saved, app, stripe, until):
    saved(stripe_key=KEY)
    shop = "[sources.shop]\nprovider = 'stripe'\nsecret = 'env:SHOP'\n"
    at = await start(TOML + shop + to(app), environ={"SHOP": "whsec_shop"})
    await stripe(at, "evt_1")
    await stripe(at, "evt_2", name="shop", secret="whsec_shop")
    await until(lambda: app.got == ["evt_2"])


async def test_hundreds_are_checked_a_batch_at_a_time_and_those_deleted_are_passed_over(
    start, saved, app, stripe, unlock, events, until
):
    saved(stripe_key=KEY)
    at = await start(TOML + to(app, "order = 'fifo'\n"))
    await asyncio.gather(*(stripe(at, f"evt_{number}") for number in range(130)))
    for id_ in (1, 50, 51, 130):
        await at.api(f"/api/events/{id_}", "DELETE")
    _, told = await unlock(at)
    assert told["checked"]["verified"] == 126
    found = await events(at)
    await until(lambda: len(app.got) == 126)
    order = [found[id_]["idempotency_key"] for id_ in sorted(found)]
    assert app.got == order


async def test_what_arrives_while_the_rest_is_checked_is_not_lost_and_keeps_its_place(
    start, saved, app, stripe, unlock, events, until
):
    saved(stripe_key=KEY)
    at = await start(TOML + to(app, "order = 'fifo'\n"))
    for number in range(60):
        await stripe(at, f"evt_{number}")
    opening, *_ = await asyncio.gather(unlock(at), *(stripe(at, f"evt_{number}") for number in range(60, 160)))
    assert opening[0] == 200
    await until(lambda: len(app.got) == 160)
    found = await events(at)
    assert {event["verdict"] for event in found.values()} == {"verified"}
    assert app.got == [found[id_]["idempotency_key"] for id_ in sorted(found)]


async def test_a_relay_that_ended_meanwhile_goes_on_when_it_starts_open(once, saved, app, signed, password, until):
    saved(stripe_key=KEY)
    async with once(TOML + to(app)) as (relay, send):
        await send("/webhooks/stripe", *signed("evt_1"))
        assert relay.notices[0].startswith("the vault is locked. Source stripe cannot check signatures.")
    async with once(TOML + to(app)) as (relay, _):
        assert await relay.store.unchecked.count() == 1
    assert app.got == []
    async with once(TOML + to(app), password) as (relay, _):
        await until(lambda: app.got == ["evt_1"])
        assert await relay.store.unchecked.count() == 0


async def test_locking_it_again_at_runtime_forgets_what_it_held(start, saved, stripe, unlock, events):
    saved(stripe_key=KEY)
    at = await start(TOML)
    await unlock(at)
    await stripe(at, "evt_1")
    status, told = await at.api("/api/vault/lock", "POST")
    assert (status, told["state"], told["waits"]) == (200, "locked", ["Source stripe cannot check signatures."])
    await stripe(at, "evt_2")
    found = await events(at)
    assert (found[1]["verdict"], found[2]["reason"]) == ("verified", "vault_locked")
    await unlock(at)
    assert (await events(at))[2]["verdict"] == "verified"


async def test_a_source_that_is_gone_by_then_sends_nothing_on(once, saved, app, signed, until):
    saved(stripe_key=KEY)
    async with once(TOML + to(app)) as (_, send):
        await send("/webhooks/stripe", *signed("evt_1"))
    async with once(to(app)) as (relay, _):

        async def judged():
            return await relay.store.unchecked.count() == 0

        await until(judged)
        row = await relay.store.events.row(1)
        assert (row.verdict, row.reason) == ("unchecked", "no_source")
        assert await relay.store.deliveries.newest() == 0


async def test_a_handshake_proven_by_a_locked_token_is_refused_and_not_taken_for_a_forgery(
    start, saved, unlock, events
):
    saved(meta_token="let-me-in", meta_key="x" * 32)
    toml = "[sources.meta]\nsecret = 'vault:meta_key'\nverify_token = 'vault:meta_token'\n"
    at = await start(toml)
    path = "/webhooks/meta?hub.mode=subscribe&hub.challenge=1234&hub.verify_token=let-me-in"
    status, _ = await at.send(path, method="GET", data=None)
    assert status == 403
    found = await events(at)
    assert (found[1]["verdict"], found[1]["reason"], found[1]["outcome"]) == ("unchecked", "vault_locked", "rejected")
    _, told = await unlock(at)
    assert told["checked"]["events"] == 0
    assert await at.send(path, method="GET", data=None) == (200, b"1234")


async def test_a_secret_that_a_handshake_offers_counts_for_nothing_while_the_real_one_is_locked(
    start, saved, unlock, events
):
    saved(asana_key="the-real-secret")
    at = await start("[sources.asana]\nsecret = 'vault:asana_key'\n")
    await at.send("/webhooks/asana", headers={"X-Hook-Secret": "chosen-by-a-forger"})
    body = b'{"events": []}'
    mac = hmac.new(b"chosen-by-a-forger", body, hashlib.sha256).hexdigest()
    await at.send("/webhooks/asana", data=body, headers={"X-Hook-Signature": mac})
    assert (await events(at))[2]["reason"] == "vault_locked"
    await unlock(at)
    assert (await events(at))[2]["outcome"] == "rejected"


async def test_a_trigger_says_that_it_cannot_sign(start, saved, unlock):
    saved(stripe_key=KEY)
    at = await start(TOML)
    wanted = {"source": "stripe", "type": "invoice.paid"}
    status, told = await at.api("/api/triggers", "POST", json=wanted)
    assert (status, told["error"]["code"]) == (422, "signing")
    assert "in the vault, which is locked" in told["error"]["message"]
    await unlock(at)
    status, told = await at.api("/api/triggers", "POST", json=wanted)
    assert (status, told["verdict"]) == (201, "verified")


@pytest.mark.parametrize("path", ["routes", "verify"])
async def test_who_asks_why_nothing_was_sent_is_told(start, saved, app, stripe, path):
    saved(stripe_key=KEY)
    at = await start(TOML + to(app))
    await stripe(at, "evt_1")
    if path == "routes":
        _, told = await at.api("/api/events/1/routes")
        assert told["routes"][0]["why"] == "the vault is locked, so the event was not checked yet"
    else:
        _, told = await at.api("/api/events/1/verify", "POST", json={})
        assert told["hints"][0]["title"] == "Not checked: the vault is locked"


@pytest.mark.parametrize(
    ("host", "url", "verdict"),
    [
        ("quick-cat.example", "https://quick-cat.example/webhooks/twilio", "verified"),
        ("evil.example", "http://evil.example/webhooks/twilio", "invalid"),
        ("quick-cat.example", "http://quick-cat.example/webhooks/twilio", "invalid"),
    ],
)
async def test_what_came_meanwhile_is_checked_for_relay_s_addresses_alone(
    start, saved, unlock, events, host, url, verdict
):
    saved(token="12345")
    toml = "[tunnel]\nprovider = 'static'\npublic_url = 'https://quick-cat.example'\n"
    at = await start(toml + "[sources.twilio]\nsecret = 'vault:token'\n", no_tunnel=False)
    signed = RequestValidator("12345").compute_signature(url, {"a": "1"})
    headers = {"Host": host, "X-Twilio-Signature": signed, "Content-Type": "application/x-www-form-urlencoded"}
    assert (await at.send("/webhooks/twilio", b"a=1", headers=headers))[0] == 200
    assert (await unlock(at))[0] == 200
    assert (await events(at))[1]["verdict"] == verdict
