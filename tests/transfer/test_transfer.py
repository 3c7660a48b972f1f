"""What leaves as a file comes back as it was; what is no such file is told line by line."""

import ast
import asyncio
import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from relay.cli.program import run
from relay.cli.transfer import read_lines
from relay.delivery.retention import Retention
from relay.errors import UsageError
from relay.model.parsing import MAX_VALUES
from relay.model.retention import RetentionLimits
from relay.pipeline.bus import Bus
from relay.platform import SystemClock
from relay.transfer.records import parse_record, read_records

BINARY = bytes(range(256))


async def imported(at, content):
    return await at.api("/api/import", "POST", data=content, headers={"Content-Type": "application/x-ndjson"})


async def filled(at):
    await at.send("/webhooks/test/below?a=1&token=hush&b=%20", b'{"type": "a.b", "n": 1}', headers={
        "Content-Type": "application/json", "Authorization": "Bearer hush", "X-Dup": "1", "x-dup": "2",
    })  # fmt: skip
    await at.send("/webhooks/raw", BINARY, headers={"X-Odd": "caf\u00e9"})
    await at.send("/webhooks/quote", b"it's $HOME `id` \\n %s\n")
    await at.send("/webhooks/empty", b"", method="DELETE")
    await at.api("/api/events/2", "PATCH", json={"pinned": True, "note": "keep"})


async def wholes(at, count=4):
    shapes = [(await at.api(f"/api/events/{id_}"))[1] for id_ in range(1, count + 1)]
    return [shape for shape in shapes if "error" not in shape]


def lasting(shape):
    return {name: value for name, value in shape.items() if name not in ("checks", "delivery_ids", "hints")}


async def test_an_export_comes_back_byte_for_byte_in_another_store(start, tmp_path):
    here = await start()
    await filled(here)
    _, lines = await here.api("/api/export?raw=1")
    assert lines.count(b"\n") == 4
    there = await start(data_dir=str(tmp_path / "other"))
    assert await imported(there, lines) == (
        200,
        {"imported": 4, "known": 0, "refused": 0, "old": 0, "problems": [], "retention": []},
    )
    ours, theirs = await wholes(here), await wholes(there)
    assert [lasting(shape) for shape in theirs] == [lasting(shape) for shape in ours]
    assert theirs[1]["checks"][0]["name"] == "Imported"
    assert (await there.api("/api/events/2/body"))[1] == BINARY


async def test_a_file_imported_twice_or_where_it_came_from_brings_nothing_twice(start, tmp_path):
    here = await start()
    await filled(here)
    _, lines = await here.api("/api/export?raw=1")
    assert (await imported(here, lines))[1]["known"] == 4
    there = await start(data_dir=str(tmp_path / "other"))
    await imported(there, lines)
    assert (await imported(there, lines))[1] == {
        "imported": 0,
        "known": 4,
        "refused": 0,
        "old": 0,
        "problems": [],
        "retention": [],
    }
    await there.api("/api/events/1", "DELETE")
    assert (await imported(there, lines))[1]["imported"] == 1


async def test_an_imported_event_owes_nothing_and_claims_no_key(start, tmp_path):
    here = await start()
    await here.api("/api/triggers", "POST", json={"source": "stripe", "type": "invoice.paid"})
    _, lines = await here.api("/api/export?raw=1")
    event = json.loads(lines)
    there = await start(
        '[sources.stripe]\n[targets.app]\nforward = "http://127.0.0.1:9/hooks"\n', data_dir=str(tmp_path / "two")
    )
    await imported(there, lines)
    assert (await there.api("/api/deliveries"))[1]["deliveries"] == []
    body, headers = event["body"]["text"].encode(), dict(event["headers"])
    status, answer = await there.send("/webhooks/stripe", body, headers=headers)
    assert (status, json.loads(answer)["outcome"]) == (200, "accepted")


async def test_credentials_stay_behind_unless_they_are_asked_for(start):
    at = await start()
    await filled(at)
    for kind in ("jsonl", "har", "curl", "http", "pytest"):
        _, plain = await at.api(f"/api/export?as={kind}&q=source:test")
        plain = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
        assert b"hush" not in plain, kind
        assert b"[redacted]" in plain, kind
    assert (await at.api("/api/export?raw=1&q=source:test"))[1].count(b"hush") == 3


async def test_a_curl_script_sends_the_same_bytes_again(start, tmp_path, require_program):
    require_program("curl")
    at = await start()
    await filled(at)
    _, script = await at.api("/api/export?as=curl&raw=1")
    path = tmp_path / "again.sh"
    path.write_bytes(script)
    process = await asyncio.create_subprocess_exec("sh", path, env={"TARGET": at.ingress, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE)  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    shapes = await wholes(at, 8)
    for before, after in zip(shapes[:4], shapes[4:], strict=True):
        assert {key: after[key] for key in ("method", "path", "query", "sha256", "content_type")} == {
            key: before[key] for key in ("method", "path", "query", "sha256", "content_type")
        }


async def test_a_curl_script_sends_nothing_of_its_own_and_leaves_nothing_out(start, tmp_path, require_program):
    require_program("curl")
    at = await start()
    odd = "/webhooks/odd/a[1-3]/{x,y}/../z?ids[]=1&q=%20#".removesuffix("#")
    async with at.session.post(
        URL(at.ingress + odd, encoded=True), data=b"{}", skip_auto_headers=["User-Agent", "Accept", "Content-Type"],
        headers={"X-Empty": "", "X-Byte": "caf\xe9", "x-byte": "'\\"},
    ) as response:  # fmt: skip
        assert response.status == 200
    await at.send("/webhooks/head", b"", "HEAD")
    await at.send("/webhooks/get?a=1", b"", "GET")
    await at.send("/webhooks/empty", b"", "POST")
    _, script = await at.api("/api/export?as=curl&raw=1")
    assert f'TARGET="${{TARGET:-{at.ingress}}}"'.encode() in script
    (tmp_path / "again.sh").write_bytes(script)
    process = await asyncio.create_subprocess_exec(
        "sh", tmp_path / "again.sh", env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    shapes = await wholes(at, 8)
    assert len(shapes) == 8
    for before, after in zip(shapes[:4], shapes[4:], strict=True):
        for key in ("method", "path", "query", "sha256"):
            assert after[key] == before[key]
        assert sorted(comparable(after)) == sorted(comparable(before))


async def test_a_curl_script_keeps_what_curl_would_change_in_an_address(start, tmp_path, require_program):
    require_program("curl")
    at = await start()
    targets = ("/webhooks/odd/caf\xe9?n=\xc3\xa9", "/webhooks/odd/#a?b=#c", "/webhooks/odd/a b?c d")
    for target in targets:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(at.ingress).port)
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1"
        writer.write(head.encode("latin-1"))
        assert b" 200 " in await reader.read()
        writer.close()
    (tmp_path / "again.sh").write_bytes((await at.api("/api/export?as=curl&raw=1"))[1])
    process = await asyncio.create_subprocess_exec(
        "sh", tmp_path / "again.sh", env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    shapes = await wholes(at, 6)
    assert [(shape["path"], shape["query"]) for shape in shapes[3:]] == [
        (shape["path"], shape["query"]) for shape in shapes[:3]
    ]


def comparable(shape):
    framing = ("host", "accept-encoding", "connection")
    return [(name, value) for name, value in shape["headers"] if name.lower() not in framing]


async def test_an_http_file_leaves_nothing_to_the_editor(start):
    at = await start()
    for body in (
        b"{{user}}",
        b"a\n### b",
        b"< ./etc/passwd",
        b"x\n> {% %}",
        b"x\n<> a.json",
        b"x\n# b",
        b"// a",
        b"a\r\nb",
    ):
        await at.send("/webhooks/editor/%7B%7Bx%7D%7D", body, headers={"X-Empty": ""})
    _, text = await at.api("/api/export?as=http&raw=1")
    assert text.startswith(f"@target = {at.ingress}\n".encode())
    assert [f"< ./event-{number}.bin".encode() in text for number in range(1, 9)] == [True] * 8
    assert text.count(b"an editor would read more into the body") == 8
    assert text.count(b"X-Empty: \n") == 8


async def test_an_http_file_keeps_the_address_as_it_was(start):
    at = await start()
    for target in ("/webhooks/editor/{x}?q={1}", "/webhooks/editor/{{x}}"):
        async with at.session.post(URL(at.ingress + target, encoded=True), data=b"1") as response:
            assert response.status == 200
    _, text = await at.api("/api/export?as=http&raw=1")
    assert b"POST {{target}}/webhooks/editor/{x}?q={1} HTTP/1.1\n" in text
    assert b"POST {{target}}/webhooks/editor/%7B%7Bx}} HTTP/1.1\n" in text


async def test_a_pytest_module_runs_against_an_app(start, tmp_path):
    at = await start()
    await filled(at)
    _, module = await at.api("/api/export?as=pytest&raw=1")
    ast.parse(module)
    path = tmp_path / "test_captured.py"
    path.write_bytes(module)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path, cwd=tmp_path,
        env={"TARGET_URL": at.ingress, "PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    assert b"4 passed" in out
    assert (await wholes(at, 8))[5]["sha256"] == (await wholes(at, 8))[1]["sha256"]


async def test_a_har_file_holds_every_request_and_is_read_back(start, tmp_path):
    at = await start()
    await filled(at)
    _, har = await at.api("/api/export?as=har&raw=1")
    log = har["log"]
    assert (log["version"], log["creator"]["name"], len(log["entries"])) == ("1.2", "relay", 4)
    assert base64.b64decode(log["entries"][1]["request"]["postData"]["text"]) == BINARY
    there = await start(data_dir=str(tmp_path / "other"))
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in read_records(json.dumps(har).encode()))
    assert (await imported(there, lines))[1]["imported"] == 4
    assert (await there.api("/api/events/2/body"))[1] == BINARY
    assert [shape["source"] for shape in await wholes(there)] == ["test", "raw", "quote", "empty"]


async def test_a_har_file_that_relay_wrote_is_known_where_it_came_from_and_where_it_was_imported(start, tmp_path):
    at = await start('[sources.shop]\nprovider = "custom"\npath = "/webhooks/orders"\n')
    await filled(at)
    await at.send("/webhooks/orders", b"{}")
    there = await start(data_dir=str(tmp_path / "other"))
    for written in ("raw=1", "raw=0"):  # redacted, it is another request under the same number
        _, har = await at.api(f"/api/export?as=har&{written}")
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in read_records(json.dumps(har).encode()))
        _, here = await imported(at, lines)
        assert (here["imported"], here["known"]) == (0, 5)
        first, again = [(await imported(there, lines))[1] for _ in range(2)]
        assert (first["imported"], again["imported"], again["known"]) == (5 if written == "raw=1" else 0, 0, 5)
    assert (await wholes(there, 5))[4]["source"] == "shop"


async def test_an_http_file_names_the_body_that_is_no_text(start):
    at = await start()
    await filled(at)
    _, text = await at.api("/api/export?as=http")
    assert b"POST {{target}}/webhooks/test/below?a=1&token=[redacted]&b=%20 HTTP/1.1\n" in text
    assert b"relay show 2 --body > event-2.bin" in text


GOOD = {"relay_export": 1, "received_at": "2026-01-02T03:04:05Z", "source": "a", "method": "POST", "path": "/x"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"not json", "not JSON"),
        (b"[]", "the line: input should be an object"),
        (json.dumps(GOOD | {"body": 5}).encode(), "body: input should be an object"),
        (b"[" * 100_000, "not JSON: nested too deeply"),
        (json.dumps(GOOD | {"relay_export": 2}).encode(), "relay_export: input should be 1"),
        (json.dumps(GOOD | {"method": "GET\r\nX: y"}).encode(), "method: string should match"),
        (json.dumps(GOOD | {"path": "/\u20ac"}).encode(), "path: string should match"),
        (json.dumps(GOOD | {"headers": [["A", "b\nc"]]}).encode(), "headers.0.1: string should match"),
        (json.dumps(GOOD | {"received_at": "yesterday"}).encode(), "received_at: input should be"),
        (json.dumps(GOOD | {"received_at": "2026-01-02T03:04:05"}).encode(), "received_at: input should have timezone"),
        (json.dumps(GOOD | {"verdict": "trusted"}).encode(), "verdict: input should be"),
        (json.dumps(GOOD | {"body": {"encoding": "base64", "text": "%"}}).encode(), "the body cannot be read"),
        (json.dumps(GOOD | {"body": {"text": "\ud800"}}).encode(), "the body cannot be read"),
    ],
)  # fmt: skip
async def test_a_line_that_cannot_be_read_is_told_and_holds_up_nothing(at, line, said):
    content = json.dumps(GOOD).encode() + b"\n" + line + b"\n\n" + json.dumps(GOOD | {"path": "/y"}).encode()
    status, answer = await imported(at, content)
    assert (status, answer["imported"], answer["refused"]) == (200, 2, 1)
    assert answer["problems"][0]["line"] == 2
    assert answer["problems"][0]["problem"].startswith(said)


@given(st.binary(max_size=300))
def test_no_line_makes_reading_stumble(line):
    try:
        parse_record(line)
    except UsageError as error:
        assert error.message


KEYS = ["log", "entries", "request", "method", "url", "headers", "postData", "startedDateTime"]
PLAIN = st.none() | st.booleans() | st.floats() | st.text()
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner))


@given(NESTED)
def test_no_har_makes_reading_stumble(value):
    try:
        for record in read_records(json.dumps({"log": {"entries": [value, GOOD]}}).encode()):
            parse_record(json.dumps(record).encode())
    except UsageError as error:
        assert error.message


def test_a_har_of_any_number_of_values_is_read():
    entry = {"startedDateTime": "2026-01-02T03:04:05Z", "request": {"method": "PUT", "url": "http://localhost/x"}}
    [record] = read_records(json.dumps({"log": {"entries": [entry], "pages": [1] * MAX_VALUES}}).encode())
    assert (record["method"], record["path"]) == ("PUT", "/x")


@pytest.mark.parametrize(
    ("url", "post", "source", "body"),
    [
        ("/webhooks/a%20b/c", None, "a b", b""),
        ("/webhooks/日本", {"mimeType": "text/plain", "text": None}, "日本", b""),
        ("/webhooks/a%2Fb", {"text": "x", "encoding": ""}, "imported", b"x"),
        ("/webhooks/", {"text": "AP8=", "encoding": "base64"}, "imported", b"\0\xff"),
        (
            "/webhooks/a",
            {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a", "value": "b ü"}, {"name": "c"}]},
            "a",
            b"a=b+%C3%BC&c=",
        ),
    ],
)
def test_a_har_of_another_program_is_read(tmp_path, url, post, source, body):
    request = {"method": "POST", "url": f"http://x.example{url}", "headers": [], "postData": post}
    value = {"log": {"entries": [{"startedDateTime": "2026-01-02T03:04:05Z", "request": request}]}}
    path = tmp_path / "a.har"
    path.write_text(json.dumps(value), encoding="utf-8-sig")  # as Fiddler writes it
    with path.open("rb") as file:
        [line] = read_lines(file)
    capture = parse_record(line).event.capture
    assert (capture.source, capture.body) == (source, body)


def test_an_entry_of_a_har_that_cannot_be_read_is_told_with_why():
    with pytest.raises(UsageError, match="entry 1 of the HAR file: request: field required"):
        list(read_records(b'{"log": {"entries": [{"startedDateTime": "2026-01-02T03:04:05Z"}]}}'))


async def test_an_unknown_format_is_named(at):
    status, answer = await at.api("/api/export?as=xml")
    assert status == 400
    assert "jsonl, har, curl, http, pytest" in answer["error"]["hint"]


async def test_import_needs_the_token_and_no_other_site_reaches_it(at):
    async with at.session.post(at.dashboard + "/api/import", data=b"{}") as response:
        assert response.status == 401
    status, _ = await at.api("/api/import", "POST", data=b"{}", headers={"Origin": "http://evil.example"})
    assert status == 403


def test_the_commands_write_a_file_for_its_owner_and_read_it_back(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"path": "/y"}) + "\n")
    assert run(["import", "in.jsonl"]) == 0
    assert "2 events imported, 0 were here" in capfd.readouterr().err
    assert run(["export", "-o", "out.jsonl"]) == 0
    assert "2 events, " in capfd.readouterr().err
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o077 == 0
    assert run(["import", "out.jsonl"]) == 0
    assert "0 events imported, 2 were here" in capfd.readouterr().err
    (tmp_path / "twice.jsonl").write_text(json.dumps(GOOD | {"path": "/z", "outcome": "duplicate"}))
    assert run(["import", "twice.jsonl"]) == 0
    assert run(["events", "path:/z"]) == 0
    assert "unchecked, duplicate  0 B" in capfd.readouterr().out
    assert run(["export", "source:a -is:duplicate", "--as", "curl"]) == 0
    assert capfd.readouterr().out.count("curl -sS") == 2
    assert run(["export", "source:nobody"]) == 4
    assert run(["import", "missing.jsonl"]) == 2
    assert run(["export", "-o", "no/such/folder"]) == 2
    assert "cannot write no/such/folder: No such file" in capfd.readouterr().err
    (tmp_path / "empty").write_bytes(b"")
    assert run(["import", "empty"]) == 4
    (tmp_path / "bad").write_bytes(b"x\n")
    assert run(["import", "bad"]) == 1


def test_an_export_is_written_through_links_and_into_what_is_no_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(json.dumps(GOOD) + "\n")
    assert run(["import", "in.jsonl"]) == 0
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    assert run(["export", "-o", "link.jsonl"]) == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    content = (tmp_path / "real.jsonl").read_bytes()
    assert json.loads(content)["path"] == GOOD["path"]
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(["export", "-o", "pipe"]) == 0
        assert os.read(reader, 2 * len(content)) == content
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert not list(tmp_path.glob(".*.part"))
    capfd.readouterr()
    for stdout in ("-", "/dev/stdout"):
        assert run(["export", "-o", stdout]) == 0
        assert capfd.readouterr().out.encode() == content
    assert not (tmp_path / "-").exists()


async def test_what_is_older_than_retention_allows_is_kept_for_as_long_from_its_import(start, tmp_path):
    here = await start()
    await filled(here)
    _, lines = await here.api("/api/export?raw=1")
    records = [json.loads(line) for line in lines.splitlines()]
    for record in records[:3]:
        record["received_at"] = "2020-01-01T00:00:00.000000Z"
    aged = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    there = await start('[retention]\nmax_age = "20d"\n', data_dir=str(tmp_path / "other"))
    _, found = await imported(there, aged)
    until = f"{datetime.now().astimezone() + timedelta(days=20):%Y-%m-%d}"
    assert found["imported"] == 4
    assert found["old"] == 3
    assert found["retention"] == [f"3 events are older than 20 days (retention.max_age); they are kept until {until}"]

    async def kept_in(days):
        clock: Any = SystemClock()
        clock.now = lambda: datetime.now(UTC) + timedelta(days=days)
        sweeper = Retention(there.relay.store, Bus(), clock, RetentionLimits(max_age=20 * 86400), lambda _: None)
        await sweeper.sweep()
        return (await there.relay.store.events.counts()).events

    assert await kept_in(0) == 4
    assert await kept_in(19) == 4
    assert await kept_in(21) == 1  # what is pinned stays


async def test_an_import_says_when_the_oldest_go_for_it(start, tmp_path):
    here = await start()
    await filled(here)
    _, lines = await here.api("/api/export?raw=1")
    there = await start("[retention]\nmax_events = 2\n", data_dir=str(tmp_path / "other"))
    _, found = await imported(there, lines)
    (told,) = found["retention"]
    assert told == (
        "more than 2 events are kept now (retention.max_events), so the oldest events here are removed; "
        "raise it, or pin what must stay"
    )


async def test_a_caller_who_hangs_up_in_the_middle_of_an_import_is_no_fault_of_relays(at, caplog):
    host, port = at.dashboard.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/import HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {at.token}\r\n"
    writer.write(
        head.encode() + b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
    )
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.sleep(0.1)
    assert (await at.api("/api/status"))[0] == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_har_file_that_cannot_be_read_is_refused_before_anything_is_sent(tmp_path):
    (tmp_path / "a.har").write_text('{"log": 3}')
    with pytest.raises(UsageError, match="not a HAR file"), (tmp_path / "a.har").open("rb") as source:
        read_lines(source)
