"""Experiments with copies: the same event several times, one after another or all at once."""

from collections import Counter
from collections.abc import Sequence

from relay.delivery.lab.experiment import UNSEEN, Experiment, by_event, worst
from relay.model.event import EventRow
from relay.model.lab import Finding, Judged, Round, Send, Settings, Shot, Trial

_ONCE = "keep the ids of events you have taken, and answer 2xx to one that is among them without acting again"


class _Copies(Experiment):
    """The same event several times."""

    usual: int
    at_once: bool

    def rounds(self, events: Sequence[EventRow], settings: Settings) -> tuple[Round, ...]:
        """Return a round for each event: all its copies."""
        count = settings.times or self.usual
        return tuple(
            Round(
                shots=tuple(
                    Shot(event_id=event.id, label=f"copy {number} of {count}")
                    for number in range(1, count + 1)
                ),
                at_once=self.at_once,
            )
            for event in events
        )

    def judge(self, trial: Trial, sends: Sequence[Send]) -> Judged:
        """Return failed where a copy was not taken, or the answers show that the app acted on several."""
        del trial
        return worst([(event, self._judge(event, copies)) for event, copies in by_event(sends).items()])

    def differing(self, sends: Sequence[Send]) -> frozenset[int]:
        """Return the copies that were answered otherwise than the first of their event."""
        return frozenset(
            copy.place
            for copies in by_event(sends).values()
            for copy in copies[1:]
            if copy.over and copies[0].over and _answer(copy) != _answer(copies[0])
        )

    def _judge(self, event: int, copies: Sequence[Send]) -> Judged:
        refused = [copy for copy in copies if not copy.good]
        if len(refused) == len(copies):
            told = ", ".join(dict.fromkeys(copy.told for copy in refused))
            return Judged(
                finding=Finding.FAILED,
                sentence=f"no copy of #{event} was taken ({told}), so that nothing shows how duplicates fare",
                advice="make the app take the event once, then try again",
            )
        if refused:
            return Judged(
                finding=Finding.FAILED,
                sentence=f"{_some(refused, copies)} of #{event} {refused[0].answered} rather than 2xx: "
                "a provider would send it again and again",
                advice=_ONCE,
            )
        return self._alike(event, copies)

    def _alike(self, event: int, copies: Sequence[Send]) -> Judged:
        raise NotImplementedError


class Duplicates(_Copies):
    """Copies one after another."""

    name = "duplicates"
    title = "Duplicates"
    finds = (
        "sends each event several times, one after another: finds an app that acts on an event twice, "
        "or refuses it"
    )
    good = "2xx to every copy, the later ones all alike"
    usual = 3
    at_once = False

    def _alike(self, event: int, copies: Sequence[Send]) -> Judged:
        answers = [_answer(copy) for copy in copies]
        if len(set(answers)) == 1:
            return Judged(
                finding=Finding.PASSED,
                sentence=f"all {len(copies)} copies of #{event} were taken and answered alike",
                advice=UNSEEN,
            )
        if len(copies) > 2 and len(set(answers[1:])) == 1:
            return Judged(
                finding=Finding.PASSED,
                sentence=f"the first of {len(copies)} copies of #{event} was answered otherwise than the later "
                "ones, which are alike",
            )
        if len(copies) > 2:
            return Judged(
                finding=Finding.FAILED,
                sentence=f"the later copies of #{event} were taken, but answered in {len(set(answers[1:]))} ways, "
                "as an app does that acts on each of them",
                advice=f"{_ONCE}; if only the wording differs, compare statuses alone",
            )
        return Judged(
            finding=Finding.UNCLEAR,
            sentence=f"the two copies of #{event} were taken, but not answered alike; "
            "three would show whether the later ones are",
            advice=_ONCE,
        )


class Burst(_Copies):
    """Copies at the same moment."""

    name = "burst"
    title = "Burst"
    finds = (
        "sends many copies of an event at the same moment: finds two workers that both take it for new, "
        "and an app that falls over"
    )
    good = "2xx to every copy, at most one of them otherwise than the rest"
    usual = 20
    at_once = True

    def _alike(self, event: int, copies: Sequence[Send]) -> Judged:
        answers = Counter(_answer(copy) for copy in copies)
        if len(answers) == 1 or (len(answers) == 2 and min(answers.values()) == 1):
            one = " but one" if len(answers) == 2 else ""
            return Judged(
                finding=Finding.PASSED,
                sentence=f"all {len(copies)} copies of #{event} were taken, and all{one} answered alike",
                advice="" if one else UNSEEN,
            )
        return Judged(
            finding=Finding.FAILED,
            sentence=f"{len(copies)} copies of #{event} at once were taken, but answered in {len(answers)} ways: "
            "an app that takes an event once answers one of them as new and the rest alike",
            advice="claim the id of an event in the same transaction that acts on it, with a unique key; "
            "if only the wording differs, compare statuses alone",
        )


def _answer(send: Send) -> tuple[int | None, str]:
    return send.status, send.answer


def _some(refused: Sequence[Send], copies: Sequence[Send]) -> str:
    return f"{len(refused)} of {len(copies)} copies"
