"""The retries experiment: the provider's own schedule, sped up, until the app accepts the event."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.delivery.lab.experiment import Experiment, report_failed, report_passed
from relay.model.delivery import DeliveryChanges
from relay.model.event import CapturedEvent, EventRow
from relay.model.lab import LabSend, LabSettings, PlannedSend, SendRound, TrialVerdict

if TYPE_CHECKING:  # `relay lab --help` lists the experiments without importing providers
    from relay.providers.provider import Schedule

_LATE = "too late"
_STOP_NOTE = "the provider stops here"
SPAN = 10.0  # seconds of a whole schedule unless a speed is given
_SHORTEST_WAIT = 0.05  # minimum seconds between two attempts
_UNITS = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


class Retries(Experiment):
    """Resends as the provider does after an answer that is not 2xx or too late."""

    name = "retries"
    ends_early = True
    title = "The provider's retries"
    finds = (
        "sends again when the provider would, only faster, until the app accepts it: finds an app that does "
        "not recover, and answers that come too late"
    )
    good = "2xx within the provider's time limit"

    def list_notes(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[str, ...]:
        """Return each provider's schedule in words, its speed, and its source."""
        return tuple(_describe_schedule(name, settings) for name in dict.fromkeys(event.provider for event in events))

    def plan_rounds(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[SendRound, ...]:
        """Return a round for each event: the first attempt and every retry, as attempts of one delivery."""
        return tuple(
            SendRound(shots=_plan_shots(event.id, _find_schedule(event.provider)[2], settings), one_delivery=True)
            for event in events
        )

    def change_retry(self, changes: DeliveryChanges, event: CapturedEvent, before: LabSend) -> DeliveryChanges:
        """Return the changes with the headers that the provider adds to a retry."""
        marks = _find_schedule(event.row.provider)[2].retry_headers
        if not marks:
            return changes
        reason = "connection_failed" if before.status is None else "http_error"
        if before.note.startswith(_LATE):
            reason = "http_timeout"
        added = tuple((name, text.format(n=before.attempt, reason=reason)) for name, text in marks)
        names = {name.lower() for name, _ in added}
        headers = event.capture.headers if changes.headers is None else changes.headers
        kept = tuple(pair for pair in headers if pair[0].lower() not in names)
        return replace(changes, headers=kept + added)

    def judge_send(self, send: LabSend, headers: Mapping[str, str], event: CapturedEvent) -> LabSend:
        schedule = _find_schedule(event.row.provider)[2]
        if send.status is None:
            return replace(send, good=False)
        if schedule.limit is not None and (send.took or 0.0) > schedule.limit:
            return replace(send, good=False, note=f"{_LATE}: the provider waits {schedule.limit:g} s")
        if send.status in schedule.success_statuses:
            return replace(send, good=True)
        stops = send.status in schedule.stop_statuses or (
            schedule.stop_header is not None and headers.get(schedule.stop_header[0].lower()) == schedule.stop_header[1]
        )
        return replace(send, good=False, note=_STOP_NOTE if stops else "")

    def ends_round(self, send: LabSend) -> bool:
        """Return whether the event is delivered or the answer asks the provider to stop."""
        return bool(send.good) or send.note == _STOP_NOTE

    def judge_event(self, event: int, sends: Sequence[LabSend]) -> TrialVerdict:
        last, count = sends[-1], len(sends)
        if last.good and count == 1:
            return report_passed(
                f"#{event} was accepted at the first attempt, so that nothing was retried",
                "stop the app, or let it answer 500, to see the retries",
            )
        if last.good:
            return report_passed(f"#{event} was taken at attempt {count}: {last.label}")
        reason = last.note or "the provider gives it up"
        late = sum(one.note.startswith(_LATE) for one in sends)
        why = f"{last.short_answer}, {reason}" if not late else f"{late} of {count} answers came {reason}"
        return report_failed(
            f"#{event} was not accepted in {count} {'attempt' if count == 1 else 'attempts'}: {why}",
            "answer 2xx as soon as the event is kept, and work on it afterwards"
            if late
            else "bring the app back before the last retry, and fetch from the provider what was missed",
        )


def _describe_schedule(provider: str, settings: LabSettings) -> str:
    title, own, schedule = _find_schedule(provider)
    if own is None:
        text = f"{title} does not document its retries: the table of Standard Webhooks is used"
    elif not own.waits:
        text = f"{title} never retries by itself" + (f": {own.then}" if own.then else "")
    elif own.published:
        text = f"{title} retries {len(own.waits)} times over {format_span(own.span)}"
    else:
        text = f"{title} retries for {format_span(own.span)} and does not publish when: relay spreads {len(own.waits)}"
    speed = _find_speed(schedule, settings)
    fast = f", {speed:,.0f} times as fast here" if schedule.waits and speed > 1 else ""
    return f"{text}{fast} ({schedule.source})"


def _find_schedule(name: str) -> "tuple[str, Schedule | None, Schedule]":
    """Return the title of a provider, its own schedule if it documents one, and the schedule to use."""
    from relay.providers.catalogue import find_provider  # noqa: PLC0415 - as above
    from relay.providers.provider import STANDARD_SCHEDULE  # noqa: PLC0415 - as above

    provider = find_provider(name)
    if provider is None:
        return "this sender", None, STANDARD_SCHEDULE
    return provider.title, provider.schedule, provider.schedule or STANDARD_SCHEDULE


def _find_speed(schedule: "Schedule", settings: LabSettings) -> float:
    return settings.speed or max(1.0, schedule.span / SPAN)


def _plan_shots(event_id: int, schedule: "Schedule", settings: LabSettings) -> tuple[PlannedSend, ...]:
    speed = _find_speed(schedule, settings)
    first = PlannedSend(event_id=event_id, role="try", label="first attempt")
    retries = (
        PlannedSend(
            event_id=event_id,
            role="try",
            label=f"retry {number}, after {format_span(wait)}" if wait else f"retry {number}, at once",
            wait=max(wait / speed, _SHORTEST_WAIT),
        )
        for number, wait in enumerate(schedule.waits, start=1)
    )
    return (first, *retries)


def format_span(seconds: float) -> str:
    """Return a time as text: `5 s`, `30 min`, `28 h`, `3 d`."""
    unit, size = next(
        ((unit, size) for unit, size in _UNITS if seconds >= size * (2 if size > 60.0 else 1)), _UNITS[-1]
    )
    return f"{seconds / size:.0f} {unit}" if seconds >= 1 else f"{seconds:.1f} s"
