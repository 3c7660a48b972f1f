"""The target's own answer, waited for: for providers that want more than "kept", such as Slack and Twilio."""

import asyncio

from relay.actions.outgoing import HOP_BY_HOP
from relay.bus import Bus
from relay.errors import RelayError
from relay.model.delivery import DeliveryState, ReceivedResponse
from relay.model.event import Headers
from relay.model.signals import DeliveryChanged, Signal
from relay.store import Store

_OVER = frozenset({DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.CANCELLED})
# Framing is relay's own; the rest of what a target says about itself goes on.
_STAYS = HOP_BY_HOP | {"content-length", "content-type", "x-relay-event"}


class Replies:
    """Waits for what targets answer to deliveries just made."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._waiting: dict[int, asyncio.Event] = {}
        bus.on(self._hear)

    async def first(self, delivery: int, seconds: float) -> ReceivedResponse | None:
        """Return the first response that a delivery gets.

        None when none came within `seconds`, when the delivery ended without one, or when it was too
        large to be kept whole. Call it in the turn in which the delivery was made.
        """
        rung = self._waiting[delivery] = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                return await self._response(delivery, rung)
        except (TimeoutError, RelayError):
            # The event is kept; what became of its delivery is not the provider's trouble.
            return None
        finally:
            del self._waiting[delivery]

    async def _response(self, delivery: int, rung: asyncio.Event) -> ReceivedResponse | None:
        while True:
            await rung.wait()
            rung.clear()
            # First where it stands, then its attempts: the other way round one may come in between.
            state = (await self._store.deliveries.get(delivery)).state
            for attempt in await self._store.deliveries.attempts(delivery):
                if attempt.response is not None:
                    return None if attempt.response.cut else attempt.response
            if state in _OVER:
                return None

    def _hear(self, signal: Signal) -> None:
        if not isinstance(signal, DeliveryChanged) or signal.state == DeliveryState.RUNNING:
            return
        if signal.delivery_id in self._waiting:
            self._waiting[signal.delivery_id].set()


def passed_on(headers: Headers) -> tuple[str, Headers]:
    """Return a response's content type ("" for none), and which other headers may go on to the provider."""
    named = {name for value in _values(headers, "connection") for name in _tokens(value)}
    kept = tuple(
        (name, value) for name, value in headers if name.lower() not in _STAYS | named and _is_text(value)
    )
    return next(filter(_is_text, _values(headers, "content-type")), ""), kept


def _values(headers: Headers, wanted: str) -> list[str]:
    return [value for name, value in headers if name.lower() == wanted]


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def _is_text(value: str) -> bool:
    # What is sent is written as UTF-8; bytes beyond ASCII would come out as others than came in.
    return value.isascii() and value.isprintable()
