"""Which source answers at which path, and the inbox for names that none does."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import unquote

from relay.model.event import Source
from relay.model.secret import Secret
from relay.model.text import decode_text
from relay.providers.schemes.base import to_wire_bytes

WEBHOOK_PREFIX = "/webhooks/"
_MAX_OFFERED_SECRETS = 8  # secrets remembered for each source that was offered some
_INBOX_NAMES = 1024  # inbox sources remembered at once


class SourceRegistry:
    """Finds the source for a path: the longest configured one, else an inbox source for the name.

    `trusting` gives a source the key pair that relay has for it, if any.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        inbox: Callable[[str], Source] | None,
        trusting: Callable[[Source], Source] = lambda source: source,
    ) -> None:
        self._trusting = trusting
        self._by_name: dict[str, Source] = {}
        self._by_path: dict[str, Source] = {}
        self.configure(sources)
        self._offered: dict[str, tuple[Secret, ...]] = {}
        self._inbox = lru_cache(maxsize=_INBOX_NAMES)(lambda name: trusting(inbox(name))) if inbox else None

    def configure(self, sources: Iterable[Source]) -> None:
        """Replace the sources of the same names: their secrets are available now, or no longer."""
        for source in sources:
            self._by_name[source.name] = self._by_path[_find_key(source)] = self._trusting(source)

    @property
    def configured(self) -> tuple[Source, ...]:
        """Return the configured sources."""
        return tuple(self._by_name.values())

    @property
    def by_name(self) -> Mapping[str, Source]:
        """Return the configured sources by name, a view of how they are now."""
        return MappingProxyType(self._by_name)

    def trust(self, name: str) -> None:
        """Give a source the key pair that relay has made for it since."""
        source = self._by_name.get(name)
        if source is not None:
            self._by_name[name] = self._by_path[_find_key(source)] = self._trusting(source)
        elif self._inbox is not None:
            self._inbox.cache_clear()

    def find(self, path: str) -> Source | None:
        """Return the source that answers at a raw path; None where there is no such hook."""
        exact = self._by_path.get(path)
        if exact is not None and "%" not in path:
            return self._with_offered_secrets(exact)
        decoded = unquote(path, "latin-1")
        if not decoded.startswith(WEBHOOK_PREFIX):
            return None
        here = decoded.rstrip("/")
        while len(here) >= len(WEBHOOK_PREFIX):
            if here in self._by_path:
                return self._with_offered_secrets(self._by_path[here])
            here = here.rpartition("/")[0]
        name = decode_text(to_wire_bytes(decoded.removeprefix(WEBHOOK_PREFIX).partition("/")[0]))
        return self._with_offered_secrets(self._find_inbox(name))

    def named(self, name: str) -> Source | None:
        """Return the source of that name, an inbox one where none is configured."""
        return self._with_offered_secrets(self._by_name.get(name) or self._find_inbox(name))

    def learn(self, name: str, offered: Secret) -> None:
        """Remember a secret that a provider gave in a handshake, newest first, while relay runs."""
        known = (item for item in self.offered(name) if item.reveal() != offered.reveal())
        self._offered[name] = (offered, *known)[:_MAX_OFFERED_SECRETS]

    def offered(self, name: str) -> tuple[Secret, ...]:
        """Return the secrets that were offered to a source, newest first."""
        return self._offered.get(name, ())

    def _with_offered_secrets(self, source: Source | None) -> Source | None:
        # Any sender may offer a secret in a handshake. Where a secret is configured, one that came by itself counts for
        # nothing; where none is, everything is taken in unchecked anyway.
        if not self._offered or source is None or source.name not in self._offered:
            return source
        if source.secrets or source.locked_secrets:
            return source
        return replace(source, secrets=self._offered[source.name])

    def _find_inbox(self, name: str) -> Source | None:
        # Names of configured sources stay theirs: an inbox path must not pass for one of them.
        if self._inbox is None or name in self._by_name or not name or len(name) > 64 or not name.isprintable():
            return None
        return None if "/" in name else self._inbox(name)


def _find_key(source: Source) -> str:
    """Return the path of a source as `find` compares it: without escapes, a character for each byte."""
    return unquote(source.path, "latin-1").rstrip("/")
