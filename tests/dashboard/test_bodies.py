"""Bodies as they really come: what is read, what is kept, and what the page and the API say of it."""

import gzip
import json

import pytest

ROUTED = """
[sources.shop]
provider = "custom"
[targets.vip]
email = "vip"
[targets.rest]
email = "vip"
[[routes]]
source = "*"
when = "payload.kind == 'vip'"
to = ["vip"]
[emails.vip]
to = "ann@example.com"
subject = "{{ payload.name }}"
text = "x"
"""
JSON = json.dumps({"kind": "vip", "type": "user.created", "name": "René"}, ensure_ascii=False)
MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="kind"\r\n\r\nvip\r\n'
    b'--B\r\nContent-Disposition: form-data; name="type"\r\n\r\nuser.created\r\n'
    b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\nRen\xc3\xa9\r\n'
    b'--B\r\nContent-Disposition: form-data; name="scan"; filename="a b.png"\r\nContent-Type: image/png\r\n\r\n'
    b"\x89PNG\r\n--B--\r\n"
)
KINDS = {
    "gzip": (gzip.compress(JSON.encode(), mtime=0), {"Content-Type": "application/json", "Content-Encoding": "gzip"}),
    "latin-1": (JSON.encode("latin-1"), {"Content-Type": "application/json; charset=iso-8859-1"}),
    "multipart": (MULTIPART, {"Content-Type": "multipart/form-data; boundary=B"}),
    "form": (
        b"payload=hello&kind=vip&type=user.created&name=Ren%C3%A9",
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "query": (b"", {}),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_is_kept_as_it_came_and_read_everywhere(start, kind):
    at = await start(ROUTED)
    body, headers = KINDS[kind]
    path = "/webhooks/shop" + ("?kind=vip&type=user.created&name=Ren%C3%A9" if kind == "query" else "")
    assert (await at.send(path, body, "GET" if kind == "query" else "POST", headers=headers))[0] == 200
    event = (await at.api("/api/events/1"))[1]
    assert event["type"] == "user.created"
    assert (await at.api("/api/events/1/body"))[1] == body
    assert len((await at.api("/api/events?q=payload.name:ren*"))[1]["events"]) == 1
    routes = (await at.api("/api/events/1/routes"))[1]["routes"]
    assert [route["matched"] for route in routes] == [True]
    preview = (await at.api("/api/events/1/email/preview", "POST", json={"template": "vip"}))[1]
    assert preview["subject"] == "René"


async def test_the_api_gives_a_packed_body_decoded_too(start):
    at = await start()
    for kind in ("gzip", "latin-1", "form"):
        body, headers = KINDS[kind]
        await at.send(data=body, headers=headers)
    await at.send(data=b"x", headers={"Content-Encoding": "exi"})
    found = [(await at.api(f"/api/events/{number}"))[1]["decoded"] for number in (1, 2, 3, 4)]
    assert found == [
        {"encodings": ["gzip"], "problem": "", "text": JSON},
        {"encodings": [], "problem": "", "text": JSON},
        None,
        {"encodings": [], "problem": "its encoding exi cannot be read here", "text": "x"},
    ]


async def page(at, path):
    status, body = await at.api(path)
    assert status == 200
    return body.decode()


async def test_the_page_shows_a_packed_body_unpacked_and_its_bytes_as_they_came(start):
    at = await start()
    body, headers = KINDS["gzip"]
    await at.send("/webhooks/shop", body, headers=headers)
    tree = await page(at, "/events/1")
    assert "René" in tree
    assert f"Unpacked from gzip: {len(JSON.encode())} bytes" in tree
    assert "1f 8b" in await page(at, "/events/1/hex")
    assert "user.created" in await page(at, "/events/1/raw")


async def test_the_page_says_where_unpacking_stopped(start):
    at = await start()
    packed = gzip.compress(b"[" + b" " * 20_000_000 + b"]")
    await at.send(data=packed, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
    shown = await page(at, "/events/1")
    assert "Its gzip unpacks to more than 100 times its size: reading stopped at" in shown


async def test_the_page_lists_the_files_of_a_form(start):
    at = await start()
    body, headers = KINDS["multipart"]
    await at.send(data=body, headers=headers)
    shown = await page(at, "/events/1")
    assert "a b.png (image/png, 4 B)" in shown
    assert "user.created" in shown


async def test_the_page_shows_the_query_of_a_request_without_a_body(start):
    at = await start()
    await at.send("/webhooks/sms?status=delivered&to=%2B49151", b"", "GET")
    shown = await page(at, "/events/1")
    assert "+49151" in shown
    assert '<td class="val">delivered</td>' in shown
