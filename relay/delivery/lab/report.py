"""What a run showed so far: each experiment judged, with latencies, and which answers were otherwise."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from relay.delivery.lab.catalogue import named
from relay.delivery.lab.experiment import Experiment
from relay.model.lab import (
    OVER,
    Finding,
    Judged,
    LabState,
    Latency,
    Report,
    Result,
    Run,
    Send,
    Trial,
)


def report(run: Run, sends: Sequence[Send]) -> Report:
    """Return the report of a run from its sends."""
    made: dict[int, list[Send]] = {}
    for send in sends:
        made.setdefault(send.trial, []).append(send)
    return Report(
        run=run,
        results=tuple(
            _result(run, number, trial, tuple(made.get(number, ())))
            for number, trial in enumerate(run.trials)
        ),
    )


def _result(run: Run, number: int, trial: Trial, sends: tuple[Send, ...]) -> Result:
    experiment = named(trial.experiment)
    over = [send for send in sends if send.over]
    counted = Counter(send.told for send in over)
    return Result(
        trial=trial,
        title=experiment.title,
        finds=experiment.finds,
        judged=_judged(run, number, experiment, sends),
        sends=sends,
        statuses=tuple(counted.most_common()),
        latency=latency([send.took for send in over if send.status is not None and send.took is not None]),
        differing=experiment.differing(sends),
        orders=experiment.orders(sends),
        at_once=at_once(sends),
    )


def _judged(run: Run, number: int, experiment: Experiment, sends: Sequence[Send]) -> Judged:
    trial = run.trials[number]
    if not trial.events:
        reasons = dict.fromkeys(reason for _, reason in trial.skipped)
        return Judged(finding=Finding.SKIPPED, sentence="; ".join(reasons) or "there was no event for it")
    if number < run.ended:
        return experiment.judge(trial, sends) if sends else _nothing()
    done = sum(send.over for send in sends)
    if run.state in OVER:
        word = "cancelled" if run.state is LabState.CANCELLED else "interrupted"
        said = f"{word} after {done} of {trial.sends} sends" if sends else f"{word} before it began"
        return Judged(finding=None, sentence=said)
    if number == run.ended and run.state is LabState.RUNNING:
        return Judged(finding=None, sentence=f"running: {done} of {trial.sends} sends")
    return Judged(finding=None, sentence="waits for its turn")


def _nothing() -> Judged:
    return Judged(finding=Finding.SKIPPED, sentence="its events were gone before they could be sent")


def latency(took: Sequence[float]) -> Latency | None:
    """Return how long answers took, None where there were none."""
    if not took:
        return None
    ranked = sorted(took)

    def rank(share: float) -> float:
        return ranked[max(0, -(-int(len(ranked) * share * 100) // 100) - 1)]

    return Latency(least=ranked[0], median=rank(0.5), p95=rank(0.95), most=ranked[-1])


def at_once(sends: Sequence[Send]) -> int:
    """Return how many sends were under way together at the most."""
    moments = []
    for send in sends:
        if send.started_at is not None and send.took is not None:
            moments += [(send.started_at, 1), (send.started_at + timedelta(seconds=send.took), -1)]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most
