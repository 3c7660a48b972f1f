"""The lab: experiments on an app, as data, and what runs and evaluates them."""

from relay.delivery.lab.experiment import Experiment
from relay.delivery.lab.refusals import Stale, Truncated, WrongSignature
from relay.delivery.lab.retries import Retries
from relay.delivery.lab.sequence import Burst, Delay, Duplicates, Shuffle

EXPERIMENTS: tuple[Experiment, ...] = (
    Duplicates(),
    Burst(),
    Shuffle(),
    Delay(),
    Stale(),
    WrongSignature(),
    Truncated(),
    Retries(),
)
EXPERIMENT_NAMES = tuple(experiment.name for experiment in EXPERIMENTS)
_BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}


def find_experiment(name: str) -> Experiment:
    """Return an experiment by name. Raises KeyError."""
    return _BY_NAME[name]
