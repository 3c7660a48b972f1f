"""Forward: the captured request, sent to a target byte for byte."""

import asyncio
from collections.abc import Callable
from dataclasses import field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Self

from relay.actions import egress
from relay.actions.base import LARGEST_RESPONSE, Action, AwaitedResponses
from relay.actions.egress import Destination, EgressRules, Resolve, UnknownHostError, check_target
from relay.actions.http_client import HttpClient
from relay.actions.outgoing_request import (
    ForwardOptions,
    Signing,
    app_url,
    apply_changes,
    build_request_target,
    called_url,
    describe_settings,
    final_headers,
    portable_headers,
    readdress,
)
from relay.actions.response_parser import NoAnswerError
from relay.errors import SigningError, TargetError
from relay.model.clock import Clock
from relay.model.delivery import (
    ActionResult,
    AttemptFailed,
    AttemptRetry,
    AttemptSucceeded,
    Delivery,
    DeliveryChanges,
    Outcome,
    ReceivedResponse,
    SentRequest,
    SignMode,
)
from relay.model.event import Capture, CapturedEvent, Source
from relay.model.text import format_size, quote_path
from relay.model.values import dataclass

__all__ = ["ForgeRequest", "ForwardAction", "ForwardOptions", "SignRequest", "classify_response", "parse_retry_after"]

SignRequest = Callable[[CapturedEvent, Capture, Signing], tuple[Capture, tuple[str, ...]]]
ForgeRequest = Callable[[CapturedEvent, Capture, DeliveryChanges], tuple[Capture, tuple[str, ...]]]

GONE = 410  # Standard Webhooks: the receiver asks to stop sending
# A relay answers 508 to a forward that came back: each retry would loop as well.
_FINAL = {GONE: "gone: it takes no more events", 508: "loop"}
_REMEMBERED_SECONDS = 5.0
_MAX_REMEMBERED = 64
_INLINE_BODY = 64 * 1024  # bytes of a body up to which it is signed on the loop itself
_RETRIED_STATUSES = frozenset({408, 409, 425, 429})


@dataclass(eq=False, kw_only=True)
class ForwardAction(Action[ForwardOptions]):
    """Forwards events to targets; an async context manager around a connection pool.

    `rules(typed)` gives the current egress rules, `signer` signs a request again if its
    mode requires it, `forger` signs one that must be refused, `find_source` gives the source of a name.
    """

    name = "forward"

    rules: Callable[[bool], EgressRules]
    signer: SignRequest
    find_source: Callable[[str], Source | None]
    clock: Clock
    resolve: Resolve = egress.resolve
    forger: ForgeRequest = lambda _event, capture, _changes: (capture, ())
    awaited: AwaitedResponses = field(default_factory=AwaitedResponses)

    def __post_init__(self) -> None:
        """Start without connections."""
        self._loopback: dict[str, tuple[EgressRules, float, Destination]] = {}
        self._wire = HttpClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._wire.__aexit__(*error)

    async def run(self, event: CapturedEvent, delivery: Delivery, options: ForwardOptions) -> ActionResult:
        """Send the event once and return outcome, request and response; nothing is raised for a bad target."""
        try:
            destination = await self._find_destination(delivery, options)
            request = await self._request(event, delivery, options, destination)
        except UnknownHostError as error:
            return ActionResult(outcome=AttemptRetry(error.message, unreachable=True))
        except TargetError as error:
            return ActionResult(outcome=AttemptFailed(error.message))
        except SigningError as error:
            return ActionResult(outcome=AttemptFailed(f"not sent: {error.message}"))
        try:
            response = await self._wire.send(
                request,
                destination,
                seconds=options.timeout,
                verify_tls=options.verify_tls,
                keep=lambda: self.awaited.limit(delivery.id),
            )
        except NoAnswerError as error:
            return ActionResult(outcome=AttemptRetry(error.detail, unreachable=error.unreachable), request=request)
        except ValueError as error:
            return ActionResult(outcome=AttemptFailed(f"cannot be sent: {error}"), request=request)
        kept = self.awaited.shorten(delivery.id, response)
        if response.cut and not response.notes and len(response.body) >= LARGEST_RESPONSE:
            note = f"larger than {format_size(LARGEST_RESPONSE)}, so the sender that waited for it got 502"
            kept = replace(kept, notes=(note,))
        outcome = classify_response(response, self.clock.now())
        return ActionResult(outcome=outcome, request=request, response=kept)

    async def _find_destination(self, delivery: Delivery, options: ForwardOptions) -> Destination:
        """Return the destination of a delivery, checked for this attempt. Raises TargetError.

        The result for this computer, by address or as localhost (regardless of resolvers, RFC 6761), is cached briefly.
        """
        url = delivery.changes.url or options.url
        rules, now = self.rules(delivery.changes.url is not None), self.clock.monotonic()
        known = self._loopback.get(url)
        if known is not None and known[0] == rules and now < known[1]:
            return known[2]
        destination = await check_target(url, rules, self.resolve)
        is_fixed = destination.host in ("localhost", *map(str, destination.addresses))
        if destination.loopback and is_fixed:
            if len(self._loopback) >= _MAX_REMEMBERED:
                self._loopback.clear()
            self._loopback[url] = (rules, now + _REMEMBERED_SECONDS, destination)
        return destination

    async def reachable(self, options: ForwardOptions) -> bool:
        """Return whether the target accepts a connection; no request is made."""
        try:
            destination = await check_target(options.url, self.rules(False), self.resolve)
        except TargetError:
            return False
        return await egress.probe_connection(map(str, destination.addresses), destination.port)

    async def _request(
        self, event: CapturedEvent, delivery: Delivery, options: ForwardOptions, destination: Destination
    ) -> SentRequest:
        changes, source = delivery.changes, self.find_source(event.capture.source)
        source_path = source.path if source else quote_path(f"/webhooks/{event.capture.source}")
        called = partial(called_url, event, changes, source_path, source.public_url if source else None)
        is_for_called_url = _is_for_called_url(source, changes, options)
        outgoing, edits = apply_changes(event.capture, changes)
        path, query, detour = build_request_target(event, changes, options, destination, source_path)
        headers, withheld = portable_headers(outgoing.headers, event.capture.headers, loopback=destination.loopback)
        if is_for_called_url or options.sign_url == "public":
            url = called()
        else:
            url = app_url(event, options, destination, f"{path}?{query}" if query else path)
        outgoing = readdress(outgoing, path, query, headers, url)
        if changes.age is not None or changes.forged:
            signed, signing = self.forger(event, outgoing, changes)
        else:
            how = Signing(
                mode=changes.sign or options.sign,
                list_received=partial(_list_received, event.capture, outgoing, changes, called)
                if is_for_called_url
                else tuple,
                requested=changes.sign is not None,
                edited_headers=changes.headers is not None,
            )
            # A digest of a large body takes long enough to block everything else.
            is_large = len(outgoing.body) > _INLINE_BODY and how.mode is not SignMode.ORIGINAL
            call = partial(self.signer, event, outgoing, how)
            signed, signing = await asyncio.to_thread(call) if is_large else call()
        return SentRequest(
            method=signed.method,
            url=destination.url(signed.path, signed.query),
            headers=final_headers(signed, event, delivery, options, destination),
            body=signed.body,
            notes=(*edits, *detour, *withheld, *signing, *describe_settings(options)),
        )


def _list_received(
    capture: Capture, outgoing: Capture, changes: DeliveryChanges, called: Callable[[], str]
) -> tuple[Capture, ...]:
    """Return the request at the address that the provider called."""
    if changes.query is None:
        return (readdress(outgoing, capture.path, capture.query, outgoing.headers, capture.url),)
    return (readdress(outgoing, capture.path, changes.query, outgoing.headers, called()),)


def _is_for_called_url(source: Source | None, changes: DeliveryChanges, options: ForwardOptions) -> bool:
    """Return whether the app checks the URL that the provider called, although its target does not say so.

    An app that accepts live events as received does, so the same URL must be used if an aged signature is made
    again. A replay verifies at the app's own address, unless the source has a `public_url`.
    """
    if options.sign_url is not None or (changes.sign or options.sign) is not SignMode.AUTO:
        return False
    return changes.sign is None or (source is not None and source.public_url is not None)


def classify_response(response: ReceivedResponse, now: datetime) -> Outcome:
    """Return the outcome of a response: 2xx succeeded; 408, 409, 425, 429 and 5xx retry; all others failed."""
    status = response.status
    if 200 <= status < 300:
        return AttemptSucceeded(f"{status}")
    if status in _FINAL:
        return AttemptFailed(f"{status} ({_FINAL[status]})")
    if status in _RETRIED_STATUSES or status >= 500:
        value = next((value for name, value in response.headers if name.lower() == "retry-after"), "")
        return AttemptRetry(f"{status}", after=parse_retry_after(value, now))
    return AttemptFailed(f"{status} (not followed)" if 300 <= status < 400 else f"{status}")


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, given as seconds or as a date; None if it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
