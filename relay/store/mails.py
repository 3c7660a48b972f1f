"""The mails that went out: claimed before they are handed over, so that an event is mailed once by each template."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from relay.model.sent import Claim, Full, SentMail, SentState
from relay.store.reader import Readers
from relay.store.rows import from_micros, to_micros
from relay.store.writer import Writer

_HOUR = timedelta(hours=1)
_COLUMNS = "delivery_id, event_id, template, recipients, kept, state, at"
# A mail of this very delivery counts too: it was handed over, and what came of that was not written
# down. Only a file of the outbox can be written again without anybody getting it twice.
_STANDING = (
    f"SELECT {_COLUMNS} FROM sent_mails WHERE event_id = ?1 AND template = ?2 AND kept <= ?3 "
    "AND (delivery_id = ?4 OR NOT ?5) AND NOT (kept AND state = 'handing' AND delivery_id = ?4) "
    "ORDER BY state = 'sent' DESC, at LIMIT 1"
)
_LATELY = (
    "SELECT COUNT(*), MIN(at) FROM (SELECT at FROM sent_mails WHERE template = ?1 AND kept = 0 "
    "AND at > ?2 AND at <= ?3 ORDER BY at DESC LIMIT ?4)"
)
_CLAIM = (
    "INSERT OR REPLACE INTO sent_mails (delivery_id, event_id, template, recipients, kept, again, state, at) "
    "VALUES (?, ?, ?, ?, ?, ?, 'handing', ?)"
)


class SentMails:
    """Typed questions about mails that went out."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def standing(self, claim: Claim, now: datetime) -> SentMail | Full | None:
        """Return what would keep a mail back, None for nothing."""
        found = await self._readers.all(_STANDING, _same(claim)) if claim.once else []
        return _sent(found) or _full(claim, await self._readers.all(_LATELY, _lately(claim, now)))

    async def claim(self, claim: Claim, now: datetime) -> SentMail | Full | None:
        """Write down that a mail is about to be handed over; return what keeps it back, None for nothing.

        Of two that claim the same at the same moment one is kept back.
        """
        again = claim.forced or not claim.once
        values = (claim.delivery_id, claim.event_id, claim.template, claim.recipients, claim.kept, again)

        def step(connection: sqlite3.Connection) -> SentMail | Full | None:
            found = connection.execute(_STANDING, _same(claim)).fetchall() if claim.once else []
            back = _sent(found) or _full(claim, connection.execute(_LATELY, _lately(claim, now)).fetchall())
            if back is None:
                connection.execute(_CLAIM, (*values, to_micros(now)))
            return back

        return await self._writer.write(step)

    async def confirm(self, delivery_id: int) -> None:
        """Write down that a claimed mail went out."""
        await self._change("UPDATE sent_mails SET state = 'sent' WHERE delivery_id = ?", delivery_id)

    async def release(self, delivery_id: int) -> None:
        """Write down that a claimed mail certainly did not go out."""
        await self._change("DELETE FROM sent_mails WHERE delivery_id = ?", delivery_id)

    async def _change(self, sql: str, delivery_id: int) -> None:
        await self._writer.write(lambda connection: connection.execute(sql, (delivery_id,)).rowcount)


def _same(claim: Claim) -> tuple[Any, ...]:
    return claim.event_id, claim.template, claim.kept, claim.delivery_id, claim.forced


def _lately(claim: Claim, now: datetime) -> tuple[Any, ...]:
    return claim.template, to_micros(now - _HOUR), to_micros(now), claim.per_hour or 0


def _sent(found: Sequence[Any]) -> SentMail | None:
    if not found:
        return None
    delivery_id, event_id, template, recipients, kept, state, at = found[0]
    return SentMail(
        delivery_id=delivery_id,
        event_id=event_id,
        template=template,
        recipients=recipients,
        kept=bool(kept),
        state=SentState(state),
        at=from_micros(at),
    )


def _full(claim: Claim, found: Sequence[Any]) -> Full | None:
    ((count, first),) = found
    if claim.kept or claim.per_hour is None or count < claim.per_hour:
        return None
    return Full(until=from_micros(first) + _HOUR)
