"""The report of a lab run so far: a verdict for each experiment, latencies, and differing answers."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate

from relay.delivery.lab import EXPERIMENTS
from relay.delivery.lab.experiment import Experiment
from relay.model.lab import (
    ENDED_STATES,
    LabFinding,
    LabReport,
    LabRun,
    LabSend,
    LabState,
    Latency,
    TrialResult,
    TrialVerdict,
)


def build_report(run: LabRun, sends: Sequence[LabSend]) -> LabReport:
    """Return the report of a run from its sends."""
    return LabReport(run=run, results=tuple(_build_result(run, number, sends) for number in range(len(run.trials))))


def _build_result(run: LabRun, number: int, all_sends: Sequence[LabSend]) -> TrialResult:
    trial, sends = run.trials[number], tuple(send for send in all_sends if send.trial == number)
    experiment = EXPERIMENTS[trial.experiment]
    over = [send for send in sends if send.over]
    return TrialResult(
        trial=trial,
        title=experiment.title,
        finds=experiment.finds,
        verdict=_judge_trial(run, number, experiment, sends),
        sends=sends,
        statuses=tuple(Counter(send.short_answer for send in over).most_common()),
        latency=summarise_latency([send.took for send in over if send.status is not None and send.took is not None]),
        differing=experiment.find_differing(sends),
        orders=experiment.list_orders(sends),
        at_once=max_concurrency(sends),
    )


def _judge_trial(run: LabRun, number: int, experiment: Experiment, sends: Sequence[LabSend]) -> TrialVerdict:
    trial = run.trials[number]
    if not trial.events:
        reasons = dict.fromkeys(reason for _, reason in trial.skipped)
        return TrialVerdict(LabFinding.SKIPPED, "; ".join(reasons) or "there was no event for it")
    if number < run.ended:
        if not sends:
            return TrialVerdict(LabFinding.SKIPPED, "its events were gone before they could be sent")
        made = Counter(send.event_id for send in sends)
        cut = [f"#{event}" for event, count in made.items() if count < trial.sends // len(trial.events)]
        if cut and not experiment.ends_early:
            return TrialVerdict(
                LabFinding.UNCLEAR, f"not all of {', '.join(cut)} was sent: an event was deleted meanwhile"
            )
        return experiment.judge(sends)
    done = sum(send.over for send in sends)
    if run.state in ENDED_STATES:
        word = "cancelled" if run.state is LabState.CANCELLED else "interrupted"
        message = f"{word} after {done} of {trial.sends} sends" if sends else f"{word} before it began"
        return TrialVerdict(None, message)
    if number == run.ended and run.state is LabState.RUNNING:
        return TrialVerdict(None, f"running: {done} of {trial.sends} sends")
    return TrialVerdict(None, "waits for its turn")


def summarise_latency(took: Sequence[float]) -> Latency | None:
    """Return the latencies of the answers, None if there were none."""
    if not took:
        return None
    ranked = sorted(took)

    def rank(share: float) -> float:
        return ranked[max(0, -(-int(len(ranked) * share * 100) // 100) - 1)]

    return Latency(least=ranked[0], median=rank(0.5), p95=rank(0.95), most=ranked[-1])


def max_concurrency(sends: Sequence[LabSend]) -> int:
    """Return the highest number of concurrent sends."""
    moments = []
    for send in sends:
        if send.started_at is not None and send.took is not None:
            moments += [(send.started_at, 1), (send.started_at + timedelta(seconds=send.took), -1)]
    return max(accumulate(step for _, step in sorted(moments)), default=0)
