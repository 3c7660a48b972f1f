"""Which source answers at which path, and the inbox for names that none does."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from urllib.parse import unquote

from relay.model.event import Source
from relay.model.secret import Secret

PREFIX = "/webhooks/"
_OFFERED = 8  # secrets remembered for each source that was offered some
_INBOX_NAMES = 1024  # inbox sources remembered at once


class SourceTable:
    """Finds the source for a path: the longest configured one, else an inbox source for the name."""

    def __init__(self, sources: Iterable[Source], inbox: Callable[[str], Source] | None) -> None:
        self.configured = tuple(sources)
        self._by_path = {source.path.rstrip("/"): source for source in self.configured}
        self._offered: dict[str, tuple[Secret, ...]] = {}
        self._inbox = lru_cache(maxsize=_INBOX_NAMES)(inbox) if inbox else None

    def find(self, path: str) -> Source | None:
        """Return the source that answers at a raw path; None where there is no such hook."""
        exact = self._by_path.get(path)
        if exact is not None:
            return exact
        decoded = unquote(path, "latin-1")
        if not decoded.startswith(PREFIX):
            return None
        here = decoded.rstrip("/")
        while len(here) >= len(PREFIX):
            if here in self._by_path:
                return self._knowing(self._by_path[here])
            here = here.rpartition("/")[0]
        return self._knowing(self._unconfigured(decoded.removeprefix(PREFIX).partition("/")[0]))

    def named(self, name: str) -> Source | None:
        """Return the source of that name, an inbox one where none is configured."""
        for source in self.configured:
            if source.name == name:
                return self._knowing(source)
        return self._knowing(self._unconfigured(name))

    def learn(self, name: str, offered: Secret) -> None:
        """Remember a secret that a provider gave in a handshake, newest first, as long as relay runs."""
        known = (item for item in self.offered(name) if item.reveal() != offered.reveal())
        self._offered[name] = (offered, *known)[:_OFFERED]

    def offered(self, name: str) -> tuple[Secret, ...]:
        """Return the secrets that were offered to a source, newest first."""
        return self._offered.get(name, ())

    def _knowing(self, source: Source | None) -> Source | None:
        # Anybody may shake hands. Where a secret is configured, one that came by itself counts for
        # nothing; where none is, everything is taken in unchecked anyway.
        if not self._offered or source is None or source.secrets or source.name not in self._offered:
            return source
        return replace(source, secrets=self._offered[source.name])

    def _unconfigured(self, name: str) -> Source | None:
        # Names of configured sources stay theirs: an inbox path must not pass for one of them.
        taken = any(source.name == name for source in self.configured)
        if self._inbox is None or taken or not name or len(name) > 64 or not name.isprintable():
            return None
        return self._inbox(name)
