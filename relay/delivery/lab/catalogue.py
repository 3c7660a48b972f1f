"""Every experiment there is, in the order they are listed and run."""

from relay.delivery.lab.copies import Burst, Duplicates
from relay.delivery.lab.experiment import Experiment
from relay.delivery.lab.order import Delay, Shuffle
from relay.delivery.lab.refusals import Stale, Truncated, WrongSignature
from relay.delivery.lab.retries import Retries

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
NAMES = tuple(experiment.name for experiment in EXPERIMENTS)
_BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}


def named(name: str) -> Experiment:
    """Return an experiment by name. Raises KeyError."""
    return _BY_NAME[name]
