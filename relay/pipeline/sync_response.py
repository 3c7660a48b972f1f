"""The target's own response for the sender, for providers that need one, such as Slack and Twilio."""

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
# relay does its own framing; the target's other headers are passed on.
_WITHHELD_HEADERS = HOP_BY_HOP | {"content-length", "content-type", "x-relay-event"}


# The response of a handler that succeeded and returned nothing for the sender.
NO_RESPONSE = ReceivedResponse(status=204)


class NoResponseError(Exception):
    """A delivery ended without a response from its target. `final`: another attempt would not help."""

    def __init__(self, *, final: bool) -> None:
        super().__init__()
        self.final = final


class PartialResponseError(Exception):
    """The target's response cannot be passed on completely, for the given `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SyncResponses:
    """Waits for the responses of targets to new deliveries."""

    def __init__(self, store: Store, bus: Bus, awaited: AwaitedResponses) -> None:
        self._store = store
        self._awaited = awaited
        self._waiting: dict[int, list[asyncio.Event]] = {}
        bus.on(self._on_signal, DeliveryChanged)

    async def answer(self, awaited: AwaitedDelivery, seconds: float) -> ReceivedResponse | None:
        """Return the first response to a delivery after its previous attempts.

        Return None after `seconds` without one, NO_RESPONSE if the delivery succeeded without one. Raises
        NoResponseError if it ended otherwise without one, PartialResponseError if it was too large or incomplete.
        """
        changed = asyncio.Event()
        waiting = self._waiting.setdefault(awaited.delivery, [])
        waiting.append(changed)
        try:
            with self._awaited.awaiting(awaited.delivery):
                async with asyncio.timeout(seconds):
                    return self._find_whole(awaited.delivery, await self._wait_for_attempt(awaited, changed))
        except (TimeoutError, RelayError):
            # The event is stored; the provider need not care about its delivery.
            return None
        finally:
            waiting.remove(changed)
            if not waiting:
                del self._waiting[awaited.delivery]

    def _find_whole(self, delivery: int, kept: ReceivedResponse) -> ReceivedResponse:
        """Return the whole response, of which the attempt kept the beginning."""
        if not kept.cut:
            return kept
        whole = self._awaited.find(delivery)
        if whole is not None and not whole.cut:
            return whole
        too_large = whole is not None and len(whole.body) >= LARGEST_RESPONSE
        raise PartialResponseError(f"larger than {format_size(LARGEST_RESPONSE)}" if too_large else "cut short")

    async def _wait_for_attempt(self, awaited: AwaitedDelivery, changed: asyncio.Event) -> ReceivedResponse:
        while True:
            # The state first, then the attempts: in the other order an attempt could be missed.
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
    """Return a response's content type ("" for none), and the other headers that may be passed on."""
    tokens = ",".join(_header_values(headers, "connection")).split(",")
    named = {token.strip().lower() for token in tokens}
    kept = tuple(
        (name, value) for name, value in headers if name.lower() not in _WITHHELD_HEADERS | named and _is_text(value)
    )
    return next(filter(_is_text, _header_values(headers, "content-type")), ""), kept


def _header_values(headers: Headers, lower_name: str) -> list[str]:
    return [value for name, value in headers if name.lower() == lower_name]


def _is_text(value: str) -> bool:
    # Headers are sent as UTF-8; bytes beyond ASCII would be changed.
    return value.isascii() and value.isprintable()
