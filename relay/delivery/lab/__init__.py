"""The lab: experiments on an app, as data, and what runs and evaluates them."""

from relay.delivery.lab.experiment import Experiment
from relay.delivery.lab.refusals import Stale, Truncated, WrongSignature
from relay.delivery.lab.retries import Retries
from relay.delivery.lab.sequence import Burst, Delay, Duplicates, Shuffle

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (Duplicates(), Burst(), Shuffle(), Delay(), Stale(), WrongSignature(), Truncated(), Retries())
}
