import json
import re

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "div#dialog"}


async def page(at, path, **headers):
    status, body = await at.api(path, headers=headers)
    return status, body.decode()


async def send(at, value, path="/webhooks/shop", **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    await at.send(path, data=body, headers={"Content-Type": "application/json", **headers})


def rows(html):
    """Return path, left and right of every row, with what is marked in brackets."""
    found = []
    for path, left, right in re.findall(
        r'<td class="path">(.*?)</td><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td></tr>', html, re.DOTALL
    ):
        sides = [re.sub(r"</?(?:ins|del)>", "|", side).replace("&#34;", '"') for side in (left, right)]
        found.append((path, *sides))
    return found


async def test_only_what_differs_is_shown_with_the_changed_part_marked(at):
    await send(at, {"amount": 4800, "currency": "eur", "same": 1}, **{"X-Env": "dev"})
    await send(at, {"amount": 125000, "currency": "usd", "same": 1, "coupon": "BF26"})
    status, html = await page(at, "/compare?a=1&b=2")
    shown = {path: sides for path, *sides in rows(html)}
    assert status == 200
    assert shown["x-env"] == ["|dev|", "Not present"]
    assert shown["amount"] == ["|4800|", "|125000|"]
    assert shown["currency"] == ['"|eur|"', '"|usd|"']
    assert shown["coupon"] == ["Not present", '|"BF26"|']
    assert "same" not in shown
    assert f"{len(shown)} differences" in html
    assert re.findall(r'<tr class="grp"><td colspan="3">(\w+)', html) == ["Headers", "Body"]
    assert 'href="/compare?a=2&amp;b=1"' in html
    _, html = await page(at, "/compare?a=1&b=2&all=1")
    shown = {path: sides for path, *sides in rows(html)}
    assert shown["same"] == ["1", "1"]
    assert shown["source"] == ["shop", "shop"]
    assert 'href="/compare?a=2&amp;b=1&amp;all=1"' in html


async def test_an_event_that_got_no_answer_is_compared_too(at):
    await send(at, {"n": 1})
    line = {"relay_export": 1, "received_at": "2026-01-02T03:04:05Z", "source": "shop", "method": "POST"}
    line |= {"path": "/webhooks/shop", "status": 0}
    await at.api("/api/import", "POST", data=json.dumps(line), headers={"Content-Type": "application/x-ndjson"})
    status, html = await page(at, "/compare?a=1&b=2")
    assert status == 200
    assert {path: sides for path, *sides in rows(html)}["status"] == ["|200|", "Not present"]


async def test_what_targets_answered_is_part_of_it(start, unused_tcp_port):
    at = await start(f'[targets.app]\nforward = "http://127.0.0.1:{unused_tcp_port}/"\n')
    await send(at, {"n": 1})
    _, html = await page(at, "/compare?a=1&b=1&all=1")
    assert "Delivery to app" in html


async def test_an_event_beside_itself_differs_in_nothing(at):
    await send(at, {"n": 1})
    _, html = await page(at, "/compare?a=1&b=1")
    assert "They differ only in number and time." in html
    assert "0 differences" in html


async def test_credentials_are_hidden_until_they_are_asked_for(at):
    await send(at, {}, Authorization="Bearer canary-one")
    await send(at, {}, Authorization="Bearer canary-two")
    _, html = await page(at, "/compare?a=1&b=2")
    assert "canary" not in html
    assert "authorization" in html
    _, html = await page(at, "/compare?a=1&b=2&reveal=1")
    assert "canary" in html


async def test_hostile_captures_are_text_on_both_sides(at):
    evil = '<script>alert(1)</script></td>" hx-get=/x'
    await send(at, {evil: evil, "lines": "a\nb"}, **{"X-Evil": evil})
    await send(at, evil.encode())
    _, html = await page(at, "/compare?a=1&b=2&all=1")
    assert "<script>alert" not in html
    assert html.count("<script") == html.count("<script src=")


async def test_a_large_difference_is_cut_and_says_so(at):
    await send(at, {f"k{n}": n for n in range(700)})
    await send(at, {f"k{n}": n + 1 for n in range(700)})
    _, html = await page(at, "/compare?a=1&b=2")
    assert len(rows(html)) == 500
    assert "201 more are not shown." in html
    assert "701 differences" in html


async def test_the_other_one_is_chosen_from_the_latest_of_its_type(at):
    for n in range(3):
        await send(at, {"n": n})
    await send(at, {"n": 9}, "/webhooks/other")
    _, html = await page(at, "/compare?a=2", **PARTIAL)
    assert re.findall(r'class="opt" href="(/compare[^"]+)"', html) == ["/compare?a=2&amp;b=3", "/compare?a=1&amp;b=2"]
    assert html.lstrip().startswith("<dialog")
    _, html = await page(at, "/compare?a=4")
    assert "There is no other event of this type." in html
    assert "<!doctype html>" in html


async def test_what_is_not_there_cannot_be_compared(at):
    await send(at, {})
    for path, status in (("?a=1&b=9", 404), ("?a=9", 404), ("?a=x", 400), ("", 400), ("?a=1&b=-1", 400)):
        assert (await page(at, f"/compare{path}"))[0] == status, path
