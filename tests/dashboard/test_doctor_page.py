"""The Doctor page and its JSON look at what this relay needs, and name what mends it."""

from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook


async def test_everything_is_looked_at_and_what_fails_is_named_with_its_fix(start, refusing_port):
    at = await start(
        f'[sources.stripe]\n[sources.other]\nprovider = "github"\nsecret = "env:NOT_SET_HERE"\n'
        f'[targets.app]\nforward = "http://127.0.0.1:{refusing_port}/hooks"\n'
    )
    _, found = await at.api("/api/doctor")
    states = {one["name"]: one["state"] for one in found["findings"]}
    assert states["target app"] == "failed"
    assert states["source stripe"] == "ok"
    assert states["source other"] == "warning"
    assert {"ports", "tunnel", "data", "retention", "disk", "vault", "clock", "mail"} <= set(states)
    status, page = await at.api("/doctor")
    assert status == 200
    assert b"1 thing does not work" in page
    assert b"start it, or correct its address" in page
    assert b"put NOT_SET_HERE=" in page
    assert b"whsec_" not in page


async def test_a_relay_without_trouble_says_so(start):
    at = await start("[sources.stripe]\n")
    await at.api("/api/triggers", "POST", json={"source": "stripe", "type": "invoice.paid"})
    _, page = await at.api("/doctor")
    assert b"Everything works" in page
    assert b"fits the 1 signatures that verified" in page


async def test_signatures_from_the_future_speak_against_the_clock(start, secrets):
    at = await start("[sources.resend]\n")
    soon = datetime.now(UTC) + timedelta(hours=1)
    signed = Webhook(secrets["RESEND_WEBHOOK_SECRET"]).sign("msg_1", soon, "{}")
    headers = {"svix-id": "msg_1", "svix-timestamp": str(int(soon.timestamp())), "svix-signature": signed}
    assert (await at.send("/webhooks/resend", b"{}", headers=headers))[0] == 401
    _, found = await at.api("/api/doctor")
    (clock,) = (one for one in found["findings"] if one["name"] == "clock")
    assert (clock["state"], "came from the future" in clock["detail"]) == ("warning", True)
