"""Events as a pytest module: each posted to an app, which must accept it, with a signature made at run time."""

from textwrap import dedent
from urllib.parse import quote_from_bytes

from relay.model.event import CapturedEvent, Verdict
from relay.transfer.context import ExportContext

# Set by the client that sends the request, for the connection it sends it over.
_OF_THE_CONNECTION = frozenset({"host", "content-length", "connection", "transfer-encoding", "expect"})
_URL_CHARACTERS = bytes(range(0x21, 0x7F)).decode()

_HEAD = dedent('''\
    """Captured webhooks, posted to an app.

        pip install webhook-relay pytest
        TARGET_URL=http://localhost:3000 pytest THIS_FILE

    Each request is sent as it was captured. The last value of each row says what signs it again first, as its
    provider would, and which variable holds the secret: the one that the app verifies with. None: sent with
    the signature that it came with. A TARGET_URL with a path gets every request at that path.
    """

    import http.client
    import os
    from urllib.parse import urlsplit

    import pytest

    import relay

    TARGET_URL = os.environ.get("TARGET_URL", {target!r}).rstrip("/")

    # method, path, query, headers, body, URL that is signed if not the one posted to, what the app does, signed as
    REQUESTS = [
    ''')
TAIL = dedent('''\
    ]


    def sign(signed_as, url, method, query, headers, body):
        """Return query, headers and body with a fresh signature."""
        if signed_as is None:
            return query, headers, body
        signature, variable = signed_as
        secret = os.environ.get(variable)
        if not secret:
            pytest.fail(f"set {variable} to the secret that the app verifies with", pytrace=False)
        signed = relay.sign(body, url, secret=secret, signature=signature, method=method, headers=headers)
        return signed.query, signed.headers, signed.body


    def send(method, path, headers, body):
        """Send one request with these very headers, in this order, and return the status of the answer."""
        target = urlsplit(TARGET_URL)
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        connection = kind(target.netloc, timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value.encode("latin-1"))
            if body or method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return connection.getresponse().status
        finally:
            connection.close()


    @pytest.mark.parametrize(
        ("method", "path", "query", "headers", "body", "signed_url", "expected", "signed_as"), REQUESTS
    )
    def test_app(method, path, query, headers, body, signed_url, expected, signed_as):
        own_path = urlsplit(TARGET_URL).path
        path = own_path or path
        address = TARGET_URL.removesuffix(own_path) + path + (f"?{query}" if query else "")
        query, headers, body = sign(signed_as, signed_url or address, method, query, headers, body)
        status = send(method, f"{path}?{query}" if query else path, headers, body)
        if expected == "accepts":
            assert 200 <= status < 300
        else:
            assert 400 <= status < 500
    ''')


def write_head(context: ExportContext) -> str:
    """Return what precedes the requests: the target's own address is the default of TARGET_URL."""
    forwards = [target for target in context.targets.values() if target.action == "forward"]
    url = str(getattr(forwards[0].options, "url", "")) if forwards else "http://localhost:3000"
    scheme, _, rest = url.partition("://")
    return _HEAD.replace("{target!r}", ascii(f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"))


def write_request(event: CapturedEvent, context: ExportContext) -> str:
    """Return one row of the module."""
    path, query, signed_url = context.locate(event)
    values = (
        event.capture.method,
        _quote(path),
        _quote(query),
        # Latin-1 as captured: one character is one byte of the wire.
        [pair for pair in event.capture.headers if pair[0].lower() not in _OF_THE_CONNECTION],
        event.capture.body,
        signed_url,
        "refuses" if event.row.verdict is Verdict.INVALID else "accepts",
        context.find_signature(event),
    )
    rows = "".join(f"        {value!a},\n" for value in values)
    return f"    pytest.param(\n{rows}        id={f'{event.id} {event.type}'!a},\n    ),\n"


def _quote(text: str) -> str:
    """Return a captured path or query as ASCII: the few bytes that a request line may not hold are encoded."""
    return quote_from_bytes(text.encode("latin-1"), safe=_URL_CHARACTERS)
