"""The sources by path, and the inbox for names that are not configured."""

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
_MAX_OFFERED_SECRETS = 8  # offered secrets remembered for each source
_INBOX_NAMES = 1024  # inbox sources remembered


class SourceRegistry:
    """Finds the source for a path: the longest configured path, else an inbox source for the name.

    `trusting` adds the key pair that relay has for a source, if any.
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
        """Replace the sources of the same names, when their secrets become available or unavailable."""
        for source in sources:
            self._by_name[source.name] = self._by_path[_find_key(source)] = self._trusting(source)

    @property
    def configured(self) -> tuple[Source, ...]:
        """Return the configured sources."""
        return tuple(self._by_name.values())

    @property
    def by_name(self) -> Mapping[str, Source]:
        """Return a live view of the configured sources by name."""
        return MappingProxyType(self._by_name)

    def trust(self, name: str) -> None:
        """Add to a source the key pair that relay has made for it."""
        source = self._by_name.get(name)
        if source is not None:
            self._by_name[name] = self._by_path[_find_key(source)] = self._trusting(source)
        elif self._inbox is not None:
            self._inbox.cache_clear()

    def find(self, path: str) -> Source | None:
        """Return the source at a raw path; None if there is none."""
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
        """Return the source of that name, an inbox source if none is configured."""
        return self._with_offered_secrets(self._by_name.get(name) or self._find_inbox(name))

    def learn(self, name: str, offered: Secret) -> None:
        """Remember a secret from a provider's handshake, newest first, until relay stops."""
        known = (item for item in self.offered(name) if item.reveal() != offered.reveal())
        self._offered[name] = (offered, *known)[:_MAX_OFFERED_SECRETS]

    def offered(self, name: str) -> tuple[Secret, ...]:
        """Return the secrets offered to a source, newest first."""
        return self._offered.get(name, ())

    def _with_offered_secrets(self, source: Source | None) -> Source | None:
        # Any sender may offer a secret in a handshake. If a secret is configured, an offered one is
        # ignored; if none is, requests are accepted unchecked anyway.
        if not self._offered or source is None or source.name not in self._offered:
            return source
        if source.secrets or source.locked_secrets:
            return source
        return replace(source, secrets=self._offered[source.name])

    def _find_inbox(self, name: str) -> Source | None:
        # An inbox path must not be mistaken for a configured source.
        if self._inbox is None or name in self._by_name or not name or len(name) > 64 or not name.isprintable():
            return None
        return None if "/" in name else self._inbox(name)


def _find_key(source: Source) -> str:
    """Return the path of a source as `find` compares it: unescaped, one character for each byte."""
    return unquote(source.path, "latin-1").rstrip("/")
