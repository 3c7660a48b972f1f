"""What events are exported as: JSON lines, HAR, a curl script, an HTTP file for editors, a pytest module."""

import json
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import dedent

from relay import __version__
from relay.model.event import Event, Headers
from relay.model.text import header_text, printable, readable
from relay.transfer.record import record, stamp

# What an HTTP client sets by itself, or what belonged to the connection it came over.
_FRAMING = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "keep-alive"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write events: `head`, then `one` for each event (joined by `between`), then `tail`."""

    name: str
    suffix: str
    media_type: str
    one: Callable[[Event], str]
    head: str = ""
    between: str = ""
    tail: str = ""


def _jsonl(event: Event) -> str:
    return json.dumps(record(event), separators=(",", ":")) + "\n"


def _har(event: Event) -> str:
    capture, body = event.capture, event.capture.body
    url = header_text(capture.url) or f"http://relay.invalid{header_text(capture.path)}"
    entry: dict[str, object] = {
        "startedDateTime": stamp(capture.received_at),
        "time": 0,
        "comment": f"relay #{event.id} {event.type} from {event.row.source}, {event.row.verdict.value}",
        "request": {
            "method": capture.method,
            "url": url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [{"name": name, "value": value} for name, value in _shown(capture.headers)],
            "queryString": [
                {"name": name, "value": value}
                for name, _, value in (pair.partition("=") for pair in capture.query.split("&") if pair)
            ],
            "headersSize": -1,
            "bodySize": len(body),
            **({"postData": _post_data(event)} if body else {}),
        },
        "response": {
            "status": event.row.status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": "application/json"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
    }
    return json.dumps(entry, indent=1)


def _post_data(event: Event) -> dict[str, str]:
    kind = header_text(event.capture.header("Content-Type") or "application/octet-stream")
    try:
        return {"mimeType": kind, "text": event.capture.body.decode()}
    except UnicodeDecodeError:
        # HAR knows base64 for answers only; with the same word one line below, readers that care find it.
        return {"mimeType": kind, "text": b64encode(event.capture.body).decode(), "encoding": "base64"}


def _curl(event: Event) -> str:
    capture = event.capture
    options = [f"-X {shlex.quote(capture.method)}"]
    options += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in _sent(capture.headers)]
    if not capture.header("Content-Type"):
        options.append("-H 'Content-Type:'")  # else curl would call it a form
    place = shlex.quote(_place(event))
    lines = " \\\n  ".join([f'curl -sS "$TARGET"{place}', *options, "--data-binary @-"])
    return f"\n# {_title(event)}\n{_printf(capture.body)} | {lines}\necho\n"


def _printf(body: bytes) -> str:
    """Return a shell command that prints exact bytes; printf is built in, so no length is too long for it."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return f"printf %s {shlex.quote(text)}"
    return "printf '" + "".join(f"\\{byte:03o}" for byte in body) + "'"


def _http(event: Event) -> str:
    capture = event.capture
    lines = [f"### {_title(event)}", f"{capture.method} {{{{target}}}}{_place(event)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in _sent(capture.headers)]
    text = readable(capture.body)
    if text.encode("utf-8", "surrogateescape") == capture.body and "\n###" not in f"\n{text}":
        lines += ["", text]
    elif capture.body:
        saved = f"event-{event.id}.bin"
        lines += [f"# the body is no text: relay show {event.id} --body > {saved}", "", f"< ./{saved}"]
    return "\n".join(lines) + "\n\n"


def _pytest(event: Event) -> str:
    capture = event.capture
    name = f"{event.id} {event.type}"
    values = (capture.method, _place(event), list(_sent(capture.headers)), capture.body)
    return (
        "    pytest.param(\n"
        + "".join(f"        {value!a},\n" for value in values)
        + f"        id={name!a},\n    ),\n"
    )


_PYTEST_HEAD = dedent('''\
    """Captured webhooks, posted to an app: TARGET_URL=http://localhost:3000 pytest THIS_FILE.

    Signatures are as they were received: switch the age check of your app off for them.
    """

    import os
    import urllib.error
    import urllib.request

    import pytest

    TARGET = os.environ.get("TARGET_URL", "http://localhost:3000")

    EVENTS = [
    ''')
_PYTEST_TAIL = dedent("""\
    ]


    @pytest.mark.parametrize(("method", "path", "headers", "body"), EVENTS)
    def test_the_app_takes_it(method, path, headers, body):
        request = urllib.request.Request(TARGET + path, data=body, headers=dict(headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status = response.status
        except urllib.error.HTTPError as error:
            with error:
                status = error.code
        assert 200 <= status < 300
    """)
_HAR_HEAD = (
    '{"log":{"version":"1.2","creator":{"name":"relay","version":'
    + json.dumps(__version__)
    + '},"entries":[\n'
)
_CURL_HEAD = dedent("""\
    #!/bin/sh
    # Captured webhooks, sent again. Signatures are as they were received; relay replay signs anew.
    TARGET="${TARGET:-http://127.0.0.1:8400}"
    """)

FORMATS = {
    made.name: made
    for made in (
        Format(name="jsonl", suffix="jsonl", media_type="application/x-ndjson", one=_jsonl),
        Format(
            name="har",
            suffix="har",
            media_type="application/json",
            one=_har,
            head=_HAR_HEAD,
            between=",\n",
            tail="\n]}}\n",
        ),
        Format(name="curl", suffix="sh", media_type="text/plain", one=_curl, head=_CURL_HEAD),
        Format(
            name="http",
            suffix="http",
            media_type="text/plain",
            one=_http,
            head="@target = http://127.0.0.1:8400\n\n",
        ),
        Format(
            name="pytest",
            suffix="py",
            media_type="text/plain",
            one=_pytest,
            head=_PYTEST_HEAD,
            tail=_PYTEST_TAIL,
        ),
    )
}


def _title(event: Event) -> str:
    return printable(f"#{event.id} {event.type} from {event.row.source}, {stamp(event.row.received_at)}")


def _place(event: Event) -> str:
    path, query = event.capture.path, event.capture.query
    return header_text(f"{path}?{query}" if query else path)


def _shown(headers: Headers) -> Iterator[tuple[str, str]]:
    return ((header_text(name), header_text(value)) for name, value in headers)


def _sent(headers: Headers) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in _shown(headers) if name.lower() not in _FRAMING)
