"""Experiments that an app must refuse: a signature that is too old or wrong, a body that was cut."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.delivery.lab.experiment import CONTROL, Experiment, report_failed, report_passed, report_unclear
from relay.errors import SigningError
from relay.model.delivery import DeliveryChanges, SignMode
from relay.model.event import CapturedEvent, EventRow
from relay.model.lab import LabFinding, LabSend, LabSettings, PlannedSend, SendRound, TrialVerdict
from relay.model.parsing import is_json

if TYPE_CHECKING:
    from relay.delivery.signing import SignatureForger


class _Refusal(Experiment):
    """Sends a genuine request first, so that a refusal is meaningful, then the one to refuse."""

    role: str
    how: str  # a description of the request
    advice: str

    def plan_rounds(self, events: Sequence[EventRow], settings: LabSettings) -> tuple[SendRound, ...]:
        return tuple(
            SendRound(
                shots=(
                    PlannedSend(event_id=event.id, role=CONTROL, label="genuine"),
                    PlannedSend(event_id=event.id, role=self.role, label=self.how),
                )
            )
            for event in events
        )

    def explain_refusal(self, event: CapturedEvent, forger: "SignatureForger") -> str:
        try:
            self.forge_changes(event, forger)
        except SigningError as error:
            return error.message
        return ""

    def build_changes(self, event: CapturedEvent, shot: PlannedSend, forger: "SignatureForger") -> DeliveryChanges:
        if shot.role == CONTROL:
            return super().build_changes(event, shot, forger)
        return self.forge_changes(event, forger)

    @abstractmethod
    def forge_changes(self, event: CapturedEvent, forger: "SignatureForger") -> DeliveryChanges:
        """Return how the request to refuse differs from its event. Raises SigningError if it cannot be made."""

    def judge_event(self, event: int, sends: Sequence[LabSend]) -> TrialVerdict | None:
        if len(sends) != 2:
            return None
        control, forged = sends
        if forged.good:
            return report_failed(f"#{event}, {self.how}, was taken: {forged.short_answer}", self.advice)
        if not control.good:
            return report_unclear(
                f"#{event}, {self.how}, {forged.answered}; but the genuine one {control.answered} too",
                "make the app take the genuine event first; relay verify says how it is signed",
            )
        return self._judge_refusal(event, forged)

    def _judge_refusal(self, event: int, forged: LabSend) -> TrialVerdict:
        if forged.status is not None and 400 <= forged.status < 500:
            return report_passed(f"#{event}, {self.how}, was refused: {forged.status}")
        return report_unclear(
            f"#{event}, {self.how}, was not taken, but not refused either: {forged.short_answer}",
            "answer 400 or 401, so that it is not mistaken for an outage",
        )


class Stale(_Refusal):
    """A valid signature that is too old."""

    name = "stale"
    title = "Stale timestamp"
    finds = (
        "signs an event validly, but as of too long ago: finds an app that takes a recorded request that is played back"
    )
    good = "4xx, for its age"
    role = "stale"
    how = "signed too long ago"
    advice = "compare the signed time with the clock, as the provider's library does by default"

    def forge_changes(self, event: CapturedEvent, forger: "SignatureForger") -> DeliveryChanges:
        """Return a signature made just beyond the source's tolerance."""
        return DeliveryChanges(sign=SignMode.FRESH, age=forger.age(event))


class WrongSignature(_Refusal):
    """Signed with another secret."""

    name = "wrong-signature"
    title = "Wrong signature"
    finds = "signs an event with a secret that is not yours: finds an app that does not check signatures"
    good = "4xx: 401, or 400"
    role = "forged"
    how = "signed with another secret"
    advice = "verify the signature first, over the raw bytes as received"

    def forge_changes(self, event: CapturedEvent, forger: "SignatureForger") -> DeliveryChanges:
        forger.check_forgeable(event)
        return DeliveryChanges(sign=SignMode.FRESH, forged=True)


class Truncated(_Refusal):
    """A body that ends too soon."""

    name = "truncated"
    title = "Truncated body"
    finds = "cuts the body in half, signed as it goes out where relay can: finds an app that acts on half an event"
    good = "4xx, and never 2xx"
    role = "cut"
    how = "cut in half"
    advice = "answer 400 to a body that cannot be read, before anything of it is used"

    def explain_refusal(self, event: CapturedEvent, forger: "SignatureForger") -> str:
        """Return why no check could detect that this event's body was cut."""
        body = event.capture.body
        if len(body) < 2:
            return "it has no body to cut"
        if not is_json(body) and not forger.expects_signature(event):
            return "its body is not JSON and not signed, so no app can tell that it was cut"
        if is_json(body) and is_json(_cut_in_half(body)):
            return "half of its body is valid JSON too"
        return ""

    def forge_changes(self, event: CapturedEvent, forger: "SignatureForger") -> DeliveryChanges:
        """Return the body cut in half.

        Cut JSON is signed, so that the app's parsing is tested and not its signature check again; for
        other bodies only the signature of the whole reveals the cut.
        """
        body = event.capture.body
        mode = SignMode.AUTO if is_json(body) else SignMode.ORIGINAL
        return DeliveryChanges(sign=mode, body=_cut_in_half(body))

    def _judge_refusal(self, event: int, forged: LabSend) -> TrialVerdict:
        verdict = super()._judge_refusal(event, forged)
        if forged.status is None or verdict.finding is LabFinding.PASSED:
            return verdict
        return report_passed(
            f"#{event}, {self.how}, was not taken: {forged.status}",
            "400 would tell the provider not to send it again" if forged.status >= 500 else "",
        )


def _cut_in_half(body: bytes) -> bytes:
    return body[: len(body) // 2]
