"""Diagnosis of a stored event: collects the current configuration and runs the signature doctor in a thread."""

import asyncio
import time
from collections.abc import Callable, Iterator

from relay.model.admission import Problem
from relay.model.event import Capture, CapturedEvent, Source, Verdict
from relay.model.search import Query, Term
from relay.model.secret import Secret
from relay.model.values import dataclass
from relay.pipeline.classify import verify
from relay.pipeline.source_table import SourceRegistry
from relay.pipeline.validate import find_problems
from relay.providers.catalogue import find_provider, recognise_provider
from relay.providers.challenge_answers import answer_challenge, find_offered_secret
from relay.providers.doctor import Diagnosis, KnownSecret, SignatureCase, diagnose
from relay.store import Store

_MAX_RECENT = 5  # earlier events whose bodies are tried
_MAX_RECENT_SIZE = 1_000_000  # bytes above which an earlier body is not tried


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureDoctor:
    """Examines stored events with the current secrets and sources.

    `urls(source, capture)` gives the addresses the sender may have signed, `spare()` secrets of the
    environment and the unlocked vault, which need not belong to a source.
    """

    store: Store
    table: SourceRegistry
    public_url: Callable[[], str | None]
    ingress_url: str
    urls: Callable[[Source, Capture], tuple[str, ...]]
    spare: Callable[[], tuple[Secret, ...]]

    async def diagnose(self, event: CapturedEvent) -> Diagnosis:
        """Return why an event verifies or not by the current configuration; its age counts from its arrival."""
        name = event.row.source
        source = self.table.named(name) or Source(
            name=name, provider="unknown", path=event.row.path, title=name, configured=False
        )
        urls = self.urls(source, event.capture)
        received = event.capture
        capture, verification = verify(source, received, urls, received.received_at)
        if handshake := answer_challenge(source, capture, verification, received.received_at):
            verification = handshake.verification
        if event.row.recovered and verification.verdict is not Verdict.VERIFIED:
            # Its API gave no signed bytes: a signature cannot match these.
            verification = event.verification
        case = SignatureCase(
            capture=capture,
            source=source,
            reason=event.row.reason,
            sender=find_provider(event.row.provider) or recognise_provider(capture),
            others=(*await self._load_handshake_secrets(source), *self._others(source)),
            urls=urls,
            base=self.public_url() or self.ingress_url,
            recent=await self._load_recent_bodies(event) if verification.verdict is Verdict.INVALID else (),
        )
        # Hundreds of signatures may be made: a second during which the loop must not block.
        # Its limit counts work, not seconds: otherwise it would find less on a busy computer.
        return await asyncio.to_thread(diagnose, case, verification, time.thread_time)

    def _others(self, source: Source) -> Iterator[KnownSecret]:
        named = [item for item in self.table.configured if item.name != source.name]
        known = [KnownSecret(secret=secret, source=item.name) for item in named for secret in item.secrets]
        # With two sources of one provider it is easiest to confuse their secrets.
        alike = {item.name for item in named if item.provider == source.provider}
        yield from sorted(known, key=lambda item: item.source not in alike)
        yield from (KnownSecret(secret=secret) for secret in self.spare())

    async def _load_handshake_secrets(self, source: Source) -> tuple[KnownSecret, ...]:
        """Return the secrets in stored handshakes of the source, newest first."""
        provider = find_provider(source.provider)
        if provider is None or not provider.challenges:
            return ()
        found: list[KnownSecret] = []
        page = await self.store.events.page(
            _build_query(("source", source.name), ("is", "handshake")), limit=_MAX_RECENT
        )
        for row in page.rows:
            event = await self.store.events.get(row.id)
            offered = find_offered_secret(source.provider, event.capture)
            if offered:
                found.append(KnownSecret(secret=Secret(f"handshake {row.id}", offered)))
        return tuple(found)

    async def _load_recent_bodies(self, event: CapturedEvent) -> tuple[tuple[int, bytes], ...]:
        search = _build_query(("source", event.row.source))
        page = await self.store.events.page(search, limit=_MAX_RECENT, before=event.id)
        small = [row.id for row in page.rows if row.size <= _MAX_RECENT_SIZE]
        return tuple([(id_, (await self.store.events.get(id_)).capture.body) for id_ in small])


async def find_rule_problems(event: CapturedEvent, source: Source | None) -> tuple[Problem, ...]:
    """Return the problems of an event by the current rules of its source."""
    # A large body takes long, and no other request should wait for it.
    return await asyncio.to_thread(find_problems, source, event.capture) if source else ()


def _build_query(*filters: tuple[str, str]) -> Query:
    terms = tuple(Term(text=f"{key}:{value}", key=key, value=value) for key, value in filters)
    return Query(text=" ".join(term.text for term in terms), terms=terms)
