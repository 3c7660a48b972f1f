"""Export formats: JSON lines, HAR, a curl script, an HTTP file for editors, a pytest module."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from textwrap import dedent

from relay import __version__
from relay.model.clock import format_time
from relay.model.event import CapturedEvent, Headers
from relay.model.text import decode_header_text, decode_text, decode_utf8, encode_body, escape_unprintable
from relay.model.values import dataclass
from relay.transfer.pytest_export import OF_THE_CONNECTION, TAIL, ExportContext, write_head, write_request
from relay.transfer.records import event_to_record

# Characters that curl drops from a URL, refuses, or encodes.
_CURL_CHANGES = re.compile(r"[^\x21-\x7e]|#")
_CURL_ADDS = ("Accept", "User-Agent", "Content-Type")
_OCTAL_DIGITS = [bytes(0x30 + (byte >> shift & 7) for byte in range(256)) for shift in (6, 3, 0)]
# Text that editors interpret in a body: separators, comments, files, scripts, variables, and line ends.
_EDITOR_SYNTAX = re.compile(r"^(#|//|<[>@]?\s|>\s)|\{\{|\r", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """An export format: `head`, then `one` for each event (joined by `between`), then `tail`."""

    name: str
    suffix: str
    media_type: str
    one: Callable[[CapturedEvent, ExportContext], str]
    head: Callable[[ExportContext], str] = lambda _: ""
    between: str = ""
    tail: str = ""


def _jsonl(event: CapturedEvent, _: ExportContext) -> str:
    return json.dumps(event_to_record(event), separators=(",", ":")) + "\n"


def _har(event: CapturedEvent, _: ExportContext) -> str:
    capture, body = event.capture, event.capture.body
    url = decode_header_text(capture.url) or f"http://relay.invalid{decode_header_text(capture.path)}"
    pairs = (pair.partition("=") for pair in capture.query.split("&") if pair)
    headers = ((decode_header_text(name), decode_header_text(value)) for name, value in capture.headers)
    entry: dict[str, object] = {
        "startedDateTime": format_time(capture.received_at),
        "time": 0,
        "_relay": {"id": event.id, "source": event.row.source},  # identifies it for import; HAR's own names have no _
        "comment": f"relay #{event.id} {event.type} from {event.row.source}, {event.row.verdict.value}",
        "request": {
            "method": capture.method,
            "url": url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [{"name": name, "value": value} for name, value in headers],
            "queryString": [{"name": name, "value": value} for name, _, value in pairs],
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


def _post_data(event: CapturedEvent) -> dict[str, str]:
    kind = decode_header_text(event.capture.header("Content-Type") or "application/octet-stream")
    body = encode_body(event.capture.body)
    # HAR defines base64 only for responses; the same field name is used here.
    encoding = {"encoding": "base64"} if body["encoding"] == "base64" else {}
    return {"mimeType": kind, "text": body["text"], **encoding}


def _curl(event: CapturedEvent, _: ExportContext) -> str:
    command = format_curl(event, '"$TARGET"')
    return f"\n# {_format_title(event)}\n{command}\necho\n"


def format_curl(event: CapturedEvent, server: str) -> str:
    """Return the curl command that sends an event to a server, given as a shell word."""
    capture = event.capture
    # No globbing, no path normalisation, no headers of curl's own: exactly this request.
    options = ["--globoff --path-as-is --http1.1", f"-X {shlex.quote(capture.method)}"]
    options += [
        f"-H {_quote_for_shell(_curl_header(name, value))}" for name, value in _sendable_headers(capture.headers)
    ]
    options += [f"-H '{name}:'" for name in _CURL_ADDS if capture.header(name) is None]
    options.append("-H 'Expect:'")
    has_body = bool(capture.body) or capture.header("Content-Length") is not None
    if capture.method == "HEAD":
        # With -X alone curl waits for a body of the response; and it cannot send a body with HEAD.
        options[1:2] = ["--head", *(["-H 'Content-Length: 0'"] if has_body else [])]
        has_body = False
    if has_body:
        options.append("--data-binary @-")
    place = capture.request_target
    quoted = _quote_for_shell(place)
    if _CURL_CHANGES.search(place):
        options.insert(1, f"--request-target {quoted}")
        quoted = ""
    lines = " \\\n  ".join([f"curl -sS {server}{quoted}", *options])
    return f"{f'{_printf(capture.body)} | ' if has_body else ''}{lines}"


def _curl_header(name: str, value: str) -> str:
    # `-H 'X:'` removes a header; `-H 'X;'` sends it without a value.
    return f"{name}: {value}" if value.strip() else f"{name};"


def _quote_for_shell(text: str) -> str:
    """Return latin-1 text, one character per byte, as a shell word for those bytes."""
    data = text.encode("latin-1")
    try:
        return shlex.quote(data.decode())
    except UnicodeDecodeError:
        return f'"$({_print_octal(data)})"'


def _printf(body: bytes) -> str:
    """Return a shell command that prints exact bytes; printf is a builtin, so there is no length limit."""
    text = decode_utf8(body)
    if text is not None and "\0" not in text:
        return f"printf %s {shlex.quote(text)}"
    return _print_octal(body)


def _print_octal(data: bytes) -> str:
    # Whole columns at once: byte by byte, a body of 25 MB would block the running relay for seconds.
    text = bytearray(b"\\000") * len(data)
    for column, digits in enumerate(_OCTAL_DIGITS, start=1):
        text[column::4] = data.translate(digits)
    return f"printf '{text.decode()}'"


def _http(event: CapturedEvent, _: ExportContext) -> str:
    capture = event.capture
    # Editors treat {{x}} as a variable in the URL as well, and drop the part after a #.
    place = decode_header_text(capture.request_target).replace("{{", "%7B%7B").replace("#", "%23")
    lines = [f"### {_format_title(event)}", f"{capture.method} {{{{target}}}}{place} HTTP/1.1"]
    lines += [f"{name}: {decode_header_text(value)}" for name, value in _sendable_headers(capture.headers)]
    text = decode_text(capture.body)
    is_text = text.encode("utf-8", "surrogateescape") == capture.body
    if is_text and not _EDITOR_SYNTAX.search(text):
        lines += ["", text]
    elif capture.body:
        saved = f"event-{event.id}.bin"
        why = "an editor would read more into the body" if is_text else "the body is not text"
        lines += [f"# {why}: relay show {event.id} --body > {saved}", "", f"< ./{saved}"]
    return "\n".join(lines) + "\n\n"


_HAR_HEAD = '{"log":{"version":"1.2","creator":{"name":"relay","version":' + json.dumps(__version__) + '},"entries":[\n'


def _curl_head(context: ExportContext) -> str:
    return dedent(f"""\
        #!/bin/sh
        # Captured webhooks, sent again. Signatures are as they were received; relay replay signs again.
        TARGET="${{TARGET:-{context.ingress_url}}}"
        """)


FORMATS = {
    made.name: made
    for made in (
        ExportFormat("jsonl", "jsonl", "application/x-ndjson", _jsonl),
        ExportFormat("har", "har", "application/json", _har, lambda _: _HAR_HEAD, between=",\n", tail="\n]}}\n"),
        ExportFormat("curl", "sh", "text/plain", _curl, _curl_head),
        ExportFormat("http", "http", "text/plain", _http, lambda context: f"@target = {context.ingress_url}\n\n"),
        ExportFormat("pytest", "py", "text/plain", write_request, write_head, tail=TAIL),
    )
}


def _format_title(event: CapturedEvent) -> str:
    return escape_unprintable(f"#{event.id} {event.type} from {event.row.source}, {format_time(event.row.received_at)}")


def _sendable_headers(headers: Headers) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in headers if name.lower() not in OF_THE_CONNECTION)
