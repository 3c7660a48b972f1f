import re

from cases import check_each

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}
TOML = "[sources.stripe]\nsecret = 'env:STRIPE_WEBHOOK_SECRET'\n[targets.app]\nforward = 'http://localhost:9/'\n"


async def found(at, text, **more):
    headers = PARTIAL | {"HX-Target": "div#found"} | more
    status, html = await at.api("/find", headers=headers, params={"find": text})
    assert status == 200
    return re.findall(r'class="opt" href="([^"]+)"', html.decode())


async def test_pages_and_actions_are_found_by_any_words_of_their_names(start):
    at = await start(TOML)
    assert (await found(at, "deliv"))[:2] == ["/deliveries", "/deliveries?state=failed"]
    assert (await found(at, "letters dead"))[0] == "/deliveries?state=failed"
    assert (await found(at, "replay FAILED"))[0] == "/replays?q=has%3Afailed"
    assert "/sources/stripe" in await found(at, "source stripe")
    assert "/deliveries?target=app" in await found(at, "app")
    where = "/trigger?source=stripe&amp;type=invoice.paid"
    assert where in await found(at, "trigger invoice.paid")
    assert "/events" in await found(at, "")


async def test_a_number_finds_the_event_and_what_can_be_done_with_it(at):
    await at.send()
    for text in ("1", "#1"):
        hits = await found(at, text)
        assert hits[:2] == ["/events/1", "/events/1/replay"]
        assert "/compare?a=1" in hits
    assert await found(at, "99") == ["/events?q=99"]


async def test_the_event_that_is_open_can_be_acted_on(at):
    await at.send()
    open_ = {"HX-Current-URL": f"{at.dashboard}/events/1/headers?q=x"}
    assert "/events/1/replay" in await found(at, "replay event", **open_)
    assert "/events/1/replay" not in await found(at, "replay event")


async def test_enter_leads_to_the_first(at):
    await at.send()
    headers = {"Authorization": f"Bearer {at.token}"}
    for text, where in (("1", "/events/1"), ("metrics", "/stats"), ("no such thing", "/events?q=no%20such%20thing")):
        async with at.session.get(
            at.dashboard + "/find", params={"find": text, "go": "1"}, headers=headers, allow_redirects=False
        ) as response:
            assert (response.status, response.headers["Location"]) == (303, where)


@check_each("text", ["<script>alert(1)</script>", "\x00\n", "9" * 40, "x" * 3000, "٣"])
async def test_rubbish_is_searched_for_and_harms_nothing(at, text):
    await found(at, text)
    status, html = await at.api("/find", params={"find": text, "event": text})
    assert status == 200
    assert b"<script>alert" not in html


async def test_without_script_it_is_a_page(at):
    status, html = await at.api("/find")
    assert status == 200
    assert b"<!doctype html>" in html
    assert b'href="/deliveries"' in html
