"""The user's own functions for events: the API they are written with, and how they are run.

`on`, `use`, `secret`, `Event`, `Retry` and `Failed` are what a handlers file imports, from `relay`. `load_handlers`
runs such a file and returns its `Handlers`, whose `run(event)` works without relay. The rest runs a file in a
separate process, which may hang or die: `worker.WorkerPool` on relay's side, `worker_main` on the other.
"""

from relay.handlers.environment import secret
from relay.handlers.event import Event, Headers
from relay.handlers.file import Handlers, HandlersResult, load_handlers
from relay.handlers.registry import Failed, Retry, on, use

__all__ = ["Event", "Failed", "Handlers", "HandlersResult", "Headers", "Retry", "load_handlers", "on", "secret", "use"]
