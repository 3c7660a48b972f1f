"""The signature covers the address, and the provider called another one than relay thinks."""

import dataclasses
from collections.abc import Iterator
from itertools import islice, product
from urllib.parse import unquote, urlsplit

from relay.model.text import escape_unprintable
from relay.providers.doctor.case import SignatureCase, SignatureFinding, VariantTester, format_secret_name, list_schemes
from relay.providers.schemes.content import sender_address

_KIND = "Other addresses"
_MAX_ADDRESSES = 600
# Where proxies that rewrite the path write down what was called: nginx, Traefik, Envoy and IIS.
_ORIGINAL_URL_HEADERS = (
    "X-Original-URI",  # nginx, in the usual set-up of auth_request
    "X-Forwarded-Uri",  # Traefik
    "X-Envoy-Original-Path",  # Envoy, and so Istio
    "X-Original-URL",  # IIS with URL Rewrite
    "X-Rewrite-URL",  # ISAPI rewriters of IIS
)


def try_other_addresses(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try the addresses the sender may have called, where the scheme signs the address."""
    case = tester.case
    if not is_address_signed(case):
        return
    checked = sender_address(case.capture)
    urls = (url for url in islice(list_addresses(case), _MAX_ADDRESSES) if url != checked)
    found = tester.find_match(_KIND, ((url, dataclasses.replace(case.capture, url=url)) for url in urls))
    if found is not None:
        url, secret = found
        yield _build_finding(case, format_secret_name(secret), url, checked)


def list_addresses(case: SignatureCase) -> Iterator[str]:
    """Return the addresses a sender may have called, the likeliest first."""
    yield from case.urls
    given = urlsplit(sender_address(case.capture))
    hosts = dict.fromkeys(filter(None, (given.netloc, *_list_hosts(case))))
    ported = dict.fromkeys(name for host in hosts for name in _list_ports(host, given.scheme))
    paths = dict.fromkeys((given.path, *_list_paths(case, given.path)))
    queries = dict.fromkeys((given.query, case.capture.query, "", unquote(given.query)))
    schemes = dict.fromkeys((given.scheme, "https", "http"))
    for path, query, scheme, host in product(paths, queries, schemes, ported):
        yield f"{scheme}://{host}{path}{f'?{query}' if query else ''}"


def _list_hosts(case: SignatureCase) -> tuple[str, ...]:
    capture = case.capture
    named = [capture.header(name) or "" for name in ("X-Forwarded-Host", "X-Original-Host", "Host")]
    known = [urlsplit(url).netloc for url in (case.base, case.source.public_url or "", *case.urls)]
    return tuple(host.partition(",")[0].strip() for host in (*named, *known))


# Twilio's products differ in whether they write the default port.
def _list_ports(host: str, scheme: str) -> tuple[str, ...]:
    bare, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        return (host, f"{host}:{443 if scheme == 'https' else 80}")
    return (host, bare)


# Routers drop a last slash, and proxies rewrite paths or strip prefixes before the app sees them.
def _list_paths(case: SignatureCase, path: str) -> tuple[str, ...]:
    """Return the path with and without its slash, its escapes, and the part that a proxy may have put before it."""
    toggled = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    forwarded = case.capture.header("X-Forwarded-Prefix") or ""
    rest = path.removeprefix("/webhooks")
    name = f"/{path.rstrip('/').rpartition('/')[2]}"
    called = (case.capture.header(header) or "" for header in _ORIGINAL_URL_HEADERS)
    return (
        toggled,
        *(urlsplit(url).path for url in called if url.startswith(("/", "http"))),
        case.capture.path,
        forwarded + path,
        unquote(path),
        rest,
        name,
        f"/webhook{rest}",
        "/",
        "",
    )


def is_address_signed(case: SignatureCase) -> bool:
    """Say whether a signature of the source covers the address that was called."""
    return any(
        bool(getattr(getattr(leaf, "signed", None), "uses_address", False)) for leaf in list_schemes(case.source.scheme)
    )


def _build_finding(case: SignatureCase, secret: str, signed: str, checked: str) -> SignatureFinding:
    return SignatureFinding(
        cause="url_differs",
        title=f"Signed for another URL: {_describe_difference(signed, checked)}",
        sentence=f"The signature fits {secret} for {escape_unprintable(signed, 300)}, and relay checked "
        f"{escape_unprintable(checked, 300)}.",
        fix=f"Say under {case.header} which address {case.title} calls, or paste relay's own address there:",
        line=f'public_url = "{escape_unprintable(_strip_below(case, signed), 300)}"',
        certain=True,
    )


def _strip_below(case: SignatureCase, signed: str) -> str:
    """Return the address of the source itself where the one that was signed lies below it."""
    bare, root = signed.partition("?")[0], case.source.path.rstrip("/")
    below = case.capture.path.removeprefix(root) if case.capture.path.startswith(root + "/") else ""
    return bare.removesuffix(below) if below != "/" else bare


def _describe_difference(signed: str, checked: str) -> str:
    one, other = urlsplit(signed), urlsplit(checked)
    parts = (
        ("the protocol", one.scheme, other.scheme),
        ("the host", (one.hostname or ""), (other.hostname or "")),
        ("the port", one.netloc.rpartition(":")[2], other.netloc.rpartition(":")[2]),
        ("the trailing slash", one.path.endswith("/"), other.path.endswith("/")),
        ("the path", one.path.rstrip("/"), other.path.rstrip("/")),
        ("the query", one.query, other.query),
    )
    found = [name for name, a, b in parts if a != b]
    if "the host" in found and "the port" in found:
        found.remove("the port")
    return f"{' and '.join(found) or 'the spelling'} {'differ' if len(found) > 1 else 'differs'}"
