"""Where relay's own paths begin in an app that is mounted somewhere."""

_HOOKS = "/webhooks"


def mounted(path: str) -> str:
    """Return a raw path from `/webhooks` on, without what the app or its router is mounted below."""
    at = path.find(_HOOKS)
    return path[at:] if at > 0 else path
