"""Which address a sender believes it called: schemes that sign the URL need it to the letter."""

from collections.abc import Mapping

from relay.model.event import Source


def sender_urls(
    headers: Mapping[str, str],
    target: tuple[str, str],
    source: Source,
    public_url: str | None,
) -> tuple[str, ...]:
    """Return the addresses the sender may have called, the likeliest first; `target` is path and query.

    A `public_url` of the source wins. Then comes the tunnel's address, unless the request was
    plainly made to this computer, and the Host it was made to. What `X-Forwarded-*` says is
    believed only as far as it names the tunnel that is ours.
    """
    path, query = target
    tail = f"{path}?{query}" if query else path
    host = headers.get("Host", "localhost")
    local = f"http://{host}{tail}"
    if public_url is None and source.public_url is None:
        return (local,)
    candidates = [local]
    if public_url is not None:
        forwarded = "X-Forwarded-Proto" in headers or "X-Forwarded-Host" in headers
        candidates.insert(1 if _is_local(host) and not forwarded else 0, public_url + tail)
    if source.public_url is not None:
        rest = tail.removeprefix(source.path.rstrip("/")) if tail.startswith(source.path.rstrip("/")) else ""
        candidates.insert(0, source.public_url + rest)
    return tuple(dict.fromkeys(candidates))


def _is_local(host: str) -> bool:
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return name.lower() in ("localhost", "127.0.0.1", "[::1]")
