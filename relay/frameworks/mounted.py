"""Where relay's own paths begin in an app that is mounted somewhere."""

from urllib.parse import unquote

_HOOKS = "/webhooks"


def strip_mount(path: str, rest: str | None) -> str:
    """Return a raw path from relay's own `/webhooks` on, without what the app or its router is mounted below.

    `rest` is what the framework matched behind `/webhooks/`, decoded: it tells the route from a prefix that is
    called `/webhooks` too. Without it the first `/webhooks` counts.
    """
    first = at = path.find(_HOOKS)
    while at >= 0:
        if rest is not None and unquote(path[at:]) == f"{_HOOKS}/{rest}":
            return path[at:]
        at = path.find(_HOOKS, at + 1)
    return path[first:] if first > 0 else path
