"""Which source answers at which path, and the inbox for names that none does."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import unquote

from relay.model.event import Source

PREFIX = "/webhooks/"
_INBOX_NAMES = 1024  # inbox sources remembered at once


class SourceTable:
    """Finds the source for a path: the longest configured one, else an inbox source for the name."""

    def __init__(self, sources: Iterable[Source], inbox: Callable[[str], Source] | None) -> None:
        self.configured = tuple(sources)
        self._by_path = {source.path.rstrip("/"): source for source in self.configured}
        self._inbox = lru_cache(maxsize=_INBOX_NAMES)(inbox) if inbox else None

    def find(self, path: str) -> Source | None:
        """Return the source that answers at a raw path; None where there is no such hook."""
        decoded = unquote(path, "latin-1")
        if not decoded.startswith(PREFIX):
            return None
        here = decoded.rstrip("/")
        while len(here) >= len(PREFIX):
            if here in self._by_path:
                return self._by_path[here]
            here = here.rpartition("/")[0]
        return self._unconfigured(decoded.removeprefix(PREFIX).partition("/")[0])

    def named(self, name: str) -> Source | None:
        """Return the source of that name, an inbox one where none is configured."""
        for source in self.configured:
            if source.name == name:
                return source
        return self._unconfigured(name)

    def _unconfigured(self, name: str) -> Source | None:
        # Names of configured sources stay theirs: an inbox path must not pass for one of them.
        taken = any(source.name == name for source in self.configured)
        if self._inbox is None or taken or not name or len(name) > 64 or not name.isprintable():
            return None
        return self._inbox(name)
