"""A user's own functions, called with events: what they are written with, and how they are run.

`on`, `use`, `secret`, `Event`, `Retry` and `Failed` are what a handlers file imports, from `relay`. `load_handlers`
runs such a file and gives its `Handlers`, whose `run(event)` needs no relay around it. The rest runs a file in a
process of its own, which may hang or die: `worker.WorkerPool` on relay's side, `worker_main` on the other.
"""

from relay.handlers.environment import secret
from relay.handlers.event import Event, Headers
from relay.handlers.file import Handlers, HandlersResult, load_handlers
from relay.handlers.registry import Failed, Retry, on, use

__all__ = ["Event", "Failed", "Handlers", "HandlersResult", "Headers", "Retry", "load_handlers", "on", "secret", "use"]
