"""The addresses that a sender may have called: schemes that sign the URL are checked with these only.

A request names its own host, so a caller who may choose that could have a signature accepted that was
made for another receiver with the same secret. Where relay knows its addresses, the Host decides nothing.
"""

from ipaddress import ip_address

from relay.model.event import Capture, Source
from relay.model.values import dataclass

# Headers that proxies and tunnel agents add, and that callers behind them cannot remove.
_ADDED_BY_PROXIES = frozenset(
    {
        "forwarded",  # RFC 7239
        "via",  # RFC 9110, 7.6.3
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-original-host",
        "x-real-ip",  # nginx, by convention
        "cf-connecting-ip",  # Cloudflare, also of its tunnels
        "cf-ray",
        "true-client-ip",  # Akamai, and Cloudflare for some customers
        "tailscale-funnel-request",  # Tailscale Funnel
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAddresses:
    """The addresses a running relay knows to be its own; an embedded receiver knows none.

    `tunnel` is the public URL without a trailing slash, None where there is no tunnel. `ingress_url` is
    `http://127.0.0.1:8400`, and `ingress_hosts` is every `host:port`, lower-case, that names it on this computer.
    """

    tunnel: str | None = None
    ingress_url: str = "http://localhost"
    ingress_hosts: frozenset[str] = frozenset()


def list_sender_urls(source: Source, capture: Capture, own: OwnAddresses | None = None) -> tuple[str, ...]:
    """Return the URLs that the sender of a request may have signed, the likeliest first; at least one.

    The source's `public_url` alone where it is set. Otherwise the tunnel's URL, preceded by the ingress's own
    for a caller on this computer that came past the tunnel. Where relay knows neither, the URL by the request's
    own Host. `capture.url` is "" for a request that came in just now; of a stored one it is what relay took for
    its URL then, in an embedded app what the framework says.
    """
    own = own or OwnAddresses()
    if source.public_url is not None:
        return (build_public_url(source.public_url, source.path, capture.path, capture.query),)
    if own.tunnel is None:
        return (capture.url or _url_by_host(capture, own),)
    tail = f"{capture.path}?{capture.query}" if capture.query else capture.path
    found = [_url_by_host(capture, own)] if is_direct(capture, own) else []
    # A provider calls the tunnel; only local callers call the ingress itself.
    found.append(own.tunnel + tail)
    if capture.url.startswith("https://"):
        # The tunnel had another address at the time. A URL from the Host header is always http.
        found.append(capture.url)
    return tuple(dict.fromkeys(found))


def set_sender_url(capture: Capture, urls: tuple[str, ...]) -> Capture:
    """Return the request with the likeliest of its URLs."""
    return capture if capture.url == urls[0] else capture.called_at(urls[0])


def build_public_url(public_url: str, source_path: str, path: str, query: str) -> str:
    """Return the URL below `public_url` that a request for `path`, which is below `source_path`, was sent to."""
    base, _, own_query = public_url.partition("#")[0].partition("?")
    below = _path_below(path, source_path)
    address = base.rstrip("/") + below if below else base
    query = query or own_query
    return f"{address}?{query}" if query else address


def is_direct(capture: Capture, own: OwnAddresses) -> bool:
    """Return whether a request was made on this computer to the ingress itself, and not through the tunnel.

    A tunnel's agent runs on this computer, too, but it names its caller.
    """
    host = (capture.header("Host") or "").lower()
    if host not in own.ingress_hosts or not _is_local(capture.remote, own):
        return False
    return not any(name.lower() in _ADDED_BY_PROXIES for name, _ in capture.headers)


def _url_by_host(capture: Capture, own: OwnAddresses) -> str:
    host = capture.header("Host")
    base = f"http://{host}" if host else own.ingress_url
    return f"{base}{capture.path}?{capture.query}" if capture.query else base + capture.path


def _is_local(remote: str, own: OwnAddresses) -> bool:
    try:
        address = ip_address(remote)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    named = f"[{mapped}]" if mapped.version == 6 else str(mapped)
    return mapped.is_loopback or own.ingress_url.startswith(f"http://{named}:")


def _path_below(path: str, source_path: str) -> str:
    """Return the part of a path below its source's, with its slash; "" if there is none."""
    root = source_path.rstrip("/")
    if path.startswith(root):
        return path[len(root) :]
    # The same path may be escaped (/webhooks/tw%69lio), but not its slashes.
    segments = path.split("/")[root.count("/") + 1 :]
    return "/" + "/".join(segments) if segments else ""
