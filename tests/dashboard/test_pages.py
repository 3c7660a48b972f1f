import hashlib
import hmac
import json
import re
import time

import pytest

from relay.services.state import Preferences

STRIPE = "[sources.stripe]\nsecret = 'env:STRIPE_WEBHOOK_SECRET'\n[targets.app]\nforward = 'http://localhost:9/hooks'\n"
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def page(at, path, target=None, **headers):
    """Ask for a page as a browser with the token would."""
    if target is not None:
        headers |= PARTIAL | {"HX-Target": target}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    status, body = await at.api(path, headers=named)
    return status, body.decode() if isinstance(body, bytes) else body


async def send(at, value, path="/webhooks/test", **headers):
    await at.send(path, data=json.dumps(value), headers={"Content-Type": "application/json", **headers})


def ids(html):
    return [int(number) for number in re.findall(r'<li class="row" id="e-(\d+)"', html)]


async def test_the_root_leads_to_the_events(at):
    async with at.session.get(
        at.dashboard + "/", headers={"Authorization": f"Bearer {at.token}"}, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, "/events")


async def test_before_the_first_event_the_page_says_how_to_send_one(at):
    _, html = await page(at, "/events")
    assert "Waiting for the first webhook" in html
    assert f"curl -X POST {at.ingress}/webhooks/test" in html
    assert "STRIPE_WEBHOOK_SECRET=" in html


async def test_a_page_is_strict_about_what_it_loads(at):
    async with at.session.get(at.dashboard + "/events", headers={"Authorization": f"Bearer {at.token}"}) as response:
        html = await response.text()
        assert response.headers["Vary"] == "HX-Request, HX-Request-Type, HX-Target"
        assert response.headers["Cache-Control"] == "no-store"
        assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert not re.search(r"\sstyle=|\son\w+=|hx-on|javascript:|<style|<script>", html)
    scripts = re.findall(r'<script src="([^"]+)"></script>', html)
    assert [path.partition("?")[0] for path in scripts] == [
        "/static/vendor/htmx.min.js",
        "/static/vendor/hx-sse.min.js",
        "/static/vendor/hx-preload.min.js",
    ]
    assert re.findall(r'<script src="([^"?]+)[^"]*" type="module">', html) == ["/static/js/main.js"]
    for path in [*scripts, *re.findall(r'href="(/static[^"]+)"', html)]:
        async with at.session.get(at.dashboard + path, headers={"Authorization": f"Bearer {at.token}"}) as file:
            assert (file.status, "immutable" in file.headers["Cache-Control"]) == (200, True)
    meta = re.search(r"name=\"htmx-config\" content='([^']+)'", html)
    assert json.loads(meta[1])["extensions"] == "sse,preload"


async def test_the_list_shows_the_newest_first_with_its_detail(at):
    for number in range(3):
        await at.send(data=b'{"n": %d}' % number)
    status, html = await page(at, "/events")
    assert (status, ids(html)) == (200, [3, 2, 1])
    assert 'data-event="3"' in html
    assert "3 events" in html


async def test_one_address_answers_whole_or_in_part(at):
    await at.send()
    _, whole = await page(at, "/events/1")
    _, detail = await page(at, "/events/1", "section#detail")
    _, tab = await page(at, "/events/1/headers", "div#tab")
    _, rows = await page(at, "/events?q=", "div#list")
    assert whole.startswith("<!doctype html>")
    assert detail.lstrip().startswith('<header class="dhead"')
    assert tab.lstrip().startswith('<div class="scroll grow">')
    assert 'hx-target="#tabs"' in tab
    assert rows.lstrip().startswith('<div class="listing" id="list"')


async def test_going_back_brings_no_second_set_of_scripts(at):
    _, html = await page(at, "/events", HX_Request="true", HX_Request_Type="full")
    assert "<script" not in html


async def test_a_search_keeps_its_filter_in_every_link(at):
    await at.send("/webhooks/one")
    await at.send("/webhooks/two")
    _, html = await page(at, "/events?q=source:one")
    assert ids(html) == [1]
    assert 'href="/events/1?q=source%3Aone"' in html
    assert "1 matches, " in html
    assert '<input type="hidden" name="q" value="source:one">' in html


async def test_typing_never_redraws_the_box_that_is_typed_in(at):
    await at.send("/webhooks/one")
    typing = {"HX_Source": "form#search", "HX_Current_URL": f"{at.dashboard}/events"}
    _, typed = await page(at, "/events?q=source:one", "div#list", **typing)
    assert "#tools" not in typed
    _, entered = await page(at, "/events?q=source:one&done=1", "div#list", **typing)
    assert 'hx-target="#tools"' in entered
    assert 'class="tok"' in entered


async def test_a_filter_that_cannot_be_read_is_said_and_harms_nothing(at):
    await at.send()
    status, html = await page(at, "/events?q=after:soon")
    assert (status, ids(html)) == (200, [1])
    assert "is not a time" in html
    assert 'class="tok bad"' in html
    await at.send("/webhooks/one")
    for path, target in (
        ("/events?q=source:one+after:soon", None),
        ("/events/rows?q=source:one+after:soon&before=9", "li#foot"),
    ):
        _, html = await page(at, path, target)
        assert ids(html) == [2]
    _, html = await page(at, "/events?q=foo:bar")
    assert "is not a filter, searched as text" in html
    assert "Nothing matches" in html


async def test_pages_follow_each_other_without_a_gap(at):
    for _ in range(60):
        await at.send()
    _, first = await page(at, "/events")
    next_ = re.search(r'id="foot" hx-get="([^"]+)"', first)[1].replace("&amp;", "&")
    _, rest = await page(at, next_, "li#foot")
    assert ids(first) + ids(rest) == list(range(60, 0, -1))
    assert "That is all" in rest


async def test_a_page_holds_three_hundred_rows_at_most(at):
    for _ in range(52):
        await at.send()
    _, html = await page(at, "/events/rows?q=&before=53&shown=250", "li#foot")
    assert len(ids(html)) == 50
    assert "Showing 300. Narrow the search, or go to a time" in html
    assert 'href="/events?before=3"' in html


async def test_a_list_has_one_tab_stop_however_its_rows_came(at):
    for _ in range(3):
        await at.send()
    stops = re.compile(r'href="/events/(\d+)"[^>]*tabindex="0"')
    for path, expected in (
        ("/events", ["3"]),
        ("/events/2", ["2"]),
        ("/events/rows?before=3&shown=0", ["2"]),  # a search that had found nothing goes on
        ("/events/rows?before=3&shown=1&last=1790000000", []),
        ("/events/rows?after=1", []),
    ):
        _, html = await page(at, path)
        assert stops.findall(html) == expected, path


@pytest.mark.parametrize("last", ["%C2%B2", "99999999999999999", "-1", "x"])
async def test_rows_below_a_time_that_cannot_be_are_shown_without_it(at, last):
    await at.send()
    status, html = await page(at, f"/events/rows?before=2&shown=1&last={last}")
    assert (status, ids(html)) == (200, [1])


async def test_new_rows_are_pulled_after_the_newest_known(at):
    for _ in range(3):
        await at.send()
    _, html = await page(at, "/events/rows?q=&after=1", "ol#rows")
    assert ids(html) == [3, 2]
    assert 'hx-target="#rows" hx-swap="afterbegin"' in html
    assert "3 events" in html
    status, _ = await page(at, "/events/rows?q=&after=3", "ol#rows")
    assert status == 204


async def test_a_crowd_of_new_rows_draws_the_list_again(at):
    for _ in range(55):
        await at.send()
    _, html = await page(at, "/events/rows?q=&after=2", "ol#rows")
    assert 'hx-target="#list" hx-swap="outerHTML"' in html
    assert ids(html) == list(range(55, 5, -1))


@pytest.fixture
def new_york(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "moment", "found"),
    [
        ("local", "2026-01-31T12:00", "2026-01-31T12%3A00-05%3A00"),
        ("utc", "2026-01-31T12:00", "2026-01-31T12%3A00%2B00%3A00"),
        ("local", "9999-12-31T23:59", ""),  # no such time in UTC
    ],
)
async def test_going_to_a_time_becomes_a_filter_in_the_zone_of_the_page(at, new_york, zone, moment, found):
    at.relay.state.preferences = Preferences(zone=zone)
    async with at.session.get(
        f"{at.dashboard}/events?q=source:test&at={moment}",
        headers={"Authorization": f"Bearer {at.token}"},
        allow_redirects=False,
    ) as response:
        assert response.status == 303
        assert f"/events?q=source%3Atest%20before%3A{found}" in response.headers["Location"]


async def test_credentials_in_headers_are_not_part_of_the_page_until_asked_for(at):
    await at.send(headers={"Authorization": "Bearer canary", "X-Plain": "seen"})
    _, html = await page(at, "/events/1/headers")
    assert "seen" in html
    assert "canary" not in html
    link = re.search(r'href="(/events/1/headers\?reveal=\d+)"', html)[1]
    _, html = await page(at, link)
    assert "Bearer canary" in html


async def test_captured_data_is_text_everywhere(at):
    evil = "<img src=x onerror=alert(1)> </textarea><script>alert(1)</script> {{ 7*7 }} \"' hx-get=/x"
    await send(at, {evil: [evil], "deep": {"x": evil}}, "/webhooks/test?a=%3Cscript%3E", **{"X-Evil": evil})
    for path in ("", "/raw", "/hex", "/headers", "/verification", "/routing", "/deliveries", "/replay", "/email"):
        status, html = await page(at, f"/events/1{path}")
        assert status == 200, path
        assert "<script>alert" not in html, path
        assert "<img src=x" not in html, path
    _, html = await page(at, "/events/1")
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


async def test_a_body_is_only_ever_a_download(at):
    await at.send(data=b"<script>alert(1)</script>", headers={"Content-Type": "text/html"})
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.get(at.dashboard + "/events/1/body?inline=1", headers=headers) as response:
        assert await response.read() == b"<script>alert(1)</script>"
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        (b'{"a": {"b": 1}}', "application/json", 'data-path="a.b"'),
        (b'{"a": ', "application/json", "Not valid JSON: line 1"),
        (b"[" + b"1," * 300_000 + b"1]", "application/json", "Not read as JSON: more than 300,000 values"),
        (b"a=1&b=two+words", "application/x-www-form-urlencoded", "two words"),
        (b"payload=%7B%22x%22%3A1%7D", "application/x-www-form-urlencoded", "payload"),
        (b"\x89PNG\r\n\x1a\n\0", "application/octet-stream", "89 50 4e 47"),
        (b"\x89PNG\r\n\x1a\n\0", "image/png", "/events/1/body?inline=1"),
        (b"<order/>", "text/xml", "&lt;order/&gt;"),
        (b"", "text/plain", "The request had no body."),
    ],
)
async def test_every_body_opens_in_the_view_that_suits_it(at, body, kind, shown):
    await at.send(data=body, headers={"Content-Type": kind})
    _, html = await page(at, "/events/1")
    assert shown in html


async def test_a_folded_node_is_loaded_when_it_is_opened(at):
    await send(at, {"items": list(range(250))})
    _, html = await page(at, "/events/1")
    more = re.findall(r'data-more="([^"]+)"', html)
    _, nodes = await page(at, more[-1].replace("&amp;", "&"), "div")
    assert 'data-path="items[200]"' in nodes
    assert nodes.count('class="ln ') == 50


async def test_finding_steps_from_hit_to_hit(at):
    await send(at, {"first": "needle", "more": [{"x": "a Needle"}]})
    _, html = await page(at, "/events/1/find?find=needle", "div#payload")
    assert "1 of 2" in html
    assert re.search(r'class="ln d0 hit on" data-path="first"', html)
    _, html = await page(at, "/events/1/find?find=needle&was=needle&at=0", "div#payload")
    assert "2 of 2" in html
    assert re.search(r' on" data-path="more\[0\].x"', html)


async def test_an_event_that_is_gone_says_so(at):
    await at.send()
    status, html = await page(at, "/events/812")
    assert status == 404
    assert "There is no event 812" in html


async def test_why_a_signature_failed_is_told_in_steps(start):
    at = await start(STRIPE)
    await at.send("/webhooks/stripe", data=b"{}", headers={"Stripe-Signature": "t=1,v1=00"})
    _, html = await page(at, "/events/1/verification")
    assert "What was checked" in html
    assert 'class="verdict err"' in html
    assert 'title="relay"><svg class="glyph open"' in html
    assert "Forward it anyway" in html
    assert SECRET not in html


async def test_a_signature_by_another_secret_names_it_and_the_line_that_mends_it(start):
    at = await start(STRIPE)
    moment, body = str(int(time.time())), b'{"type": "invoice.paid"}'
    other = hmac.new(b"12345", f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    await at.send("/webhooks/stripe", data=body, headers={"Stripe-Signature": f"t={moment},v1={other}"})
    _, html = await page(at, "/events/1/verification")
    assert "Signed with a different secret" in html
    assert "env:TWILIO_AUTH_TOKEN" in html
    assert other in html
    assert "Also tried" in html
    assert SECRET not in html
    assert ">12345<" not in html


SECRET = "whsec_test_stripe_secret"


async def test_no_page_holds_a_secret(start):
    at = await start(STRIPE)
    for path in ("/sources", "/sources/stripe", "/targets", "/trigger", "/settings", "/doctor", "/stats", "/messages"):
        status, html = await page(at, path)
        assert status == 200, path
        assert SECRET not in html, path
    _, html = await page(at, "/sources/stripe")
    assert "env:STRIPE_WEBHOOK_SECRET" in html


async def test_a_target_says_when_it_tries_again_and_which_events_come(start):
    once = "retry = { attempts = 1 }\n[[routes]]\nsource = 'stripe'\nwhen = 'payload.amount > 1000'\nto = 'app'\n"
    _, html = await page(await start(STRIPE + once), "/targets")
    assert "1, no retries" in html
    assert "stripe, when payload.amount &gt; 1000" in html


async def test_a_target_has_a_page_of_its_own_to_which_the_list_leads(start):
    at = await start(
        STRIPE.replace("hooks'", "hooks'\ntimeout = '7s'") + "[targets.other]\nforward = 'http://localhost:8/'\n"
    )
    _, html = await page(at, "/targets")
    assert 'href="/targets/app"' in html
    status, html = await page(at, "/targets/app")
    assert (status, "http://localhost:9/hooks" in html, "7 s" in html, "http://localhost:8/" in html) == (
        200,
        True,
        True,
        False,
    )
    assert (await page(at, "/targets/gone"))[0] == 404


@pytest.mark.parametrize("name", ["drop", "try"])
async def test_a_target_of_any_name_has_its_page(start, name):
    at = await start(f"[targets.{name}]\nforward = 'http://localhost:9/'\n")
    status, html = await page(at, f"/targets/{name}")
    assert (status, "http://localhost:9/" in html) == (200, True)


async def test_a_source_says_how_to_set_its_provider_up(start):
    _, html = await page(await start(STRIPE), "/sources/stripe")
    assert "set STRIPE_WEBHOOK_SECRET to it." in html
    assert "{secret}" not in html


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/deliveries?state=failed&target=app", "No dead letters."),
        ("/trigger?source=github", "relay makes one for this run with the first sample, and shows it here."),
    ],
)
async def test_a_page_says_what_it_shows_later(start, path, sentence):
    at = await start("[sources.github]\n", environ={})
    status, html = await page(at, path)
    assert (status, sentence in html) == (200, True)


@pytest.mark.parametrize("path", ["/sources/none", "/deliveries/9", "/messages/9", "/events/1/replay"])
async def test_what_is_not_there_is_a_page_with_a_sentence(at, path):
    status, html = await page(at, path)
    assert status == 404
    assert "That did not work" in html
    assert "<!doctype html>" in html


async def test_an_event_can_be_pinned_noted_and_deleted(at):
    await at.send()
    for path, form in (("pin", {"pinned": "1"}), ("note", {"note": "look <b>here</b>"})):
        await at.api(f"/events/1/{path}", "POST", data=form)
    _, html = await page(at, "/events/1")
    assert "Unpin" in html
    assert "look &lt;b&gt;here&lt;/b&gt;" in html
    await at.api("/events/1/delete", "POST", headers=PARTIAL | {"HX-Target": "section#detail"})
    status, _ = await page(at, "/events/1")
    assert status == 404


async def test_a_form_from_elsewhere_changes_nothing(at):
    await at.send()
    cookies = {f"relay-{at.dashboard.rpartition(':')[2]}": at.token}
    async with at.session.post(
        at.dashboard + "/events/1/delete", cookies=cookies, headers={"Sec-Fetch-Site": "cross-site"}
    ) as response:
        assert response.status == 403
    async with at.session.post(at.dashboard + "/events/1/delete", cookies=cookies) as response:
        assert response.status == 403
    assert (await at.api("/api/events/1"))[0] == 200


async def test_an_event_as_a_command_leaves_credentials_out(at):
    await at.send(data=b"it's", headers={"Authorization": "Bearer canary", "X-A": "b"})
    _, command = await page(at, "/events/1/curl")
    assert command.startswith(f"""printf %s 'it'"'"'s' | curl -sS {at.ingress}/webhooks/test """)
    assert "-X POST" in command
    assert "canary" not in command
    assert "-H 'X-A: b'" in command
    at.relay.ingress_url = "http://[::1]:8400"  # in brackets, which zsh takes for a pattern
    assert "curl -sS 'http://[::1]:8400'/webhooks/test " in (await page(at, "/events/1/curl"))[1]


async def test_an_events_page_stays_light(at):
    body = {"data": {"object": {f"field_{number}": number for number in range(40)}}}
    for _ in range(50):
        await send(at, body)
    _, html = await page(at, "/events")
    rows = re.findall(r'<li class="row".*?</li>', html, re.DOTALL)
    assert len(rows) == 50
    assert max(map(len, rows)) <= 900
    assert len(html.encode()) <= 90_000


async def test_a_source_without_a_list_of_its_events_has_no_catch_up(start):
    at = await start("[sources.plain]\nprovider = 'custom'\n")
    status, html = await page(at, "/sources/plain/catch-up", "div#catch-up")
    assert (status, "does not list its events" in html) == (404, True)


async def test_a_delivery_that_is_closed_stays_on_its_page(start):
    at = await start(STRIPE)
    await send(at, {}, "/webhooks/stripe")
    await at.api("/api/triggers", "POST", json={"source": "stripe", "type": "invoice.paid"})
    _, html = await page(at, "/deliveries/1")
    assert 'hx-get="/deliveries/1?closed=1&amp;before=2"' in html
    _, row = await page(at, "/deliveries/1?closed=1&before=2", "tbody#row-1")
    assert 'href="/deliveries/1?before=2"' in row


async def test_a_replay_goes_where_its_event_went_unless_it_is_told(start):
    targets = "".join(f"[targets.{name}]\nforward = 'http://localhost:9/{name}'\n" for name in "abc")
    at = await start(f"[sources.test]\nprovider = 'custom'\n{targets}[[routes]]\nevents = ['x']\nto = ['b', 'c']\n")
    for kind, chosen in (("x", ["b", "c"]), ("y", ["a"])):
        await send(at, {"type": kind})
        number = len(ids((await page(at, "/events"))[1]))
        _, dialog = await page(at, f"/events/{number}/replay")
        assert re.findall(r'name="target"\s+value="(\w)"\s+checked', dialog) == chosen
        _, detail = await page(at, f"/events/{number}")
        at_once = detail.partition(f'<form hidden hx-post="/events/{number}/replay"')[2].partition("</form>")[0]
        assert re.findall(r'name="target" value="(\w)"', at_once) == chosen


@pytest.mark.parametrize(
    ("fields", "made", "words"),
    [
        ({"target": "app", "url": "ftp://x"}, 0, "a target must be http:// or https://"),
        ([("target", "app"), ("target", "gone")], 1, "(sent to app already)"),
    ],
)
async def test_a_replay_that_is_refused_says_what_was_sent(start, fields, made, words):
    at = await start(STRIPE)
    await at.send()
    status, text = await at.api("/events/1/replay", "POST", data=fields, headers=PARTIAL | {"HX-Target": "form"})
    assert (status, words in text.decode()) == (200 if made else 422, True)
    assert len(await at.relay.store.deliveries.page()) == 1 + made  # the event went to the app when it came
