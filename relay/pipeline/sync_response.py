"""The target's own answer, waited for: for providers that want more than "kept", such as Slack and Twilio."""

import asyncio

from relay.actions.base import LARGEST_RESPONSE, AwaitedResponses
from relay.actions.outgoing_request import HOP_BY_HOP
from relay.errors import RelayError
from relay.model.delivery import AttemptFailed, DeliveryState, ReceivedResponse
from relay.model.event import Headers
from relay.model.signals import DeliveryChanged, Signal
from relay.model.text import format_size
from relay.pipeline.bus import Bus
from relay.store import Store
from relay.store.delivery_queue import AwaitedDelivery

_FINAL_STATES = frozenset({DeliveryState.SUCCEEDED, DeliveryState.FAILED, DeliveryState.CANCELLED})
# Framing is relay's own; the rest of what a target says about itself goes on.
_WITHHELD_HEADERS = HOP_BY_HOP | {"content-length", "content-type", "x-relay-event"}


# What a handler gives that did its work and returned nothing for the sender.
NO_RESPONSE = ReceivedResponse(status=204)


class NoResponseError(Exception):
    """A delivery ended without an answer of its target: none will come. `final`: nor would another try help."""

    def __init__(self, *, final: bool) -> None:
        super().__init__()
        self.final = final


class PartialResponseError(Exception):
    """The target's answer cannot be passed on whole; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SyncResponses:
    """Waits for what targets answer to deliveries just made."""

    def __init__(self, store: Store, bus: Bus, awaited: AwaitedResponses) -> None:
        self._store = store
        self._awaited = awaited
        self._waiting: dict[int, list[asyncio.Event]] = {}
        bus.on(self._on_signal, DeliveryChanged)

    async def answer(self, awaited: AwaitedDelivery, seconds: float) -> ReceivedResponse | None:
        """Return the first response that a delivery gets after the attempts it had.

        None when none came within `seconds`, NO_RESPONSE when the delivery succeeded without one. Raises
        NoResponseError when it ended otherwise without one, PartialResponseError when it was too large or broke off.
        """
        changed = asyncio.Event()
        waiting = self._waiting.setdefault(awaited.delivery, [])
        waiting.append(changed)
        try:
            with self._awaited.awaiting(awaited.delivery):
                async with asyncio.timeout(seconds):
                    return self._find_whole(awaited.delivery, await self._wait_for_attempt(awaited, changed))
        except (TimeoutError, RelayError):
            # The event is kept; what became of its delivery is not the provider's trouble.
            return None
        finally:
            waiting.remove(changed)
            if not waiting:
                del self._waiting[awaited.delivery]

    def _find_whole(self, delivery: int, kept: ReceivedResponse) -> ReceivedResponse:
        """Return the whole answer of which an attempt kept the beginning."""
        if not kept.cut:
            return kept
        whole = self._awaited.find(delivery)
        if whole is not None and not whole.cut:
            return whole
        too_large = whole is not None and len(whole.body) >= LARGEST_RESPONSE
        raise PartialResponseError(f"larger than {format_size(LARGEST_RESPONSE)}" if too_large else "cut short")

    async def _wait_for_attempt(self, awaited: AwaitedDelivery, changed: asyncio.Event) -> ReceivedResponse:
        while True:
            # First where it stands, then its attempts: the other way round one may come in between.
            state = (await self._store.deliveries.get(awaited.delivery)).state
            attempts = await self._store.deliveries.attempts(awaited.delivery)
            for attempt in attempts:
                if attempt.number > awaited.attempts and attempt.response is not None:
                    return attempt.response
            if state is DeliveryState.SUCCEEDED:
                return NO_RESPONSE
            if state in _FINAL_STATES:
                raise NoResponseError(final=bool(attempts) and attempts[-1].outcome == AttemptFailed.name)
            await changed.wait()
            changed.clear()

    def _on_signal(self, signal: Signal) -> None:
        if not isinstance(signal, DeliveryChanged) or signal.state == DeliveryState.RUNNING:
            return
        for changed in self._waiting.get(signal.delivery_id, ()):
            changed.set()


def select_response_headers(headers: Headers) -> tuple[str, Headers]:
    """Return a response's content type ("" for none), and which other headers may go on to the provider."""
    tokens = ",".join(_header_values(headers, "connection")).split(",")
    named = {token.strip().lower() for token in tokens}
    kept = tuple(
        (name, value) for name, value in headers if name.lower() not in _WITHHELD_HEADERS | named and _is_text(value)
    )
    return next(filter(_is_text, _header_values(headers, "content-type")), ""), kept


def _header_values(headers: Headers, lower_name: str) -> list[str]:
    return [value for name, value in headers if name.lower() == lower_name]


def _is_text(value: str) -> bool:
    # What is sent is written as UTF-8; bytes beyond ASCII would come out as others than came in.
    return value.isascii() and value.isprintable()
