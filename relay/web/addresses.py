"""Which address a sender believes it called: schemes that sign the URL need it to the letter."""

from relay.model.event import Capture, Source


def sender_urls(capture: Capture, source: Source, public_url: str | None) -> tuple[str, ...]:
    """Return the addresses the sender may have called, the likeliest first.

    A `public_url` of the source wins. Then comes the tunnel's address, unless the request was
    plainly made to this computer, and the Host it was made to. What `X-Forwarded-*` says is
    believed only as far as it names the tunnel that is ours.
    """
    tail = capture.path + (f"?{capture.query}" if capture.query else "")
    local = f"http://{capture.header('Host') or 'localhost'}{tail}"
    candidates: list[str] = []
    if source.public_url:
        candidates.append(_below(source, capture))
    if public_url:
        candidates.append(public_url + tail)
    forwarded = capture.header("X-Forwarded-Proto") or capture.header("X-Forwarded-Host")
    if forwarded or source.public_url:
        candidates.append(local)
    else:
        candidates.insert(0 if _is_local(capture) else len(candidates), local)
    return tuple(dict.fromkeys(candidates))


def _below(source: Source, capture: Capture) -> str:
    rest = capture.path[len(source.path.rstrip("/")) :] if capture.path.startswith(source.path) else ""
    query = f"?{capture.query}" if capture.query else ""
    return f"{source.public_url}{rest}{query}"


def _is_local(capture: Capture) -> bool:
    host = (capture.header("Host") or "").lower()
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name in ("localhost", "127.0.0.1", "[::1]")
