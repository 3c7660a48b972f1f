"""Exports events as a pytest module: each is posted to an app, which must accept it, signed at run time."""

import re
from collections.abc import Mapping
from textwrap import dedent
from urllib.parse import quote_from_bytes

from relay.actions.egress import Destination, check_syntax
from relay.actions.outgoing_request import ForwardOptions, build_request_target, called_url
from relay.errors import TargetError
from relay.model.delivery import NO_CHANGES, Route, Target
from relay.model.event import CapturedEvent, Source, Verdict
from relay.model.text import quote_path
from relay.model.values import dataclass
from relay.pipeline.routing import find_target_names
from relay.providers.catalogue import PROVIDERS
from relay.providers.local_keys import find_pair_scheme

SignedAs = tuple[str | Mapping[str, object], str]
"""How a request can be signed again: what `relay.sign` takes as `signature`, and the variable of its secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportContext:
    """The configuration that an export reads. `ingress_url` has no trailing slash."""

    ingress_url: str
    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    routes: tuple[Route, ...]

    @property
    def forwards(self) -> dict[str, ForwardOptions]:
        """Return the targets that events are forwarded to, by name."""
        targets = self.targets.values()
        return {target.name: target.options for target in targets if isinstance(target.options, ForwardOptions)}

    def find_target(self, event: CapturedEvent) -> tuple[ForwardOptions, Destination] | None:
        """Return the target that an event is forwarded to first, else the only one there is, else None."""
        forwards = self.forwards
        routed = (forwards[name] for name in find_target_names(event, self.routes) if name in forwards)
        chosen = next(routed, next(iter(forwards.values())) if len(forwards) == 1 else None)
        try:
            return (chosen, check_syntax(chosen.url)) if chosen else None
        except TargetError:
            return None

    def locate(self, event: CapturedEvent) -> tuple[str, str, str]:
        """Return path and query at the app, and the URL that its signature covers if that differs."""
        found = self.find_target(event)
        if found is None:
            return event.capture.path, event.capture.query, ""
        options, destination = found
        source = self.sources.get(event.row.source)
        source_path = source.path if source else quote_path(f"/webhooks/{event.row.source}")
        path, query, _ = build_request_target(event, NO_CHANGES, options, destination, source_path)
        public_url = source.public_url if source else None
        # As in a replay: the app's own address, unless the source's public_url is the one that the app checks.
        if options.sign_url == "public" or (options.sign_url is None and public_url):
            return path, query, called_url(event, NO_CHANGES, source_path, public_url)
        return path, query, ""

    def find_signature(self, event: CapturedEvent) -> SignedAs | None:
        """Return how an event is signed again; None if no secret can, or if it did not verify."""
        if event.row.verdict is Verdict.INVALID:
            return None
        source = self.sources.get(event.row.source)
        if source is None:
            provider = PROVIDERS.get(event.row.provider)
            if provider is None or not provider.schemes:
                return None
            bare = Source(name=event.row.source, provider=provider.name, path="", scheme=provider.scheme)
            return None if find_pair_scheme(bare) else (provider.name, provider.secret_variable)
        if source.signature is None or find_pair_scheme(source):
            return None
        references = (*(one.reference for one in source.secrets), *source.missing_secrets, *source.locked_secrets)
        # A vault secret gets a variable of its own name.
        kind, _, name = next(iter(references), f"vault:{source.name}_webhook_secret").partition(":")
        return source.signature, name if kind == "env" else re.sub(r"\W", "_", name, flags=re.ASCII).upper()


# Set by the client that sends a request, for its connection.
OF_THE_CONNECTION = frozenset({"host", "content-length", "connection", "transfer-encoding", "keep-alive", "expect"})
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
    """Return the start of the module; the target's own address is the default of TARGET_URL."""
    url = next((options.url for options in context.forwards.values()), "http://localhost:3000")
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
        [pair for pair in event.capture.headers if pair[0].lower() not in OF_THE_CONNECTION],
        event.capture.body,
        signed_url,
        "refuses" if event.row.verdict is Verdict.INVALID else "accepts",
        context.find_signature(event),
    )
    rows = "".join(f"        {value!a},\n" for value in values)
    return f"    pytest.param(\n{rows}        id={f'{event.id} {event.type}'!a},\n    ),\n"


def _quote(text: str) -> str:
    """Return a captured path or query as ASCII: bytes not allowed in a request line are encoded."""
    return quote_from_bytes(text.encode("latin-1"), safe=_URL_CHARACTERS)
